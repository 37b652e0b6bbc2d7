"""Levenberg-Marquardt over point blocks."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import CannotReconstruct
from fourd_ros.reconstruction.bundle.arrays import Array, Arrays, blas
from fourd_ros.reconstruction.bundle.frame_terms import FrameTerm, frame_terms
from fourd_ros.reconstruction.bundle.point_block import BlockSystem, Eliminated, PointBlock, point_blocks
from fourd_ros.reconstruction.bundle.problem import FOCAL_UNKNOWNS, BundleOptions, BundleProblem, BundleSolution
from fourd_ros.reconstruction.bundle.state import POSE, State

FIRST_DAMPING = 1e-4
LARGEST_DAMPING = 1e8
SMALLEST_DAMPING = 1e-12
EASE, STIFFEN = 0.1, 10.0
"""Factors of the damping after a step that helped and one that did not."""

SHARES = (1.0, 0.5, 0.25)
"""Of a step that are tried before it is made stiffer: their cost is found much faster than another step."""

SMALLEST_STEP = 1e-13
"""Steps of the frames' unknowns below this end the search."""


def adjust(problem: BundleProblem, options: BundleOptions | None = None) -> BundleSolution:
    """The path, focal length, points and depth scales that explain `problem` best, near where they begin.

    Frames `problem.fixed` hold the world. Without depth and prior its unit is free: the distance from the first
    fixed frame to the frame farthest from it stays as given.

    Raises:
        CannotReconstruct: no point is seen in two frames.
    """
    options = options or BundleOptions()
    return Adjustment(problem, options).run()


@dataclass(frozen=True, kw_only=True)
class _Step:
    frames: Array
    log_focal: Array
    points: Array
    size: float


