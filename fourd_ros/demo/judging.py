"""Imagined futures beside what the bag shows later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fourd_ros.demo.recording import Recording
from fourd_ros.evaluation.futures import FutureScore, compare
from fourd_ros.evaluation.summary import Summary, summarise
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import Observation, RobotRendering, Rollout, View
from fourd_ros.robot.model import RobotModel


@dataclass(frozen=True, kw_only=True)
class JudgedView:
    """One imagined video and what its camera recorded.

    Args:
        rollout: the future it belongs to.
        view: camera name.
        recorded: frame at the start, then one for every imagined frame.
        score: their comparison.
    """

    rollout: Rollout
    view: str
    recorded: tuple[View, ...]
    score: FutureScore


def judge(recording: Recording, rollout: Rollout) -> tuple[JudgedView, ...]:
    """Compare every view of a rollout with the recording.

    Raises:
        InvalidBag: the recording does not reach as far as the rollout, or lacks a frame.
    """
    stamps = [rollout.stamp_ns, *(rollout.stamp_ns + round(float(time) * 1e9) for time in rollout.times)]
    observations = [recording.at(stamp) for stamp in stamps]
    holding = recording.holding(rollout.stamp_ns)
    judged = []
    for name, predicted in rollout.views.items():
        recorded = tuple(observation.views[name] for observation in observations)
        robot = render_measured(recording.robot, observations, name)
        score = compare(predicted, recorded, robot, times=rollout.times, holding=holding)
        judged.append(JudgedView(rollout=rollout, view=name, recorded=recorded, score=score))
    return tuple(judged)


def render_measured(robot: RobotModel, observations: Sequence[Observation], view: str) -> RobotRendering:
    """The robot at its measured joints in one camera, one frame for each observation."""
    kinematics = robot.kinematics
    positions = np.stack([kinematics.positions_from(observation.joint_positions) for observation in observations])
    T_root_camera = np.stack([invert(o.T_world_robot) @ o.views[view].T_world_camera for o in observations])
    return robot.renderer.render(kinematics.link_poses(positions), observations[0].views[view].camera, T_root_camera)


def summarise_models(judged: Sequence[JudgedView], *, start_ns: int) -> Mapping[str, Mapping[str, Summary]]:
    """Summaries by camera of every world model, in the order in which they were asked; arguments as below."""
    models = dict.fromkeys(item.rollout.backend for item in judged)
    return {
        model: summarise_views([item for item in judged if item.rollout.backend == model], start_ns=start_ns)
        for model in models
    }


def summarise_views(judged: Sequence[JudgedView], *, start_ns: int) -> Mapping[str, Summary]:
    """One summary over all instants for each camera.

    Args:
        judged: views of any instants, imagined by one model.
        start_ns: instants are named by the time since then.
    """
    names = dict.fromkeys(item.view for item in judged)
    return {
        name: summarise(
            {f"{(item.rollout.stamp_ns - start_ns) * 1e-9:.2f} s": item.score for item in judged if item.view == name},
            title=f"{name} camera",
        )
        for name in names
    }
