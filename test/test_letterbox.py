"""Images of any aspect in frames of a fixed size."""

import numpy as np
import pytest

from fourd_ros.errors import InvalidImage
from fourd_ros.geometry.letterbox import Letterbox


@pytest.mark.parametrize("source", [(48, 64), (64, 48), (37, 11), (480, 720)])
def test_what_is_shown_comes_back(source: tuple[int, int]) -> None:
    box = Letterbox(source=source, target=(96, 128))
    rows, columns = np.mgrid[: source[0], : source[1]]
    values = np.stack([rows, columns, rows + columns], axis=-1).astype(np.float32)[None]
    framed = box.values(values)
    assert framed.shape == (1, 96, 128, 3)
    window = framed[0][box.window]
    assert max(window.shape[0] / 96, window.shape[1] / 128) == 1
    scale = max(source[0] / window.shape[0], source[1] / window.shape[1])
    assert np.abs(box.values_back(framed) - values)[..., :2].max() <= max(scale, 1)
    smooth = (values / values.max() * 255).astype(np.uint8)
    back = box.picture_back(box.picture(smooth))
    assert back.shape == smooth.shape
    assert np.abs(back.astype(int) - smooth).mean() < 4


def test_equal_sizes_change_nothing_and_bars_repeat_the_edges() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    same = Letterbox(source=(4, 6), target=(4, 6))
    assert same.picture(picture) is picture
    assert same.values_back(picture) is picture
    wide = Letterbox(source=(4, 6), target=(8, 6))
    framed = wide.values(picture)
    np.testing.assert_array_equal(framed[:3], np.repeat(picture[:1], 3, axis=0))
    np.testing.assert_array_equal(framed[2:6], picture)


def test_other_sizes_are_named() -> None:
    with pytest.raises(InvalidImage, match=r"images of \(4, 5\), needed \(4, 6\)"):
        Letterbox(source=(4, 6), target=(8, 8)).picture(np.zeros((4, 5, 3), np.uint8))
    with pytest.raises(InvalidImage, match="positive"):
        Letterbox(source=(0, 6), target=(8, 8))
