"""A scene reconstructed while the camera moves: path, objects with numbers that stay, a map without ghosts."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from live_rig import PERIOD_NS, Stream, stream
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, from_parts, invert, rotation_about
from fourd_ros.reconstruction.live.live_objects import LiveObjectOptions
from fourd_ros.reconstruction.live.live_reconstruction import LiveFrame, LiveOptions, LiveReconstruction
from fourd_ros.reconstruction.masks.object_pixels import pixels_around, pixels_of_mask
from fourd_ros.reconstruction.motion.rigid_pose import PoseOptions, rigid_pose
from fourd_ros.reconstruction.tracking.point_tracker import PointTrackerOptions

K = np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]])


def played(seen: Stream, scene: LiveReconstruction, frames: Any, **options: bool) -> list[LiveFrame]:
    """What each frame says; all of them must say something from the first pose on."""
    told = []
    for index, frame in enumerate(frames):
        one = scene.add(
            seen.stamp(index),
            seen.rgb[frame],
            seen.depth[frame] if options.get("depth", True) else None,
            seen.masks[frame] if options.get("masks") else None,
        )
        if one is not None:
            told.append(one)
    return told


@pytest.fixture(scope="module")
def run() -> tuple[Stream, LiveReconstruction, list[LiveFrame]]:
    seen = stream()
    scene = LiveReconstruction(seen.camera)
    return seen, scene, played(seen, scene, range(len(seen)))


def test_the_path_is_that_of_the_camera(run: Any) -> None:
    seen, _, told = run
    assert len(told) == len(seen)
    found = np.stack([one.pose.T_world_camera for one in told])
    length = np.linalg.norm(np.diff(seen.T_world_camera[:, :3, 3], axis=0), axis=1).sum()
    away = np.linalg.norm(found[:, :3, 3] - seen.T_world_camera[:, :3, 3], axis=1)
    assert np.sqrt((away**2).mean()) < 0.03 * length and away.max() < 0.07
    assert set(told[-1].seconds) == {"track", "pose", "motion", "objects", "map"}


def test_the_object_is_found_and_keeps_its_number(run: Any) -> None:
    seen, _, told = run
    with_object = [(index, one.objects) for index, one in enumerate(told) if one.objects]
    assert {thing.number for _, objects in with_object for thing in objects} == {1}
    first, (thing, *_) = with_object[0]
    assert first < 30 and with_object[-1][0] == len(seen) - 1
    strays = [
        seen.strayed(index, objects[0].T_world_object, thing.T_world_object, first) for index, objects in with_object
    ]
    moved = np.linalg.norm(seen.T_world_object[-1, :3, 3] - seen.T_world_object[first, :3, 3])
    assert moved > 0.2 and max(strays) < 0.06


def test_velocity_and_points_are_those_of_the_object(run: Any) -> None:
    seen, _, told = run
    thing = told[-1].objects[0]
    before = seen.T_world_object[-9] @ invert(seen.T_world_object[-1]) @ thing.T_world_object
    velocity = (thing.T_world_object[:3, 3] - before[:3, 3]) / (8 * PERIOD_NS * 1e-9)
    assert thing.twist.linear == pytest.approx(velocity, abs=0.15) and thing.dynamic
    own = apply(invert(seen.T_world_object[-1]), thing.points.astype(np.float64))
    assert len(thing.points) > 200 and np.mean(np.linalg.norm(own, axis=1) < 0.9) > 0.8
    assert thing.size.max() < 1.5 and thing.last_seen_ns == told[-1].stamp_ns
    assert "object" in thing.name and 0 < thing.confidence <= 1


def test_the_map_holds_what_stands_still_and_no_trail(run: Any) -> None:
    seen, scene, _ = run
    last = len(seen) - 1
    points = scene.map.points(min_confidence=2.0).points
    assert len(points) > 3000
    in_camera = apply(invert(seen.T_world_camera[last]), points.astype(np.float64))
    pixels = np.rint(seen.camera.project(in_camera))
    inside = np.asarray(((pixels >= 0) & (pixels < (seen.camera.width, seen.camera.height))).all(axis=1))
    x, y = pixels[inside].astype(int).T
    floating = in_camera[inside, 2] < 0.85 * seen.depth[last][y, x]
    assert floating.mean() < 0.02


def test_masks_name_the_objects(run: Any) -> None:
    seen = run[0]
    scene = LiveReconstruction(seen.camera)
    told = played(seen, scene, range(20), masks=True)
    things = told[-1].objects
    first = next(index for index, one in enumerate(told) if one.objects)
    assert first < 10 and [thing.number for thing in things] == [1]
    begin = told[first].objects[0].T_world_object
    assert seen.strayed(19, things[0].T_world_object, begin, first) < 0.03
    inside = seen.masks[19] > 0
    assert len(things[0].points) == pytest.approx(min(inside.sum(), 2000), rel=0.5)


def test_without_depth_the_path_has_the_right_shape(run: Any) -> None:
    seen = run[0]
    scene = LiveReconstruction(seen.camera)
    told = played(seen, scene, range(len(seen)), depth=False)
    assert len(told) > 10
    found = np.stack([one.pose.T_world_camera[:3, 3] for one in told])
    truth = seen.T_world_camera[-len(told) :, :3, 3]
    ways = [np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in (found, truth)]
    (found, truth) = ((path - path.mean(axis=0)) / way for path, way in zip((found, truth), ways, strict=True))
    U, _, Vt = np.linalg.svd(truth.T @ found)
    turn = U @ np.diag([1, 1, np.linalg.det(U @ Vt)]) @ Vt
    assert np.linalg.norm(found @ turn.T - truth, axis=1).max() < 0.1
    assert len(scene.map) > 50


def test_a_stopped_object_melts_into_the_map(run: Any) -> None:
    seen = run[0]
    options = LiveOptions(objects=LiveObjectOptions(still_after=0.2, melt_after=1.2, smoothing=0.1))
    scene = LiveReconstruction(seen.camera, options)
    going = played(seen, scene, range(25))
    assert going[-1].objects and going[-1].objects[0].dynamic
    told = [scene.add(seen.stamp(25 + index), seen.rgb[24], seen.depth[24]) for index in range(72)]
    states = [one.objects[0].dynamic for one in told if one is not None and one.objects]
    assert states[0] and not states[-1]
    assert told[-1] is not None and not told[-1].objects and scene.melted == 1


def test_a_restart_forgets_all_but_the_numbers(run: Any) -> None:
    seen = run[0]
    scene = LiveReconstruction(seen.camera)
    before = played(seen, scene, range(24))
    assert before[-1].objects
    T_start = from_parts(rotation_about((0.0, 1.0, 0.0), 0.5), (1.0, 2.0, 3.0))
    scene.restart(T_start)
    assert len(scene.map) == 0 and scene.restarts == 1
    again = played(seen, scene, range(24))
    assert np.allclose(again[0].pose.T_world_camera, T_start)
    assert again[-1].objects[0].number == before[-1].objects[0].number + 1
    assert scene.add(seen.stamp(3), seen.rgb[3], seen.depth[3]) is not None
    assert scene.restarts == 2  # a stamp that is not later than the last one


def test_memory_is_bounded(run: Any) -> None:
    seen = run[0]
    options = LiveOptions(
        tracker=PointTrackerOptions(max_points=120),
        map=replace(LiveOptions().map, max_voxels=2000),
        objects=LiveObjectOptions(most=1, forget_after=0.3),
    )
    scene = LiveReconstruction(seen.camera, options)
    there_and_back = [*range(0, 20), *range(19, -1, -1)] * 2
    sizes = []
    for told in played(seen, scene, there_and_back):
        assert len(told.objects) <= 1
        sizes.append(len(scene._window._points) + len(scene._suspects) + len(scene._objects._history))
    assert len(scene.map) <= 2000 and max(sizes[40:]) < 1.5 * max(sizes[:40])


def test_frames_of_another_size_are_refused(run: Any) -> None:
    seen = run[0]
    scene = LiveReconstruction(seen.camera)
    good = seen.rgb[0], seen.depth[0], seen.masks[0]
    bad: list[tuple[NDArray[Any], ...]] = [
        (good[0][::2], good[1], good[2]),
        (good[0], good[1][:, 1:], good[2]),
        (good[0], good[1], good[2][1:]),
        (good[0][..., 0], good[1], good[2]),
        (good[0].astype(np.float32), good[1], good[2]),
    ]
    for images in bad:
        with pytest.raises(InvalidImage):
            scene.add(seen.stamp(0), *images)
    assert scene.add(seen.stamp(0), *good) is not None


def scattered(seed: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Points, pixels, depth and the pose they are seen from."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((-0.3, -0.3, 1.5), (0.3, 0.3, 2.0), (40, 3))
    T = from_parts(rotation_about((0.0, 1.0, 0.0), 0.15), (0.12, -0.05, 0.1))
    seen = apply(invert(T), points)
    return points, seen[:, :2] / seen[:, 2:] * 500 + [319.5, 239.5], seen[:, 2], T


@pytest.mark.parametrize("has_depth", [True, False])
def test_a_pose_is_found_among_outliers(has_depth: bool) -> None:
    points, pixels, depth, T = scattered(0)
    pixels[:12] += np.random.default_rng(1).uniform(15, 60, (12, 2))
    depth = depth if has_depth else np.full_like(depth, np.nan)
    found = rigid_pose(points, pixels, depth, K, np.eye(4))
    assert found is not None and not found.agrees[:12].any() and found.agrees[12:].all()
    assert np.allclose(found.T_points_camera, T, atol=1e-4)
    assert np.linalg.eigvalsh(found.covariance).min() > 0


def test_covariance_says_how_far_poses_spread() -> None:
    points, pixels, depth, T = scattered(2)
    rng, errors, options = np.random.default_rng(3), [], PoseOptions()
    for _ in range(200):
        noisy = pixels + rng.normal(0, options.pixel_sigma, pixels.shape)
        found = rigid_pose(points, noisy, depth * np.exp(rng.normal(0, options.depth_sigma, 40)), K, T)
        assert found is not None
        errors.append((invert(found.T_points_camera) @ T)[:3, 3])
    assert np.std(errors, axis=0) == pytest.approx(np.sqrt(np.diag(found.covariance)[:3]), rel=0.35)


def test_a_pose_needs_points_that_agree() -> None:
    points, pixels, depth, T = scattered(4)
    assert rigid_pose(points[:3], pixels[:3], depth[:3], K, T) is None
    assert rigid_pose(points, np.random.default_rng(0).uniform(0, 600, pixels.shape), depth, K, T) is None


def test_chained_poses_stay_rigid() -> None:
    points, pixels, depth, T = scattered(5)
    before, now = np.eye(4), T
    for _ in range(100):
        found = rigid_pose(points, pixels, depth, K, now @ invert(before) @ now)
        assert found is not None
        before, now = now, found.T_points_camera
    assert np.allclose(now[:3, :3] @ now[:3, :3].T, np.eye(3), atol=1e-12)


def test_pixels_of_an_object_are_in_its_hull_and_as_far_away() -> None:
    depth = np.full((60, 80), 3.0, np.float32)
    depth[20:40, 30:50] = 1.0
    depth[25, 35] = np.nan
    corners = np.array([[32.0, 22.0], [47.0, 22.0], [47.0, 37.0], [32.0, 37.0]])
    found = pixels_around(corners, np.ones(4), depth, focal=100.0, size=(60, 80))
    marks = np.zeros((60, 80), bool)
    found.mark(marks)
    assert marks[30, 40] and not marks[25, 35] and not marks[:20].any() and not marks[:, 50:].any()
    assert found.count == marks.sum() > 15 * 15
    rows, columns = found.places(50)
    assert len(rows) <= 50 and marks[rows, columns].all()
    at_the_border = pixels_around(corners - [40, 30], np.ones(4), None, focal=100.0, size=(60, 80))
    assert at_the_border.left == at_the_border.top == 0
    assert pixels_of_mask(np.zeros((4, 5), np.int32), 3).count == 0
    assert pixels_of_mask(np.eye(5, dtype=np.int32) * 3, 3).count == 5


def test_a_distorted_camera_finds_the_same_path() -> None:
    seen = stream()
    bent = PinholeCamera(
        width=seen.camera.width, height=seen.camera.height, K=seen.camera.K, distortion=np.array([-0.25, 0.06, 0, 0])
    )
    places = bent.rays()[..., :2] @ seen.camera.K[:2, :2].T.astype(np.float32) + seen.camera.K[:2, 2].astype(np.float32)
    warp: Callable[[NDArray[Any], int], NDArray[Any]] = _warped(places)
    scene = LiveReconstruction(bent)
    for frame in range(0, 12):
        told = scene.add(seen.stamp(frame), warp(seen.rgb[frame], 1), warp(seen.depth[frame], 0))
    assert told is not None
    assert np.linalg.norm(told.pose.T_world_camera[:3, 3] - seen.T_world_camera[11, :3, 3]) < 0.08


def _warped(places: NDArray[Any]) -> Callable[[NDArray[Any], int], NDArray[Any]]:
    import cv2

    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])

    def warp(image: NDArray[Any], interpolation: int) -> NDArray[Any]:
        border = {"borderMode": cv2.BORDER_CONSTANT, "borderValue": float("nan") if image.ndim == 2 else 0}
        return np.asarray(cv2.remap(image, x, y, interpolation, **border))

    return warp
