"""Kinematic `Imagine`: from RGB-D in the node to the accepted result with serialised frames.

Two clocks. *Answer*: starts when the images, joints and transforms are in the node's observer as messages and stops
when the result and all its frames are serialised; nothing is sent. *Round trip*: starts in a client in another
process before the goal is sent and stops when result and frames have arrived there. The anchor beside them is a
plain copy of the bytes of the frames. *Cancel*: from the client's request to the goal's final state at the client,
while a model works in steps of 20 ms. Last, the active node's CPU time while nothing comes in.

    python benchmarks/imagine.py [--repeat 40]
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from measure import measure, percentiles, report, resident_mb

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "test"))
os.environ.setdefault("ROS_DOMAIN_ID", "97")
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

import rclpy  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from rclpy.serialization import serialize_message  # noqa: E402
from rig import Rig  # noqa: E402
from rig_ros import RigPublisher  # noqa: E402

from fourd_ros.nodes.transport import use_large_messages  # noqa: E402

STEPS = 16
STEP = 0.2
IDLE_SECONDS = 10.0
SETTLE_SECONDS = 6.0
"""After this the node has said what it waits for, and is idle."""

STAMP = 5_000_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=40, help="answers measured per row")
    args = parser.parse_args()
    use_large_messages()
    rows: list[dict[str, Any]] = []
    with rclpy.init(args=[]):
        rows.append(answer_row(128, 128, ("front",), args.repeat))
        rows.append(answer_row(128, 128, ("front", "wrist"), args.repeat))
        rows.append(answer_row(640, 480, ("front",), args.repeat))
        rows.append(round_trip_row(128, ("front",), args.repeat))
        rows.append(cancel_row(args.repeat // 2))
        rows.append(idle_row())
    report("imagine", rows)


def answer_row(width: int, height: int, cameras: tuple[str, ...], repeat: int) -> dict[str, Any]:
    """Everything that the node does for one goal, without the transport."""
    from fourd_ros.bridge.rollouts import make_frame
    from fourd_ros.nodes.world_model import WorldModelNode

    node = WorldModelNode(parameter_overrides=parameters(cameras))
    node.trigger_configure()
    node.trigger_activate()
    publisher = RigPublisher(Node("rig"), Rig(size=height, width=width), cameras=cameras)
    feed(node, publisher)
    goal = make_goal(publisher)
    sizes: list[int] = []

    def answer() -> list[bytes]:
        question = node.make_question(goal, checkpoint=lambda fraction: None)
        rollouts = list(node.ladder.models[0].imagine(question, checkpoint=lambda fraction: None))
        blobs = [serialize_message(node.to_message("id", rollout)) for rollout in rollouts]
        for view in cameras:
            for index in range(STEPS):
                blobs.append(serialize_message(make_frame(rollouts[0], "id", index, view)))
        sizes.append(sum(map(len, blobs)))
        return blobs

    timing = measure(answer, repeat=repeat, warmup=5)
    copied = np.frombuffer(b"".join(answer()), np.uint8)
    anchor = measure(lambda: copied.copy(), repeat=repeat)
    node.destroy_node()
    return {
        "what": f"answer, {STEPS} steps, {width} x {height}, {'+'.join(cameras)}",
        **{f"{name}_ms": value for name, value in timing.items()},
        "result_mb": sizes[-1] / 1e6,
        "memcpy_p50_ms": anchor["p50"],
        "rss_mb": resident_mb(),
    }


def round_trip_row(size: int, cameras: tuple[str, ...], repeat: int) -> dict[str, Any]:
    """Goal and frames through two processes."""
    from fourd_ros.bridge.trajectories import trajectory_from_message
    from fourd_ros.client import WorldModelClient

    with server(cameras), WorldModelClient.connect(timeout=30.0) as world:
        publisher = RigPublisher(world.node, Rig(size=size), cameras=cameras)
        candidate = trajectory_from_message(make_goal(publisher).candidates[0])

        def ask() -> None:
            rollouts = world.imagine([candidate], step=STEP).result(timeout=10.0)
            world.frames(rollouts[0].rollout_id)

        answered(world, publisher, ask)
        timing = measure(ask, repeat=repeat, warmup=5)
    return {
        "what": f"round trip, {STEPS} steps, {size} x {size}, {'+'.join(cameras)}",
        **{f"{name}_ms": value for name, value in timing.items()},
    }


def cancel_row(repeat: int) -> dict[str, Any]:
    """Cancel requests to a model with steps of 20 ms (the goal: 50 ms + 1 step)."""
    from slow_model import STEP as MODEL_STEP

    from fourd_ros.bridge.trajectories import trajectory_from_message
    from fourd_ros.client import ImagineFailed, WorldModelClient

    latencies = []
    with server(("front",), backend="slow_model:SlowModel"), WorldModelClient.connect(timeout=30.0) as world:
        publisher = RigPublisher(world.node, Rig(size=64), cameras=("front",))
        candidate = trajectory_from_message(make_goal(publisher).candidates[0])
        answered(world, publisher, lambda: world.imagine([candidate], step=STEP).result(timeout=10.0))
        for _ in range(repeat):
            working = threading.Event()
            handle = world.imagine([candidate], step=STEP, feedback=lambda f, w=working: w.set() if f.stage else None)
            working.wait(10.0)
            started = time.perf_counter()
            handle.cancel()
            with suppress(ImagineFailed):
                handle.result(timeout=10.0)
            latencies.append((time.perf_counter() - started) * 1e3)
    return {"what": "cancel", **{f"{k}_ms": v for k, v in percentiles(latencies).items()}, "step_ms": MODEL_STEP * 1e3}


def answered(world: Any, publisher: RigPublisher, ask: Callable[[], object]) -> None:
    """Publish instants until a question is answered."""
    from fourd_ros.client import ImagineFailed

    for attempt in range(100):
        publisher.publish(STAMP + attempt)
        try:
            ask()
            return
        except ImagineFailed:
            time.sleep(0.1)


def idle_row() -> dict[str, Any]:
    """CPU time of an active node that nothing is sent to."""
    from fourd_ros.client import WorldModelClient

    with server(("front", "wrist")) as process:
        with WorldModelClient.connect(timeout=30.0):
            pass
        time.sleep(SETTLE_SECONDS)
        before, started = cpu_seconds(process.pid), time.monotonic()
        time.sleep(IDLE_SECONDS)
        used = (cpu_seconds(process.pid) - before) / (time.monotonic() - started)
    return {"what": "active node without input", "cpu_percent": 100 * used}


def parameters(cameras: tuple[str, ...]) -> list[Parameter]:
    return [Parameter("cameras", value=list(cameras)), Parameter("autostart", value=False)]


def feed(node: Any, publisher: RigPublisher) -> None:
    """Hand one instant to the node's observer as messages."""
    from std_msgs.msg import String

    from fourd_ros.robot.panda import panda_description

    node._take_description(String(data=panda_description().text))
    observer = node._observer
    for topic, message in publisher.messages(STAMP).items():
        if topic == "/tf":
            for transform in message.transforms:
                observer.transforms.add(transform)
        elif topic == "joint_states":
            observer.add_joints(message)
        elif topic.endswith("camera_info"):
            observer.add_info(topic.split("/")[0], message)
    for topic, message in publisher.messages(STAMP).items():
        if topic.endswith(("/image", "/depth")):
            observer.add_image(*topic.split("/"), message)


def make_goal(publisher: RigPublisher) -> Any:
    """Turn the robot by 0.6 rad within the horizon."""
    from builtin_interfaces.msg import Duration
    from fourd_msgs.action import Imagine
    from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

    horizon = STEPS * STEP
    end = JointTrajectoryPoint(
        positions=[0.6], time_from_start=Duration(sec=int(horizon), nanosec=round(horizon % 1 * 1e9))
    )
    return Imagine.Goal(candidates=[JointTrajectory(joint_names=["panda_joint1"], points=[end])], num_samples=1)


@contextmanager
def server(cameras: tuple[str, ...], *, backend: str = "kinematic") -> Iterator["subprocess.Popen[bytes]"]:
    """A world model node in another process."""
    command = [
        sys.executable,
        "-m",
        "fourd_ros.nodes.world_model",
        "--ros-args",
        "-p",
        f"cameras:=[{', '.join(cameras)}]",
    ]
    command += ["-p", f"backends:=['{backend}']", "-p", "image_reliability:=reliable", "--log-level", "error"]
    path = os.pathsep.join([str(ROOT / "test"), str(ROOT)])
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10.0)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and its waited-for children [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
