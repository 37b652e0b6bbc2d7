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
        frames: ``T_world_grasp`` (x closes, z approaches; see `Gripper.T_carrier_grasp`), shape [C, S + 1, 4, 4].
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
        return cls(frames=T_world_robot @ poses[gripper.carrier] @ gripper.T_carrier_grasp, gaps=gripper.gaps(poses))
