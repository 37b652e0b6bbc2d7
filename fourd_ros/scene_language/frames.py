"""From images to what the geometry network takes: colours 0..1, sides of whole patches."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fourd_ros.errors import InvalidImage, InvalidParameter

Mode = Literal["crop", "pad", "original", "gt"]
"""``crop``: 518 wide, at most 518 high, the middle rows. ``pad``: all of it in 518 x 518 on white. ``original``: as it
is but for a rim that is no whole patch. ``gt``: as it is."""

SIDE, PATCH, WHITE = 518, 14, 255
MAX_PIXELS = 64_000_000

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class PreparedFrames:
    """Images as the network takes them.

    Args:
        pixels: 0..1, shape [N, 3, H, W], float32.
        width: of the last image before it was prepared (but after a turn) [px].
        height: of it [px].
    """

    pixels: NDArray[np.float32]
    width: int
    height: int


def prepare_frames(
    images: Sequence[Pixels], *, mode: Mode = "crop", side: int = SIDE, official_compat: bool = False
) -> PreparedFrames:
    """Images of any sizes in one array; where their sizes differ afterwards, white is put around the smaller ones.

    Args:
        images: colour, or colour with opacity (put on white), shape [H, W, 3] or [H, W, 4].
        mode: see `Mode`.
        side: in place of 518 in `Mode`, whole patches; smaller networks are trained on smaller images [px].
        official_compat: turn images that are wider than high by 90 degrees to the left in the modes ``original`` and
            ``gt``, as the original does; poses then are those of a turned camera.

    Raises:
        InvalidImage: none, no 8-bit colours, or smaller than a patch.
        InvalidParameter: an unknown mode, or a side that is not whole patches.
    """
    check_side(side)
    if mode not in get_args(Mode):
        raise InvalidParameter(f"mode '{mode}' of frames; there are {get_args(Mode)}")
    if not images:
        raise InvalidImage("no image; needed is one at least")
    turns = official_compat and mode in ("original", "gt")
    opened = [_turned(_on_white(image)) if turns else _on_white(image) for image in images]
    fitted = [_FITTERS[mode](image, side) for image in opened]
    height, width = (max(array.shape[axis] for array in fitted) for axis in (0, 1))
    if min(height, width) < PATCH:
        raise InvalidImage(f"images of {width} x {height} after mode '{mode}'; needed are {PATCH} pixels at least")
    pixels = np.stack([_padded(array, height, width) for array in fitted])
    return PreparedFrames(
        pixels=np.ascontiguousarray(pixels.transpose(0, 3, 1, 2), np.float32) / np.float32(WHITE),
        width=opened[-1].width,
        height=opened[-1].height,
    )


def read_image(path: Path | str) -> Pixels:
    """An image file, with its opacity if it has one, shape [H, W, 3] or [H, W, 4].

    Raises:
        InvalidImage: it cannot be read, or has more than `MAX_PIXELS`.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise InvalidImage(f"'{path}' has {image.width} x {image.height} pixels; at most {MAX_PIXELS} are read")
            return np.asarray(image if image.mode == "RGBA" else image.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InvalidImage(f"'{path}' is no image that can be read: {error}") from error


def whole_patches(length: float) -> int:
    """The nearest number of pixels that is a multiple of a patch; of two as near that of the even multiple."""
    return round(length / PATCH) * PATCH


def check_side(side: int) -> None:
    """Raises InvalidParameter for a side of prepared images that is not whole patches."""
    if side < PATCH or side % PATCH:
        raise InvalidParameter(f"images with a side of {side} pixels; needed is a multiple of {PATCH}")


def _on_white(image: Pixels) -> Image.Image:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (3, 4) or not image.size:
        raise InvalidImage(
            f"an image of {image.dtype} {list(image.shape)}; needed are 8-bit colours [H, W, 3] or [H, W, 4]: convert "
            "grey or 16-bit images first"
        )
    opened = Image.fromarray(image)
    if opened.mode == "RGB":
        return opened
    return Image.alpha_composite(Image.new("RGBA", opened.size, (WHITE,) * 4), opened).convert("RGB")


def _turned(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.ROTATE_90) if image.width > image.height else image


def _resized(image: Image.Image, width: int, height: int) -> Pixels:
    if min(width, height) < PATCH:
        raise InvalidImage(
            f"an image of {image.width} x {image.height} would be {width} x {height}; it is too long and narrow"
        )
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def _cropped(image: Image.Image, side: int) -> Pixels:
    height = whole_patches(image.height * (side / image.width))
    if height * side > MAX_PIXELS:
        raise InvalidImage(f"an image of {image.width} x {image.height} is too high for mode 'crop'; use 'pad'")
    array = _resized(image, side, height)
    above = max(0, (height - side) // 2)
    return array[above : above + side]


def _fitted(image: Image.Image, side: int) -> Pixels:
    if image.width >= image.height:
        array = _resized(image, side, whole_patches(image.height * (side / image.width)))
    else:
        array = _resized(image, whole_patches(image.width * (side / image.height)), side)
    return _padded(array, side, side)


def _only_whole(image: Image.Image, side: int) -> Pixels:
    width, height = (length // PATCH * PATCH for length in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return np.asarray(image)[top : top + height, left : left + width]


def _as_it_is(image: Image.Image, side: int) -> Pixels:
    return np.asarray(image)


def _padded(array: Pixels, height: int, width: int) -> Pixels:
    """With white around, the smaller half before."""
    rows, columns = height - array.shape[0], width - array.shape[1]
    before = rows // 2, columns // 2
    around = ((before[0], rows - before[0]), (before[1], columns - before[1]), (0, 0))
    return np.pad(array, around, constant_values=WHITE)


_FITTERS: dict[str, Any] = {
    "crop": _cropped,
    "pad": _fitted,
    "original": _only_whole,
    "gt": _as_it_is,
}
