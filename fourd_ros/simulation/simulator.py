"""The running simulation: step it, command it, look at it."""

from collections.abc import Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidJoints, MissingCamera
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.simulation.cameras import CameraSpec, from_mujoco, pinhole
from fourd_ros.simulation.controller import JOINTS, InverseKinematics
from fourd_ros.simulation.model import FINGER_JOINT, GRIPPER_BODY, ROBOT_ROOT, SERVOS, build_model
from fourd_ros.simulation.rendering import ROBOT_ID, Image, Renderer
from fourd_ros.simulation.scene import SceneSpec, SceneState

FloatArray = NDArray[np.float64]

_MIMIC_FINGER = "panda_finger_joint2"


class Simulator:
    """One scene in motion; world is the robot's root link, times are seconds since the reset.

    Args:
        spec: the scene.
        width: columns of the pictures.
        height: rows of the pictures.
        shadows: cast shadows in the pictures.

    Attributes:
        spec: the scene.
        model: the MuJoCo model.
        data: its state.
        joint_names: actuated joints of the robot, as the URDF calls them.
        object_names: objects, then fixture bodies and moving parts; number k of the segmentation is k - 1 here.
    """

    def __init__(self, spec: SceneSpec, *, width: int = 128, height: int = 128, shadows: bool = True) -> None:
        self.width, self.height = width, height
        self._shadows = shadows
        self._renderer: Renderer | None = None
        self._load(spec)

    def _load(self, spec: SceneSpec) -> None:
        self.close()
        self.spec = spec
        self.model = build_model(spec)
        self.data = mujoco.MjData(self.model)
        self.joint_names = JOINTS
        self.object_names = tuple(
            [item.name for item in spec.objects]
            + [name for fixture in spec.fixtures for name in (fixture.name, fixture.moving_name)]
        )
        self._bodies = {name: self.model.body(name).id for name in self.object_names}
        self._cameras = {camera.name: camera for camera in spec.cameras}
        self._positions = np.array([self.model.joint(name).qposadr[0] for name in JOINTS])
        self._columns = np.array([self.model.joint(name).dofadr[0] for name in JOINTS])
        self._actuators = np.array([self.model.actuator(name).id for name in JOINTS])
        self._limits = np.array([self.model.joint(name).range for name in JOINTS])
        # A servo whose damping acts on the whole velocity lags; this much of the commanded one is added back.
        self._lead = np.array([SERVOS[name][1] / SERVOS[name][0] for name in JOINTS])
        self._settle()

    def _settle(self) -> None:
        start = np.array([self.spec.posture[name] for name in JOINTS])
        self.data.qpos[self._positions] = start
        self.data.qpos[self.model.joint(_MIMIC_FINGER).qposadr[0]] = self.spec.posture[FINGER_JOINT]
        for fixture in self.spec.fixtures:
            self.data.joint(fixture.joint_name).qpos[0] = fixture.opening
        self._commanded = start
        self.data.ctrl[self._actuators] = start
        mujoco.mj_forward(self.model, self.data)
        self._target_time = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the renderer back; stepping and looking again is allowed."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

    def reset(self, spec: SceneSpec | None = None) -> None:
        """Back to time zero, in the same scene or in another one; another posture alone costs no new model."""
        if spec is not None and replace(spec, posture=self.spec.posture) != self.spec:
            self._load(spec)
            return
        self.spec = spec or self.spec
        mujoco.mj_resetData(self.model, self.data)
        self._settle()

    @property
    def time(self) -> float:
        """Seconds since the reset; a multiple of what was asked for, not of the physics step."""
        return self._target_time

    def step(self, dt: float) -> None:
        """Let `dt` seconds pass."""
        self._target_time += dt
        steps = round((self._target_time - self.data.time) / self.model.opt.timestep)
        if steps > 0:
            mujoco.mj_step(self.model, self.data, steps)
            # mj_step leaves poses as they were one step before its positions.
            mujoco.mj_kinematics(self.model, self.data)
            mujoco.mj_camlight(self.model, self.data)

    def command(self, positions: Mapping[str, float], velocities: Mapping[str, float] | None = None) -> None:
        """Set the targets of the joint servos; joints that are not named keep theirs.

        Args:
            positions: commanded positions [rad | m]; those beyond the limits are held at the limit.
            velocities: of the set points [rad/s | m/s], which takes away the lag of the servos.

        Raises:
            InvalidJoints: a name is not an actuated joint, or a value is not finite.
        """
        unknown = set(positions) - set(JOINTS)
        if unknown:
            raise InvalidJoints(f"no actuated joints {sorted(unknown)}; there are {list(JOINTS)}")
        target = np.array([positions.get(name, now) for name, now in zip(JOINTS, self._commanded, strict=True)])
        rate = np.array([(velocities or {}).get(name, 0.0) for name in JOINTS])
        if not (np.isfinite(target).all() and np.isfinite(rate).all()):
            raise InvalidJoints(f"commands must be finite, got {dict(positions)}")
        self._commanded = np.clip(target, self._limits[:, 0], self._limits[:, 1])
        self.data.ctrl[self._actuators] = self._commanded + self._lead * rate

    def commanded_positions(self) -> dict[str, float]:
        """Targets of the servos by joint name [rad | m]."""
        return dict(zip(JOINTS, self._commanded.tolist(), strict=True))

    def joint_positions(self) -> dict[str, float]:
        """Measured positions by joint name [rad | m]."""
        return dict(zip(JOINTS, self.data.qpos[self._positions].tolist(), strict=True))

    def joint_velocities(self) -> dict[str, float]:
        """Measured velocities by joint name [rad/s | m/s]."""
        return dict(zip(JOINTS, self.data.qvel[self._columns].tolist(), strict=True))

    def joint_efforts(self) -> dict[str, float]:
        """Efforts of the servos by joint name [N m | N]."""
        return dict(zip(JOINTS, self.data.actuator_force[self._actuators].tolist(), strict=True))

    def object_poses(self) -> dict[str, FloatArray]:
        """``T_world_object`` of every object and fixture part by name, each [4, 4]."""
        return {name: self._pose(body) for name, body in self._bodies.items()}

    def state(self) -> SceneState:
        """Where everything is now."""
        return SceneState(
            objects=self.object_poses(),
            fixture_joints={
                fixture.joint_name: float(self.data.joint(fixture.joint_name).qpos[0]) for fixture in self.spec.fixtures
            },
            gripper=self._pose(self.model.body(GRIPPER_BODY).id),
        )

    def kinematics(self) -> InverseKinematics:
        """Inverse kinematics of the robot, biased to the posture of the start."""
        return InverseKinematics(self.model, self.spec.posture)

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of the scene."""
        return tuple(self._cameras)

    def camera_spec(self, name: str) -> CameraSpec:
        """Mount and opening angle of a camera.

        Raises:
            MissingCamera: the scene has no camera of that name.
        """
        if name not in self._cameras:
            raise MissingCamera(f"no camera '{name}' in the scene; there are {list(self._cameras)}")
        return self._cameras[name]

    def camera(self, name: str) -> PinholeCamera:
        """Calibration of a camera at the image size of this simulator."""
        return pinhole(self.camera_spec(name), width=self.width, height=self.height)

    def camera_pose(self, name: str) -> FloatArray:
        """``T_world_camera`` (optical frame) now, [4, 4]."""
        camera_id = self.model.camera(self.camera_spec(name).name).id
        return from_mujoco(self.data.cam_xpos[camera_id], self.data.cam_xmat[camera_id])

    def render(self, name: str) -> Image:
        """What a camera sees now; always call it from the same thread.

        Raises:
            MissingCamera: the scene has no camera of that name.
            MissingDependency: no OpenGL library is installed.
        """
        camera_id = self.model.camera(self.camera_spec(name).name).id
        if self._renderer is None:
            self._renderer = Renderer(
                self.model, part_ids=self._part_ids(), width=self.width, height=self.height, shadows=self._shadows
            )
        return self._renderer.render(self.data, camera_id)

    def _pose(self, body: int) -> FloatArray:
        pose = np.eye(4)
        pose[:3, :3] = self.data.xmat[body].reshape(3, 3)
        pose[:3, 3] = self.data.xpos[body]
        return pose

    def _part_ids(self) -> NDArray[np.uint8]:
        """Segmentation id of every body."""
        ids = np.zeros(self.model.nbody, np.uint8)
        root = self.model.body(ROBOT_ROOT).id
        ids[self.model.body_rootid == root] = ROBOT_ID
        for number, body in enumerate(self._bodies.values(), start=1):
            ids[body] = number
        return ids
