"""Scenes of solids: what is said of them is what is there; samples and batches; damaged and unfit data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fourd_ros.cli import main
from fourd_ros.data.compositional_shards import (
    CAMERA_DISTANCE,
    SHARDS,
    VERTICAL_FOV,
    CompositionalShards,
    occupancy_grid,
    write_scenes,
)
from fourd_ros.errors import InvalidDataset, InvalidParameter
from fourd_ros.simulation.appearance import Appearance
from fourd_ros.simulation.compositional_scenes import CompositionalOptions, film_scene
from fourd_ros.simulation.compositional_splits import SPLITS, compositional_seeds, layout_of
from fourd_ros.simulation.part_surfaces import depth_below, points_on
from fourd_ros.simulation.parts import ALONG_X, Part
from fourd_ros.simulation.solid_kinds import ARTICULATED_KINDS, HELD_OUT_KINDS, SIMPLE_KINDS, sample_solid
from fourd_ros.simulation.solids import bounds, depth_in, surface_of
from fourd_ros.training.compositional_samples import (
    KINDS,
    WHITE,
    BatchRules,
    CompositionalSamples,
    hide_span,
    hide_square,
    on_white,
)
from fourd_ros.training.shape_samples import ShapeSamples, balanced_rows

LOOK = Appearance(colour=(0.5, 0.5, 0.5))
PARTS = (
    Part(shape="box", size=(0.3, 0.2, 0.1), position=(0.1, 0.2, 0.3), rotation=ALONG_X, appearance=LOOK),
    Part(shape="cylinder", size=(0.2, 0.3), rotation=ALONG_X, appearance=LOOK),
    Part(shape="sphere", size=(0.3,), position=(0.2, 0.0, 0.0), appearance=LOOK),
    Part(shape="capsule", size=(0.1, 0.3), position=(0.0, 0.3, 0.0), rotation=ALONG_X, appearance=LOOK),
)
SMALL = CompositionalOptions(size=56, samples=1, frames=3, points=256, queries=256, occupancy=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes of each layout."""
    folder = tmp_path_factory.mktemp("compositional")
    scenes = {"single": 2, "scene": 2, "moving": 2, "clip": 2}
    filmed = [film_scene(seed, "train", SMALL) for seed in compositional_seeds("train", scenes=scenes)]
    write_scenes(folder / SHARDS / "a.safetensors", filmed[:5])
    write_scenes(folder / SHARDS / "b.safetensors", filmed[5:])
    return folder


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.shape)
def test_points_lie_on_a_primitive_and_normals_lead_out_of_it(part: Part) -> None:
    points, normals = points_on(part, 500, np.random.default_rng(0))
    np.testing.assert_allclose(depth_below([part], points), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(depth_below([part], points + 0.05 * normals), -0.05, atol=1e-6)
    assert (depth_below([part], points - 1e-3 * normals) > 0).all()


@pytest.mark.parametrize("kind", [*SIMPLE_KINDS, *ARTICULATED_KINDS])
def test_a_solid_has_its_longest_side_one_and_no_surface_inside(kind: str) -> None:
    rng = np.random.default_rng(1)
    solid = sample_solid(kind, rng)
    low, high = bounds(solid, solid.motions([0.0] * len(solid.hinges)))
    assert float((high - low).max()) == pytest.approx(1) and np.allclose(low + high, 0, atol=1e-6)
    motions = solid.motions([0.7] * len(solid.hinges))
    surface, pieces = surface_of(solid, motions, 300, rng)
    placed = motions[pieces]
    points = np.einsum("nij,nj->ni", placed[:, :3, :3], surface[:, :3]) + placed[:, :3, 3]
    assert np.abs(depth_in(solid, motions, points)).max() < 3e-3
    np.testing.assert_allclose(np.linalg.norm(surface[:, 3:], axis=1), 1, atol=1e-5)


def test_splits_share_no_scene_and_held_out_kinds_are_in_none_of_training() -> None:
    scenes = {"single": 3, "clip": 2}
    seeds = [set(compositional_seeds(split, scenes=scenes)) for split in SPLITS]
    assert len(set().union(*seeds)) == sum(map(len, seeds)) == 5 * len(SPLITS)
    assert [layout_of(seed) for seed in compositional_seeds("test", scenes=scenes)] == ["single"] * 3 + ["clip"] * 2
    assert not set(SPLITS["train"]) & set(HELD_OUT_KINDS) and set(SPLITS["new_kinds"]) == set(HELD_OUT_KINDS)
    for split, wanted in (("nothing", {"single": 1}), ("train", {"double": 1})):
        with pytest.raises(InvalidDataset, match=r"there (is|are)"):
            compositional_seeds(split, scenes=wanted)
    with pytest.raises(InvalidParameter, match="frames 1"):
        CompositionalOptions(frames=1)


def test_a_scene_is_what_is_said_of_it(folder: Path) -> None:
    """Surfaces, pictures, depths, queries and grids agree, in the first frame and in the last."""
    shards = CompositionalShards(folder)
    size = SMALL.size
    focal = size / 2 / np.tan(VERTICAL_FOV / 2)
    grid = occupancy_grid()
    for index in range(len(shards)):
        facts, arrays = shards.facts(index), shards.arrays(index)
        assert len(arrays.rgb) == (SMALL.frames if facts.layout in ("moving", "clip") else 1)
        for frame, last in ((0, False), (len(arrays.rgb) - 1, True)):
            seen = set(np.unique(arrays.numbers[frame])) - {0}
            assert seen <= set(range(1, len(facts.solids) + 1))
            assert (np.isfinite(arrays.depth[frame]) == (arrays.numbers[frame] > 0)).all()
            for solid in range(len(facts.solids)):
                points = arrays.points(frame, solid)
                assert np.abs(points[:, :3]).max() < 1
                filled = arrays.occupancy(last, solid)
                if filled.sum() > 200:
                    low, high = points[:, :3].min(axis=0) - 0.15, points[:, :3].max(axis=0) + 0.15
                    assert ((grid[filled] > low) & (grid[filled] < high)).all()
                rows, columns = np.nonzero(arrays.numbers[frame] == solid + 1)
                if len(rows) < 20:
                    continue
                ahead = arrays.depth[frame, rows, columns]
                offsets = np.stack([columns, rows], axis=1) - (size - 1) / 2
                lifted = np.concatenate(
                    [offsets * (1, -1) / focal * ahead[:, None], CAMERA_DISTANCE - ahead[:, None]], axis=1
                )
                nearest = np.linalg.norm(lifted[:, None] - points[None, :, :3], axis=2).min(axis=1)
                assert np.median(nearest) < 0.12
        inside = arrays.queries[..., 3] > 0
        assert inside.any() and not inside.all()
    clip = next(index for index in range(len(shards)) if shards.facts(index).layout == "clip")
    arrays = shards.arrays(clip)
    assert np.abs(arrays.points(0, 0) - arrays.points(2, 0)).max() > 0.02
    assert ((arrays.visible >= 0) & (arrays.visible <= 1)).all() and arrays.visible.max() > 0.5


def test_scenes_are_made_again_alike_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "compositional", str(tmp_path / "made"), "--split", "new_kinds", "--single", "1", "--scene", "0"]
    words += ["--moving", "1", "--clip", "0", "--size", "28", "--frames", "2", "--points", "64", "--json"]
    assert main(words) == 0 and '"scenes": 2' in capsys.readouterr().out
    first = {path.name: path.read_bytes() for path in (tmp_path / "made" / SHARDS).iterdir()}
    assert main(words) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "made" / SHARDS).iterdir()} == first
    assert main([*words, "--occupancy"]) == 1
    assert "other options" in capsys.readouterr().err
    assert {solid.kind for solid in CompositionalShards(tmp_path / "made").facts(0).solids} <= set(HELD_OUT_KINDS)


