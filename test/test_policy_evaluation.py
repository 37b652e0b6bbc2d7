"""Policies tried in the imagination and in the simulator: what is judged, kept, resumed, and what goes wrong."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourd_ros.cli import main
from fourd_ros.errors import (
    ContractViolated,
    InvalidConfig,
    InvalidResults,
    JudgeFailed,
    UnknownPolicy,
    UnknownTask,
)
from fourd_ros.evaluation import PolicyEvaluation, PolicyEvaluationConfig
from fourd_ros.evaluation.policy.config import StartSettings
from fourd_ros.evaluation.policy.goals import (
    Ending,
    Goal,
    Inside,
    Lifted,
    ObjectAt,
    PulledOut,
    Stacked,
    Track,
    Verdict,
    goal_of,
)
from fourd_ros.evaluation.policy.judge import Judge
from fourd_ros.evaluation.policy.starts import StartOptions, simulated_start
from fourd_ros.evaluation.policy.trial_setup import Trials, assignment_of
from fourd_ros.evaluation.policy.trials import try_start
from fourd_ros.evaluation.policy.units import Outcome, Unit, UnitResult, from_row, read_units, to_row
from fourd_ros.evaluation.policy.witness import Witness
from fourd_ros.evaluation.policy.worlds import drive
from fourd_ros.geometry.transforms import from_rpy
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.registry import make_policy
from fourd_ros.policies.scripted import SKILLS
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.world_model.base import ModelOptions

FAR_AWAY = np.array([0.0, 0.0, 1.0])
WHERE = (0.5, 0.0, 0.02)


def track(at: Sequence[float] = WHERE, *, by: Sequence[float] = (0.0, 0.0, 0.0), sigma: float = 0.001) -> Track:
    """A cube of 4 cm that goes a way."""
    points = np.random.default_rng(0).uniform(-0.02, 0.02, (60, 3)) + at
    return Track(points=points, motion=from_rpy(tuple(by), (0.0, 0.0, 0.0)), sigma=sigma)


def ending(*tracks: Track, grasp: Any = FAR_AWAY) -> Ending:
    return Ending(tracks=tracks, grasp=np.asarray(grasp))


def test_an_object_is_where_it_shall_be_or_not() -> None:
    goal = ObjectAt(where=WHERE, place=(0.6, 0.0), tolerance=0.05, released=False)
    assert goal.judge(ending(track(by=(0.09, 0.01, 0.0)))).success
    assert not goal.judge(ending(track(by=(0.04, 0.0, 0.0)))).success
    assert not goal.judge(ending(track(by=(0.1, 0.0, -0.3)))).success
    assert goal.judge(ending(track(at=(0.2, 0.2, 0.02)))).success is None
    sure, unsure = (goal.judge(ending(track(by=(0.1, 0.0, 0.0), sigma=sigma))).probability for sigma in (0.001, 0.1))
    assert sure > 0.999
    assert unsure == pytest.approx(1 - np.exp(-0.5 * (0.05 / 0.1) ** 2), abs=0.02)


def test_what_shall_be_put_down_has_to_lie_and_be_let_go() -> None:
    goal = ObjectAt(where=WHERE, place=(0.6, 0.0), tolerance=0.04, released=True)
    there = track(by=(0.1, 0.0, 0.0))
    assert goal.judge(ending(there)).success
    assert not goal.judge(ending(there, grasp=there.end)).success
    assert not goal.judge(ending(track(by=(0.1, 0.0, 0.1)))).success


def test_lifted_inside_stacked_and_pulled_out() -> None:
    assert Lifted(where=WHERE, height=0.05).judge(ending(track(by=(0.0, 0.0, 0.06)))).success
    assert not Lifted(where=WHERE, height=0.05).judge(ending(track(by=(0.0, 0.0, 0.04)))).success
    box = Inside(where=WHERE, low=(0.55, -0.1, 0.0), high=(0.7, 0.1, 0.2))
    assert box.judge(ending(track(by=(0.1, 0.0, 0.0)))).success
    assert not box.judge(ending(track(by=(0.1, 0.15, 0.0)))).success
    base = (0.4, 0.2, 0.02)
    stacked = Stacked(where=WHERE, base=base, rise=0.04, reach=0.03)
    assert stacked.judge(ending(track(by=(-0.1, 0.2, 0.04)), track(at=base))).success
    assert not stacked.judge(ending(track(by=(-0.1, 0.2, 0.0)), track(at=base))).success
    assert not stacked.judge(ending(track(by=(-0.05, 0.2, 0.04)), track(at=base))).success
    drawer = PulledOut(where=WHERE, distance=0.08)
    assert drawer.judge(ending(track(by=(-0.09, 0.0, 0.0)))).success
    assert not drawer.judge(ending(track(by=(-0.07, 0.0, 0.0)))).success


@pytest.mark.parametrize("by", [(0.1, 0.0, 0.0), (0.1, 0.0, -0.3)])
@pytest.mark.parametrize(
    "goal",
    [
        ObjectAt(where=WHERE, place=(0.6, 0.0), tolerance=0.04, released=True),
        Stacked(where=WHERE, base=(0.6, 0.0, 0.02), rise=0.04, reach=0.03),
        Lifted(where=WHERE, height=0.05),
        PulledOut(where=WHERE, distance=0.08),
    ],
)
def test_verdicts_survive_the_file_of_units(goal: Goal, by: tuple[float, float, float]) -> None:
    verdict = goal.judge(ending(track(by=by), track(at=(0.6, 0.0, 0.02))))
    judged = Outcome(success=verdict.success, probability=verdict.probability, seconds=0.1)
    unit = Unit(task="push", policy="expert", start=0, seed=0)
    kept = from_row(to_row(UnitResult(unit=unit, imagined=judged, true=None)))
    assert (kept.imagined.success, kept.imagined.probability) == (verdict.success, verdict.probability)


@pytest.mark.parametrize(("task", "policy"), [("push", "expert"), ("pick_place", "expert"), ("open_drawer", "random")])
def test_the_detector_agrees_with_the_simulator_when_told_the_truth(task: str, policy: str) -> None:
    with simulated_start(task, 1, StartOptions(width=96, height=96)) as (start, simulator):
        witness = Witness(start, simulator)
        chosen = make_policy(f"scripted/{policy}", task=task)
        drive(chosen, witness.world, assignment_of(chosen, start, 0), limit=15.0)
        true = start.task.succeeded(start.scene, witness.world.state())
        assert true == (policy == "expert")
        assert witness.detected() == true
        assert (witness.contact == "lifted") == (task == "pick_place")


def test_starts_are_the_same_every_time_and_differ_from_one_another() -> None:
    hashes = []
    for number, seed in ((0, 0), (0, 0), (1, 0), (0, 1)):
        with simulated_start("push", number, StartOptions(width=32, height=32, seed=seed)) as (start, _):
            hashes.append(start.sha256)
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_every_task_has_enough_policies_of_graded_skill() -> None:
    for task, skills in SKILLS.items():
        assert len(skills) >= 16, task
        assert all(make_policy(f"scripted/{name}", task=task).contract.scene for name in skills)
    with pytest.raises(UnknownPolicy, match="expert"):
        make_policy("scripted/champion", task="push")
    with pytest.raises(UnknownPolicy, match="scripted"):
        make_policy("oracle/expert", task="push")


class Odd(Policy):
    """Does what its name says, in steps of half a second."""

    contract = Contract(cameras=("front",), period=0.5)

    def begin(self, assignment: Assignment) -> None:
        self._scene = assignment.scene

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        if self.name == "raises":
            raise ZeroDivisionError("by design")
        if self.name == "dies" and elapsed > 0:
            os._exit(3)
        if self.name == "sleeps":
            time.sleep(3.0)
        joint = "elbow" if self.name == "strange_joint" else "panda_joint1"
        step = {"nan": np.nan, "too_fast": 2.0}.get(self.name, 0.05)
        value = observation.joint_positions["panda_joint1"] + step
        assert self._scene is None
        return RobotTrajectory(joint_names=(joint,), times=np.array([0.5]), positions=np.array([[value]]))


def odd(name: str, *, task: str) -> Odd:
    return Odd(name)


def wants_another_camera(name: str, *, task: str) -> Policy:
    policy = Odd("turn")
    policy.contract = Contract(cameras=("wrist",))
    return policy


def trials(*policies: str, **changes: Any) -> Trials:
    options: dict[str, Any] = {
        "kind": "push",
        "number": 0,
        "options": StartOptions(width=64, height=64, shadows=False),
        "policies": policies,
        "seeds": (0,),
        "backends": ("points", "copy_first"),
        "model": ModelOptions(threads=1),
        "truth": True,
        "limit": 1.0,
        "answer_limit": 2.0,
        "judge": None,
        "least_trust": 0.0,
    }
    return Trials(**{**options, **changes})


def test_what_a_policy_does_wrong_makes_its_unit_invalid_and_no_other() -> None:
    wrong = {
        "raises": "ZeroDivisionError: by design",
        "nan": "not finite",
        "strange_joint": "elbow",
        "too_fast": "panda_joint1",
        "sleeps": "within 2 s",
    }
    here = "test_policy_evaluation:odd"
    found = try_start(trials(*(f"{here}/{name}" for name in (*wrong, "turn"))))
    results = {result.unit.policy.rpartition("/")[2]: result for result in found.results["points"]}
    for name, reason in wrong.items():
        true = results[name].true
        assert reason in results[name].imagined.invalid or name == "sleeps"
        assert true is not None and reason in true.invalid
        assert not results[name].imagined.counts and not true.counts
    turned = results["turn"]
    assert turned.imagined.counts and turned.true is not None and turned.true.counts
    assert turned.imagined.success is False and turned.true.success is False
    assert all(result.backend == "copy_first" for result in found.results["copy_first"])


def test_a_policy_that_dies_in_mid_episode_costs_its_own_unit_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    here = "process/test_policy_evaluation:odd"
    found = try_start(trials(f"{here}/dies", f"{here}/turn", backends=("kinematic",), answer_limit=60.0))
    dead, alive = found.results["kinematic"]
    for outcome in (dead.imagined, dead.true):
        assert outcome is not None and not outcome.counts
        assert "exit code 3" in outcome.invalid
    assert alive.imagined.counts and alive.true is not None and alive.true.counts


def test_a_contract_that_no_world_keeps_stops_the_evaluation_at_once() -> None:
    with pytest.raises(ContractViolated, match="wrist"):
        try_start(trials("test_policy_evaluation:wants_another_camera"))


def test_what_is_not_trusted_is_not_judged() -> None:
    found = try_start(trials("scripted/expert", least_trust=1.0, truth=False))
    (result,) = found.results["points"]
    assert result.imagined.abstained and result.imagined.success is None and not result.imagined.counts
    assert result.true is None


class Seer(Judge):
    """Says what it was told to say, and counts the frames."""

    def __init__(self, success: bool | None) -> None:
        self._success = success
        self.seen: list[tuple[int, ...]] = []

    def judge(self, frames: Any, instruction: str) -> Verdict:
        self.seen.append(frames.shape)
        if instruction == "" or len(frames) < 2:
            raise JudgeFailed("nothing to see")
        return Verdict(success=self._success, probability=0.9)


@pytest.mark.parametrize("said", [True, False, None])
def test_a_judge_sees_films_and_may_be_unsure(said: bool | None) -> None:
    seer = Seer(said)
    found = try_start(trials("scripted/freeze_45", backends=("kinematic",), truth=False, judge=seer, limit=3.0))
    (result,) = found.results["kinematic"]
    assert result.imagined.success is said
    assert result.imagined.abstained == (said is None)
    ((frames, *size),) = seer.seen
    assert frames > 5 and size == [64, 64, 3]


def small(**changes: Any) -> PolicyEvaluationConfig:
    options: dict[str, Any] = {
        "tasks": ("push",),
        "policies": ("scripted/expert", "scripted/freeze_45"),
        "starts": StartSettings(count=2, width=64, height=64, shadows=False),
        "backend": "points",
        "controls": ("copy_first",),
        "limit": 6.0,
        "videos": 1,
    }
    return PolicyEvaluationConfig(**{**options, **changes})


def test_an_evaluation_goes_on_where_it_stopped_and_counts_nothing_twice(tmp_path: Path) -> None:
    heard: list[int] = []
    evaluation = PolicyEvaluation(small(), tmp_path)
    evaluation.run(heard=lambda results: heard.append(len(results)))
    assert heard == [0, 2, 2]
    before = evaluation.results()
    (tmp_path / "parts" / "push_00001.json").unlink()
    heard.clear()
    again = PolicyEvaluation(small(), tmp_path)
    again.run(heard=lambda results: heard.append(len(results)))
    assert heard == [2, 2]
    assert [(r.unit, r.imagined.success, r.true and r.true.success) for r in again.results()] == [
        (r.unit, r.imagined.success, r.true and r.true.success) for r in before
    ]
    with pytest.raises(InvalidConfig, match="limit"):
        PolicyEvaluation(small(limit=5.0), tmp_path)
    more = small(starts=StartSettings(count=3, width=64, height=64, shadows=False))
    assert PolicyEvaluation(more, tmp_path).total == 6
    (tmp_path / "parts" / "push_00000.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InvalidResults, match="push_00000"):
        PolicyEvaluation(small(), tmp_path).results()


def test_the_command_writes_report_units_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [
        "tasks=[push]",
        "policies=[scripted/expert,scripted/freeze_45]",
        "starts={count: 1, width: 64, height: 64}",
        "backend=points",
        "controls=[copy_first]",
        "videos=1",
    ]
    assert main(["evaluate", "policies", "--out", str(tmp_path), "--workers", "1", "--json", "--set", *settings]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["config"]["backend"] == "points"
    units = read_units(tmp_path / "per_unit.csv")
    assert [result.unit for result in units] == [
        Unit(task="push", policy=f"scripted/{name}", start=0, seed=0) for name in ("expert", "freeze_45")
    ]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "scripted/freeze_45" in page and "video/mp4" in page


def test_goals_are_those_of_the_tasks() -> None:
    with simulated_start("open_drawer", 0, StartOptions(width=32, height=32)) as (start, _):
        assert isinstance(goal_of(start.task, start.scene), PulledOut)
    with simulated_start("open_lid", 0, StartOptions(width=32, height=32)) as (start, _), pytest.raises(UnknownTask):
        goal_of(start.task, start.scene)
