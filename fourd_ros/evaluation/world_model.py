"""How well world models foresee simulated episodes: every method on the same pixels and objects."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import Episode
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.perceptual import LPIPS
from fourd_ros.evaluation.tabletop_objects import (
    ObjectScore,
    coverage,
    false_motion,
    found_all,
    object_scores,
)
from fourd_ros.evaluation.tabletop_pixels import (
    Frames,
    copied_frames,
    imagined_frames,
    mean_over,
    pixel_scores,
    xyz_distances,
)
from fourd_ros.evaluation.tabletop_truth import Truth
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.records import Mask, Observation, RobotTrajectory, Rollout, RolloutFlags, View
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.world_model.base import Question, WorldModel

FloatArray = NDArray[np.float64]

COPY, CONTROL = "copy first frame", "kinematic"
"""The methods that learn nothing; `CONTROL` is also a backend, whose robot says which pixels do not count."""

TIED = 1e-6
"""Two errors that differ by less than this share are equal: neither trajectory is preferred."""

RIGHT_PREFERRED = Metric(
    name="right_preferred",
    title="the right trajectory scores better than a shuffled one",
    unit="%",
    scale=100.0,
    higher_is_better=True,
    average="share",
    source="share of the episodes in which either trajectory moves an object where the XYZ error against what happened "
    f"is less for the frames imagined from the right trajectory; equal errors count half ({TIED:g} relative)",
)
LPIPS_ALL = replace(LPIPS, source=f"{LPIPS.source}; the robot's pixels are equal in both; middle and last frame")


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """Another motion from the same start.

    Args:
        trajectory: commanded.
        moves_something: whether the simulator moves an object when it is carried out.
    """

    trajectory: RobotTrajectory
    moves_something: bool


@dataclass(frozen=True, kw_only=True)
class MethodScores:
    """One method in one episode.

    Args:
        values: metrics by name, NaN unknown.
        objects: every object that the first frame shows.
        trust: of the rollout, NaN unknown.
        found_all: 1 where every object ends where it should, else 0, NaN without objects.
        warned: the rollout carries flags.
    """

    values: Mapping[str, float]
    objects: tuple[ObjectScore, ...]
    trust: float = float("nan")
    found_all: float = float("nan")
    warned: bool = False


@dataclass(frozen=True, kw_only=True)
class EpisodeScores:
    """All methods in one episode.

    Args:
        name: of the episode.
        seed: of its scene.
        task: what was meant to happen.
        methods: by name, `COPY` and `CONTROL` first.
        cases: how each object that moved came to move, by its name.
    """

    name: str
    seed: int
    task: str
    methods: Mapping[str, MethodScores]
    cases: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class Imagined:
    """The future of one method.

    Args:
        rollout: of the right trajectory.
        robot: its robot's pixels, shape [T, H, W].
        frames: its frames without holes.
        other_robot: of the alternative; of the right trajectory where there is none.
        other_frames: likewise.
    """

    rollout: Rollout
    robot: Mask
    frames: Frames
    other_robot: Mask
    other_frames: Frames


@cache
def simulated_robot() -> RobotModel:
    """The robot of all tabletop episodes."""
    return RobotModel(panda_description())


def judge(
    episode: Episode,
    commanded: RobotTrajectory,
    models: Mapping[str, WorldModel],
    *,
    depth: NDArray[np.float32] | None = None,
    alternative: Alternative | None = None,
    with_lpips: bool = True,
) -> EpisodeScores:
    """Let every model imagine an episode and compare with what happened.

    Args:
        episode: of one camera that stands still, with exact depth and segmentation.
        commanded: the motion that is imagined.
        models: by the name of the method; `CONTROL` must be among them.
        depth: of the first frame as the models see it [m], shape [H, W]; None for the exact one.
        alternative: judged against it where it is given.
        with_lpips: compute LPIPS too, which needs torch and takes most of the time.
    """
    truth = Truth(episode)
    start = first_view(truth, depth)
    other = alternative.trajectory if alternative else None
    imagined = {name: imagine(model, truth, start, commanded, other) for name, model in models.items()}
    robot = truth.robot[1:] | imagined[CONTROL].robot
    contenders: dict[str, tuple[Frames, Rollout | None]] = {COPY: (copied_frames(start, len(robot)), None)}
    contenders |= {name: (item.frames, item.rollout) for name, item in imagined.items()}
    methods = {}
    for name, (frames, rollout) in contenders.items():
        values = pixel_scores(frames, truth, robot)
        if with_lpips:
            values[LPIPS_ALL.name] = _lpips(frames, truth, robot)
        methods[name] = _method_scores(values, rollout, truth)
    if alternative and (truth.moved.any() or alternative.moves_something):
        compared = robot | imagined[CONTROL].other_robot
        for name, item in imagined.items():
            preferred = {RIGHT_PREFERRED.name: _right_preferred(item, truth, compared)}
            methods[name] = replace(methods[name], values={**methods[name].values, **preferred})
    return EpisodeScores(name=episode.name, seed=episode.seed or 0, task="+".join(episode.tasks), methods=methods)


def first_view(truth: Truth, depth: NDArray[np.float32] | None) -> View:
    """What the models see: the first frame, with its exact depth or another one [m], shape [H, W]."""
    view = truth.view
    points = truth.points[0] if depth is None else points_from_depth(depth, view.camera)
    return View(camera=view.camera, T_world_camera=view.T_world_camera[0], rgb=view.rgb[0], points=points)


def question_about(truth: Truth, start: View, *commanded: RobotTrajectory) -> Question:
    """What happens after the first frame, seen as `start`, by each of the commanded motions?"""
    episode = truth.episode
    return Question(
        robot=simulated_robot(),
        observation=Observation(
            stamp_ns=episode.start_ns,
            frame=simulated_robot().kinematics.root,
            views={truth.view_name: start},
            joint_positions=dict(zip(episode.joint_names, episode.measured[0].tolist(), strict=True)),
        ),
        candidates=commanded,
        times=episode.times[1:],
        views=(truth.view_name,),
    )


def imagine(
    model: WorldModel, truth: Truth, start: View, commanded: RobotTrajectory, other: RobotTrajectory | None = None
) -> Imagined:
    """What a model says will happen, by the commanded motion and by another one."""
    question = question_about(truth, start, *([commanded] if other is None else [commanded, other]))
    rollouts = list(model.imagine(question, checkpoint=lambda _: None))
    views = [rollout.views[truth.view_name] for rollout in rollouts]
    frames = [imagined_frames(view) for view in views]
    return Imagined(
        rollout=rollouts[0],
        robot=views[0].robot_mask,
        frames=frames[0],
        other_robot=views[-1].robot_mask,
        other_frames=frames[-1],
    )


def _method_scores(values: Mapping[str, float], rollout: Rollout | None, truth: Truth) -> MethodScores:
    """The scores of a method of which `values` of its pixels are known; None for one that moves nothing."""
    things = rollout.objects if rollout else ()
    objects = object_scores(things, truth)
    return MethodScores(
        values={**values, **false_motion(things, truth, objects), **coverage(things, truth)},
        objects=objects,
        trust=rollout.trust if rollout else float("nan"),
        found_all=found_all(objects),
        warned=bool(rollout and rollout.flags != RolloutFlags.NONE),
    )


def _right_preferred(imagined: Imagined, truth: Truth, robot: Mask) -> float:
    """1 where the right trajectory explains better what happened, 0 where the other one does, 0.5 for neither."""
    counted = ~robot & np.isfinite(truth.points[1:, ..., 2])
    right, other = (
        mean_over(xyz_distances(frames, truth), counted) for frames in (imagined.frames, imagined.other_frames)
    )
    if not abs(right - other) > TIED * max(right, other):
        return 0.5
    return float(right < other)


def _lpips(frames: Frames, truth: Truth, robot: Mask) -> float:
    """Of the middle and the last frame, in which the robot's pixels are as they were recorded."""
    from fourd_ros.evaluation.perceptual import lpips

    steps = [len(robot) // 2 - 1, len(robot) - 1]
    recorded = truth.view.rgb[1:][steps]
    shown = np.where(robot[steps][..., None], recorded, frames.rgb[steps])
    return float(lpips(shown, recorded).mean())
