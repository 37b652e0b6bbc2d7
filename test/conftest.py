"""What tests with real ROS nodes share: a domain of their own, spinning, waiting, other processes."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fourd_ros.shared_memory import left_segments

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT = 120.0
"""Nothing here takes that long, on a machine ten times as busy [s]; what is not met by then never will be."""


def _reserve_domain() -> tuple[int, int]:
    """A domain (1 to 100) that no other test process on this machine uses, and the open lock file that keeps it."""
    for offset in range(100):
        domain = 1 + (os.getpid() + offset) % 100
        lock = os.open(Path(tempfile.gettempdir(), f"fourd_test_domain_{domain}.lock"), os.O_CREAT | os.O_WRONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
        else:
            return domain, lock
    raise RuntimeError("a hundred test processes run already")


# Before the first rclpy context or MuJoCo import of the process; children inherit it.
_domain, _domain_lock = _reserve_domain()
os.environ["ROS_DOMAIN_ID"] = str(_domain)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_LOG_DIR"] = tempfile.mkdtemp(prefix="fourd_test_log_")
os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = str(ROOT / "config" / "fastdds_large_messages.xml")
os.environ.setdefault("MUJOCO_GL", "osmesa")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), str(ROOT / "test"), os.environ.get("PYTHONPATH"))))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tests kill processes, and each leaves 64 MiB of shared memory; the last one out cleans up."""
    if not hasattr(session.config, "workerinput"):
        left_segments(remove=True)


def _wait_for(condition: Callable[[], Any], what: str = "", timeout: float = TIMEOUT) -> Any:
    give_up = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > give_up:
            pytest.fail(f"not within {timeout} s: {what or condition}")
        time.sleep(0.005)
    return value


@pytest.fixture(scope="session")
def wait_for() -> Callable[..., Any]:
    """``wait_for(condition, what="", timeout=120)``: the first true value of `condition`."""
    return _wait_for


@contextmanager
def ros_context() -> Iterator[Any]:
    """The default rclpy context, without signal handlers."""
    import rclpy

    rclpy.init(args=[], signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    try:
        yield rclpy.get_default_context()
    finally:
        rclpy.try_shutdown()


@contextmanager
def spinning() -> Iterator[Callable[..., Any]]:
    """Yields ``spin(*nodes)``, which serves nodes from a background executor; they are destroyed at the end."""
    from fourd_ros.nodes.executor import make_executor

    running: list[tuple[Any, threading.Thread, tuple[Any, ...]]] = []

    def start(*nodes: Any) -> Any:
        executor = make_executor()
        for node in nodes:
            executor.add_node(node)
        thread = threading.Thread(target=executor.spin, daemon=True)
        thread.start()
        running.append((executor, thread, nodes))
        return nodes[0] if len(nodes) == 1 else nodes

    yield start
    for executor, thread, nodes in reversed(running):
        executor.shutdown(timeout_sec=5.0)
        thread.join(timeout=5.0)
        for node in nodes:
            node.destroy_node()


@pytest.fixture
def rclpy_context() -> Iterator[Any]:
    """A context that is fresh for this test."""
    with ros_context() as context:
        yield context


@pytest.fixture
def spin(rclpy_context: Any) -> Iterator[Callable[..., Any]]:
    """``spin(*nodes)``: see `spinning`."""
    with spinning() as start:
        yield start


@pytest.fixture
def call(spin: Any) -> Callable[..., Any]:
    """``call(srv_type, name, request, timeout=120)``: the response of a service, through a node of its own."""
    from rclpy.node import Node

    node = spin(Node("test_caller", use_global_arguments=False))

    def ask(srv_type: Any, name: str, request: Any, timeout: float = TIMEOUT) -> Any:
        client = node.create_client(srv_type, name)
        try:
            assert client.wait_for_service(timeout_sec=timeout), f"no service {name}"
            future = client.call_async(request)
            _wait_for(future.done, f"an answer of {name}", timeout)
            return future.result()
        finally:
            node.destroy_client(client)

    return ask


def _heed_interrupts() -> None:
    """What a shell starts in the background ignores Control-C, and so do the children of a test run there."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class OtherProcess:
    """A program in the same domain, its output kept for the report of a failing test."""

    def __init__(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment},
                cwd=log.parent,
                preexec_fn=_heed_interrupts,
            )

    def output(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def interrupt(self) -> int:
        """Control-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(TIMEOUT)

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(TIMEOUT)

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(TIMEOUT)


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[Callable[..., OtherProcess]]:
    """``other_process("-m", "fourd_ros.cli", ..., environment={})``: this Python in a process of its own."""
    started: list[OtherProcess] = []

    def start(*arguments: str, environment: dict[str, str] | None = None) -> OtherProcess:
        log = tmp_path / f"process_{len(started)}.log"
        started.append(OtherProcess([sys.executable, *arguments], log, environment or {}))
        return started[-1]

    yield start
    for other in started:
        if other.process.poll() is None:
            other.kill()
        print(f"--- {other.log.name} (exit status {other.process.returncode})\n{other.output()}")


def node_command(target: str, *ros_arguments: str, **parameters: Any) -> list[str]:
    """Command line of a node class (``package.module:NodeClass``) through the ``run`` that every executable uses."""
    module, name = target.split(":")
    code = f"import sys; from {module} import {name}; from fourd_ros.nodes.base import run; sys.exit(run({name}))"
    words = [word for key, value in parameters.items() for word in ("-p", f"{key}:={_ros_literal(value)}")]
    return [sys.executable, "-c", code, "--ros-args", *words, *ros_arguments]


def _ros_literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.fixture
def run_node(other_process: Any) -> Callable[..., OtherProcess]:
    """``run_node("package.module:NodeClass", **parameters)``: the node in a process of its own."""
    return lambda target, *arguments, **parameters: other_process(*node_command(target, *arguments, **parameters)[1:])
