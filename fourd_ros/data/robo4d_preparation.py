"""Size and length of clips before they are encoded, as in the original.

Source: Kinema4D 2026 (arXiv 2603.16669), written from a specification; the rules for pictures are those of
torch.nn.functional.interpolate and of torchvision's centre crop.
"""

import math
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidParameter, MissingDependency
from fourd_ros.machine import pip_install

FRAMES, HEIGHT, WIDTH = 49, 480, 720
"""Of a clip of the original."""

SIZE_UNIT = 16
"""Pixels that height and width are multiples of: 8 a latent, 2 latents a token."""

TIME_FACTOR = 4
"""Frames a latent, after the first frame, which has one of its own."""

Filter = Literal["bilinear", "nearest"]
Item = TypeVar("Item", bound=np.generic)


def check_clip_size(frames: int, height: int, width: int) -> None:
    """See that clips of that size can be encoded.

    Raises:
        InvalidParameter: frames are not 4 k + 1, or height or width are not multiples of 16.
    """
    if frames < 1 or (frames - 1) % TIME_FACTOR:
        raise InvalidParameter(f"clips of {frames} frames; needed are {TIME_FACTOR} k + 1, such as 17 or {FRAMES}")
    if min(height, width) < SIZE_UNIT or height % SIZE_UNIT or width % SIZE_UNIT:
        raise InvalidParameter(f"pictures of {width} x {height} pixels; needed are multiples of {SIZE_UNIT}")


def covering_size(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a picture of `size` when it just covers `target`, rounded down."""
    (height, width), (high, wide) = size, target
    return (high, width * high // height) if height * wide < high * width else (height * wide // width, wide)


def crop_start(length: int, target: int) -> int:
    """First row or column that stays when `target` of `length` do: halves go to the even number."""
    return round((length - target) / 2)


def resize_centre_crop(frames: NDArray[Any], size: tuple[int, int], mode: Filter) -> NDArray[Any]:
    """Resize until `size` is covered, then cut off what is too much on both sides.

    Args:
        frames: numbers, shape [T, H, W, C]; for ``nearest`` also without channels.
        size: height and width.
        mode: ``bilinear`` with antialiasing for colour; ``nearest`` for points, which must not be mixed.

    Returns:
        Shape [T, *size, C]; the same array where nothing is to be done.
    """
    if frames.shape[1:3] == size:
        return frames
    covering = covering_size((frames.shape[1], frames.shape[2]), size)
    if mode == "nearest":
        rows, columns = (nearest_indices(length, new) for length, new in zip(frames.shape[1:3], covering, strict=True))
        return frames[:, cropped(rows, size[0])][:, :, cropped(columns, size[1])]
    resized = resize_smoothly(frames, covering)
    top, left = crop_start(covering[0], size[0]), crop_start(covering[1], size[1])
    return resized[:, top : top + size[0], left : left + size[1]]


def resize_smoothly(frames: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Bilinear with antialiasing, float32, shape [T, H, W, C] -> [T, *size, C].

    Raises:
        MissingDependency: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(f"pictures are resized with torch: {pip_install('torch')}") from error
    pictures = torch.from_numpy(np.ascontiguousarray(np.moveaxis(frames, -1, 1), np.float32))
    resized = torch.nn.functional.interpolate(pictures, size=size, mode="bilinear", align_corners=False, antialias=True)
    return np.moveaxis(resized.numpy(), 1, -1)


def nearest_indices(length: int, new: int) -> NDArray[np.intp]:
    """Of `length` rows, those that stand for each of `new`: floor(i * length / new), in float32 as torch has it."""
    scale = np.float32(length) / np.float32(new)
    return np.minimum((np.arange(new, dtype=np.float32) * scale).astype(np.intp), length - 1)


def cropped(indices: NDArray[np.intp], target: int) -> NDArray[np.intp]:
    """The `target` in the middle."""
    start = crop_start(len(indices), target)
    return indices[start : start + target]


def pad_or_crop_temporal(frames: NDArray[Item], count: int) -> NDArray[Item]:
    """Frames of the right number, the same choice for every stream of a clip.

    Args:
        frames: shape [T, *].
        count: how many are needed.

    Returns:
        The middle ones of too many; too few go on backwards from the last one, once, so to 2 T frames at most.
    """
    if len(frames) >= count:
        start = (len(frames) - count) // 2
        return frames[start : start + count]
    return np.concatenate([frames, frames[::-1][: count - len(frames)]])


def inference_size(height: int, width: int, *, area: int = HEIGHT * WIDTH) -> tuple[int, int]:
    """Height and width at which the original generates from a first frame: its aspect, that area, multiples of 16."""
    aspect = height / width
    rows, columns = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
    return rows // SIZE_UNIT * SIZE_UNIT, columns // SIZE_UNIT * SIZE_UNIT
