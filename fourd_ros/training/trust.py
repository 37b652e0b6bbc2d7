"""Fits how far the compact world model trusts its futures, and puts the parts of that model into one folder."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from fourd_ros.evaluation.tabletop_run import Evaluation, Outcome, outcomes, record_episodes
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import ModelFolder, write_model
from fourd_ros.model_io.loading import load_component
from fourd_ros.records import FloatArray, ObjectMotion, Observation
from fourd_ros.simulation.tabletop_scene import CameraRegion
from fourd_ros.world_model.compact import dynamics, generator
from fourd_ros.world_model.compact.gripper_path import GripperPath
from fourd_ros.world_model.compact.points import gripper_path
from fourd_ros.world_model.compact.trust import TRUST_FILE, Trust, fit, gather

BACKEND = "points"
"""Whose motions are trusted or not; the video on top of them moves nothing."""

NAMES = ("points", "compact")

WORKSPACE_SHARE = 0.005
"""Of the grasp points of the episodes, on every side, that lie outside the trained workspace."""


LEVEL = 0.8
"""The interval that is made to hold this share of the errors."""

WIDENINGS, BISECTIONS = (0.1, 50.0), 40
"""Limits of the search, and its steps."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the compact world model is made of.

    Args:
        dynamics: model folder of `fourd train points`.
        generator: model folder of `fourd train compact`.
        recipe: text of a script that made both, for the card.
    """

    dynamics: Path
    generator: Path
    recipe: str = ""


def join(parts: Parts, folder: Path, evaluation: Evaluation, *, overwrite: bool = False) -> ModelFolder:
    """Write the compact world model and fit its trust on episodes that it was not trained on.

    Args:
        parts: that were trained.
        folder: of the joined model.
        evaluation: the episodes to fit on; its `model` is `folder`.
        overwrite: replace what is at `folder`.
    """
    card = _card(parts, evaluation)
    _write(parts, folder, card, {}, overwrite=overwrite)
    for _ in record_episodes(evaluation):
        pass
    trust = fit_trust(outcomes(evaluation, BACKEND))
    return _write(parts, folder, card, {TRUST_FILE: trust.text.encode()}, overwrite=True)


@dataclass(frozen=True, kw_only=True)
class JudgedFuture:
    """What is kept of an `Outcome`: all but its pictures.

    Args:
        objects: of the rollout.
        observation: that it starts from.
        path: of its gripper.
        found_all: see `Outcome`.
        deviations: see `Outcome`.
    """

    objects: Sequence[ObjectMotion]
    observation: Observation
    path: GripperPath
    found_all: float
    deviations: FloatArray

    def evidence(self, widening: float) -> FloatArray:
        """Of the future whose deviations are wider, shape [F]."""
        objects = [replace(item, sigma=item.sigma * widening) for item in self.objects]
        return gather(objects, self.observation, self.path).row


def fit_widening(deviations: Sequence[FloatArray]) -> float:
    """What deviations are to be multiplied by so that the `LEVEL` interval holds that share of the errors.

    Args:
        deviations: of every rollout, errors in deviations, shape [M, 3] each; rollouts count alike.
    """
    bound = NormalDist().inv_cdf((1 + LEVEL) / 2)
    known = [np.sort(errors.ravel()) for errors in deviations if len(errors)]
    least, most = WIDENINGS
    for _ in range(BISECTIONS):
        middle = np.sqrt(least * most)
        held = np.mean([np.searchsorted(errors, bound * middle) / len(errors) for errors in known])
        least, most = (least, middle) if held > LEVEL else (middle, most)
    return float(most)


def fit_trust(rollouts: Iterable[Outcome]) -> Trust:
    """The trust that explains which futures came true, of rollouts without any."""
    futures = [
        JudgedFuture(
            objects=outcome.rollout.objects,
            observation=outcome.question.observation,
            path=gripper_path(outcome.question),
            found_all=outcome.found_all,
            deviations=outcome.deviations,
        )
        for outcome in rollouts
    ]
    widening = fit_widening([future.deviations for future in futures])
    judged = [future for future in futures if np.isfinite(future.found_all)]
    evidence = np.stack([future.evidence(widening) for future in judged])
    mean, scale, weights, bias = fit(evidence, np.array([future.found_all for future in judged]))
    grasps = [future.path.frames[0, :, :3, 3] for future in futures]
    low, high = np.quantile(np.concatenate(grasps), [WORKSPACE_SHARE, 1 - WORKSPACE_SHARE], axis=0)
    region = CameraRegion()
    return Trust(
        mean=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        weights=tuple(weights.tolist()),
        bias=bias,
        widening=widening,
        workspace=(tuple(low.tolist()), tuple(high.tolist())),
        elevation=tuple(np.deg2rad(region.elevation).tolist()),
        distance=region.distance,
    )


def _write(
    parts: Parts, folder: Path, card: ModelCard, extra: dict[str, bytes | Path], *, overwrite: bool
) -> ModelFolder:
    sources = {dynamics.COMPONENT: parts.dynamics, generator.COMPONENT: parts.generator}
    components: dict[str, Any] = {name: load_component(source, name) for name, source in sources.items()}
    files = {
        str(path.relative_to(source)): path
        for name, source in sources.items()
        for path in (source / name).glob("*.onnx")
    }
    return write_model(
        folder, components, card=card, model_class="CompactModel", extra={**files, **extra}, overwrite=overwrite
    )


def _card(parts: Parts, evaluation: Evaluation) -> ModelCard:
    cards = [ModelFolder(folder).card for folder in (parts.dynamics, parts.generator)]
    return ModelCard(
        name="world_model_compact",
        system="world_model",
        purpose="Imagines what a robot's motion does to the things on a table: where they go (rung 'points'), and a "
        "colour and depth video of it (rung 'compact'), with how far to trust both.",
        licence="Apache-2.0",
        data=" ".join(card.data for card in cards)
        + f" Trust fitted on {evaluation.episodes} validation episodes of seed {evaluation.seed}."
        + (f" Made by:\n\n```sh\n{parts.recipe.strip()}\n```" if parts.recipe else ""),
        limits=" ".join(card.limits for card in cards),
        metrics={
            f"{name}, validation": card.metrics.get("validation", {}) for name, card in zip(NAMES, cards, strict=True)
        },
        metrics_command="fourd evaluate world-model --model MODEL --split test --write-card",
    )
