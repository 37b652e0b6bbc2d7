"""The page of the demo: from judged rollouts to what the viewer draws."""

from collections.abc import Mapping, Sequence

import numpy as np

from fourd_ros.bridge.rollouts import FrameContents
from fourd_ros.demo.candidates import Motion
from fourd_ros.demo.imagining import Answer
from fourd_ros.demo.judging import JudgedView
from fourd_ros.demo.reach import tool_pose
from fourd_ros.evaluation.findings import findings
from fourd_ros.evaluation.metric import Verdict
from fourd_ros.evaluation.statistics import Interval
from fourd_ros.evaluation.summary import Summary
from fourd_ros.geometry.transforms import apply
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import FloatArray, Points, Rollout
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.surfaces import Surface, link_surface
from fourd_ros.viewer.content import (
    Candidate,
    Clip,
    Cloud,
    Curve,
    Imagined,
    LinkMesh,
    ModelFindings,
    Plot,
)

PLOTTED = ("depth_robot", "depth_static", "depth_free", "depth_held", "robot_iou", "psnr")
"""Metrics with a plot, in reading order."""

MAX_POINTS = 5000
"""Points of one cloud of the 3D view."""

VOXEL = 0.006
"""Finest point spacing of the 3D view [m]."""

ARENA = 1.3
"""The 3D view leaves out what is further from the robot's root than this [m]."""


def make_clips(judged: Sequence[JudgedView], *, start_ns: int) -> tuple[Clip, ...]:
    """The loop of every instant and camera; its caption is the time since `start_ns`.

    Args:
        judged: by every model, quickest first.
        start_ns: first instant of the recording [ns].
    """
    together: dict[tuple[int, str], list[JudgedView]] = {}
    for item in judged:
        together.setdefault((item.rollout.stamp_ns, item.view), []).append(item)
    return tuple(_clip(items, start_ns) for _, items in sorted(together.items()))


def _clip(models: Sequence[JudgedView], start_ns: int) -> Clip:
    """One instant of one camera, judged for every model."""
    some = models[0]
    later = some.recorded[1:]
    return Clip(
        instant=f"{(some.rollout.stamp_ns - start_ns) * 1e-9:.1f} s",
        view=some.view,
        times=some.rollout.times,
        recorded=np.stack([view.rgb for view in later]),
        imagined=tuple(_imagined(item, np.stack([view.points[..., 2] for view in later])) for item in models),
    )


def _imagined(judged: JudgedView, truth: Points) -> Imagined:
    predicted = judged.rollout.views[judged.view]
    return Imagined(
        model=judged.rollout.backend,
        rgb=predicted.rgb,
        known=np.isfinite(predicted.points[..., 2]),
        depth_error=np.abs(predicted.points[..., 2] - truth),
    )


def make_findings(
    models: Mapping[str, Mapping[str, Summary]], answers: Mapping[str, Sequence[Answer]]
) -> tuple[ModelFindings, ...]:
    """What every model found and missed, and what its answers cost."""
    found = {model: findings(summaries) for model, summaries in models.items()}
    return tuple(
        ModelFindings(model=model, remark=_remark(answers[model]), found=good, missed=bad)
        for model, (good, bad) in found.items()
    )


def _remark(answers: Sequence[Answer]) -> str:
    rollouts = [answer.rollout for answer in answers]
    milliseconds = 1000 * float(np.median([rollout.compute_time for rollout in rollouts]))
    cost = f"{milliseconds:.0f} ms for {rollouts[0].times[-1]:.1f} s of {len(rollouts[0].views)} cameras"
    trust = [rollout.trust for rollout in rollouts if np.isfinite(rollout.trust)]
    if not trust:
        return f"{cost}; it does not say how far it can be trusted"
    return f"{cost}; its trust in them: {min(trust):.2f} to {max(trust):.2f}, median {np.median(trust):.2f}"


def make_plots(models: Mapping[str, Mapping[str, Summary]]) -> tuple[Plot, ...]:
    """One plot for each camera and metric of `PLOTTED` that the camera saw; the best model is the last one."""
    views = next(iter(models.values()))
    plots = (
        _plot(view, {model: summaries[view] for model, summaries in models.items()}, name)
        for view in views
        for name in PLOTTED
    )
    return tuple(plot for plot in plots if plot is not None)


def _plot(view: str, models: Mapping[str, Summary], name: str) -> Plot | None:
    metrics = {model: summary.metrics[name] for model, summary in models.items()}
    best = next(reversed(metrics.values()))
    if all(metric.verdict is Verdict.NOTHING for metric in metrics.values()):
        return None
    scale = best.metric.scale
    return Plot(
        view=view,
        title=best.metric.title,
        unit=best.metric.unit,
        times=next(iter(models.values())).times,
        predictions=tuple(Curve(name=model, values=_scaled(m.prediction, scale)) for model, m in metrics.items()),
        baseline=Curve(name="first frame", values=_scaled(best.first_frame, scale)),
        verdict=best.verdict.value,
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
        model=rollout.backend,
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
