"""The Imagine action, its frames and its topics, through two processes."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticArray
from fourd_msgs.action import Imagine
from fourd_msgs.msg import Rollout
from fourd_msgs.srv import GetRolloutFrames
from rclpy.node import Node
from rclpy.parameter import Parameter
from rig import Rig
from rig_ros import RigPublisher
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState, PointCloud2
from test_node_base import resident_bytes
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from fourd_ros.bridge.clouds import read_cloud
from fourd_ros.bridge.rollouts import read_frame
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.client import ImagineFailed, ServerUnavailable, WorldModelClient
from fourd_ros.geometry.transforms import apply
from fourd_ros.nodes.base import make_executor
from fourd_ros.nodes.world_model import WorldModelNode
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.panda import PANDA_URDF

HERE = Path(__file__).resolve().parent
STAMP = 5_000_000_000
Result = Imagine.Result


@dataclass
class Stage:
    """A server in another process, a rig that feeds it, and a client."""

    node: Node
    client: WorldModelClient
    publisher: RigPublisher
    server: Any
    start_server: Callable[[], Any]
    wait_for: Callable[..., Any]
    counters: dict[str, int]

    def reach(self, **changes: float) -> RobotTrajectory:
        """A motion of one second from the rig's posture to a changed one."""
        joints = self.publisher.rig.joints
        assert joints is not None
        names = tuple(self.publisher.rig.robot.kinematics.joint_names)
        start = np.array([joints[name] for name in names])
        goal = np.array([{**joints, **changes}[name] for name in names])
        return RobotTrajectory(joint_names=names, times=np.array([0.0, 1.0]), positions=np.stack([start, goal]))

    def observed(self, stamp_ns: int = STAMP) -> None:
        """Publish until the server can answer about that instant."""

        def answered() -> bool:
            self.publisher.publish(stamp_ns)
            try:
                self.ask(backend="kinematic", observation_stamp_ns=stamp_ns).result(timeout=10.0)
            except ImagineFailed:
                return False
            return True

        self.wait_for(answered, "an answer")

    def ask(self, *candidates: Any, **options: Any) -> Any:
        return self.client.imagine(candidates or [self.reach(panda_joint1=0.3)], **options)

    def fails(self, code: int, *candidates: Any, **options: Any) -> ImagineFailed:
        """Ask, and expect this error code; the next good question must be answered."""
        with pytest.raises(ImagineFailed) as caught:
            self.ask(*candidates, **options).result(timeout=10.0)
        assert caught.value.code == code, str(caught.value)
        assert self.ask(backend="kinematic").result(timeout=10.0)
        return caught.value

    def counted(self, kind: str) -> None:
        """Wait for a counter on /diagnostics."""
        self.wait_for(lambda: self.counters.get(kind, 0) > 0, f"counter {kind}: {self.counters}")


def listen_to_diagnostics(node: Node) -> dict[str, int]:
    counters: dict[str, int] = {}

    def take(message: DiagnosticArray) -> None:
        for status in message.status:
            if "world_model" in status.name:
                counters.update({v.key: int(v.value) for v in status.values if v.value.isdigit()})

    node.create_subscription(DiagnosticArray, "/diagnostics", take, 10)
    return counters


@pytest.fixture
def stage(spin: Any, other_process: Any, wait_for: Any) -> Iterator[Stage]:
    node = spin(Node("test_client", use_global_arguments=False))

    def start_server() -> Any:
        return other_process(
            "-m", "fourd_ros.nodes.world_model", "--ros-args",
            "-p", "cameras:=[front, wrist]",
            "-p", "backends:=[kinematic, 'slow_model:SlowModel']",
            "-p", "max_queued_goals:=3", "-p", "diagnostics_period:=0.2", "-p", "max_pixels:=1000000",
            "-p", "image_reliability:=reliable", "-p", "store_megabytes:=100.0",
            environment={"PYTHONPATH": f"{HERE}:{HERE.parent}"},
        )  # fmt: skip

    server = start_server()
    client = WorldModelClient(node)
    publisher = RigPublisher(node, Rig(size=64))
    client.wait(timeout=30.0)
    stage = Stage(node, client, publisher, server, start_server, wait_for, listen_to_diagnostics(node))
    stage.observed()
    yield stage
    client.destroy()
    if stage.server.process.poll() is None:
        stage.server.terminate()


