"""The video of a future whose motions are known: of the robot, and of what moves besides it."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import ndimage

from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import (
    FloatArray,
    Mask,
    ObjectMotion,
    RobotRendering,
    RobotTrajectory,
    Rollout,
    RolloutFlags,
    RolloutView,
    View,
)
from fourd_ros.robot.culling import box_corners
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.base import Question
from fourd_ros.world_model.caveats import caveats
from fourd_ros.world_model.compositing import STATIC_LABEL, Canvas
from fourd_ros.world_model.grasp import stop_at_held_object
from fourd_ros.world_model.scene import Scene

DEPTH_TOLERANCE = 0.005
"""The scene hides the robot where it is nearer by more than this [m]."""

STILL = 0.002
"""What moves by less stays as it was seen [m]."""

EDGE = 2
"""Pixels without depth this near to what goes away are taken for its edge and go with it [px]."""


class Future:
    """A scene while the robot moves.

    Args:
        robot: the robot.
        scene: what was observed.
        commanded: positions of all actuated joints [rad | m], shape [T, J].

    Attributes:
        positions: predicted: as commanded, but fingers do not close through what they hold, shape [T, J].
        link_poses: ``T_root_link`` at these positions, shape [T, 4, 4] each.
    """

    def __init__(self, robot: RobotModel, scene: Scene, commanded: FloatArray) -> None:
        self._robot, self._scene = robot, scene
        self._steps = len(commanded)
        self.positions = commanded
        if scene.holds_something:
            self.positions = stop_at_held_object(robot, scene.observation.joint_positions, commanded)
        self.link_poses = robot.kinematics.link_poses(self.positions)
        self._rendered: dict[str, RobotRendering] = {}

    def view(self, name: str, objects: Sequence[ObjectMotion]) -> RolloutView:
        """What one camera will see.

        Pixels of what stays are those of the observation. What moves leaves nothing known behind and is seen, from
        its observed sides, where it goes; the robot comes last, where nothing stands before it.

        Args:
            name: of the camera.
            objects: what moves; what is in none of them stays.
        """
        view = self._scene.observation.views[name]
        T_world_camera = self.camera_path(view)
        paint = self._seen_on_the_way if view.mounted_on else self._seen_at_rest
        canvas = paint(name, T_world_camera, objects)
        canvas.paint_robot(self.rendered_robot(name), tolerance=DEPTH_TOLERANCE)
        return RolloutView(
            camera=view.camera,
            T_world_camera=T_world_camera,
            rgb=canvas.rgb,
            points=canvas.points,
            sigma=canvas.sigma,
            robot_mask=canvas.robot,
            observed_mask=canvas.known,
            mounted_on=view.mounted_on,
            labels=canvas.labels,
        )

    def rendered_robot(self, name: str) -> RobotRendering:
        """The robot alone in every frame of a camera; made once, whatever else moves."""
        if name not in self._rendered:
            view = self._scene.observation.views[name]
            T_root_camera = invert(self._scene.observation.T_world_robot) @ self.camera_path(view)
            self._rendered[name] = self._robot.renderer.render(self.link_poses, view.camera, T_root_camera)
        return self._rendered[name]

    def camera_path(self, view: View) -> FloatArray:
        """Camera pose in the world at every step, shape [T, 4, 4]."""
        if not view.mounted_on:
            return np.repeat(view.T_world_camera[None], self._steps, axis=0)
        root = self._scene.observation.T_world_robot
        mount = self.link_poses[view.mounted_on] @ invert(self._scene.link_poses[view.mounted_on])
        return root @ mount @ invert(root) @ view.T_world_camera

    def _moving(self, item: ObjectMotion) -> Mask:
        """Steps at which an object is elsewhere than where it was observed, shape [T]."""
        views = self._scene.observation.views
        points = np.concatenate(
            [apply(view.T_world_camera, view.points[item.pixels[name]]) for name, view in views.items()]
        )
        if len(points) == 0:
            return np.zeros(self._steps, bool)
        corners = box_corners(points)
        displacement = np.linalg.norm(apply(item.motion, corners[None]) - corners, axis=-1)
        return np.asarray(displacement.max(axis=1) > STILL)

    def _seen_at_rest(self, name: str, T_world_camera: FloatArray, objects: Sequence[ObjectMotion]) -> Canvas:
        """What a camera that stands still sees besides the robot: its own picture, changed where something moved."""
        view = self._scene.observation.views[name]
        canvas = Canvas.still(self._steps, view.rgb, view.points)
        canvas.forget(self._scene.robot[name], steps=np.ones(self._steps, bool))
        moving = [self._moving(item) for item in objects]
        for item, steps in zip(objects, moving, strict=True):
            canvas.name(item.pixels[name], steps=~steps, label=item.label, sigma=item.sigma)
            canvas.forget(_with_edge(item.pixels[name], view), steps=steps)
        for item, steps in zip(objects, moving, strict=True):
            self._paint(canvas, item, view, T_world_camera, steps)
        return canvas

    def _seen_on_the_way(self, name: str, T_world_camera: FloatArray, objects: Sequence[ObjectMotion]) -> Canvas:
        """What a camera that moves sees besides the robot: what all cameras observed, from where it will be."""
        view, always = self._scene.observation.views[name], np.ones(self._steps, bool)
        canvas = Canvas.empty(self._steps, view.camera)
        static = self._scene.surface_without([item.pixels for item in objects])
        glimpses = static.look(view.camera, T_world_camera, steps=always)
        canvas.paint_scene(glimpses, label=STATIC_LABEL, sigma=np.zeros(self._steps))
        for item in objects:
            self._paint(canvas, item, view, T_world_camera, always)
        return canvas

    def _paint(self, canvas: Canvas, item: ObjectMotion, view: View, T_world_camera: FloatArray, steps: Mask) -> None:
        """Paint what moves where it is at `steps`, shape [T]."""
        if steps.any():
            surface = self._scene.surface_of(item.pixels)
            glimpses = surface.look(view.camera, invert(item.motion) @ T_world_camera, steps=steps)
            canvas.paint_scene(glimpses, label=item.label, sigma=item.sigma)


def make_rollout(
    question: Question,
    *,
    candidate: int,
    sample: int,
    positions: FloatArray,
    views: Mapping[str, RolloutView],
    objects: Sequence[ObjectMotion],
    backend: str,
    seconds: float,
    flags: RolloutFlags = RolloutFlags.NONE,
    trust: float = math.nan,
    model_sha256: str = "",
) -> Rollout:
    """The answer to one part of a question.

    Args:
        question: what was asked.
        candidate: index of the trajectory in the question.
        sample: index of the sample of that candidate.
        positions: predicted, of all actuated joints [rad | m], shape [T, J].
        views: what is imagined, by camera.
        objects: what moves besides the robot.
        backend: registry name of the model.
        seconds: wall time spent on it [s].
        flags: caveats of the model, beside those that hold for all models.
        trust: 0 to 1; NaN unknown.
        model_sha256: hash of its weights, empty where there are none.
    """
    commanded, observation = question.candidates[candidate], question.observation
    return Rollout(
        stamp_ns=observation.stamp_ns,
        frame=observation.frame,
        times=question.times,
        views=views,
        joints=RobotTrajectory(joint_names=commanded.joint_names, times=question.times, positions=positions),
        candidate=candidate,
        sample=sample,
        backend=backend,
        model_sha256=model_sha256,
        seed=question.seed + sample,
        trust=trust,
        flags=flags | caveats(question, commanded, views),
        compute_time=seconds,
        objects=tuple(objects),
        T_world_robot=observation.T_world_robot,
    )


def _with_edge(pixels: Mask, view: View) -> Mask:
    """Pixels of a thing with those beside it whose depth the sensor lost, shape [H, W]."""
    unknown = ~np.isfinite(view.points[..., 2])
    return np.asarray(pixels | ndimage.binary_dilation(pixels, iterations=EDGE) & unknown)
