"""Masks: overlaps and outlines known by construction and by brute force."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist, jaccard

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.mask_metrics import boundary_f_score, intersection_over_union, silhouette_iou
from fourd_ros.records import RobotRendering

SIZE = (30, 40)


def square(top: int, left: int, side: int = 10) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_one_less_the_jaccard_distance(seed: int) -> None:
    first, second = np.random.default_rng(seed).random((2, *SIZE)) < 0.3 + 0.2 * seed
    assert float(intersection_over_union(first, second)) == pytest.approx(1 - jaccard(first.ravel(), second.ravel()))


def test_overlap_of_batches_and_of_known_pixels() -> None:
    first, second = np.stack([square(5, 5), square(5, 5)]), np.stack([square(5, 10), square(5, 5)])
    np.testing.assert_allclose(intersection_over_union(first, second), [50 / 150, 1.0])
    known = np.ones_like(first)
    known[:, :, :10] = False
    np.testing.assert_allclose(intersection_over_union(first, second, known=known), [50 / 100, 1.0])


def test_two_empty_masks_have_no_overlap_to_speak_of() -> None:
    empty = np.zeros(SIZE, dtype=bool)
    assert np.isnan(intersection_over_union(empty, empty))
    assert float(intersection_over_union(empty, square(5, 5))) == 0.0


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.5])
def test_outlines_are_matched_by_distance(tolerance: float) -> None:
    first, second = square(5, 5), square(6, 7, 12)

    def outline(mask: np.ndarray) -> np.ndarray:
        return np.array(
            [
                (y, x)
                for y, x in np.argwhere(mask)
                if not all(mask[y + dy, x + dx] for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)))
            ]
        )

    every = cdist(outline(first), outline(second))
    precision, recall = (every.min(axis=1) <= tolerance).mean(), (every.min(axis=0) <= tolerance).mean()
    expected = 2 * precision * recall / (precision + recall)
    assert float(boundary_f_score(first, second, tolerance=tolerance)) == pytest.approx(expected)


def test_the_border_of_the_image_is_no_outline() -> None:
    everything = np.ones(SIZE, dtype=bool)
    half = everything.copy()
    half[:, 20:] = False
    scores = boundary_f_score(np.stack([everything, half, half]), np.stack([everything, everything, half]), tolerance=1)
    np.testing.assert_array_equal(scores, [np.nan, 0.0, 1.0])


def test_silhouette_counts_what_the_robot_shows() -> None:
    robot = np.stack([square(5, 5), square(5, 15)])
    points = np.where(robot[..., None], [0.0, 0.0, 1.0], np.nan).astype(np.float32)
    rendering = RobotRendering(rgb=np.zeros((*robot.shape, 3), np.uint8), points=points, mask=robot)
    np.testing.assert_array_equal(silhouette_iou(robot, rendering), [1.0, 1.0])
    still = np.stack([robot[0], robot[0]])
    np.testing.assert_array_equal(silhouette_iou(still, rendering), [1.0, 0.0])

    recorded = np.full(points.shape, 2.0, dtype=np.float32)
    recorded[:, :10, :, 2] = 0.5
    seen = robot.copy()
    seen[:, :10] = False
    np.testing.assert_array_equal(silhouette_iou(seen, rendering, recorded=recorded), [1.0, 1.0])
    np.testing.assert_allclose(silhouette_iou(seen, rendering), [0.5, 0.5])


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidImage, match="needed are bool and one shape"):
        intersection_over_union(square(0, 0), square(0, 0)[1:])
    with pytest.raises(InvalidImage, match="needed are bool and one shape"):
        boundary_f_score(square(0, 0).astype(np.uint8), square(0, 0), tolerance=1.0)  # type: ignore[arg-type]
