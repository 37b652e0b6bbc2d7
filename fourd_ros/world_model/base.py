"""The question, the model that answers it, and the registry of models."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from fourd_ros.errors import InvalidTrajectory, LicenceRefused, MissingCamera, TooLarge, UnknownBackend
from fourd_ros.model_io.onnx_session import PREFERENCE, Processor
from fourd_ros.records import FloatArray, ObjectMotion, Observation, RobotTrajectory, Rollout, RolloutFlags
from fourd_ros.registries import find_registered
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.cost import Workload
from fourd_ros.world_model.kinema4d.options import Kinema4DOptions

Checkpoint = Callable[[float], None]
"""Called between steps with the fraction done; raises when the caller no longer wants the answer."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What happens if the robot does this?

    Args:
        robot: the robot that moves.
        observation: what is known now.
        candidates: commanded motions over all actuated joints, time 0 = the observation.
        times: the instants to imagine [s from the observation], strictly increasing, positive, shape [T].
        views: names of the cameras to imagine, each of them in the observation.
        num_samples: futures per candidate.
        seed: same question, same seed, same answer.

    Raises:
        InvalidTrajectory: no candidate, no instant, or instants that do not increase.
        MissingCamera: a view that the observation does not hold.
        TooLarge: no sample was asked for.
    """

    robot: RobotModel
    observation: Observation
    candidates: tuple[RobotTrajectory, ...]
    times: FloatArray
    views: tuple[str, ...]
    num_samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.candidates:
            raise InvalidTrajectory("no candidate trajectory was given; at least one is needed")
        if len(self.times) == 0 or self.times[0] <= 0 or (np.diff(self.times) <= 0).any():
            raise InvalidTrajectory(f"instants to imagine must be positive and increasing, got {self.times}")
        unknown = [name for name in self.views if name not in self.observation.views]
        if unknown or not self.views:
            raise MissingCamera(f"views {unknown or 'none'} asked for; observed: {sorted(self.observation.views)}")
        if self.num_samples < 1:
            raise TooLarge(f"num_samples is {self.num_samples}; at least 1 is needed")

    @property
    def work(self) -> Workload:
        """How much there is to imagine."""
        cameras = [self.observation.views[name].camera for name in self.views]
        pixels = sum(camera.width * camera.height for camera in cameras)
        futures = len(self.candidates) * self.num_samples
        return Workload(videos=futures * len(self.views), pixels=futures * len(self.times) * pixels)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one candidate does to things: a `Rollout` without pictures.

    Args:
        objects: what moves besides the robot; what is in none of them stays.
        trust: 0 (none) to 1; NaN unknown.
        flags: caveats.
        model_sha256: hash of the weights, empty where there are none.
    """

    objects: tuple[ObjectMotion, ...]
    trust: float
    flags: RolloutFlags
    model_sha256: str


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What rungs with weights are made of, and what runs them.

    Args:
        compact_model: folder of the rungs `points` and `compact`, by path or by the name of a shipped one.
        allow_noncommercial: load weights whose licence forbids commercial use.
        processors: of ONNX networks, in the order of preference.
        threads: of an ONNX network; None for the cores this process may use.
        kinema4d: of the rung of that name.
    """

    compact_model: str = "world_model_compact"
    allow_noncommercial: bool = False
    processors: tuple[Processor, ...] = PREFERENCE
    threads: int | None = None
    kinema4d: Kinema4DOptions = field(default_factory=Kinema4DOptions)


class WorldModel(ABC):
    """One rung of the ladder: made when the node is configured, used by one thread at a time."""

    backend: ClassVar[str]
    """Registry name, repeated in every rollout."""
    licence: ClassVar[str] = "Apache-2.0"
    non_commercial: ClassVar[bool] = False
    declared_cost: ClassVar[float]
    """Seconds per million pixels imagined, believed until it was rehearsed or answers have been measured."""
    default_step: ClassVar[float] = 0.2
    """Time between frames when the question leaves it open [s]."""

    @classmethod
    def from_options(cls, options: ModelOptions) -> Self:
        """The rung as a user wants it; one with weights reads them here.

        Raises:
            UnknownModel, InvalidModel, CorruptModel: its folder is not there, or not what it needs.
            LicenceRefused: its weights are non-commercial and that was not allowed.
            MissingDependency: what runs it is not installed.
        """
        return cls()

    @abstractmethod
    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        """Yield ``len(candidates) * num_samples`` rollouts, calling `checkpoint` between steps.

        A model that takes long may yield previews (`Rollout.preview`) of a rollout before it.
        """

    def predict(self, question: Question, *, judged: bool = True) -> Sequence[Forecast]:
        """The most probable future of every candidate without pictures, as fast as the model can.

        Args:
            question: `num_samples` is not looked at, nor `views` by models that predict things alone.
            judged: with trust and flags, which may cost as much as the prediction; models that make them anyway
                always give them.
        """
        rollouts = self.imagine(replace(question, num_samples=1), checkpoint=lambda _: None)
        return [
            Forecast(objects=one.objects, trust=one.trust, flags=one.flags, model_sha256=one.model_sha256)
            for one in rollouts
            if not one.preview
        ]


# From the quickest rung to the best one; a module is imported only when its rung is asked for.
_BACKENDS: dict[str, str] = {
    "kinematic": "fourd_ros.world_model.kinematic:KinematicModel",
    "points": "fourd_ros.world_model.compact.points:PointsModel",
    "compact": "fourd_ros.world_model.compact.model:CompactModel",
    "kinema4d": "fourd_ros.world_model.kinema4d.model:Kinema4DModel",
}
SHIPPED_BACKENDS = ("kinematic", "points", "compact")
"""Those whose weights come with the package, quickest first."""


def backend_names() -> tuple[str, ...]:
    """Names of all backends, quickest first."""
    return tuple(_BACKENDS)


def load_backend(name: str, *, allow_noncommercial: bool = False) -> type[WorldModel]:
    """The class behind a registry name, or behind ``module:Class`` for a model of your own.

    Raises:
        UnknownBackend: no such name, module or class.
        MissingDependency: it needs a module that is not installed.
        LicenceRefused: the weights are non-commercial and that was not allowed.
    """
    found = find_registered(_BACKENDS, name, what="backend", error=UnknownBackend, others=True)
    if not (isinstance(found, type) and issubclass(found, WorldModel)):
        raise UnknownBackend(f"backend '{name}' is {found!r}, needed a subclass of fourd_ros WorldModel")
    if found.non_commercial and not allow_noncommercial:
        raise LicenceRefused(f"backend '{name}' is non-commercial ({found.licence}); set allow_noncommercial: true")
    return found
