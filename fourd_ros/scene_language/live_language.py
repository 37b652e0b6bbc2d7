"""Geometry and language of a camera's stream, frame by frame, in memory that does not grow."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fourd_ros.errors import InvalidCamera, InvalidModel, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import invert
from fourd_ros.scene_language.camera_view import CameraView
from fourd_ros.scene_language.frames import Pixels, check_side
from fourd_ros.scene_language.geometry_stream import GeometryFrame
from fourd_ros.scene_language.lifting import lift
from fourd_ros.scene_language.metric_scale import FloatArray, MetricScale
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.pose_encoding import decode_intrinsics, decode_poses
from fourd_ros.scene_language.running_scale import RunningScale
from fourd_ros.scene_language.token_cache import CachePolicy

SECOND = 1_000_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveFrame:
    """What is known of a frame. Lengths are in the unit of the stream, the world is the frame of its first camera.

    Args:
        stamp_ns: when it was taken [ns].
        view: how h x w pixels came from the camera's own image.
        camera: of these pixels, as calibrated, or else as the network says.
        rgb: what the network saw, shape [h, w, 3], uint8.
        T_world_camera: shape [4, 4].
        depth: along the optical axis, shape [h, w].
        confidence: of depth, above 1, shape [h, w].
        features: language features, float16, shape [levels, c, h, w]; None for a frame that was given none.
        seconds: what took how long [s].
    """

    stamp_ns: int
    view: CameraView
    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    T_world_camera: FloatArray
    depth: NDArray[np.float32]
    confidence: NDArray[np.float32]
    features: Tensor | None
    seconds: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def byte_count(self) -> int:
        """Memory that it takes."""
        features = 0 if self.features is None else self.features.numel() * self.features.element_size()
        return features + self.rgb.nbytes + self.depth.nbytes + self.confidence.nbytes

    def points(self) -> NDArray[np.float32]:
        """What every pixel shows, in the world, shape [h, w, 3]."""
        lifted = lift(self.depth, intrinsics=self.camera.K, T_camera_world=invert(self.T_world_camera))
        return lifted.astype(np.float32)


class LiveLanguage:
    """One camera's stream.

    Args:
        model: with heads for cameras and depth.
        policy: what the stream remembers; None for the default of `GeometryStream`.
        language_period: least time between two frames that are given language features [s]; 0 for every frame.
        assumed_scale: metres in a unit of the network while nobody measured; 0 for none.

    Attributes:
        frames: since the stream began.
        restarts: of the stream, the first begin not counted.

    Raises:
        InvalidModel: a head is missing.
        InvalidParameter: numbers below zero, or a network for images whose side is not whole patches.
    """

    def __init__(
        self,
        model: SceneLanguage,
        *,
        policy: CachePolicy | None = None,
        language_period: float = 0.0,
        assumed_scale: float = 0.0,
    ) -> None:
        if model.geometry.depth_head is None:
            raise InvalidModel("the network has no depth head, which a stream needs")
        if not language_period >= 0:
            raise InvalidParameter(f"a period of {language_period} s between frames with language; needed is 0 or more")
        check_side(model.geometry.sizes.img_size)
        self._model, self._stream = model, model.stream(policy=policy)
        self._scale = RunningScale(assumed=assumed_scale)
        self._period_ns = round(language_period * SECOND)
        self._device = next(model.geometry.parameters()).device
        self._view: CameraView | None = None
        self.restarts = 0
        self._begin()

    @property
    def frames(self) -> int:
        """Since the stream began."""
        return self._stream.frames

    @property
    def byte_count(self) -> int:
        """Memory that earlier frames take in the stream."""
        return self._stream.byte_count

    @property
    def scale(self) -> MetricScale:
        """Metres in the unit of the stream, as far as they are known now."""
        return self._scale.now

    def restart(self) -> None:
        """Forget everything: the next frame is the first one, with a world and a unit of its own."""
        if self._stream.frames:
            self.restarts += 1
        self._stream.reset()
        self._begin()

    def continues(self, width: int, height: int, camera: PinholeCamera | None) -> bool:
        """Whether the stream goes on with an image of that size and camera; `add` begins it anew otherwise."""
        return self._view is not None and self._view == self._view_of(width, height, camera)

    def add(
        self,
        stamp_ns: int,
        rgb: Pixels,
        *,
        camera: PinholeCamera | None = None,
        depth: NDArray[np.floating] | None = None,
        T_root_camera: FloatArray | None = None,
    ) -> LiveFrame:
        """The next frame. One of another camera or size begins the stream anew; so does the next after an error.

        Args:
            stamp_ns: when it was taken, later than the one before [ns].
            rgb: colour, shape [H, W, 3].
            camera: its calibration without distortion; None lets the network say.
            depth: measured, NaN where unknown [m], shape [H, W].
            T_root_camera: where the camera is known to be in any frame that stands still [m], shape [4, 4].

        Raises:
            InvalidImage: no 8-bit colours, or images that do not fit the camera.
            InvalidCamera: a camera with distortion; or there is no calibration, and the network does not know either.
        """
        began = time.perf_counter()
        if not self.continues(rgb.shape[1], rgb.shape[0], camera):
            self.restart()
            self._view = self._view_of(rgb.shape[1], rgb.shape[0], camera)
        if not self._stream.frames:
            self._begin()
        view = self._view
        assert view is not None
        measured = None if depth is None else view.seen_of(depth)
        images = view.prepared(rgb)
        said = self._stream.step(torch.from_numpy(images).to(self._device))
        stepped = time.perf_counter()
        features = self._features(said, stamp_ns)
        ended = time.perf_counter()
        assert said.depth is not None and said.depth_confidence is not None
        T_camera_first = self._from_first(decode_poses(said.pose[0].float().cpu().numpy()))
        frame = LiveFrame(
            stamp_ns=stamp_ns,
            view=view,
            camera=view.seen if view.calibrated else self._guess(said),
            rgb=np.rint(255 * images[0].transpose(1, 2, 0)).astype(np.uint8),
            T_world_camera=invert(T_camera_first),
            depth=said.depth[0].float().cpu().numpy(),
            confidence=said.depth_confidence[0].float().cpu().numpy(),
            features=features,
            seconds={"geometry": stepped - began, **({} if features is None else {"language": ended - stepped})},
        )
        if measured is not None:
            self._scale.see_depth(frame.depth, measured, confidence=frame.confidence)
        if T_root_camera is not None:
            self._scale.see_place(T_camera_first, T_root_camera)
        return frame

    def _begin(self) -> None:
        self._scale.forget()
        self._T_first_world: FloatArray | None = None
        self._language_after_ns: int | None = None
        self._guessed: PinholeCamera | None = None

    def _view_of(self, width: int, height: int, camera: PinholeCamera | None) -> CameraView:
        side = self._model.geometry.sizes.img_size
        if camera is None:
            return CameraView.of_size(width, height, side=side)
        return CameraView.of(camera, side=side)

    @torch.inference_mode()
    def _features(self, said: GeometryFrame, stamp_ns: int) -> Tensor | None:
        due = self._language_after_ns is None or stamp_ns >= self._language_after_ns
        if self._model.language is None or not due:
            return None
        self._language_after_ns = stamp_ns + self._period_ns
        features: Tensor = self._model.language(said.tokens, size=said.tokens.image_size).features[0, 0]
        return features.half()

    def _guess(self, said: GeometryFrame) -> PinholeCamera:
        """The camera that the network sees; that of earlier frames where it says what is no field of view."""
        height, width = said.tokens.image_size
        K = decode_intrinsics(said.pose[0].float().cpu().numpy(), height=height, width=width)
        if (np.diag(K) > 0).all():
            self._guessed = PinholeCamera(width=width, height=height, K=K)
        if self._guessed is None:
            raise InvalidCamera("no calibration, and the network sees no field of view; give the camera_info")
        return self._guessed

    def _from_first(self, T_camera_world: FloatArray) -> FloatArray:
        """In the first camera exactly; the network says nearly that of the first frame itself."""
        if self._T_first_world is None:
            self._T_first_world = T_camera_world
        return T_camera_world @ invert(self._T_first_world)
