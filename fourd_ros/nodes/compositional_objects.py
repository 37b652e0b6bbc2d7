"""The compositional objects node: complete shapes of what a camera at rest has seen, over time."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from fourd_msgs.action import ReconstructObjects
from numpy.typing import NDArray

from fourd_ros.bridge.placed_objects import placed_arrays, placed_markers
from fourd_ros.bridge.tf import TransformListener, make_transform_buffer
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.compositional.filmed_scene import FilmedScene, rests
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.placed_objects import PLACING, PlacedScene, reconstruct_filmed
from fourd_ros.compositional.segmentation.known_objects import KnownObjects
from fourd_ros.compositional.segmentation.segmenter import Footage, SegmentedObject, Segmenter, make_segmenter
from fourd_ros.errors import InvalidClip, InvalidModel, InvalidTime, NoObservation, TooLarge
from fourd_ros.model_io.folder import find_model
from fourd_ros.nodes.base import ClockJump, FourdNode, run
from fourd_ros.nodes.camera_frames import CameraFrame, CameraFrames
from fourd_ros.nodes.film import Film, decode_film
from fourd_ros.nodes.frame_ring import FrameRing
from fourd_ros.nodes.object_parameters import CompositionalObjectsParameters
from fourd_ros.nodes.object_playback import ObjectPlayback
from fourd_ros.nodes.queued_goals import QueuedGoalServer, TimedGoal

Feedback = ReconstructObjects.Feedback

SHARES = {"pictures": 0.1, "scene": 0.3, "motion": 0.7, "meshes": 0.95, PLACING: 1.0}
"""Of the time of an answer, by when a stage is done, roughly."""

MOVED = 0.01
"""A camera that moves by so much within a clip does not stand still [m, and in its axes]."""


class ObjectGoal(TimedGoal):
    """One goal of ``reconstruct_objects``, which tells how far it is."""

    def checkpoint(self, stage: int, fraction: float) -> None:
        """Go on, if somebody still waits."""
        self.check_time(fraction)
        self.tell(Feedback(stage=stage, progress=float(fraction)))

    def step(self, what: str, done: int, steps: int) -> None:
        """After every step of the model."""
        names = list(SHARES)
        before = SHARES[names[names.index(what) - 1]] if what != names[0] else 0.0
        fraction = before + (SHARES[what] - before) * done / max(steps, 1)
        self.checkpoint(Feedback.PLACING if what == PLACING else Feedback.GENERATING, fraction)


class CompositionalObjectsNode(FourdNode):
    """Lifecycle node ``compositional_objects``: makes complete objects of what a camera at rest has seen.

    Frames wait in a ring until a goal names them; objects keep their numbers from goal to goal.
    """

    Parameters = CompositionalObjectsParameters
    parameters: CompositionalObjectsParameters

    def __init__(self, **options: Any) -> None:
        self._model: CompositionalObjects | None = None
        self._ring = FrameRing(most=1, period=0.0)
        self._known = KnownObjects()
        self._last: PlacedScene | None = None
        super().__init__("compositional_objects", **options)

    @property
    def cameras(self) -> tuple[str, ...]:
        return (self.parameters.camera,)

    def load(self) -> None:
        settings = self.parameters
        self._segmenter: Segmenter = make_segmenter(settings.segmenter, {})
        model = CompositionalObjects.from_folder(
            find_model(settings.model), allow_noncommercial=settings.allow_noncommercial, device=settings.device
        )
        if not isinstance(model, CompositionalObjects):
            raise InvalidModel(f"'{settings.model}' holds a {type(model).__name__}; needed are CompositionalObjects")
        self._model = model
        self._server = QueuedGoalServer(
            self,
            ReconstructObjects,
            "~/reconstruct_objects",
            answer=self._answer,
            report=self.report,
            max_queued_goals=settings.max_queued_goals,
            goal_type=ObjectGoal,
        )
        self.defer(self._server.destroy)

    def start(self) -> None:
        settings = self.parameters
        settings.film_options()  # refuse numbers that cannot be before anybody asks
        self._ring = FrameRing(most=settings.kept_frames, period=settings.frame_period)
        self._known.clear()
        self._last = None
        self._transforms = make_transform_buffer(counters=self.counters)
        self.defer(TransformListener(self, self._transforms).destroy)
        self._playback = ObjectPlayback(self)
        self._listener = CameraFrames(self, settings.frame_settings(), take=self._take, went_back=self._jumped_back)
        self._server.open()

    def stop(self) -> None:
        self._server.close()

    def unload(self) -> None:
        self._model = self._last = None
        self._ring.clear()

    def on_clock_jump(self, jump: ClockJump) -> None:
        if self.is_active:
            self._listener.clear()
            self._transforms.clear()
            self._forget()

    def status(self) -> Mapping[str, object]:
        facts: dict[str, object] = {"model": self.parameters.model, "frames_kept": len(self._ring)}
        last = self._last
        if last is not None:
            placed = last.placement
            facts |= {
                "objects": len(last.objects),
                "placed_by": placed.source,
                "placement_residual_m": f"{placed.residual:.4f}",
                "placement_confidence": f"{placed.confidence:.2f}",
            }
        return facts

    def warning(self) -> str:
        last = self._last
        if not self.is_active or last is None or last.placement.source != "identity":
            return ""
        return (
            "the newest objects are in the cube of the model and not in metres: there was neither depth in their masks "
            "nor object_size"
        )

    def _take(self, frame: CameraFrame) -> None:
        frame.check_sizes()
        self._ring.add(frame)

    def _jumped_back(self) -> None:
        self.counters.count("stamps_went_back")
        self._forget()

    def _forget(self) -> None:
        self._ring.clear()
        self._known.clear()

    # Goals, on a thread of the executor.

    def _answer(self, goal: ObjectGoal, result: Any) -> None:
        """Fill in the result of a goal, which is shown on the topics too."""
        goal.checkpoint(Feedback.SEGMENTING, 0.0)
        film = decode_film(self._frames(goal.request), report=self.report, count=self.counters.count)
        scene = self._scene(goal, film)
        assert self._model is not None
        made = reconstruct_filmed(self._model, scene, self.parameters.film_options(), progress=goal.step)
        frame, T_frame_camera = self._where(film)
        stamps = film.stamps_ns
        result.frames = placed_arrays(made, stamps_ns=stamps, frame=frame, T_frame_camera=T_frame_camera)
        self._last = made
        self.counters.count(f"placed_by_{made.placement.source}")
        markers = [
            placed_markers(made, index, stamp_ns=stamp_ns, frame=frame, T_frame_camera=T_frame_camera)
            for index, stamp_ns in enumerate(stamps)
        ]
        self._playback.play(result.frames, markers)

    def _frames(self, request: Any) -> Sequence[CameraFrame]:
        begin_ns, end_ns = stamp_to_ns(request.from_time), stamp_to_ns(request.to_time)
        most = self.parameters.max_frames
        if begin_ns or end_ns:
            frames = self._ring.between(begin_ns, end_ns)
        elif request.last_frames:
            frames = self._ring.newest(int(request.last_frames))
        else:
            raise InvalidTime("the goal names no clip; needed are from_time and to_time, or last_frames")
        if len(frames) > most:
            raise TooLarge(f"{len(frames)} frames; at most {most}, see the parameter max_frames")
        return frames

    def _scene(self, goal: ObjectGoal, film: Film) -> FilmedScene:
        """The film with its objects; one without any, or that they cannot be found in, shows nothing."""
        try:
            objects = self._given(film.masks) if film.masks is not None else self._found(goal, film)
            return FilmedScene(rgb=film.rgb, objects=objects, depth=film.depth, camera=film.camera)
        except InvalidClip as error:
            raise NoObservation(f"nothing that objects could be made of: {error}") from error

    def _given(self, numbers: NDArray[np.int32]) -> tuple[SegmentedObject, ...]:
        found = [int(number) for number in np.unique(numbers) if number]
        return tuple(
            SegmentedObject(number=number, label="", moves=not rests(numbers == number), masks=numbers == number)
            for number in found
        )

    def _found(self, goal: ObjectGoal, film: Film) -> tuple[SegmentedObject, ...]:
        depth = None if film.depth is None else list(film.depth)
        footage = Footage(rgb=list(film.rgb), depth=depth, camera=film.camera)
        found = self._segmenter.segment(footage, progress=lambda _: goal.check_time(0.0))
        return self._known.renumbered(film.stamps_ns, found)

    def _where(self, film: Film) -> tuple[str, NDArray[np.float64]]:
        """Frame of the answer, and pose of the camera in it."""
        fixed = self.parameters.fixed_frame
        if not fixed or fixed == film.frame_id:
            return film.frame_id, np.eye(4)
        first, last = (
            self._transforms.lookup(fixed, film.frame_id, stamp_ns, timeout=self.parameters.transform_timeout)
            for stamp_ns in (film.stamps_ns[0], film.stamps_ns[-1])
        )
        if np.abs(first - last).max() > MOVED:
            self.counters.count("camera_moved")
        return fixed, last


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros compositional_objects``."""
    return run(CompositionalObjectsNode, args)


if __name__ == "__main__":
    sys.exit(main())
