"""Scenes solved from tracks: with and without depth, labels and calibration; what cannot be solved is said."""

from functools import cache

import numpy as np
import pytest
from moving_scene import SceneOptions, moving_scene
from numpy.typing import NDArray

from fourd_ros.errors import CannotReconstruct, InvalidTracks
from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply
from fourd_ros.reconstruction.motion.scene_motion import REJECTED, STATIC, SceneMotion
from fourd_ros.reconstruction.motion.scene_solver import UNKNOWN, SolverOptions, labels_from_masks, solve_scene
from fourd_ros.reconstruction.motion.tracks import Tracks

Scene = dict[str, NDArray[np.generic]]


@cache
def scene(seed: int = 1, **options: object) -> Scene:
    """A scene, made once."""
    return moving_scene(seed, SceneOptions(**options))  # type: ignore[arg-type]


def tracks_of(found: Scene, name: str = "tracks_noisy") -> Tracks:
    """Its tracks."""
    height, width = found["depth"].shape[1:]
    return Tracks(
        positions=found[name].astype(np.float64),
        visible=found["vis"].astype(bool),
        born=found["init_frames"].astype(np.int64),
        width=width,
        height=height,
    )


def camera_of(found: Scene, name: str = "K_bad") -> PinholeCamera:
    """Its calibration, the focal length ten percent too long."""
    height, width = found["depth"].shape[1:]
    return PinholeCamera(width=width, height=height, K=found[name].astype(np.float64))


def ate(motion: SceneMotion, found: Scene) -> float:
    """Root mean square of the path's error after a similarity [m]."""
    return pose_scores(motion.T_world_camera, found["c2w"].astype(np.float64)).ate


def labels_of(found: Scene) -> NDArray[np.int64]:
    """What each track is on."""
    return found["object"].astype(np.int64)


def test_exact_tracks_give_the_exact_path_and_focal_length() -> None:
    found = scene()
    motion = solve_scene(
        tracks_of(found, "tracks"), camera=camera_of(found), depth=found["depth"], labels=labels_of(found)
    )
    assert ate(motion, found) < 1e-6
    assert motion.camera.K[0, 0] == pytest.approx(140, rel=1e-4)
    assert motion.metric
    assert motion.rms < 1e-3


@pytest.mark.parametrize("camera", ["arc", "forward", "sideways", "wander"])
def test_noisy_tracks_with_labels(camera: str) -> None:
    found = scene(2, camera=camera)
    motion = solve_scene(tracks_of(found), camera=camera_of(found), depth=found["depth_noisy"], labels=labels_of(found))
    assert ate(motion, found) < 0.0035
    assert motion.camera.K[0, 0] == pytest.approx(140, rel=0.02)


@pytest.mark.parametrize("seed", [1, 4])
def test_what_moves_is_found_by_itself(seed: int) -> None:
    found = scene(seed, moving=2)
    motion = solve_scene(tracks_of(found), camera=camera_of(found), depth=found["depth_noisy"])
    on_things = labels_of(found) > 0
    long_enough = found["vis"].sum(axis=0) >= 3
    assert ate(motion, found) < 0.006
    assert (motion.labels[on_things] != STATIC).mean() > 0.9
    assert (motion.labels[~on_things & long_enough] == STATIC).mean() > 0.95
    for moving in motion.objects:
        owners = labels_of(found)[moving.tracks]
        assert (owners == np.bincount(owners).argmax()).mean() > 0.9
        assert (motion.labels[moving.tracks] == moving.number).all()


@pytest.mark.parametrize(("tracks", "bound"), [("tracks", 1e-5), ("tracks_noisy", 0.06)])
def test_an_object_goes_where_it_went(tracks: str, bound: float) -> None:
    found = scene(5, moving=1)
    motion = solve_scene(
        tracks_of(found, tracks), camera=camera_of(found, "K"), depth=found["depth"], labels=labels_of(found)
    )
    (moving,) = motion.objects
    seen = np.flatnonzero(np.isfinite(moving.T_world_object[:, 0, 0]))
    places = apply(moving.T_world_object[seen], np.broadcast_to(moving.points, (len(seen), *moving.points.shape)))
    true_places = found["points_world"][np.ix_(seen, moving.tracks)].astype(np.float64)
    off = np.linalg.norm(places.mean(axis=1) - true_places.mean(axis=1), axis=1)
    assert off.max() < bound
    assert np.linalg.norm(true_places.mean(axis=1)[-1] - true_places.mean(axis=1)[0]) > 0.5


def test_wild_and_broken_tracks_do_little_harm() -> None:
    found = scene(3, outliers=0.1, dropped=0.15)
    motion = solve_scene(tracks_of(found), camera=camera_of(found), depth=found["depth_noisy"])
    assert ate(motion, found) < 0.006


def test_without_depth_lengths_are_not_metres() -> None:
    found = scene(2)
    motion = solve_scene(tracks_of(found), camera=camera_of(found))
    assert not motion.metric
    assert ate(motion, found) < 0.006
    assert (motion.depth_scales == 1).all()
    assert any("without depth" in caveat for caveat in motion.caveats) == bool(motion.objects)


def test_without_calibration_a_field_of_view_is_found() -> None:
    found = scene(2)
    motion = solve_scene(tracks_of(found), camera=None, depth=found["depth_noisy"])
    assert motion.camera.K[0, 0] == pytest.approx(140, rel=0.03)
    assert any("no calibration" in caveat for caveat in motion.caveats)


