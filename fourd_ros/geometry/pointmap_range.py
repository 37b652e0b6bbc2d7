"""Points in metres to numbers from 0 to 1 and back, as video models of geometry are trained on them.

Unknown stays NaN. The affine map is that of 4DNeX 2025, the parent of Kinema4D (arXiv 2603.16669): per axis the middle
of the least and the greatest coordinate, one scale for all axes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage

Floats = NDArray[np.floating]
FloatArray = NDArray[np.float64]

PERCENTILES = (2.0, 98.0)
"""Of 4DNeX: what lies beyond them counts as an outlier."""

_STEPS = 255
_UNIFORM_EPS = 1e-8


class Convention(StrEnum):
    """How the range of a clip is chosen."""

    CLIP = "clip"
    """One centre, from what is known before the clip happens: `PointmapRange.of_clip`."""
    FOURDNEX = "4dnex"
    """A centre for every frame, after outliers were drawn in, as in 4DNeX; it needs the future."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PointmapRange:
    """The cube of points that becomes the cube from 0 to 1 (or from -1 to 1).

    Args:
        centre: of the cube [m], shape [3], or of each of T frames, shape [T, 3].
        scale: half of its edge [m], positive.

    Raises:
        InvalidImage: another shape, or numbers that are not finite or, for the scale, not positive.
    """

    centre: FloatArray
    scale: float

    def __post_init__(self) -> None:
        if self.centre.ndim not in (1, 2) or self.centre.shape[-1] != 3 or not np.isfinite(self.centre).all():
            raise InvalidImage(f"a centre of shape {list(self.centre.shape)}; needed are finite numbers, [3] or [T, 3]")
        if not 0 < self.scale < np.inf:
            raise InvalidImage(f"a scale of {self.scale} m; a positive number is needed: do all points coincide?")

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, PointmapRange) and self.scale == other.scale and np.array_equal(self.centre, other.centre)
        )

    @classmethod
    def of(cls, points: Floats) -> Self:
        """The smallest that holds all points, with one centre.

        Args:
            points: [m], NaN where unknown, shape [*, 3].

        Raises:
            InvalidImage: nothing is known, or all known points coincide.
        """
        whole = cls.of_frames(points.reshape(1, -1, 3))
        return cls(centre=whole.centre[0], scale=whole.scale)

    @classmethod
    def of_frames(cls, points: Floats) -> Self:
        """The smallest that holds all points, with a centre for each frame and one scale.

        Args:
            points: [m], NaN where unknown, shape [T, *, 3].

        Raises:
            InvalidImage: nothing is known in a frame, or all known points of every frame coincide.
        """
        flat = points.reshape(len(points), -1, 3)
        empty = np.flatnonzero(np.isnan(flat[..., 2]).all(axis=1))
        if len(empty):
            raise InvalidImage(f"no point is known in frame {empty[0]} ({len(empty)} such frames); depth is needed")
        low, high = np.nanmin(flat, axis=1), np.nanmax(flat, axis=1)
        return cls(
            centre=((low + high) / 2).astype(np.float64, copy=False),
            scale=float(np.abs((high - low) / 2).max()),
        )

    @classmethod
    def of_clip(cls, scene: Floats, robot: Floats, *, percentiles: tuple[float, float] = PERCENTILES) -> Self:
        """One for a whole clip, from nothing but what is known before it happens, so the same at run time.

        Args:
            scene: points of the first frame [m], NaN where unknown, shape [*, 3].
            robot: of the commanded robot in all frames, rendered [m], NaN elsewhere, shape [*, 3]; all of it is held.
            percentiles: what of the scene is held, by axis.

        Raises:
            InvalidImage: nothing is known, or all known points coincide.
        """
        kept = without_outliers(scene.reshape(1, -1, 3), percentiles=percentiles)[0]
        corners = [part for points in (kept, robot.reshape(-1, 3)) for part in _extremes(points)]
        if not corners:
            raise InvalidImage("neither the scene nor the robot has a known point; depth is needed")
        return cls.of(np.array(corners, np.float64))

    def at(self, frame: int) -> "PointmapRange":
        """That of one frame, for points of shape [*, 3]."""
        return self if self.centre.ndim == 1 else PointmapRange(centre=self.centre[frame], scale=self.scale)

    def to_signed(self, points: Floats) -> Floats:
        """Points [m] of shape [T, *, 3] to -1..1 (what lies outside of the cube, beyond that)."""
        return np.asarray((points - self._centre(points)) / points.dtype.type(self.scale))

    def to_unit(self, points: Floats) -> Floats:
        """Points [m] of shape [T, *, 3] to 0..1 (what lies outside of the cube, beyond that)."""
        return np.asarray((self.to_signed(points) + 1) / 2)

    def to_metres(self, unit: Floats) -> Floats:
        """Points of 0..1, shape [T, *, 3], to metres."""
        return np.asarray((unit * 2 - 1) * unit.dtype.type(self.scale) + self._centre(unit))

    def _centre(self, points: Floats) -> Floats:
        """For points of shape [T, *, 3].

        Raises:
            InvalidImage: the points are of another number of frames.
        """
        if self.centre.ndim == 1:
            return self.centre.astype(points.dtype)
        if len(points) != len(self.centre) or points.ndim < 2:
            raise InvalidImage(f"points of shape {list(points.shape)}; this range is of {len(self.centre)} frames")
        return self.centre.astype(points.dtype).reshape(len(points), *(1,) * (points.ndim - 2), 3)


