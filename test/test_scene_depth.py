"""Depth by control points, by flow, and cleaned."""

import numpy as np
import pytest
import torch

from fourd_ros.reconstruction.official.depth_cleaning import clean_depth
from fourd_ros.reconstruction.official.depth_edges import away_from_edges
from fourd_ros.reconstruction.official.depth_interpolation import Controls, interpolate_depth
from fourd_ros.reconstruction.official.flow_refinement import (
    FlowSettings,
    cycle_weights,
    flow_loss,
    flow_windows,
    refinable_pixels,
    refine_depth,
)
from fourd_ros.reconstruction.official.outlier_points import statistical_inliers, steady_inliers
from fourd_ros.reconstruction.official.projection import intrinsics, project, unproject

HEIGHT, WIDTH = 12, 16
K = intrinsics(torch.tensor([20.0, 20.0]), width=WIDTH, height=HEIGHT)
R, T = torch.eye(3)[None], torch.zeros(1, 3)


def _interpolated(points: list[list[float]], *, official: bool = False, **changes: torch.Tensor) -> torch.Tensor:
    depth = changes.get("depth", torch.full((1, HEIGHT, WIDTH), 2.0))
    regions = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    regions[:, :, 8:] = 1
    given = torch.tensor(points)
    seen = changes.get("visible", torch.ones(1, len(points), dtype=torch.bool))
    controls = {0: Controls(points=given, visible=seen)}
    return interpolate_depth(depth, regions, R, T, K, controls, official_compat=official)[0]


def _at(x: float, y: float, z: float) -> list[float]:
    """The point that a pixel shows."""
    return unproject(torch.tensor([[float(x), float(y)]]), torch.tensor([z]), R[0], T[0], K)[0].tolist()


def test_one_control_sets_the_scale_of_its_region_alone():
    made = _interpolated([_at(3, 4, 3.0)])
    assert made[:, :8].unique().tolist() == pytest.approx([3])
    assert made[:, 8:].unique().tolist() == [2]


def test_the_nearest_control_counts_most():
    made = _interpolated([_at(1, 5, 3.0), _at(6, 5, 2.0)])
    assert float(made[5, 1]) == pytest.approx(3, abs=1e-3)
    assert float(made[5, 6]) == pytest.approx(2, abs=1e-3)
    assert 2.2 < float(made[5, 3]) < 3


def test_points_behind_hidden_or_outside_do_not_count():
    behind, outside = [0.0, 0.0, -3.0], _at(-4, 3, 3.0)
    assert torch.equal(_interpolated([behind, outside]), torch.full((HEIGHT, WIDTH), 2.0))
    hidden = _interpolated([_at(3, 4, 3.0)], visible=torch.zeros(1, 1, dtype=torch.bool))
    assert torch.equal(hidden, torch.full((HEIGHT, WIDTH), 2.0))


def test_the_last_fraction_of_a_pixel_inflates_only_the_original():
    edge = [_at(WIDTH - 0.5, 4, 2.0)]
    assert torch.equal(_interpolated(edge), torch.full((HEIGHT, WIDTH), 2.0))
    assert float(_interpolated(edge, official=True)[4, 3]) == pytest.approx(4, rel=1e-4)


def test_unknown_depth_stays_unknown():
    depth = torch.full((1, HEIGHT, WIDTH), 2.0)
    depth[0, 2, 2] = torch.nan
    made = _interpolated([_at(3, 4, 3.0), _at(2.5, 2.0, 3.0)], depth=depth)
    assert torch.isnan(made[2, 2])
    assert float(made[6, 3]) == pytest.approx(3)


def test_points_that_move_have_a_place_in_each_frame():
    points = torch.tensor([[_at(3, 4, 3.0), _at(3, 4, 4.0)]])
    depth, regions = torch.full((2, HEIGHT, WIDTH), 2.0), np.ones((2, HEIGHT, WIDTH), np.uint8)
    controls = {1: Controls(points=points, visible=torch.ones(2, 1, dtype=torch.bool))}
    made = interpolate_depth(depth, regions, R.expand(2, 3, 3), T.expand(2, 3), K, controls)
    assert made.mean(dim=(1, 2)).tolist() == pytest.approx([3, 4])


def test_windows_reach_the_last_frame():
    assert flow_windows(3, window=5, stride=4) == [[0, 1, 2]]
    assert flow_windows(5, window=5, stride=4) == [[0, 1, 2, 3, 4]]
    assert flow_windows(7, window=5, stride=4) == [[0, 1, 2, 3, 4], [4, 5, 6]]
    assert flow_windows(1, window=5, stride=4) == []


def test_targets_on_the_last_column_have_the_least_weight():
    pixels = torch.tensor([[4.0, 3.0]])
    for shift, wanted in ((WIDTH - 1 - 4 - 0.01, 1.0), (WIDTH - 1 - 4, 0.01), (-4.0, 1.0), (-4.01, 0.01)):
        forward = torch.zeros(HEIGHT, WIDTH, 2)
        forward[..., 0] = shift
        assert float(cycle_weights(pixels, forward, -forward)) == pytest.approx(wanted)


