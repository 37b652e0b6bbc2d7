"""Clips from bags: the images of one camera with its calibration, depth and masks; no ROS installation is needed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.cameras import camera_from_info
from fourd_ros.bridge.images import depth_to_metres, image_to_array, image_to_rgb
from fourd_ros.data.bag_inputs import CameraTopics, find_inputs, usual_names
from fourd_ros.data.bags import BagReader, RawMessage
from fourd_ros.data.cdr_stamps import header_stamp_ns
from fourd_ros.errors import InvalidBag, InvalidClip, InvalidImage
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.clip_frames import ClipFrame
from fourd_ros.reconstruction.clips.clip_reader import ClipOptions, clip_name, collect, fitted
from fourd_ros.reconstruction.clips.picture_size import nearest

__all__ = ["BagTopics", "find_clip_topics", "read_bag_clip"]

APART = 0.6
"""Depth and masks belong to the image that is nearer than this many periods."""

LONGEST_WAIT = 1_000_000_000
"""Depth and masks are recorded so soon before or after their image [ns]."""

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, kw_only=True)
class BagTopics:
    """Topics of a clip, as the bag calls them; empty for none.

    Args:
        image: colour.
        camera_info: calibration.
        depth: registered to colour.
        masks: numbers of objects, as grey images.
    """

    image: str
    camera_info: str = ""
    depth: str = ""
    masks: str = ""


def find_clip_topics(bag: BagReader, *, camera: str = "", masks: str = "") -> BagTopics:
    """The topics of a camera.

    Args:
        bag: an open one.
        camera: its namespace, or its image topic; empty for the first one that has calibration and most of the rest.
        masks: topic of the masks, empty for none.

    Raises:
        InvalidBag: no such camera or topic.
    """
    names = usual_names(bag.topics)
    topics = {names.get(name, name): replace(topic, name=names.get(name, name)) for name, topic in bag.topics.items()}
    recorded = {new: old for old, new in names.items()}
    cameras = [each for each in find_inputs(topics).cameras if topics[each.image].count]
    wanted = camera.strip("/")
    chosen = [each for each in cameras if not camera or wanted in _names_of(each, recorded)]
    if not chosen:
        there = [each.name for each in cameras]
        raise InvalidBag(f"no camera '{camera}' in '{bag.path}'; it has {there}, see: fourd bag info {bag.path}")
    if masks and masks not in bag.topics:
        raise InvalidBag(f"no masks on '{masks}' in '{bag.path}'; it has {sorted(bag.topics)}")
    best = max(chosen, key=lambda each: (bool(each.camera_info), bool(each.depth)))
    image, info, depth = (recorded.get(name, name) for name in (best.image, best.camera_info, best.depth))
    return BagTopics(image=image, camera_info=info, depth=depth, masks=masks)


def read_bag_clip(path: Path | str, options: ClipOptions | None = None, *, camera: str = "", masks: str = "") -> Clip:
    """Read the clip of a camera.

    Args:
        path: rosbag2 folder, ``.mcap`` or ``.db3`` file.
        options: which frames, and in which size; its rate has no say, since images bear their times.
        camera: namespace or image topic; empty for the first camera with calibration and depth.
        masks: topic of images whose values are the numbers of objects.

    Raises:
        InvalidBag: unreadable, or without that camera.
        InvalidClip: no images, or images of several sizes.
        InvalidImage: images in encodings that are not supported.
        InvalidCamera: no usable calibration.
    """
    options = options or ClipOptions()
    with BagReader(path) as bag:
        topics = find_clip_topics(bag, camera=camera, masks=masks)
        images = _Images(bag, topics.image, options)
        clip = replace(collect(images.frames(), source=Path(path)), name=clip_name(Path(path)))
        if topics.camera_info:
            clip = replace(clip, camera=images.calibrated(bag.first(topics.camera_info).message, clip))
        if topics.depth:
            clip = replace(clip, depth=images.beside(topics.depth, clip, depth_to_metres, np.float32(np.nan)))
        if topics.masks:
            clip = replace(clip, masks=images.beside(topics.masks, clip, _numbers, np.int32(0)))
        return clip


def _names_of(camera: CameraTopics, recorded: dict[str, str]) -> set[str]:
    return {camera.name, camera.image.strip("/"), recorded.get(camera.image, camera.image).strip("/")}


class _Images:
    """One pass over the images of a topic, and what was recorded beside those that were read."""

    def __init__(self, bag: BagReader, topic: str, options: ClipOptions) -> None:
        self._bag, self._topic, self._options = bag, topic, options
        self._stamps: list[int] = []
        self._recorded: list[int] = []
        self._size = (0, 0)

    def frames(self) -> Iterator[ClipFrame]:
        """Those that the options name."""
        for index, raw in islice(enumerate(self._in_time()), *self._options.span):
            rgb = image_to_rgb(self._bag.types.deserialize(raw.data, raw.typename))
            self._size = (rgb.shape[1], rgb.shape[0])
            yield fitted(ClipFrame(index=index, stamp_ns=self._stamps[-1], rgb=rgb), self._options.max_side)

    def calibrated(self, info: Any, clip: Clip) -> PinholeCamera:
        """The camera of a ``CameraInfo`` in the size of the clip."""
        camera = camera_from_info(info)
        if (camera.width, camera.height) != self._size:
            given = f"{camera.width} x {camera.height}"
            raise InvalidClip(f"camera_info is of {given} pixels, the images have {self._size[0]} x {self._size[1]}")
        return camera.scaled(clip.width, clip.height)

    def beside(self, topic: str, clip: Clip, decode: Callable[[Any], NDArray[Value]], unknown: Value) -> NDArray[Value]:
        """What a topic says at the times of the frames, in their size; `unknown` where it says nothing."""
        found = np.full(clip.rgb.shape[:3], unknown)
        period = np.median(np.diff(self._stamps)) if len(self._stamps) > 1 else LONGEST_WAIT
        distances = np.full(clip.frames, APART * float(period))
        start, stop = self._recorded[0] - LONGEST_WAIT, self._recorded[-1] + LONGEST_WAIT
        for raw in self._bag.raw([topic], start_ns=start, stop_ns=stop):
            away = np.abs(clip.stamps_ns - (header_stamp_ns(raw.data) or raw.stamp_ns))
            frame = int(np.argmin(away))
            if away[frame] < distances[frame]:
                values = decode(self._bag.types.deserialize(raw.data, raw.typename))
                found[frame] = nearest(values, (clip.width, clip.height))
                distances[frame] = away[frame]
        return found

    def _in_time(self) -> Iterator[RawMessage]:
        """Images whose stamps go on; others, as after a jump of the clock, are left out."""
        for raw in self._bag.raw([self._topic]):
            stamp_ns = header_stamp_ns(raw.data) or raw.stamp_ns
            if not self._stamps or stamp_ns > self._stamps[-1]:
                self._stamps.append(stamp_ns)
                self._recorded.append(raw.stamp_ns)
                yield raw


def _numbers(message: Any) -> NDArray[np.int32]:
    values = image_to_array(message)
    if values.ndim != 2 or values.dtype.kind not in "iu":
        given = f"{values.dtype} {list(values.shape)}"
        raise InvalidImage(f"masks are {given}; needed are numbers of objects in mono8 or 16UC1")
    return values.astype(np.int32)
