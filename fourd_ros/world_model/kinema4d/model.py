"""Rung 4: the diffusion model, from a user's checkpoints."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from fourd_ros.errors import UnknownModel
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.records import FloatArray, Points, RobotRendering, RobotTrajectory, Rollout, RolloutFlags, RolloutView
from fourd_ros.world_model.base import Checkpoint, ModelOptions, Question, WorldModel
from fourd_ros.world_model.future import Future, make_rollout
from fourd_ros.world_model.kinema4d.adapter import AdapterFiles
from fourd_ros.world_model.kinema4d.layout import TIME_FACTOR
from fourd_ros.world_model.kinema4d.options import Kinema4DOptions
from fourd_ros.world_model.kinema4d.pipeline import GeneratedClip, Kinema4DPipeline
from fourd_ros.world_model.kinema4d.placement import Placement
from fourd_ros.world_model.kinematic import KinematicModel
from fourd_ros.world_model.scene import Scene, understand

GENERATING = 0.98
"""Share of the work that is done when the last step is."""


@dataclass(frozen=True, kw_only=True)
class _View:
    """One camera of one candidate.

    Args:
        name: of the camera.
        robot: the robot in every frame, the one at time 0 first; its points are in the frame of the camera as it was
            observed, as in training, also where the camera moves.
        known: the video of rung 1 over the question's times.
    """

    name: str
    robot: RobotRendering
    known: RolloutView


class Kinema4DModel(WorldModel):
    """Colour and geometry as Kinema4D generates them; robot mask and joints as commanded.

    ``observed_mask`` is that of rung 1: what it does not know was generated from experience. Sigma is the spread over
    the samples of a candidate, unknown for a single one. Nothing is said about trust or about single objects.

    Args:
        pipeline: makes clips.
        options: how.
        sha256: of the weights.
    """

    backend = "kinema4d"
    declared_cost = 30.0
    default_step = 0.2

    def __init__(self, pipeline: Kinema4DPipeline, options: Kinema4DOptions, *, sha256: str = "") -> None:
        self._pipeline, self._options, self._sha256 = pipeline, options, sha256

    @classmethod
    def from_options(cls, options: ModelOptions) -> Self:
        chosen = options.kinema4d
        if not chosen.model:
            raise UnknownModel(
                "the rung 'kinema4d' needs checkpoints of your own: convert them with 'fourd convert kinema4d SRC DST' "
                "and name the folder (parameter kinema4d_model); docs/kinema4d.md tells how"
            )
        pipeline = Kinema4DPipeline.from_pretrained(
            chosen.model,
            adapter=chosen.adapter or None,
            placement=Placement(chosen.placement),
            allow_noncommercial=options.allow_noncommercial,
        )
        return cls(pipeline, chosen, sha256=_sha256(chosen))

    def imagine(self, question: Question, *, checkpoint: Checkpoint) -> Iterator[Rollout]:
        """Previews of every sample while it is made, then all samples of the candidate."""
        checkpoint(0.0)
        scene = understand(question.robot, question.observation)
        progress = _Progress(checkpoint, parts=len(question.candidates) * question.num_samples * len(question.views))
        for index in range(len(question.candidates)):
            yield from self._candidate(question, index, scene, progress)

    def _candidate(self, question: Question, index: int, scene: Scene, progress: "_Progress") -> Iterator[Rollout]:
        started = time.perf_counter()
        alone = replace(question, candidates=(question.candidates[index],), num_samples=1)
        base = next(KinematicModel().imagine(alone, checkpoint=lambda _: None))
        views = self._views(question, question.candidates[index], scene, base)
        samples: list[dict[str, RolloutView]] = []
        for sample in range(question.num_samples):
            done: dict[str, RolloutView] = {}
            for view in views:
                for shown, finished in self._video(question, view, sample, progress):
                    if finished:
                        done[view.name] = shown
                    elif len(views) == 1:
                        made = {view.name: shown}
                        yield replace(self._rollout(question, index, sample, base, made, started), preview=True)
            samples.append(done)
        spread = [_with_spread([one[view.name] for one in samples]) for view in views]
        for sample in range(question.num_samples):
            made = {view.name: spread[place][sample] for place, view in enumerate(views)}
            yield self._rollout(question, index, sample, base, made, started)

    def _views(self, question: Question, candidate: RobotTrajectory, scene: Scene, base: Rollout) -> tuple[_View, ...]:
        """Rendered at time 0, at the question's times, and at as many after them as clips have frames."""
        future = Future(question.robot, scene, candidate.at(self._frame_times(question.times)))
        return tuple(
            _View(name=name, robot=_told(future, name, scene), known=base.views[name]) for name in question.views
        )

    def _frame_times(self, times: FloatArray) -> FloatArray:
        """Of whole clips, the first at 0 and each beginning with the last frame of the one before [s]."""
        after = _whole_clips(len(times), self._longest, native=self._options.native_length)
        step = times[-1] - times[-2] if len(times) > 1 else times[0]
        return np.concatenate([[0.0], times, times[-1] + step * np.arange(1, after - len(times) + 1)])

    @property
    def _longest(self) -> int:
        return self._pipeline.grid.video_frames - 1

    def _video(
        self, question: Question, view: _View, sample: int, progress: "_Progress"
    ) -> Iterator[tuple[RolloutView, bool]]:
        """Previews, then the video of one camera, made of clips that go on from each other."""
        observed = question.observation.views[view.name]
        frame, points = observed.rgb, observed.points
        parts: list[GeneratedClip] = []
        starts = range(0, len(view.robot.mask) - 1, self._longest)
        for number, start in enumerate(starts):
            frames = slice(start, start + self._longest + 1)
            for event in self._pipeline.stream(
                frame,
                RobotRendering(
                    rgb=view.robot.rgb[frames], points=view.robot.points[frames], mask=view.robot.mask[frames]
                ),
                first_points=points if np.isfinite(points).all(axis=-1).any() else None,
                points_range=parts[0].points_range if parts else None,
                num_steps=self._options.num_steps,
                guidance=self._options.guidance,
                seed=question.seed + sample,
            ):
                if isinstance(event, GeneratedClip):
                    parts.append(event)
                    continue
                progress.tell((number + event.number / event.of) / len(starts))
                if self._preview_is_due(event.number, event.of):
                    yield _shown(view, [*parts, event.preview()], observed.T_world_camera), False
            frame, points = parts[-1].rgb[-1], parts[-1].points[-1]
        progress.finish_part()
        yield _shown(view, parts, observed.T_world_camera), True

    def _preview_is_due(self, step: int, steps: int) -> bool:
        every = self._options.preview_every
        return bool(every) and step % every == 0 and step < steps

    def _rollout(
        self,
        question: Question,
        index: int,
        sample: int,
        base: Rollout,
        views: dict[str, RolloutView],
        started: float,
    ) -> Rollout:
        moving = any(view.mounted_on for view in views.values())
        return make_rollout(
            question,
            candidate=index,
            sample=sample,
            positions=base.joints.positions,
            views=views,
            objects=(),
            backend=self.backend,
            seconds=(time.perf_counter() - started) / question.num_samples,
            flags=RolloutFlags.CAMERA_UNSEEN if moving else RolloutFlags.NONE,
            model_sha256=self._sha256,
        )


