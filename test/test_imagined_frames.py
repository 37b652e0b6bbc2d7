"""Frames of an imagined state, chunk after chunk."""

from collections.abc import Iterator

import numpy as np
import pytest
from rig import Rig, posed
from test_kinematic import holding

from fourd_ros.errors import DriftTooLarge
from fourd_ros.records import Observation, RobotTrajectory, Rollout
from fourd_ros.world_model.base import Checkpoint, Question
from fourd_ros.world_model.imagined_frames import ImaginedFrames
from fourd_ros.world_model.imagined_state import ImaginedState
from fourd_ros.world_model.kinematic import KinematicModel

PERIOD = 0.2
JOINT = "panda_joint1"
FINGER = "panda_finger_joint1"


class Noted(KinematicModel):
    """Notes how many frames were asked for at once."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        self.asked.append(len(question.times))
        return super().imagine(question, checkpoint=checkpoint)


@pytest.fixture(scope="module")
def rig() -> Rig:
    return Rig(size=32)


def frames_of(
    rig: Rig, *, horizon: float = 60.0, longest_chunk: int = 4, max_anchors: int = 9
) -> tuple[ImaginedFrames, Noted]:
    model = Noted()
    state = ImaginedState(model, rig.robot, rig.observation(), horizon=horizon)
    return ImaginedFrames(state, period=PERIOD, longest_chunk=longest_chunk, max_anchors=max_anchors), model


def turn(goal: float, seconds: float) -> RobotTrajectory:
    return RobotTrajectory(joint_names=(JOINT,), times=np.array([seconds]), positions=np.array([[goal]]))


def take(frames: ImaginedFrames, count: int) -> list[Observation]:
    return [frames.next() for _ in range(count)]


def test_chunks_grow_and_show_what_single_frames_show(rig: Rig) -> None:
    start = rig.observation().joint_positions[JOINT]
    (many, asked), (single, _) = frames_of(rig), frames_of(rig, longest_chunk=1)
    for frames in (many, single):
        frames.command(turn(start + 0.4, 2.0), now=0.0)
    seen, alone = take(many, 9), take(single, 9)
    assert asked.asked == [1, 2, 4, 4]
    assert [frame.joint_positions[JOINT] - start for frame in seen] == pytest.approx(0.04 * np.arange(9), abs=1e-6)
    for one, other in zip(seen, alone, strict=True):
        np.testing.assert_array_equal(one.views["front"].rgb, other.views["front"].rgb)


def test_the_first_frame_is_the_start(rig: Rig) -> None:
    frames, _ = frames_of(rig)
    np.testing.assert_array_equal(frames.next().views["front"].rgb, rig.observation().views["front"].rgb)
    assert not frames.deviation(0.1)[0].any()


def test_a_command_overtakes_what_was_imagined_ahead(rig: Rig) -> None:
    start = rig.observation().joint_positions[JOINT]
    frames, model = frames_of(rig)
    take(frames, 3)
    model.asked.clear()
    frames.command(turn(start + 0.3, 0.3), now=0.5)
    positions = [frame.joint_positions[JOINT] - start for frame in take(frames, 3)]
    assert positions == pytest.approx([0.1, 0.3, 0.3], abs=1e-5)
    assert model.asked[0] == 2, "the frame that is due and the next one"


def test_fingers_stop_at_what_they_hold() -> None:
    gripping = Rig(size=240, joints=posed(panda_finger_joint1=0.02))
    state = ImaginedState(KinematicModel(), gripping.robot, holding(gripping), horizon=9.0)
    frames = ImaginedFrames(state, period=PERIOD, longest_chunk=4, max_anchors=9)
    frames.next()
    squeeze = RobotTrajectory(joint_names=(FINGER,), times=np.array([0.4]), positions=np.zeros((1, 1)))
    frames.command(squeeze, now=0.0)
    finger = state.commanded.joint_names.index(FINGER)
    assert frames.next().joint_positions[FINGER] == pytest.approx(0.02)
    offsets, speeds = frames.deviation(0.3)
    told = state.set_points(np.array([0.1]))[0, finger]
    assert told == pytest.approx(0.005, abs=1e-6)
    assert told + offsets[finger] == pytest.approx(0.02)
    assert speeds[finger] == pytest.approx(0.05)


def test_it_goes_on_from_its_own_frames_so_often_and_no_more(rig: Rig) -> None:
    start = rig.observation().joint_positions[JOINT]
    frames, _ = frames_of(rig, horizon=0.6, max_anchors=2)
    frames.command(turn(start + 1.0, 5.0), now=0.0)
    seen = take(frames, 9)
    assert [frame.joint_positions[JOINT] - start for frame in seen] == pytest.approx(0.04 * np.arange(9), abs=1e-5)
    assert frames.state.anchors == 2
    with pytest.raises(DriftTooLarge, match="reset"):
        frames.next()
