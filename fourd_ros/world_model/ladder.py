"""Climbing the rungs: quick previews first, the best answer that the deadline allows last."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from fourd_ros.errors import (
    DeadlineMissed,
    FourdError,
    MissingDependency,
    MissingResource,
    UnknownBackend,
    UnknownModel,
)
from fourd_ros.records import Rollout
from fourd_ros.world_model.base import Checkpoint, ModelOptions, Question, WorldModel, load_backend
from fourd_ros.world_model.cost import USUAL_WORK, MeasuredCost, Workload


@dataclass(frozen=True)
class Rung:
    """A loaded model and what it costs here."""

    model: WorldModel
    cost: MeasuredCost


@dataclass(kw_only=True)
class Ladder:
    """The loaded models, quickest first.

    Args:
        models: in ascending order of quality and cost.
        missing: rungs that were wanted and cannot be had here, by name, and why.
    """

    models: Sequence[WorldModel]
    missing: Mapping[str, FourdError] = field(default_factory=dict)
    rungs: tuple[Rung, ...] = field(init=False)
    _newest_work: Workload = field(init=False, default=USUAL_WORK)

    def __post_init__(self) -> None:
        self.rungs = tuple(Rung(model, MeasuredCost(type(model).declared_cost)) for model in self.models)

    @property
    def expected_seconds(self) -> dict[str, float]:
        """What the newest question, or before the first one a usual one, costs on each rung [s]."""
        return {rung.model.backend: rung.cost.estimate(self._newest_work) for rung in self.rungs}

    @classmethod
    def load(cls, names: Sequence[str], options: ModelOptions) -> Self:
        """The rungs of those names, without those whose library or weights are not installed.

        Args:
            names: registry names or ``module:Class``, quickest first.
            options: what they are made of.

        Raises:
            UnknownBackend, LicenceRefused, InvalidModel: a rung is not what was meant, or may not be used.
            MissingDependency, MissingResource, UnknownModel: not a single rung can be had.
        """
        models: list[WorldModel] = []
        missing: dict[str, FourdError] = {}
        for name in names:
            try:
                model = load_backend(name, allow_noncommercial=options.allow_noncommercial)
                models.append(model.from_options(options))
            except (MissingDependency, MissingResource, UnknownModel) as error:
                missing[name] = error
        if missing and not models:
            raise next(iter(missing.values()))
        return cls(models=models, missing=missing)

    def plan(self, question: Question, *, backend: str = "", seconds_left: float = float("inf")) -> tuple[Rung, ...]:
        """The rungs to climb: previews, then the answer.

        Args:
            question: what will be asked.
            backend: the only rung to ask; empty for all that fit.
            seconds_left: until the deadline [s].

        Raises:
            UnknownBackend: no rung of that name is loaded.
            DeadlineMissed: not even the quickest rung (or the named one) fits.
        """
        self._newest_work = question.work
        wanted = [rung for rung in self.rungs if backend in ("", rung.model.backend)]
        if not wanted:
            names = [rung.model.backend for rung in self.rungs]
            why = f": {self.missing[backend]}" if backend in self.missing else ""
            raise UnknownBackend(f"backend '{backend}' is not loaded{why}; this node offers {names}")
        chosen: list[Rung] = []
        spent = 0.0
        for rung in wanted:
            cost = rung.cost.estimate(question.work)
            if spent + cost <= seconds_left:
                chosen.append(rung)
                spent += cost
        if not chosen:
            quickest = wanted[0]
            raise DeadlineMissed(
                f"{quickest.model.backend} needs about {quickest.cost.estimate(question.work):.3f} s "
                f"and {max(seconds_left, 0.0):.3f} s are left; allow more time, fewer steps or smaller views"
            )
        return tuple(chosen)

    def climb(
        self,
        question: Question,
        plan: Sequence[Rung],
        *,
        checkpoint: Checkpoint,
        on_rollout: Callable[[Rung, Rollout, float], None],
    ) -> list[Rollout]:
        """Run the planned rungs; returns the rollouts of the last one that finished.

        Args:
            question: what is asked.
            plan: from :meth:`plan`.
            checkpoint: called with the fraction done of everything; raises to end the climb.
            on_rollout: called with every rollout, finished or a preview, and the fraction done.

        Raises:
            DeadlineMissed: `checkpoint` raised it before the first rung was complete.
        """
        best: list[Rollout] = []
        costs = [rung.cost.estimate(question.work) for rung in plan]
        total = sum(costs) or 1.0
        for index, rung in enumerate(plan):
            done, share = sum(costs[:index]) / total, costs[index] / total
            started = time.perf_counter()
            progress = _Progress(checkpoint, done=done, share=share)
            rollouts: list[Rollout] = []
            try:
                for rollout in rung.model.imagine(question, checkpoint=progress):
                    if not rollout.preview:
                        rollouts.append(rollout)
                        progress.part = len(rollouts) / _expected(question)
                    on_rollout(rung, rollout, progress.fraction)
            except DeadlineMissed:
                rung.cost.record(question.work, max(costs[index], time.perf_counter() - started))
                if best:
                    return best
                raise
            rung.cost.record(question.work, time.perf_counter() - started)
            best = rollouts
        return best


class _Progress:
    """The fraction done of everything, from the part done of one rung."""

    def __init__(self, checkpoint: Checkpoint, *, done: float, share: float) -> None:
        self._checkpoint, self._done, self._share = checkpoint, done, share
        self.part = 0.0

    @property
    def fraction(self) -> float:
        return self._done + self._share * self.part

    def __call__(self, part: float) -> None:
        self.part = part
        self._checkpoint(self.fraction)


def _expected(question: Question) -> int:
    return len(question.candidates) * question.num_samples
