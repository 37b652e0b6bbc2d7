"""Pictures of objects: cut out, padded, centred."""

import numpy as np
import pytest

from fourd_ros.compositional.object_pictures import (
    centring_offset,
    cut_out,
    padded_to_square,
    resized_mask,
    shifted,
    union_of,
    without_background,
)
from fourd_ros.errors import InvalidClip


def picture(height: int = 12, width: int = 20) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (height, width, 3)).astype(np.uint8)


def test_half_a_mask_mixes_with_white() -> None:
    rgb = np.full((2, 2, 3), 100, np.uint8)
    mask = np.array([[255, 0], [51, 204]], np.uint8)
    np.testing.assert_array_equal(cut_out(rgb, mask)[..., 0], [[100, 255], [224, 131]])


def test_a_mask_grows_before_it_shrinks() -> None:
    mask = np.zeros((21, 21), np.uint8)
    mask[10, 10] = 255
    rgb = np.zeros((21, 21, 3), np.uint8)
    shown = cut_out(rgb, mask, dilation=3, erosion=1)[..., 0] == 0
    assert shown.sum() == 25 and shown[8:13, 8:13].all()
    np.testing.assert_array_equal(cut_out(rgb, mask, keep_foreground=False)[..., 0] == 0, mask == 0)


def test_background_goes_and_narrow_gaps_between_masks_stay() -> None:
    rgb, mask = picture(30, 30), np.zeros((30, 30), np.uint8)
    mask[8:20, 5:10] = mask[8:20, 15:20] = 255
    kept = (without_background(rgb, mask) != 255).any(axis=-1)
    assert kept[8:20, 5:20].all() and kept.sum() == 12 * 15
    far = np.zeros_like(mask)
    far[8:20, 5:8] = far[8:20, 18:21] = 255
    assert (without_background(rgb, far) != 255).any(axis=-1).sum() == 2 * 12 * 3


def test_a_frame_without_masks_is_white() -> None:
    assert (without_background(picture(), np.zeros((12, 20), np.uint8)) == 255).all()


@pytest.mark.parametrize(("top", "left"), [(0, 0), (3, 11), (7, 2)])
def test_what_a_mask_shows_comes_to_the_middle(top: int, left: int) -> None:
    mask = np.zeros((15, 21), np.uint8)
    mask[top : top + 5, left : left + 7] = 1
    moved = shifted(mask, centring_offset(mask), fill=0)
    assert moved[5:10, 7:14].all() and moved.sum() == 35


def test_nothing_stays_where_it_is_and_what_leaves_is_lost() -> None:
    assert centring_offset(np.zeros((4, 4))) == (0, 0)
    rgb = picture()
    moved = shifted(rgb, (-3, 2), fill=255)
    np.testing.assert_array_equal(moved[2:, :-3], rgb[:-2, 3:])
    assert (moved[:2] == 255).all() and (moved[:, -3:] == 255).all()
    assert (shifted(rgb, (0, 100), fill=255) == 255).all()


def test_padding_keeps_every_pixel() -> None:
    rgb = picture(7, 12)
    square = padded_to_square(rgb, fill=255)
    assert square.shape == (12, 12, 3)
    np.testing.assert_array_equal(square[2:9], rgb)
    assert (square[:2] == 255).all() and (square[9:] == 255).all()


def test_numbers_survive_scaling() -> None:
    numbers = np.array([[0, 70_000], [3, 0]], np.int32)
    scaled = resized_mask(numbers, width=4, height=6)
    assert scaled.dtype == np.int32 and scaled[0, 3] == 70_000 and set(np.unique(scaled)) == {0, 3, 70_000}


def test_masks_of_several_sizes_are_refused() -> None:
    small, large = np.zeros((3, 4), np.uint8), np.zeros((4, 4), np.uint8)
    with pytest.raises(InvalidClip, match="sizes"):
        union_of([small, large])
    with pytest.raises(InvalidClip, match="sizes"):
        union_of([])
    with pytest.raises(InvalidClip, match="same size"):
        cut_out(picture(), small)
    with pytest.raises(InvalidClip, match="same size"):
        without_background(picture(), small)
