"""Which rungs are climbed under which deadline, and what is kept when time runs out."""

import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from rig import Rig
from test_store import make_rollout

from fourd_ros.errors import Cancelled, DeadlineMissed, LicenceRefused, UnknownBackend, UnknownModel
from fourd_ros.model_io.folder import find_model
from fourd_ros.records import RobotTrajectory, Rollout
from fourd_ros.world_model.base import Checkpoint, ModelOptions, Question, WorldModel, load_backend
from fourd_ros.world_model.ladder import Ladder, Rung


class Quick(WorldModel):
    """Answers at once."""

    backend = "quick"
    declared_cost = 1e-6

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        checkpoint(0.5)
        for index in range(len(question.candidates)):
            yield replace(make_rollout(), backend=self.backend, candidate=index)


class Thorough(Quick):
    """Says that it takes long."""

    backend = "thorough"
    declared_cost = 1000.0


class Late(Quick):
    """Believes to be quick."""

    backend = "late"

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            checkpoint(0.5)
        raise DeadlineMissed("too late")


class Restricted(Quick):
    """May not be used commercially."""

    backend = "restricted"
    non_commercial = True
    licence = "CC-BY-NC-4.0"


class Weighty(Quick):
    """Needs a model folder."""

    backend = "weighty"

    @classmethod
    def from_options(cls, options: ModelOptions) -> "Weighty":
        find_model(options.compact_model)
        return cls()


@pytest.fixture(scope="module")
def question() -> Question:
    rig = Rig(size=16)
    observation = rig.observation(views=("front",))
    names = rig.robot.kinematics.joint_names
    now = rig.robot.kinematics.positions_from(observation.joint_positions)
    still = RobotTrajectory(joint_names=tuple(names), times=make_rollout().times, positions=np.stack([now, now]))
    return Question(
        robot=rig.robot,
        observation=observation,
        candidates=(still,),
        times=make_rollout().times,
        views=("front",),
    )


def climb(ladder: Ladder, question: Question, plan: tuple[Rung, ...]) -> tuple[list[Rollout], list[str]]:
    seen: list[str] = []
    answer = ladder.climb(
        question,
        plan,
        checkpoint=lambda fraction: None,
        on_rollout=lambda rung, rollout, fraction: seen.append(rollout.backend),
    )
    return answer, seen


def test_without_a_deadline_every_rung_is_climbed_and_the_last_one_answers(question: Question) -> None:
    ladder = Ladder(models=[Quick(), Thorough()])
    answer, seen = climb(ladder, question, ladder.plan(question))
    assert seen == ["quick", "thorough"] and [r.backend for r in answer] == ["thorough"]


def test_a_deadline_leaves_out_what_does_not_fit(question: Question) -> None:
    ladder = Ladder(models=[Quick(), Thorough()])
    assert [rung.model.backend for rung in ladder.plan(question, seconds_left=0.1)] == ["quick"]


def test_a_deadline_too_short_for_anything_is_missed(question: Question) -> None:
    ladder = Ladder(models=[Thorough()])
    with pytest.raises(DeadlineMissed, match="thorough needs about"):
        ladder.plan(question, seconds_left=0.01)


def test_a_named_backend_is_not_replaced_by_a_quicker_one(question: Question) -> None:
    ladder = Ladder(models=[Quick(), Thorough()])
    with pytest.raises(DeadlineMissed):
        ladder.plan(question, backend="thorough", seconds_left=0.01)
    with pytest.raises(UnknownBackend, match="quick"):
        ladder.plan(question, backend="nonsense")
    for name in ("quick", "thorough"):
        assert [rung.model.backend for rung in ladder.plan(question, backend=name)] == [name]


def test_costs_are_learned_from_answers(question: Question) -> None:
    ladder = Ladder(models=[Thorough()])
    climb(ladder, question, ladder.plan(question))
    assert ladder.plan(question, seconds_left=0.1)[0].model.backend == "thorough"


def test_when_time_runs_out_the_best_finished_rung_answers(question: Question) -> None:
    ladder = Ladder(models=[Quick(), Thorough()])
    end = time.monotonic()

    def checkpoint(fraction: float) -> None:
        if fraction > 0.1 and time.monotonic() > end:
            raise DeadlineMissed("late")

    plan = ladder.plan(question)
    answer = ladder.climb(question, plan, checkpoint=checkpoint, on_rollout=lambda *_: None)
    assert [rollout.backend for rollout in answer] == ["quick"]


def test_a_named_backend_that_runs_late_is_not_replaced_either_and_is_known_to_be_slow(question: Question) -> None:
    ladder = Ladder(models=[Quick(), Late()])
    plan = ladder.plan(question, backend="late", seconds_left=0.02)
    with pytest.raises(DeadlineMissed, match="too late"):
        ladder.climb(question, plan, checkpoint=lambda _: None, on_rollout=lambda *_: None)
    with pytest.raises(DeadlineMissed, match="late needs about"):
        ladder.plan(question, backend="late", seconds_left=0.02)


def test_cancelling_is_not_an_answer(question: Question) -> None:
    ladder = Ladder(models=[Quick(), Thorough()])

    def checkpoint(fraction: float) -> None:
        if fraction > 0.1:
            raise Cancelled("no longer wanted")

    with pytest.raises(Cancelled):
        ladder.climb(question, ladder.plan(question), checkpoint=checkpoint, on_rollout=lambda *_: None)


def test_backends_are_found_by_name_or_by_import_path() -> None:
    assert load_backend("kinematic").backend == "kinematic"
    assert load_backend(f"{__name__}:Quick") is Quick
    with pytest.raises(UnknownBackend, match="kinematic"):
        load_backend("no_such")
    with pytest.raises(UnknownBackend):
        load_backend("os:getcwd")


def test_non_commercial_weights_need_permission() -> None:
    with pytest.raises(LicenceRefused, match="allow_noncommercial"):
        load_backend(f"{__name__}:Restricted")
    assert load_backend(f"{__name__}:Restricted", allow_noncommercial=True) is Restricted


def test_a_ladder_goes_on_without_the_rungs_whose_weights_are_not_there(question: Question) -> None:
    names = [f"{__name__}:Quick", f"{__name__}:Weighty"]
    shipped = Ladder.load(names, ModelOptions(compact_model="depth_completion"))
    assert [model.backend for model in shipped.models] == ["quick", "weighty"] and not shipped.missing
    without = Ladder.load(names, ModelOptions(compact_model="no_such_model"))
    assert [model.backend for model in without.models] == ["quick"]
    with pytest.raises(UnknownBackend, match=r"not loaded: no model 'no_such_model' is shipped.*offers \['quick'\]"):
        without.plan(question, backend=names[1])
    with pytest.raises(UnknownModel, match="depth_completion"):
        Ladder.load(names[1:], ModelOptions(compact_model="no_such_model"))


def test_a_ladder_does_not_go_on_without_what_may_not_be_used() -> None:
    with pytest.raises(LicenceRefused):
        Ladder.load([f"{__name__}:Quick", f"{__name__}:Restricted"], ModelOptions())
    with pytest.raises(UnknownBackend):
        Ladder.load([f"{__name__}:Quick", "no_such"], ModelOptions())
