"""Observations of points that are seen about the same time: their errors, derivatives and elimination.

A block is dense: every point in every frame from the first to the last that sees any of them, unseen ones with
weight zero. So all sums are sums along axes and matrix products, and one code serves NumPy and torch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fourd_ros.reconstruction.bundle.arrays import Array, Arrays
from fourd_ros.reconstruction.bundle.problem import FOCAL_UNKNOWNS, BundleOptions, BundleProblem
from fourd_ros.reconstruction.bundle.state import POSE, State

POINTS = 1024
"""Of a block at most."""

NEAR = 1e-6
"""Nearest z that is projected, in the unit of the scene."""

FLOOR = 1e-12
"""Share of its trace below which a direction of a point counts as unknown."""


@dataclass(frozen=True, kw_only=True)
class BlockSystem:
    """A block linearised and, by `eliminated`, freed of its points.

    Args:
        frames: first frame and the one after the last.
        H: frames with their own unknowns and the focal lengths, shape [f, D + G, D + G].
        g: gradient, shape [f, D + G].
        J: weighted errors by these unknowns, shape [f, D + G, k, p]; k is 2, or 3 with depth. The block's own: it
            holds until the block is linearised again.
        J_points: weighted errors by the points, shape [3, f, k, p].
        V: points, shape [3, 3, p].
        g_points: gradient, shape [3, p].
        cost: half the weighted sum of robust squares.
    """

    frames: tuple[int, int]
    H: Array
    g: Array
    J: Array
    J_points: Array
    V: Array
    g_points: Array
    cost: float

    def eliminated(self, damping: float, unknowns: int, xp: Any) -> "Eliminated":
        """Without its points: what they take from the normal equations of the rest (the Schur complement).

        With the points' own equations V = C C', the rest loses J' J_points C^-T times its transpose.
        """
        factor = _cholesky(self.V, damping, xp)
        frames, rest, _, points = self.J.shape
        size, shared = unknowns, rest - unknowns
        scaled = xp.stack(_solve_lower(factor, self.J_points))
        rows = xp.einsum("fdkp,jfkp->fdjp", self.J, scaled)
        own = rows[:, :size].reshape(frames * size, 3 * points)
        common = rows[:, size:].sum(0).reshape(shared, 3 * points)
        q = xp.concatenate(_solve_lower(factor, self.g_points))
        return Eliminated(rows=xp.concatenate([own, common]) if shared else own, q=q, factor=factor)


@dataclass(frozen=True, kw_only=True)
class Eliminated:
    """Points expressed by the rest: ``rows @ rows.T`` is what they take away.

    Args:
        rows: shape [f D + G, 3 p].
        q: shape [3 p].
        factor: Cholesky factor of the points' own equations, six arrays [p].
    """

    rows: Array
    q: Array
    factor: tuple[Array, ...]

    def points(self, step: Array, xp: Any) -> Array:
        """Steps of the points [3, p] for a `step` of the rest [f D + G]."""
        right = -(self.q + self.rows.T @ step).reshape(3, -1)
        return _solve_upper(self.factor, right, xp)


class PointBlock:
    """Points `members` (indices) of a problem, with the frames between `start` and `stop`."""

    def __init__(self, problem: BundleProblem, members: np.ndarray, options: BundleOptions, arrays: Arrays) -> None:
        weights = problem.weights[:, members]
        seen = np.flatnonzero(weights.any(axis=1))
        self.frames = (int(seen[0]), int(seen[-1]) + 1)
        self.members = members
        span = slice(*self.frames)
        weights = weights[span]
        pixels = np.where(weights[..., None] > 0, problem.pixels[span][:, members], 0.0)
        self._arrays, self._xp = arrays, arrays.xp
        self._options = options
        self._index = arrays.indices(members)
        self._u, self._v = arrays.of(pixels[..., 0]), arrays.of(pixels[..., 1])
        self._weights = arrays.of(weights / options.pixel_sigma**2)
        self._centre = problem.centre
        self._behind = float(np.hypot(*problem.centre)) * 2
        self._log_depth = None
        if problem.depth is not None:
            depth = problem.depth[span][:, members]
            with np.errstate(invalid="ignore", divide="ignore"):
                known = (depth > 0) & np.isfinite(depth) & (weights > 0)
                self._log_depth = arrays.of(np.where(known, np.log(np.where(known, depth, 1.0)), 0.0))
            self._depth_weights = arrays.of(np.where(known, weights, 0.0) / options.depth_sigma**2)
        rows = 2 if problem.depth is None else 3
        unknowns = self.unknowns + FOCAL_UNKNOWNS[options.focal]
        self._J = arrays.zeros(len(weights), unknowns, rows, len(members))

    @property
    def unknowns(self) -> int:
        """Of a frame: a pose, and a depth scale where there is depth."""
        return POSE if self._log_depth is None else POSE + 1

    def errors(self, state: State) -> Array:
        """Reprojection errors [px], NaN where unseen, infinite behind the camera, shape [f, p]."""
        x, y, z, front = self._camera_points(state)
        du, dv = self._pixel_errors(x / z, y / z, state)
        unseen = self._xp.where(self._weights > 0, 0.0, np.nan)
        return self._xp.where(front, self._xp.sqrt(du * du + dv * dv), np.inf) + unseen

    def cost(self, state: State) -> float:
        """Half the weighted sum of robust squares."""
        x, y, z, front = self._camera_points(state)
        du, dv = self._pixel_errors(x / z, y / z, state)
        return self._weigh(du, dv, self._depth_errors(z, state), front)[-1]

    def linearised(self, state: State) -> BlockSystem:
        """Normal equations at `state`, with weights for Huber's norm."""
        xp, size = self._xp, self.unknowns
        x, y, z, front = self._camera_points(state)
        pu, pv = x / z, y / z
        du, dv = self._pixel_errors(pu, pv, state)
        depth = self._depth_errors(z, state)
        pixel_root, depth_root, cost = self._weigh(du, dv, depth, front)
        fx, fy = pixel_root * state.focal[0], pixel_root * state.focal[1]

        rows = 2 if depth is None else 3
        frames, points = du.shape
        focals = FOCAL_UNKNOWNS[self._options.focal]
        near_x, near_y = fx / z, fy / z
        J = self._J  # what is zero in it stays zero
        J[:, 0, 0], J[:, 2, 0] = -near_x, near_x * pu
        J[:, 3, 0], J[:, 4, 0], J[:, 5, 0] = fx * pu * pv, -fx * (1 + pu * pu), fx * pv
        J[:, 1, 1], J[:, 2, 1] = -near_y, near_y * pv
        J[:, 3, 1], J[:, 4, 1], J[:, 5, 1] = fy * (1 + pv * pv), -fy * pu * pv, -fy * pu
        if depth_root is not None:
            J[:, 2, 2], J[:, 3, 2], J[:, 4, 2] = -depth_root / z, -depth_root * pv, depth_root * pu
            J[:, POSE, 2] = -depth_root
        if focals:
            J[:, size, 0], J[:, size + focals - 1, 1] = fx * pu, fy * pv

        # A point moves in camera axes against the camera, so its derivatives are those of the translation, turned.
        J_points = -(self._rotations(state) @ J[:, :3].reshape(frames, 3, rows * points))
        J_points = J_points.reshape(frames, 3, rows, points).swapaxes(0, 1)
        error = xp.stack([pixel_root * du, pixel_root * dv, *([] if depth is None else [depth_root * depth])], 1)
        flat, flat_error = J.reshape(frames, size + focals, rows * points), error.reshape(frames, rows * points, 1)
        return BlockSystem(
            frames=self.frames,
            H=flat @ flat.swapaxes(1, 2),
            g=(flat @ flat_error)[..., 0],
            J=J,
            J_points=J_points,
            V=xp.einsum("ifkp,jfkp->ijp", J_points, J_points),
            g_points=xp.einsum("ifkp,fkp->ip", J_points, error),
            cost=cost,
        )

    def _rotations(self, state: State) -> Array:
        return state.R[self.frames[0] : self.frames[1]]

    def _camera_points(self, state: State) -> tuple[Array, Array, Array, Array]:
        """x, y, z in camera axes and whether they lie in front, each [f, p]; z is 1 where they do not."""
        centres = state.t[self.frames[0] : self.frames[1], :, None]
        places = self._rotations(state).swapaxes(1, 2) @ (state.points[:, self._index][None] - centres)
        z = places[:, 2]
        front = z > NEAR
        return places[:, 0], places[:, 1], self._xp.where(front, z, self._xp.ones_like(z)), front

    def _pixel_errors(self, pu: Array, pv: Array, state: State) -> tuple[Array, Array]:
        cx, cy = self._centre.tolist()
        return state.focal[0] * pu + cx - self._u, state.focal[1] * pv + cy - self._v

    def _depth_errors(self, z: Array, state: State) -> Array | None:
        if self._log_depth is None:
            return None
        return self._xp.log(z) - self._log_depth - state.log_scales[self.frames[0] : self.frames[1], None]

    def _weigh(self, du: Array, dv: Array, depth: Array | None, front: Array) -> tuple[Array, Array | None, float]:
        """Square roots of the weights of pixel and depth errors, and the cost of all.

        What lies behind the camera has no derivative; it costs as much as an error of the whole image.
        """
        xp = self._xp
        length = xp.where(front, xp.sqrt(du * du + dv * dv), self._behind)
        weights, cost = _huber(self._weights, length, self._options.huber_pixels, xp)
        pixel_root = xp.sqrt(xp.where(front, weights, 0.0))
        if depth is None:
            return pixel_root, None, float(cost)
        weights, depth_cost = _huber(
            xp.where(front, self._depth_weights, 0.0), xp.abs(depth), self._options.huber_depth, xp
        )
        return pixel_root, xp.sqrt(weights), float(cost + depth_cost)


