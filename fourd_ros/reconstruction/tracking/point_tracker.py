"""Points followed through a live stream of frames, with new ones where the picture is empty of them."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.tracking.corners import find_corners
from fourd_ros.reconstruction.tracking.point_follower import FollowOptions, PointFollower
from fourd_ros.reconstruction.tracking.tracked_picture import TrackedPicture

__all__ = ["PointTracker", "PointTrackerOptions", "TrackedFrame"]


@dataclass(frozen=True, kw_only=True)
class PointTrackerOptions:
    """How many points, and when one still counts as the same.

    Args:
        max_points: followed at a time.
        reseed_below: new ones are looked for when fewer than this share of `max_points` are left.
        follow: when a point still counts as the same.
    """

    max_points: int = 500
    reseed_below: float = 0.9
    follow: FollowOptions = field(default_factory=FollowOptions)


@dataclass(frozen=True, kw_only=True)
class TrackedFrame:
    """The points of one frame.

    Args:
        ids: of the points that are seen, never used for another point, shape [N], int64.
        positions: pixels (x, y), pixel centres at integers, shape [N, 2].
        new: which of them are seen for the first time, shape [N].
        lost: ids of the points that were given up since the frame before, shape [n].
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.float64]
    new: NDArray[np.bool_]
    lost: NDArray[np.int64]


class PointTracker:
    """Takes frame after frame; memory is bounded by the number of points.

    Args:
        options: how many points, and when one still counts as the same.
    """

    def __init__(self, options: PointTrackerOptions | None = None) -> None:
        self._options = options or PointTrackerOptions()
        self._next_id = 0
        self.restart()

    def restart(self) -> None:
        """Forget all points, as after a jump in time; their ids are not used again."""
        self._follower = PointFollower(self._options.follow)
        self._picture: TrackedPicture | None = None

    def advance(self, rgb: NDArray[np.uint8]) -> TrackedFrame:
        """Follow the points into the next frame.

        Args:
            rgb: colour, shape [H, W, 3], uint8.

        Raises:
            InvalidImage: no colour picture, too small, or of another size than the one before (`restart` first).
        """
        picture = TrackedPicture.of(rgb)
        follower, former = self._follower, self._follower.ids
        follower.advance(picture)
        self._picture = picture
        lost = former[~np.isin(former, follower.ids)]
        first_new = self._next_id
        if len(follower) < self._options.reseed_below * self._options.max_points:
            self._seed(picture)
        seen = follower.seen
        ids = follower.ids[seen]
        return TrackedFrame(ids=ids, positions=follower.positions[seen], new=ids >= first_new, lost=lost)

    def look_closer(
        self, rows: slice, columns: slice, allowed: NDArray[np.bool_], *, apart: float, most: int
    ) -> NDArray[np.int64]:
        """Follow more points of a part of the newest frame, from the next frame on.

        Args:
            rows: of the part.
            columns: of the part.
            allowed: pixels of the part in which they may be, shape [h, w].
            apart: points are about so far from each other [px].
            most: new ones.

        Returns:
            Their ids, shape [n].
        """
        first = self._next_id
        if self._picture is None or len(self._follower) >= 2 * self._options.max_points:
            return np.zeros(0, np.int64)
        corner = np.array([columns.start, rows.start])
        part = np.ascontiguousarray(self._picture.grey[rows, columns])
        taken = self._follower.positions - corner
        taken = taken[((taken >= 0) & (taken < part.shape[::-1])).all(axis=1)]
        wanted = min(round(part.size / apart**2), len(taken) + most)
        self._add(find_corners(part, taken=taken, wanted=wanted, allowed=allowed) + corner)
        return np.arange(first, self._next_id)

    def forget(self, ids: NDArray[np.int64]) -> None:
        """Follow these points no longer; they do not count as lost."""
        self._follower.forget(ids)

    def _seed(self, picture: TrackedPicture) -> None:
        self._add(find_corners(picture.grey, taken=self._follower.positions, wanted=self._options.max_points))

    def _add(self, places: NDArray[np.float64]) -> None:
        self._follower.add(np.arange(self._next_id, self._next_id + len(places)), places)
        self._next_id += len(places)
