"""Serves a policy to clients that speak the protocol of openpi (see ``websocket_policy``).

A connection is an episode: it begins with the first observation, or anew when the instruction changes. One client is
served at a time; another one is refused until that has gone. Policies that need depth, or to know where everything
truly is, can be asked by a `WebsocketPolicy` only.
"""

import http
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from fourd_ros.errors import ContractViolated, FourdError, InvalidMessage
from fourd_ros.policies import msgpack_arrays
from fourd_ros.policies.base import Assignment, Policy
from fourd_ros.policies.joint_numbers import ActionRows, joint_numbers
from fourd_ros.policies.told_episode import hear_assignment, hear_views
from fourd_ros.policies.websocket_policy import EPISODE, import_websockets
from fourd_ros.policies.wire_format import ImageInput, WireFormat
from fourd_ros.records import Observation

LOOPBACK = "127.0.0.1"

_HANDOVER = 1.0
"""How long a new client waits for the former one to be gone [s]."""

_EPISODE = "episode"
_HOW = ", which only a fourd_ros.policies.websocket_policy tells"

_log = logging.getLogger(__name__)


class PolicyServer:
    """Answers observations with what a policy commands.

    It knows no passwords: other than on the loopback interface, anybody who reaches the port can ask.

    Args:
        policy: who is asked; it is closed by whoever made it.
        wire: names of what is told.
        actions: what the answers mean.
        actions_key: name of the actions in an answer.
        host: address to listen at.
        port: to listen at; 0 for a free one.
        max_bytes: bound on an observation.

    Raises:
        ContractViolated: the policy needs a camera or a joint that has no name here, or images of another size.
        MissingDependency: websockets or msgpack are not installed.
        OSError: the port is taken.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        wire: WireFormat,
        actions: ActionRows,
        actions_key: str = "actions",
        host: str = LOOPBACK,
        port: int = 0,
        max_bytes: int = msgpack_arrays.MAX_BYTES,
    ) -> None:
        _check_contract(policy, wire, actions)
        websockets = import_websockets("websockets.sync.server")
        self._closed = websockets.exceptions.ConnectionClosed
        self._policy, self._wire, self._actions, self._actions_key = policy, wire, actions, actions_key
        self._max_bytes = max_bytes
        self._occupied = threading.Lock()
        self._client: Any = None
        self._server = websockets.sync.server.serve(
            self._converse,
            host,
            port,
            compression=None,
            max_size=max_bytes,
            origins=[None],  # no page in a browser may ask
            process_request=_health,
            close_timeout=1.0,
        )
        address = self._server.socket.getsockname()
        self.url = f"ws://[{address[0]}]:{address[1]}" if ":" in address[0] else f"ws://{address[0]}:{address[1]}"
        """Where clients find it."""
        about = {"policy": policy.name, EPISODE: _EPISODE, "client_options": self.client_options()}
        self._hello = msgpack_arrays.encode(about)

    def serve(self) -> None:
        """Serves until `stop` is called from another thread."""
        self._server.serve_forever()

    def stop(self) -> None:
        """Listens no longer and hangs up on the client that is being served."""
        self._server.shutdown()
        client = self._client
        if client is not None:
            client.close(1001, "the server stops")

    def client_options(self) -> dict[str, Any]:
        """What `websocket_policy` has to be told to ask this server, as plain values."""
        images, states = self._wire.images.items(), self._wire.states.items()
        return {
            "url": self.url,
            "images": {name: asdict(image) for name, image in images},
            "states": {name: [asdict(number) for number in numbers] for name, numbers in states},
            "prompt": self._wire.prompt,
            "separator": self._wire.separator,
            "actions": [asdict(number) for number in self._actions.numbers],
            "actions_key": self._actions_key,
            "depth": self._policy.contract.depth,
            "scene": self._policy.contract.scene,
            "rate": self._actions.rate,
            "steps": self._actions.steps,
        }

    def _converse(self, socket: Any) -> None:
        if not self._occupied.acquire(timeout=_HANDOVER):
            socket.close(1013, "the policy is busy with another client")
            return
        try:
            self._client = socket
            socket.send(self._hello)
            episode = _Episode(self._policy)
            for data in socket:
                socket.send(self._answer(episode, data))
        except self._closed:
            pass
        except Exception as error:
            _log.warning("policy '%s' failed: %s", self._policy.name, error, exc_info=not isinstance(error, FourdError))
            self._refuse(socket, f"{type(error).__name__}: {error}")
        finally:
            self._client = None
            self._occupied.release()

    def _refuse(self, socket: Any, reason: str) -> None:
        try:
            socket.send(reason)
            socket.close(1011, "the policy failed")
        except self._closed:
            pass

    def _answer(self, episode: "_Episode", data: str | bytes) -> bytes:
        if isinstance(data, str):
            raise InvalidMessage(f"a text of {len(data)} characters; observations are bytes")
        message = msgpack_arrays.decode(data, max_bytes=self._max_bytes)
        if not isinstance(message, Mapping):
            raise InvalidMessage(f"an observation is a map, not a {type(message).__name__}")
        observation, instruction = self._wire.read(message, stamp_ns=time.time_ns())
        motion = episode.act(observation, instruction, message.get(_EPISODE, {}))
        rows = self._actions.rows(motion, observation.joint_positions)
        return msgpack_arrays.encode({self._actions_key: rows.astype(np.float32)})


def serve_policy(
    policy: Policy, joints: Sequence[str], *, rate: float = 10.0, host: str = LOOPBACK, port: int = 8000
) -> PolicyServer:
    """A server that needs no configuration: ``observation/CAMERA``, ``observation/state``, ``prompt``, ``actions``.

    Images have the size of the policy's contract, or 224 x 224.

    Args:
        policy: who is asked.
        joints: names of the robot's joints, in the order of the state and of the actions.
        rate: actions per second [Hz].
        host: address to listen at.
        port: to listen at; 0 for a free one.

    Raises:
        ContractViolated: see `PolicyServer`.
        InvalidConfig: the rate is not positive, or there are no joints.
    """
    contract = policy.contract
    width, height = contract.size or (224, 224)
    images = {
        f"observation/{camera}": ImageInput(camera=camera, width=width, height=height) for camera in contract.cameras
    }
    wire = WireFormat(images=images, states={"observation/state": joint_numbers(joints)})
    steps = None if contract.period is None else max(1, round(contract.period * rate))
    actions = ActionRows(numbers=joint_numbers(joints), rate=rate, steps=steps)
    return PolicyServer(policy, wire=wire, actions=actions, host=host, port=port)


class _Episode:
    """What a client asks between two beginnings."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._instruction: str | None = None
        self._began = 0.0

    def act(self, observation: Observation, instruction: str, told: Any) -> Any:
        """The policy's answer, after a beginning where there was none for that instruction."""
        if not isinstance(told, Mapping):
            raise InvalidMessage(f"'{_EPISODE}' is a {type(told).__name__}, needed a map")
        if instruction != self._instruction:
            self._begin(hear_assignment(told, instruction))
        if self._policy.contract.depth:
            observation = self._with_depth(observation, told.get("views"))
        elapsed = told.get("elapsed", time.monotonic() - self._began)
        if not isinstance(elapsed, int | float) or not np.isfinite(elapsed):
            raise InvalidMessage(f"the elapsed time is {elapsed!r:.50}, needed seconds")
        return self._policy.act(observation, elapsed=float(elapsed))

    def _begin(self, assignment: Assignment) -> None:
        if self._policy.contract.scene and assignment.scene is None:
            raise ContractViolated(f"policy '{self._policy.name}' needs to know where everything truly is{_HOW}")
        self._policy.begin(assignment)
        self._instruction, self._began = assignment.instruction, time.monotonic()

    def _with_depth(self, observation: Observation, views: object) -> Observation:
        if views is None:
            raise ContractViolated(f"policy '{self._policy.name}' needs depth{_HOW}")
        return replace(observation, views={**observation.views, **hear_views(views)})


def _check_contract(policy: Policy, wire: WireFormat, actions: ActionRows) -> None:
    contract = policy.contract
    wanting = [f"camera '{camera}'" for camera in contract.cameras if camera not in wire.cameras]
    joints = dict.fromkeys((*contract.joints, *actions.joints))
    wanting += [f"joint '{joint}'" for joint in joints if joint not in wire.joints]
    sizes = {(image.width, image.height) for image in wire.images.values() if image.camera in contract.cameras}
    if contract.size is not None and sizes - {contract.size}:
        wanting.append(f"images of {contract.size[0]} x {contract.size[1]}")
    if wanting:
        raise ContractViolated(f"policy '{policy.name}' needs {', '.join(wanting)}, which clients do not tell")


def _health(connection: Any, request: Any) -> Any:
    return connection.respond(http.HTTPStatus.OK, "OK\n") if request.path == "/healthz" else None
