"""Points followed through frames, live and offline, and the files of tracks."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from texture import texture

from fourd_ros.errors import InvalidClip, InvalidImage, InvalidParameter, InvalidTracks
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.tracking.corners import find_corners
from fourd_ros.reconstruction.tracking.cotracker_files import find_cotracker, read_cotracker, write_cotracker
from fourd_ros.reconstruction.tracking.patch_alignment import Patches, identity_warps, prepared
from fourd_ros.reconstruction.tracking.point_tracker import PointTracker, PointTrackerOptions, TrackedFrame
from fourd_ros.reconstruction.tracking.track_clip import TrackingOptions, track_clip

WIDTH, HEIGHT = 240, 180
SHEET = texture(400, 600)


def motion(frame: int, *, step: float = 3.0) -> np.ndarray:
    """Affine map from the sheet to a frame: it goes left, turns and comes nearer."""
    turn, scale = np.deg2rad(0.5 * frame), 1 + 0.01 * frame
    c, s = scale * np.cos(turn), scale * np.sin(turn)
    return np.float32([[c, -s, -60 - step * frame], [s, c, -50]])


def film(frames: int, *, step: float = 3.0) -> np.ndarray:
    return np.stack([cv2.warpAffine(SHEET, motion(f, step=step), (WIDTH, HEIGHT)) for f in range(frames)])


def places_on_sheet(positions: np.ndarray, frame: int, *, step: float = 3.0) -> np.ndarray:
    inverse = cv2.invertAffineTransform(motion(frame, step=step))
    return positions @ inverse[:, :2].T + inverse[:, 2]


class Wander:
    """How far points stray over the sheet from where they were first seen [px]."""

    def __init__(self, step: float = 3.0) -> None:
        self.first: dict[int, np.ndarray] = {}
        self.errors: list[float] = []
        self.step = step

    def add(self, frame: int, tracked: TrackedFrame) -> None:
        for number, place in zip(
            tracked.ids.tolist(), places_on_sheet(tracked.positions, frame, step=self.step), strict=True
        ):
            self.errors.append(float(np.linalg.norm(place - self.first.setdefault(number, place))))


def follow(pictures: np.ndarray, *, step: float = 3.0, points: int = 200) -> tuple[Wander, list[TrackedFrame]]:
    tracker, wander = PointTracker(PointTrackerOptions(max_points=points)), Wander(step)
    results = [tracker.advance(picture) for picture in pictures]
    for frame, tracked in enumerate(results):
        wander.add(frame, tracked)
    return wander, results


def test_points_do_not_drift() -> None:
    wander, results = follow(film(20))
    assert np.quantile(wander.errors, 0.95) < 0.15
    assert all(150 < len(tracked.ids) <= 200 for tracked in results)
    survivors = np.intersect1d(results[0].ids, results[-1].ids)
    assert len(survivors) > 60


def test_large_motion_is_followed() -> None:
    wander, results = follow(film(5, step=40), step=40)
    assert np.quantile(wander.errors, 0.9) < 0.2
    assert len(np.intersect1d(results[1].ids, results[2].ids)) > 80


def test_change_of_exposure_is_no_motion() -> None:
    pictures = film(8)
    pictures[3:] = (pictures[3:] * 0.55 + 12).astype(np.uint8)
    wander, results = follow(pictures)
    assert np.quantile(wander.errors, 0.95) < 0.2
    assert len(np.intersect1d(results[2].ids, results[3].ids)) > 0.8 * len(results[2].ids)


def test_points_outlast_a_blurred_frame() -> None:
    pictures = film(8)
    pictures[4] = cv2.blur(pictures[4], (9, 9))
    _, results = follow(pictures)
    assert len(results[4].ids) < 0.7 * len(results[3].ids)
    assert len(np.intersect1d(results[3].ids, results[5].ids)) > 0.5 * len(results[3].ids)


def test_what_is_covered_is_given_up_and_its_id_not_used_again() -> None:
    pictures = film(10)
    pictures[4:, 40:140, 60:180] = 90
    _, results = follow(pictures)
    within = results[3].positions - (80, 60)
    covered = results[3].ids[((within >= 0) & (within < (80, 60))).all(axis=1)]
    assert len(covered) > 10
    assert not np.isin(covered, np.concatenate([tracked.ids for tracked in results[4:]])).any()
    assert np.isin(covered, np.concatenate([tracked.lost for tracked in results[4:]])).all()
    fresh = np.concatenate([tracked.ids[tracked.new] for tracked in results])
    assert len(np.unique(fresh)) == len(fresh)


def test_new_points_fill_what_comes_into_view() -> None:
    _, results = follow(film(20, step=9))
    right = results[-1].positions[:, 0] > WIDTH - 60
    assert right.sum() > 15 and not np.isin(results[-1].ids[right], results[0].ids).any()


def test_pictures_without_texture_have_no_points() -> None:
    tracker = PointTracker()
    for level in (0, 128, 255):
        assert not len(tracker.advance(np.full((60, 80, 3), level, np.uint8)).ids)


def test_all_is_lost_at_a_cut_and_found_again_after() -> None:
    tracker = PointTracker(PointTrackerOptions(max_points=200))
    tracker.advance(texture(120, 160, seed=1))
    before = tracker.advance(texture(120, 160, seed=1)).ids
    after = [tracker.advance(texture(120, 160, seed=2)).ids for _ in range(5)][-1]
    assert len(before) > 100 and len(after) > 100
    assert len(np.intersect1d(before, after)) < 0.02 * len(before)


def test_restart_forgets_points_but_not_their_ids() -> None:
    tracker = PointTracker()
    before = tracker.advance(texture(60, 80)).ids
    with pytest.raises(InvalidImage, match="one size"):
        tracker.advance(texture(60, 100))
    tracker.restart()
    after = tracker.advance(texture(60, 100)).ids
    assert len(before) and len(after) and after.min() > before.max()


def test_corners_are_spread_and_away_from_what_is_taken() -> None:
    grey = cv2.cvtColor(texture(120, 160), cv2.COLOR_RGB2GRAY)
    taken = np.array([[80.0, 60.0], [500.0, -3.0]])
    corners = find_corners(grey, taken=taken, wanted=100)
    assert 70 < len(corners) <= 98
    assert np.abs(corners - taken[0]).max(axis=1).min() > 6
    assert {(int(x) // 40, int(y) // 40) for x, y in corners} == {(i, j) for i in range(4) for j in range(3)}
    assert not len(find_corners(grey, taken=corners, wanted=len(corners)))


def test_patches_are_found_through_affine_change_and_exposure() -> None:
    first, second = film(1)[0], np.clip(film(3)[2] * 0.7 + 20, 0, 255).astype(np.uint8)
    places = np.stack(np.meshgrid([60.0, 100, 140], [60.0, 90, 120]), axis=-1).reshape(-1, 2)
    on_sheet = places_on_sheet(places, 0)
    truth = on_sheet @ motion(2)[:, :2].T + motion(2)[:, 2]
    start = identity_warps(truth + np.array([0.8, -0.6]))
    found = Patches.taken(prepared(first), places).found(prepared(second), start)
    assert np.abs(found.warps[..., 2] - truth).max() < 0.1
    assert found.likeness.min() > 0.98


def test_tracks_of_a_clip_are_long_and_near() -> None:
    tracks = track_clip(film(12), options=TrackingOptions(interval=4, points=150))
    assert (tracks.frames, tracks.width, tracks.height) == (12, WIDTH, HEIGHT)
    assert set(np.unique(tracks.born)) == {0, 4, 8}
    assert tracks.visible.sum(axis=1).min() > 100 and tracks.visible.sum(axis=0).min() >= 3
    late = tracks.born == 8
    assert tracks.visible[6, late].sum() > 0.5 * late.sum(), "followed backward too"
    wander = np.stack([places_on_sheet(tracks.positions[f], f) for f in range(12)])
    middle = np.nanmedian(wander, axis=0)
    assert np.quantile(np.linalg.norm(wander - middle, axis=-1)[tracks.visible], 0.95) < 0.15


@pytest.mark.parametrize("size", [(12, 12), (12, 2000), (33, 17)])
def test_odd_sizes_are_borne(size: tuple[int, int]) -> None:
    tracks = track_clip(np.stack([texture(*size)] * 3), options=TrackingOptions(points=50))
    assert len(tracks) and tracks.visible.all()


def test_bounds_and_progress_of_tracks() -> None:
    shares: list[float] = []
    tracks = track_clip(film(4), options=TrackingOptions(points=80, max_tracks=30), progress=shares.append)
    assert len(tracks) == 30 and (tracks.visible.sum(axis=0) == 4).all()
    assert shares[-1] == 1 and shares == sorted(shares)


def test_clips_without_texture_or_of_one_frame_give_no_tracks() -> None:
    assert len(track_clip(np.zeros((3, 40, 40, 3), np.uint8))) == 0
    assert len(track_clip(film(1))) == 0
    with pytest.raises(InvalidClip):
        track_clip(np.zeros((0, 40, 40, 3), np.uint8))
    with pytest.raises(InvalidParameter, match="interval"):
        TrackingOptions(interval=0)


def some_tracks() -> Tracks:
    positions = np.arange(12, dtype=np.float64).reshape(3, 2, 2)
    positions[0, 1] = np.nan
    visible = np.array([[True, False], [True, True], [False, True]])
    return Tracks(positions=positions, visible=visible, born=np.array([0, 1]), width=40, height=30)


def test_files_of_cotracker_come_back(tmp_path: Path) -> None:
    tracks = some_tracks()
    path = write_cotracker(tracks, tmp_path, interval=10, grid=50)
    write_cotracker(tracks.of(np.array([0])), tmp_path, interval=10, grid=20)
    assert path == tmp_path / "cotrackerv3_10_50" / "results.npz" == find_cotracker(tmp_path)
    found = read_cotracker(path)
    np.testing.assert_array_equal(found.visible, tracks.visible)
    np.testing.assert_array_equal(found.positions[tracks.visible], tracks.positions[tracks.visible])
    np.testing.assert_array_equal(found.born, tracks.born)
    assert (found.width, found.height) == (40, 30)
    with np.load(path) as arrays:
        assert arrays["all_visibilities"].dtype == arrays["all_confidences"].dtype == np.float64


def test_no_tracks_of_cotracker(tmp_path: Path) -> None:
    (tmp_path / "cotrackerv3_best").mkdir()
    (tmp_path / "cotrackerv3_best" / "results.npz").write_bytes(b"")
    assert find_cotracker(tmp_path) is None
    with pytest.raises(InvalidTracks, match="our own tracker"):
        read_cotracker(tmp_path / "results.npz")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"all_tracks": np.zeros((3, 2, 3))}, "positions"),
        ({"all_visibilities": np.zeros((3, 1))}, "visible"),
        ({"init_frames": np.array([0, 9])}, "born"),
        ({"init_frames": None}, "lacks"),
        ({"orig_shape": np.array([1, 2, 3])}, "orig_shape"),
        ({"all_tracks": np.array([[{}]], dtype=object)}, "pickled"),
        ({"all_tracks": np.full((3, 2, 2), np.nan)}, "not finite"),
    ],
)
def test_damaged_files_of_cotracker_are_refused(tmp_path: Path, change: dict[str, np.ndarray], said: str) -> None:
    path = write_cotracker(some_tracks(), tmp_path, interval=1, grid=2)
    with np.load(path) as arrays:
        changed = {name: array for name, array in {**arrays, **change}.items() if array is not None}
    np.savez(path, **changed)
    with pytest.raises(InvalidTracks, match=said):
        read_cotracker(path)


def test_files_over_the_bound_are_refused(tmp_path: Path) -> None:
    path = write_cotracker(some_tracks(), tmp_path, interval=1, grid=2)
    with pytest.raises(InvalidTracks, match="allowed are 100"):
        read_cotracker(path, max_bytes=100)
