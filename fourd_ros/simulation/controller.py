"""From Cartesian waypoints to joint commands."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.records import RobotTrajectory
from fourd_ros.simulation.model import FINGER_JOINT, GRIPPER_BODY, SERVOS

FloatArray = NDArray[np.float64]

ARM_JOINTS = tuple(name for name in SERVOS if name != FINGER_JOINT)
JOINTS = (*ARM_JOINTS, FINGER_JOINT)
FINGER_OPEN, FINGER_CLOSED = 0.04, 0.0

# Nine tenths of what the robot description allows [rad/s | m/s].
SPEED_LIMITS = {
    **{f"panda_joint{index}": 1.95 for index in (1, 2, 3, 4)},
    **{f"panda_joint{index}": 2.34 for index in (5, 6, 7)},
    FINGER_JOINT: 0.18,
}

_DAMPING = 0.03
_POSTURE_GAIN = 0.05
_STEP_LIMIT = 0.25
_TURN_SPEED = 1.3


@dataclass(frozen=True, kw_only=True)
class Waypoint:
    """Where the point between the finger tips goes next, the fingers pointing down.

    Args:
        position: in the world [m], shape [3].
        yaw: direction in which the fingers close, angle from the world's y axis [rad].
        pitch: tilt of the hand about the axis in which the fingers close [rad].
        finger: position of each finger, 0 (closed) to 0.04 (open) [m].
        speed: mean speed of the point on the way [m/s].
        pause: time spent there before going on; fingers move during it, not on the way [s].
    """

    position: FloatArray
    yaw: float
    pitch: float = 0.0
    finger: float = FINGER_OPEN
    speed: float = 0.34
    pause: float = 0.0


def gripper_rotation(yaw: float, pitch: float) -> FloatArray:
    """Orientation of the hand, fingers down, shape [3, 3]; yaw 0 closes them along the world's y axis."""
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    turn = np.array([[cy, -sy, 0.0], [sy, cy, 0.0], [0.0, 0.0, 1.0]])
    tilt = np.array([[cp, 0.0, sp], [0.0, 1.0, 0.0], [-sp, 0.0, cp]])
    return np.asarray(turn @ tilt @ np.diag([1.0, -1.0, -1.0]))


def nearest_yaw(yaw: float, current: float) -> float:
    """`yaw` or its opposite: the gripper is symmetric, so the one that turns less from `current`."""
    return current + (yaw - current + np.pi / 2) % np.pi - np.pi / 2


