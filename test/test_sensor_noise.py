"""Simulated depth cameras: every defect appears where its cause is, and nowhere else."""

from dataclasses import fields, replace

import numpy as np
import pytest
from rig import make_camera

from fourd_ros.depth_completion.sensor_noise import DepthSensor, SensorRanges, find_edges
from fourd_ros.errors import InvalidImage

SIZE = 64
CAMERA = make_camera(SIZE)
FOCAL = float(CAMERA.K[0, 0])
PERFECT = DepthSensor(
    baseline=0.0,
    border=0.0,
    nearest=0.01,
    farthest=100.0,
    grazing=np.pi,
    axial_noise=0.0,
    disparity_step=1e-9,
    lateral_noise=0.0,
    flying=0.0,
    edge_loss=0.0,
    speckle=0.0,
    patches=0.0,
    dark=0.0,
    glare=2.0,
    clear_things=0.0,
    clear_loss=0.0,
)
WALL = np.full((SIZE, SIZE), 1.0, np.float32)
GREY = np.full((SIZE, SIZE, 3), 128, np.uint8)
NOTHING = np.zeros((SIZE, SIZE), np.uint8)


def post() -> np.ndarray:
    """A wall at 1 m and a post at 0.5 m before it, in the columns 30 to 39."""
    depth = WALL.copy()
    depth[:, 30:40] = 0.5
    return depth


def measure(
    depth: np.ndarray, *, seed: int = 0, rgb: np.ndarray = GREY, labels: np.ndarray = NOTHING, **changes: float
):
    sensor = replace(PERFECT, **changes)
    return sensor.measure(depth, rgb=rgb, labels=labels, camera=CAMERA, rng=np.random.default_rng(seed))


def test_a_perfect_sensor_changes_nothing() -> None:
    depth = post()
    depth[5, 5] = np.nan
    np.testing.assert_allclose(measure(depth), depth, rtol=1e-6)


@pytest.mark.parametrize("side", [1, -1])
def test_shadows_lie_beside_near_things_on_the_side_of_the_baseline_and_are_as_wide_as_geometry_says(side: int) -> None:
    baseline = 0.1
    lost = np.isnan(measure(post(), baseline=side * baseline))
    width = baseline * FOCAL * (1 / 0.5 - 1 / 1.0)  # difference of the disparities [px]
    beside = lost[10, 20:30] if side > 0 else lost[10, 40:50][::-1]
    assert beside.sum() == pytest.approx(width, abs=1)
    assert beside[-round(width) + 1 :].all()
    assert lost.sum() == SIZE * beside.sum()


def test_the_border_that_the_other_eye_does_not_see() -> None:
    assert np.isnan(measure(WALL, baseline=0.01, border=0.125)[:, :8]).all()
    lost = np.isnan(measure(WALL, baseline=-0.01, border=0.125))
    assert lost[:, -8:].all()
    assert not lost[:, :-8].any()


def test_too_near_and_too_far() -> None:
    depth = np.linspace(0.1, 5.0, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    lost = np.isnan(measure(depth, nearest=0.5, farthest=3.0))
    np.testing.assert_array_equal(lost, (depth < 0.5) | (depth > 3.0))


def test_noise_grows_with_the_square_of_the_distance() -> None:
    near, far = (np.std(measure(distance * WALL, axial_noise=0.002) - distance) for distance in (1.0, 3.0))
    assert near == pytest.approx(0.002, rel=0.1)
    assert far == pytest.approx(9 * near, rel=0.1)


def test_depth_comes_in_steps_of_disparity() -> None:
    depth = np.linspace(1.0, 3.0, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    inverse = np.unique(1 / measure(depth, disparity_step=0.01).astype(np.float64))
    np.testing.assert_allclose(inverse / 0.01, np.rint(inverse / 0.01), atol=1e-4)
    assert len(inverse) == 68  # 0.33 .. 1.00


def test_grazing_surfaces_are_lost_at_their_angle() -> None:
    slope = np.tan(np.deg2rad(70))  # of a wall that runs away to the right, seen at 70 degrees in the middle
    depth = (1 / (1 - slope * CAMERA.rays()[..., 0])).astype(np.float32)
    depth[(depth < 0) | (depth > 20)] = np.nan
    middle = np.s_[28:36, 31:33]
    assert not np.isnan(measure(depth, grazing=np.deg2rad(72))[middle]).any()
    assert np.isnan(measure(depth, grazing=np.deg2rad(68))[middle]).all()
    assert not np.isnan(measure(WALL, grazing=np.deg2rad(50))).any()


def test_flying_and_lost_pixels_lie_at_edges_only() -> None:
    depth = post()
    edges = find_edges(1 / depth.astype(np.float64))
    assert edges.sum() == 4 * SIZE
    flown = measure(depth, flying=1.0)
    np.testing.assert_array_equal(flown[~edges], depth[~edges])
    assert (flown[edges] >= 0.5).all()
    assert (flown[edges] <= 1.0).all()
    assert np.mean((flown[edges] > 0.51) & (flown[edges] < 0.99)) > 0.9
    np.testing.assert_array_equal(np.isnan(measure(depth, edge_loss=1.0)), edges)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_speckle_and_patches_cover_the_share_that_was_asked_for(share: float) -> None:
    def mean_loss(**changes: float) -> float:
        return float(np.mean([np.isnan(measure(WALL, seed=seed, **changes)).mean() for seed in range(60)]))

    assert mean_loss(speckle=share) == pytest.approx(share, rel=0.1)
    assert mean_loss(patches=share) == pytest.approx(share, rel=0.5)


def test_dark_glaring_and_clear_surfaces_lose_depth() -> None:
    rgb, labels = GREY.copy(), NOTHING.copy()
    rgb[:20], rgb[20:40] = 5, 250
    labels[40:] = 3
    dark = np.isnan(measure(WALL, rgb=rgb, dark=0.1))
    glaring = np.isnan(measure(WALL, rgb=rgb, glare=0.9))
    clear = np.isnan(measure(WALL, labels=labels, clear_things=1.0, clear_loss=1.0))
    assert dark[:20].any()
    assert not dark[20:].any()
    assert glaring[20:40].any()
    assert not np.delete(glaring, np.s_[20:40], axis=0).any()
    assert clear[40:].all()
    assert not clear[:40].any()


def test_a_sensor_is_drawn_from_its_ranges_and_the_seed_decides() -> None:
    ranges = SensorRanges(baseline=(0.05, 0.05))
    sensors = [ranges.draw(np.random.default_rng(seed)) for seed in range(50)]
    assert {sensor.baseline for sensor in sensors} == {0.05}
    for item in fields(SensorRanges):
        low, high = getattr(ranges, item.name)
        values = [getattr(sensor, item.name) for sensor in sensors]
        assert low <= min(values) <= max(values) <= high
    images = [
        SensorRanges().draw(rng).measure(post(), rgb=GREY, labels=NOTHING, camera=CAMERA, rng=rng)
        for rng in map(np.random.default_rng, (1, 1, 2))
    ]
    np.testing.assert_array_equal(images[0], images[1])
    assert not np.array_equal(images[0], images[2], equal_nan=True)
    assert images[0].dtype == np.float32


def test_images_of_different_sizes_are_refused() -> None:
    with pytest.raises(InvalidImage, match="one size"):
        measure(WALL[:10])
