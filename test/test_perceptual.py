"""LPIPS against the original package, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.perceptual import MIN_SIDE, lpips

GOLDEN = load_file(Path(__file__).parent / "golden" / "lpips" / "pairs.safetensors")
PAIRS = sorted(name.removesuffix(".distance") for name in GOLDEN if name.endswith(".distance"))


def pair(name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    return GOLDEN[f"{name}.a"], GOLDEN[f"{name}.b"]


@pytest.mark.parametrize("name", PAIRS)
def test_distances_are_those_of_the_original(name: str) -> None:
    """The shipped weights are stored as float16; with float32 the difference is below 1e-7."""
    assert lpips(*pair(name)) == pytest.approx(GOLDEN[f"{name}.distance"].item(), abs=1e-4)


def test_a_shift_is_hardly_a_difference() -> None:
    distance = {name: float(lpips(*pair(name))) for name in ("identical", "shift", "noise", "other")}
    assert distance["identical"] == 0
    assert 0 < distance["shift"] < 0.1 * distance["noise"]
    assert distance["noise"] < distance["other"]


def test_any_leading_shape_in_any_batch() -> None:
    small = [pair(name) for name in ("identical", "noise", "other")]
    a, b = (np.stack([np.stack(images)] * 2) for images in zip(*small, strict=True))
    assert a.shape == (2, 3, 64, 64, 3)
    together = lpips(a, b)
    assert together.shape == (2, 3)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together[1], [lpips(*one) for one in small], atol=1e-6)
    for batch in (1, 4):
        np.testing.assert_allclose(lpips(a, b, batch=batch), together, atol=1e-6)
    assert lpips(a[:0], b[:0]).shape == (0, 3)


def test_floats_in_0_to_1_are_the_same_images() -> None:
    a, b = pair("noise")
    for kind in (np.float32, np.float64):
        assert lpips(a / kind(255), b / kind(255)) == pytest.approx(float(lpips(a, b)), abs=1e-6)
    assert lpips(b, a) == pytest.approx(float(lpips(a, b)), abs=1e-6)


def test_the_smallest_image() -> None:
    least = np.zeros((MIN_SIDE, MIN_SIDE, 3), np.uint8)
    assert lpips(least, least) == 0
    with pytest.raises(InvalidImage, match=f"at least {MIN_SIDE}"):
        lpips(least[1:], least[1:])


@pytest.mark.parametrize(
    ("a", "said"),
    [
        (np.zeros((64, 63, 3), np.uint8), "needed is the same"),
        (np.zeros((64, 64, 4), np.uint8), "needed is the same"),
        (np.zeros((64, 64), np.uint8), "needed is the same"),
        (np.zeros((64, 64, 3), np.int32), "int32"),
        (np.full((64, 64, 3), np.nan, np.float32), "without NaN"),
        (np.full((64, 64, 3), 255.0), "needed 0 to 1"),
    ],
)
def test_what_is_no_image_is_refused(a: NDArray[np.generic], said: str) -> None:
    with pytest.raises(InvalidImage, match=said):
        lpips(a, np.zeros((64, 64, 3), np.uint8))  # type: ignore[arg-type]