def without_outliers(points: Floats, *, percentiles: tuple[float, float] = PERCENTILES) -> Floats:
    """Points drawn to percentiles, by frame and axis, as 4DNeX does before it takes the range.

    Args:
        points: [m], NaN where unknown, shape [T, *, 3].
        percentiles: least and greatest that stays, linear between neighbours.

    Returns:
        The same shape; NaN stays.
    """
    flat = points.reshape(len(points), -1, 3)
    drawn = np.empty_like(flat)
    for frame, target in zip(flat, drawn, strict=True):
        for axis in range(3):
            known = frame[np.isfinite(frame[:, axis]), axis]
            limits = np.percentile(known, percentiles) if len(known) else (np.nan, np.nan)
            np.clip(frame[:, axis], *limits, out=target[:, axis])
    return drawn.reshape(points.shape)


def to_bytes(signed: Floats) -> NDArray[np.uint8]:
    """-1..1 to 0..255, rounded down as in 4DNeX; unknown is 0, what lies beyond is drawn to the ends."""
    known = np.clip(np.where(np.isnan(signed), -1, signed), -1, 1)
    return np.asarray(((known + 1) * (_STEPS / 2)).astype(np.uint8))


def from_bytes(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """0..255 to 0..1, as the models read them."""
    return np.asarray(pixels, np.float32) / np.float32(_STEPS)


def uniform_pointmap(height: int, width: int) -> FloatArray:
    """What stands for the pointmap of a first frame: a plane that leans away.

    Returns:
        x from left to right and y from top to bottom 0..1, z from top to bottom 1..0, shape [height, width, 3].

    Source: Kinema4D (arXiv 2603.16669).
    """
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    z = np.broadcast_to((1 - np.linspace(0, 1, height))[:, None], (height, width))
    return np.stack([(x + 1) / 2, (y + 1) / 2, (z - z.min()) / (np.ptp(z) + _UNIFORM_EPS)], axis=-1)


def sigmoid(points: Floats, scale: float) -> Floats:
    """Points [m] to 0..1 without a range: 1 / (1 + exp(-scale * points))."""
    return np.asarray(1 / (1 + np.exp(-scale * points)))


def _extremes(points: Floats) -> Iterable[Floats]:
    """Least and greatest coordinates of the known points, shape [3] each; none where nothing is known."""
    known = points[np.isfinite(points).all(axis=-1)]
    return (known.min(axis=0), known.max(axis=0)) if len(known) else ()
