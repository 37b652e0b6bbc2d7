"""Rung 2: what the robot touches moves as a small network says, and is shown as it was seen, at its new place."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from fourd_ros.model_io.folder import find_model
from fourd_ros.records import FloatArray, Mask, ObjectMotion, Observation, Rollout, RolloutFlags
from fourd_ros.world_model.base import Checkpoint, Forecast, ModelOptions, Question, WorldModel
from fourd_ros.world_model.compact.dynamics import PointDynamics, ThingMotions
from fourd_ros.world_model.compact.gripper_path import SUBSTEP, GripperPath
from fourd_ros.world_model.compact.things import Thing, find_things
from fourd_ros.world_model.compact.trust import TRUST_FILE, Trust, gather
from fourd_ros.world_model.future import Future, make_rollout
from fourd_ros.world_model.scene import Scene, understand

Objects = tuple[ObjectMotion, ...]


class PointsModel(WorldModel):
    """Things above supports move as `PointDynamics` predicts; the rest of the scene and the robot are as in rung 1.

    The first sample of a candidate is the most probable future, further ones are drawn from the predicted
    distribution. For a robot whose gripper is not recognised nothing moves, and the trust is NaN.

    Args:
        dynamics: the predictor.
        trust: how far to trust it; None for NaN.
    """

    backend = "points"
    declared_cost = 0.35

    def __init__(self, dynamics: PointDynamics, *, trust: Trust | None = None) -> None:
        self._dynamics, self._trust = dynamics, trust

    @classmethod
    def from_options(cls, options: ModelOptions) -> Self:
        folder = find_model(options.compact_model)
        dynamics = PointDynamics.from_folder(
            folder,
            allow_noncommercial=options.allow_noncommercial,
            processors=options.processors,
            threads=options.threads,
        )
        trust = folder / TRUST_FILE
        return cls(dynamics, trust=Trust.read(trust) if trust.is_file() else None)

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        started = time.perf_counter()
        scene = understand(question.robot, question.observation)
        checkpoint(0.05)
        predicted = self._predict(question, scene)
        checkpoint(0.2)
        done, count = 0, len(question.candidates) * question.num_samples * len(question.views)
        samples = [predicted.objects(question.seed + sample, sample) for sample in range(question.num_samples)]
        for candidate, trajectory in enumerate(question.candidates):
            future = Future(question.robot, scene, trajectory.at(question.times))
            for sample, objects in enumerate(samples):
                views = {}
                for name in question.views:
                    views[name] = future.view(name, objects[candidate])
                    done += 1
                    checkpoint(0.2 + 0.8 * done / count)
                trust, flags = self._judge(question, predicted.path, candidate, objects[candidate])
                yield make_rollout(
                    question,
                    candidate=candidate,
                    sample=sample,
                    positions=future.positions,
                    views=views,
                    objects=objects[candidate],
                    backend=self.backend,
                    seconds=time.perf_counter() - started,
                    flags=flags,
                    trust=trust,
                    model_sha256=self._dynamics.sha256,
                )
                started = time.perf_counter()

    def predict(self, question: Question, *, judged: bool = True) -> Sequence[Forecast]:
        """The most probable motions of every thing for every candidate: what a planner needs."""
        predicted = self._predict(question, understand(question.robot, question.observation))
        forecasts = []
        for candidate, objects in enumerate(predicted.objects(question.seed, 0)):
            trust, flags = math.nan, RolloutFlags.NONE
            if judged:
                trust, flags = self._judge(question, predicted.path, candidate, objects)
            forecasts.append(Forecast(objects=objects, trust=trust, flags=flags, model_sha256=self._dynamics.sha256))
        return forecasts

    def _predict(self, question: Question, scene: Scene) -> "_Prediction":
        things = find_things(scene)
        if question.robot.gripper is None:
            return _Prediction(_at_rest(things, question), None)
        path = gripper_path(question)
        motions = self._dynamics.predict(
            things, path, times=question.times, eye=_seen_from(things, question.observation)
        )
        if self._trust is not None:
            motions = replace(motions, sigma=motions.sigma * self._trust.widening)
        return _Prediction(motions, path)

    def _judge(
        self, question: Question, path: GripperPath | None, candidate: int, objects: Objects
    ) -> tuple[float, RolloutFlags]:
        """Trust in one candidate's future, and what was not trained on."""
        if self._trust is None or path is None:
            return math.nan, RolloutFlags.NONE
        own = GripperPath(frames=path.frames[candidate, None], gaps=path.gaps[candidate, None])
        evidence = gather(objects, question.observation, own)
        return self._trust.score(evidence), self._trust.flags(question, own)


@dataclass(frozen=True)
class _Prediction:
    """What becomes of all things for all candidates.

    Args:
        motions: of K things for C candidates.
        path: of the gripper; None for a robot without one.
    """

    motions: ThingMotions
    path: GripperPath | None

    def objects(self, seed: int, sample: int) -> list[Objects]:
        """Motions of all things for every candidate: the most probable ones, or those of a further sample."""
        motions = self.motions if sample == 0 else self.motions.sample(np.random.default_rng(seed))
        moves = motions.moves
        taken: dict[tuple[int, bytes], Mapping[str, Mask]] = {}

        def pixels(number: int, candidate: int) -> Mapping[str, Mask]:
            thing, members = motions.things[number], motions.members[number][candidate]
            if members.all() or not moves[candidate, number]:
                return thing.pixels
            key = number, members.tobytes()
            if key not in taken:
                taken[key] = _pixels_of(thing, members)
            return taken[key]

        return [
            tuple(
                ObjectMotion(
                    label=thing.label,
                    pixels=pixels(number, candidate),
                    motion=motions.motion[candidate, number],
                    sigma=motions.sigma[candidate, number],
                )
                for number, thing in enumerate(motions.things)
            )
            for candidate in range(len(moves))
        ]


def gripper_path(question: Question) -> GripperPath:
    """Of the gripper under all candidates, up to the last instant."""
    steps = math.ceil(round(float(question.times[-1]) / SUBSTEP, 6))
    times = SUBSTEP * np.arange(1, steps + 1)
    return GripperPath.of(
        question.robot,
        question.observation.joint_positions,
        np.stack([candidate.at(times) for candidate in question.candidates]),
        question.observation.T_world_robot,
    )


def _at_rest(things: tuple[Thing, ...], question: Question) -> ThingMotions:
    shape = len(question.candidates), len(things), len(question.times)
    return ThingMotions(
        things=things,
        motion=np.tile(np.eye(4), (*shape, 1, 1)),
        sigma=np.zeros(shape),
        members=tuple(np.ones((shape[0], len(thing.points)), bool) for thing in things),
    )


def _seen_from(things: Sequence[Thing], observation: Observation) -> FloatArray:
    """Position of the camera that sees most of the things, in the world [m], shape [3]."""
    seen = {name: sum(int(thing.pixels[name].sum()) for thing in things) for name in observation.views}
    return observation.views[max(seen, key=lambda name: seen[name])].T_world_camera[:3, 3]


def _pixels_of(thing: Thing, members: Mask) -> dict[str, Mask]:
    """The pixels, by view, of some points [N] of a thing."""
    result, start = {}, 0
    for name, mask in thing.pixels.items():
        end = start + int(mask.sum())
        result[name] = np.zeros_like(mask)
        result[name][mask] = members[start:end]
        start = end
    return result
