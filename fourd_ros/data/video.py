"""Colour pictures in mp4 files, written and read one at a time (PyAV)."""

import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count as counted
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset, InvalidImage, InvalidParameter
from fourd_ros.whole_file import whole_file

Picture = NDArray[np.uint8]

KEYFRAME_EVERY = 2
"""Pictures from one that stands alone to the next: any picture costs at most that many to decode."""

MAX_RATE_DENOMINATOR = 1001
MAX_CRF = 51
MAX_PIXELS = 4096 * 4096
_BT601, _LIMITED = 6, 1


@dataclass(frozen=True, kw_only=True)
class VideoFormat:
    """How pictures become a film.

    Args:
        encoder: of FFmpeg.
        pixels: FFmpeg's name of the pixel format; 4:2:0 keeps a quarter of the colour.
        crf: quality, lower is better and larger; 0 is the best there is.
        options: further options of the encoder.
        bytes_per_pixel: what a pixel takes at most, measured on simulated pictures; plans the size of files.
    """

    encoder: str
    pixels: str
    crf: int
    options: tuple[tuple[str, str], ...] = ()
    bytes_per_pixel: float

    def with_crf(self, crf: int | None) -> "VideoFormat":
        """The same of another quality; None keeps it.

        Raises:
            InvalidParameter: the format is lossless, or there is no such quality.
        """
        if crf is None:
            return self
        if self.pixels == _RGB or not 0 <= crf <= MAX_CRF:
            raise InvalidParameter(f"crf {crf} for {self.pixels}; needed is 0..{MAX_CRF}, lossless films have none")
        return replace(self, crf=crf)


_RGB = "rgb24"
_QUICK = (("preset", "veryfast"), ("bf", "0"))

FORMATS = {
    "faithful": VideoFormat(
        encoder="libx264", pixels="yuv444p", crf=12, options=(*_QUICK, ("tune", "psnr")), bytes_per_pixel=0.6
    ),
    "lossless": VideoFormat(encoder="libx264rgb", pixels=_RGB, crf=0, options=_QUICK, bytes_per_pixel=1.0),
    "compatible": VideoFormat(encoder="libx264", pixels="yuv420p", crf=18, options=_QUICK, bytes_per_pixel=0.3),
    "small": VideoFormat(
        encoder="libsvtav1", pixels="yuv420p", crf=30, options=(("preset", "12"),), bytes_per_pixel=0.3
    ),
}
"""``faithful``: more than 40 dB from the source, colour at every pixel. ``lossless``: every bit. ``compatible``: plays
everywhere, a quarter of the colour. ``small``: AV1 as LeRobot records it."""


def encode(pictures: Iterable[Picture], path: Path, *, rate: float, video: VideoFormat) -> None:
    """Write `pictures`, shape [H, W, 3], uint8, all of one size, whole or not at all.

    Args:
        pictures: at least one; taken one by one.
        path: of the mp4 file.
        rate: pictures a second [Hz].
        video: the format.

    Raises:
        InvalidImage: there is no picture, their sizes differ, or the encoder does not take them.
        InvalidParameter: no film has that rate.
    """
    import av

    pictures = iter(pictures)
    first = next(pictures, None)
    if first is None:
        raise InvalidImage(f"no pictures for '{path}'")
    try:
        with whole_file(path) as file, av.open(file, "w", format="mp4") as container:
            stream = _video_stream(container, first.shape, rate, video)
            with _priority_kept():
                stream.codec_context.open()
            for picture in _all_of_one_size(first, pictures):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format=_RGB)))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        size = f"{first.shape[1]} x {first.shape[0]}"
        raise InvalidImage(f"{video.encoder} cannot write {video.pixels} pictures of {size}: {error}") from error


def describe(path: Path) -> dict[str, Any]:
    """What LeRobot notes about a film (``video.codec``, ``video.pix_fmt`` ...).

    Raises:
        InvalidDataset: unreadable.
    """
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return {
                "video.height": stream.height,
                "video.width": stream.width,
                "video.codec": stream.codec.canonical_name,
                "video.pix_fmt": stream.pix_fmt,
                "video.fps": plain(float(stream.average_rate or 0)),
                "video.channels": 3,
                "is_depth_map": False,
                "has_audio": False,
            }
    except (av.FFmpegError, OSError, IndexError) as error:
        raise InvalidDataset(f"'{path}' is no film: {error}") from error


def plain(rate: float) -> float:
    """A whole number as one, since LeRobot counts pictures a second in whole numbers where it can."""
    return int(rate) if rate == int(rate) else rate


def decode(path: Path, *, size: tuple[int, int], rate: float, start: float = 0.0) -> Iterator[Picture]:
    """Pictures of a film from `start` on, one for every 1 / `rate` seconds.

    Args:
        path: of the file.
        size: width and height that they must have; nothing larger is decoded.
        rate: pictures a second [Hz].
        start: time of the first one [s].

    Yields:
        Colour, shape [H, W, 3], uint8.

    Raises:
        InvalidDataset: unreadable, of another size, or a picture is missing.
    """
    import av

    try:
        with av.open(str(path)) as container:
            yield from _pictures(container, size, rate, start)
    except (av.FFmpegError, OSError, InvalidImage) as error:
        raise InvalidDataset(f"'{path}' is not the film it must be: {error}") from error