def test_candidates_samples_frames_and_topics(stage: Stage) -> None:
    """The whole way: several candidates and samples, frames in pages, streaming, playback."""
    candidates = [stage.reach(panda_joint1=0.4), stage.reach(panda_joint1=-0.4)]
    rollouts = stage.ask(*candidates, backend="kinematic", num_samples=2, step=0.25, observation_stamp_ns=STAMP).result(
        timeout=10.0
    )
    assert [(r.candidate, r.sample) for r in rollouts] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert stamp_to_ns(rollouts[0].header.stamp) == STAMP and rollouts[0].header.frame_id == "panda_link0"
    assert len(rollouts[0].times_from_start) == 4 and rollouts[0].views == ["front", "wrist"]

    frames = [read_frame(frame) for frame in stage.client.frames(rollouts[0].rollout_id)]
    assert [(f.index, f.view) for f in frames[:3]] == [(0, "front"), (0, "wrist"), (1, "front")]
    assert frames[-1].stamp_ns == STAMP + 1_000_000_000 and frames[-1].joints["panda_joint1"] == pytest.approx(0.4)
    assert {1, 2} <= set(np.unique(frames[0].cloud["label"]))
    assert frames[0].rgb.shape == (64, 64, 3) and not frames[0].observed.all()
    paged = stage.client.frames(rollouts[0].rollout_id, max_bytes=250_000)
    assert [(f.index, f.view) for f in paged] == [(f.index, f.view) for f in frames]

    back = trajectory(J1, (1.0, [0.1]))
    onward = stage.ask(back, backend="kinematic", start_rollout_id=rollouts[0].rollout_id).result(10.0)
    assert stamp_to_ns(onward[0].header.stamp) == STAMP + 1_000_000_000

    _check_streaming(stage)
    _check_live_cloud(stage)


def _check_live_cloud(stage: Stage) -> None:
    clouds: list[PointCloud2] = []
    stage.node.create_subscription(PointCloud2, "world_model/points", clouds.append, 5)
    stage.wait_for(lambda: clouds, "the live cloud")
    assert stamp_to_ns(clouds[0].header.stamp) == STAMP and clouds[0].header.frame_id == "panda_link0"
    points = read_cloud(clouds[0])["points"]
    truth = stage.publisher.rig.view("front")
    expected = apply(truth.T_world_camera, truth.points[np.isfinite(truth.points[..., 2])])
    np.testing.assert_allclose(points[: len(expected)], expected, atol=1e-3)


def _check_streaming(stage: Stage) -> None:
    got: dict[str, list[Any]] = {"rollout": [], "points": [], "image": [], "joint_states": []}
    for topic, kind in (("rollout", Rollout), ("imagined/points", PointCloud2), ("imagined/image", Image),
                        ("imagined/joint_states", JointState)):  # fmt: skip
        stage.node.create_subscription(kind, f"world_model/{topic}", got[topic.split("/")[-1]].append, 20)
    commands = stage.node.create_publisher(JointTrajectory, "trajectory", 5)
    stage.wait_for(lambda: commands.get_subscription_count() == 1, "the trajectory subscription")
    for topic in ("rollout", "imagined/points", "imagined/image", "imagined/joint_states"):
        stage.wait_for(lambda t=topic: stage.node.get_publishers_info_by_topic(f"world_model/{t}"), topic)
    command = JointTrajectory(
        joint_names=["panda_joint1"],
        points=[JointTrajectoryPoint(positions=[0.2], time_from_start=Duration(nanosec=400_000_000))],
    )
    commands.publish(command)
    stage.wait_for(lambda: got["rollout"] and len(got["joint_states"]) >= 2 and len(got["points"]) >= 2, "playback")
    assert got["rollout"][0].backend == "slow"
    assert stamp_to_ns(got["points"][0].header.stamp) > STAMP and got["points"][0].header.frame_id == "panda_link0"
    stamps = [stamp_to_ns(message.header.stamp) for message in got["joint_states"]]
    assert stamps == sorted(set(stamps))


