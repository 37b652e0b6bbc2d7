"""The static map: voxels with a mean, a confidence and a bound."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from fourd_ros.errors import InvalidCloud, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.mapping.voxel_map import CELLS, VoxelMap, VoxelMapOptions
from fourd_ros.reconstruction.mapping.voxel_table import VoxelTable

RNG = np.random.default_rng(3)
CAMERA = PinholeCamera(width=80, height=60, K=np.array([[70.0, 0, 39.5], [0, 70.0, 29.5], [0, 0, 1]]))


def grey(points: np.ndarray, level: int = 128) -> np.ndarray:
    return np.full(points.shape, level, np.uint8)


def filled(points: np.ndarray, **options: float) -> VoxelMap:
    voxels = VoxelMap(VoxelMapOptions(**{"voxel_size": 0.1, **options}))
    voxels.integrate(points, grey(points), stamp_ns=1)
    return voxels


def test_voxels_hold_means_as_a_plain_count_would() -> None:
    points = RNG.uniform(-1, 1, (4000, 3)).astype(np.float32)
    rgb = RNG.integers(0, 256, (4000, 3), dtype=np.uint8)
    weights = RNG.uniform(0.1, 2, 4000).astype(np.float32)
    voxels = VoxelMap(VoxelMapOptions(voxel_size=0.25))
    voxels.integrate(points, rgb, stamp_ns=5, weights=weights)
    cells: dict[tuple[int, ...], list[int]] = {}
    for number, cell in enumerate(np.floor(points * np.float32(4)).astype(int).tolist()):
        cells.setdefault(tuple(cell), []).append(number)
    found = voxels.points()
    assert len(voxels) == len(cells) == len(found.points)
    for place, colour, sure in zip(found.points, found.rgb, found.confidence, strict=True):
        members = cells[tuple(np.floor(place * 4).astype(int).tolist())]
        np.testing.assert_allclose(place, np.average(points[members], axis=0, weights=weights[members]), atol=1e-5)
        mean = np.average(rgb[members].astype(float), axis=0, weights=weights[members])
        assert np.abs(colour - mean).max() < 0.51
        assert sure == weights[members].max()


def test_means_of_frames_grow_sure() -> None:
    voxels = VoxelMap(VoxelMapOptions(voxel_size=0.1))
    seen = 0.05 + 0.02 * RNG.standard_normal((40, 1, 3)).clip(-2, 2)
    for frame, points in enumerate(seen):
        voxels.integrate(points, grey(points, frame), stamp_ns=100 + frame)
    found = voxels.points()
    np.testing.assert_allclose(found.points, seen.mean(axis=0), atol=1e-5)
    assert found.confidence.tolist() == [40.0] and found.stamps_ns.tolist() == [139]
    assert found.rgb.tolist() == [[20, 20, 20]]  # 19.5


def test_a_voxel_that_was_seen_often_still_follows() -> None:
    voxels = VoxelMap(VoxelMapOptions(voxel_size=1.0, max_hits=10))
    for place in [0.2] * 100 + [0.8] * 100:
        voxels.integrate(np.full((1, 3), place), grey(np.zeros((1, 3))), stamp_ns=0)
    found = voxels.points()
    assert found.confidence.tolist() == [10.0] and found.points[0, 0] > 0.79


def test_what_is_seen_once_can_be_left_out() -> None:
    points = np.array([[0.05, 0.05, 0.05], [0.95, 0.95, 0.95]])
    voxels = filled(points)
    voxels.integrate(points[:1], grey(points[:1]), stamp_ns=2)
    assert len(voxels.points(min_confidence=2).points) == 1
    assert len(voxels.points(min_confidence=1).points) == 2


def test_unknown_and_far_points_are_left_out() -> None:
    far = CELLS * 0.1
    points = np.array([[np.nan, 0, 0], [0, np.inf, 0], [far, 0, 0], [0, 0, -far], [0.3, 0.3, 0.3]])
    found = filled(points).points()
    np.testing.assert_allclose(found.points, [[0.3, 0.3, 0.3]], atol=1e-6)
    nothing = filled(points[:4])
    assert len(nothing) == 0 and nothing.points().points.shape == (0, 3)


def test_image_shaped_points_are_taken() -> None:
    points = RNG.uniform(0, 1, (6, 8, 3)).astype(np.float32)
    voxels = VoxelMap(VoxelMapOptions(voxel_size=1e-3))
    weights = np.ones((6, 8))
    weights[0] = 0
    voxels.integrate(points, grey(points), stamp_ns=0, weights=weights)
    assert len(voxels) == 40


@pytest.mark.parametrize(
    ("count", "weights"), [(4, None), (5, np.ones(4)), (5, np.full(5, -1.0)), (5, np.full(5, np.nan))]
)
def test_points_that_do_not_fit_are_refused(count: int, weights: np.ndarray | None) -> None:
    with pytest.raises(InvalidCloud):
        VoxelMap().integrate(np.zeros((5, 3)), np.zeros((count, 3), np.uint8), stamp_ns=0, weights=weights)


@pytest.mark.parametrize("change", [{"voxel_size": 0.0}, {"max_voxels": 0}, {"max_hits": 0.5}, {"decay": 1.5}])
def test_senseless_options_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(InvalidParameter):
        VoxelMapOptions(**change)


def test_the_least_sure_and_the_oldest_make_room() -> None:
    sure = np.stack([np.arange(50), np.zeros(50), np.zeros(50)], axis=1) * 0.1 + 0.05
    voxels = filled(sure, max_voxels=100)
    voxels.integrate(sure, grey(sure), stamp_ns=2)
    for frame in range(1, 12):
        others = sure + np.array([0, 0.1 * frame, 0])
        voxels.integrate(others[:20], grey(others[:20]), stamp_ns=2 + frame)
        assert len(voxels) <= 100
    found = voxels.points()
    assert (found.confidence == 2).sum() == 50
    assert set(range(2 + 10, 2 + 12)) <= set(found.stamps_ns.tolist()) and 3 not in found.stamps_ns


def test_a_frame_larger_than_the_map_is_borne() -> None:
    points = RNG.uniform(-50, 50, (5000, 3))
    voxels = filled(points, max_voxels=300)
    voxels.integrate(points[::-1], grey(points), stamp_ns=2)
    assert 200 < len(voxels) <= 300
    assert len(np.unique(np.floor(voxels.points().points * 10), axis=0)) == len(voxels)


def test_what_was_looked_through_is_forgotten() -> None:
    wall = CAMERA.rays() * np.float32(3)
    person = wall[20:40, 30:50] * np.float32(0.5)
    voxels = filled(np.concatenate([wall.reshape(-1, 3), person.reshape(-1, 3)]), voxel_size=0.05)
    behind = np.array([[0.0, 0.0, 5.0]])
    voxels.integrate(behind, grey(behind), stamp_ns=1)
    depth = np.full((60, 80), 3.0, np.float32)
    depth[:, 60:] = np.nan
    before = len(voxels)
    for _ in range(6):
        voxels.carve(depth, CAMERA, np.eye(4), margin=0.02)
    found = voxels.points().points
    assert before > len(voxels)
    assert not (found[:, 2] < 2).any(), "the person is gone"
    assert (np.abs(found[:, 2] - 3) < 0.05).sum() > 0.95 * (before - 400 - 1), "the wall stays"
    assert (found[:, 2] > 4.9).sum() == 1, "and what is behind it"


def test_what_the_camera_does_not_look_at_stays() -> None:
    points = np.array([[0, 0, 1.0], [0, 0, -1.0], [5.0, 0, 1.0]])
    voxels = filled(points)
    T_world_camera = np.eye(4)
    T_world_camera[:3, :3] = np.diag([-1.0, 1, -1])  # looks backward
    for _ in range(8):
        voxels.carve(np.full((60, 80), 4.0), CAMERA, T_world_camera, margin=0.05)
    np.testing.assert_allclose(np.sort(voxels.points().points[:, 2]), [1, 1], atol=1e-6)
    voxels.carve(np.full((60, 80), np.nan), CAMERA, np.eye(4), margin=0.05)
    assert len(voxels) == 2
    VoxelMap().carve(np.ones((60, 80)), CAMERA, np.eye(4), margin=0.05)


def test_maps_come_back_and_go_on(tmp_path: Path) -> None:
    points = RNG.uniform(-1, 1, (500, 3))
    voxels, loaded = filled(points), VoxelMap(VoxelMapOptions(voxel_size=0.1))
    voxels.save(tmp_path / "map.npz")
    loaded.load(tmp_path / "map.npz")
    for each in (voxels, loaded):
        each.integrate(points * 0.9, grey(points, 7), stamp_ns=9)
    for name in ("points", "rgb", "confidence", "stamps_ns"):
        np.testing.assert_array_equal(getattr(loaded.points(), name), getattr(voxels.points(), name))
    voxels.clear()
    assert len(voxels) == 0 and len(voxels.points().points) == 0


def test_maps_that_do_not_fit_are_refused_and_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "map.npz"
    voxels = filled(RNG.uniform(-1, 1, (500, 3)))
    voxels.save(path)
    here = filled(np.zeros((1, 3)), max_voxels=10)
    with pytest.raises(InvalidCloud, match="allowed are 10"):
        here.load(path)
    with pytest.raises(InvalidCloud, match=r"0\.1 m wide"):
        VoxelMap().load(path)
    with pytest.raises(InvalidCloud, match="save one"):
        here.load(tmp_path / "none.npz")
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(InvalidCloud):
        here.load(path)
    assert len(here) == 1


@pytest.mark.parametrize(
    "damage",
    [
        {"keys": np.array([3, 3])},
        {"keys": np.array([-1, 3])},
        {"values": np.zeros((6, 3), np.float32)},
        {"confidence": np.array([1.0, np.nan], np.float32)},
        {"stamps_ns": np.zeros(2)},
    ],
)
def test_damaged_maps_are_refused(tmp_path: Path, damage: dict[str, np.ndarray]) -> None:
    path = tmp_path / "map.npz"
    filled(np.array([[0, 0, 0], [1.0, 1, 1]])).save(path)
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files if name != "map.json"}
        facts = archive["map.json"]
    np.savez(path, **{**arrays, **damage})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("map.json", bytes(facts))
    with pytest.raises(InvalidCloud):
        VoxelMap(VoxelMapOptions(voxel_size=0.1)).load(path)


def test_table_finds_what_was_entered_and_nothing_else() -> None:
    table = VoxelTable(1000)
    keys = RNG.permutation(3000)[:1000].astype(np.int64)
    rows = np.arange(1000, dtype=np.int32)
    table.add(keys[:600], rows[:600])
    table.add(keys[600:], rows[600:])
    np.testing.assert_array_equal(table.find(keys), rows)
    absent = np.setdiff1d(np.arange(3000), keys)
    assert (table.find(absent) == -1).all()
    table.rebuild(keys[500:])
    np.testing.assert_array_equal(table.find(keys[500:]), rows[:500])
    assert (table.find(keys[:500]) == -1).all()


def test_looking_through_reaches_old_voxels_of_a_map_that_grows() -> None:
    voxels = filled(np.array([[0.0, 0.0, 1.0]]), decay=0.5)
    for step in range(8):
        voxels.integrate(np.array([[0.5 + step, 5.0, 1.0]]), grey(np.zeros((1, 3))), stamp_ns=step)
        voxels.carve(np.full((60, 80), 4.0), CAMERA, np.eye(4), margin=0.05)
    assert not (np.abs(voxels.points().points[:, :2]) < 0.1).all(axis=1).any()