class _Progress:
    """How much of an answer is done, told to whoever waits."""

    def __init__(self, checkpoint: Checkpoint, *, parts: int) -> None:
        self._checkpoint, self._parts, self._done = checkpoint, parts, 0

    def tell(self, part: float) -> None:
        """Part 0..1 of the video that is being made; raises where the answer is not wanted any more."""
        self._checkpoint(GENERATING * (self._done + part) / self._parts)

    def finish_part(self) -> None:
        """A video is made."""
        self._done += 1


def _whole_clips(frames: int, longest: int, *, native: bool) -> int:
    """Frames after the first one that whole clips have, `frames` or more."""
    if native:
        return -(-frames // longest) * longest
    return -(-frames // TIME_FACTOR) * TIME_FACTOR


def _told(future: Future, name: str, scene: Scene) -> RobotRendering:
    """The robot in every frame of a camera, its points in the frame of that camera as it was observed."""
    robot, observed = future.rendered_robot(name), scene.observation.views[name]
    if not observed.mounted_on:
        return robot
    T_first_camera = invert(observed.T_world_camera) @ future.camera_path(observed)
    points = [apply(T, frame) for T, frame in zip(T_first_camera, robot.points, strict=True)]
    return replace(robot, points=np.stack(points).astype(np.float32))


def _shown(view: _View, clips: Sequence[GeneratedClip], T_world_first: FloatArray) -> RolloutView:
    """The frames of clips (each begins with a frame that is known) at the times of the question; unknown after them."""
    known = view.known
    rgb = np.concatenate([clip.rgb[1:] for clip in clips])[: len(known.rgb)]
    points = np.concatenate([clip.points[1:] for clip in clips])[: len(known.rgb)]
    missing = len(known.rgb) - len(rgb)
    if missing:
        rgb = np.concatenate([rgb, known.rgb[-missing:]])
        points = np.concatenate([points, known.points[-missing:]])
    return replace(
        known,
        rgb=rgb,
        points=_in_own_frames(points, known, T_world_first),
        sigma=np.full(known.sigma.shape, np.nan, np.float32),
        labels=None,
    )


def _in_own_frames(points: Points, known: RolloutView, T_world_first: FloatArray) -> Points:
    """Points in the frame of the first camera -> of each frame's own."""
    if not known.mounted_on:
        return points
    moved = [
        apply(invert(T_world_camera) @ T_world_first, frame)
        for T_world_camera, frame in zip(known.T_world_camera, points, strict=True)
    ]
    return np.stack(moved).astype(np.float32)


def _with_spread(samples: Sequence[RolloutView]) -> list[RolloutView]:
    """The videos of one camera with their spread as sigma [m], where there are several."""
    if len(samples) < 2:
        return list(samples)
    points = np.stack([view.points for view in samples])
    deviation = points - points.mean(axis=0)
    sigma = np.sqrt(np.square(deviation).sum(axis=-1).sum(axis=0) / (len(samples) - 1)).astype(np.float32)
    return [replace(view, sigma=sigma) for view in samples]


def _sha256(options: Kinema4DOptions) -> str:
    """Of the folder, and of the adapter beside it."""
    folder = ModelFolder(options.model).sha256
    if not options.adapter:
        return folder
    files = AdapterFiles.find(options.adapter)
    digests = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in (files.lora, files.added) if path]
    return hashlib.sha256("".join([folder, *digests]).encode()).hexdigest()
