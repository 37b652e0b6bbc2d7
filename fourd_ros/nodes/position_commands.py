"""Joint positions as plain arrays, the way many learned policies command a robot."""

from collections.abc import Mapping, Sequence

import numpy as np
from std_msgs.msg import Float64MultiArray

from fourd_ros.bridge.qos import RESULT
from fourd_ros.errors import InvalidJoints
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.commanded_motion import CommandedMotion
from fourd_ros.nodes.instants import Instants
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.trajectory import check_trajectory

POSITION_TOPIC = "forward_position_controller/commands"
"""As the position controllers of ros2_control call it."""

SHORTEST = 1e-3
"""Even a joint that is there already gets this long [s]."""


class PositionArrays:
    """What arrays of joint positions mean: every joint goes there as fast as its speed limit allows.

    Args:
        kinematics: of the robot.
        joints: in the order of the arrays; empty for all actuated ones, in the order of ``joint_states``.

    Raises:
        InvalidJoints: joints that the robot does not have.
    """

    def __init__(self, kinematics: Kinematics, joints: Sequence[str] = ()) -> None:
        self._kinematics = kinematics
        self._joints = tuple(joints) or kinematics.joint_names
        unknown = sorted(set(self._joints) - set(kinematics.joint_names))
        if unknown:
            raise InvalidJoints(f"position_joints {unknown} are no joints of this robot: {kinematics.joint_names}")
        columns = [kinematics.joint_names.index(name) for name in self._joints]
        self._speeds = kinematics.limits.velocity[columns]

    def motion(self, positions: Sequence[float], *, here: Mapping[str, float]) -> RobotTrajectory:
        """The motion to the positions of an array [rad | m], from where all joints are.

        Raises:
            InvalidJoints: another number of positions, or some that are not finite.
            JointLimitExceeded: positions beyond the limits.
        """
        goal = np.array(positions, np.float64)
        if len(goal) != len(self._joints):
            raise InvalidJoints(f"{len(goal)} positions for {len(self._joints)} joints {list(self._joints)}")
        start = np.array([here[name] for name in self._joints])
        target = RobotTrajectory(joint_names=self._joints, times=np.array([1.0]), positions=goal[None])
        check_trajectory(target, self._kinematics, self._kinematics.positions_from(here), targets=self._joints)
        durations = np.maximum(np.abs(goal - start) / self._speeds, SHORTEST)
        times = np.unique(np.append(durations, 0.0))
        share = np.minimum(times[:, None] / durations, 1.0)
        return RobotTrajectory(joint_names=self._joints, times=times, positions=start + share * (goal - start))


class PositionCommands:
    """Sends every joint to the commanded position.

    Args:
        node: made while it is active.
        motion: takes the commands.
        instants: tell where joints are commanded to be.
        arrays: what the commands mean.
    """

    def __init__(self, node: FourdNode, motion: CommandedMotion, instants: Instants, *, arrays: PositionArrays) -> None:
        self._motion, self._instants, self._arrays = motion, instants, arrays
        node.subscribe(Float64MultiArray, POSITION_TOPIC, self._follow, RESULT)

    def _follow(self, message: Float64MultiArray) -> None:
        """Begin to move to the positions of an array.

        Raises:
            InvalidJoints, JointLimitExceeded: as `PositionArrays.motion` says.
        """
        self._motion.follow(self._arrays.motion(message.data, here=self._instants.newest.setpoint))
