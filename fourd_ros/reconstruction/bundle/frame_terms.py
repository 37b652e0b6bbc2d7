"""What is known of frames besides their observations: depth scales near 1, smooth motion, priors, gauge."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fourd_ros.reconstruction.bundle.arrays import Array, Arrays
from fourd_ros.reconstruction.bundle.prior import FramePrior
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem
from fourd_ros.reconstruction.bundle.rotations import skew, vector_of
from fourd_ros.reconstruction.bundle.state import POSE, State


class FrameTerm(Protocol):
    """A share of the cost that depends on frames alone."""

    def cost(self, state: State) -> float:
        """At `state`."""

    def add(self, state: State, H: Array, g: Array) -> None:
        """Add its second derivatives to `H` [n, n] and its gradient to `g` [n], n = F D + G."""


@dataclass(frozen=True, kw_only=True)
class DepthScales:
    """Depth scales are drawn around 1: the mean of the measured depths is what metres are."""

    frames: int
    unknowns: int
    sigma: float

    def cost(self, state: State) -> float:
        return float((state.log_scales * state.log_scales).sum()) / 2 / self.sigma**2

    def add(self, state: State, H: Array, g: Array) -> None:
        for frame in range(self.frames):
            row = frame * self.unknowns + POSE
            H[row, row] += 1 / self.sigma**2
            g[row] += state.log_scales[frame] / self.sigma**2


@dataclass(frozen=True, kw_only=True)
class SmoothMotion:
    """Accelerations of three neighbouring frames are drawn around zero.

    Args:
        steps: seconds between frames, shape [F - 1].
        unknowns: of a frame.
        sigmas: of the acceleration [m/s^2] and the angular acceleration [rad/s^2].
        xp: the array library.
    """

    steps: Array
    unknowns: int
    sigmas: tuple[float, float]
    xp: Any

    def cost(self, state: State) -> float:
        moving, turning = self._errors(state)
        return float((moving * moving).sum() + (turning * turning).sum()) / 2

    def add(self, state: State, H: Array, g: Array) -> None:
        moving, turning = self._errors(state)
        before, after = 1 / self.steps[:-1], 1 / self.steps[1:]
        span = (self.steps[:-1] + self.steps[1:]) / 2
        weights = [before / span, -(before + after) / span, after / span]
        for middle in range(1, len(self.steps)):
            frames = (middle - 1, middle, middle + 1)
            by_place = [state.R[f] * (w[middle - 1] / self.sigmas[0]) for f, w in zip(frames, weights, strict=True)]
            self._add_rows(H, g, frames, by_place, moving[middle - 1], 0)
            # Small turns between neighbours: a turn of a frame in its own axes, seen from the middle one.
            axes = [state.R[middle].T @ state.R[f] for f in frames]
            by_turn = [A * (w[middle - 1] / self.sigmas[1]) for A, w in zip(axes, weights, strict=True)]
            self._add_rows(H, g, frames, by_turn, turning[middle - 1], 3)

    def _errors(self, state: State) -> tuple[Array, Array]:
        """Accelerations over their sigmas, each [F - 2, 3]; the turning in the axes of the middle frame."""
        xp, steps = self.xp, self.steps[:, None]
        span = (steps[:-1] + steps[1:]) / 2
        speed = (state.t[1:] - state.t[:-1]) / steps
        relative = state.R[:-1].swapaxes(1, 2) @ state.R[1:]  # next in the axes of this one
        turn = vector_of(relative, xp)
        into_middle = (relative[:-1].swapaxes(1, 2) @ turn[:-1, :, None])[..., 0] / steps[:-1]
        out_of_middle = turn[1:] / steps[1:]
        return (speed[1:] - speed[:-1]) / span / self.sigmas[0], (out_of_middle - into_middle) / span / self.sigmas[1]

    def _add_rows(
        self, H: Array, g: Array, frames: tuple[int, ...], blocks: list[Array], error: Array, offset: int
    ) -> None:
        for first, A in zip(frames, blocks, strict=True):
            row = first * self.unknowns + offset
            g[row : row + 3] += A.T @ error
            for second, B in zip(frames, blocks, strict=True):
                column = second * self.unknowns + offset
                H[row : row + 3, column : column + 3] += A.T @ B


class Remembered:
    """A marginal prior."""

    def __init__(self, prior: FramePrior, unknowns: int, arrays: Arrays) -> None:
        self._arrays, self._xp = arrays, arrays.xp
        self._frames = arrays.indices(prior.frames)
        self._R, self._t = arrays.of(prior.T_world_camera[:, :3, :3]), arrays.of(prior.T_world_camera[:, :3, 3])
        self._log_scales = arrays.of(prior.log_scales)
        kept = np.arange(len(prior.frames) * (POSE + 1)).reshape(-1, POSE + 1)[:, :unknowns].ravel()
        self._information = arrays.of(prior.information[np.ix_(kept, kept)])
        self._gradient = arrays.of(prior.gradient[kept])
        self._unknowns = unknowns
        self._rows = arrays.indices((prior.frames[:, None] * unknowns + np.arange(unknowns)).ravel())

    def cost(self, state: State) -> float:
        motion = self._motion(state)[0].reshape(-1)
        return float(motion @ (self._information @ motion) / 2 + self._gradient @ motion)

    def add(self, state: State, H: Array, g: Array) -> None:
        motion, derivatives = self._motion(state)
        size, count = self._unknowns, len(self._rows) // self._unknowns
        slope = (self._information @ motion.reshape(-1) + self._gradient).reshape(count, size)
        g[self._rows] += (derivatives.swapaxes(1, 2) @ slope[..., None]).reshape(-1)
        blocks = self._information.reshape(count, size, count, size)
        turned = self._xp.einsum("aij,aibk,bkl->ajbl", derivatives, blocks, derivatives)
        H[self._rows[:, None], self._rows[None]] += turned.reshape(count * size, count * size)

    def _motion(self, state: State) -> tuple[Array, Array]:
        """Motion since the prior was made [K, D], and its derivatives [K, D, D] by the unknowns now."""
        xp = self._xp
        back = self._R.swapaxes(1, 2)
        relative = back @ state.R[self._frames]
        place = (back @ (state.t[self._frames] - self._t)[..., None])[..., 0]
        turn = vector_of(relative, xp)
        parts = [place, turn]
        if self._unknowns > POSE:
            parts.append((state.log_scales[self._frames] - self._log_scales)[:, None])
        derivatives = self._arrays.zeros(len(turn), self._unknowns, self._unknowns)
        for unknown in range(self._unknowns):
            derivatives[:, unknown, unknown] = 1.0
        derivatives[:, :3, :3] = relative
        derivatives[:, 3:POSE, 3:POSE] += skew(turn, xp) / 2
        return xp.concatenate(parts, -1), derivatives


def frame_terms(problem: BundleProblem, options: BundleOptions, unknowns: int, arrays: Arrays) -> list[FrameTerm]:
    """The terms that `problem` and `options` ask for."""
    terms: list[FrameTerm] = []
    if unknowns > POSE and options.scale_sigma > 0:
        terms.append(DepthScales(frames=problem.frames, unknowns=unknowns, sigma=options.scale_sigma))
    if problem.frames > 2 and min(options.smooth_acceleration, options.smooth_turning) < np.inf:
        times = np.arange(problem.frames, dtype=np.float64) if problem.times is None else problem.times
        sigmas = (options.smooth_acceleration, options.smooth_turning)
        steps = arrays.of(np.diff(times))
        terms.append(SmoothMotion(steps=steps, unknowns=unknowns, sigmas=sigmas, xp=arrays.xp))
    if problem.prior is not None:
        terms.append(Remembered(problem.prior, unknowns, arrays))
    return terms
