"""Images: every encoding there and back, and one refusal for every way to be wrong."""

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from rosbags.typesys import Stores, get_typestore
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from fourd_ros.bridge.images import (
    array_to_image,
    check_image,
    compress,
    decompress,
    depth_to_metres,
    image_to_array,
    image_to_rgb,
)
from fourd_ros.errors import ImageTooLarge, InvalidImage

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (6, 5, 3), np.uint8)


def raw_image(array, encoding, /, **changes):
    message = array_to_image(array, encoding, Header(frame_id="camera"))
    for name, value in changes.items():
        setattr(message, name, value)
    return message


def serialised_by_rosbags(message):
    from rclpy.serialization import serialize_message

    return get_typestore(Stores.ROS2_KILTED).deserialize_cdr(serialize_message(message), "sensor_msgs/msg/Image")


@pytest.mark.parametrize(
    ("encoding", "stored"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("rgba8", np.dstack([RGB, RGB[..., :1]])),
        ("bgra8", np.dstack([RGB[..., ::-1], RGB[..., :1]])),
    ],
)
def test_colour_comes_out_as_rgb_without_a_copy(encoding, stored):
    message = raw_image(stored, encoding)
    pixels = image_to_array(message)
    np.testing.assert_array_equal(pixels, RGB)
    assert np.shares_memory(pixels, np.frombuffer(message.data, np.uint8))


def test_grey_becomes_three_equal_channels():
    np.testing.assert_array_equal(image_to_rgb(raw_image(RGB[..., 0], "mono8")), RGB[..., [0, 0, 0]])


def test_padded_rows_are_skipped():
    padded = np.full((6, 20), 255, np.uint8)
    padded[:, :15] = RGB.reshape(6, 15)
    message = Image(height=6, width=5, encoding="rgb8", step=20, data=padded.tobytes())
    np.testing.assert_array_equal(image_to_array(message), RGB)


def test_messages_of_rosbags_are_read_alike():
    message = serialised_by_rosbags(raw_image(RGB, "rgb8"))
    np.testing.assert_array_equal(image_to_rgb(message), RGB)


@pytest.mark.parametrize("order", ["<", ">"])
def test_millimetres_become_metres_and_zero_unknown(order):
    depth = np.array([[0, 1500], [65535, 1]], f"{order}u2")
    message = Image(height=2, width=2, encoding="16UC1", step=4, is_bigendian=int(order == ">"), data=depth.tobytes())
    np.testing.assert_allclose(depth_to_metres(message), [[np.nan, 1.5], [65.535, 0.001]], rtol=1e-6)


def test_float_depth_keeps_metres_and_hides_what_is_no_distance():
    depth = np.array([[0.0, 1.25, -1.0], [np.inf, np.nan, 4.0]], np.float32)
    nan = np.nan
    np.testing.assert_array_equal(depth_to_metres(raw_image(depth, "32FC1")), [[nan, 1.25, nan], [nan, nan, 4.0]])


def test_depth_is_no_colour_and_colour_no_depth():
    with pytest.raises(InvalidImage, match="16UC1"):
        image_to_rgb(raw_image(np.ones((2, 2), np.uint16), "16UC1"))
    with pytest.raises(InvalidImage, match="rgb8"):
        depth_to_metres(raw_image(RGB, "rgb8"))


@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": "yuv422"},
        {"step": 14},
        {"step": 16},
        {"width": 0},
        {"height": 7},
        {"data": RGB.tobytes()[:-1]},
        {"data": RGB.tobytes() + b"x"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_wrong_encoding_step_or_size_is_refused(changes):
    message = raw_image(RGB, "rgb8", **changes)
    with pytest.raises(InvalidImage):
        image_to_array(message)
    with pytest.raises(InvalidImage):
        check_image(message)


def test_huge_image_is_refused_before_its_data_is_looked_at():
    huge = SimpleNamespace(height=8000, width=8000, encoding="rgb8", step=24000, is_bigendian=0, data=None)
    with pytest.raises(ImageTooLarge, match="8000"):
        image_to_array(huge)


def test_arrays_that_do_not_fit_the_encoding_are_refused():
    for array, encoding in ((RGB, "mono8"), (RGB.astype(np.float32), "rgb8"), (RGB[..., 0], "16UC1")):
        with pytest.raises(InvalidImage, match=encoding):
            array_to_image(array, encoding, Header())


def test_masks_travel_as_black_and_white():
    mask = RGB[..., 0] > 128
    np.testing.assert_array_equal(image_to_array(raw_image(mask, "mono8")), np.where(mask, 255, 0))


def test_png_is_exact_and_jpeg_close():
    smooth = cv2.resize(RGB, (64, 48))
    np.testing.assert_array_equal(decompress(compress(smooth, "png")), smooth)
    difference = decompress(compress(smooth, "jpeg")).astype(int) - smooth
    assert np.abs(difference).mean() < 4


def compressed(image_format, data):
    return CompressedImage(format=image_format, data=bytes(data))


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


def test_compressed_depth_in_millimetres():
    depth = np.array([[0, 1500], [700, 1]], np.uint16)
    message = compressed("16UC1; compressedDepth png", struct.pack("<iff", 0, 0, 0) + png(depth))
    np.testing.assert_allclose(depth_to_metres(message), [[np.nan, 1.5], [0.7, 0.001]], rtol=1e-6)


def test_quantised_compressed_depth_in_metres():
    quantum_a, quantum_b = 100.0 * 101.0, 1.0 - 100.0 * 101.0 / 10.0
    depth = np.array([[0.5, 2.0], [9.0, 1.0]])
    stored = np.rint(quantum_a / depth + quantum_b).astype(np.uint16)
    stored[1, 1] = 0
    message = compressed("32FC1; compressedDepth", struct.pack("<iff", 0, quantum_a, quantum_b) + png(stored))
    np.testing.assert_allclose(decompress(message), [[0.5, 2.0], [9.0, np.nan]], rtol=2e-3)


@pytest.mark.parametrize(
    ("image_format", "data"),
    [
        ("jpeg", b""),
        ("jpeg", b"GIF89a" + bytes(100)),
        ("jpeg", bytes(cv2.imencode(".jpg", RGB)[1])[:40]),
        ("png", png(np.zeros((64, 64, 3), np.uint8))[:20]),
        ("16UC1; compressedDepth rvl", bytes(100)),
        ("16UC1; compressedDepth", bytes(4)),
        ("16UC1; compressedDepth", bytes(12) + png(RGB)),
    ],
)
def test_broken_compressed_images_are_refused(image_format, data):
    with pytest.raises(InvalidImage):
        decompress(compressed(image_format, data))


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_compressed_size_is_bounded_by_the_header_alone(extension):
    data = bytearray(cv2.imencode(extension, np.zeros((8, 8, 3), np.uint8))[1])
    position = data.index(b"IHDR") + 4 if extension == ".png" else data.index(b"\xff\xc0") + 5
    size = struct.pack(">II", 8000, 8000) if extension == ".png" else struct.pack(">HH", 8000, 8000)
    data[position : position + len(size)] = size
    for function in (decompress, check_image):
        with pytest.raises(ImageTooLarge, match="8000"):
            function(compressed(extension[1:], data))


def test_truncated_pixels_do_not_pass():
    data = png(RNG.integers(0, 256, (64, 64, 3), np.uint8))
    with pytest.raises(InvalidImage):
        decompress(compressed("png", data[: len(data) // 2]))
