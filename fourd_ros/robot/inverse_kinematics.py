"""Joint positions that bring a tool to poses, for many motions at once."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidRobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.model import RobotModel

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

DAMPING = 0.02
STEPS = 50
TOLERANCE = 1e-3
"""A pose is reached within this [m], an error of one radian counting as `TURN_WEIGHT` metres."""

TURN_WEIGHT = 0.3


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A frame on a link of a robot that some of its joints bring to where it is wanted.

    Args:
        kinematics: of the robot.
        link: that carries the tool.
        T_link_tool: the tool on that link, shape [4, 4].
        columns: of the joints that move it; the others keep their positions.
    """

    kinematics: Kinematics
    link: str
    T_link_tool: FloatArray = field(repr=False)
    columns: tuple[int, ...]

    @classmethod
    def of_gripper(cls, robot: RobotModel, T_carrier_tool: FloatArray | None = None) -> Self:
        """A tool at the gripper, moved by all joints but the gripper's own.

        Args:
            robot: the robot.
            T_carrier_tool: the tool on the link that carries the fingers; None for `Gripper.grasp_frame`.

        Raises:
            InvalidRobotDescription: there is no gripper.
        """
        gripper, names = robot.gripper, robot.kinematics.joint_names
        if gripper is None:
            raise InvalidRobotDescription(f"robot '{robot.description.name}' has no gripper with sliding fingers")
        return cls(
            kinematics=robot.kinematics,
            link=gripper.carrier,
            T_link_tool=gripper.grasp_frame if T_carrier_tool is None else T_carrier_tool,
            columns=tuple(column for column, name in enumerate(names) if name not in gripper.joints),
        )

    def pose(self, positions: FloatArray) -> FloatArray:
        """``T_root_tool`` for joint positions [*, J], shape [*, 4, 4]."""
        return np.asarray(self.kinematics.link_poses(positions)[self.link] @ self.T_link_tool)

    def solve(self, near: FloatArray, T_root_tool: FloatArray) -> tuple[FloatArray, Mask]:
        """Joint positions near others that bring the tool to poses, by damped least squares within the limits.

        Source of the method: Buss, "Introduction to inverse kinematics with Jacobian transpose, pseudoinverse and
        damped least squares methods", 2004.

        Args:
            near: joint positions to begin with [rad | m], shape [B, J].
            T_root_tool: where the tool shall be, shape [B, 4, 4].

        Returns:
            Positions [B, J] that come nearest, and whether the pose is reached, shape [B].
        """
        positions, limits, columns = near.copy(), self.kinematics.limits, list(self.columns)
        lower, upper = limits.lower[columns], limits.upper[columns]
        left = np.arange(len(positions))
        for _ in range(STEPS):
            poses = self.kinematics.link_poses(positions[left])
            T = poses[self.link] @ self.T_link_tool
            error = _error(T, T_root_tool[left])
            missing = np.linalg.norm(error, axis=1) >= TOLERANCE
            left, error = left[missing], error[missing]
            if len(left) == 0:
                break
            poses = {name: pose[missing] for name, pose in poses.items()}
            jacobian = self.kinematics.jacobian(poses, self.link, T[missing, :3, 3])[..., columns]
            jacobian[:, 3:] *= TURN_WEIGHT
            transposed = np.swapaxes(jacobian, 1, 2)
            step = transposed @ np.linalg.solve(jacobian @ transposed + DAMPING**2 * np.eye(6), error[..., None])
            positions[np.ix_(left, columns)] = np.clip(positions[np.ix_(left, columns)] + step[..., 0], lower, upper)
        reached = np.ones(len(positions), bool)
        reached[left] = False
        return positions, reached


def _error(T_root_tool: FloatArray, T_root_wanted: FloatArray) -> FloatArray:
    """What is missing: position [m] and weighted rotation vector (small angles) in the root frame, shape [B, 6]."""
    position = T_root_wanted[..., :3, 3] - T_root_tool[..., :3, 3]
    rotation = T_root_wanted[..., :3, :3] @ np.swapaxes(T_root_tool[..., :3, :3], -1, -2)
    skew = rotation - np.swapaxes(rotation, -1, -2)
    turn = 0.5 * np.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], axis=-1)
    return np.concatenate([position, TURN_WEIGHT * turn], axis=-1)
