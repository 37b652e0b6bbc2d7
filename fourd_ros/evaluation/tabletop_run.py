"""Making held-out episodes and letting world models imagine them: in parallel, with what is recorded kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.parallel import run_jobs
from fourd_ros.evaluation.tabletop_cases import case_of
from fourd_ros.evaluation.tabletop_objects import deviations, found_all, object_scores
from fourd_ros.evaluation.tabletop_truth import MOVED, Truth
from fourd_ros.evaluation.world_model import (
    CONTROL,
    Alternative,
    EpisodeScores,
    first_view,
    judge,
    question_about,
    simulated_robot,
)
from fourd_ros.records import FloatArray, RobotTrajectory, Rollout
from fourd_ros.world_model.base import ModelOptions, Question, WorldModel, load_backend

if TYPE_CHECKING:
    from fourd_ros.simulation.tabletop_statistics import SplitStatistics

EXACT = {"noisy_depth": "test"}
"""Splits that see the scenes of another one through a sensor; what happened is known from that one."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is evaluated on what.

    Args:
        split: of the tabletop data.
        seed: other episodes of the split.
        episodes: how many.
        backends: methods beside those that learn nothing.
        model: folder of the learned backends.
        kept: folder in which recorded episodes are kept.
        with_lpips: compute LPIPS too.
        workers: processes.
    """

    split: str = "test"
    seed: int = 0
    episodes: int = 200
    backends: tuple[str, ...]
    model: str
    kept: Path
    with_lpips: bool = True
    workers: int = 1

    @property
    def seeds(self) -> range:
        """Of the scenes."""
        from fourd_ros.simulation.tabletop_scene import tabletop_seeds

        return tabletop_seeds(self.split, seed=self.seed, episodes=self.episodes)

    @property
    def recorded_split(self) -> str:
        """The split whose episodes tell what happened."""
        return EXACT.get(self.split, self.split)

    @property
    def folder(self) -> Path:
        """Of the recorded episodes; those of another version of the simulation lie elsewhere."""
        from fourd_ros.simulation.tabletop_dataset import DISTRIBUTION

        return self.kept / f"{self.recorded_split}_{DISTRIBUTION}"


def record_episodes(evaluation: Evaluation) -> Iterator[int]:
    """Record the episodes that are missing; yields how many more are there.

    Raises:
        InvalidDataset: there is no such split, or its folder holds something else.
        MissingDependency: no OpenGL library is installed.
    """
    from fourd_ros.simulation.tabletop import TabletopOptions
    from fourd_ros.simulation.tabletop_dataset import record_tabletop_dataset

    return record_tabletop_dataset(
        evaluation.folder,
        evaluation.recorded_split,
        evaluation.seeds,
        TabletopOptions(),
        workers=evaluation.workers,
    )


def judge_episodes(evaluation: Evaluation) -> Iterator[EpisodeScores]:
    """Scores of every episode as they are done; the episodes are recorded already.

    Raises:
        UnknownBackend, InvalidModel, LicenceRefused, MissingDependency: a backend cannot be loaded.
    """
    load_models(evaluation)  # errors come before processes
    jobs = {f"scene {seed}": seed for seed in evaluation.seeds}
    judge_one = partial(_judge_one, evaluation)
    return (scores for _, scores in run_jobs(judge_one, jobs, workers=evaluation.workers))


def load_models(evaluation: Evaluation) -> Mapping[str, WorldModel]:
    """The backends by name, the control first."""
    return _loaded(tuple(dict.fromkeys((CONTROL, *evaluation.backends))), evaluation.model)


@cache
def _loaded(backends: tuple[str, ...], model: str) -> Mapping[str, WorldModel]:
    """Each process loads them once; it has one core to itself."""
    options = ModelOptions(compact_model=model, threads=1)
    return {found.backend: found.from_options(options) for found in map(load_backend, backends)}


@cache
def _dataset(folder: Path) -> EpisodeDataset:
    return EpisodeDataset(folder)


def episode_of(evaluation: Evaluation, seed: int) -> Episode:
    """The recorded episode of a scene, with exact depth."""
    from fourd_ros.simulation.tabletop import episode_name

    dataset = _dataset(evaluation.folder)
    return dataset[dataset.index(episode_name(seed))]


def seen_depth(evaluation: Evaluation, episode: Episode) -> NDArray[np.float32] | None:
    """Depth of the first frame as the models see it [m], shape [H, W]; None for the exact one."""
    if evaluation.split not in EXACT:
        return None
    from fourd_ros.simulation.noisy_depth import through_sensor

    assert episode.seed is not None
    (view,) = through_sensor(episode, seed=episode.seed).views.values()
    assert view.depth is not None
    depth: NDArray[np.float32] = view.depth[0]
    return depth


def statistics_of(evaluation: Evaluation) -> "SplitStatistics":
    """What happens in the episodes."""
    from fourd_ros.simulation.tabletop import episode_name
    from fourd_ros.simulation.tabletop_statistics import episode_facts, tabletop_statistics

    chosen = {episode_name(seed) for seed in evaluation.seeds}
    return tabletop_statistics(episode_facts(EpisodeDataset(evaluation.folder), chosen))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A rollout and what came of it: what a trust score is fitted to.

    Args:
        question: what was asked.
        rollout: the answer.
        found_all: 1 where every object ends within 25 mm of its true place, else 0; NaN without objects.
        deviations: errors of the points that move, in predicted standard deviations, shape [M, 3].
    """

    question: Question
    rollout: Rollout
    found_all: float
    deviations: FloatArray


