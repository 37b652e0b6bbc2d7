"""Which links of a robot close on an object, and what lies between them."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, from_parts, invert
from fourd_ros.robot.description import FIXED, SLIDING, Joint, Link, RobotDescription
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.surfaces import link_surface

FloatArray = NDArray[np.float64]
Mask = NDArray[np.bool_]

CONTACT_SLACK = 0.006
"""A held surface may seem to lie inside a finger by this much [m]."""

FINGER_SLACK = 0.01
"""Points beside and beyond the finger by this much still count as between the fingers [m]."""

MIN_TRAVEL = 1e-6
"""Fingers with less travel cannot move [m]."""

TIP_SHARE = 0.5
"""Objects are held by this outer share of the fingers' length."""


def find_gripper(description: RobotDescription, kinematics: Kinematics) -> "Gripper | None":
    """The first group of sliding fingers: moving links without moving children, side by side on one parent.

    Fingers that swing (linkages) are not recognised: what such a gripper holds is taken for static.
    """
    moving_parents = {joint.parent for joint in description.joints if joint.kind != FIXED}
    groups: dict[str, list[Joint]] = defaultdict(list)
    for joint in description.joints:
        if joint.kind != FIXED and joint.child not in moving_parents:
            groups[joint.parent].append(joint)
    for carrier, joints in groups.items():
        if len(joints) >= 2 and all(joint.kind in SLIDING for joint in joints):
            return Gripper(description, kinematics, carrier, joints)
    return None


class Gripper:
    """Fingers that slide towards each other.

    Args:
        description: the robot.
        kinematics: of the same robot.
        carrier: the link that the fingers slide on.
        fingers: their joints, two or more.
    """

    def __init__(
        self, description: RobotDescription, kinematics: Kinematics, carrier: str, fingers: list[Joint]
    ) -> None:
        self.carrier = carrier
        """The link a held object moves with."""
        self.fingers = tuple(joint.child for joint in fingers[:2])
        leaders = {joint.mimic.joint if joint.mimic else joint.name for joint in fingers}
        self.joints = tuple(name for name in kinematics.joint_names if name in leaders)
        """Actuated joints that open it by growing."""
        self._columns = [kinematics.joint_names.index(name) for name in self.joints]
        self._kinematics = kinematics
        links = {link.name: link for link in description.links}
        self._vertices = [_vertices(links[finger]) for finger in self.fingers]

    def openness(self, joint_positions: Mapping[str, float]) -> float:
        """How far it is open, from 0 (closed) to 1."""
        limits, columns = self._kinematics.limits, self._columns
        positions = self._kinematics.positions_from(joint_positions)[columns]
        travel = np.maximum((limits.upper - limits.lower)[columns], MIN_TRAVEL)
        return float(((positions - limits.lower[columns]) / travel).max())

    @cached_property
    def grasp_frame(self) -> FloatArray:
        """The grasp frame on the carrier, shape [4, 4].

        Its origin lies between the finger tips, x is the direction in which the fingers close, z points from the
        carrier to the tips. A gripper without visible fingers has the carrier's frame.
        """
        closed_and_open = np.zeros((2, len(self._kinematics.joint_names)))
        closed_and_open[1, self._columns] = 1.0
        poses = self._kinematics.link_poses(closed_and_open)
        T_carrier_finger = [invert(poses[self.carrier]) @ poses[finger] for finger in self.fingers]
        opening = [T[1, :3, 3] - T[0, :3, 3] for T in T_carrier_finger]
        first, second = (apply(T[0], v) for T, v in zip(T_carrier_finger, self._vertices, strict=True))
        if len(first) == 0 or len(second) == 0:
            return np.eye(4)
        centres = first.mean(axis=0), second.mean(axis=0)
        x = _unit(opening[1] - opening[0])
        along = (centres[0] + centres[1]) / 2
        z = _unit(along - (along @ x) * x)
        y = np.cross(z, x)
        both = np.concatenate([first, second])
        inner = ((first @ x).max() + (second @ x).min()) / 2
        origin = inner * x + (both @ y).mean() * y + (both @ z).max() * z
        return from_parts(np.stack([x, y, z], axis=1), origin)

    def gaps(self, link_poses: Mapping[str, FloatArray]) -> FloatArray:
        """Distance between the inner faces of the fingers [m].

        Args:
            link_poses: ``T_root_link`` by name, each of shape [*, 4, 4].

        Returns:
            Shape [*]; zeros without visible fingers.
        """
        T_grasp_root = invert(link_poses[self.carrier] @ self.grasp_frame)
        if any(len(vertices) == 0 for vertices in self._vertices):
            return np.zeros(T_grasp_root.shape[:-2])
        (first, second) = (T_grasp_root @ link_poses[finger] for finger in self.fingers)
        return np.asarray(_extreme(second, self._vertices[1], np.min) - _extreme(first, self._vertices[0], np.max))

    def between_fingers(self, joint_positions: Mapping[str, float], points: NDArray[np.floating]) -> Mask:
        """Points between the outer halves of the two fingers.

        Args:
            joint_positions: by joint name [rad | m].
            points: in the root frame [m], shape [N, 3].

        Returns:
            True for the points between them, shape [N].
        """
        poses = self._kinematics.link_poses(self._kinematics.positions_from(joint_positions))
        first, second = (apply(poses[f], v) for f, v in zip(self.fingers, self._vertices, strict=True))
        if len(first) == 0 or len(second) == 0:
            return np.zeros(len(points), bool)
        across = second.mean(axis=0) - first.mean(axis=0)
        across /= np.linalg.norm(across)
        along = (first.mean(axis=0) + second.mean(axis=0)) / 2 - poses[self.carrier][:3, 3]
        along -= (along @ across) * across
        along /= np.linalg.norm(along)
        beside = np.cross(across, along)
        both = np.concatenate([first, second])
        reach = both @ along
        tips = reach.max() - TIP_SHARE * (reach.max() - reach.min())
        inner = (first[first @ along > tips] @ across).max(), (second[second @ along > tips] @ across).min()
        a, b, c = points @ across, points @ along, points @ beside
        return np.asarray(
            (a > inner[0] - CONTACT_SLACK)
            & (a < inner[1] + CONTACT_SLACK)
            & (b > tips)
            & (b < reach.max() + FINGER_SLACK)
            & (c > (both @ beside).min() - FINGER_SLACK)
            & (c < (both @ beside).max() + FINGER_SLACK)
        )


def _unit(vector: NDArray[np.floating]) -> FloatArray:
    return np.asarray(vector / np.linalg.norm(vector), np.float64)


def _extreme(T: FloatArray, vertices: NDArray[np.float32], choose: Callable[..., FloatArray]) -> FloatArray:
    """Least or greatest x of vertices moved by T [*, 4, 4], shape [*]."""
    return np.asarray(choose(T[..., None, 0, :3] @ vertices.T.astype(np.float64), axis=-1)[..., 0] + T[..., 0, 3])


def _vertices(link: Link) -> NDArray[np.float32]:
    """Corners of the visible surface in the link frame [m], shape [N, 3]."""
    surface = link_surface(link)
    return np.zeros((0, 3), np.float32) if surface is None else surface.corners.reshape(-1, 3)
