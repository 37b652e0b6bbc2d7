"""The cube before the camera by depth within masks: closest points both ways, knowing what can be seen.

What was seen of an object must lie on its shape: each seen point pulls the nearest point of the side that faces the
camera. And a shape must not be seen beyond its mask: each point that would be is pulled sideways to the mask, unless
something stands before it, it lies beyond the picture, or depth is missing there. The first alone would let shapes grow
without end; the second is silent about what is hidden.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.placed_cube import Placement, SeenObject
from fourd_ros.compositional.similarity import motion_step, robust_weights, scale_of
from fourd_ros.compositional.surface_mesh import sampled
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import from_parts

__all__ = ["place_by_depth"]

FloatArray = NDArray[np.float64]

LEAST_PIXELS = 50
"""With depth, in all masks; fewer do not tell a turn from a shift."""

ROUGH, FINE = 100, 400
"""Seen points of an object in the search for the turn and in the end."""

DENSER = 4
"""Points of a shape for each seen one."""

ROUGH_STEPS, FINE_STEPS = 10, 30
ROUGH_SLIDING, FINE_SLIDING = 0.0, 0.98
"""How freely seen points may slide along the shape (see `motion_step`): not at all from afar."""

COVERED = 1.5
"""Spacings of a shape's points; a seen point further aside from the nearest lies beyond the rim, and may not slide."""

KEPT = 2
"""Starts that are refined with all points."""

GROWTHS = (1.0, 1.35, 1.8)
"""Scales that the search begins with, by that of what is seen: of a thing that is hidden in part, that is too small."""

CLEARLY = 0.8
"""A turn other than the first has to leave so much less than it."""

SMALL_STEP = 1e-4
"""Of the cube's size: nearer steps are the end."""

TRUSTED = 0.01
"""Errors, in units of the cube, that are never doubted."""

