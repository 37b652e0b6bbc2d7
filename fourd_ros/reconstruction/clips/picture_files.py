"""Pictures in files, written whole or not at all."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidImage
from fourd_ros.whole_file import whole_file

JPEG_QUALITY = 95


def write_picture(path: Path, pixels: NDArray[Any]) -> None:
    """Write RGB [H, W, 3] uint8 or grey [H, W] uint8 or uint16, as the ending of `path` says.

    Raises:
        InvalidImage: the format does not take such pixels.
    """
    with whole_file(path) as file:
        file.write(encode_picture(pixels, path.suffix))


def encode_picture(pixels: NDArray[Any], ending: str) -> bytes:
    """The bytes of a ``.png`` or ``.jpg``, JPEG with a quality of 95.

    Raises:
        InvalidImage: the format does not take such pixels.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if ending == ".jpg" else []
    try:
        done, data = cv2.imencode(ending, pixels[..., ::-1] if pixels.ndim == 3 else pixels, options)
    except cv2.error as error:
        raise InvalidImage(f"{pixels.dtype} {list(pixels.shape)} cannot be a {ending}: {error}") from error
    if not done:
        raise InvalidImage(f"{pixels.dtype} {list(pixels.shape)} cannot be a {ending}")
    return bytes(np.asarray(data))
