"""Drags in space: from a user, from the motion of a gripper, over a part; and as the views of the network see them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.partdrag4d_cameras import DRAG_GRID, FloatArray, clamp, project, to_world
from fourd_ros.errors import InvalidDrag
from fourd_ros.geometry.transforms import apply, invert

Floats = NDArray[np.float32]

MAX_DRAGS = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class SpaceDrags:
    """Points that are pulled, N of them, all in one frame.

    Args:
        start: where they are taken hold of [m], shape [N, 3].
        displacement: how far they are pulled [m], shape [N, 3]; without length, nothing moves.
        radius: each is told for points of the object this near to its start as well [m], shape [N]; 0 for none.

    Raises:
        InvalidDrag: none, more than 64, other shapes, or numbers that are not finite.
    """

    start: FloatArray
    displacement: FloatArray
    radius: FloatArray | None = None

    def __post_init__(self) -> None:
        if self.start.shape != self.displacement.shape or self.start.ndim != 2 or self.start.shape[1] != 3:
            raise InvalidDrag(
                f"drags {list(self.start.shape)} with displacements {list(self.displacement.shape)}; needed are [N, 3]"
            )
        if not 1 <= len(self.start) <= MAX_DRAGS:
            raise InvalidDrag(f"{len(self.start)} drags; needed are 1 to {MAX_DRAGS}")
        if not (np.isfinite(self.start).all() and np.isfinite(self.displacement).all()):
            raise InvalidDrag("drags hold numbers that are not finite")
        if self.radius is not None and (
            self.radius.shape != (len(self.start),) or not np.isfinite(self.radius).all() or (self.radius < 0).any()
        ):
            raise InvalidDrag(
                f"radii {self.radius.tolist()} of {len(self.start)} drags; needed is one of 0 m or more each"
            )

    def __len__(self) -> int:
        return len(self.start)

    def part(self, share: float) -> "SpaceDrags":
        """The first share of the way."""
        return SpaceDrags(start=self.start, displacement=share * self.displacement)

    def spread(self, surface: NDArray[np.floating], rng: np.random.Generator, *, count: int) -> "SpaceDrags":
        """Exactly so many drags, of which those with a radius are propagated over the surface.

        Args:
            surface: points of the object [m], shape [P, 3].
            rng: draws points.
            count: drags in all.
        """
        if self.radius is None or not self.radius.any():
            return self.told(count)
        shares = [len(part) for part in np.array_split(np.arange(max(count, len(self))), len(self))]
        parts = [
            propagated(start, go, surface[np.linalg.norm(surface - start, axis=1) < radius], rng, count=share)
            for start, go, radius, share in zip(self.start, self.displacement, self.radius, shares, strict=True)
        ]
        starts, ways = ([getattr(part, name) for part in parts] for name in ("start", "displacement"))
        return SpaceDrags(start=np.concatenate(starts), displacement=np.concatenate(ways)).told(count)

    def told(self, count: int) -> "SpaceDrags":
        """Exactly so many: fewer are repeated in turn, of more every so manyth is taken."""
        chosen = np.arange(count) % len(self) if len(self) <= count else np.linspace(0, len(self) - 1, count).round()
        index = chosen.astype(np.intp)
        return SpaceDrags(start=self.start[index], displacement=self.displacement[index])


def propagated(
    start: NDArray[np.floating],
    displacement: NDArray[np.floating],
    part: NDArray[np.floating],
    rng: np.random.Generator,
    *,
    count: int,
) -> SpaceDrags:
    """One drag for many points of the same part, as the paper has it: each goes as far as the one that is dragged.

    Args:
        start: where it is dragged [m], shape [3]; the first of the drags.
        displacement: how far [m], shape [3].
        part: points of the part, such as those of a mask [m], shape [P, 3]; none for the dragged point alone.
        rng: draws the points.
        count: drags in all.
    """
    others = rng.permutation(np.asarray(part, np.float64).reshape(-1, 3))[: count - 1]
    starts = np.concatenate([np.asarray(start, np.float64)[None], others])
    return SpaceDrags(start=starts, displacement=np.repeat(np.asarray(displacement, np.float64)[None], len(starts), 0))


def gripper_drag(contact: NDArray[np.floating], path: Sequence[FloatArray]) -> SpaceDrags:
    """What a closed gripper does to the point that it holds.

    Args:
        contact: the point, in the frame of the poses [m], shape [3].
        path: poses of the tool centre point from the grasp on, at least two of shape [4, 4].

    Raises:
        InvalidDrag: fewer than two poses, or numbers that are not finite.
    """
    if len(path) < 2:
        raise InvalidDrag(f"a path of {len(path)} poses; needed are that at the grasp and a later one")
    start = np.asarray(contact, np.float64).reshape(1, 3)
    end = apply(path[-1] @ invert(path[0]), start)
    return SpaceDrags(start=start, displacement=np.asarray(end - start, np.float64))


def in_views(start: FloatArray, end: FloatArray, raw: FloatArray) -> tuple[Floats, Floats]:
    """Drags as every view sees them.

    Args:
        start: in the space of objects, shape [N, 3].
        end: of each, shape [N, 3].
        raw: raw poses of the views (see `partdrag4d_cameras`), shape [V, 4, 4].

    Returns:
        Pixels (x, y) of a grid of 512 where they begin and end, shape [V, N, 2]; ends outside are put on its rim.

    Raises:
        InvalidDrag: one begins outside of the first view, or behind its camera.
    """
    _check_first_view(start, raw[0])
    pixels = (np.stack([clamp(project(points, pose)) for pose in raw]) for points in (start, end))
    first, second = pixels
    return first.astype(np.float32), second.astype(np.float32)


def _check_first_view(start: FloatArray, raw: FloatArray) -> None:
    behind = (to_world(start) - raw[:3, 3]) @ raw[:3, 2] <= 0
    pixels = project(start, raw)
    outside = ((pixels < 0) | (pixels > DRAG_GRID - 1)).any(axis=1)
    for number in np.flatnonzero(behind | outside):
        where = "behind the camera" if behind[number] else f"at pixel {pixels[number].round().tolist()} of 512 x 512"
        raise InvalidDrag(f"drag {number} begins {where} of the first view; it must be inside of its picture")
