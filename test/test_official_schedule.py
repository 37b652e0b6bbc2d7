"""The original's schedule as a whole, on a small scene, and the rigid motion of what it finds."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from fourd_ros.errors import CannotReconstruct, InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, from_parts, invert
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.official.rigid_motion import object_of_points
from fourd_ros.reconstruction.official.schedule import (
    LATER_POSE_RATE,
    POSE_RATE,
    OfficialSchedule,
    OfficialSearch,
    sliding_windows,
    solve_official,
)
from fourd_ros.reconstruction.official.track_labels import label_tracks
from fourd_ros.reconstruction.official.track_regions import Regions, regions_of

FRAMES, HEIGHT, WIDTH = 8, 60, 80
CAMERA = PinholeCamera(width=WIDTH, height=HEIGHT, K=np.array([[70.0, 0, 39.5], [0, 70, 29.5], [0, 0, 1]]))
SHORT = OfficialSchedule(window_epochs=25, static_epochs=40, moving_epochs=10)


class _Wall:
    """A wall 2 m away with a patch of it that slides upwards, as object 5; the camera goes to the right."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        still = rng.uniform([-1.0, -0.8, 2], [-0.1, 0.8, 2], (120, 3))
        patch = rng.uniform([0.35, -0.2, 2], [0.65, 0.2, 2], (30, 3))
        self.truth = from_parts(np.eye(3), np.linspace(0, 0.14, FRAMES)[:, None] * [1, 0, 0])
        points = np.repeat(np.concatenate([still, patch])[None], FRAMES, axis=0)
        points[:, 120:, 1] -= 0.01 * np.arange(FRAMES)[:, None]
        positions = CAMERA.project(apply(invert(self.truth), points))
        self.tracks = Tracks(
            positions=positions,
            visible=np.ones(positions.shape[:2], np.bool_),
            born=np.zeros(150, np.int64),
            width=WIDTH,
            height=HEIGHT,
        )
        self.depth = np.full((FRAMES, HEIGHT, WIDTH), 2.0, np.float32)
        instances = np.zeros((FRAMES, HEIGHT, WIDTH), np.int32)
        instances[:, 10:50, 42:70] = 5
        self.regions = regions_of(instances)


@pytest.fixture(scope="module")
def wall() -> _Wall:
    return _Wall()


def test_windows_slide_over_five_frames():
    assert sliding_windows(7)[-3:] == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [2, 3, 4, 5, 6]]


def test_rates_and_frozen_frames_of_the_window_stage(wall):
    one_step = OfficialSchedule(window_epochs=1, static_epochs=0, moving_epochs=0)
    labels = label_tracks(wall.tracks, wall.regions)
    search = OfficialSearch(wall.tracks, labels, wall.depth, CAMERA, wall.regions, one_step)
    start = search.t.detach().clone()
    search.window_stage()
    t = search.t.detach()
    moved = (t - start).abs().amax(dim=1)
    # Adam's first step is the rate; a frame starts where the one before it is, and is moved while it is not frozen
    assert float(moved[0]) == pytest.approx(POSE_RATE, rel=1e-3)
    assert float(moved[1]) <= POSE_RATE + 4 * LATER_POSE_RATE + 1e-6
    assert float((t[1:] - t[:-1]).abs().max()) <= 2 * POSE_RATE + 5 * LATER_POSE_RATE
    assert float((search.focal.detach() - 70).abs().max()) <= (FRAMES - 1) * 1e-4 + 1e-5


def test_the_schedule_explains_the_tracks_and_finds_the_object(wall):
    motion = solve_official(wall.tracks, depth=wall.depth, camera=CAMERA, regions=wall.regions, schedule=SHORT)
    np.testing.assert_allclose(motion.T_world_camera[0], np.eye(4), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(motion.T_world_camera[:, :3, :3]), 1, atol=1e-12)
    assert motion.rms < 0.6  # it was up to 5 px; the path itself drifts, as nothing holds later windows
    assert np.abs(motion.camera.K - CAMERA.K).max() < 0.1  # its focal lengths hardly move, right or wrong
    assert set(motion.labels.tolist()) <= {REJECTED, STATIC, 5}
    assert (motion.labels[:120] == STATIC).sum() > 100
    (found,) = motion.objects
    assert found.number == 5 and set(found.tracks.tolist()) <= set(range(120, 150))
    seen = (invert(motion.T_world_camera) @ found.T_world_object)[:, :3, 3]
    pixels = CAMERA.project(seen)
    np.testing.assert_allclose(pixels[-1] - pixels[0], [-0.07 * 70, -0.035 * 70], atol=0.7)
    assert np.isnan(motion.points[motion.labels != STATIC]).all()
    assert motion.metric


