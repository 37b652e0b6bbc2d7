"""Where the gripper goes, in the form that the dynamics network is told."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from fourd_ros.errors import InvalidTrajectory
from fourd_ros.records import FloatArray
from fourd_ros.robot.model import RobotModel

SUBSTEP = 0.05
"""Time between two places of a path [s]."""


@dataclass(frozen=True, kw_only=True)
class GripperPath:
    """The grasp frames of C commanded motions at S + 1 instants, `SUBSTEP` apart; the first is as observed.

    Args:
        frames: ``T_world_grasp`` (x closes, z approaches; see `Gripper.grasp_frame`), shape [C, S + 1, 4, 4].
        gaps: between the fingers [m], shape [C, S + 1].
    """

    frames: FloatArray
    gaps: FloatArray

    @classmethod
    def of(
        cls,
        robot: RobotModel,
        joint_positions: Mapping[str, float],
        commanded: FloatArray,
        T_world_robot: FloatArray,
    ) -> Self:
        """The path of a robot's gripper.

        Args:
            robot: with a gripper.
            joint_positions: measured at the start [rad | m].
            commanded: positions of all actuated joints at ``SUBSTEP, 2 * SUBSTEP, ...`` [rad | m], shape [C, S, J].
            T_world_robot: pose of the robot's root, shape [4, 4].

        Raises:
            InvalidTrajectory: the robot has no gripper that is recognised.
        """
        gripper = robot.gripper
        if gripper is None:
            raise InvalidTrajectory("the robot has no gripper whose fingers slide towards each other")
        start = np.broadcast_to(
            robot.kinematics.positions_from(joint_positions), (len(commanded), 1, commanded.shape[-1])
        )
        poses = robot.kinematics.link_poses(np.concatenate([start, commanded], axis=1))
        return cls(frames=T_world_robot @ poses[gripper.carrier] @ gripper.grasp_frame, gaps=gripper.gaps(poses))


APPROACH_LATER = (8, 16, 32)
"""Substeps after the nearest approach at which the gripper is looked at again."""

APPROACH_GAP_LATER = 16
"""Substeps after the nearest approach at which the gap is looked at again."""


@dataclass(frozen=True, kw_only=True)
class Approach:
    """Where C paths come nearest to K things.

    Args:
        frame: ``T_world_grasp`` there, shape [C, K, 4, 4].
        later: grasp points `APPROACH_LATER` substeps after that, in the world [m], shape [C, K, 3, 3].
        gap: between the fingers there and `APPROACH_GAP_LATER` substeps later [m], shape [C, K, 2].
        distance: there, between the grasp point and the nearest point of the thing [m], shape [C, K].
    """

    frame: FloatArray
    later: FloatArray
    gap: FloatArray
    distance: FloatArray

    @classmethod
    def of(cls, points: FloatArray, path: GripperPath) -> Self:
        """Nearest places of `path` to things given by points [K, N, 3] in the world."""
        grasp = path.frames[..., :3, 3]
        count, last = len(grasp), grasp.shape[1] - 1
        squared = (
            (grasp**2).sum(axis=-1)[:, :, None, None]
            + (points**2).sum(axis=-1)
            - 2 * np.einsum("csi,kni->cskn", grasp, points)
        ).min(axis=-1)
        nearest = squared.argmin(axis=1)
        candidate = np.arange(count)[:, None]
        after = np.minimum(nearest[..., None] + np.array(APPROACH_LATER), last)
        gap_after = np.minimum(nearest + APPROACH_GAP_LATER, last)
        return cls(
            frame=path.frames[candidate, nearest],
            later=grasp[candidate[..., None], after],
            gap=np.stack([path.gaps[candidate, nearest], path.gaps[candidate, gap_after]], axis=-1),
            distance=np.sqrt(np.maximum(squared.min(axis=1), 0.0)),
        )
