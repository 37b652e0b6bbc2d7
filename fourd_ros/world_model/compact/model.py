"""Rung 3: the video of rung 2 with what it lacks: shadows, what was hidden, how contacts look."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, Self

from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import find_model
from fourd_ros.records import Rollout, RolloutView
from fourd_ros.world_model.base import Checkpoint, Forecast, ModelOptions, Question, WorldModel
from fourd_ros.world_model.compact.dynamics import PointDynamics
from fourd_ros.world_model.compact.floors import Floor, find_floors, lay_floors
from fourd_ros.world_model.compact.generator import VideoGenerator
from fourd_ros.world_model.compact.lighting import Lamp, Shade, find_lamp
from fourd_ros.world_model.compact.points import PointsModel
from fourd_ros.world_model.scene import Scene, understand

POINTS_SHARE = 0.5
"""Of the work, done by rung 2."""


class CompactModel(WorldModel):
    """What moves, and how, is what `points` says; a `VideoGenerator` paints the rest.

    Known points and pixels of the robot are those of rung 2; so are objects, sigma and trust. What is filled in stays
    outside ``observed_mask``.

    Args:
        points: rung 2.
        generator: of the video.
    """

    backend = "compact"
    declared_cost = 1.0

    def __init__(self, points: PointsModel, generator: VideoGenerator) -> None:
        self._points, self._generator = points, generator

    @classmethod
    def from_components(cls, components: Mapping[str, Any], card: ModelCard) -> Self:
        """The model of a folder that `load_model` has read: it runs in torch and says nothing about its trust."""
        dynamics = PointDynamics.from_components(components, card)
        return cls(PointsModel(dynamics), VideoGenerator.from_components(components, card))

    @classmethod
    def from_options(cls, options: ModelOptions) -> Self:
        generator = VideoGenerator.from_folder(
            find_model(options.compact_model),
            allow_noncommercial=options.allow_noncommercial,
            processors=options.processors,
            threads=options.threads,
        )
        return cls(PointsModel.from_options(options), generator)

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        started = time.perf_counter()
        scene = understand(question.robot, question.observation)
        lamps = {name: find_lamp(question.robot, scene, name) for name in question.views}
        floors = find_floors(scene)
        count, done = len(question.candidates), 0

        def half(part: float) -> None:
            checkpoint(POINTS_SHARE * max(part, done / count) + (1 - POINTS_SHARE) * done / count)

        rollouts = self._points.imagine(question, checkpoint=half)
        for _, samples in groupby(rollouts, key=lambda rollout: rollout.candidate):
            futures = list(samples)
            videos = {name: self._paint(question, scene, name, lamps[name], floors, futures) for name in question.views}
            done += 1
            checkpoint(done / count)
            seconds = (time.perf_counter() - started) / len(futures)
            for number, rollout in enumerate(futures):
                yield replace(
                    rollout,
                    views={name: videos[name][number] for name in question.views},
                    backend=self.backend,
                    model_sha256=self._generator.sha256,
                    compute_time=seconds,
                )
            started = time.perf_counter()

    def predict(self, question: Question, *, judged: bool = True) -> Sequence[Forecast]:
        """What rung 2 predicts: the generator moves nothing."""
        forecasts = self._points.predict(question, judged=judged)
        return [replace(one, model_sha256=self._generator.sha256) for one in forecasts]

    def _paint(
        self,
        question: Question,
        scene: Scene,
        name: str,
        lamp: Lamp | None,
        floors: Sequence[Floor],
        futures: Sequence[Rollout],
    ) -> list[RolloutView]:
        """One camera's video of every sample; the first is the most probable one."""
        root = question.observation.T_world_robot
        return self._generator.generate(
            [lay_floors(future.views[name], floors, root) for future in futures],
            question.observation.views[name],
            [Shade.of(lamp, question.robot, scene, future.joints.positions, future.objects) for future in futures],
            seeds=[None if future.sample == 0 else future.seed for future in futures],
            T_world_robot=root,
        )
