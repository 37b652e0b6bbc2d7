"""Points followed from one frame to the next, each by the patch that it had at first, so that nothing drifts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.reconstruction.tracking.large_motion import LargeMotion
from fourd_ros.reconstruction.tracking.patch_alignment import Patches, identity_warps
from fourd_ros.reconstruction.tracking.tracked_picture import TrackedPicture

__all__ = ["FollowOptions", "PointFollower"]

WINDOW = 13
LEVELS = 2
ROUNDS, CONVERGED = 20, 0.02

MOST_CORRECTION = 2.5
"""A patch is found this near to where the flow leads, or not at all [px]."""

MOST_STRETCH = 3.0
"""A patch that seems this much larger or smaller than it was is another one."""


@dataclass(frozen=True, kw_only=True)
class FollowOptions:
    """When a point still counts as the same.

    Args:
        max_return: how far from its start it may come out when it is followed back [px].
        min_likeness: correlation with the patch as it was taken, for the point to count as seen.
        patience: frames for which a point may be unlike itself, as in a blurred frame, before it is given up.
    """

    max_return: float = 1.0
    min_likeness: float = 0.85
    patience: int = 2


class PointFollower:
    """A set of points in the newest frame.

    Args:
        options: when a point still counts as the same.

    Attributes:
        ids: of the points, shape [N], int64.
    """

    def __init__(self, options: FollowOptions | None = None) -> None:
        self._options = options or FollowOptions()
        self._coarse = LargeMotion()
        self._picture: TrackedPicture | None = None
        self.ids = np.zeros(0, np.int64)
        self._warps = identity_warps(np.zeros((0, 2)))
        self._unseen = np.zeros(0, np.int64)
        self._patches: Patches | None = None

    def __len__(self) -> int:
        """Number of points that are not given up."""
        return len(self.ids)

    @property
    def positions(self) -> NDArray[np.float64]:
        """Pixels (x, y) in the newest frame, shape [N, 2]."""
        return self._warps[..., 2].astype(np.float64)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Whether the points are like themselves in the newest frame, shape [N]."""
        return np.asarray(self._unseen == 0)

    def add(self, ids: NDArray[np.int64], places: NDArray[np.float64]) -> None:
        """Begin to follow points of the newest frame.

        Args:
            ids: shape [n].
            places: pixels (x, y), shape [n, 2].
        """
        if self._picture is None:
            raise InvalidImage("points can be added once there is a frame: call advance before")
        patches = Patches.taken(self._picture.colour, places)
        self._patches = patches if self._patches is None else self._patches.joined(patches)
        self.ids = np.concatenate([self.ids, ids])
        self._warps = np.concatenate([self._warps, identity_warps(places)])
        self._unseen = np.concatenate([self._unseen, np.zeros(len(ids), np.int64)])

    def forget(self, ids: NDArray[np.int64]) -> None:
        """Follow these points no longer."""
        if self._patches is not None:
            self._keep(~np.isin(self.ids, ids))

    def advance(self, picture: TrackedPicture) -> None:
        """Follow the points into the next frame; those that are given up are forgotten.

        Raises:
            InvalidImage: a frame of another size.
        """
        before, self._picture = self._picture, picture
        if before is None or self._patches is None or not len(self):
            return
        if before.size != picture.size:
            self._picture = before
            raise InvalidImage(f"a frame of {picture.size} after one of {before.size}; points are followed in one size")
        places, kept = self._flowed(before, picture)
        self._keep(kept)
        self._align(picture, places[kept])

    def _align(self, picture: TrackedPicture, places: NDArray[np.float32]) -> None:
        """Find the patches near to where the flow leads."""
        assert self._patches is not None
        start = np.concatenate([self._warps[..., :2], places[..., None]], axis=-1)
        found = self._patches.found(picture.colour, start)
        stretch = np.abs(np.linalg.det(found.warps[..., :2]))
        like = (
            (found.likeness >= self._options.min_likeness)
            & (np.abs(found.warps[..., 2] - places).max(axis=1) <= MOST_CORRECTION)
            & (stretch < MOST_STRETCH**2)
            & (stretch > MOST_STRETCH**-2)
            & _inside(found.warps[..., 2], picture)
        )
        self._warps = np.where(like[:, None, None], found.warps, start)
        self._unseen = np.where(like, 0, self._unseen + 1)
        self._keep(self._unseen <= self._options.patience)

    def _keep(self, kept: NDArray[np.bool_]) -> None:
        assert self._patches is not None
        if kept.all():
            return
        self.ids, self._warps, self._unseen = self.ids[kept], self._warps[kept], self._unseen[kept]
        self._patches = self._patches.of(kept)

    def _flowed(self, before: TrackedPicture, after: TrackedPicture) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Where the points went by the flow of the picture around them, and whether that leads back to them.

        Source: Lucas and Kanade in pyramids (Bouguet 2001), begun with dense flow for large motions; the way back as in
        Kalal, Mikolajczyk and Matas 2010.
        """
        places = np.ascontiguousarray(self._warps[..., 2])
        there, found = _lucas_kanade(before.grey, after.grey, places, places + self._guess(before, after, places))
        back, returned = _lucas_kanade(after.grey, before.grey, there, places)
        near = np.abs(back - places).max(axis=1) <= self._options.max_return
        return there, found & returned & near & _inside(there, after)

    def _guess(self, before: TrackedPicture, after: TrackedPicture, places: NDArray[np.float32]) -> NDArray[np.float32]:
        """Large motions, from small pictures."""
        scale = np.divide(before.small.shape, before.grey.shape).astype(np.float32)[::-1]
        flow = self._coarse(before.small, after.small)
        x, y = np.rint((places + 0.5) * scale - 0.5).astype(np.int64).T
        height, width = before.small.shape
        return np.asarray(flow[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)] / scale, np.float32)


def _lucas_kanade(
    before: NDArray[np.uint8], after: NDArray[np.uint8], places: NDArray[np.float32], guess: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    import cv2

    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        places,
        guess.astype(np.float32),
        winSize=(WINDOW, WINDOW),
        maxLevel=LEVELS,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ROUNDS, CONVERGED),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(there, np.float32), np.asarray(found).ravel() > 0


def _inside(places: NDArray[np.float32], picture: TrackedPicture) -> NDArray[np.bool_]:
    height, width = picture.size
    return np.asarray(((places >= 0) & (places <= (width - 1, height - 1))).all(axis=1))
