"""Where an object stands: between the fixed frame of a robot and the space that the network knows objects in."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError
from scipy.spatial.transform import Rotation

from fourd_ros.data.partdrag4d_cameras import FloatArray, normalise_points, to_world
from fourd_ros.part_dynamics.gaussians import POSITION, ROTATION, SCALE, Gaussians
from fourd_ros.part_dynamics.joint_fit import Joint, JointType

ANGLES = 90
"""Boxes around an object are tried in so many directions over a quarter turn."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectFrame:
    """A similarity. In the space of objects z is up, the front is at +x, and the object fits into the unit sphere.

    Args:
        centre: middle of the object in the fixed frame [m], shape [3].
        yaw: direction of its front in the fixed frame [rad].
        scale: half of its diagonal [m].
    """

    centre: FloatArray
    yaw: float
    scale: float

    @classmethod
    def of_region(cls, region: tuple[float, ...], eye: NDArray[np.floating]) -> "ObjectFrame":
        """Of a box: least x, y, z and largest x, y, z in the fixed frame [m]; its front faces the eye."""
        low, high = np.array(region[:3]), np.array(region[3:])
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        return cls.around(low + corners * (high - low), eye)

    @classmethod
    def around(cls, points: NDArray[np.floating], eye: NDArray[np.floating]) -> "ObjectFrame":
        """Of the smallest upright box around points; its front is the side that faces the eye.

        Args:
            points: on the object in the fixed frame, whose z axis points up [m], shape [N, 3], N >= 3.
            eye: where it is seen from [m], shape [3].
        """
        floor = np.asarray(points, np.float64)[:, :2]
        angle = _tightest(floor)
        towards = np.asarray(eye, np.float64)[:2] - floor.mean(axis=0)
        turns = np.round((np.arctan2(towards[1], towards[0]) - angle) / (np.pi / 2))
        yaw = float(angle + turns * np.pi / 2)
        local = np.asarray(points, np.float64) @ _turn(yaw)
        low, high = local.min(axis=0), local.max(axis=0)
        centre = _turn(yaw) @ ((low + high) / 2)
        return cls(centre=centre, yaw=yaw, scale=float(np.linalg.norm(high - low) / 2))

    def to_object(self, points: NDArray[np.floating]) -> FloatArray:
        """Points of the fixed frame in the space of objects, shape [*, 3]."""
        return np.asarray((points - self.centre) @ _turn(self.yaw) / self.scale)

    def from_object(self, points: NDArray[np.floating]) -> FloatArray:
        """Points of the space of objects in the fixed frame, shape [*, 3]."""
        return np.asarray(self.scale * np.asarray(points, np.float64) @ _turn(self.yaw).T + self.centre)

    def raw_pose(self, T_fixed_camera: FloatArray) -> FloatArray:
        """A camera (optical axes) of the fixed frame as a raw pose (see `partdrag4d_cameras`), shape [4, 4]."""
        pose = np.eye(4)
        pose[:3, :3] = _turn(self.yaw).T @ T_fixed_camera[:3, :3]
        pose[:3, 3] = to_world(self.to_object(T_fixed_camera[:3, 3]))
        return pose

    def network_to_fixed(self, raw_first: FloatArray) -> FloatArray:
        """The similarity from the world of the network, which hangs on its first view, to the fixed frame.

        Args:
            raw_first: raw pose of that view, shape [4, 4].

        Returns:
            Shape [4, 4].
        """
        corners = normalise_points(np.concatenate([np.zeros((1, 3)), np.eye(3)]), raw_first).astype(np.float64)
        object_to_network, object_to_fixed = np.eye(4), np.eye(4)
        object_to_network[:3, :3], object_to_network[:3, 3] = (corners[1:] - corners[0]).T, corners[0]
        object_to_fixed[:3, :3], object_to_fixed[:3, 3] = self.scale * _turn(self.yaw), self.centre
        return np.asarray(object_to_fixed @ np.linalg.inv(object_to_network))


def carried(gaussians: Gaussians, similarity: FloatArray) -> Gaussians:
    """Gaussians in another frame.

    Args:
        gaussians: in the one.
        similarity: from the one to the other: a rotation times a scale, and a shift, shape [4, 4].
    """
    scale, turn = _taken_apart(similarity)
    values = np.array(gaussians.values)
    values[:, POSITION] = gaussians.positions @ (scale * turn).T + similarity[:3, 3]
    values[:, SCALE] *= scale
    values[:, ROTATION] = _product(_quaternion(turn), gaussians.rotations)
    return Gaussians(values=values)


def carried_joint(joint: Joint, similarity: FloatArray) -> Joint:
    """A joint in another frame; arguments as of `carried`."""
    scale, turn = _taken_apart(similarity)
    slides = joint.kind is not JointType.REVOLUTE
    return Joint(
        kind=joint.kind,
        origin=scale * turn @ joint.origin + similarity[:3, 3],
        axis=turn @ joint.axis,
        amount=joint.amount * (scale if slides else 1.0),
        residual=joint.residual * scale,
        confidence=joint.confidence,
    )


def _taken_apart(similarity: FloatArray) -> tuple[float, FloatArray]:
    scale = float(np.cbrt(np.linalg.det(similarity[:3, :3])))
    return scale, similarity[:3, :3] / scale


def _quaternion(turn: FloatArray) -> FloatArray:
    return np.asarray(np.roll(Rotation.from_matrix(turn).as_quat(), 1))


def _product(first: FloatArray, second: NDArray[np.floating]) -> FloatArray:
    """Of a quaternion (w, x, y, z) with many, shape [N, 4]."""
    w, v = first[0], first[1:]
    scalar, vector = second[:, :1], second[:, 1:]
    return np.concatenate([w * scalar - vector @ v[:, None], w * vector + scalar * v + np.cross(v, vector)], axis=1)


def _turn(yaw: float) -> FloatArray:
    """Rotation about z, shape [3, 3]."""
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _tightest(floor: FloatArray) -> float:
    """Direction of the rectangle of least area around points [N, 2], within a quarter turn [rad]."""
    try:
        rim = floor[ConvexHull(floor).vertices]
    except QhullError:  # all in one line
        rim = floor
    angles = np.arange(ANGLES) * (np.pi / 2 / ANGLES)
    axes = np.stack([np.cos(angles), np.sin(angles)])
    across = np.stack([-axes[1], axes[0]])
    area = np.ptp(rim @ axes, axis=0) * np.ptp(rim @ across, axis=0)
    return float(angles[np.argmin(area)])