class Adjustment:
    """One search; `run` carries it out, `reduced` gives the normal equations of the frames at its end."""

    def __init__(self, problem: BundleProblem, options: BundleOptions) -> None:
        self._problem, self._options = problem, options
        self._arrays = Arrays(options.device)
        self._xp: Any = self._arrays.xp
        self._blocks = list(point_blocks(problem, options, self._arrays))
        if not self._blocks:
            raise CannotReconstruct(
                f"none of {problem.weights.shape[1]} points is seen in two of {problem.frames} frames"
            )
        self.unknowns = self._blocks[0].unknowns
        self._focals = FOCAL_UNKNOWNS[options.focal]
        self._terms: list[FrameTerm] = frame_terms(problem, options, self.unknowns, self._arrays)
        self._free = self._arrays.indices(self._free_unknowns())
        self.state = State.of(problem, self._arrays)
        self._gauge = self._scale_direction()

    def run(self) -> BundleSolution:
        """Steps until the cost stops to fall."""
        with blas().limit(limits=1, user_api="blas"):
            return self._search()

    def _search(self) -> BundleSolution:
        damping, iterations, converged, refused = FIRST_DAMPING, 0, False, False
        systems = self._linearised()
        cost = self._total(systems)
        while iterations < self._options.max_iterations and not converged:
            step = self._step(systems, damping)
            if step is None:
                damping, refused = damping * STIFFEN, True
                converged = damping > LARGEST_DAMPING
                continue
            iterations += 1
            moved, new_cost = self._along(step, cost)
            if new_cost <= cost:
                converged = cost - new_cost <= self._options.tolerance * cost or step.size < SMALLEST_STEP
                self.state, cost = moved, new_cost
                damping = damping if refused else max(damping * EASE, SMALLEST_DAMPING)
                refused = False
                if not converged:
                    systems = self._linearised()
            elif damping >= LARGEST_DAMPING or step.size < SMALLEST_STEP:
                converged = True
            else:
                damping, refused = damping * STIFFEN, True
        return self._solution(cost, iterations, converged)

    def _along(self, step: _Step, cost: float) -> tuple[State, float]:
        """The state after a step, or after a part of it: along a curved valley whole ones lead up its side."""
        for share in SHARES:
            moved = self.state.moved(share * step.frames, share * step.log_focal, share * step.points, self._xp)
            new_cost = self._cost(moved)
            if new_cost <= cost:
                break
        return moved, new_cost

    def reduced(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Information [n, n] and gradient [n] of all frames at the state, points eliminated, n = F D + G."""
        systems = self._linearised()
        S, b, _ = self._normal_equations(systems, 0.0)
        return self._arrays.back(S), -self._arrays.back(b)

    def _linearised(self) -> list[BlockSystem]:
        return [block.linearised(self.state) for block in self._blocks]

    def _total(self, systems: list[BlockSystem]) -> float:
        return sum(system.cost for system in systems) + sum(term.cost(self.state) for term in self._terms)

    def _cost(self, state: State) -> float:
        return sum(block.cost(state) for block in self._blocks) + sum(term.cost(state) for term in self._terms)

    def _normal_equations(self, systems: list[BlockSystem], damping: float) -> tuple[Array, Array, list[Eliminated]]:
        """Left side [n, n] and right side [n] for frames and focal lengths, and the points they stand for."""
        size, focals = self.unknowns, self._focals
        shared = self._problem.frames * size
        H, g = self._arrays.zeros(shared + focals, shared + focals), self._arrays.zeros(shared + focals)
        for system in systems:
            for frame in range(*system.frames):
                own, block = slice(frame * size, (frame + 1) * size), system.H[frame - system.frames[0]]
                H[own, own] += block[:size, :size]
                H[own, shared:] += block[:size, size:]
                H[shared:, own] += block[size:, :size]
                H[shared:, shared:] += block[size:, size:]
                g[own] += system.g[frame - system.frames[0], :size]
                g[shared:] += system.g[frame - system.frames[0], size:]
        for term in self._terms:
            term.add(self.state, H, g)
        for row in range(shared + focals if damping else 0):
            H[row, row] *= 1 + damping
        eliminated = []
        for system in systems:
            points = system.eliminated(damping, size, self._xp)
            start, stop = (frame * size for frame in system.frames)
            taken, change = points.rows @ points.rows.T, points.rows @ points.q
            span = stop - start
            H[start:stop, start:stop] -= taken[:span, :span]
            H[start:stop, shared:] -= taken[:span, span:]
            H[shared:, start:stop] -= taken[span:, :span]
            H[shared:, shared:] -= taken[span:, span:]
            g[start:stop] -= change[:span]
            g[shared:] -= change[span:]
            eliminated.append(points)
        return H, -g, eliminated

    def _step(self, systems: list[BlockSystem], damping: float) -> _Step | None:
        """None where the damped equations are singular."""
        S, b, eliminated = self._normal_equations(systems, damping)
        if self._gauge is not None:
            rows, direction = self._gauge
            S[rows[:, None], rows[None]] += direction[:, None] * direction[None] * (S.diagonal().max() * 1e3)
        solved = self._arrays.zeros(len(b))
        answer = self._solve(S[self._free[:, None], self._free[None]], b[self._free])
        if answer is None:
            return None
        solved[self._free] = answer
        size, shared = self.unknowns, self._problem.frames * self.unknowns
        points = self._xp.zeros_like(self.state.points)
        for block, system, part in zip(self._blocks, systems, eliminated, strict=True):
            start, stop = (frame * size for frame in system.frames)
            rest = self._xp.concatenate([solved[start:stop], solved[shared:]])
            points[:, self._arrays.indices(block.members)] = part.points(rest, self._xp)
        focal = solved[shared:]
        return _Step(
            frames=solved[:shared].reshape(-1, size),
            log_focal=self._arrays.zeros(2) + (focal if self._focals else 0.0),
            points=points,
            size=float(abs(solved).max()),
        )

    def _solve(self, S: Array, b: Array) -> Array | None:
        """None where `S` is not positive."""
        if self._xp is np:
            import scipy.linalg

            try:
                return scipy.linalg.cho_solve(scipy.linalg.cho_factor(S, check_finite=False), b, check_finite=False)
            except np.linalg.LinAlgError:
                return None
        factor, failed = self._xp.linalg.cholesky_ex(S)
        return None if failed else self._xp.cholesky_solve(b[:, None], factor)[:, 0]

    def _free_unknowns(self) -> NDArray[np.int64]:
        """Indices of unknowns that the search may change."""
        problem, size = self._problem, self.unknowns
        free = np.ones((problem.frames, size), bool)
        fixed = np.arange(problem.frames) == 0 if problem.fixed is None else problem.fixed
        free[fixed, :POSE] = False
        if size > POSE and self._options.scale_sigma == 0:
            free[:, POSE] = False
        free[~(problem.weights > 0).any(axis=1)] = False
        return np.flatnonzero(np.concatenate([free.ravel(), np.ones(self._focals, bool)]))

    def _scale_direction(self) -> tuple[Array, Array] | None:
        """Unknowns of the frame farthest from the fixed one and the direction that would change their distance."""
        problem = self._problem
        fixed = np.arange(problem.frames) == 0 if problem.fixed is None else problem.fixed
        if problem.depth is not None or problem.prior is not None or fixed.sum() != 1:
            return None
        centres = problem.T_world_camera[:, :3, 3]
        offsets = centres - centres[fixed]
        farthest = int(np.linalg.norm(offsets, axis=1).argmax())
        length = np.linalg.norm(offsets[farthest])
        if length == 0:
            return None
        direction = problem.T_world_camera[farthest, :3, :3].T @ (offsets[farthest] / length)
        rows = farthest * self.unknowns + np.arange(3)
        return self._arrays.indices(rows), self._arrays.of(direction)

    def _solution(self, cost: float, iterations: int, converged: bool) -> BundleSolution:
        back, state = self._arrays.back, self.state
        path = np.tile(np.eye(4), (self._problem.frames, 1, 1))
        path[:, :3, :3], path[:, :3, 3] = back(state.R), back(state.t)
        errors = np.full(self._problem.weights.shape, np.nan)
        for block in self._blocks:
            errors[block.frames[0] : block.frames[1], block.members] = back(block.errors(state))
        return BundleSolution(
            T_world_camera=path,
            points=back(state.points).T,
            focal=back(state.focal),
            log_scales=back(state.log_scales),
            errors=errors,
            cost=cost,
            iterations=iterations,
            converged=converged,
        )


__all__ = ["Adjustment", "PointBlock", "adjust"]
