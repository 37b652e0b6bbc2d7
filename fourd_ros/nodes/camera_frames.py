"""The frames of one camera: colour, and depth and masks that belong to it, with their calibration."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.images import check_image, depth_to_metres, image_to_array, image_to_rgb
from fourd_ros.bridge.qos import InputWatch, sensor_qos
from fourd_ros.bridge.sync import ApproximateSynchronizer
from fourd_ros.bridge.times import stamp_to_ns
from fourd_ros.errors import InvalidCamera, InvalidImage, MissingCamera
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.pausable_group import PausableGroup

BACKWARD_NS = 500_000_000
"""A picture that is so much older than the newest one begins a new passage of time [ns]."""

QUEUE = 5
"""Unmatched pictures of each kind that are kept."""


@dataclass(frozen=True, kw_only=True)
class CameraFrame:
    """What a camera saw at one instant, still as messages.

    Args:
        stamp_ns: of the colour [ns].
        frame_id: of the camera.
        camera: its calibration; None only where frames without are taken.
        images: messages by kind: ``image``, ``depth``, ``masks``.
        max_pixels: of an image.
    """

    stamp_ns: int
    frame_id: str
    camera: PinholeCamera | None
    images: Mapping[str, Any]
    max_pixels: int

    @property
    def calibration(self) -> PinholeCamera:
        """The camera, where frames without are not taken.

        Raises:
            MissingCamera: it is not known.
        """
        if self.camera is None:
            raise MissingCamera("the frame came without calibration")
        return self.camera

    def check_sizes(self) -> None:
        """Look at the sizes of images without decoding any; those of compressed ones are not known.

        Raises:
            InvalidImage: one is not of the size of its calibration.
        """
        for kind, message in self.images.items():
            if self.camera is not None and hasattr(message, "height"):
                self._check_size(kind, message.width, message.height)

    def rgb(self) -> NDArray[np.uint8]:
        """Colour, shape [H, W, 3].

        Raises:
            InvalidImage: not a colour image, or not of the size of its calibration.
        """
        return self._sized(
            "image", np.ascontiguousarray(image_to_rgb(self.images["image"], max_pixels=self.max_pixels))
        )

    def depth(self) -> NDArray[np.float32] | None:
        """z-depth [m], NaN where unknown, shape [H, W]; None for a camera without.

        Raises:
            InvalidImage: not a depth image, of another size than the calibration, or nothing but unknown depth.
        """
        if "depth" not in self.images:
            return None
        depth = self._sized("depth", depth_to_metres(self.images["depth"], max_pixels=self.max_pixels))
        if not np.isfinite(depth).any():
            raise InvalidImage("the depth image knows of no pixel how far it is; is the sensor covered or too near?")
        return np.ascontiguousarray(depth)

    def masks(self) -> NDArray[np.int32] | None:
        """Number of the object at every pixel, 0 for none, shape [H, W]; None where nobody says.

        Raises:
            InvalidImage: neither 8 nor 16 bits in one channel, or of another size than the calibration.
        """
        if "masks" not in self.images:
            return None
        message = self.images["masks"]
        numbers = image_to_array(message, max_pixels=self.max_pixels)
        if numbers.ndim != 2 or numbers.dtype not in (np.uint8, np.uint16):
            raise InvalidImage(f"masks need the encoding mono8 or mono16, got '{message.encoding}'")
        return self._sized("masks", numbers.astype(np.int32))

    def _sized(self, kind: str, pixels: NDArray[Any]) -> NDArray[Any]:
        if self.camera is not None:
            self._check_size(kind, pixels.shape[1], pixels.shape[0])
        return pixels

    def _check_size(self, kind: str, width: int, height: int) -> None:
        camera = self.calibration
        if (width, height) != (camera.width, camera.height):
            raise InvalidImage(
                f"{kind} has {width} x {height} pixels, its camera_info says {camera.width} x {camera.height}"
            )


@dataclass(frozen=True, kw_only=True)
class CameraFrameSettings:
    """What is listened to.

    Args:
        camera: namespace.
        use_depth: wait for a depth image beside every colour image.
        use_masks: and for one with numbers of objects.
        compressed: take ``image/compressed`` and ``depth/compressedDepth``.
        reliability: of the subscriptions.
        sync_slop: images of one instant differ by less than this [s].
        max_pixels: larger images are refused.
        need_camera_info: refuse images that come before any calibration.
    """

    camera: str
    use_depth: bool
    use_masks: bool
    compressed: bool
    reliability: str
    sync_slop: float
    max_pixels: int
    need_camera_info: bool = True


class CameraFrames:
    """Subscriptions of one camera, from a node's ``start`` to its ``stop``.

    Args:
        node: that listens.
        settings: what to.
        take: called with every frame, on a thread of the executor; must be quick.
        went_back: called when stamps jump back, before the first frame after it.
    """

    def __init__(
        self,
        node: FourdNode,
        settings: CameraFrameSettings,
        *,
        take: Callable[[CameraFrame], object],
        went_back: Callable[[], object],
    ) -> None:
        self._node, self._settings, self._take, self._went_back = node, settings, take, went_back
        self._group = PausableGroup()
        self._newest_ns = 0
        self._info: tuple[PinholeCamera, str] | None = None
        kinds = ["image", *(["depth"] if settings.use_depth else []), *(["masks"] if settings.use_masks else [])]
        self._synchronizer = ApproximateSynchronizer(
            kinds, slop=settings.sync_slop, queue_size=QUEUE, callback=self._complete
        )
        watch = InputWatch(node)
        node.defer(watch.destroy)
        qos = sensor_qos(reliability=settings.reliability, depth=2)
        topics: list[tuple[Any, str, Callable[[Any], None]]] = [(CameraInfo, "camera_info", self._take_info)]
        topics += [(*self._topic(kind), partial(self._take_image, kind)) for kind in kinds]
        for message, name, callback in topics:
            topic = f"{settings.camera}/{name}"
            subscription = node.subscribe(message, topic, watch.heard(topic, callback), qos, group=self._group)
            watch.add(topic, message, subscription)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take no messages meanwhile; of those that come, the newest of each kind wait."""
        self._group.pause()
        try:
            yield
        finally:
            self._group.resume()
            if (executor := self._node.executor) is not None:
                executor.wake()

    def clear(self) -> None:
        """Forget what waits (the clock jumped); the calibration stays."""
        self._newest_ns = 0
        self._synchronizer.clear()

    def _topic(self, kind: str) -> tuple[Any, str]:
        if not self._settings.compressed or kind == "masks":
            return Image, kind
        return CompressedImage, f"{kind}/{'compressed' if kind == 'image' else 'compressedDepth'}"

    def _take_info(self, message: Any) -> None:
        if not message.header.frame_id:
            raise InvalidCamera(f"{self._settings.camera}/camera_info names no frame in its header")
        self._info = camera_from_info(message), str(message.header.frame_id)

    def _take_image(self, kind: str, message: Any) -> None:
        check_image(message, max_pixels=self._settings.max_pixels)
        stamp_ns = stamp_to_ns(message.header.stamp)
        if stamp_ns < self._newest_ns - BACKWARD_NS:
            self.clear()
            self._went_back()
        self._newest_ns = max(self._newest_ns, stamp_ns)
        self._synchronizer.add(kind, stamp_ns, message)

    def _complete(self, stamp_ns: int, images: Mapping[str, Any]) -> None:
        if self._info is None and self._settings.need_camera_info:
            name = self._settings.camera
            raise MissingCamera(f"images of '{name}' arrive without any {name}/camera_info; is it published?")
        camera, frame_id = self._info or (None, str(images["image"].header.frame_id))
        self._take(
            CameraFrame(
                stamp_ns=stamp_ns,
                frame_id=frame_id,
                camera=camera,
                images=images,
                max_pixels=self._settings.max_pixels,
            )
        )