def decode_all(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[Picture]:
    """Pictures of a film in their order, whatever their times; for films of others.

    Args:
        path: of the file.
        max_pixels: of a picture; nothing larger is decoded.

    Yields:
        Colour, shape [H, W, 3], uint8, all of one size.

    Raises:
        InvalidDataset: unreadable, too large, or pictures of several sizes.
    """
    for frame in _frames_of(path, max_pixels):
        yield frame.to_ndarray(format=_RGB)


def decode_timed(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[float | None, Picture]]:
    """Pictures of a film with their times, upright; for films of others, such as those of telephones.

    Args:
        path: of the file.
        max_pixels: of a picture; nothing larger is decoded.

    Yields:
        Time [s], None where the film has none; colour, turned as the film asks for by quarters, shape [H, W, 3], uint8.

    Raises:
        InvalidDataset: unreadable, too large, or pictures of several sizes.
    """
    for frame in _frames_of(path, max_pixels):
        picture = frame.to_ndarray(format=_RGB)
        yield frame.time, np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))


def _frames_of(path: Path, max_pixels: int) -> Iterator[Any]:
    import av

    try:
        with av.open(str(path)) as container:
            stream = _first_stream(container)
            if stream.width * stream.height > max_pixels:
                raise InvalidImage(f"its pictures are {stream.width} x {stream.height}; at most {max_pixels} pixels")
            size = stream.width, stream.height
            for frame in container.decode(stream):
                _check_size(frame, size)
                yield frame
    except (av.FFmpegError, OSError, InvalidImage) as error:
        raise InvalidDataset(f"'{path}' is not the film it must be: {error}") from error


def _video_stream(container: Any, shape: tuple[int, ...], rate: float, video: VideoFormat) -> Any:
    os.environ.setdefault("SVT_LOG", "1")  # its encoder greets on standard error otherwise
    options = {"crf": str(video.crf), "g": str(KEYFRAME_EVERY), **dict(video.options)}
    stream = container.add_stream(video.encoder, rate=as_fraction(rate), options=options)
    stream.height, stream.width = shape[:2]
    stream.pix_fmt = video.pixels
    if video.pixels != _RGB:
        stream.codec_context.colorspace, stream.codec_context.color_range = _BT601, _LIMITED
    return stream


@contextmanager
def _priority_kept() -> Iterator[None]:
    """SVT-AV1 makes its threads and the one that opens it real-time where it may (as root): all else would starve."""
    before = {thread: _priority(thread) for thread in _threads()}
    own = _priority(threading.get_native_id())
    try:
        yield
    finally:
        for thread in _threads():
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, *before.get(thread, own))


def _threads() -> list[int]:
    return [int(name) for name in os.listdir("/proc/self/task")]


def _priority(thread: int) -> tuple[int, os.sched_param]:
    return os.sched_getscheduler(thread), os.sched_getparam(thread)


def as_fraction(rate: float) -> Fraction:
    """The rate that a film can have: 29.97 is 30000 / 1001.

    Raises:
        InvalidParameter: no such fraction comes near it.
    """
    fraction = Fraction(rate).limit_denominator(MAX_RATE_DENOMINATOR)
    if not fraction or abs(float(fraction) - rate) > 1e-6 * rate:
        raise InvalidParameter(f"{rate} pictures a second are no fraction with a denominator to {MAX_RATE_DENOMINATOR}")
    return fraction


def _all_of_one_size(first: Picture, others: Iterator[Picture]) -> Iterator[Picture]:
    yield first
    for picture in others:
        if picture.shape != first.shape:
            raise InvalidImage(f"a picture of shape {list(picture.shape)} after one of {list(first.shape)}")
        yield picture


def _pictures(container: Any, size: tuple[int, int], rate: float, start: float) -> Iterator[Picture]:
    stream = _first_stream(container)
    _check_size(stream, size)
    half = 0.5 / rate
    if start > half:
        container.seek(int((start - half) / stream.time_base), stream=stream)
    wanted = (start + number / rate for number in counted())
    time = next(wanted)
    for frame in container.decode(stream):
        if frame.time < time - half:
            continue
        if frame.time > time + half:
            raise InvalidImage(f"the picture at {time:.6f} s is missing; the next is at {frame.time:.6f} s")
        _check_size(frame, size)
        yield frame.to_ndarray(format=_RGB)
        time = next(wanted)


def _first_stream(container: Any) -> Any:
    if not container.streams.video:
        raise InvalidImage("it has no pictures")
    return container.streams.video[0]


def _check_size(picture: Any, size: tuple[int, int]) -> None:
    if (picture.width, picture.height) != size:
        raise InvalidImage(f"its pictures are {picture.width} x {picture.height}, needed {size[0]} x {size[1]}")
