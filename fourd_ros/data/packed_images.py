"""Single images as bytes of a column: depth as TIFF, segmentation as PNG, both exact; any image library reads them."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from fourd_ros.errors import InvalidImage

_PREDICTOR = 317
_HORIZONTAL = 2
_MODES = {"F": np.float32, "L": np.uint8, "RGB": np.uint8}


def pack_depth(depth: NDArray[np.float32]) -> bytes:
    """A depth image [m], NaN where unknown, shape [H, W], as a compressed TIFF of float32."""
    file = io.BytesIO()
    Image.fromarray(depth).save(file, "TIFF", compression="tiff_adobe_deflate", tiffinfo={_PREDICTOR: _HORIZONTAL})
    return file.getvalue()


def pack_labels(labels: NDArray[np.uint8]) -> bytes:
    """An image of labels, shape [H, W], as PNG."""
    file = io.BytesIO()
    Image.fromarray(labels).save(file, "PNG", compress_level=3)
    return file.getvalue()


def unpack(data: bytes, *, size: tuple[int, int], mode: str) -> NDArray[Any]:
    """The pixels of one image.

    Args:
        data: of a TIFF, PNG or JPEG file.
        size: width and height that it must have; checked before anything is decoded.
        mode: ``F`` (float32), ``L`` (uint8) or ``RGB`` (uint8, also from greys and palettes).

    Returns:
        Shape [H, W] or [H, W, 3].

    Raises:
        InvalidImage: it is none of these, of another size, or of another kind of pixels.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF", "PNG", "JPEG")) as image:
            if image.size != size:
                raise InvalidImage(f"an image of {image.size[0]} x {image.size[1]}, needed {size[0]} x {size[1]}")
            if image.mode != mode and mode != "RGB":
                raise InvalidImage(f"an image with pixels '{image.mode}', needed '{mode}'")
            return np.asarray(image.convert(mode), _MODES[mode])
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InvalidImage(f"{len(data)} bytes are no image: {error}") from error
