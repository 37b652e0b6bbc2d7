"""Holes of images filled from what surrounds them."""

import numpy as np

from fourd_ros.geometry.hole_filling import fill_holes


def test_known_pixels_stay_and_holes_are_filled_smoothly():
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:37, :52]
    image = np.stack([rows, columns, rows + columns], axis=-1).astype(np.float32)
    known = rng.random(rows.shape) < 0.5
    known[10:20, 10:20] = False
    filled = fill_holes(np.where(known[..., None], image, np.nan), known)
    np.testing.assert_array_equal(filled[known], image[known])
    assert np.abs(filled - image).max() < 5


def test_filled_values_lie_between_the_known_ones_whatever_the_size():
    rng = np.random.default_rng(1)
    for height, width in ((1, 9), (7, 5), (17, 33), (64, 48)):
        known = np.zeros((height, width), bool)
        known.flat[:: max(1, known.size // 5)] = True
        filled = fill_holes(rng.uniform(2, 3, (height, width, 2)), known)
        assert filled.shape == (height, width, 2) and filled.min() >= 2 and filled.max() <= 3


def test_images_of_a_batch_do_not_mix_and_one_without_anything_known_is_zero():
    values = np.stack([np.full((8, 8, 1), 5.0), np.full((8, 8, 1), np.nan), np.full((8, 8, 1), 7.0)])
    known = np.zeros((3, 8, 8), bool)
    known[0, 3, 3] = known[2, 0, 0] = True
    filled = fill_holes(values, known)
    np.testing.assert_allclose(filled.mean(axis=(1, 2, 3)), [5, 0, 7])
    assert filled.dtype == np.float32
