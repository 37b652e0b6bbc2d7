"""Forward kinematics of many postures at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidJoints
from fourd_ros.robot.description import FIXED, ROTATING, SLIDING, Joint, RobotDescription

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class JointLimits:
    """Bounds of the actuated joints, each of shape [J]; infinite where the URDF gives none.

    Args:
        lower: least positions [rad | m].
        upper: greatest positions [rad | m].
        velocity: greatest speeds [rad/s | m/s].
    """

    lower: FloatArray
    upper: FloatArray
    velocity: FloatArray


class Kinematics:
    """Link poses from joint positions.

    Args:
        description: the robot.
    """

    def __init__(self, description: RobotDescription) -> None:
        joints = description.joints
        actuated = [joint for joint in joints if joint.kind != FIXED and joint.mimic is None]
        self.root = description.root
        """Name of the root link, in whose frame poses are given."""
        self.link_names = (description.root, *(joint.child for joint in joints))
        """Names of all links, parents before children."""
        self.joint_names = tuple(joint.name for joint in actuated)
        """Names of the J actuated joints, the columns of every `positions`."""
        self.limits = JointLimits(
            lower=np.array([joint.lower for joint in actuated]),
            upper=np.array([joint.upper for joint in actuated]),
            velocity=np.array([joint.velocity for joint in actuated]),
        )
        self.moving_links = _moving(joints)
        """Names of the links that some joint moves against the root, parents before children."""
        self._joints = joints
        self._parents = [self.link_names.index(joint.parent) for joint in joints]
        self._gain, self._offset = _leaders(joints, self.joint_names)
        self._motions = np.array([_motion_parts(joint) for joint in joints]).reshape(-1, 4, 4, 4)

    def link_poses(self, positions: FloatArray) -> dict[str, FloatArray]:
        """Pose of every link in the root frame.

        Every joint's motion is a fixed matrix plus sin(q), 1 - cos(q) and q times fixed matrices (Rodrigues'
        formula after the joint's origin); one pass over the tree chains them.

        Args:
            positions: of `joint_names` [rad | m], shape [*, J].

        Returns:
            ``T_root_link`` by link name, shape [*, 4, 4] each.

        Raises:
            InvalidJoints: the last dimension is not J.
        """
        positions = np.asarray(positions, np.float64)
        if positions.ndim == 0 or positions.shape[-1] != len(self.joint_names):
            raise InvalidJoints(
                f"positions of shape {list(positions.shape)}; the last dimension must be {self.joint_names}"
            )
        q = np.moveaxis(positions @ self._gain + self._offset, -1, 0)[..., None, None]
        by_joint = (len(self._parents), *(1,) * (positions.ndim - 1), 4, 4)
        rest, sine, versine, slide = (self._motions[:, part].reshape(by_joint) for part in range(4))
        steps = rest + np.sin(q) * sine + (1 - np.cos(q)) * versine + q * slide
        poses = [np.broadcast_to(np.eye(4), (*positions.shape[:-1], 4, 4))]
        for parent, step in zip(self._parents, steps, strict=True):
            poses.append(poses[parent] @ step)
        return dict(zip(self.link_names, poses, strict=True))

    def jacobian(self, link_poses: Mapping[str, FloatArray], link: str, points: FloatArray) -> FloatArray:
        """How fast points on a link move for each joint's speed.

        Args:
            link_poses: of `link_poses`, shape [*, 4, 4] each.
            link: that the points are fixed to.
            points: in the root frame [m], shape [*, 3].

        Returns:
            Velocity, then angular velocity, in the root frame for a speed of one [m or rad a second], shape [*, 6, J].
        """
        result = np.zeros((*points.shape[:-1], 6, len(self.joint_names)))
        column = self.link_names.index(link) - 1
        while column >= 0:
            joint, pose = self._joints[column], link_poses[self.link_names[column + 1]]
            axis = pose[..., :3, :3] @ np.asarray(joint.axis)
            motion = np.zeros((*points.shape[:-1], 6))
            if joint.kind in ROTATING:
                motion[..., :3] = np.cross(axis, points - pose[..., :3, 3])
                motion[..., 3:] = axis
            elif joint.kind in SLIDING:
                motion[..., :3] = axis
            result += motion[..., None] * self._gain[:, column]
            column = self._parents[column] - 1
        return result

    def positions_from(self, positions: Mapping[str, float], *, strict: bool = True) -> FloatArray:
        """Positions of the actuated joints in the order of `joint_names`, shape [J].

        Args:
            positions: by joint name [rad | m]; names that are not actuated joints are ignored.
            strict: refuse missing joints; otherwise they stand at zero, or at the limit next to it.

        Raises:
            InvalidJoints: positions that are missing or not finite.
        """
        missing = [name for name in self.joint_names if name not in positions]
        if missing and strict:
            raise InvalidJoints(f"no position of {missing}; given: {sorted(positions)}")
        rest = np.clip(0.0, self.limits.lower, self.limits.upper)
        ordered = np.array(
            [positions.get(name, home) for name, home in zip(self.joint_names, rest, strict=True)], float
        )
        if not np.isfinite(ordered).all():
            bad = [name for name, ok in zip(self.joint_names, np.isfinite(ordered), strict=True) if not ok]
            raise InvalidJoints(f"positions of {bad} are not finite")
        return ordered


def _moving(joints: tuple[Joint, ...]) -> tuple[str, ...]:
    moving: dict[str, None] = {}
    for joint in joints:
        if joint.kind != FIXED or joint.parent in moving:
            moving[joint.child] = None
    return tuple(moving)


def _leaders(joints: tuple[Joint, ...], actuated: tuple[str, ...]) -> tuple[FloatArray, FloatArray]:
    """Every joint's position as ``positions @ gain + offset``, shapes [J, all joints] and [all joints]."""
    by_name = {joint.name: joint for joint in joints}
    gain, offset = np.zeros((len(actuated), len(joints))), np.zeros(len(joints))
    for column, joint in enumerate(joints):
        factor, shift, leader = 1.0, 0.0, joint
        while leader.mimic is not None:
            shift += factor * leader.mimic.offset
            factor *= leader.mimic.multiplier
            leader = by_name[leader.mimic.joint]
        if leader.kind != FIXED:
            gain[actuated.index(leader.name), column] = factor
            offset[column] = shift
    return gain, offset


def _motion_parts(joint: Joint) -> FloatArray:
    """What a joint's transform adds at rest, per sin(q), per 1 - cos(q) and per q, shape [4, 4, 4]."""
    x, y, z = joint.axis
    sine, slide = np.zeros((4, 4)), np.zeros((4, 4))
    if joint.kind in ROTATING:
        sine[:3, :3] = [[0, -z, y], [z, 0, -x], [-y, x, 0]]
    elif joint.kind in SLIDING:
        slide[:3, 3] = joint.axis
    return np.stack([joint.T_parent_joint @ part for part in (np.eye(4), sine, sine @ sine, slide)])