def test_the_weight_falls_with_the_error_of_the_way_home():
    pixels, forward = torch.tensor([[4.0, 3.0]]), torch.zeros(HEIGHT, WIDTH, 2)
    backward = torch.zeros(HEIGHT, WIDTH, 2)
    backward[..., 1] = 1.0
    assert float(cycle_weights(pixels, forward, backward)) == pytest.approx(np.exp(-0.5))
    assert float(cycle_weights(pixels, forward, backward * 9)) == pytest.approx(0.01)
    assert float(cycle_weights(pixels, forward, None)) == 1


def _two_views() -> tuple[torch.Tensor, dict[tuple[int, int], torch.Tensor], torch.Tensor, torch.Tensor]:
    """A plane 2 m away, two cameras beside each other, the flow between them and the poses."""
    depth, centres = torch.full((2, HEIGHT, WIDTH), 2.0), torch.tensor([[0.0, 0, 0], [0.1, 0, 0]])
    y, x = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    pixels = torch.stack([x, y], dim=-1).float()
    flows = {}
    for start, end in ((0, 1), (1, 0)):
        points = unproject(pixels.reshape(-1, 2), depth[start].reshape(-1), R[0], centres[start], K)
        moved, _ = project(points, R[0], centres[end], K)
        flows[start, end] = moved.reshape(HEIGHT, WIDTH, 2) - pixels
    return depth, flows, R.expand(2, 3, 3), centres


def test_refined_depth_follows_the_flow_where_it_may():
    depth, flows, rotations, centres = _two_views()
    wrong, free = 1.2 * depth, torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool)
    free[:, :3] = False
    camera = rotations, centres, K
    before = flow_loss(wrong, flows, flows, free, *camera)
    refined = refine_depth(wrong, flows, free, *camera, settings=FlowSettings(epochs=40, sample_ratio=1.0))
    assert float(flow_loss(depth, flows, flows, free, *camera)) < 1e-8
    assert float(flow_loss(refined, flows, flows, free, *camera)) < 0.05 * float(before)
    assert torch.equal(refined[:, :3], wrong[:, :3])
    assert float((refined[:, 4:, 4:-4] - 2).abs().max()) < 0.1


def test_drawn_pixels_are_the_same_each_time():
    depth, flows, rotations, centres = _two_views()
    free = torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool)
    settings = FlowSettings(epochs=1, sample_ratio=0.5)
    first, second = (refine_depth(1.2 * depth, flows, free, rotations, centres, K, settings=settings) for _ in range(2))
    assert torch.equal(first, second)
    changed = float((first != 1.2 * depth).float().mean())
    assert 0.4 < changed <= 0.5


def test_no_usable_pixel_changes_nothing():
    depth, flows, rotations, centres = _two_views()
    free = torch.ones(2, HEIGHT, WIDTH, dtype=torch.bool)
    for unknown in (torch.full_like(depth, torch.nan), torch.zeros_like(depth)):
        refined = refine_depth(unknown, flows, free, rotations, centres, K)
        assert torch.equal(torch.nan_to_num(refined), torch.nan_to_num(unknown))
        assert float(torch.nan_to_num(flow_loss(unknown, flows, flows, free, rotations, centres, K))) == 0


def test_pixels_under_visible_tracks_are_not_free():
    static = np.ones((2, HEIGHT, WIDTH), np.bool_)
    tracks = np.array([[[3.9, 2.9]], [[5.0, 5.0]]])
    free = refinable_pixels(static, tracks, np.array([[True], [False]]))
    assert np.argwhere(~free).tolist() == [[0, 2, 3]]
    assert static.all()


def test_edges_are_the_steepest_pixels():
    depth = np.full((1, 40, 40), 2.0, np.float32)
    depth[0, :, 20:] = 5
    depth[0, 0, 0] = np.nan
    kept = away_from_edges(np.concatenate([depth, np.full_like(depth, np.nan)]))
    assert not kept[0, 5:, 19:21].any()
    assert not kept[0, :2, :2].any()
    assert not kept[1].any()


def test_edge_pixels_take_the_depth_of_what_looks_alike():
    depth = np.full((9, 20), 2.0)
    depth[:, 10:] = 6
    rgb = np.zeros((9, 20, 3), np.uint8)
    rgb[:, 11:] = 255
    cleaned = clean_depth(depth, rgb)
    assert (cleaned[:, 9] == 2).all() and (cleaned[:, 10] == 2).all()  # dark, so of the near side
    assert (cleaned[:, 11:] == 6).all()
    assert depth[0, 10] == 6
    flat = np.full((9, 20), 2.0)
    assert np.array_equal(clean_depth(flat, rgb), flat)


def test_far_points_are_outliers():
    points = np.random.default_rng(4).normal(0, 1, (200, 3))
    points[7] = (30, 0, 0)
    assert not statistical_inliers(points)[7] and statistical_inliers(points).mean() > 0.95
    assert not steady_inliers(points)[7]
    for rule in (statistical_inliers, steady_inliers):
        assert rule(points[:3]).all()
