"""Held-out objects: what is true of them, what depth shows, and how methods are judged."""

import json
from pathlib import Path

import filmed_rig
import numpy as np
import pytest
import trimesh

from fourd_ros.cli import main
from fourd_ros.compositional.placed_objects import FilmOptions
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.data.compositional_shards import CompositionalShards
from fourd_ros.errors import InvalidDataset
from fourd_ros.evaluation import compositional as evaluation
from fourd_ros.evaluation.compositional import (
    BOX,
    HULL,
    LATTICE_IOU,
    NETWORK,
    PLACED,
    VISIBLE,
    ObjectCase,
    Solid,
    cases,
    judge,
)
from fourd_ros.evaluation.compositional_pictures import case_picture, solid_mesh
from fourd_ros.evaluation.shape_metrics import SHAPE_CHAMFER, SHAPE_F_SCORE
from fourd_ros.simulation.compositional_dataset import record_compositional
from fourd_ros.simulation.compositional_scenes import CompositionalOptions


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> CompositionalShards:
    folder = tmp_path_factory.mktemp("scenes")
    options = CompositionalOptions(size=56, frames=2, points=600, queries=8, samples=1, occupancy=True)
    list(record_compositional(folder, "test", {"single": 1, "clip": 1}, options))
    return CompositionalShards(folder)


@pytest.fixture(scope="module")
def clip(shards: CompositionalShards) -> ObjectCase:
    (case,) = cases(shards, layout="clip", scenes=5)
    return case


def test_what_moves_is_judged_first_and_last(clip: ObjectCase) -> None:
    moving = [place for place, one in enumerate(clip.film.objects) if one.moves]
    assert moving == [0] and {(0, 0), (0, 1), (1, 0)} <= clip.judged.keys() and (1, 1) not in clip.judged
    assert len(clip.film.rgb) == 2


def test_visible_points_lie_on_the_true_surface(clip: ObjectCase) -> None:
    for key, said in evaluation.visible_points(clip).items():
        truth = clip.judged[key]
        away = np.linalg.norm(said.surface[:, None] - truth.surface[None], axis=-1).min(axis=1)
        assert np.median(away) < 0.06, key
        scores = judge(said, truth)
        assert 0 < scores[LATTICE_IOU.name] < 0.5


def test_hull_and_box_hold_what_is_seen(clip: ObjectCase) -> None:
    seen = evaluation.visible_points(clip)
    hulls, boxes = evaluation.convex_hull(clip), evaluation.bounding_box(clip)
    for key in clip.judged:
        assert boxes[key].filled.sum() >= hulls[key].filled.sum()
        assert not (hulls[key].filled & ~boxes[key].filled).any()
        np.testing.assert_allclose(
            [boxes[key].surface.min(axis=0), boxes[key].surface.max(axis=0)],
            [seen[key].surface.min(axis=0), seen[key].surface.max(axis=0)],
            atol=0.02,
        )


def test_the_truth_is_right_and_nothing_is_wrong(clip: ObjectCase) -> None:
    truth = clip.judged[0, 0]
    assert judge(truth, truth) == {SHAPE_CHAMFER.name: 0.0, SHAPE_F_SCORE.name: 1.0, LATTICE_IOU.name: 1.0}
    nothing = judge(Solid.of_mesh(SurfaceMesh.empty()), truth)
    assert np.isnan(nothing[SHAPE_CHAMFER.name])
    assert nothing[SHAPE_F_SCORE.name] == nothing[LATTICE_IOU.name] == 0
    again = Solid.of_mesh(solid_mesh(truth))
    assert judge(again, truth)[LATTICE_IOU.name] > 0.97


def test_a_ball_is_filled_where_it_is() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    mesh = SurfaceMesh(vertices=ball.vertices.astype(np.float32), faces=ball.faces.astype(np.int32))
    solid = Solid.of_mesh(mesh)
    assert solid.filled.sum() * (2 / 64) ** 3 == pytest.approx(mesh.volume, rel=0.02)
    assert np.linalg.norm(solid.surface, axis=1) == pytest.approx(0.5, abs=0.01)


def test_too_few_points_have_no_hull(clip: ObjectCase) -> None:
    for points in (np.zeros((0, 3)), np.eye(3), np.array([[x, 0.0, 0.0] for x in range(9)])):
        assert evaluation._hull(points).is_empty


def test_a_network_is_asked_once_a_scene_and_shown_beside_the_truth(clip: ObjectCase) -> None:
    model = filmed_rig.model()
    asked: list[int] = []
    reconstruct = model.reconstruct

    def counted(*args: object, **options: object) -> object:
        asked.append(1)
        return reconstruct(*args, **options)  # type: ignore[arg-type]

    model.reconstruct = counted  # type: ignore[method-assign, assignment]
    quick = FilmOptions(resolution=32)
    methods = evaluation.networks(model, quick)
    said = {name: method(clip) for name, method in methods.items()}
    assert len(asked) == 1 and said.keys() == {NETWORK, PLACED}
    assert said[NETWORK][0, 0].filled.any()
    picture = case_picture(clip, [dict(said[PLACED])])
    assert picture.shape == (56, 56 * 7, 3)


def test_grids_are_needed(tmp_path: Path) -> None:
    options = CompositionalOptions(size=28, frames=2, points=10, queries=8, samples=1)
    list(record_compositional(tmp_path, "test", {"single": 1}, options))
    with pytest.raises(InvalidDataset, match="--occupancy"):
        next(cases(CompositionalShards(tmp_path), layout="single", scenes=1))


def test_the_command_writes_the_card(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fourd_ros.commands import evaluate_compositional

    monkeypatch.setattr(evaluate_compositional, "GROUPS", {"New shapes": ("test", "single")})
    model = filmed_rig.write(tmp_path / "model")
    words = ["evaluate", "compositional", str(model), "--scenes", "1", "--data", str(tmp_path / "data"), "--json"]
    quick = ["--steps", "1", "--guidance", "1", "--resolution", "32", "--workers", "1"]
    assert main([*words, *quick, "--write-card", "--out", str(tmp_path / "report")]) == 0
    means = json.loads(capsys.readouterr().out)
    assert {name.partition(": ")[2] for name in means} == {NETWORK, PLACED, VISIBLE, HULL, BOX}
    card = json.loads((model / "fourd.json").read_text())
    assert card["metrics"].keys() == means.keys() and "--steps 1" in card["metrics_command"]
    assert "convex hull" in (model / "README.md").read_text()