def test_previews_deadlines_slots_queue_and_cancel(stage: Stage) -> None:
    """What the slow backend is for."""
    previews: list[Any] = []
    rollouts = stage.ask(feedback=previews.append).result(timeout=10.0)
    assert rollouts[0].backend == "slow"
    assert [f.preview.backend for f in previews if f.stage == Imagine.Feedback.REFINING] == ["kinematic"]
    assert previews[-1].progress == pytest.approx(1.0)

    assert stage.ask(deadline=0.9).result(timeout=10.0)[0].backend == "kinematic"
    stage.fails(Result.DEADLINE_MISSED, deadline=0.9, backend="slow")

    handle = stage.ask(backend="slow")
    time.sleep(0.1)
    assert handle.cancel()
    with pytest.raises(ImagineFailed) as caught:
        handle.result(timeout=10.0)
    assert (caught.value.code, caught.value.status) == (Result.CANCELLED, GoalStatus.STATUS_CANCELED)

    old, new = stage.ask(backend="slow", slot="plan"), stage.ask(backend="slow", slot="plan")
    with pytest.raises(ImagineFailed) as caught:
        old.result(timeout=10.0)
    assert (caught.value.code, caught.value.status) == (Result.SUPERSEDED, GoalStatus.STATUS_ABORTED)
    assert new.result(timeout=10.0)

    waiting = [stage.ask(backend="slow") for _ in range(3)]
    assert waiting[2].cancel()
    with pytest.raises(ImagineFailed):
        waiting[2].result(timeout=10.0)
    assert waiting[0].result(timeout=10.0) and waiting[1].result(timeout=10.0)


def test_a_question_that_waits_for_inputs_is_cancelled_at_once(spin: Any, other_process: Any, wait_for: Any) -> None:
    node = spin(Node("test_client", use_global_arguments=False))
    other_process("-m", "fourd_ros.nodes.world_model", "--ros-args", "-p", "observation_timeout:=60.0")
    client = WorldModelClient(node)
    client.wait(timeout=30.0)
    RigPublisher(node, Rig(size=32), cameras=("front",))
    observing: list[Any] = []
    handle = client.imagine([trajectory(J1, (1.0, [0.1]))], feedback=observing.append)
    wait_for(lambda: observing, "the goal to be looked at")
    assert handle.cancel()
    with pytest.raises(ImagineFailed) as caught:
        handle.result(timeout=10.0)
    assert caught.value.code == Result.CANCELLED
    client.destroy()


def test_a_thousand_goals_at_once(stage: Stage) -> None:
    handles = [stage.ask(backend="kinematic") for _ in range(1000)]
    answered, rejected = 0, 0
    for handle in handles:
        try:
            handle.result(timeout=60.0)
            answered += 1
        except ImagineFailed as error:
            rejected += error.code == 0
    assert answered >= 4 and rejected > 0 and answered + rejected == 1000
    stage.counted("queue_full")
    assert stage.ask(backend="kinematic").result(timeout=10.0)


def test_a_killed_server_is_noticed_and_a_new_one_serves(stage: Stage) -> None:
    handle = stage.ask(backend="slow")
    stage.wait_for(lambda: handle._goal is not None, "acceptance")
    stage.server.kill()
    with pytest.raises(ServerUnavailable):
        handle.result(timeout=30.0)
    stage.server = stage.start_server()
    stage.client.wait(timeout=30.0)
    stage.observed(STAMP + 1_000_000_000)


def trajectory(names: list[str], *points: tuple[float, list[float]]) -> JointTrajectory:
    """A message with the given times [s] and positions."""
    return JointTrajectory(
        joint_names=names,
        points=[
            JointTrajectoryPoint(
                positions=positions, time_from_start=Duration(sec=int(t), nanosec=round((t % 1) * 1e9))
            )
            for t, positions in points
        ],
    )


J1 = ["panda_joint1"]
BAD_GOALS: dict[str, tuple[int, list[Any], dict[str, Any]]] = {
    "no points": (Result.INVALID_TRAJECTORY, [trajectory(J1)], {}),
    "times that go back": (Result.INVALID_TRAJECTORY, [trajectory(J1, (1.0, [0.1]), (0.5, [0.2]))], {}),
    "too long": (Result.INVALID_TRAJECTORY, [trajectory(J1, (1.0, [0.1]), (1000.0, [0.2]))], {}),
    "too fast": (Result.JOINT_LIMIT_EXCEEDED, [trajectory(J1, (0.01, [2.0]))], {}),
    "beyond limits": (Result.JOINT_LIMIT_EXCEEDED, [trajectory(J1, (50.0, [9.0]))], {}),
    "unknown joint": (Result.INVALID_JOINTS, [trajectory(["elbow"], (1.0, [0.1]))], {}),
    "duplicate joint": (Result.INVALID_JOINTS, [trajectory(J1 * 2, (1.0, [0.1, 0.1]))], {}),
    "NaN": (Result.INVALID_JOINTS, [trajectory(J1, (1.0, [float("nan")]))], {}),
    "unknown view": (Result.MISSING_CAMERA, [], {"views": ["ceiling"]}),
    "unknown backend": (Result.UNKNOWN_BACKEND, [], {"backend": "crystal_ball"}),
    "unknown rollout": (Result.UNKNOWN_ROLLOUT, [], {"start_rollout_id": "nobody"}),
    "too many steps": (Result.TOO_LARGE, [], {"horizon": 50.0, "step": 0.001}),
    "too many samples": (Result.TOO_LARGE, [], {"num_samples": 60000}),
    "an answer larger than the store": (Result.TOO_LARGE, [], {"num_samples": 16, "step": 0.02}),
    "forgotten instant": (Result.UNKNOWN_OBSERVATION, [], {"observation_stamp_ns": 1_000_000_000}),
}


