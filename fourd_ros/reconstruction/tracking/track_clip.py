"""Point tracks of a clip: seeded in several frames and followed from there forward and backward."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidClip, InvalidParameter
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.tracking.corners import find_corners
from fourd_ros.reconstruction.tracking.point_follower import FollowOptions, PointFollower
from fourd_ros.reconstruction.tracking.tracked_picture import TrackedPicture

__all__ = ["TrackingOptions", "track_clip"]

Progress = Callable[[float], None]


@dataclass(frozen=True, kw_only=True)
class TrackingOptions:
    """Where tracks begin and which are kept.

    Args:
        interval: frames from one in which points are seeded to the next.
        points: that a seeded frame has at most.
        min_frames: tracks seen in fewer frames are left out.
        max_tracks: the longest so many are kept.
        follow: when a point still counts as the same.

    Raises:
        InvalidParameter: a number that is not positive.
    """

    interval: int = 5
    points: int = 1500
    min_frames: int = 3
    max_tracks: int = 20_000
    follow: FollowOptions = field(default_factory=FollowOptions)

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("interval", "points", "min_frames", "max_tracks")}
        for name, number in numbers.items():
            if number < 1:
                raise InvalidParameter(f"{name} of point tracks is {number}; it must be at least 1")


def track_clip(
    rgb: NDArray[np.uint8],
    *,
    within: NDArray[np.bool_] | None = None,
    options: TrackingOptions | None = None,
    progress: Progress | None = None,
) -> Tracks:
    """Follow points through a clip.

    Args:
        rgb: colour, shape [F, H, W, 3], uint8.
        within: where tracks may begin, shape [F, H, W]; anywhere if not given.
        options: where tracks begin and which are kept.
        progress: told the share that is done.

    Returns:
        Tracks, those of earlier frames first; none where nothing could be followed.

    Raises:
        InvalidClip: not an array of frames.
        InvalidImage: frames too small to follow points in.
    """
    if rgb.ndim != 4 or not len(rgb):
        raise InvalidClip(f"points are followed in frames [F, H, W, 3], got {list(rgb.shape)}")
    if within is not None and within.shape != rgb.shape[:3]:
        raise InvalidClip(
            f"places where tracks may begin have shape {list(within.shape)}, frames {list(rgb.shape[:3])}"
        )
    work = _Tracking(rgb, within, options or TrackingOptions(), progress or (lambda share: None))
    work.forward()
    work.backward()
    return work.tracks()


class _Tracking:
    """Two passes over the frames; what they find is kept frame by frame until the end."""

    def __init__(
        self,
        rgb: NDArray[np.uint8],
        within: NDArray[np.bool_] | None,
        options: TrackingOptions,
        progress: Progress,
    ) -> None:
        self._rgb, self._within, self._options, self._progress = rgb, within, options, progress
        self._seeds: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self._found: list[tuple[int, NDArray[np.int64], NDArray[np.float64]]] = []
        self._count = 0

    def forward(self) -> None:
        """Seed where the picture is empty of points, and follow what was seeded."""
        follower = PointFollower(self._options.follow)
        for frame, rgb in enumerate(self._rgb):
            picture = TrackedPicture.of(rgb)
            follower.advance(picture)
            self._note(frame, follower)
            if frame % self._options.interval == 0:
                places = self._allowed(
                    frame, find_corners(picture.grey, taken=follower.positions, wanted=self._options.points)
                )
                ids = np.arange(self._count, self._count + len(places))
                follower.add(ids, places)
                self._seeds[frame] = ids, places
                self._found.append((frame, ids, places))
                self._count += len(places)
            self._progress(0.5 * (frame + 1) / len(self._rgb))

    def backward(self) -> None:
        """Follow what was seeded to the begin of the clip."""
        follower = PointFollower(self._options.follow)
        last = max(self._seeds)
        for frame in range(last, -1, -1):
            follower.advance(TrackedPicture.of(self._rgb[frame]))
            self._note(frame, follower)
            if frame in self._seeds:
                follower.add(*self._seeds[frame])
            self._progress(1 - 0.5 * frame / (last + 1))

    def _allowed(self, frame: int, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Those where tracks may begin."""
        if self._within is None:
            return places
        x, y = places.astype(np.int64).T
        return np.asarray(places[self._within[frame, y, x]])

    def _note(self, frame: int, follower: PointFollower) -> None:
        seen = follower.seen
        self._found.append((frame, follower.ids[seen], follower.positions[seen]))

    def tracks(self) -> Tracks:
        """What was found, without short tracks."""
        options, (height, width) = self._options, self._rgb.shape[1:3]
        lengths = np.zeros(self._count, np.int64)
        for _, ids, _ in self._found:
            lengths[ids] += 1
        order = np.argsort(-lengths, kind="stable")[: options.max_tracks]
        kept = np.sort(order[lengths[order] >= options.min_frames])
        place = np.full(self._count, -1)
        place[kept] = np.arange(len(kept))
        positions = np.full((len(self._rgb), len(kept), 2), np.nan)
        visible = np.zeros((len(self._rgb), len(kept)), bool)
        for frame, ids, places in self._found:
            of = place[ids]
            positions[frame, of[of >= 0]] = places[of >= 0]
            visible[frame, of[of >= 0]] = True
        born = np.zeros(self._count, np.int64)
        for frame, (ids, _) in self._seeds.items():
            born[ids] = frame
        return Tracks(positions=positions, visible=visible, born=born[kept], width=width, height=height)