def test_damaged_scenes_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="fourd data compositional"):
        CompositionalShards(tmp_path)
    shards = CompositionalShards(folder)
    facts, arrays = shards.facts(0), shards.arrays(0)
    write_scenes(tmp_path / SHARDS / "x.safetensors", [(facts, replace(arrays, pieces=arrays.pieces[:, :5]))])
    with pytest.raises(InvalidDataset, match="of shapes"):
        CompositionalShards(tmp_path).arrays(0)


def test_a_shape_that_is_moved_keeps_its_depths(folder: Path) -> None:
    """Elsewhere and of another size, nearest points are as far away as depths say."""
    shards = CompositionalShards(folder)
    samples = ShapeSamples(shards=shards, points=256, queries=100, moved=1.0)
    assert len(samples) == sum(len(shards.facts(index).solids) for index in range(len(shards)))
    sizes = []
    for seed in range(4):
        sample: Any = samples.sample(seed, np.random.default_rng(seed))
        points, queries, depth = sample["points"], sample["queries"], sample["depth"]
        assert np.abs(points[:, :3]).max() < 1.01
        nearest = np.linalg.norm(queries[:, None] - points[None, :, :3], axis=2).min(axis=1)
        far = depth < -0.3
        if far.any():
            np.testing.assert_allclose(nearest[far], -depth[far], atol=0.12)
        assert (nearest >= -depth - 0.02).all()
        sizes.append(float(np.ptp(points[:, :3], axis=0).max()))
    assert max(sizes) - min(sizes) > 0.1
    with pytest.raises(InvalidDataset, match="needed are 257"):
        ShapeSamples(shards=shards, points=257, queries=1).sample(0, np.random.default_rng(0))