def test_a_calibration_that_is_not_sought_stays(wall):
    K = CAMERA.K + np.array([[0, 0, 2.0], [0, 3.0, 1.0], [0, 0, 0]])
    camera = PinholeCamera(width=WIDTH, height=HEIGHT, K=K)
    fixed = OfficialSchedule(window_epochs=1, static_epochs=1, moving_epochs=1, optimise_focal=False)
    motion = solve_official(wall.tracks, depth=wall.depth, camera=camera, regions=wall.regions, schedule=fixed)
    assert np.array_equal(motion.camera.K, K)


def test_a_clip_of_two_frames_has_no_smoothness(wall):
    tracks = Tracks(
        positions=wall.tracks.positions[:2],
        visible=wall.tracks.visible[:2],
        born=wall.tracks.born,
        width=WIDTH,
        height=HEIGHT,
    )
    regions = Regions(
        instances=wall.regions.instances[:2],
        of_masks=wall.regions.of_masks[:2],
        of_tracks=wall.regions.of_tracks[:2],
    )
    motion = solve_official(tracks, depth=wall.depth[:2], camera=CAMERA, regions=regions, schedule=SHORT)
    assert np.isfinite(motion.T_world_camera).all()


def test_what_the_schedule_cannot_use_is_refused(wall):
    given = {"camera": CAMERA, "schedule": SHORT}
    with pytest.raises(InvalidClip, match="frames, rows and columns"):
        solve_official(wall.tracks, depth=wall.depth[:3], regions=wall.regions, **given)
    holes = wall.depth.copy()
    holes[2, 3, 4] = np.nan
    with pytest.raises(InvalidClip, match="1 pixels have no depth"):
        solve_official(wall.tracks, depth=holes, regions=wall.regions, **given)
    everything = regions_of(np.ones((FRAMES, HEIGHT, WIDTH), np.int32))
    with pytest.raises(CannotReconstruct, match="none of 150 tracks"):
        solve_official(wall.tracks, depth=wall.depth, regions=everything, **given)


def _moved(count: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    shape = rng.normal(0, 0.3, (count, 3))
    turn = Rotation.from_euler("xyz", np.linspace(0, 2, 6)[:, None] * [0, 0.3, 1]).as_matrix()
    T = from_parts(turn, np.linspace(0, 1, 6)[:, None] * [1, 0.5, 0]) @ from_parts(np.eye(3), [4.0, 0, 1])
    return apply(T, np.broadcast_to(shape, (6, count, 3))).swapaxes(0, 1), np.ones((6, count), np.bool_), T


def test_a_rigid_motion_is_found_exactly():
    points, visible, truth = _moved()
    visible[0, :6], visible[3, 4:] = False, False
    found = object_of_points(3, np.arange(12), points, visible)
    assert found is not None and found.number == 3
    np.testing.assert_allclose(
        apply(found.T_world_object, np.broadcast_to(found.points, (6, 12, 3))).swapaxes(0, 1), points, atol=1e-9
    )
    np.testing.assert_allclose(found.T_world_object[0, :3, :3], np.eye(3), atol=1e-9)
    np.testing.assert_allclose(found.T_world_object[0, :3, 3], points[6:, 0].mean(axis=0), atol=1e-9)
    turned = found.T_world_object[5, :3, :3] @ found.T_world_object[0, :3, :3].T
    np.testing.assert_allclose(turned, (truth[5] @ invert(truth[0]))[:3, :3], atol=1e-9)
    assert found.nonrigid < 1e-9


def test_frames_that_see_too_little_have_no_pose():
    points, visible, _ = _moved()
    visible[2, 2:] = False
    visible[:, 11] = False
    found = object_of_points(1, np.arange(12), points, visible)
    assert np.isnan(found.T_world_object[2]).all() and np.isfinite(found.T_world_object[3]).all()
    assert np.isnan(found.points[11]).all() and np.isfinite(found.points[:11]).all()
    assert object_of_points(1, np.arange(12), points, visible & (np.arange(12) < 2)) is None


def test_how_far_points_stray_is_told():
    points, visible, _ = _moved(40)
    points += np.random.default_rng(2).normal(0, 0.01, points.shape)
    assert object_of_points(1, np.arange(40), points, visible).nonrigid == pytest.approx(0.01 * np.sqrt(3), rel=0.4)


def test_flat_objects_are_not_mirrored():
    points, visible, _ = _moved()
    flat = points.copy()
    flat[..., 2] = 0
    flat[:, :, :2] = points[:, :1, :2] + np.arange(6)[:, None] * [0.1, 0]
    found = object_of_points(1, np.arange(12), flat, visible)
    np.testing.assert_allclose(np.linalg.det(found.T_world_object[:, :3, :3]), 1, atol=1e-9)
