"""``sensor_msgs/Image`` and ``CompressedImage`` <-> arrays, as views where the layout allows it.

Messages are read by their field names only, so those of rclpy and of rosbags both do.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fourd_ros.bridge.buffers import append_bytes, from_field
from fourd_ros.bridge.compressed_images import compress, compressed_size, decompress
from fourd_ros.bridge.pixels import MAX_PIXELS, check_pixels, metres
from fourd_ros.errors import InvalidImage

__all__ = [
    "MAX_PIXELS",
    "array_to_image",
    "check_image",
    "compress",
    "decompress",
    "depth_to_metres",
    "image_to_array",
    "image_to_rgb",
]


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Memory layout of one ``Image.encoding``; `colours` picks red, green, blue out of its channels."""

    dtype: DTypeLike
    channels: int
    colours: slice | None = None


ENCODINGS = {
    "mono8": Encoding(dtype=np.uint8, channels=1),
    "8UC1": Encoding(dtype=np.uint8, channels=1),
    "rgb8": Encoding(dtype=np.uint8, channels=3, colours=slice(0, 3)),
    "bgr8": Encoding(dtype=np.uint8, channels=3, colours=slice(None, None, -1)),
    "rgba8": Encoding(dtype=np.uint8, channels=4, colours=slice(0, 3)),
    "bgra8": Encoding(dtype=np.uint8, channels=4, colours=slice(2, None, -1)),
    "16UC1": Encoding(dtype=np.uint16, channels=1),
    "mono16": Encoding(dtype=np.uint16, channels=1),
    "32FC1": Encoding(dtype=np.float32, channels=1),
}


def check_image(msg: Any, *, max_pixels: int = MAX_PIXELS) -> None:
    """Refuse a malformed or too large image without decoding it.

    Args:
        msg: ``sensor_msgs/Image`` or ``CompressedImage``.
        max_pixels: bound on its size.

    Raises:
        InvalidImage: unknown encoding or format, or step and data do not fit the size.
        ImageTooLarge: more than `max_pixels`.
    """
    if _is_compressed(msg):
        check_pixels(*compressed_size(msg), max_pixels)
    else:
        _pixels(msg, max_pixels)


def image_to_array(msg: Any, *, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """The pixels of an image; of a raw one, a view of its bytes.

    Args:
        msg: ``sensor_msgs/Image`` in one of `ENCODINGS`, either byte order, rows padded or not; or ``CompressedImage``.
        max_pixels: refuse larger images.

    Returns:
        Colour as [H, W, 3] uint8 in the order red, green, blue whatever the encoding (alpha is left out);
        others as [H, W] in the type of the encoding (16UC1 stays in mm: see `depth_to_metres`). Compressed images: as
        `decompress`.

    Raises:
        InvalidImage: unknown encoding, or step and data do not fit the size.
        ImageTooLarge: more than `max_pixels`.
    """
    return decompress(msg, max_pixels=max_pixels) if _is_compressed(msg) else _pixels(msg, max_pixels)


def image_to_rgb(msg: Any, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Colour of an image, shape [H, W, 3], uint8; grey images get three equal channels.

    Raises:
        InvalidImage: a depth image, or as `image_to_array`.
        ImageTooLarge: more than `max_pixels`.
    """
    pixels = image_to_array(msg, max_pixels=max_pixels)
    if pixels.dtype != np.uint8:
        raise InvalidImage(f"a colour image is needed, the encoding is '{_name(msg)}'; is a depth topic remapped here?")
    return pixels if pixels.ndim == 3 else np.broadcast_to(pixels[..., None], (*pixels.shape, 3))


def depth_to_metres(msg: Any, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.float32]:
    """Depth of an image [m], shape [H, W], float32, NaN where unknown (REP 118).

    16UC1 is in millimetres with 0 for unknown; 32FC1 is in metres, where 0, negative and infinite count as unknown.

    Raises:
        InvalidImage: not a depth encoding, or as `image_to_array`.
        ImageTooLarge: more than `max_pixels`.
    """
    pixels = image_to_array(msg, max_pixels=max_pixels)
    if pixels.dtype == np.uint8:
        raise InvalidImage(f"a depth image is needed (16UC1, 32FC1 or compressedDepth), the encoding is '{_name(msg)}'")
    return pixels if _is_compressed(msg) else metres(pixels)


def _is_compressed(msg: Any) -> bool:
    return hasattr(msg, "format")


def _name(msg: Any) -> str:
    return str(msg.format if _is_compressed(msg) else msg.encoding)


def _pixels(msg: Any, max_pixels: int) -> NDArray[Any]:
    """View of the pixels of a raw image."""
    encoding = ENCODINGS.get(msg.encoding)
    if encoding is None:
        raise InvalidImage(f"encoding '{msg.encoding}' is not supported; known: {sorted(ENCODINGS)}")
    width, height, step = int(msg.width), int(msg.height), int(msg.step)
    check_pixels(width, height, max_pixels)
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if msg.is_bigendian else "<")
    row_bytes = width * encoding.channels * dtype.itemsize
    if step < row_bytes:
        raise InvalidImage(f"step is {step} bytes, a row of {width} {msg.encoding} pixels needs {row_bytes}")
    data = from_field(msg.data, InvalidImage)
    if not (height - 1) * step + row_bytes <= len(data) <= height * step:
        raise InvalidImage(f"data has {len(data)} bytes, {height} rows of step {step} need {height * step}")
    strides = (step, encoding.channels * dtype.itemsize, dtype.itemsize)
    pixels: NDArray[Any] = np.ndarray((height, width, encoding.channels), dtype, buffer=data, strides=strides)
    return pixels[..., 0] if encoding.colours is None else pixels[..., encoding.colours]


def array_to_image(array: NDArray[Any], encoding: str, header: Any) -> Any:
    """``sensor_msgs/Image`` of an array, in one copy.

    Args:
        array: [H, W] or [H, W, C] in the type and channel order of `encoding`; booleans become 0 and 255 in mono8.
        encoding: one of `ENCODINGS`.
        header: ``std_msgs/Header`` with the acquisition stamp and the optical frame.

    Raises:
        InvalidImage: the array does not have the shape or type of the encoding.
    """
    from sensor_msgs.msg import Image

    layout = ENCODINGS.get(encoding)
    if layout is None:
        raise InvalidImage(f"encoding '{encoding}' is not supported; known: {sorted(ENCODINGS)}")
    if array.dtype == np.bool_ and encoding == "mono8":
        array = array.view(np.uint8) * np.uint8(255)
    channels = 1 if array.ndim == 2 else array.shape[-1]
    if array.ndim not in (2, 3) or channels != layout.channels or array.dtype != np.dtype(layout.dtype):
        raise InvalidImage(
            f"{encoding} needs [H, W, {layout.channels}] {np.dtype(layout.dtype)}, "
            f"got {list(array.shape)} {array.dtype}"
        )
    height, width = array.shape[:2]
    step = width * channels * array.dtype.itemsize
    image = Image(header=header, height=height, width=width, encoding=encoding, step=step)
    append_bytes(image.data, array)
    return image
