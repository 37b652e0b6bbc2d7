"""Which points are dragged and where to, for PartDrag-4D and Objaverse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fourd_ros.data.partdrag4d_cameras import (
    orbit_poses,
    raw_poses,
)
from fourd_ros.data.partdrag4d_drags import (
    DragOptions,
    Drags,
    moving_points,
    objaverse_drags,
    padded,
    propagate,
    propagated_points,
    read_tracks,
    training_drags,
    training_points,
)
from fourd_ros.errors import InvalidDataset

# Drags


def test_points_whose_changes_cancel_move_too() -> None:
    before = np.zeros((3, 3))
    after = np.array([[0.0, 0, 0], [0.5, -0.5, 0], [0.1, 0, 0]])
    assert moving_points(before, after).tolist() == [1, 2]
    assert moving_points(before, after, official_compat=True).tolist() == [2]
    with pytest.raises(InvalidDataset, match="nothing moves"):
        moving_points(before, before)
    with pytest.raises(InvalidDataset, match="same ones"):
        moving_points(before, after[:2])


def test_visible_points_are_dragged_where_there_are_enough() -> None:
    moving, rng = np.arange(100), np.random.default_rng(0)
    many = training_points(moving, np.arange(50, 200), rng)
    assert len(set(many)) == 10 and min(many) >= 50
    seven = training_points(moving, np.arange(7), rng)
    assert len(seven) == 10 and set(seven) == set(range(7))
    # Six are too few: any that move.
    assert max(training_points(moving, np.arange(6), rng)) > 6
    few = training_points(np.array([3, 5]), None, rng)
    assert len(few) == 10 and set(few) <= {3, 5}


def test_noise_moves_ends_alone_and_every_view_for_itself() -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(-0.3, 0.3, (400, 3))
    raw = raw_poses(orbit_poses()[:4])
    options = DragOptions(count=200, noisy=1.0)
    noisy = training_drags(before, before + 0.1, raw, np.random.default_rng(1), options=options)
    plain = training_drags(before, before + 0.1, raw, np.random.default_rng(1), options=replace(options, noisy=0.0))
    noise = noisy.end - plain.end
    assert np.array_equal(noisy.start, plain.start)
    assert abs(noise.std() - 5.0) < 0.5 and not np.allclose(noise[0], noise[1])
    assert noisy.end.min() >= 0 and noisy.end.max() <= 511
    drawn = [
        training_drags(before, before + 0.1, raw, np.random.default_rng(seed), options=DragOptions())
        for seed in range(30)
    ]
    assert 5 < sum(not np.array_equal(drags.end[0], drags.end[1]) for drags in drawn) < 25


def test_propagated_pixels_are_padded_where_there_are_too_few() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((512, 512), bool)
    mask[10, 20:24] = True
    points = propagated_points(mask, rng)
    assert points.shape == (10, 2) and set(map(tuple, points)) == {(10, column) for column in range(20, 24)}
    drags = propagate((np.array([1.0, 2.0]), np.array([4.0, 2.0])), padded(points, rng, count=10))
    assert set(drags.start[0, :, 0]) == {20, 21, 22, 23} and set(drags.start[0, :, 1]) == {10}
    assert np.allclose(drags.end - drags.start, (3, 0))
    with pytest.raises(InvalidDataset, match="512"):
        propagated_points(np.zeros((512, 512), bool), rng)


def test_objaverse_drags_are_long_enough_tracks_then_zeros() -> None:
    rng = np.random.default_rng(0)
    short = [[[10.0, 10.0], [12.0, 10.0]]]
    long = [[[10.0, 10.0], [30.0, 10.0]], [[0.0, 0.0], [1.0, 0.0]], [[500.0, 5.0], [700.0, -20.0]]]
    drags = objaverse_drags([short, long], 0, 1, rng)
    assert drags.start.shape == (4, 5, 2)
    assert {tuple(row) for row in drags.end[0].tolist()} == {(30.0, 10.0), (511.0, 0.0), (0.0, 0.0)}
    assert not drags.start[:, 2:].any()
    assert not objaverse_drags([short], 0, 1, rng).end.any()
    assert objaverse_drags([long * 5], 0, 1, rng).start.shape == (4, 5, 2)
    with pytest.raises(InvalidDataset, match="frames 0 and 7"):
        objaverse_drags([long], 0, 7, rng)


def test_tracks_are_read_of_view_0(tmp_path: Path) -> None:
    (tmp_path / "sample_000.json").write_text(json.dumps({"all_tracks": [[[[1, 2]]], [[[3, 4]]]]}))
    assert read_tracks(tmp_path / "sample_000.json") == [[[1, 2]]]
    (tmp_path / "sample_001.json").write_text("{}")
    with pytest.raises(InvalidDataset, match="all_tracks"):
        read_tracks(tmp_path / "sample_001.json")


def test_drags_of_the_first_view_are_those_of_all() -> None:
    drags = Drags.of_first_view(np.zeros((3, 2)), np.ones((3, 2)))
    assert drags.start.shape == (4, 3, 2) and drags.end.dtype == np.float32
