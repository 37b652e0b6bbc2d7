"""Objects that move before a live camera: found from points that move alike, followed, and known again by number."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.live.followed_object import FollowedObject
from fourd_ros.reconstruction.live.seen_points import SeenPoints, appear
from fourd_ros.reconstruction.motion.object_grouping import group_tracks
from fourd_ros.reconstruction.motion.rigid_pose import PoseOptions
from fourd_ros.reconstruction.motion.scene_motion import REJECTED

__all__ = ["LiveObjectOptions", "LiveObjects"]

FloatArray = NDArray[np.float64]
Ids = NDArray[np.int64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class LiveObjectOptions:
    """When something is an object.

    Args:
        history: frames in which points must move alike.
        stride: of the history, when motions are compared.
        every: new objects are looked for in every so manieth frame.
        fewest: points of a new object.
        motion: by which they must have moved by themselves, as a share of the longer side.
        tolerance: of a point that agrees with an object's motion, as a share of the longer side.
        confirm: frames with a pose before an object is told of.
        still_after: an object that has not moved for so long is no longer dynamic [s].
        melt_after: an object that has not moved for so long becomes part of the static map [s].
        forget_after: one that was not seen for so long is forgotten [s].
        smoothing: velocities are means over so long [s].
        most: objects at a time.
        pose: what measurements are worth.
    """

    history: int = 10
    stride: int = 2
    every: int = 3
    fewest: int = 6
    motion: float = 0.004
    tolerance: float = 0.004
    confirm: int = 5
    still_after: float = 1.0
    melt_after: float = 10.0
    forget_after: float = 10.0
    smoothing: float = 0.3
    most: int = 32
    pose: PoseOptions = field(default_factory=PoseOptions)


class LiveObjects:
    """Takes the points of frame after frame; memory is bounded by the number of objects and the history.

    Args:
        camera: calibration.
        options: when something is an object.

    Attributes:
        melted: objects that became part of what stands still, counted.
        forgotten: objects that were not seen any more, counted.
    """

    def __init__(self, camera: PinholeCamera, options: LiveObjectOptions | None = None) -> None:
        self._K, self._side = camera.K, max(camera.width, camera.height)
        self.options = options or LiveObjectOptions()
        self._next_number = 1
        self.melted = self.forgotten = 0
        self.clear()

    def clear(self) -> None:
        """Forget all objects, as after a jump in time; their numbers are not used again."""
        self._objects: list[FollowedObject] = []
        self._history: deque[SeenPoints] = deque(maxlen=self.options.history)
        self._frame = 0

    @property
    def confirmed(self) -> list[FollowedObject]:
        """Objects that have a number."""
        return [one for one in self._objects if one.number]

    @property
    def ids(self) -> Ids:
        """Points of all objects."""
        return np.concatenate([np.zeros(0, np.int64), *(one.ids for one in self._objects)])

    def is_dynamic(self, one: FollowedObject, stamp_ns: int) -> bool:
        """Whether it moves, or did a moment ago."""
        return stamp_ns - one.moved_ns < self.options.still_after * 1e9

    def update(self, seen: SeenPoints, moving: Ids) -> list[FollowedObject]:
        """Follow the objects into the next frame and look for new ones.

        Args:
            seen: the points of the frame.
            moving: ids of those that do not stand still.

        Returns:
            All objects that are known and confirmed, also those that this frame does not show.
        """
        self._history.append(seen)
        self._frame += 1
        for one in self._objects:
            one.follow(seen, self._K, self.options.pose)
        self._by_mask(seen)
        if self._frame % self.options.every == 0 and len(self._history) > 2 * self.options.stride:
            self._claim(seen)
            self._find(seen, moving)
            self._merge(seen)
        self._settle(seen.stamp_ns)
        return self.confirmed

    def _by_mask(self, seen: SeenPoints) -> None:
        """A mask says which points belong together."""
        if not seen.numbers.any():
            return
        known = {one.mask: one for one in self._objects if one.mask}
        taken = self.ids
        for number in np.unique(seen.numbers[seen.numbers > 0]).tolist():
            rows = np.flatnonzero((seen.numbers == number) & seen.certain & ~np.isin(seen.ids, taken))
            one = known.get(number)
            if one is not None and one.last_seen_ns == seen.stamp_ns:
                one.absorb(seen.ids[rows], seen.places(rows, self._K))
            elif len(rows) >= self.options.fewest:
                if one is None:
                    self._add(rows, seen, mask=number)
                else:
                    one.stand(seen.ids[rows], seen.places(rows, self._K), seen.stamp_ns, moved=False)

    def _claim(self, seen: SeenPoints) -> None:
        """Points of nobody that go with an object and not with what stands still."""
        for one in self._objects:
            if one.last_seen_ns != seen.stamp_ns or one.mask:
                continue
            free = np.flatnonzero(seen.certain & ~np.isin(seen.ids, self.ids))
            free = free[self._near(one, seen, free)]
            rows = free[self._goes_with(one, free, seen)]
            one.absorb(seen.ids[rows], seen.places(rows, self._K))

    def _find(self, seen: SeenPoints, moving: Ids) -> None:
        """New objects, and those that were lost and are seen again."""
        free = np.setdiff1d(np.intersect1d(moving, seen.ids[seen.certain & (seen.numbers == 0)]), self.ids)
        if len(free) < self.options.fewest:
            return
        groups = self._groups(free)
        for number in range(1, groups.max(initial=0) + 1):
            rows = seen.rows(free[groups == number])
            if len(rows) < self.options.fewest:
                continue
            lost = self._lost_near(seen, rows)
            if lost is not None:
                lost.stand(seen.ids[rows], seen.places(rows, self._K), seen.stamp_ns, moved=True)
            else:
                self._add(rows, seen, mask=0)

    def _groups(self, ids: Ids) -> NDArray[np.int64]:
        """Numbers of groups of points that move alike over the history, as `group_tracks` says."""
        frames = list(self._history)[:: -self.options.stride][::-1]  # motion between neighbours is little beside noise
        pixels, seen = np.zeros((len(frames), len(ids), 2)), np.zeros((len(frames), len(ids)), bool)
        residual = np.full((len(frames) - 1, len(ids), 2), np.nan)
        for index, frame in enumerate(frames):
            _, mine, theirs = np.intersect1d(ids, frame.ids, return_indices=True)
            pixels[index, mine], seen[index, mine] = frame.pixels[theirs], True
            if index:
                before = frames[index - 1]
                _, mine, theirs = np.intersect1d(ids, before.ids, return_indices=True)
                still = appear(before.places(theirs, self._K), frame.T_world_camera, self._K)
                residual[index - 1, mine] = np.where(seen[index, mine, None], pixels[index, mine] - still, np.nan)
        groups = group_tracks(pixels, seen, residual, longer_side=self._side, fewest=self.options.fewest, common=2)
        way = np.linalg.norm(np.nansum(residual, axis=0), axis=-1)
        for number in range(1, groups.max(initial=0) + 1):
            if np.median(way[groups == number]) < self.options.motion * self._side:
                groups[groups == number] = REJECTED
        return groups

    def _lost_near(self, seen: SeenPoints, rows: Rows) -> FollowedObject | None:
        """An object without a pose in this frame that may be where these points are."""
        places = seen.places(rows, self._K)
        for one in self._objects:
            if one.last_seen_ns < seen.stamp_ns and not one.mask:
                seconds = (seen.stamp_ns - one.last_seen_ns) * 1e-9
                way = float(np.linalg.norm(one.twist().linear)) * seconds
                if one.reaches(np.median(places, axis=0)[None], 0.05 + way)[0]:
                    return one
        return None

    def _merge(self, seen: SeenPoints) -> None:
        """A younger object whose points go with an older one is a part of it."""
        for younger in list(reversed(self._objects)):
            for older in self._objects:
                if older is younger:
                    break
                if older.mask or younger.mask or older.last_seen_ns != seen.stamp_ns:
                    continue
                rows = younger.agreeing
                if not len(rows):
                    continue
                together = self._near(older, seen, rows) & self._goes_with(older, rows, seen)
                if together.mean() > 0.6:
                    ids = seen.ids[rows[together]]
                    self._objects.remove(younger)
                    older.absorb(ids, seen.places(rows[together], self._K))
                    break

    def _goes_with(self, one: FollowedObject, rows: Rows, seen: SeenPoints) -> NDArray[np.bool_]:
        """Whether points went where the object's motion takes them, and would be elsewhere without it, shape [n]."""
        good = np.zeros(len(rows), bool)
        tolerance = self.options.tolerance * self._side
        last = len(self._history) - 1
        for then in (self._history[index] for index in {0, last // 3, 2 * last // 3}):
            with_it, without_it = one.explains(rows, then, seen, self._K).T
            with np.errstate(invalid="ignore"):
                good |= (with_it < tolerance) & (without_it > tolerance + 2 * with_it)
        return good

    def _near(self, one: FollowedObject, seen: SeenPoints, rows: Rows) -> NDArray[np.bool_]:
        return one.reaches(seen.places(rows, self._K), 0.02)

    def _add(self, rows: Rows, seen: SeenPoints, *, mask: int) -> None:
        if len(self._objects) >= self.options.most:
            return
        one = FollowedObject(mask=mask, smoothing=self.options.smoothing)
        one.stand(seen.ids[rows], seen.places(rows, self._K), seen.stamp_ns, moved=not mask)
        self._objects.append(one)

    def _settle(self, stamp_ns: int) -> None:
        """Number the new objects that last; let go of those that stand or are not seen any more."""
        options, kept = self.options, []
        merged = self._frame % options.every == 0  # else a part of another object might get a number
        for one in self._objects:
            unseen, still = (stamp_ns - one.last_seen_ns) * 1e-9, (stamp_ns - one.moved_ns) * 1e-9
            if merged and not one.number and one.frames >= options.confirm:
                one.number, self._next_number = self._next_number, self._next_number + 1
            if unseen > (options.forget_after if one.number else options.still_after):
                self.forgotten += bool(one.number)
            elif still > options.melt_after and not one.mask:
                self.melted += bool(one.number)
            else:
                kept.append(one)
        self._objects = kept
