"""Distances of clouds against brute force and SciPy, and the conventions by hand."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist, directed_hausdorff

from fourd_ros.errors import InvalidCloud
from fourd_ros.evaluation.point_metrics import chamfer, cloud_distances, f_score, f_score_metric


def clouds(seed: int, batch: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(size=(*batch, 150, 3)), generator.normal(0.1, 1.0, (*batch, 90, 3))


@pytest.mark.parametrize("seed", range(4))
def test_distances_are_those_of_brute_force(seed: int) -> None:
    points, truth = clouds(seed)
    every = cdist(points, truth)
    distances = cloud_distances(points, truth)
    np.testing.assert_allclose(distances.to_truth, every.min(axis=1))
    np.testing.assert_allclose(distances.from_truth, every.min(axis=0))
    assert distances.to_truth.max() == pytest.approx(directed_hausdorff(points, truth)[0])
    assert distances.accuracy == pytest.approx(every.min(axis=1).mean())
    assert distances.completeness == pytest.approx(every.min(axis=0).mean())
    squares = (every.min(axis=1) ** 2).mean() + (every.min(axis=0) ** 2).mean()
    assert float(chamfer(points, truth, squared=True, combine="sum")) == pytest.approx(squares)
    precision, recall = (every.min(axis=1) < 0.3).mean(), (every.min(axis=0) < 0.3).mean()
    assert float(f_score(points, truth, threshold=0.3)) == pytest.approx(2 / (1 / precision + 1 / recall))


def test_conventions_by_hand() -> None:
    points = np.array([[0.0, 0, 0], [4.0, 0, 0]])
    truth = np.array([[1.0, 0, 0]])
    assert float(chamfer(points, truth)) == ((1 + 3) / 2 + 1) / 2
    assert float(chamfer(points, truth, combine="sum")) == (1 + 3) / 2 + 1
    assert float(chamfer(points, truth, squared=True)) == ((1 + 9) / 2 + 1) / 2
    assert float(chamfer(points, truth, squared=True, combine="sum")) == (1 + 9) / 2 + 1
    assert float(f_score(points, truth, threshold=2.0)) == pytest.approx(2 * 0.5 * 1 / 1.5)
    assert float(f_score(points, truth, threshold=1.0)) == 0.0, "a distance equal to the threshold is too far"


def test_equal_clouds_are_without_distance() -> None:
    points, _ = clouds(0)
    assert float(chamfer(points, points[::-1])) == 0.0
    assert float(f_score(points, points, threshold=1e-9)) == 1.0


def test_batches_hold_the_values_of_their_pairs_and_nan_is_no_point() -> None:
    points, truth = clouds(5, (2, 3))
    points[1, 2, 100:, 1] = np.nan
    values = chamfer(points, truth)
    assert values.shape == (2, 3)
    assert values[1, 2] == chamfer(points[1, 2, :100], truth[1, 2])


def test_empty_clouds_have_no_distance_and_a_score_of_nothing() -> None:
    points, _ = clouds(0)
    empty = np.empty((0, 3))
    for given, true in ((empty, points), (points, empty), (np.full((4, 3), np.nan), points)):
        assert np.isnan(chamfer(given, true))
        assert float(f_score(given, true, threshold=0.1)) == 0.0
    assert np.isnan(f_score(empty, empty, threshold=0.1))
    missing = cloud_distances(empty, points)
    assert math.isnan(missing.accuracy)
    assert missing.completeness == math.inf


def test_f_score_is_described_with_its_threshold() -> None:
    metric = f_score_metric(0.005)
    assert (metric.name, metric.title) == ("f_score_5mm", "F-score at 5 mm")


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidCloud, match="equal leading dimensions"):
        chamfer(np.zeros((2, 5, 3)), np.zeros((3, 5, 3)))
    with pytest.raises(InvalidCloud, match=r"needed is \[N, 3\]"):
        chamfer(np.zeros((5, 2)), np.zeros((5, 2)))
    with pytest.raises(InvalidCloud, match=r"needed are \[N, 3\]"):
        cloud_distances(np.zeros((1, 5, 3)), np.zeros((1, 5, 3)))
