"""Rung 1: the robot moves as commanded, what the gripper holds moves with it, the rest stays."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from fourd_ros.geometry.transforms import invert
from fourd_ros.records import FloatArray, Mask, Observation, Pixels, Points, RobotTrajectory, Rollout, RolloutView, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.segmentation import robot_pixels
from fourd_ros.world_model.base import Checkpoint, Question, WorldModel
from fourd_ros.world_model.caveats import caveats
from fourd_ros.world_model.compositing import HELD_LABEL, STATIC_LABEL, Canvas, move, pixel_spacing
from fourd_ros.world_model.grasp import Grasp, find_grasp, release_step

LinkPoses = dict[str, FloatArray]

ROBOT_MARGIN = 0.02
"""Observed depth this near to the rendered robot is the robot [m]."""

DEPTH_TOLERANCE = 0.005
"""The scene hides the robot where it is nearer by more than this [m]."""


@dataclass(frozen=True, kw_only=True)
class _Scene:
    """The observation without the robot, as loose world points and as images with holes.

    ``slices`` says which of the loose points come from which view.
    """

    points: Points
    colours: Pixels
    spacing: Points
    slices: dict[str, slice]
    robot: dict[str, Mask]
    grasp: Grasp | None


class KinematicModel(WorldModel):
    """Static scene with the robot's own points removed, the commanded robot, and the object it holds.

    The hole behind the robot and behind a held object stays unknown in a camera that stands still. A camera on
    the robot sees the points of all cameras, painted from where it will be.
    """

    backend = "kinematic"
    declared_cost = 0.15

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        """One rollout a candidate and sample; samples are equal, since nothing here is uncertain."""
        started = time.perf_counter()
        robot, observation = question.robot, question.observation
        now = robot.kinematics.link_poses(robot.kinematics.positions_from(observation.joint_positions))
        scene = _understand(robot, observation, now)
        checkpoint(0.1)
        count = len(question.candidates)
        for index, candidate in enumerate(question.candidates):
            motion = candidate.at(question.times)
            poses = robot.kinematics.link_poses(motion)
            released = release_step(robot, observation.joint_positions, motion) if scene.grasp else 0
            views = {}
            for place, name in enumerate(question.views):
                views[name] = _imagine_view(robot, observation, name, scene, now, poses, released)
                checkpoint(0.1 + 0.9 * (index + (place + 1) / len(question.views)) / count)
            seconds = time.perf_counter() - started
            for sample in range(question.num_samples):
                yield Rollout(
                    stamp_ns=observation.stamp_ns,
                    frame=observation.frame,
                    times=question.times,
                    views=views,
                    joints=RobotTrajectory(joint_names=candidate.joint_names, times=question.times, positions=motion),
                    candidate=index,
                    sample=sample,
                    backend=self.backend,
                    seed=question.seed + sample,
                    flags=caveats(question, candidate, views),
                    compute_time=seconds,
                    T_world_robot=observation.T_world_robot,
                )
            started = time.perf_counter()


def _understand(robot: RobotModel, observation: Observation, now: LinkPoses) -> _Scene:
    """Take the robot out of every view, and find what it holds."""
    own: dict[str, Mask] = {}
    slices: dict[str, slice] = {}
    points, colours, spacing, end = [], [], [], 0
    for name, view in observation.views.items():
        T_root_camera = invert(observation.T_world_robot) @ view.T_world_camera
        rendering = robot.renderer.render(
            {link: pose[None] for link, pose in now.items()}, view.camera, T_root_camera[None], colour=False
        )
        own[name] = robot_pixels(view.points, rendering.points[0], rendering.mask[0], margin=ROBOT_MARGIN)
        seen = ~own[name] & np.isfinite(view.points[..., 2])
        points.append(move(view.T_world_camera, view.points[seen]))
        colours.append(view.rgb[seen])
        spacing.append(pixel_spacing(view.points[seen], view.camera))
        slices[name] = slice(end, end + len(points[-1]))
        end = slices[name].stop
    cloud = np.concatenate(points)
    in_root = move(invert(observation.T_world_robot), cloud)
    return _Scene(
        points=cloud,
        colours=np.concatenate(colours),
        spacing=np.concatenate(spacing),
        slices=slices,
        robot=own,
        grasp=find_grasp(robot, observation.joint_positions, in_root) if len(cloud) else None,
    )


def _imagine_view(
    robot: RobotModel,
    observation: Observation,
    name: str,
    scene: _Scene,
    now: LinkPoses,
    poses: LinkPoses,
    released: int,
) -> RolloutView:
    view = observation.views[name]
    T_world_camera = _camera_path(observation, view, now, poses)
    if view.mounted_on:
        canvas = _paint_static_points(view, T_world_camera, scene)
    else:
        canvas = _still_canvas(view, name, scene, len(T_world_camera))
    if scene.grasp is not None:
        carried = _carried(observation, scene.grasp, now, poses, released)
        _paint_held(canvas, view, T_world_camera, scene, scene.grasp, carried)
    rendering = robot.renderer.render(poses, view.camera, invert(observation.T_world_robot) @ T_world_camera)
    canvas.paint_robot(rendering, tolerance=DEPTH_TOLERANCE)
    return RolloutView(
        camera=view.camera,
        T_world_camera=T_world_camera,
        rgb=canvas.rgb,
        points=canvas.points,
        sigma=np.where(np.isnan(canvas.points[..., 2]), np.float32(np.nan), np.float32(0)),
        robot_mask=canvas.robot,
        observed_mask=canvas.known,
        mounted_on=view.mounted_on,
        labels=canvas.labels,
    )


def _camera_path(observation: Observation, view: View, now: LinkPoses, poses: LinkPoses) -> FloatArray:
    """Camera pose in the world at every step, shape [T, 4, 4]."""
    steps = len(next(iter(poses.values())))
    if not view.mounted_on:
        return np.repeat(view.T_world_camera[None], steps, axis=0)
    T_world_link = observation.T_world_robot @ now[view.mounted_on]
    T_link_camera = invert(T_world_link) @ view.T_world_camera
    return observation.T_world_robot @ poses[view.mounted_on] @ T_link_camera


def _still_canvas(view: View, name: str, scene: _Scene, steps: int) -> Canvas:
    gone = scene.robot[name].copy()
    if scene.grasp is not None:
        seen = ~scene.robot[name] & np.isfinite(view.points[..., 2])
        gone[seen] = scene.grasp.member[scene.slices[name]]
    return Canvas.still(steps, view.rgb, view.points, gone)


def _paint_static_points(view: View, T_world_camera: FloatArray, scene: _Scene) -> Canvas:
    canvas = Canvas.empty(len(T_world_camera), view.camera)
    stays = slice(None) if scene.grasp is None else ~scene.grasp.member
    points, colours, spacing = scene.points[stays], scene.colours[stays], scene.spacing[stays]
    for step, pose in enumerate(T_world_camera):
        canvas.paint_points(step, move(invert(pose), points), colours, spacing, view.camera, label=STATIC_LABEL)
    return canvas


def _carried(observation: Observation, grasp: Grasp, now: LinkPoses, poses: LinkPoses, released: int) -> FloatArray:
    """Motion of the held object in the world at every step; it stays where it was let go, shape [T, 4, 4]."""
    root = observation.T_world_robot
    motion = root @ poses[grasp.carrier] @ invert(root @ now[grasp.carrier])
    if released < len(motion):
        motion[released:] = motion[released - 1] if released else np.eye(4)
    return motion


def _paint_held(
    canvas: Canvas, view: View, T_world_camera: FloatArray, scene: _Scene, grasp: Grasp, carried: FloatArray
) -> None:
    points = scene.points[grasp.member]
    colours, spacing = scene.colours[grasp.member], scene.spacing[grasp.member]
    for step, (pose, motion) in enumerate(zip(T_world_camera, carried, strict=True)):
        canvas.paint_points(step, move(invert(pose) @ motion, points), colours, spacing, view.camera, label=HELD_LABEL)
