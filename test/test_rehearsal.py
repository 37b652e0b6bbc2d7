"""What rungs cost, learned from made-up questions and from answers."""

from collections.abc import Iterator

import numpy as np
import pytest

from fourd_ros.records import Rollout
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.world_model.base import Checkpoint, Question
from fourd_ros.world_model.cost import USUAL_WORK, MeasuredCost, Workload
from fourd_ros.world_model.kinematic import KinematicModel
from fourd_ros.world_model.ladder import Ladder
from fourd_ros.world_model.rehearsal import made_up_question, rehearse
from fourd_ros.world_model.scene import understand


class Counted(KinematicModel):
    """Knows what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Question] = []

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        self.asked.append(question)
        return super().imagine(question, checkpoint=checkpoint)


class Endless(KinematicModel):
    """Ends only where it is interrupted."""

    backend = "endless"

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        while True:
            checkpoint(0.0)


class Broken(KinematicModel):
    """Cannot answer."""

    backend = "broken"

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        raise ValueError("no weights for this robot")


def seconds(work: Workload) -> float:
    """A machine that takes 20 ms a question, 50 ms a video and 100 ms a million pixels."""
    return 0.02 + 0.05 * work.videos + 0.1e-6 * work.pixels


SMALL, TWO, LARGE = (Workload(videos=n, pixels=p) for n, p in ((1, 20_000), (2, 40_000), (1, 250_000)))


def test_a_rehearsal_tells_questions_videos_and_pixels_apart() -> None:
    cost = MeasuredCost(1000.0)
    cost.rehearse({work: seconds(work) for work in (SMALL, TWO, LARGE)})
    for work in (SMALL, Workload(videos=8, pixels=2_000_000), Workload(videos=1, pixels=5_000_000)):
        assert cost.estimate(work) == pytest.approx(seconds(work), rel=0.02)


def test_what_one_measurement_leaves_open_is_taken_for_a_cost_of_pixels() -> None:
    cost = MeasuredCost(1000.0)
    cost.rehearse({LARGE: 0.1})
    twice = Workload(videos=1, pixels=2 * LARGE.pixels)
    assert cost.estimate(LARGE) == pytest.approx(0.1, rel=0.01)
    assert cost.estimate(twice) == pytest.approx(0.2, rel=0.01)


def test_answers_correct_what_was_declared_or_rehearsed() -> None:
    declared, rehearsed = MeasuredCost(2.0), MeasuredCost(2.0)
    assert declared.estimate(LARGE) == pytest.approx(0.5)
    rehearsed.rehearse({work: seconds(work) for work in (SMALL, TWO, LARGE)})
    for cost in (declared, rehearsed):
        for _ in range(8):
            cost.record(LARGE, 0.3)
        cost.record(LARGE, 9.0)
        assert cost.estimate(LARGE) == pytest.approx(0.3)
    assert rehearsed.estimate(TWO) == pytest.approx(0.3 / seconds(LARGE) * seconds(TWO), rel=0.02)


def test_rungs_are_rehearsed_once() -> None:
    model = Counted()
    ladder = Ladder(models=[model])
    rehearse(ladder.rungs, seconds=20.0, on_error=pytest.fail)
    asked = len(model.asked)
    assert asked >= 3 and {question.work for question in model.asked} >= {USUAL_WORK}
    assert 0 < ladder.expected_seconds["kinematic"] < 10.0
    rehearse(ladder.rungs, seconds=20.0, on_error=pytest.fail)
    assert len(model.asked) == asked


def test_no_time_is_no_rehearsal() -> None:
    model = Counted()
    ladder = Ladder(models=[model])
    rehearse(ladder.rungs, seconds=0.0, on_error=pytest.fail)
    assert not model.asked and not ladder.rungs[0].cost.is_rehearsed


def test_a_rung_that_does_not_end_is_interrupted_and_one_that_fails_is_reported() -> None:
    ladder = Ladder(models=[Broken(), KinematicModel(), Endless()])
    errors: list[Exception] = []
    rehearse(ladder.rungs, seconds=4.0, on_error=errors.append)
    assert [str(error) for error in errors] == ["no weights for this robot"]
    assert [rung.cost.is_rehearsed for rung in ladder.rungs] == [False, True, False]


def test_the_made_up_scene_shows_a_robot_a_table_and_two_boxes() -> None:
    question = made_up_question(RobotModel(panda_description()), size=96, steps=4, candidates=2)
    assert len(question.candidates) == 2 and len(question.times) == 4
    scene = understand(question.robot, question.observation)
    view = question.observation.views["camera"]
    heights = (view.points @ view.T_world_camera[:3, :3].T + view.T_world_camera[:3, 3])[..., 2]
    rest = ~scene.robot["camera"]
    assert scene.robot["camera"].mean() > 0.05
    assert (np.abs(heights[rest]) < 1e-3).mean() > 0.3
    assert ((heights > 0.02) & (heights < 0.061) & rest).sum() > 50
