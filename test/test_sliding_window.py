"""Live odometry: the path, what moves, its uncertainty, breaks, and memory that stays bounded."""

from functools import cache

import numpy as np
import pytest
from moving_scene import SceneOptions, moving_scene
from numpy.typing import NDArray

from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.motion.sliding_window import LivePose, SlidingWindow, WindowOptions
from fourd_ros.reconstruction.motion.track_depth import depth_at

FRAMES = 60
NOISE = 0.06
"""Of a track [px]: what our tracker leaves."""


class Stream:
    """Points of a scene as a tracker would give them."""

    def __init__(self, *, camera: str, seed: int = 1) -> None:
        found = moving_scene(seed, SceneOptions(camera=camera, frames=FRAMES, tracks=700))
        self.truth = found["c2w"].astype(np.float64)
        self.on_things = found["object"] > 0
        self.camera = PinholeCamera(width=160, height=120, K=found["K"].astype(np.float64))
        self._pixels = found["tracks"] + np.random.default_rng(1).normal(0, NOISE, found["tracks"].shape)
        inside = ((self._pixels >= 0) & (self._pixels <= [159, 119])).all(axis=-1)
        self._seen = found["vis"].astype(bool) & inside & (found["init_frames"] <= np.arange(FRAMES)[:, None])
        noise = np.exp(np.random.default_rng(0).normal(0, 0.01, found["depth"].shape))
        self._depth = depth_at(found["depth"] * noise, self._pixels, self._seen)

    def at(self, frame: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Ids, pixels and depth of a frame."""
        ids = np.flatnonzero(self._seen[frame])
        return ids, self._pixels[frame, ids], self._depth[frame, ids]

    def run(self, window: SlidingWindow, *, depth: bool = True) -> list[LivePose | None]:
        """All frames."""
        return [window.add(ids, pixels, z if depth else None) for ids, pixels, z in map(self.at, range(FRAMES))]


@cache
def stream(camera: str = "arc") -> Stream:
    """A stream, made once."""
    return Stream(camera=camera)


def path_of(poses: list[LivePose | None]) -> NDArray[np.float64]:
    """Poses, NaN where there was none, shape [F, 4, 4]."""
    return np.stack([np.full((4, 4), np.nan) if pose is None else pose.T_world_camera for pose in poses])


@pytest.mark.parametrize("camera", ["arc", "forward", "wander"])
def test_path_with_depth(camera: str) -> None:
    given = stream(camera)
    poses = given.run(SlidingWindow(given.camera))
    assert all(pose is not None for pose in poses)
    path = path_of(poses)
    assert (path[0] == np.eye(4)).all()
    assert np.abs(path[:, :3, 3] - given.truth[:, :3, 3]).max() < 0.03  # metres, not aligned
    assert pose_scores(path, given.truth).ate < 0.01
    assert 3 < sum(pose.key_frame for pose in poses if pose is not None) < FRAMES / 2


def test_what_moves_is_told() -> None:
    given = stream()
    last = given.run(SlidingWindow(given.camera))[-1]
    assert last is not None
    assert given.on_things[last.moving].mean() > 0.9
    assert given.on_things[last.still].mean() < 0.05
    assert not np.intersect1d(last.moving, last.still).size


def test_path_without_depth_begins_with_parallax() -> None:
    given = stream()
    poses = given.run(SlidingWindow(given.camera), depth=False)
    known = [pose is not None for pose in poses]
    first = known.index(True)
    assert first > 2
    assert all(known[first:])
    assert pose_scores(path_of(poses), given.truth).ate < 0.05


def test_uncertainty_grows_along_the_path() -> None:
    given = stream()
    poses = [pose for pose in given.run(SlidingWindow(given.camera)) if pose is not None]
    spread = [np.sqrt(np.trace(pose.covariance[:3, :3])) for pose in poses]
    assert spread[0] == 0
    assert 1e-4 < spread[20] < spread[-1] < 0.2
    for pose in poses:
        assert np.linalg.eigvalsh(pose.covariance).min() > -1e-9


def test_a_break_starts_again_where_it_was() -> None:
    given = stream()
    window = SlidingWindow(given.camera, WindowOptions(lost_after=3))
    poses = [window.add(*given.at(frame)) for frame in range(20)]
    before = poses[-1]
    assert before is not None
    nobody = np.zeros(0, np.int64), np.zeros((0, 2)), np.zeros(0)
    assert [window.add(*nobody) for _ in range(5)] == [None] * 5
    ids, pixels, depth = given.at(30)
    again = window.add(ids + 10_000, pixels, depth)
    assert again is not None
    assert again.restarted
    assert again.T_world_camera == pytest.approx(before.T_world_camera)
    after = window.add(ids + 10_000, pixels, depth)
    assert after is not None
    assert not after.restarted


def test_memory_is_bounded() -> None:
    given = stream("wander")
    window = SlidingWindow(given.camera, WindowOptions(key_frames=4))
    sizes = []
    for turn in range(6):
        for frame in (*range(0, FRAMES, 3), *range(FRAMES - 1, 0, -3)):
            ids, pixels, depth = given.at(frame)
            window.add(ids + 1000 * turn, pixels, depth)
        sizes.append((len(window._points), len(window._strikes), len(window._keys)))
    assert max(keys for _, _, keys in sizes) <= 4
    assert sizes[-1][0] < 2 * sizes[0][0] + 700
    assert sizes[-1][1] < 2 * sizes[0][1] + 700


def test_too_little_to_begin_with_is_no_error() -> None:
    given = stream()
    window = SlidingWindow(given.camera)
    ids, pixels, depth = given.at(0)
    assert window.add(ids[:3], pixels[:3], depth[:3]) is None
    assert window.add(ids, pixels, np.full(len(ids), np.nan)) is None
    assert window.add(ids, pixels, depth) is not None
