"""Rung 1: the robot moves as commanded, what the gripper holds moves with it, the rest stays."""

import time
from collections.abc import Iterator, Mapping

import numpy as np

from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, RobotTrajectory, Rollout, RolloutView, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import Checkpoint, Question, WorldModel
from fourd_ros.world_model.caveats import caveats
from fourd_ros.world_model.compositing import HELD_LABEL, Canvas
from fourd_ros.world_model.grasp import release_step, stop_at_held_object
from fourd_ros.world_model.scene import Scene, understand

LinkPoses = Mapping[str, FloatArray]

DEPTH_TOLERANCE = 0.005
"""The scene hides the robot where it is nearer by more than this [m]."""


class KinematicModel(WorldModel):
    """Static scene with the robot's own points removed, the commanded robot, and the object it holds.

    The hole behind the robot and behind a held object stays unknown in a camera that stands still. A camera on
    the robot sees the surfaces that all cameras observed, from where it will be.
    """

    backend = "kinematic"
    declared_cost = 0.15

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        """One rollout a candidate and sample; samples are equal, since nothing here is uncertain."""
        started = time.perf_counter()
        robot, observation = question.robot, question.observation
        scene = understand(robot, observation)
        checkpoint(0.1)
        count = len(question.candidates)
        for index, candidate in enumerate(question.candidates):
            future = _Future(robot, scene, candidate.at(question.times))
            views = {}
            for place, name in enumerate(question.views):
                views[name] = future.view(name)
                checkpoint(0.1 + 0.9 * (index + (place + 1) / len(question.views)) / count)
            seconds = time.perf_counter() - started
            for sample in range(question.num_samples):
                yield Rollout(
                    stamp_ns=observation.stamp_ns,
                    frame=observation.frame,
                    times=question.times,
                    views=views,
                    joints=RobotTrajectory(
                        joint_names=candidate.joint_names, times=question.times, positions=future.motion
                    ),
                    candidate=index,
                    sample=sample,
                    backend=self.backend,
                    seed=question.seed + sample,
                    flags=caveats(question, candidate, views),
                    compute_time=seconds,
                    T_world_robot=observation.T_world_robot,
                )
            started = time.perf_counter()


class _Future:
    """The scene while the robot moves.

    Args:
        robot: the robot.
        scene: what was observed.
        commanded: positions of all actuated joints [rad | m], shape [T, J].

    Attributes:
        motion: predicted positions: as commanded, but fingers do not close through what they hold, shape [T, J].
    """

    def __init__(self, robot: RobotModel, scene: Scene, commanded: FloatArray) -> None:
        self._robot, self._scene = robot, scene
        self._steps = len(commanded)
        released = self._steps
        self.motion = commanded
        if scene.holds_something:
            released = release_step(robot, scene.observation.joint_positions, commanded)
            self.motion = stop_at_held_object(robot, scene.observation.joint_positions, commanded)
        self._poses = robot.kinematics.link_poses(self.motion)
        self._carried = self._carry(released) if scene.holds_something else None

    def view(self, name: str) -> RolloutView:
        """What one camera will see."""
        view = self._scene.observation.views[name]
        T_world_camera = self._camera_path(view)
        canvas = self._static_canvas(name, view, T_world_camera)
        if self._carried is not None:
            held = self._scene.held_surface.render(view.camera, invert(self._carried) @ T_world_camera)
            canvas.paint_scene(held, label=HELD_LABEL)
        T_root_camera = invert(self._scene.observation.T_world_robot) @ T_world_camera
        canvas.paint_robot(
            self._robot.renderer.render(self._poses, view.camera, T_root_camera), tolerance=DEPTH_TOLERANCE
        )
        return RolloutView(
            camera=view.camera,
            T_world_camera=T_world_camera,
            rgb=canvas.rgb,
            points=canvas.points,
            sigma=canvas.points[..., 2] * np.float32(0),
            robot_mask=canvas.robot,
            observed_mask=canvas.known,
            mounted_on=view.mounted_on,
            labels=canvas.labels,
        )

    def _static_canvas(self, name: str, view: View, T_world_camera: FloatArray) -> Canvas:
        if not view.mounted_on:
            gone = self._scene.robot[name] | self._scene.held[name]
            return Canvas.still(self._steps, view.rgb, view.points, gone)
        return Canvas.seen(self._scene.static_surface.render(view.camera, T_world_camera))

    def _camera_path(self, view: View) -> FloatArray:
        """Camera pose in the world at every step, shape [T, 4, 4]."""
        if not view.mounted_on:
            return np.repeat(view.T_world_camera[None], self._steps, axis=0)
        return self._motion_of(view.mounted_on) @ view.T_world_camera

    def _motion_of(self, link: str) -> FloatArray:
        """How a link moves what is fixed to it, in the world, shape [T, 4, 4]."""
        root = self._scene.observation.T_world_robot
        return root @ self._poses[link] @ invert(root @ self._scene.link_poses[link])

    def _carry(self, released: int) -> FloatArray:
        """Motion of the held object in the world; it stays where it is let go, shape [T, 4, 4]."""
        gripper = self._robot.gripper
        assert gripper is not None
        carried = self._motion_of(gripper.carrier)
        if released < self._steps:
            carried[released:] = carried[released - 1] if released else np.eye(4)
        return carried