class InverseKinematics:
    """Damped least squares on the Jacobian of the grasp point, biased to a posture in its null space.

    Source of the method: Buss, "Introduction to inverse kinematics with Jacobian transpose,
    pseudoinverse and damped least squares methods", 2004.
    """

    def __init__(self, model: mujoco.MjModel, posture: Mapping[str, float]) -> None:
        self._model = model
        self._data = mujoco.MjData(model)
        self._body = model.body(GRIPPER_BODY).id
        self._positions = np.array([model.joint(name).qposadr[0] for name in ARM_JOINTS])
        self._columns = np.array([model.joint(name).dofadr[0] for name in ARM_JOINTS])
        self._limits = np.array([model.joint(name).range for name in ARM_JOINTS])
        self._posture = np.array([posture[name] for name in ARM_JOINTS])
        self._jacobian = np.zeros((6, model.nv))

    def pose(self, joints: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Position [3] and rotation [3, 3] of the grasp point for arm positions [7]."""
        self._data.qpos[self._positions] = joints
        mujoco.mj_kinematics(self._model, self._data)
        return self._data.xpos[self._body].copy(), self._data.xmat[self._body].reshape(3, 3).copy()

    def solve(self, position: FloatArray, rotation: FloatArray, start: FloatArray, *, iterations: int) -> FloatArray:
        """Arm positions [7] within the limits that come nearest to the pose, from `start` on."""
        joints = start.copy()
        for _ in range(iterations):
            here, turned = self.pose(joints)
            error = np.concatenate([position - here, _rotation_vector(rotation @ turned.T)])
            if np.abs(error).max() < 1e-4:
                break
            step = self._step(joints, error)
            joints = np.clip(joints + step, self._limits[:, 0], self._limits[:, 1])
        return joints

    def _step(self, joints: FloatArray, error: FloatArray) -> FloatArray:
        mujoco.mj_comPos(self._model, self._data)
        mujoco.mj_jacBody(self._model, self._data, self._jacobian[:3], self._jacobian[3:], self._body)
        jacobian = self._jacobian[:, self._columns]
        damped = jacobian @ jacobian.T + _DAMPING**2 * np.eye(6)
        pull = _POSTURE_GAIN * (self._posture - joints)
        step = pull + jacobian.T @ np.linalg.solve(damped, error - jacobian @ pull)
        return np.asarray(step * min(1.0, _STEP_LIMIT / max(np.abs(step).max(), 1e-9)))


def _rotation_vector(rotation: FloatArray) -> FloatArray:
    quaternion, vector = np.zeros(4), np.zeros(3)
    mujoco.mju_mat2Quat(quaternion, rotation.reshape(9))
    mujoco.mju_quat2Vel(vector, quaternion, 1.0)
    return vector


def plan(
    kinematics: InverseKinematics,
    waypoints: Sequence[Waypoint],
    start: Mapping[str, float],
    *,
    rate: float = 20.0,
) -> RobotTrajectory:
    """The commanded motion through `waypoints`, each leg straight and without jerk at its ends.

    Args:
        kinematics: of the robot in its scene.
        waypoints: where to go, in order; there is at least one.
        start: commanded joint positions now [rad | m].
        rate: points a second [Hz].
    """
    joints = np.array([start[name] for name in ARM_JOINTS])
    finger = start[FINGER_JOINT]
    position, rotation = kinematics.pose(joints)
    yaw, pitch = float(np.arctan2(rotation[1, 0], rotation[0, 0])), 0.0
    rows = [np.append(joints, finger)]
    for target in waypoints:
        goal_yaw = nearest_yaw(target.yaw, yaw)
        for u in _minimum_jerk(_duration(target, position, goal_yaw - yaw, target.pitch - pitch), rate):
            rotation = gripper_rotation(yaw + u * (goal_yaw - yaw), pitch + u * (target.pitch - pitch))
            joints = kinematics.solve(position + u * (target.position - position), rotation, joints, iterations=8)
            rows.append(np.append(joints, finger))
        rows += [np.append(joints, target.finger)] * round(target.pause * rate)
        position, yaw, pitch, finger = target.position, goal_yaw, target.pitch, target.finger
    return _timed(np.array(rows), rate)


def _timed(positions: FloatArray, rate: float) -> RobotTrajectory:
    """The trajectory at `rate`, slower where a joint would exceed its speed limit."""
    limits = np.array([SPEED_LIMITS[name] for name in JOINTS])
    steps = np.maximum(1 / rate, (np.abs(np.diff(positions, axis=0)) / limits).max(axis=1))
    times = np.concatenate([[0.0], np.cumsum(steps)])
    return RobotTrajectory(joint_names=JOINTS, times=times, positions=positions)


def _duration(target: Waypoint, position: FloatArray, turn: float, tilt: float) -> float:
    travel = float(np.linalg.norm(target.position - position)) / target.speed
    return max(travel, abs(turn) / _TURN_SPEED, abs(tilt) / _TURN_SPEED)


def _minimum_jerk(duration: float, rate: float) -> FloatArray:
    """Fractions of the way, 0 exclusive to 1 inclusive; source: Flash & Hogan 1985."""
    u = np.arange(1, max(1, round(duration * rate)) + 1) / max(1, round(duration * rate))
    return np.asarray(u**3 * (10 - 15 * u + 6 * u**2))
