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


def rung_class(name: str, *, allow_noncommercial: bool = False) -> type[WorldModel]:
    """The class of a rung by its registry name, or of the control.

    Raises:
        UnknownBackend, LicenceRefused, MissingDependency: as `load_backend` says.
    """
    return CopyFirstFrame if name == COPY_FIRST else load_backend(name, allow_noncommercial=allow_noncommercial)


@lru_cache(maxsize=4)
def load_rung(name: str, options: ModelOptions) -> WorldModel:
    """A rung, made once in a process.

    Raises:
        UnknownBackend, LicenceRefused, MissingDependency: as `load_backend` says.
        UnknownModel, InvalidModel: its weights cannot be read.
    """
    return rung_class(name, allow_noncommercial=options.allow_noncommercial).from_options(options)
