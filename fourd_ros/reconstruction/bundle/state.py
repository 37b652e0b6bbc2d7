"""The unknowns of a bundle adjustment, in the chosen array library."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fourd_ros.reconstruction.bundle.arrays import Array, Arrays
from fourd_ros.reconstruction.bundle.problem import BundleProblem
from fourd_ros.reconstruction.bundle.rotations import rotation_of

POSE = 6
"""Unknowns of a pose: translation and rotation vector, both in the camera's own axes."""

LONGEST = 0.9
"""Step away from the camera beyond which inverse depth would come near zero, as a share of the depth."""


@dataclass(frozen=True, kw_only=True)
class State:
    """Poses, depth scales, focal lengths and points.

    Args:
        R: camera axes in the world, shape [F, 3, 3].
        t: camera centres in the world, shape [F, 3].
        log_scales: shape [F].
        focal: fx, fy, shape [2].
        points: in the world, shape [3, P].
        first: frame that sees a point first, shape [P].
    """

    R: Array
    t: Array
    log_scales: Array
    focal: Array
    points: Array
    first: Array

    @staticmethod
    def of(problem: BundleProblem, arrays: Arrays) -> "State":
        """Where the search begins."""
        scales = np.zeros(problem.frames) if problem.log_scales is None else problem.log_scales
        return State(
            R=arrays.of(problem.T_world_camera[:, :3, :3]),
            t=arrays.of(problem.T_world_camera[:, :3, 3]),
            log_scales=arrays.of(scales),
            focal=arrays.of(problem.focal),
            points=arrays.of(problem.points.T),
            first=arrays.indices((problem.weights > 0).argmax(axis=0)),
        )

    def moved(self, frames: Array, log_focal: Array, points: Array, xp: Any) -> "State":
        """The state after a step.

        Args:
            frames: steps of the frames' unknowns, shape [F, 6 or 7].
            log_focal: steps of log fx, log fy, shape [2].
            points: shape [3, P].
            xp: the array library.

        Points go along the ray of the camera that saw them first by a step of inverse depth, in which far points
        with little parallax depend on the unknowns almost linearly (Civera et al. 2008).
        """
        eyes = self.t[self.first].swapaxes(0, 1)
        rays = self.points - eyes
        squares = (rays * rays).sum(0)
        along = (points * rays).sum(0) / xp.where(squares > 0, squares, xp.ones_like(squares))
        across = points - along * rays
        nearer = xp.where(along < LONGEST, along, LONGEST + xp.zeros_like(along))
        step = replace(
            self,
            R=self.R @ rotation_of(frames[:, 3:POSE], xp),
            t=self.t + (self.R @ frames[:, :3, None])[..., 0],
            focal=self.focal * xp.exp(log_focal),
            points=eyes + (rays + across) / (1 - nearer),
        )
        return replace(step, log_scales=self.log_scales + frames[:, POSE]) if frames.shape[1] > POSE else step
