"""The world model node over a bag: every instant is answered, from exactly what was recorded there."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import deserialize_message
from rig_bag import COMMANDED_AT, NS, SPEED, START_NS, first_joint, write_rig_bag
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.rollouts import read_frame
from fourd_ros.bridge.times import duration_to_seconds, stamp_to_ns
from fourd_ros.cli import main
from fourd_ros.client import ImagineFailed
from fourd_ros.data.bags import BagReader, BagWriter
from fourd_ros.errors import InvalidBag
from fourd_ros.nodes.bag_loop import BagLoop, BagLoopSettings, ImaginedInstant
from fourd_ros.records import RobotTrajectory

JOINT = "panda_joint1"


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rig_bag(tmp_path_factory.mktemp("bags") / "rig")


def settings(**changes: object) -> BagLoopSettings:
    fixed = {"horizon": 1.0, "step": 0.2, "every": 0.4, "backend": "kinematic", "parameters": {"image_format": "png"}}
    return BagLoopSettings(**{**fixed, **changes})  # type: ignore[arg-type]


def copy_without(bag: Path, target: Path, topic: str) -> Path:
    with BagReader(bag) as reader, BagWriter(target) as writer:
        for raw in reader.raw(set(reader.topics) - {topic}):
            writer.write_raw(raw.topic, raw.typename, raw.data, raw.stamp_ns)
    return target


@pytest.fixture(scope="module")
def answers(bag: Path) -> Iterator[list[ImaginedInstant]]:
    with BagLoop(bag, settings()) as loop:
        yield list(loop.run())


def test_every_instant_is_answered_from_its_own_stamp(answers: list[ImaginedInstant]) -> None:
    assert [answer.stamp_ns - START_NS for answer in answers] == [0, 400_000_000, 800_000_000]
    for answer in answers:
        (rollout,), (frames,) = answer.rollouts, answer.frames
        assert stamp_to_ns(rollout.header.stamp) == answer.stamp_ns
        assert [duration_to_seconds(time) for time in rollout.times_from_start] == pytest.approx(
            [0.2, 0.4, 0.6, 0.8, 1]
        )
        assert {(frame.view, frame.index) for frame in frames} == {(v, i) for v in ("front", "wrist") for i in range(5)}
        assert all(stamp_to_ns(f.header.stamp) == answer.stamp_ns + (f.index + 1) * NS // 5 for f in frames)


def test_the_future_is_that_of_the_command_and_the_start_that_of_the_joints(answers: list[ImaginedInstant]) -> None:
    for answer in answers:
        assert answer.motion == "commanded"
        began = (answer.stamp_ns - START_NS) / NS
        (rollout,) = answer.rollouts
        column = rollout.joints.joint_names.index(JOINT)
        for point in rollout.joints.points:
            later = began + duration_to_seconds(point.time_from_start)
            assert point.positions[column] == pytest.approx(SPEED * max(later - COMMANDED_AT, 0.0), abs=1e-6)
            held = rollout.joints.joint_names.index("panda_joint4")
            assert point.positions[held] == pytest.approx(-2.356194, abs=1e-6)


def test_the_same_bag_gives_the_same_futures(bag: Path, answers: list[ImaginedInstant]) -> None:
    with BagLoop(bag, settings(at=[0.4, 0.8])) as loop:
        again = list(loop.run())
    for first, second in zip(answers[1:], again, strict=True):
        for one, other in zip(first.frames[0], second.frames[0], strict=True):
            assert one.image.data == other.image.data and one.points.data == other.points.data


def test_given_candidates_are_imagined_side_by_side(bag: Path) -> None:
    moves = [
        RobotTrajectory(joint_names=(JOINT,), times=np.array([1.0]), positions=np.array([[goal]]))
        for goal in (0.3, -0.3)
    ]
    with BagLoop(bag, settings(views=["front"], voxel_size=0.02)) as loop:
        answer = loop.ask(loop.stamps[0], moves)
        later = loop.ask(loop.stamps[2], moves[:1], horizon=0.4)
    assert answer.motion == "given" and [rollout.candidate for rollout in answer.rollouts] == [0, 1]
    ends = [rollout.joints.points[-1].positions[0] for rollout in answer.rollouts]
    assert ends == pytest.approx([0.3, -0.3])
    assert [len(frames) for frames in answer.frames] == [5, 5]
    assert len(later.frames[0]) == 2 and later.stamp_ns == answer.stamp_ns + 800_000_000


def test_without_commands_the_measured_motion_is_asked_about_and_said_so(tmp_path: Path) -> None:
    bag = write_rig_bag(tmp_path / "bag", commands=False)
    with BagLoop(bag, settings(at=[0.8])) as loop:
        (answer,) = loop.run()
    assert answer.motion == "measured"
    assert answer.rollouts[0].joints.points[-1].positions[0] == pytest.approx(first_joint(1.8), abs=1e-3)


def test_images_recorded_late_are_waited_for(tmp_path: Path, answers: list[ImaginedInstant]) -> None:
    bag = write_rig_bag(tmp_path / "bag", late=0.15)
    with BagLoop(bag, settings(at=[0.4])) as loop:
        (answer,) = loop.run()
    assert answer.stamp_ns == answers[1].stamp_ns
    assert answer.frames[0][0].points.data == answers[1].frames[0][0].points.data


def test_what_a_bag_lacks_is_named(bag: Path, tmp_path: Path) -> None:
    for number, (topic, reason) in enumerate(
        [("/joint_states", "joint_states"), ("/robot_description", "robot_description"), ("/tf", "tf or tf_static")]
    ):
        with pytest.raises(InvalidBag, match=reason):
            BagLoop(copy_without(bag, tmp_path / str(number), topic), settings())
    for changes, reason in (
        ({"cameras": ["side"]}, r"no camera \['side'\]"),
        ({"at": [7.0]}, "from 0 to 2.000 s"),
        ({"horizon": 0.0}, "must be positive"),
    ):
        with pytest.raises(InvalidBag, match=reason):
            BagLoop(bag, settings(**changes))


def test_a_camera_without_depth_is_left_out(bag: Path, tmp_path: Path) -> None:
    copy = copy_without(bag, tmp_path / "copy", "/wrist/depth")
    with BagLoop(copy, settings(at=[0.4])) as loop:
        (answer,) = loop.run()
    assert {frame.view for frame in answer.frames[0]} == {"front"}


def test_questions_that_cannot_be_answered_are_typed_errors(bag: Path) -> None:
    with BagLoop(bag, settings()) as loop:
        with pytest.raises(InvalidBag, match="no instant"):
            loop.ask(START_NS + 1)
        wild = RobotTrajectory(joint_names=(JOINT,), times=np.array([0.1]), positions=np.array([[2.5]]))
        with pytest.raises(ImagineFailed, match=JOINT):
            loop.ask(loop.stamps[0], [wild])
        assert loop.ask(loop.stamps[0]).rollouts


def test_the_written_bag_holds_both(bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "both"
    options = ["--out", str(target), "--horizon", "0.8", "--step", "0.2", "--backend", "kinematic", "--json"]
    assert main(["imagine", str(bag), *options]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(row["at"], row["frames"]) for row in report["rollouts"]] == [(0.0, 8), (0.8, 8)]
    with BagReader(bag) as recorded, BagReader(target) as both:
        for topic in set(recorded.topics) - {"/tf"}:
            assert [m.data for m in both.raw([topic])] == [m.data for m in recorded.raw([topic])], topic
            assert both.topics[topic].latched == recorded.topics[topic].latched
        assert both.topics["/world_model/rollout"].count == 2
        frames = list(both.messages(["/world_model/rollout_frames"]))
        assert len(frames) == 16
        shown = [message.stamp_ns - START_NS for message in both.raw(["/world_model/imagined/points"])]
        assert shown == [200_000_000 * step for step in range(1, 9)]
        children = {
            transform.child_frame_id
            for raw in both.raw(["/tf"])
            for transform in deserialize_message(raw.data, TFMessage).transforms
        }
        assert {"imagined/panda_hand", "imagined/front", "panda_hand"} <= children
    with pytest.raises(InvalidBag, match="exists already"):
        raise_of_main(["imagine", str(bag), *options])


def raise_of_main(words: list[str]) -> None:
    """The error that the command turns into its exit status."""
    from fourd_ros.cli import build_parser

    args = build_parser("imagine").parse_args(words)
    args.run(args)


def test_frames_of_the_loop_read_as_records(answers: list[ImaginedInstant]) -> None:
    contents = read_frame(answers[0].frames[0][0])
    assert contents.rgb is not None and contents.rgb.shape == (48, 48, 3)
    assert contents.cloud is not None and len(contents.cloud["points"]) > 500
