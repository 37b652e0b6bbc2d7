"""Rungs by name, and the control that every rung has to beat."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np

from fourd_ros.records import Rollout, RolloutFlags
from fourd_ros.world_model.base import Checkpoint, Forecast, ModelOptions, Question, WorldModel, load_backend
from fourd_ros.world_model.future import Future, make_rollout
from fourd_ros.world_model.scene import understand

COPY_FIRST = "copy_first"


class CopyFirstFrame(WorldModel):
    """Nothing ever moves, not even the robot."""

    backend = COPY_FIRST
    declared_cost = 0.1

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        observation, kinematics = question.observation, question.robot.kinematics
        still = np.repeat(kinematics.positions_from(observation.joint_positions)[None], len(question.times), axis=0)
        future = Future(question.robot, understand(question.robot, observation), still)
        views = {name: future.view(name, ()) for name in question.views}
        for candidate in range(len(question.candidates)):
            for sample in range(question.num_samples):
                checkpoint((candidate * question.num_samples + sample) / len(question.candidates))
                yield make_rollout(
                    question,
                    candidate=candidate,
                    sample=sample,
                    positions=future.positions,
                    views=views,
                    objects=(),
                    backend=self.backend,
                    seconds=0.0,
                    flags=RolloutFlags.NONE,
                )

    def predict(self, question: Question, *, judged: bool = True) -> Sequence[Forecast]:
        nothing = Forecast(objects=(), trust=float("nan"), flags=RolloutFlags.NONE, model_sha256="")
        return [nothing] * len(question.candidates)


@lru_cache(maxsize=4)
def load_rung(name: str, options: ModelOptions) -> WorldModel:
    """A rung by its registry name, or the control; made once in a process.

    Raises:
        UnknownBackend, UnknownModel, InvalidModel, LicenceRefused, MissingDependency: as `load_backend` says.
    """
    if name == COPY_FIRST:
        return CopyFirstFrame()
    return load_backend(name, allow_noncommercial=options.allow_noncommercial).from_options(options)