def test_a_calibrated_focal_length_stays() -> None:
    found = scene(2)
    motion = solve_scene(
        tracks_of(found), camera=camera_of(found, "K"), depth=found["depth_noisy"], options=SolverOptions(focal="fixed")
    )
    assert motion.camera == camera_of(found, "K")


def test_masks_label_tracks_and_silence_is_no_standstill() -> None:
    found = scene(1)
    masks = found["label"].astype(np.int32)
    labels = labels_from_masks(tracks_of(found, "tracks"), masks)
    on_thing = labels_of(found) == 1
    assert (labels[on_thing] == 1).mean() > 0.9
    assert (labels[~on_thing] == UNKNOWN).mean() > 0.95
    overlooked = np.where(np.arange(len(labels)) % 2, labels, UNKNOWN)
    motion = solve_scene(tracks_of(found), camera=camera_of(found), depth=found["depth_noisy"], labels=overlooked)
    assert ate(motion, found) < 0.006
    assert (motion.labels[on_thing] != STATIC).mean() > 0.9


def test_a_distorting_lens_is_undone() -> None:
    import cv2

    found = scene(2)
    lens = PinholeCamera(
        width=160, height=120, K=found["K"].astype(np.float64), distortion=np.array([-0.2, 0.05, 0, 0])
    )
    flat = tracks_of(found)
    rays = (flat.positions - lens.K[:2, 2]) / lens.K[0, 0]
    bent, _ = cv2.projectPoints(
        np.concatenate([rays, np.ones((*rays.shape[:2], 1))], axis=-1).reshape(-1, 1, 3),
        np.zeros(3),
        np.zeros(3),
        lens.K,
        lens.distortion,
    )
    bent_tracks = Tracks(
        positions=bent.reshape(flat.positions.shape),
        visible=flat.visible & (np.abs(rays) < 0.7).all(axis=-1),
        born=flat.born,
        width=160,
        height=120,
    )
    straight = PinholeCamera(width=160, height=120, K=lens.K)
    labels = labels_of(found)
    errors = [
        ate(solve_scene(bent_tracks, camera=camera, labels=labels, options=SolverOptions(focal="fixed")), found)
        for camera in (lens, straight)
    ]
    assert errors[0] < 0.006 < errors[1]


def test_a_camera_that_stands_still_is_found_standing_still() -> None:
    found = dict(scene(4, moving=1))
    still = np.repeat(found["tracks_noisy"][:1], 10, axis=0) + np.random.default_rng(0).normal(0, 0.1, (10, 900, 2))
    seen = np.repeat(found["vis"][:1] & (found["init_frames"] == 0), 10, axis=0)
    tracks = Tracks(positions=still, visible=seen.astype(bool), born=np.zeros(900, np.int64), width=160, height=120)
    depth = np.repeat(found["depth"][:1], 10, axis=0)
    with_depth = solve_scene(tracks, camera=camera_of(found, "K"), depth=depth, options=SolverOptions(focal="fixed"))
    assert np.linalg.norm(with_depth.T_world_camera[:, :3, 3], axis=1).max() < 0.01
    without = solve_scene(tracks, camera=camera_of(found, "K"), options=SolverOptions(focal="fixed"))
    assert np.linalg.norm(without.T_world_camera[:, :3, 3], axis=1).max() < 0.02
    assert any("distances are not known" in caveat for caveat in without.caveats)


def test_short_tracks_are_rejected() -> None:
    found = scene(2)
    given = tracks_of(found)
    visible = given.visible.copy()
    visible[2:, :5] = False
    visible[0, :5] = True
    short = Tracks(positions=given.positions, visible=visible, born=given.born, width=160, height=120)
    motion = solve_scene(short, camera=camera_of(found), depth=found["depth_noisy"])
    assert (motion.labels[:5] == REJECTED).all()
    assert np.isnan(motion.points[:5]).all()


def test_too_little_is_said() -> None:
    found = scene(2)
    few = tracks_of(found).of(np.arange(3))
    for camera in (camera_of(found), None):
        with pytest.raises(CannotReconstruct, match="3 points could be followed"):
            solve_scene(few, camera=camera, depth=found["depth"])
    with pytest.raises(CannotReconstruct, match="not on moving objects"):
        solve_scene(tracks_of(found), camera=camera_of(found), labels=np.ones(900, np.int64))
    given = tracks_of(found)
    cut = given.visible.copy()
    cut[1:, given.born == 0] = False
    apart = Tracks(positions=given.positions, visible=cut, born=given.born, width=160, height=120)
    with pytest.raises(CannotReconstruct, match="one continuous shot"):
        solve_scene(apart.of(given.born == 0), camera=camera_of(found))
    one = Tracks(
        positions=few.positions[:1], visible=few.visible[:1], born=np.zeros(3, np.int64), width=160, height=120
    )
    with pytest.raises(CannotReconstruct, match="two frames"):
        solve_scene(one, camera=camera_of(found))


def test_what_does_not_fit_is_said() -> None:
    found = scene(2)
    with pytest.raises(InvalidTracks, match=r"depth has shape \[24, 60, 80\]"):
        solve_scene(tracks_of(found), camera=camera_of(found), depth=found["depth"][:, ::2, ::2])
    with pytest.raises(InvalidTracks, match=r"labels have shape \[3\]"):
        solve_scene(tracks_of(found), camera=camera_of(found), labels=np.zeros(3, np.int64))
