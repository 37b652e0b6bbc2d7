"""Frames of videos and folders of pictures, one at a time."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from fourd_ros.data.video import decode_timed
from fourd_ros.errors import InvalidClip, InvalidDataset

__all__ = ["PICTURES", "ClipFrame", "folder_frames", "list_pictures", "read_picture", "video_frames"]

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"})
MAX_PIXELS = 8192 * 8192

_NS = 1_000_000_000
_SECONDS = re.compile(r"(\d{9,11})\.(\d{1,9})")


@dataclass(frozen=True, kw_only=True)
class ClipFrame:
    """One frame.

    Args:
        index: in its source, from 0.
        stamp_ns: time of acquisition [ns].
        rgb: colour, shape [H, W, 3], uint8.
    """

    index: int
    stamp_ns: int
    rgb: NDArray[np.uint8]


def video_frames(path: Path, *, rate: float, max_pixels: int = MAX_PIXELS) -> Iterator[ClipFrame]:
    """Frames of a video.

    Args:
        path: of a file that FFmpeg reads.
        rate: frames a second where the video does not say when they are [Hz].
        max_pixels: of a frame; nothing larger is decoded.

    Raises:
        InvalidClip: no video, a damaged one, or frames too large.
    """
    if not path.is_file():
        raise InvalidClip(f"there is no video '{path}'")
    stamp_ns = None
    try:
        for index, (time, rgb) in enumerate(decode_timed(path, max_pixels=max_pixels)):
            stamp_ns = _after(stamp_ns, time, rate)
            yield ClipFrame(index=index, stamp_ns=stamp_ns, rgb=rgb)
    except InvalidDataset as error:
        raise InvalidClip(f"{error}; if only its end is damaged, read fewer frames of it") from error


def folder_frames(
    pictures: Sequence[Path], chosen: Sequence[int], *, rate: float, max_pixels: int = MAX_PIXELS
) -> Iterator[ClipFrame]:
    """Some of a list of pictures.

    Args:
        pictures: files, in their order.
        chosen: indices of those wanted.
        rate: pictures a second [Hz]; without effect where the files are named after their times, in seconds.
        max_pixels: of a picture; nothing larger is decoded.

    Raises:
        InvalidClip: a file that is no picture, is damaged or too large.
    """
    stamps = _stamps(pictures, rate)
    for index in chosen:
        yield ClipFrame(index=index, stamp_ns=stamps[index], rgb=read_picture(pictures[index], max_pixels=max_pixels))


def list_pictures(folder: Path) -> list[Path]:
    """Pictures in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES and path.is_file())


def read_picture(path: Path, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Colour of a picture, upright, shape [H, W, 3], uint8.

    Raises:
        InvalidClip: missing, no picture, damaged, or too large.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            if width * height > max_pixels:
                raise InvalidClip(f"'{path}' has {width} x {height} pixels; at most {max_pixels} are read")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"), np.uint8)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidClip(f"'{path}' is no readable picture: {error}") from error


def _after(former_ns: int | None, time: float | None, rate: float) -> int:
    """Stamps always increase, whatever a film says."""
    stamp_ns = None if time is None else round(time * _NS)
    if former_ns is None:
        return stamp_ns or 0
    return stamp_ns if stamp_ns is not None and stamp_ns > former_ns else former_ns + round(_NS / rate)


def _stamps(pictures: Sequence[Path], rate: float) -> list[int]:
    matches = [match for path in pictures if (match := _SECONDS.fullmatch(path.stem))]
    stamps = [int(match[1]) * _NS + int(match[2].ljust(9, "0")) for match in matches]
    if len(stamps) == len(pictures) and all(a < b for a, b in pairwise(stamps)):
        return stamps
    return [round(index * _NS / rate) for index in range(len(pictures))]
