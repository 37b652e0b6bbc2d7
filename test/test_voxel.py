"""Reducing clouds to a budget."""

import numpy as np
import pytest

from fourd_ros.errors import InvalidCloud
from fourd_ros.geometry.voxel import reduce

CLOUD = np.random.default_rng(0).uniform(-1, 1, (5000, 3)).astype(np.float32)


def test_one_point_of_every_occupied_voxel() -> None:
    chosen = reduce(CLOUD, max_points=10_000, voxel_size=0.25)
    cells = np.floor((CLOUD - CLOUD.min(axis=0)) / 0.25)
    assert len(chosen) == len(np.unique(cells, axis=0)) == len(np.unique(cells[chosen], axis=0))
    assert (np.diff(chosen) > 0).all()


def test_budget_is_kept_and_spread_evenly() -> None:
    chosen = reduce(CLOUD, max_points=1000)
    np.testing.assert_array_equal(chosen, np.arange(0, 5000, 5))
    assert len(reduce(CLOUD, max_points=77, voxel_size=0.1)) == 77
    assert len(reduce(CLOUD, max_points=0)) == 0


def test_unknown_points_are_never_chosen() -> None:
    cloud = CLOUD.copy()
    cloud[::2] = np.nan
    cloud[1] = np.inf
    assert set(reduce(cloud, max_points=5000, voxel_size=0.01)) <= set(range(3, 5000, 2))


@pytest.mark.parametrize("cloud", [np.empty((0, 3), np.float32), np.full((4, 3), np.nan, np.float32)])
def test_nothing_gives_nothing(cloud: np.ndarray) -> None:
    assert len(reduce(cloud, max_points=10, voxel_size=0.1)) == 0


@pytest.mark.parametrize("bad", [{"max_points": -1}, {"max_points": 1, "voxel_size": -0.1}])
def test_senseless_budgets_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidCloud):
        reduce(CLOUD, **bad)


def test_voxels_too_small_to_count_are_refused() -> None:
    with pytest.raises(InvalidCloud, match="use larger ones"):
        reduce(CLOUD, max_points=10, voxel_size=1e-9)


def test_the_first_point_of_a_voxel_is_the_one_chosen() -> None:
    cloud = np.repeat(CLOUD[:100] * 10, 3, axis=0)
    np.testing.assert_array_equal(reduce(cloud, max_points=1000, voxel_size=1e-3), np.arange(0, 300, 3))