NEAR = 0.08
"""Errors, in units of the cube, of what still lies on a shape."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Object:
    """What is compared.

    Args:
        seen: points in the frame of the camera [m], shape [N, 3].
        surface: points of the shape in the cube, shape [M, 3].
        normals: theirs, shape [M, 3].
        spacing: of them, in the cube.
        mask: shape [H, W].
        depth: [m], NaN where not known, shape [H, W].
        nearest: row and column of the nearest pixel of the mask, shape [2, H, W].
    """

    seen: FloatArray
    surface: FloatArray
    normals: FloatArray
    spacing: float
    mask: NDArray[np.bool_]
    depth: FloatArray
    nearest: NDArray[np.intp]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Pairs:
    """Points of the placed shapes and where they should be [m], N of them.

    Args:
        points: of the shapes, shape [N, 3].
        normals: there, shape [N, 3].
        targets: shape [N, 3].
        from_seen: whether the target is a seen point; otherwise the pair starts from a point of a shape that should
            have been seen, shape [N].
        covered: whether the target is a seen point that lies over the shape and not beyond its rim, shape [N].
    """

    points: FloatArray
    normals: FloatArray
    targets: FloatArray
    from_seen: NDArray[np.bool_]
    covered: NDArray[np.bool_]

    @property
    def errors(self) -> FloatArray:
        """Distances [m], shape [N]."""
        return np.asarray(np.linalg.norm(self.points - self.targets, axis=1))


def place_by_depth(
    seen: Sequence[SeenObject], camera: PinholeCamera, rotations: FloatArray, rng: np.random.Generator
) -> Placement | None:
    """The similarity that brings shapes onto what depth shows of them.

    Args:
        seen: objects with shapes and masks.
        camera: of masks and depth.
        rotations: how the cube may be turned, to begin with, shape [R, 3, 3]; the first is believed unless another
            fits clearly better.
        rng: draws points.

    Returns:
        None where depth is known for too few pixels.
    """
    objects = [found for one in seen if (found := _object(one, camera, FINE, rng)) is not None]
    if sum(len(one.seen) for one in objects) < LEAST_PIXELS:
        return None
    straight = [_start(objects, rotations[0], growth) for growth in GROWTHS]
    turned = [_start(objects, rotation, 1.0) for rotation in rotations[1:]]
    best = _best(objects, camera, straight)
    if turned:
        other = _best(objects, camera, turned)
        if _badness(objects, camera, other) < CLEARLY * _badness(objects, camera, best):
            best = other
    return _placement(objects, camera, best)


def _best(objects: Sequence[_Object], camera: PinholeCamera, starts: Sequence[FloatArray]) -> FloatArray:
    """Of several starts, each refined from few points, the best ones from all of them."""
    few = [_fewer(one, ROUGH) for one in objects]
    rough = [_refined(few, camera, start, ROUGH_STEPS, ROUGH_SLIDING) for start in starts]
    rough.sort(key=lambda T: _badness(few, camera, T))
    fine = [_refined(objects, camera, T, FINE_STEPS, FINE_SLIDING) for T in rough[:KEPT]]
    return min(fine, key=lambda T: _badness(objects, camera, T))


def _object(one: SeenObject, camera: PinholeCamera, count: int, rng: np.random.Generator) -> _Object | None:
    from scipy.ndimage import distance_transform_edt

    if one.depth is None:
        return None
    depth = np.where(np.isfinite(one.depth) & (one.depth > 0), one.depth, np.nan).astype(np.float64)
    rows, columns = np.nonzero(one.mask & np.isfinite(depth))
    if not len(rows):
        return None
    chosen = rng.permutation(len(rows))[:count]
    rays = camera.rays()[rows[chosen], columns[chosen]].astype(np.float64)
    points = rays * depth[rows[chosen], columns[chosen], None]
    surface, normals = sampled(one.mesh, DENSER * count, rng=rng)
    return _Object(
        seen=points[np.isfinite(points).all(axis=1)],
        surface=surface,
        normals=normals,
        spacing=float(np.sqrt(one.mesh.area / len(surface))),
        mask=one.mask,
        depth=depth,
        nearest=distance_transform_edt(~one.mask, return_distances=False, return_indices=True),
    )


def _fewer(one: _Object, count: int) -> _Object:
    """The first of its points, which were drawn at random."""
    kept = one.surface[: DENSER * count]
    return replace(
        one,
        seen=one.seen[:count],
        surface=kept,
        normals=one.normals[: DENSER * count],
        spacing=one.spacing * float(np.sqrt(len(one.surface) / len(kept))),
    )


def _start(objects: Sequence[_Object], rotation: FloatArray, growth: float) -> FloatArray:
    """By medians and spreads of what is seen and of the sides that face the camera, that much larger."""
    sides = [_facing(one, rotation) @ rotation.T for one in objects]
    middles, aims = (np.array([np.median(p, axis=0) for p in points]) for points in (sides, _seen(objects)))
    middle, aim = middles.mean(axis=0), aims.mean(axis=0)
    spread = sum(float(np.median(np.abs(side - middle)[:, :2].sum(axis=1))) for side in sides)
    wanted = sum(float(np.median(np.abs(points - aim)[:, :2].sum(axis=1))) for points in _seen(objects))
    scale = growth * wanted / max(spread, TRUSTED)
    return from_parts(scale * rotation, aim - scale * middle)


def _facing(one: _Object, rotation: FloatArray) -> FloatArray:
    """Points of the side towards the camera; all of them where that side is open."""
    towards = (one.normals @ rotation.T)[:, 2] < 0
    return one.surface[towards] if towards.any() else one.surface


def _seen(objects: Iterable[_Object]) -> list[FloatArray]:
    return [one.seen for one in objects]


def _refined(
    objects: Sequence[_Object], camera: PinholeCamera, T: FloatArray, steps: int, sliding: float
) -> FloatArray:
    for _ in range(steps):
        pairs = _pairs(objects, camera, T)
        scale = scale_of(T)
        weights = np.zeros(len(pairs.points))
        errors = pairs.errors
        for side in (pairs.from_seen, ~pairs.from_seen & (errors > 0)):
            weights[side] = robust_weights(errors[side], least=TRUSTED * scale)
        step = motion_step(
            pairs.points,
            pairs.targets,
            pairs.normals,
            weights,
            sliding=np.where(pairs.covered, sliding, 0.0),
            scaled=True,
        )
        moved = step @ T
        change = np.abs(moved - T).max()
        T = moved
        if change < SMALL_STEP * scale:
            break
    return T


def _pairs(objects: Sequence[_Object], camera: PinholeCamera, T: FloatArray) -> _Pairs:
    from scipy.spatial import cKDTree

    scale = scale_of(T)
    points, normals, targets, from_seen, covered = [], [], [], [], []
    for one in objects:
        placed = one.surface @ T[:3, :3].T + T[:3, 3]
        turned = one.normals @ T[:3, :3].T / scale
        facing = np.asarray((turned * placed).sum(axis=1) < 0)
        if facing.any():
            placed, turned = placed[facing], turned[facing]
        away, nearest = cKDTree(placed).query(one.seen)
        along = ((one.seen - placed[nearest]) * turned[nearest]).sum(axis=1)
        aside = np.square(away) - np.square(along)
        expected, wanted = _expected(one, camera, placed)
        points += [placed[nearest], placed[expected]]
        normals += [turned[nearest], turned[expected]]
        targets += [one.seen, wanted]
        from_seen += [np.ones(len(nearest), bool), np.zeros(len(wanted), bool)]
        covered += [aside < (COVERED * one.spacing * scale) ** 2, np.zeros(len(wanted), bool)]
    return _Pairs(
        points=np.concatenate(points),
        normals=np.concatenate(normals),
        targets=np.concatenate(targets),
        from_seen=np.concatenate(from_seen),
        covered=np.concatenate(covered),
    )


def _expected(one: _Object, camera: PinholeCamera, points: FloatArray) -> tuple[NDArray[np.bool_], FloatArray]:
    """Which placed points [N, 3] should have been seen, and where those should be [M, 3].

    They are in the picture, where depth is known, with nothing else before them. One beyond the mask by more than a
    pixel should be as far away, but over the mask; the others are where they may be.
    """
    pixels = camera.project(points)
    size = np.array([camera.width, camera.height])
    inside = np.asarray(((pixels > -0.5) & (pixels < size - 0.5)).all(axis=1))
    columns, rows = np.where(inside[:, None], pixels, 0).round().astype(np.intp).T
    depth, outside = one.depth[rows, columns], ~one.mask[rows, columns]
    with np.errstate(invalid="ignore"):
        expected = inside & np.isfinite(depth) & ~(outside & (depth < points[:, 2]))
    to_row, to_column = one.nearest[:, rows[expected], columns[expected]]
    gap = np.abs(np.stack([to_column, to_row], axis=1) - pixels[expected]).max(axis=1)
    there = camera.rays()[to_row, to_column].astype(np.float64) * points[expected, 2:]
    return expected, np.where((gap > 1)[:, None], there, points[expected])


def _badness(objects: Sequence[_Object], camera: PinholeCamera, T: FloatArray) -> float:
    """Mean error of both directions, each no worse than `NEAR` [share of the cube]."""
    pairs = _pairs(objects, camera, T)
    capped = np.minimum(pairs.errors / scale_of(T), NEAR)
    sides = [capped[side] for side in (pairs.from_seen, ~pairs.from_seen)]
    return sum(float(side.mean()) if len(side) else NEAR for side in sides)


def _placement(objects: Sequence[_Object], camera: PinholeCamera, T: FloatArray) -> Placement:
    pairs = _pairs(objects, camera, T)
    near = pairs.errors < NEAR * scale_of(T)
    explained, found = (float(near[side].mean()) if side.any() else 0.0 for side in (pairs.from_seen, ~pairs.from_seen))
    return Placement(
        T_camera_cube=T,
        source="depth",
        residual=float(np.median(pairs.errors[pairs.from_seen])),
        confidence=explained * found,
    )
