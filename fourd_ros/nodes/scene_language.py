"""The scene language node: where the camera is, how far everything is, and where what is asked for is."""

import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from fourd_msgs.srv import QueryScene
from numpy.typing import NDArray
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from fourd_ros.bridge.tf import TransformListener, make_transform_buffer
from fourd_ros.errors import FourdError, InvalidImage, InvalidModel, NoObservation, NotActive
from fourd_ros.memory import give_back_buffers, reuse_buffers
from fourd_ros.model_io.folder import find_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.nodes.base import ClockJump, FourdNode, run
from fourd_ros.nodes.camera_frames import CameraFrame, CameraFrames
from fourd_ros.nodes.error_codes import error_code
from fourd_ros.nodes.language_parameters import MEGABYTE, SceneLanguageParameters
from fourd_ros.nodes.language_topics import LanguageTopics
from fourd_ros.nodes.map_anchor import TREE_PATIENCE, MapAnchor
from fourd_ros.nodes.scene_questions import StandingQuestions, answer_query
from fourd_ros.nodes.worker import Worker
from fourd_ros.scene_language.clip_text import ClipText
from fourd_ros.scene_language.frame_memory import FrameMemory
from fourd_ros.scene_language.live_language import LiveLanguage
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.placement import Placement
from fourd_ros.scene_language.text_search import TextSearch

STAGE_HISTORY = 100
"""Frames whose times are told of."""


