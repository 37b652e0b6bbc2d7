"""The mathematics of DynamicVerse where its vectors do not reach."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from fourd_ros.reconstruction.official.axis_angle import ANGLE_FLOOR, rotation_matrices, starting_poses
from fourd_ros.reconstruction.official.losses import (
    NO_NEIGHBOUR,
    moving_smoothness,
    pairwise_loss,
    reprojection_loss,
    rigidity_loss,
    rigidity_of_points,
    rotation_smoothness,
    translation_smoothness,
)
from fourd_ros.reconstruction.official.optimiser import LEAST_RATE, EarlyStop, Rate, descend
from fourd_ros.reconstruction.official.point_initialisation import (
    dynamic_outliers,
    isolated_points,
    neighbours_at_birth,
    static_points,
)
from fourd_ros.reconstruction.official.projection import (
    bilinear,
    depth_of_pixel,
    intrinsics,
    project,
    unproject,
    within_image,
)

FLOOR = math.acos(1 - 1e-4)
K = intrinsics(torch.tensor([50.0, 60.0], dtype=torch.float64), width=41, height=31)
STILL = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)


def test_rotations_above_the_floor_are_exact():
    vectors = np.random.default_rng(0).normal(0, 1, (20, 3))
    found = rotation_matrices(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(found, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)


def test_rotations_below_the_floor_take_its_angle():
    small = torch.tensor([3e-3, 0, 0], dtype=torch.float64)
    sine = math.sin(ANGLE_FLOOR) / ANGLE_FLOOR * 3e-3
    R = rotation_matrices(small)
    assert float(R[2, 1]) == pytest.approx(sine, rel=1e-12)
    assert float(torch.linalg.det(R)) != pytest.approx(1, abs=1e-12)


def test_the_floor_has_a_gradient_of_its_own():
    vector = torch.full((3,), 1e-3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(rotation_matrices, vector)
    zero = torch.zeros(3, requires_grad=True)
    rotation_matrices(zero)[2, 1].backward()
    assert float(zero.grad[0]) == pytest.approx(1, abs=1e-4)


def test_a_steady_turn_costs_nothing():
    omega = torch.zeros(6, 3, dtype=torch.float64)
    omega[:, 1] = 0.1 * torch.arange(6)
    omega.requires_grad_()
    loss = rotation_smoothness(rotation_matrices(omega))
    loss.backward()
    assert float(loss.detach()) == 0
    assert float(omega.grad.abs().max()) == 0


@pytest.mark.parametrize(("change", "counts"), [(0.019, False), (0.021, True)])
def test_changes_of_the_turn_count_from_a_threshold_on(change, counts):
    omega = torch.zeros(3, 3, dtype=torch.float64)
    omega[:, 0] = torch.tensor([0, 0.1, 0.2 + change])
    loss = float(rotation_smoothness(rotation_matrices(omega)))
    assert loss == pytest.approx(change / ((0.1 + 0.1 + change) / 2) if counts else 0, rel=1e-6)


def test_the_denominator_keeps_the_floor_of_angles():
    omega = torch.zeros(3, 3, dtype=torch.float64)
    omega[2, 0] = 0.5
    loss = float(rotation_smoothness(rotation_matrices(omega)))
    assert loss == pytest.approx(0.5 / ((FLOOR + 0.5) / 2), rel=1e-6)


def test_standing_cameras_give_finite_gradients():
    omega, t = starting_poses(5)
    for variable, loss in ((t, translation_smoothness), (omega, lambda w: rotation_smoothness(rotation_matrices(w)))):
        variable.requires_grad_()
        loss(variable).backward()
        assert torch.isfinite(variable.grad).all()


def test_points_behind_the_camera_have_negative_depth():
    pixels, depth = project(torch.tensor([[0.1, 0.2, -2.0], [0.0, 0.0, 0.0]], dtype=torch.float64), *STILL, K)
    assert depth.tolist() == [-2, 0]
    assert torch.isfinite(pixels).all()


def test_a_frame_that_sees_nothing_adds_nothing():
    points = torch.tensor([[0.0, 0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    tracks = torch.tensor([[[21.0, 15.0]], [[0.0, 0.0]]], dtype=torch.float64)
    R, t = STILL[0].expand(2, 3, 3), STILL[1].expand(2, 3)
    loss = reprojection_loss(points, tracks, torch.tensor([[True], [False]]), R, t, K)
    loss.backward()
    assert float(loss) == pytest.approx(0.5)  # one pixel off in one of two frames
    assert torch.isfinite(points.grad).all()


def test_pairs_meet_where_depth_and_poses_are_true():
    rng = np.random.default_rng(1)
    points = torch.from_numpy(rng.uniform([-1, -1, 3], [1, 1, 5], (12, 3)))
    R = rotation_matrices(torch.from_numpy(rng.normal(0, 0.05, (3, 3))))
    t = torch.from_numpy(rng.normal(0, 0.1, (3, 3)))
    tracks, depth = project(points, R, t, K)
    visible, pairs = torch.ones(3, 12, dtype=torch.bool), torch.tensor([[0, 1], [2, 0]])
    assert float(pairwise_loss(tracks, visible, depth, pairs, R, t, K)) < 1e-10
    assert float(pairwise_loss(tracks, visible, 1.1 * depth, pairs, R, t, K)) > 0.1
    torch.testing.assert_close(unproject(tracks, depth, R, t, K), points.expand(3, 12, 3))


def test_rigidity_forgets_missing_and_hidden_neighbours():
    points = torch.zeros(3, 2, 3, dtype=torch.float64)
    points[1, :, 0] = torch.tensor([1.0, 3.0])
    points[2, :, 1] = torch.tensor([1.0, 1.0])
    neighbours = torch.tensor([[1, 2], [0, NO_NEIGHBOUR], [NO_NEIGHBOUR, NO_NEIGHBOUR]])
    seen = torch.ones(2, 3, dtype=torch.bool)
    assert rigidity_of_points(points, seen, neighbours)[:, 0].tolist() == [1, 2, 0]
    assert float(rigidity_loss(points, seen, neighbours)) == pytest.approx(4 / 3)
    seen[1, 1] = False
    assert rigidity_of_points(points, seen, neighbours)[:, 0].tolist() == [0, 0, 0]


def test_nothing_visible_is_no_loss():
    points, hidden = torch.rand(4, 3, 3), torch.zeros(3, 4, dtype=torch.bool)
    neighbours = torch.full((4, 4), NO_NEIGHBOUR)
    assert float(moving_smoothness(points, hidden)) == 0
    assert float(rigidity_loss(points, hidden, neighbours)) == 0
    assert not dynamic_outliers(points, hidden, neighbours).any()


def test_depth_between_pixels_fades_beyond_the_edge():
    maps = torch.full((1, 3, 5), 2.0)
    at = torch.tensor([[[1.5, 0.5], [4.0, 2.0], [4.25, 1.0], [-1.0, 0.0]]])
    assert bilinear(maps, at)[0].tolist() == pytest.approx([2, 2, 1.5, 0])


def test_depth_of_a_pixel_cuts_fractions_off():
    maps = torch.arange(15.0).reshape(1, 3, 5)
    at = torch.tensor([[[1.9, 0.9], [4.9, 2.2], [9.0, -3.0]]])
    assert depth_of_pixel(maps, at)[0].tolist() == [1, 14, 4]
    assert within_image(at, width=5, height=3)[0].tolist()[2] == [4, 0]


def test_static_points_have_the_mean_of_what_is_seen_unless_the_original_is_meant():
    depth = torch.full((4, 31, 41), 2.0, dtype=torch.float64)
    tracks = torch.full((4, 1, 2), 20.0, dtype=torch.float64)
    raw = torch.ones(4, 1, dtype=torch.bool)
    seen = raw.clone()
    seen[3] = False
    camera = STILL[0].expand(4, 3, 3), STILL[1].expand(4, 3), K
    right = static_points(tracks, seen, depth, *camera)
    official = static_points(tracks, seen, depth, *camera, official_confidence=raw)
    assert float(right[0, 2]) == pytest.approx(2)
    assert float(official[0, 2]) == pytest.approx(1.5)


def test_the_point_far_from_all_is_isolated():
    points = torch.from_numpy(np.random.default_rng(2).uniform(0, 1, (60, 3)))
    points[17] += 10
    assert bool(isolated_points(points)[17])
    assert int(isolated_points(points).sum()) == 2  # the two above the 98th percentile of 60
    assert not isolated_points(points[:5]).any()


def test_neighbours_are_sought_where_a_track_is_born():
    depth = torch.full((2, 31, 41), 2.0)
    tracks = torch.tensor([[[0, 5], [1, 5], [2, 5], [9, 5], [20, 5], [30, 5]]] * 2, dtype=torch.float32)
    tracks[1] = tracks[1].flip(0)
    seen = torch.ones(2, 6, dtype=torch.bool)
    born = torch.tensor([0, 0, 0, 0, 1, 1])
    found = neighbours_at_birth(tracks, seen, born, depth, K.float())
    assert found[0].tolist() == [1, 2, 3, 4]
    assert found[5].tolist() == [4, 3, 2, 1]
    seen[0, 2:] = False
    few = neighbours_at_birth(tracks, seen, born, depth, K.float())
    assert few[0].tolist() == [1, NO_NEIGHBOUR, NO_NEIGHBOUR, NO_NEIGHBOUR]


def test_the_stopper_wants_more_than_a_little():
    stop = EarlyStop(patience=2)
    assert [stop(loss) for loss in (1.0, 0.99995, 0.9998, 0.9998, 0.9998)] == [False, False, False, False, True]


def test_a_descent_ends_early_when_nothing_is_gained():
    x = torch.tensor([1.0], requires_grad=True)
    steps = []
    losses = descend(
        lambda: (x * 0).sum() + 3,
        [Rate(variable=x, rate=0.1)],
        epochs=50,
        patience=4,
        rate_patience=100,
        before_step=lambda: steps.append(0),
    )
    assert losses == [3] * 5
    assert len(steps) == 4  # the test comes before the step


def test_rates_halve_on_plateaus_down_to_the_least():
    x = torch.tensor([0.05], dtype=torch.float64, requires_grad=True)
    places = []
    descend(
        lambda: 1 + x.abs().sum() * 1e-9,
        [Rate(variable=x, rate=0.1)],
        epochs=400,
        patience=1000,
        rate_patience=2,
        before_step=lambda: (x.grad.sign_(), places.append(float(x))),
    )
    steps = np.abs(np.diff(places))
    assert steps[0] == pytest.approx(0.1, rel=1e-3)
    assert steps[-20:].max() <= LEAST_RATE * 1.01


def test_what_is_frozen_stays():
    x = torch.ones(3, 2, requires_grad=True)

    def freeze() -> None:
        x.grad[1] = 0

    descend(
        lambda: x.square().sum(),
        [Rate(variable=x, rate=0.1)],
        epochs=5,
        patience=100,
        rate_patience=100,
        before_step=freeze,
    )
    assert x[1].tolist() == [1, 1]
    assert float(x[[0, 2]].max()) < 0.7