def outcomes(evaluation: Evaluation, backend: str) -> Iterator[Outcome]:
    """Every recorded episode imagined by one backend; the episodes are recorded already."""
    from fourd_ros.simulation.tabletop import commanded_motion

    model = load_models(evaluation)[backend]
    for seed in evaluation.seeds:
        episode = episode_of(evaluation, seed)
        truth = Truth(episode)
        start = first_view(truth, seen_depth(evaluation, episode))
        question = question_about(truth, start, commanded_motion(episode))
        (rollout,) = model.imagine(question, checkpoint=lambda _: None)
        yield Outcome(
            question=question,
            rollout=rollout,
            found_all=found_all(object_scores(rollout.objects, truth)),
            deviations=deviations(rollout.objects, truth),
        )


def _judge_one(evaluation: Evaluation, seed: int) -> EpisodeScores:
    from fourd_ros.simulation.tabletop import commanded_motion
    from fourd_ros.simulation.tabletop_statistics import carried

    episode = episode_of(evaluation, seed)
    scores = judge(
        episode,
        commanded_motion(episode),
        load_models(evaluation),
        depth=seen_depth(evaluation, episode),
        alternative=_alternative(evaluation, episode),
        with_lpips=evaluation.with_lpips,
    )
    truth, in_hand = Truth(episode), carried(episode)
    cases = {
        episode.object_names[index]: case_of(truth, index, carried=bool(in_hand[index]), robot=simulated_robot())
        for index in np.flatnonzero(truth.moved).tolist()
    }
    return replace(scores, cases=cases)


def _alternative(evaluation: Evaluation, episode: Episode) -> Alternative | None:
    """The motion of the next episode, begun where the robot of this one stands, and whether it moves an object."""
    from fourd_ros.simulation.tabletop import act_otherwise, commanded_motion

    seeds = evaluation.seeds
    if len(seeds) < 2:
        return None
    assert episode.seed is not None
    donor = episode_of(evaluation, seeds[(seeds.index(episode.seed) + 1) % len(seeds)])
    trajectory = shifted(commanded_motion(donor), commanded_motion(episode).positions[0])
    poses = act_otherwise(episode.seed, evaluation.recorded_split, trajectory)
    displacement = Truth(replace(episode, object_poses=poses)).displacement[-1]
    return Alternative(trajectory=trajectory, moves_something=bool((displacement > MOVED).any()))


def shifted(trajectory: RobotTrajectory, start: FloatArray) -> RobotTrajectory:
    """The same motion of every joint from another start [J], within the limits of the joints."""
    limits = simulated_robot().kinematics.limits
    positions = trajectory.positions - trajectory.positions[0] + start
    return replace(trajectory, positions=np.clip(positions, limits.lower, limits.upper))