def point_blocks(problem: BundleProblem, options: BundleOptions, arrays: Arrays) -> Iterator[PointBlock]:
    """All points seen in two frames or more, in blocks of those that are first seen about the same time."""
    seen = problem.weights > 0
    usable = np.flatnonzero(seen.sum(axis=0) >= 2)
    first = seen[:, usable].argmax(axis=0)
    last = problem.frames - 1 - seen[::-1, usable].argmax(axis=0)
    ordered = usable[np.lexsort((last, first))]
    for start in range(0, len(ordered), POINTS):
        yield PointBlock(problem, ordered[start : start + POINTS], options, arrays)


def _huber(weights: Array, errors: Array, bound: float, xp: Any) -> tuple[Array, Array]:
    """Weights for the next step and half the sum of weighted robust squares."""
    outside = errors > bound
    safe = xp.where(outside, errors, xp.ones_like(errors))
    cost = weights * xp.where(outside, bound * (errors - bound / 2), errors * errors / 2)
    return weights * xp.where(outside, bound / safe, xp.ones_like(errors)), cost.sum()


def _cholesky(V: Array, damping: float, xp: Any) -> tuple[Array, ...]:
    """Lower factor of damped 3 x 3 matrices [3, 3, p]: c00, c10, c11, c20, c21, c22."""
    floor = FLOOR * (V[0, 0] + V[1, 1] + V[2, 2]) + 1e-300
    grown = 1 + damping
    c00 = xp.sqrt(V[0, 0] * grown + floor)
    c10, c20 = V[1, 0] / c00, V[2, 0] / c00
    c11 = xp.sqrt(xp.where(V[1, 1] * grown - c10 * c10 > floor, V[1, 1] * grown - c10 * c10, floor))
    c21 = (V[2, 1] - c20 * c10) / c11
    left = V[2, 2] * grown - c20 * c20 - c21 * c21
    return c00, c10, c11, c20, c21, xp.sqrt(xp.where(left > floor, left, floor))


def _solve_lower(factor: tuple[Array, ...], right: Sequence[Array]) -> tuple[Array, Array, Array]:
    """x of ``C x = right``, three arrays [..., p]."""
    c00, c10, c11, c20, c21, c22 = factor
    first = right[0] / c00
    second = (right[1] - c10 * first) / c11
    return first, second, (right[2] - c20 * first - c21 * second) / c22


def _solve_upper(factor: tuple[Array, ...], right: Array, xp: Any) -> Array:
    """x of ``C' x = right``, shape [3, p]."""
    c00, c10, c11, c20, c21, c22 = factor
    third = right[2] / c22
    second = (right[1] - c21 * third) / c11
    return xp.stack([(right[0] - c10 * second - c20 * third) / c00, second, third])
