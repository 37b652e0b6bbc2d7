"""Pulls at objects are judged as they should be, and the command does all of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from part_rig import small_network

from fourd_ros.cli import main
from fourd_ros.data.articulated_shards import ArticulatedShards
from fourd_ros.evaluation.part_dynamics import (
    AXIS,
    KIND,
    PART,
    PSNR,
    RADII,
    REST,
    SHARE,
    Foretold,
    PartCase,
    best_radius,
    cases,
    judge,
    near_moves,
    network,
    nothing_moves,
)
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.part_dynamics.conversion import COMPONENT
from fourd_ros.part_dynamics.model import PartDynamics
from fourd_ros.simulation.articulated import articulated_seeds
from fourd_ros.simulation.articulated_dataset import record_articulated
from fourd_ros.simulation.articulated_rendering import ArticulatedOptions

SIZE, POINTS = 48, 256


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> ArticulatedShards:
    folder = tmp_path_factory.mktemp("articulated")
    options = ArticulatedOptions(size=SIZE, points=POINTS, views=5, depth=True)
    list(record_articulated(folder, "test", articulated_seeds("test", seed=0, objects=2), options, layout="packed"))
    return ArticulatedShards(folder)


@pytest.fixture(scope="module")
def found(shards: ArticulatedShards) -> list[PartCase]:
    return list(cases(shards, pulls=2))


def test_cases_are_the_same_every_time_and_move_something(shards: ArticulatedShards, found: list[PartCase]) -> None:
    again = list(cases(shards, pulls=2))
    assert len(found) == 4 and all(np.array_equal(a.after, b.after) for a, b in zip(found, again, strict=True))
    for case in found:
        assert 0 < case.moves.sum() < len(case.before)
        start = int(np.argmin(np.linalg.norm(case.before - case.drag.start[0], axis=1)))
        assert np.allclose(case.before[start] + case.drag.displacement[0], case.after[start])


def test_the_truth_is_without_fault_and_nothing_moves_misses_the_whole_way(found: list[PartCase]) -> None:
    for case in found:
        truth = Foretold(displacement=case.after - case.before, joint=case.joint, pictures=case.target)
        best = judge(case, truth)
        assert best[PART.name] == best[REST.name] == 0 and best[KIND.name] == 1 and best[AXIS.name] < 1e-5
        still = judge(case, nothing_moves(case))
        assert still[SHARE.name] == pytest.approx(1) and still[REST.name] == 0 and np.isfinite(still[PSNR.name])
        assert np.isnan(still[AXIS.name])


def test_what_is_near_moves_by_the_drag_alone(found: list[PartCase]) -> None:
    case = found[0]
    near = near_moves(0.2)(case)
    moved = np.linalg.norm(near.displacement, axis=1) > 0
    assert moved.any() and np.linalg.norm(case.before[moved] - case.drag.start[0], axis=1).max() < 0.2
    chosen = best_radius([case])
    errors = {radius: judge(case, near_moves(radius)(case)) for radius in RADII}
    assert min(errors, key=lambda radius: errors[radius][PART.name] + errors[radius][REST.name]) == chosen


@pytest.mark.parametrize("seen", ["cameras", "drawn"])
def test_a_network_is_asked_as_a_user_would(shards: ArticulatedShards, found: list[PartCase], seen: str) -> None:
    foretold = network(PartDynamics(small_network()), shards, seen=seen)(found[0])  # type: ignore[arg-type]
    assert foretold.displacement.shape == found[0].before.shape
    assert foretold.pictures.shape == found[0].target.shape
    assert np.isfinite(list(judge(found[0], foretold).values())[:3]).all()


def test_the_command_prints_and_writes_the_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = ModelCard(name="part", system="partrm", purpose="of tests", licence="Apache-2.0", data="none", limits="all")
    write_model(tmp_path / "model", {COMPONENT: small_network()}, card=card, model_class="PartDynamics")
    words = ["--objects", "1", "--pulls", "1", "--size", str(SIZE), "--points", str(POINTS), "--workers", "1", "--json"]
    command = ["evaluate", "part-dynamics", str(tmp_path / "model"), "--data", str(tmp_path / "data"), *words]
    assert main([*command, "--write-card", "--out", str(tmp_path / "report")]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) >= {
        "test: nothing moves",
        "test: network, one picture with depth",
        "new_kind: what is near moves",
    }
    assert json.loads((tmp_path / "model" / "fourd.json").read_text())["metrics"] == printed
    assert (tmp_path / "report" / "index.html").is_file()
