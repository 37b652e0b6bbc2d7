"""`Imagine` on every rung: from RGB-D in the node to the accepted result with serialised frames.

Two clocks. *Answer*: starts when the images, joints and transforms are in the node's observer as messages and stops
when the result and all its frames are serialised; nothing is sent. *Round trip*: starts in a client in another
process before the goal is sent and stops when result and frames have arrived there. The anchor beside them is a
plain copy of the bytes of the frames. The gripper sweeps through a box within 3.2 s, imagined in 16 frames; each
answer row has a process of its own, so its memory is that of one node with one rung. *Samples* and *candidates* ask
the model itself: eight futures of one motion beside one, and motions scored by their objects alone, as a planner does.
*Cancel*: from the client's request to the goal's final state at the client, while a model works in steps of 20 ms.
Last, the active node's CPU time while nothing comes in.

    python benchmarks/imagine.py [--repeat 40] [--compact-model DIR]
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from measure import measure, measure_side_by_side, percentiles, report, resident_mb

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

from fourd_ros.demo.candidates import plan  # noqa: E402
from fourd_ros.nodes.transport import use_large_messages  # noqa: E402
from fourd_ros.world_model.base import SHIPPED_BACKENDS, ModelOptions, Question, load_backend  # noqa: E402

STEPS = 16
STEP = 0.2
IDLE_SECONDS = 10.0
SETTLE_SECONDS = 6.0
"""After this the node has said what it waits for, and is idle."""

STAMP = 5_000_000_000
SAMPLES = 8
CANDIDATES = 64
SPREAD = 0.02
"""Candidates differ by this in every joint [rad | m]."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=40, help="answers measured per row")
    parser.add_argument("--compact-model", default="world_model_compact", help="weights of points and compact")
    args = parser.parse_args()
    use_large_messages()
    repeat, weights = args.repeat, args.compact_model
    rows = [alone(answer_row, "kinematic", 128, 128, ("front", "wrist"), repeat, weights)]
    for backend in SHIPPED_BACKENDS:
        rows.append(alone(answer_row, backend, 128, 128, ("front",), repeat, weights))
        rows.append(alone(answer_row, backend, 640, 480, ("front",), repeat, weights))
        rows.append(alone(round_trip_row, backend, 128, ("front",), repeat, weights))
    rows.append(alone(samples_row, "compact", repeat, weights))
    rows.append(alone(candidates_row, repeat, weights))
    rows.append(alone(cancel_row, repeat // 2))
    rows.append(alone(idle_row))
    report("imagine", rows)


def alone(make_row: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """A row from a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(in_ros, (make_row, *arguments))


def in_ros(make_row: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    """A row with ROS running."""
    use_large_messages()
    with rclpy.init(args=[]):
        return make_row(*arguments)


def answer_row(
    backend: str, width: int, height: int, cameras: tuple[str, ...], repeat: int, weights: str
) -> dict[str, Any]:
    """Everything that the node does for one goal, without the transport."""
    from fourd_ros.bridge.rollouts import make_frame
    from fourd_ros.nodes.world_model import WorldModelNode

    node = WorldModelNode(parameter_overrides=parameters(cameras, backend, weights))
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
        "what": f"answer of {backend}, {width} x {height}, {'+'.join(cameras)}",
        **{f"{name}_ms": value for name, value in timing.items()},
        "times_real_time": STEPS * STEP / (timing["p95"] * 1e-3),
        "result_mb": sizes[-1] / 1e6,
        "memcpy_p50_ms": anchor["p50"],
        "rss_mb": resident_mb(),
    }


def samples_row(backend: str, repeat: int, weights: str) -> dict[str, Any]:
    """Several futures of one motion beside one."""
    model = load_backend(backend).from_options(ModelOptions(compact_model=weights))
    question = make_question()
    several = replace(question, num_samples=SAMPLES)
    timing = measure_side_by_side(
        {
            "one": lambda: list(model.imagine(question, checkpoint=lambda fraction: None)),
            "several": lambda: list(model.imagine(several, checkpoint=lambda fraction: None)),
        },
        repeat=max(repeat // 4, 3),
    )
    return {
        "what": f"{SAMPLES} samples of {backend}, 128 x 128",
        **{f"{name}_ms": value for name, value in timing["several"].items()},
        "one_p50_ms": timing["one"]["p50"],
        "ratio": timing["several"]["p50"] / timing["one"]["p50"],
    }


def candidates_row(repeat: int, weights: str) -> dict[str, Any]:
    """How many motions a planner scores by what happens to the objects, in batches and without pictures."""
    from fourd_ros.world_model.compact.points import PointsModel

    model = PointsModel.from_options(ModelOptions(compact_model=weights))
    question = make_question()
    draws = np.random.default_rng(0).normal(scale=SPREAD, size=(CANDIDATES, len(question.candidates[0].joint_names)))
    candidates = tuple(replace(c, positions=c.positions + draw) for c in question.candidates for draw in draws)
    batch = replace(question, candidates=candidates)
    timing = measure(lambda: model.predict(batch, judged=False), repeat=max(repeat // 4, 3))
    return {
        "what": f"{CANDIDATES} candidates scored by points",
        **{f"{name}_ms": value for name, value in timing.items()},
        "candidates_per_s": CANDIDATES / (timing["p50"] * 1e-3),
    }


def make_question() -> Question:
    """What the rows ask the node, without it."""
    rig = Rig(size=128)
    observation = rig.observation(views=("front",))
    return Question(
        robot=rig.robot,
        observation=observation,
        candidates=(plan(rig.robot, observation)[0].trajectory,),
        times=STEP * np.arange(1, STEPS + 1),
        views=("front",),
    )


def round_trip_row(backend: str, size: int, cameras: tuple[str, ...], repeat: int, weights: str) -> dict[str, Any]:
    """Goal and frames through two processes."""
    from fourd_ros.bridge.trajectories import trajectory_from_message
    from fourd_ros.client import WorldModelClient

    with server(cameras, backend=backend, weights=weights), WorldModelClient.connect(timeout=30.0) as world:
        publisher = RigPublisher(world.node, Rig(size=size), cameras=cameras)
        candidate = trajectory_from_message(make_goal(publisher).candidates[0])

        def ask() -> None:
            rollouts = world.imagine([candidate], step=STEP).result(timeout=10.0)
            world.frames(rollouts[0].rollout_id)

        answered(world, publisher, ask)
        timing = measure(ask, repeat=repeat, warmup=5)
    return {
        "what": f"round trip of {backend}, {size} x {size}, {'+'.join(cameras)}",
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


def parameters(cameras: tuple[str, ...], backend: str, weights: str) -> list[Parameter]:
    values = {"cameras": list(cameras), "autostart": False, "backends": [backend], "compact_model": weights}
    return [Parameter(name, value=value) for name, value in values.items()]


def feed(node: Any, publisher: RigPublisher) -> None:
    """Hand one instant to the node's observer as messages."""
    from std_msgs.msg import String

    from fourd_ros.robot.panda import panda_description

    node.watch.take_description(String(data=panda_description().text))
    observer = node.watch.observer
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
    """The closed gripper sweeps through the box of the rig within the horizon."""
    from builtin_interfaces.msg import Time
    from fourd_msgs.action import Imagine
    from std_msgs.msg import Header

    from fourd_ros.bridge.trajectories import trajectory_to_message

    rig = publisher.rig
    motion = plan(rig.robot, rig.observation())[0].trajectory
    return Imagine.Goal(candidates=[trajectory_to_message(motion, Header(stamp=Time()))], num_samples=1)


@contextmanager
def server(
    cameras: tuple[str, ...], *, backend: str = "kinematic", weights: str = ""
) -> Iterator["subprocess.Popen[bytes]"]:
    """A world model node in another process."""
    command = [
        sys.executable,
        "-m",
        "fourd_ros.nodes.world_model",
        "--ros-args",
        "-p",
        f"cameras:=[{', '.join(cameras)}]",
    ]
    if weights:
        command += ["-p", f"compact_model:={weights}"]
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
