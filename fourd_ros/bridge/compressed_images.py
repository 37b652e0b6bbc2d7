"""``sensor_msgs/CompressedImage`` <-> arrays: JPEG, PNG, and the depth transport of ``image_transport``.

The size is read from the file header and bounded before a decoder sees the data.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.buffers import append_bytes, from_field
from fourd_ros.bridge.pixels import MAX_PIXELS, check_pixels, metres
from fourd_ros.errors import InvalidImage

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_START = b"\xff\xd8"
JPEG_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_BARE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})
DEPTH_HEADER = struct.Struct("<iff")
JPEG_QUALITY = 90
PNG_LEVEL = 1


def compress(
    rgb: NDArray[np.uint8],
    image_format: str = "jpeg",
    *,
    header: Any = None,
    quality: int = JPEG_QUALITY,
) -> Any:
    """``sensor_msgs/CompressedImage`` of a colour image.

    Args:
        rgb: colour, shape [H, W, 3], uint8.
        image_format: ``jpeg`` or ``png`` (without loss).
        header: ``std_msgs/Header``; left empty when None.
        quality: of JPEG, 1 to 100.

    Raises:
        InvalidImage: another format, shape or type.
    """
    import cv2
    from sensor_msgs.msg import CompressedImage
    from std_msgs.msg import Header

    options = {
        "jpeg": [cv2.IMWRITE_JPEG_QUALITY, quality],
        "png": [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL],
    }
    if image_format not in options:
        raise InvalidImage(f"image format '{image_format}' is not supported; known: {sorted(options)}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise InvalidImage(f"{image_format} needs [H, W, 3] uint8, got {list(rgb.shape)} {rgb.dtype}")
    _, encoded = cv2.imencode(f".{image_format}", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options[image_format])
    image = CompressedImage(header=header or Header(), format=image_format)
    append_bytes(image.data, encoded)
    return image


def compressed_size(msg: Any) -> tuple[int, int]:
    """Width and height that the file header of a ``CompressedImage`` states; nothing is decoded.

    Raises:
        InvalidImage: neither JPEG nor PNG, or truncated.
    """
    data = from_field(msg.data, InvalidImage)
    return _dimensions(data[DEPTH_HEADER.size :] if "compressedDepth" in msg.format else data)[:2]


def decompress(msg: Any, *, max_pixels: int = MAX_PIXELS) -> NDArray[Any]:
    """The pixels of a ``CompressedImage``.

    Args:
        msg: JPEG or PNG (also with ``image_transport``'s "rgb8; jpeg compressed bgr8" formats), or ``compressedDepth``
            (16UC1 or the quantised 32FC1, PNG).
        max_pixels: refuse larger images before decoding.

    Returns:
        Colour, shape [H, W, 3], uint8; or for ``compressedDepth`` and 16-bit PNG the depth [m], shape [H, W], float32,
        NaN where unknown.

    Raises:
        InvalidImage: neither JPEG nor PNG, truncated, or another depth codec.
        ImageTooLarge: more than `max_pixels`.
    """
    data = from_field(msg.data, InvalidImage)
    if "compressedDepth" in msg.format:
        return _depth(msg.format, data, max_pixels)
    pixels = _decode(data, max_pixels)
    return metres(pixels) if pixels.dtype == np.uint16 else pixels


def _depth(image_format: str, data: NDArray[np.uint8], max_pixels: int) -> NDArray[np.float32]:
    """Depth of ``compressed_depth_image_transport``: a 12-byte header, then a PNG of mm or of inverse depth."""
    encoding = image_format.split(";")[0].strip()
    if "rvl" in image_format or encoding not in ("16UC1", "32FC1"):
        raise InvalidImage(f"compressed depth format '{image_format}'; needed 16UC1 or 32FC1 as PNG (depth png_level)")
    if len(data) <= DEPTH_HEADER.size:
        raise InvalidImage(f"compressed depth of {len(data)} bytes; the header alone has {DEPTH_HEADER.size}")
    _, quantum_a, quantum_b = DEPTH_HEADER.unpack(data[: DEPTH_HEADER.size].tobytes())
    stored = _decode(data[DEPTH_HEADER.size :], max_pixels)
    if stored.dtype != np.uint16:
        raise InvalidImage("compressed depth holds an 8-bit colour image, needed a 16-bit PNG")
    if encoding == "16UC1":
        return metres(stored)
    # Stored value q = A / depth + B, so depth = A / (q - B); q = 0 is unknown.
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(quantum_a) / (stored.astype(np.float32) - np.float32(quantum_b))
    depth[stored == 0] = np.nan
    return metres(depth)


def _decode(data: NDArray[np.uint8], max_pixels: int) -> NDArray[Any]:
    """Colour [H, W, 3] uint8, or [H, W] uint16 of a 16-bit grey PNG."""
    import cv2

    width, height, deep_grey = _dimensions(data)
    check_pixels(width, height, max_pixels)
    flags = (
        cv2.IMREAD_ANYDEPTH | cv2.IMREAD_GRAYSCALE if deep_grey else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    try:
        pixels = cv2.imdecode(data, flags)
    except cv2.error as cause:
        raise InvalidImage(f"compressed image of {len(data)} bytes cannot be decoded: {cause}") from cause
    if pixels is None:
        raise InvalidImage(f"compressed image of {len(data)} bytes cannot be decoded; truncated?")
    return pixels if deep_grey else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _dimensions(data: NDArray[np.uint8]) -> tuple[int, int, bool]:
    """Width, height, and whether it is a 16-bit grey image, from the file header alone."""
    raw = data.data
    if bytes(raw[:8]) == PNG_SIGNATURE and len(raw) >= 26 and bytes(raw[12:16]) == b"IHDR":
        width, height, bits, colour_type = struct.unpack_from(">IIBB", raw, 16)
        return width, height, (bits, colour_type) == (16, 0)
    if bytes(raw[:2]) == JPEG_START:
        return (*_jpeg_dimensions(raw), False)
    raise InvalidImage(f"compressed image starts with {bytes(raw[:8])!r}; needed JPEG or PNG")


def _jpeg_dimensions(raw: memoryview) -> tuple[int, int]:
    """Width and height from the first frame header; walks the segments of ITU-T T.81, B.1.1."""
    position = 2
    while position + 9 <= len(raw):
        if raw[position] != 0xFF:
            break
        marker = raw[position + 1]
        if marker == 0xFF:
            position += 1
        elif marker in JPEG_BARE_MARKERS:
            position += 2
        elif marker in JPEG_FRAME_MARKERS:
            height, width = struct.unpack_from(">HH", raw, position + 5)
            return width, height
        else:
            position += 2 + struct.unpack_from(">H", raw, position + 2)[0]
    raise InvalidImage(f"JPEG of {len(raw)} bytes has no frame header; truncated?")