class SceneLanguageNode(FourdNode):
    """Lifecycle node ``scene_language``: poses, depth and points from a stream of images, and texts found in it.

    One worker owns the stream; a frame that waits for it gives way to a newer one. Another answers questions.
    """

    Parameters = SceneLanguageParameters
    parameters: SceneLanguageParameters

    def __init__(self, **options: Any) -> None:
        self._model: SceneLanguage | None = None
        self._search: TextSearch | None = None
        self._live: LiveLanguage | None = None
        self._memory = FrameMemory(max_bytes=0)
        self._times: deque[Mapping[str, float]] = deque(maxlen=STAGE_HISTORY)
        self._restart = threading.Event()
        self._T_map_world = np.eye(4)
        self._root = ""
        self._frames = self._last_stamp_ns = 0
        super().__init__("scene_language", **options)

    @property
    def cameras(self) -> tuple[str, ...]:
        return (self.parameters.camera,)

    def load(self) -> None:
        reuse_buffers()
        settings = self.parameters
        folder = find_model(settings.model)
        allowed, device = settings.allow_noncommercial, settings.device
        model = load_model(folder, allow_noncommercial=allowed, device=device)
        if not isinstance(model, SceneLanguage):
            raise InvalidModel(f"'{folder}' holds a {type(model).__name__}; needed is a SceneLanguage")
        self._model = model
        encoder = ClipText(settings.clip_folder) if settings.clip_folder else None
        self._search = (
            None
            if model.language is None
            else TextSearch.from_folder(folder, encoder=encoder, allow_noncommercial=allowed, device=device)
        )
        group = ReentrantCallbackGroup()
        self.serve(QueryScene, "~/query", self._serve_query, group=group)
        self.serve(Trigger, "~/reset", self._serve_reset, group=group)

    def start(self) -> None:
        settings = self.parameters
        assert self._model is not None
        self._live = LiveLanguage(
            self._model,
            policy=settings.policy(),
            language_period=settings.language_period,
            assumed_scale=settings.assumed_scale,
        )
        self._memory = FrameMemory(max_bytes=int(settings.memory_megabytes * MEGABYTE))
        self._frames = self._last_stamp_ns = 0
        self._restart.clear()
        self._transforms = make_transform_buffer(counters=self.counters)
        self.defer(TransformListener(self, self._transforms).destroy)
        self._anchor = MapAnchor(self._transforms, settings.map_frame)
        self._topics = LanguageTopics(self, self._anchor, settings.topic_settings())
        self._standing = (
            None if self._search is None else StandingQuestions(self, self._search, settings.question_limits())
        )
        self._questions: Worker = self.worker("questions")
        self._worker: Worker = self.worker("frames")
        self._listener = CameraFrames(
            self, settings.frame_settings(), take=self._worker.latest(self._take), went_back=self._jumped_back
        )

    def stop(self) -> None:
        self._times.clear()

    def unload(self) -> None:
        self._model = self._search = self._live = None
        self._memory.clear()
        give_back_buffers()

    def on_clock_jump(self, jump: ClockJump) -> None:
        if self.is_active:
            self._listener.clear()
            self._transforms.clear()
            self._restart.set()

    def status(self) -> Mapping[str, object]:
        live = self._live
        if not self.is_active or live is None:
            return {}
        scale = live.scale
        facts: dict[str, object] = {
            "frames": self._frames,
            "frames_of_stream": live.frames,
            "metres_in_a_unit": f"{scale.metres:.4f}",
            "metres_from": scale.source,
            "metres_spread": f"{scale.spread:.3f}",
            "stream_megabytes": f"{live.byte_count / MEGABYTE:.1f}",
            "remembered_frames": len(self._memory),
            "remembered_megabytes": f"{self._memory.byte_count / MEGABYTE:.1f}",
        }
        times = list(self._times)
        stages = dict.fromkeys(name for one in times for name in one)
        medians = {name: np.median([one[name] for one in times if name in one]) for name in stages}
        return facts | {f"{name}_ms": f"{1e3 * value:.1f}" for name, value in medians.items()}

    def warning(self) -> str:
        if not self.is_active or self._live is None or not self._frames or self._live.scale.is_known:
            return ""
        return (
            f"metres are not known: everything is in units of the network, in {self._placement().name}; "
            "give depth, a camera that TF knows to move, or assumed_scale"
        )

    # Frames, on their worker.

    def _take(self, frame: CameraFrame) -> None:
        with self._listener.paused():
            self._see(frame)

    def _see(self, frame: CameraFrame) -> None:
        began = time.perf_counter()
        rgb = frame.rgb()
        live = self._stream_for(frame, width=rgb.shape[1], height=rgb.shape[0])
        seen = live.add(
            frame.stamp_ns,
            rgb,
            camera=frame.camera,
            depth=self._depth_of(frame),
            T_root_camera=self._known_place(frame),
        )
        self._frames += 1
        if seen.features is not None:
            self._memory.add(seen)
        placement = self._placement()
        told = time.perf_counter()
        try:
            self._topics.publish(seen, frame.frame_id, placement)
        finally:
            asked = time.perf_counter()
            if seen.features is not None and self._standing is not None and self.parameters.texts:
                self.guarded(self._standing.answer)(seen, self.parameters.texts, frame.frame_id, placement)
            ended = time.perf_counter()
            self._times.append(
                {**seen.seconds, "tell": asked - told, "standing_texts": ended - asked, "frame": ended - began}
            )

    def _stream_for(self, frame: CameraFrame, *, width: int, height: int) -> LiveLanguage:
        """The stream that goes on with a frame; begun anew where time jumped or the camera is another."""
        live = self._live
        assert live is not None
        gap = (frame.stamp_ns - self._last_stamp_ns) * 1e-9
        jumped = self._restart.is_set() or not 0 < gap < self.parameters.clock_jump_forward
        self._restart.clear()
        self._last_stamp_ns = frame.stamp_ns
        if live.frames and (jumped or not live.continues(width, height, frame.camera)):
            self.counters.count("restarted")
            live.restart()
        if not live.frames:
            self._begin(frame)
        return live

    def _begin(self, frame: CameraFrame) -> None:
        """The first camera of a stream is where TF says; the root of its tree stays the same for the stream."""
        settings = self.parameters
        self._memory.clear()
        if not self._frames:
            until = time.monotonic() + TREE_PATIENCE
            self._anchor.settle(frame.frame_id, until=until, wait=self._worker.wait)
        self._root = self._anchor.root(frame.frame_id)
        self._T_map_world = self._anchor.start(frame.frame_id, frame.stamp_ns, timeout=settings.transform_timeout)

    def _depth_of(self, frame: CameraFrame) -> NDArray[np.float32] | None:
        """Of a frame; one without any is counted, and goes on without."""
        try:
            return frame.depth()
        except InvalidImage as error:
            self.report(error)
            return None

    def _known_place(self, frame: CameraFrame) -> NDArray[np.float64] | None:
        """``T_root_camera`` as TF knows it; None where it does not."""
        if self._root in ("", frame.frame_id):
            return None
        try:
            return np.asarray(
                self._transforms.lookup(
                    self._root, frame.frame_id, frame.stamp_ns, timeout=self.parameters.transform_timeout
                )
            )
        except FourdError:
            self.counters.count("camera_not_in_tf")
            return None

    def _placement(self) -> Placement:
        assert self._live is not None
        return Placement.of(self.parameters.map_frame, self._T_map_world, self._live.scale)

    def _jumped_back(self) -> None:
        self.counters.count("stamps_went_back")
        self._restart.set()

    # Services.

    def _serve_query(self, request: Any, response: Any) -> Any:
        try:
            if not self.is_active:
                raise NotActive("the node is not active; activate it first")
            self._questions.call(lambda: self._answer(request, response))
        except Exception as error:
            self.report(error)
            response = QueryScene.Response(error_code=error_code(QueryScene.Response, error), error_msg=str(error))
        return response

    def _answer(self, request: Any, response: Any) -> None:
        if self._search is None:
            raise NoObservation(f"the model '{self.parameters.model}' has no language; configure the node with another")
        answer_query(
            request,
            response,
            search=self._search,
            memory=self._memory,
            placement=self._placement,
            limits=self.parameters.question_limits(),
        )

    def _serve_reset(self, request: Any, response: Any) -> Any:
        if not self.is_active:
            response.message = "the node is not active; activate it first"
            return response
        self._restart.set()
        response.success = True
        return response


def main(args: list[str] | None = None) -> int:
    """Entry point of ``ros2 run fourd_ros scene_language``."""
    return run(SceneLanguageNode, args)


if __name__ == "__main__":
    sys.exit(main())
