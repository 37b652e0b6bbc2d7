"""A server as those of openpi, a client for it, and what both speak of."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fourd_ros.policies import msgpack_arrays
from fourd_ros.policies.joint_numbers import ActionRows, joint_numbers
from fourd_ros.policies.websocket_policy import WebsocketPolicy, websocket_policy

msgpack = pytest.importorskip("msgpack")
sync_server = pytest.importorskip("websockets.sync.server")

GRIPPER = {"joint": "panda_finger_joint1", "scale": -0.04, "zero": 0.04}
"""0 is open, 1 is closed."""

WIRE: dict[str, Any] = {
    "images": {"observation/image": {"camera": "front", "width": 32, "height": 32}},
    "states": {"observation/state": ["panda_joint1", GRIPPER]},
}
RATE, STEPS = 10.0, 5


def rows(meaning: str = "position") -> ActionRows:
    numbers = joint_numbers([{"joint": "panda_joint1", "meaning": meaning}, GRIPPER | {"meaning": meaning}])
    return ActionRows(numbers=numbers, rate=RATE, steps=STEPS)


@contextlib.contextmanager
def openpi_server(answer: Callable[[dict[str, Any]], Any], port: int = 0) -> Iterator[tuple[str, int]]:
    """A server as those of openpi, which remembers nothing: its URL and port. What is no map is sent as it is."""

    def converse(socket: Any) -> None:
        socket.send(msgpack_arrays.encode({"robot": "panda"}))
        for data in socket:
            said = answer(msgpack_arrays.decode(data))
            if said is None:
                return
            socket.send(msgpack_arrays.encode(said) if isinstance(said, dict) else said)

    with sync_server.serve(converse, "127.0.0.1", port, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}", server.socket.getsockname()[1]
    thread.join()


def client(url: str, meaning: str = "position", **connection: Any) -> WebsocketPolicy:
    actions = [{"joint": "panda_joint1", "meaning": meaning}, GRIPPER | {"meaning": meaning}]
    limits = {"answer_limit": 20.0, "connect_limit": 20.0} | connection
    return websocket_policy("remote", url=url, actions=actions, rate=RATE, steps=STEPS, **WIRE, **limits)
