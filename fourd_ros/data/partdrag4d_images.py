"""Pictures of PartDrag-4D as networks see them, and views that are missing.

Rules: PartRM 2025 (arXiv 2503.19913), sections 2.1 and 8.7 of the specification this was written from.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fourd_ros.data.partdrag4d_cameras import INPUT_VIEWS, VIEWS, FloatArray, read_camera
from fourd_ros.errors import InvalidDataset, MissingDependency
from fourd_ros.machine import pip_install

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

MAX_PIXELS = 4096 * 4096
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet; what is subtracted from colours and what they are divided by."""

_LOG = logging.getLogger(__name__)


def read_rgba(path: Path) -> Pixels:
    """A picture with its transparency, shape [H, W, 4]; opaque where it has none.

    Raises:
        InvalidDataset: missing, damaged, not square, or too large.
    """
    try:
        with Image.open(path, formats=("PNG",)) as image:
            width, height = image.size
            if width != height or width * height > MAX_PIXELS:
                raise InvalidDataset(f"'{path}' has {width} x {height} pixels; needed is a square of up to 4096")
            return np.asarray(image.convert("RGBA"))
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise InvalidDataset(f"'{path}' is no readable PNG: {error}") from error


def on_white(rgba: Pixels) -> Floats:
    """Colour before white, 0..1, and alpha, from bytes [*, H, W, 4]: shape [*, 4, H, W]."""
    values = np.ascontiguousarray(np.moveaxis(rgba, -1, -3)).astype(np.float32)
    values /= np.float32(255)
    alpha = values[..., 3:, :, :]
    values[..., :3, :, :] *= alpha
    values[..., :3, :, :] += 1 - alpha
    return values


def resize(images: Floats, size: int) -> Floats:
    """Bilinear with half-pixel centres and no antialiasing, shape [n, C, H, W] -> [n, C, size, size].

    Raises:
        MissingDependency: torch is not installed.
    """
    if images.shape[2:] == (size, size):
        return images
    torch = _torch()
    tensor = torch.from_numpy(np.ascontiguousarray(images))
    resized: Floats = torch.nn.functional.interpolate(
        tensor, size=(size, size), mode="bilinear", align_corners=False
    ).numpy()
    return resized


def windowed(images: Floats, window: tuple[float, float, float], size: int) -> Floats:
    """A square part of pictures, resized as by `resize`.

    Args:
        images: shape [n, C, H, H].
        window: left, top and side as shares of H; they are rounded to whole pixels.
        size: rows and columns afterwards.
    """
    left, top, side = (round(share * images.shape[-1]) for share in window)
    return resize(images[..., top : top + side, left : left + side], size)


def normalise_colours(images: Floats) -> Floats:
    """Colours 0..1 [n, 3, H, W] as networks of PartDrag-4D see them; those of Objaverse see them as they are."""
    mean, spread = (np.array(values, np.float32)[:, None, None] for values in (MEAN, SPREAD))
    return (images - mean) / spread


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """Pictures and cameras of a state.

    Args:
        rgba: shape [V, H, W, 4].
        raw_poses: shape [V, 4, 4].
        missing: views that could not be read; others stand in for them.
        first_pose: raw pose of view 0 where that is not the first of these views, shape [4, 4].
    """

    rgba: Pixels
    raw_poses: FloatArray
    missing: tuple[int, ...] = ()
    first_pose: FloatArray | None = None


def load_views(
    picture: Callable[[int], Path],
    camera: Callable[[int], Path],
    *,
    generated: Callable[[int], Path] | None = None,
    numbers: Sequence[int] = range(VIEWS),
    official_compat: bool = False,
) -> Views:
    """The views of a state; what cannot be read is left out with a warning, and the last good one stands in at the end.

    Args:
        picture: path of the picture of a view.
        camera: path of its camera.
        generated: path of a picture that was made of view 0, for views 1 to 3.
        numbers: of the views.
        official_compat: whether a generated picture is read depends on how many views were good so far, as in the
            original, and not on the number of the view.

    Raises:
        InvalidDataset: no view can be read, or pictures have different sizes.
    """
    pictures: list[Pixels] = []
    poses: list[FloatArray] = []
    missing = []
    for number in numbers:
        place = len(pictures) if official_compat else number
        made = generated is not None and 0 < place < INPUT_VIEWS
        try:
            path = generated(number) if made and generated is not None else picture(number)
            rgba, pose = read_rgba(path), read_camera(camera(number))
        except InvalidDataset as error:
            _LOG.warning("view %d is left out: %s", number, error)
            missing.append(number)
            continue
        pictures.append(rgba)
        poses.append(pose)
    if not pictures:
        raise InvalidDataset(f"no view of '{picture(0).parent}' can be read; needed are NNN.png with NNN_camera.json")
    if len({len(image) for image in pictures}) > 1:
        raise InvalidDataset(f"the pictures of '{picture(0).parent}' have different sizes")
    fill = len(numbers) - len(pictures)
    return Views(
        rgba=np.stack(pictures + pictures[-1:] * fill),
        raw_poses=np.stack(poses + poses[-1:] * fill),
        missing=tuple(missing),
    )


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependency(f"pictures are resized with torch: {pip_install('torch')}") from error
    return torch
