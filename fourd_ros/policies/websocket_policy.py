"""A policy that is served elsewhere, over the protocol of openpi.

The server sends a map about itself when somebody connects; then every observation that it is sent, as a map of arrays
(``msgpack_arrays``), is answered by a map with ``actions`` of shape [H, A]; an answer that is text is what went wrong
there (docs/remote_inference.md and packages/openpi-client of https://github.com/Physical-Intelligence/openpi).

A server of ours keeps what happened in an episode, so it says in its map under which name it wants to be told of the
episode (`EPISODE`), and is connected to anew for every one of them. Others are taken to remember nothing: a
connection that is lost is made again and the question is asked once more.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from fourd_ros.errors import FourdError, InvalidConfig, InvalidMessage, MissingDependency, PolicyFailed
from fourd_ros.machine import pip_install
from fourd_ros.policies import msgpack_arrays
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.joint_numbers import ActionRows, joint_numbers
from fourd_ros.policies.options_file import made_from_file
from fourd_ros.policies.told_episode import tell_assignment, tell_views
from fourd_ros.policies.wire_format import WireFormat
from fourd_ros.records import Observation, RobotTrajectory

EPISODE = "episode_name"
"""In the map of a server that wants to know of the episode: the name under which it wants that in every observation
(see ``told_episode``)."""

_MAX_REASON = 500
"""Of a server's account of what went wrong, its last characters."""

_PAUSE = 0.05
"""Between two attempts to connect [s]."""


class WebsocketPolicy(Policy):
    """Asks a policy server.

    Args:
        name: by which it is known in results.
        url: of the server, ``ws://host:port`` or ``wss://``.
        wire: names of what it is told.
        actions: what its answers mean.
        actions_key: name of the actions in an answer.
        depth: the policy that is served needs points; only a server of ours understands them.
        scene: it needs to know where everything truly is; only a server of ours understands that.
        answer_limit: time for an answer [s].
        connect_limit: time until a server must be there [s].
        max_bytes: bound on an answer.
        api_key_variable: environment variable that holds the server's key, empty for none.

    Raises:
        InvalidConfig: the URL is of no websocket, or there is no such variable.
        MissingDependency: websockets or msgpack are not installed.
    """

    def __init__(
        self,
        name: str,
        *,
        url: str,
        wire: WireFormat,
        actions: ActionRows,
        actions_key: str = "actions",
        depth: bool = False,
        scene: bool = False,
        answer_limit: float = 10.0,
        connect_limit: float = 10.0,
        max_bytes: int = 16 * 1024**2,
        api_key_variable: str = "",
    ) -> None:
        super().__init__(name)
        self.contract = Contract(
            cameras=wire.cameras,
            depth=depth,
            scene=scene,
            joints=tuple(dict.fromkeys((*wire.joints, *actions.joints))),
            period=actions.period,
        )
        self._wire, self._actions, self._actions_key = wire, actions, actions_key
        self._answer_limit = answer_limit
        self._line = _Line(url, headers=_headers(api_key_variable), connect_limit=connect_limit, max_bytes=max_bytes)
        self._assignment: Assignment | None = None

    def begin(self, assignment: Assignment) -> None:
        """Connects where there is no connection, or where the server keeps account of episodes.

        Raises:
            PolicyFailed: there is no server, it is none of policies, or it does not understand what it shall be told.
        """
        if self._episode_name:
            self._line.close()
        self._line.open()
        if (self.contract.depth or self.contract.scene) and not self._episode_name:
            raise PolicyFailed("the server understands neither depth nor the true scene; it is not one of fourd_ros")
        self._assignment = assignment

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        """Asks, and understands no actions as nothing more to do.

        Raises:
            PolicyFailed: no answer in time, none at all, or none that makes sense.
        """
        if self._assignment is None:
            raise PolicyFailed(f"'{self.name}' is asked before an episode began")
        message = self._wire.message(observation, self._assignment.instruction)
        if self._episode_name:
            told = tell_assignment(self._assignment, elapsed=elapsed, scene=self.contract.scene)
            views = {"views": tell_views(observation, self.contract.cameras)} if self.contract.depth else {}
            message[self._episode_name] = told | views
        answer = self._line.ask(message, limit=self._answer_limit, again=not self._episode_name)
        rows = answer.get(self._actions_key)
        if not isinstance(rows, np.ndarray):
            raise PolicyFailed(f"the answer has no array '{self._actions_key}', only {sorted(map(str, answer))[:20]}")
        return self._actions.motion(rows, observation.joint_positions)

    def close(self) -> None:
        """Ends the connection."""
        self._line.close()

    @property
    def _episode_name(self) -> str:
        return str(self._line.told.get(EPISODE, ""))