def test_bad_goals_get_a_typed_error_and_a_counter(stage: Stage) -> None:
    for what, (code, candidates, options) in BAD_GOALS.items():
        error = stage.fails(code, *candidates, **options)
        assert str(error), what
    with pytest.raises(ImagineFailed) as caught:
        stage.client.send(Imagine.Goal(), read=lambda result: result, feedback=None).result(timeout=10.0)
    assert caught.value.code == Result.INVALID_TRAJECTORY
    for kind in ("invalid_trajectory", "joint_limit_exceeded", "invalid_joints", "missing_camera", "too_large"):
        stage.counted(kind)
    permuted = trajectory(["panda_joint2", "panda_joint1"], (1.0, [-0.7, 0.25]))
    answer = stage.ask(permuted, backend="kinematic").result(timeout=10.0)[0]
    names = list(answer.joints.joint_names)
    assert answer.joints.points[-1].positions[names.index("panda_joint1")] == pytest.approx(0.25)


def test_bad_frame_requests(stage: Stage) -> None:
    rollout = stage.ask(backend="kinematic").result(timeout=10.0)[0]
    for code, options in (
        (GetRolloutFrames.Response.UNKNOWN, {"rollout_id": "nobody"}),
        (GetRolloutFrames.Response.UNKNOWN, {"rollout_id": rollout.rollout_id, "indices": [99]}),
        (GetRolloutFrames.Response.UNKNOWN, {"rollout_id": rollout.rollout_id, "views": ["ceiling"]}),
        (GetRolloutFrames.Response.TOO_LARGE, {"rollout_id": rollout.rollout_id, "max_bytes": 100}),
        (GetRolloutFrames.Response.INVALID, {"rollout_id": rollout.rollout_id, "voxel_size": float("inf")}),
        (GetRolloutFrames.Response.INVALID, {"rollout_id": rollout.rollout_id, "voxel_size": 1e-12}),
    ):
        with pytest.raises(ImagineFailed) as caught:
            stage.client.frames(**options)
        assert caught.value.code == code
    assert stage.client.frames(rollout.rollout_id)
    stage.counted("unknown_rollout")


def bad_inputs(stage: Stage) -> dict[str, tuple[str, dict[str, Any]]]:
    """Topic changes that must be refused: the counter they raise, and the messages."""
    good = stage.publisher.messages(STAMP + 10**9)

    def changed(topic: str, **fields: Any) -> dict[str, Any]:
        message = stage.publisher.messages(STAMP + 10**9)[topic]
        for name, value in fields.items():
            setattr(message, name, value)
        return {topic.replace("/", "__"): message}

    huge = Image(header=good["front/image"].header, width=8000, height=8000, step=24000, encoding="rgb8", data=b"\0")
    joints = good["joint_states"]
    return {
        "wrong encoding": ("invalid_image", changed("front/image", encoding="yuv422")),
        "wrong step": ("invalid_image", changed("front/image", step=7)),
        "wrong size": ("invalid_image", changed("front/depth", height=9000)),
        "8000 x 8000": ("image_too_large", {"front__image": huge}),
        "zero K": ("invalid_camera", changed("front/camera_info", k=np.zeros(9))),
        "NaN K": ("invalid_camera", changed("front/camera_info", k=np.full(9, np.nan))),
        "NaN joints": ("invalid_joints", changed("joint_states", position=[float("nan")] * len(joints.name))),
        "unknown joints": (
            "unknown_joints",
            changed("joint_states", name=[*joints.name, "bogus"], position=[*joints.position, 0.0]),
        ),
        "duplicate joints": ("invalid_joints", changed("joint_states", name=["a"] * len(joints.name))),
    }


