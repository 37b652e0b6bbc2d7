"""The push planner of the examples: its parts, and one scene through the real simulation node."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "examples"))

from push_motions import BOUNDS, Target, joint_motions, tool_path
from push_planner import main
from push_results import PushResult, ResultFile, summary
from push_search import SearchSettings, search

from fourd_ros.errors import InvalidResults
from fourd_ros.robot.inverse_kinematics import Tool
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import PANDA_READY, panda_description
from fourd_ros.world_model.compact.things import Thing

TOLERANCE = 0.03


def test_the_search_finds_the_best_candidate_and_never_one_that_cannot_be_done() -> None:
    def cost(candidates: np.ndarray) -> np.ndarray:
        away = np.linalg.norm(candidates - np.array([0.5, 0.05]), axis=1)
        return np.where(candidates[:, 0] < 0.45, np.inf, away)

    found = search(cost, np.array([[-1.0, 1.0], [0.0, 0.2]]), SearchSettings(rounds=6), np.random.default_rng(0))
    assert found.cost < 0.02
    np.testing.assert_allclose(found.best, [0.5, 0.05], atol=0.02)
    nothing = search(lambda c: np.full(len(c), np.inf), BOUNDS, SearchSettings(rounds=2), np.random.default_rng(0))
    assert np.isinf(nothing.cost)


def test_a_push_comes_down_behind_the_object_and_goes_through_its_middle() -> None:
    robot = RobotModel(panda_description())
    angle = np.linspace(0, 2 * np.pi, 60)
    ring = np.column_stack([0.5 + 0.03 * np.cos(angle), 0.03 * np.sin(angle)])
    points = np.concatenate([np.column_stack([ring, np.full(60, z)]) for z in (0.0, 0.03, 0.06)])
    target = Target(thing=Thing(label=17, pixels={}, points=points, support=0.0, held=False), ceiling=0.06)
    goal, start = np.array([0.5, 0.12]), robot.kinematics.positions_from(PANDA_READY)
    tool = Tool.of_gripper(robot)
    path = tool_path(target, goal, np.array([[0.0, 0.0, 0.12, 0.5]]), tool.pose(start))
    motions, possible = joint_motions(robot, start, path)
    assert possible.all()
    way = tool.pose(motions[0].positions)[:, :3, 3]
    np.testing.assert_allclose(way[-1, :2], [0.5, -0.03 - 0.012 + 0.12], atol=2e-3)
    beside = way[way[:, 2] < 0.07]
    assert (np.abs(beside[:, 0] - 0.5) < 2e-3).all() and beside[0, 1] < -0.06


def test_results_are_found_again_and_those_of_other_settings_are_refused(tmp_path: Path) -> None:
    def result(seed: int, end: float) -> PushResult:
        return PushResult(
            seed=seed,
            model="points",
            kind="box",
            goal=(0.5, 0.1),
            start=(0.5, 0.0),
            end=(0.5, end),
            expected=(0.5, 0.1),
            pushes=1,
            planning_seconds=1.0,
        )

    path = tmp_path / "results.jsonl"
    file = ResultFile(path, {"pushes": 1})
    file.add(result(1, 0.08))
    file.add(result(2, 0.02))
    again = ResultFile(path, {"pushes": 1}).results
    assert again == file.results
    figures = summary(again.values(), ("points",), tolerance=TOLERANCE)["points"]
    assert (figures["scenes"], figures["successes"]) == (2, 1)
    assert figures["median_distance_mm"] == pytest.approx(50)
    with pytest.raises(InvalidResults, match="other settings"):
        ResultFile(path, {"pushes": 2})
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InvalidResults, match="damaged"):
        ResultFile(path, {"pushes": 1})


@pytest.mark.skipif("CI" in os.environ, reason="a robot in real time needs a core of its own")
def test_the_planner_brings_a_real_object_where_it_expects_it(tmp_path: Path, capsys: Any) -> None:
    settings = {"--scenes": 1, "--rounds": 2, "--candidates": 40, "--elites": 4, "--tolerance": TOLERANCE}
    words = [word for name, value in settings.items() for word in (name, str(value))]
    assert main([*words, "--model", "physics", "--json", "--out", str(tmp_path)]) == 0
    result = PushResult.from_json((tmp_path / "results.jsonl").read_text().splitlines()[-1])
    assert result.pushes == 1
    assert result.surprise < 0.005
    assert result.distance < 0.7 * float(np.hypot(*np.subtract(result.start, result.goal)))
    assert json.loads(capsys.readouterr().out)["physics"]["successes"] == (result.distance <= TOLERANCE)
    assert (tmp_path / "from_above.png").stat().st_size > 10_000