def websocket_policy(
    name: str,
    *,
    images: Mapping[str, Mapping[str, Any]],
    states: Mapping[str, list[str | Mapping[str, object]]],
    actions: Sequence[str | Mapping[str, object]],
    rate: float,
    steps: int | None = None,
    prompt: str = "prompt",
    separator: str = "",
    **connection: Any,
) -> WebsocketPolicy:
    """A `WebsocketPolicy` from plain options, as they stand in a configuration.

    Args:
        name: by which it is known in results.
        images: arguments of `ImageInput` by name.
        states: what `joint_numbers` takes, by name.
        actions: the same for the columns of an answer.
        rate: actions per second [Hz].
        steps: actions that are followed before the next question; None to ask once an episode.
        prompt: name of the instruction.
        separator: of names that lead into maps of maps (see `WireFormat`).
        connection: the other arguments of `WebsocketPolicy`.

    Raises:
        InvalidConfig: an option is unknown or wrong.
    """
    wire = WireFormat.from_options(images=images, states=states, prompt=prompt, separator=separator)
    rows = ActionRows(numbers=joint_numbers(actions), rate=rate, steps=steps)
    return WebsocketPolicy(name, wire=wire, actions=rows, **connection)


def make_policy(detail: str, *, task: str) -> Policy:
    """``websocket/FILE.json``: the arguments of `websocket_policy` in a file."""
    return made_from_file(websocket_policy, "websocket", detail)


class _Line:
    """A connection to a policy server that can be made again."""

    def __init__(self, url: str, *, headers: Mapping[str, str], connect_limit: float, max_bytes: int) -> None:
        if not url.startswith(("ws://", "wss://")):
            raise InvalidConfig(f"'{url}' is no address of a websocket; needed is ws://host:port or wss://host")
        self._websockets = import_websockets("websockets.sync.client")
        self._url, self._headers = url, headers
        self._connect_limit, self._max_bytes = connect_limit, max_bytes
        self._socket: Any = None
        self.told: Mapping[str, Any] = {}
        """What the server said of itself."""

    def open(self) -> None:
        """Connects unless it is connected."""
        if self._socket is not None:
            return
        deadline = time.monotonic() + self._connect_limit
        self._socket = self._connected(deadline)
        try:
            self.told = self._received(deadline)
        except ConnectionError as error:
            self.close()
            raise PolicyFailed(f"the server at {self._url} hung up: {error}") from error
        except FourdError:
            self.close()
            raise

    def ask(self, message: Mapping[str, Any], *, limit: float, again: bool) -> Mapping[str, Any]:
        """The answer; `again` where a lost connection may be made anew."""
        deadline = time.monotonic() + limit
        data = msgpack_arrays.encode(message)
        self.open()
        try:
            try:
                return self._answer(data, deadline)
            except ConnectionError:
                if not again:
                    raise
                self.close()
                self.open()
                return self._answer(data, deadline)
        except ConnectionError as error:
            self.close()
            raise PolicyFailed(f"the connection to {self._url} was lost: {error}") from error
        except FourdError:  # what comes late would be taken for the next answer
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connected(self, deadline: float) -> Any:
        exceptions = self._websockets.exceptions
        while True:
            try:
                return self._websockets.sync.client.connect(
                    self._url,
                    additional_headers=self._headers,
                    compression=None,
                    proxy=None,
                    open_timeout=max(deadline - time.monotonic(), _PAUSE),
                    close_timeout=1.0,
                    max_size=self._max_bytes,
                )
            except exceptions.InvalidStatus as error:
                raise PolicyFailed(f"the server at {self._url} refuses: {error}") from error
            except (OSError, EOFError, exceptions.WebSocketException) as error:
                if time.monotonic() + _PAUSE > deadline:
                    raise PolicyFailed(
                        f"no policy server answered at {self._url} within {self._connect_limit:g} s: {error}"
                    ) from error
                time.sleep(_PAUSE)

    def _answer(self, data: bytes, deadline: float) -> Mapping[str, Any]:
        self._guarded(lambda: self._socket.send(data))
        return self._received(deadline)

    def _received(self, deadline: float) -> Mapping[str, Any]:
        started = time.monotonic()
        try:
            data = self._guarded(lambda: self._socket.recv(timeout=max(deadline - started, 0.0)))
        except TimeoutError as error:
            raise PolicyFailed(f"no answer of {self._url} within {deadline - started:.3g} s") from error
        if isinstance(data, str):
            raise PolicyFailed(f"the server at {self._url} failed: {data[-_MAX_REASON:].strip()}")
        try:
            answer = msgpack_arrays.decode(data, max_bytes=self._max_bytes)
        except InvalidMessage as error:
            raise PolicyFailed(f"the answer of {self._url} cannot be read: {error}") from error
        if not isinstance(answer, Mapping):
            raise PolicyFailed(f"the answer of {self._url} is a {type(answer).__name__}, needed a map")
        return answer

    def _guarded(self, operation: Callable[[], Any]) -> Any:
        try:
            return operation()
        except self._websockets.exceptions.ConnectionClosed as error:
            raise ConnectionError(str(error)) from error


def import_websockets(module: str) -> ModuleType:
    """The package ``websockets``, with one of its modules.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import websockets.exceptions

        __import__(module)
    except ImportError as error:
        raise MissingDependency(f"remote policies need websockets: {pip_install('websockets')}") from error
    return websockets


def _headers(api_key_variable: str) -> dict[str, str]:
    if not api_key_variable:
        return {}
    key = os.environ.get(api_key_variable, "")
    if not key:
        raise InvalidConfig(f"the environment variable {api_key_variable} shall hold the server's key, and is not set")
    return {"Authorization": f"Api-Key {key}"}
