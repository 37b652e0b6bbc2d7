"""The page of the demo: from judged rollouts to what the viewer draws."""

from collections.abc import Mapping, Sequence

import numpy as np

from fourd_ros.bridge.rollouts import FrameContents
from fourd_ros.demo.candidates import Motion
from fourd_ros.demo.judging import JudgedView
from fourd_ros.demo.reach import tool_pose
from fourd_ros.evaluation.metric import Verdict
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.evaluation.summary import MetricSummary, Summary
from fourd_ros.geometry.transforms import apply
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import FloatArray, Rollout
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.surfaces import Surface, link_surface
from fourd_ros.viewer.content import (
    Candidate,
    Clip,
    Cloud,
    Curve,
    LinkMesh,
    Plot,
)

PLOTTED = ("depth_robot", "depth_static", "depth_free", "depth_held", "robot_iou", "psnr")
"""Metrics with a plot, in reading order."""

MAX_POINTS = 9000
"""Points of one cloud of the 3D view."""

VOXEL = 0.006
"""Finest point spacing of the 3D view [m]."""

ARENA = 1.3
"""The 3D view leaves out what is further from the robot's root than this [m]."""


def make_clip(judged: JudgedView, *, start_ns: int) -> Clip:
    """The loop of one judged view; its caption is the time since `start_ns`."""
    predicted = judged.rollout.views[judged.view]
    later = judged.recorded[1:]
    truth = np.stack([view.points[..., 2] for view in later])
    return Clip(
        instant=f"{(judged.rollout.stamp_ns - start_ns) * 1e-9:.1f} s",
        view=judged.view,
        times=judged.rollout.times,
        recorded=np.stack([view.rgb for view in later]),
        imagined=predicted.rgb,
        known=np.isfinite(predicted.points[..., 2]),
        depth_error=np.abs(predicted.points[..., 2] - truth),
    )


def make_plots(summaries: Mapping[str, Summary]) -> tuple[Plot, ...]:
    """One plot for each camera and metric of `PLOTTED` that the camera saw."""
    return tuple(
        _plot(view, summary, summary.metrics[name])
        for view, summary in summaries.items()
        for name in PLOTTED
        if summary.metrics[name].verdict is not Verdict.NOTHING
    )


def _plot(view: str, summary: Summary, metric: MetricSummary) -> Plot:
    scale = metric.metric.scale
    return Plot(
        view=view,
        title=metric.metric.title,
        unit=metric.metric.unit,
        times=summary.times,
        prediction=Curve(name="imagined", values=_scaled(metric.prediction, scale)),
        baseline=Curve(name="first frame", values=_scaled(metric.first_frame, scale)),
        verdict=metric.verdict.value,
    )


def _scaled(values: Interval, scale: float) -> Interval:
    return Interval(
        estimate=scale * values.estimate, low=scale * values.low, high=scale * values.high, count=values.count
    )


def make_candidate(robot: RobotModel, motion: Motion, rollout: Rollout, frames: Sequence[FrameContents]) -> Candidate:
    """One imagined future for the 3D view.

    Args:
        robot: whose links are drawn.
        motion: what was commanded.
        rollout: what was imagined for it.
        frames: its frames as they came from the node.
    """
    clouds = [_cloud([frame for frame in frames if frame.index == index]) for index in range(len(rollout.times))]
    positions = _all_joints(robot, rollout)
    poses = robot.kinematics.link_poses(positions)
    placed = np.stack([rollout.T_world_robot @ poses[mesh.link] for mesh in robot_meshes(robot)], axis=1)
    return Candidate(
        name=motion.name,
        description=motion.description,
        times=rollout.times,
        clouds=clouds,
        link_poses=placed,
        path=apply(rollout.T_world_robot, motion.path).astype(np.float64),
        stops=(rollout.T_world_robot @ tool_pose(robot, positions))[:, :3, 3],
    )


def _all_joints(robot: RobotModel, rollout: Rollout) -> FloatArray:
    """Imagined positions in the order of the kinematics, shape [T, J]."""
    columns = [rollout.joints.joint_names.index(name) for name in robot.kinematics.joint_names]
    return rollout.joints.positions[:, columns]


def _cloud(frames: Sequence[FrameContents]) -> Cloud:
    """The points of all cameras at one time, thinned."""
    clouds = [frame.cloud for frame in frames if frame.cloud is not None]
    parts = {name: np.concatenate([cloud[name] for cloud in clouds]) for name in ("points", "rgb", "sigma", "label")}
    near = np.flatnonzero(np.linalg.norm(parts["points"], axis=1) < ARENA)
    chosen = near[reduce(parts["points"][near], max_points=MAX_POINTS, voxel_size=VOXEL)]
    return Cloud(
        points=parts["points"][chosen],
        rgb=parts["rgb"][chosen],
        sigma=parts["sigma"][chosen],
        label=parts["label"][chosen],
    )


def robot_meshes(robot: RobotModel) -> tuple[LinkMesh, ...]:
    """The visible shape of every link that has one."""
    surfaces = {link.name: link_surface(link) for link in robot.description.links}
    return tuple(
        LinkMesh(link=name, triangles=surface.corners, colour=_mean_colour(surface))
        for name, surface in surfaces.items()
        if surface is not None
    )


def _mean_colour(surface: Surface) -> tuple[float, float, float]:
    red, green, blue = surface.colours.mean(axis=0).tolist()
    return red, green, blue
