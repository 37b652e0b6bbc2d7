"""Clips from a video file, a folder of pictures, or the folder of a scene of DynamicVerse."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from fourd_ros.errors import InvalidClip, InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.clip_frames import (
    ClipFrame,
    folder_frames,
    list_pictures,
    read_picture,
    video_frames,
)
from fourd_ros.reconstruction.clips.depth_files import FOLDER, read_intrinsics, read_unidepth
from fourd_ros.reconstruction.clips.picture_size import fitting_size, nearest, shrunk
from fourd_ros.reconstruction.masks.mask_files import find_masks, read_masks

__all__ = ["ClipOptions", "clip_frames", "clip_name", "collect", "fitted", "read_clip"]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.+=@-]+")
_NAME_LENGTH = 100
_BAGS = {".mcap", ".db3"}


@dataclass(frozen=True, kw_only=True)
class ClipOptions:
    """Which frames of a source are read, and in which size.

    Args:
        start: index of the first one.
        stride: every so many of the source's frames is read.
        max_frames: no more are read.
        max_side: larger frames are shrunk to so many pixels on their longer side.
        rate: frames a second of sources that do not tell when they were taken [Hz].

    Raises:
        InvalidParameter: a value out of range.
    """

    start: int = 0
    stride: int = 1
    max_frames: int = 300
    max_side: int = 960
    rate: float = 30.0

    def __post_init__(self) -> None:
        least = {"start": 0, "stride": 1, "max_frames": 1, "max_side": 16}
        for name, lowest in least.items():
            if getattr(self, name) < lowest:
                raise InvalidParameter(f"{name} of a clip is {getattr(self, name)}; it must be at least {lowest}")
        if not 0 < self.rate < np.inf:
            raise InvalidParameter(f"rate of a clip is {self.rate} Hz; it must be positive and finite")

    @property
    def span(self) -> tuple[int, int, int]:
        """First frame that is read, where reading ends, and the step between frames, for sources of unknown length."""
        return self.start, self.start + self.stride * (self.max_frames - 1) + 1, self.stride

    def indices(self, count: int) -> list[int]:
        """The frames that are read of a source with `count` of them."""
        return list(range(count)[slice(*self.span)])


def read_clip(source: Path | str, options: ClipOptions | None = None) -> Clip:
    """Read a clip; bags are read by `fourd_ros.bridge.bag_clip`.

    Args:
        source: a video file; a folder of pictures; or a folder with ``rgb/`` and where they are there
            ``unidepth/depth.npy``, ``K.npy`` or ``unidepth/intrinsics.npy``, and masks in ``qwen/Annotations/`` or
            ``segmentation/frames/masks/`` (DynamicVerse's specification, section 1).
        options: which frames, and in which size.

    Raises:
        InvalidClip: nothing there, no frames, frames of several sizes, damage, or parts that do not fit together.
    """
    source, options = Path(source), options or ClipOptions()
    if source.suffix in _BAGS or (source / "metadata.yaml").is_file():
        raise InvalidClip(f"'{source}' is a bag; read it with fourd_ros.bridge.bag_clip.read_bag_clip")
    clip = collect(clip_frames(source, options), source=source)
    return _with_scene(clip, source, options) if source.is_dir() else clip


def clip_frames(source: Path | str, options: ClipOptions | None = None) -> Iterator[ClipFrame]:
    """The frames of a source one at a time, for films that do not fit into memory.

    Arguments and errors are those of `read_clip`.
    """
    source, options = Path(source), options or ClipOptions()
    if source.is_dir():
        pictures = _pictures(source)
        frames: Iterator[ClipFrame] = folder_frames(pictures, options.indices(len(pictures)), rate=options.rate)
    else:
        frames = islice(video_frames(source, rate=options.rate), *options.span)
    for frame in frames:
        yield fitted(frame, options.max_side)


def collect(frames: Iterable[ClipFrame], *, source: Path) -> Clip:
    """A clip of frames.

    Raises:
        InvalidClip: there is none, or they are of several sizes.
    """
    found = list(frames)
    if not found:
        raise InvalidClip(f"'{source}' gives no frames; is it empty, or does the clip start behind its end?")
    for frame in found:
        if frame.rgb.shape != found[0].rgb.shape:
            first, other = (f"{shape[1]} x {shape[0]}" for shape in (found[0].rgb.shape, frame.rgb.shape))
            raise InvalidClip(f"frame {frame.index} of '{source}' has {other} pixels, the first one has {first}")
    return Clip(
        name=clip_name(source),
        rgb=np.stack([frame.rgb for frame in found]),
        stamps_ns=np.array([frame.stamp_ns for frame in found], np.int64),
    )


def fitted(frame: ClipFrame, max_side: int) -> ClipFrame:
    """The frame, shrunk where its longer side is larger than `max_side` [px]."""
    size = fitting_size(frame.rgb.shape[1], frame.rgb.shape[0], max_side)
    return replace(frame, rgb=shrunk(frame.rgb, size))


def clip_name(source: Path) -> str:
    """A name for what is made of a source, fit for a file name."""
    name = source.stem if source.is_file() else source.resolve().name
    return _NOT_IN_NAMES.sub("_", name).lstrip("-.")[:_NAME_LENGTH] or "clip"


def _pictures(folder: Path) -> list[Path]:
    inner = folder / "rgb"
    pictures = list_pictures(inner if inner.is_dir() else folder)
    if not pictures:
        raise InvalidClip(f"no pictures in '{folder}' or its folder rgb/; a video is named by its file")
    return pictures


def _with_scene(clip: Clip, scene: Path, options: ClipOptions) -> Clip:
    """What else the folder of a scene holds."""
    pictures = _pictures(scene)
    chosen, size = options.indices(len(pictures)), (clip.width, clip.height)
    height, width = read_picture(pictures[0]).shape[:2]
    depth, masks = scene / FOLDER / "depth.npy", find_masks(scene)
    numbers = None if masks is None else read_masks(masks, frames=len(pictures), width=width, height=height)
    return replace(
        clip,
        camera=_calibration(clip, scene, width, height),
        depth=read_unidepth(depth, frames=len(pictures), chosen=chosen, size=size) if depth.is_file() else None,
        masks=None if numbers is None else nearest(numbers[chosen], size),
    )


def _calibration(clip: Clip, scene: Path, width: int, height: int) -> PinholeCamera | None:
    """Of the frames as they are in the clip; K.npy, where it is there, comes before what a network guessed."""
    for path in (scene / "K.npy", scene / FOLDER / "intrinsics.npy"):
        if path.is_file():
            return read_intrinsics(path, width=width, height=height).scaled(clip.width, clip.height)
    return None