def test_bad_inputs_raise_a_counter_and_nothing_is_lost(stage: Stage) -> None:
    for step, (what, (kind, changes)) in enumerate(bad_inputs(stage).items()):
        before = stage.counters.get(kind, 0)
        stage.publisher.publish(STAMP + 10**9 + step, **changes)
        stage.wait_for(lambda k=kind, n=before: stage.counters.get(k, 0) > n, f"{what} -> {kind}: {stage.counters}")
        assert stage.ask(backend="kinematic").result(timeout=10.0), what
    stage.observed(STAMP + 2 * 10**9)


def test_future_stamps_and_tf_gaps(stage: Stage) -> None:
    late = STAMP + 60 * 10**9
    stage.publisher.publish(late, **{"/tf": None})
    stage.fails(Result.TRANSFORM_UNAVAILABLE, observation_stamp_ns=late)
    stage.counted("transform_unavailable")


def test_images_without_calibration_are_named(spin: Any, other_process: Any, wait_for: Any) -> None:
    node = spin(Node("test_client", use_global_arguments=False))
    other_process("-m", "fourd_ros.nodes.world_model", "--ros-args", "-p", "cameras:=[front]",
                  "-p", "image_reliability:=reliable", "-p", "diagnostics_period:=0.2")  # fmt: skip
    counters = listen_to_diagnostics(node)
    client = WorldModelClient(node)
    client.wait(timeout=30.0)
    publisher = RigPublisher(node, Rig(size=32), cameras=("front",))

    def counted() -> bool:
        publisher.publish(STAMP, front__camera_info=None)
        return counters.get("missing_camera", 0) > 0

    wait_for(counted, "missing_camera")
    stage = Stage(node, client, publisher, None, lambda: None, wait_for, counters)
    stage.observed(STAMP + 10**9)


def test_a_clock_that_jumps_clears_what_was_seen(spin: Any, other_process: Any, wait_for: Any) -> None:
    node = spin(Node("test_client", use_global_arguments=False))
    other_process(
        "-m", "fourd_ros.nodes.world_model", "--ros-args", "-p", "cameras:=[front]", "-p", "use_sim_time:=true",
        "-p", "image_reliability:=reliable", "-p", "diagnostics_period:=0.2",
    )  # fmt: skip
    clock = node.create_publisher(Clock, "/clock", 10)
    client = WorldModelClient(node)
    client.wait(timeout=30.0)
    wait_for(lambda: clock.get_subscription_count() > 0, "a subscriber of /clock")
    publisher = RigPublisher(node, Rig(size=32), cameras=("front",))
    stage = Stage(node, client, publisher, None, lambda: None, wait_for, listen_to_diagnostics(node))
    now: list[int] = []
    node.create_subscription(DiagnosticArray, "/diagnostics", lambda message: now.append(message.header.stamp.sec), 10)

    def reads(stamp: int) -> bool:
        clock.publish(Clock(clock=Time(sec=stamp)))
        return bool(now) and now[-1] == stamp

    for stamp, counter in ((100, ""), (50, "clock_jump_backward"), (500, "clock_jump_forward")):
        wait_for(lambda s=stamp: reads(s), f"the node's clock at {stamp} s")
        if counter:
            stage.counted(counter)
            with pytest.raises(ImagineFailed) as caught:
                stage.ask(backend="kinematic").result(timeout=10.0)
            assert caught.value.code == Result.NO_OBSERVATION
        stage.observed(stamp * 10**9)


def test_a_hundred_lifecycle_cycles_do_not_grow(rclpy_context: Any) -> None:
    """Configure, activate, deactivate and cleanup in one process, with a robot loaded every time."""
    overrides = {
        "cameras": ["front"],
        "autostart": False,
        "robot_description_file": str(PANDA_URDF),
        "backends": ["kinematic"],
        "rehearsal_seconds": 0.0,
    }
    node = WorldModelNode(parameter_overrides=[Parameter(name, value=value) for name, value in overrides.items()])
    executor = make_executor()
    executor.add_node(node)
    spinner = threading.Thread(target=executor.spin, daemon=True)
    spinner.start()
    sizes = []
    for _ in range(105):
        for transition in (
            node.trigger_configure,
            node.trigger_activate,
            node.trigger_deactivate,
            node.trigger_cleanup,
        ):
            assert transition().name == "SUCCESS"
        sizes.append(resident_bytes())
    executor.shutdown()
    spinner.join()
    node.destroy_node()
    assert sizes[-1] - sizes[4] < 20e6