def test_a_batch_holds_so_many_items_of_one_kind(folder: Path) -> None:
    shards = CompositionalShards(folder)
    rules = BatchRules(items=6, most_parts=3, most_frames=3, alone=0.5, least_visible=0.0)
    samples = CompositionalSamples(shards=shards, points=64, rules=rules)
    found = set()
    for seed in range(24):
        sample: Any = samples.sample(0, np.random.default_rng(seed))
        kind, sizes = KINDS[sample["kind"]], sample["sizes"]
        found.add(kind)
        assert sizes.sum() == 6 and sample["points"].shape == (6, 64, 6) and sample["pictures"].shape == (6, 56, 56, 3)
        assert sample["shown"].min() >= 0 and sample["shown"].max() < 6
        if kind == "single":
            assert (sizes == 1).all()
        else:
            assert sizes.max() <= 3 and (sizes[sizes > 0] > 1).all()
    assert found == set(KINDS)
    still = CompositionalSamples(shards=shards, points=64, rules=replace(rules, single=0.0, moving=0.0, alone=0.0))
    sample = still.sample(0, np.random.default_rng(0))
    groups = np.repeat(np.arange(np.count_nonzero(sample["sizes"])), sample["sizes"][sample["sizes"] > 0])
    np.testing.assert_array_equal(sample["shown"], groups)
    with pytest.raises(InvalidDataset, match="needed are 999"):
        replace(samples, points=999).sample(0, np.random.default_rng(0))


def test_a_group_that_is_mirrored_still_fits_its_pictures(folder: Path) -> None:
    """Points fall onto the pixels of their picture that are not white."""
    shards = CompositionalShards(folder)
    samples = CompositionalSamples(shards=shards, points=256, rules=BatchRules(items=2, most_frames=2))
    focal = SMALL.size / 2 / np.tan(VERTICAL_FOV / 2)
    for seed in range(6):
        group = samples.group("single", np.random.default_rng(seed))
        points = group.points[0, :, :3]
        pixels = points[:, :2] * (1, -1) / (CAMERA_DISTANCE - points[:, 2:]) * focal + (SMALL.size - 1) / 2
        columns, rows = np.rint(pixels).astype(int).T
        assert (group.pictures[0, rows, columns] != WHITE).any(axis=1).mean() > 0.85


def test_squares_hide_what_they_shall(folder: Path) -> None:
    rng = np.random.default_rng(0)
    picture = np.full((40, 40, 3), 7, np.uint8)
    hidden = (hide_square(picture, (0.5, 0.5), np.zeros(3, np.uint8), rng) == 0).all(axis=2)
    assert hidden.sum() == 400 and (picture == 7).all()
    frames = np.arange(6, dtype=np.uint8)[:, None, None, None] + np.zeros((6, 40, 40, 3), np.uint8)
    frames[:, 5:, 5:] += 100
    changed = (hide_span(frames, rng) != frames).any(axis=(1, 2, 3))
    first, last = np.flatnonzero(changed)[[0, -1]]
    assert changed[first : last + 1].all() and 1 <= changed.sum() < 6
    arrays = CompositionalShards(folder).arrays(0)
    alone = on_white(arrays, 0, [1])
    assert (alone[arrays.numbers[0] == 0] == WHITE).all()
    np.testing.assert_array_equal(alone[arrays.numbers[0] == 1], arrays.rgb[0][arrays.numbers[0] == 1])


def test_half_of_the_places_around_a_solid_are_inside() -> None:
    rng = np.random.default_rng(0)
    inside = np.arange(100) < 10
    rows = balanced_rows(inside, 41, rng)
    assert len(rows) == 41 and inside[rows].sum() == 20 and len(np.unique(rows[~inside[rows]])) == 21
    assert len(np.unique(balanced_rows(np.zeros(50, bool), 50, rng))) == 50
