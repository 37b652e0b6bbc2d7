"""The bundle adjustment: derivatives, optimum, gauge, robustness, priors, and the same in torch."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from fourd_ros.errors import CannotReconstruct, InvalidTracks
from fourd_ros.geometry.transforms import from_parts, look_at
from fourd_ros.reconstruction.bundle.adjustment import Adjustment, adjust
from fourd_ros.reconstruction.bundle.marginal import prior_without_first
from fourd_ros.reconstruction.bundle.problem import BundleOptions, BundleProblem
from fourd_ros.reconstruction.bundle.state import POSE

PLAIN = BundleOptions(focal="fixed", huber_pixels=1e6, pixel_sigma=1.0, tolerance=1e-10, max_iterations=100)


def truth(frames: int = 5, points: int = 40, seed: int = 0) -> tuple[BundleProblem, np.ndarray]:
    """A problem at its exact solution, all points seen by all frames, and the depths [F, P]."""
    rng = np.random.default_rng(seed)
    eyes = np.stack([np.linspace(-0.8, 0.8, frames), 0.1 * np.sin(np.arange(frames)), np.zeros(frames)], axis=-1)
    path = np.stack([look_at(eye, (0, 0, 5), up=(0, -1, 0)) for eye in eyes])
    places = rng.uniform([-2, -1.5, 4], [2, 1.5, 7], (points, 3))
    there = (places[None] - path[:, None, :3, 3]) @ path[:, :3, :3]
    pixels = 300 * there[..., :2] / there[..., 2:] + [160, 120]
    problem = BundleProblem(
        pixels=pixels,
        weights=np.ones((frames, points)),
        T_world_camera=path,
        points=places,
        focal=np.array([300.0, 300.0]),
        centre=np.array([160.0, 120.0]),
    )
    return problem, there[..., 2]


def disturbed(problem: BundleProblem, *, seed: int = 1, noise: float = 0.0) -> BundleProblem:
    """Another first idea, and noise of the tracks [px]."""
    rng = np.random.default_rng(seed)
    path = problem.T_world_camera.copy()
    path[1:, :3, 3] += rng.normal(0, 0.03, (len(path) - 1, 3))
    path[1:, :3, :3] = path[1:, :3, :3] @ Rotation.from_rotvec(rng.normal(0, 0.02, (len(path) - 1, 3))).as_matrix()
    return replace(
        problem,
        T_world_camera=path,
        points=problem.points + rng.normal(0, 0.1, problem.points.shape),
        pixels=problem.pixels + rng.normal(0, noise, problem.pixels.shape),
    )


@pytest.mark.parametrize("focal", ["fixed", "shared", "separate"])
@pytest.mark.parametrize("with_depth", [False, True])
def test_gradient_is_that_of_the_cost(focal: Any, with_depth: bool) -> None:
    exact, z = truth()
    rng = np.random.default_rng(3)
    depth = z * np.exp(rng.normal(0, 0.2, z.shape)) if with_depth else None
    problem = replace(disturbed(exact, noise=1.0), depth=depth, log_scales=rng.normal(0, 0.1, 5))
    # Without Huber's norm the weights do not depend on the state, and the gradient is exact.
    options = BundleOptions(
        focal=focal, huber_pixels=1e6, huber_depth=1e6, smooth_acceleration=0.3, smooth_turning=1e9, scale_sigma=0.2
    )
    adjustment = Adjustment(problem, options)
    systems = adjustment._linearised()
    size, shared = adjustment.unknowns, problem.frames * adjustment.unknowns
    gradient = np.zeros(shared + adjustment._focals)
    for system in systems:
        gradient[:shared] += system.g[:, :size].ravel()
        gradient[shared:] += system.g[:, size:].sum(axis=0)
    for term in adjustment._terms:
        term.add(adjustment.state, np.zeros((len(gradient),) * 2), gradient)
    step = 1e-6
    for unknown in range(len(gradient)):
        costs = []
        for sign in (1, -1):
            move = np.zeros(len(gradient))
            move[unknown] = sign * step
            focals = np.zeros(2) + (move[shared:] if adjustment._focals else 0.0)
            moved = adjustment.state.moved(move[:shared].reshape(-1, size), focals, np.zeros((3, 40)), np)
            costs.append(adjustment._cost(moved))
        assert (costs[0] - costs[1]) / (2 * step) == pytest.approx(gradient[unknown], rel=1e-4, abs=2e-2), unknown


def test_gradient_of_points_is_that_of_the_cost() -> None:
    exact, z = truth()
    problem = replace(disturbed(exact, noise=1.0), depth=z)
    adjustment = Adjustment(problem, BundleOptions(huber_pixels=1e6, huber_depth=1e6))
    (system,) = adjustment._linearised()
    for axis in range(3):
        move = np.zeros((3, 40))
        move[axis, 7] = 1e-6
        still = np.zeros((5, adjustment.unknowns))
        costs = [adjustment._cost(adjustment.state.moved(still, np.zeros(2), sign * move, np)) for sign in (1, -1)]
        mine = system.g_points[axis, list(adjustment._blocks[0].members).index(7)]
        assert (costs[0] - costs[1]) / 2e-6 == pytest.approx(mine, rel=1e-4)


def test_exact_tracks_give_the_exact_scene() -> None:
    exact, z = truth()
    found = adjust(replace(disturbed(exact), depth=z, focal=np.array([330.0, 330.0])), replace(PLAIN, focal="shared"))
    assert found.converged
    assert np.abs(found.T_world_camera - exact.T_world_camera).max() < 1e-6
    assert found.focal == pytest.approx([300, 300], abs=1e-4)
    assert np.nanmax(found.errors) < 1e-5


def test_focal_lengths_may_differ() -> None:
    exact, z = truth()
    pixels = exact.pixels * [1.0, 1.1] - [0, 12.0]
    wide = replace(disturbed(replace(exact, pixels=pixels)), depth=z)
    found = adjust(wide, replace(PLAIN, focal="separate"))
    assert found.focal == pytest.approx([300, 330], abs=1e-3)


def test_optimum_is_that_of_scipy() -> None:
    problem = disturbed(truth(points=25)[0], noise=0.5)
    found = adjust(problem, PLAIN)

    def residuals(unknowns: np.ndarray) -> np.ndarray:
        poses = unknowns[: 6 * 4].reshape(4, 6)
        R = np.concatenate([problem.T_world_camera[:1, :3, :3], Rotation.from_rotvec(poses[:, :3]).as_matrix()])
        t = np.concatenate([problem.T_world_camera[:1, :3, 3], poses[:, 3:]])
        there = (unknowns[24:].reshape(-1, 3)[None] - t[:, None]) @ R
        return np.asarray(300 * there[..., :2] / there[..., 2:] + [160, 120] - problem.pixels).ravel()

    turns = Rotation.from_matrix(problem.T_world_camera[1:, :3, :3]).as_rotvec()
    start = np.concatenate(
        [np.concatenate([turns, problem.T_world_camera[1:, :3, 3]], axis=1).ravel(), problem.points.ravel()]
    )
    best = least_squares(residuals, start, method="trf", x_scale="jac", xtol=1e-12, ftol=1e-12)
    assert found.cost == pytest.approx(best.cost, rel=1e-6)


@pytest.fixture
def peers() -> Iterator[Any]:
    """The same problems for other libraries."""
    folder = str(Path(__file__).resolve().parent.parent / "benchmarks")
    sys.path.insert(0, folder)
    import bundle_peers

    yield bundle_peers
    sys.path.remove(folder)


def test_optimum_is_that_of_gtsam(peers: Any) -> None:
    pytest.importorskip("gtsam")
    problem = peers.bundle(8, 120, seen=0.9)
    found = adjust(problem, PLAIN)
    other = peers.GtsamAdjuster(problem, tolerance=1e-12).run()
    assert peers.rms_of(problem, found.T_world_camera, found.points) == pytest.approx(other.rms, rel=1e-3)


def test_optimum_is_that_of_ceres(peers: Any) -> None:
    pytest.importorskip("pycolmap")
    problem = peers.bundle(8, 120, seen=0.9)
    found = adjust(problem, PLAIN)
    adjuster = peers.ColmapAdjuster(problem, tolerance=1e-12)
    other = adjuster.run(adjuster.prepared())
    assert peers.rms_of(problem, found.T_world_camera, found.points) == pytest.approx(other.rms, rel=1e-3)


def test_world_and_unit_stay() -> None:
    problem = disturbed(truth()[0], noise=0.5)
    found = adjust(problem, PLAIN)
    centres, began = found.T_world_camera[:, :3, 3], problem.T_world_camera[:, :3, 3]
    assert (found.T_world_camera[0] == problem.T_world_camera[0]).all()
    farthest = np.linalg.norm(began - began[0], axis=1).argmax()
    kept, given = (np.linalg.norm(places[farthest] - places[0]) for places in (centres, began))
    assert kept == pytest.approx(given, rel=1e-2)


def test_depth_gives_the_unit_and_each_frame_its_scale() -> None:
    exact, z = truth()
    scales = np.array([0.05, -0.1, 0.0, 0.1, -0.05])
    shrunk = disturbed(exact)
    found = adjust(replace(shrunk, depth=z * np.exp(-scales)[:, None]), replace(PLAIN, scale_sigma=0.1))
    assert found.log_scales == pytest.approx(scales, abs=5e-3)  # the prior draws them towards zero
    assert np.abs(found.T_world_camera - exact.T_world_camera).max() < 2e-3


def test_wild_tracks_do_little_harm() -> None:
    exact, z = truth(points=80)
    pixels = exact.pixels.copy()
    pixels[:, :8] += np.random.default_rng(2).normal(0, 40, (5, 8, 2))
    wild = replace(disturbed(replace(exact, pixels=pixels)), depth=z)
    robust = adjust(wild, replace(PLAIN, huber_pixels=1.0, huber_depth=0.05))
    plain = adjust(wild, PLAIN)
    off = [np.abs(found.T_world_camera[:, :3, 3] - exact.T_world_camera[:, :3, 3]).max() for found in (robust, plain)]
    assert off[0] < 0.02 < off[1]


def test_a_point_behind_the_camera_comes_back_in_front() -> None:
    exact, _ = truth()
    points = exact.points.copy()
    points[3] = [0, 0, -1]
    found = adjust(replace(exact, points=points), PLAIN)
    assert np.isposinf(found.errors[:, 3]).all() or np.nanmax(found.errors[:, 3]) < 1e-3
    assert np.nanmax(np.delete(found.errors, 3, axis=1)) < 1e-3


def test_smooth_motion_holds_a_frame_that_sees_nothing() -> None:
    exact, z = truth()
    weights = exact.weights.copy()
    weights[2, 3:] = 0
    loose = replace(disturbed(exact), weights=weights, depth=z, times=np.arange(5.0))
    smooth = adjust(loose, replace(PLAIN, smooth_acceleration=0.05, smooth_turning=0.1))
    assert np.linalg.norm(smooth.T_world_camera[2, :3, 3] - exact.T_world_camera[2, :3, 3]) < 0.05


def test_torch_gives_the_same() -> None:
    exact, z = truth()
    problem = replace(disturbed(exact, noise=0.5), depth=z)
    ours, torchs = (adjust(problem, replace(PLAIN, focal="shared", device=device)) for device in ("cpu", "torch:cpu"))
    assert torchs.T_world_camera == pytest.approx(ours.T_world_camera, abs=1e-9)
    assert torchs.iterations == ours.iterations


def test_points_are_in_blocks_of_the_frames_that_see_them() -> None:
    exact, z = truth(frames=12, points=1500)
    seen = np.zeros((12, 1500))
    for point in range(1500):
        seen[point % 10 : point % 10 + 3, point] = 1
    problem = replace(disturbed(exact), weights=seen, depth=z)
    spans = [block.frames for block in Adjustment(problem, PLAIN)._blocks]
    assert min(stop - start for start, stop in spans) < 12
    assert np.abs(adjust(problem, PLAIN).T_world_camera - exact.T_world_camera).max() < 1e-5


def test_a_prior_stands_for_what_went_into_it() -> None:
    """Adjusting the rest with the prior gives what adjusting everything gives."""
    exact, z = truth(frames=6, points=60)
    rng = np.random.default_rng(4)
    depth = z * np.exp(rng.normal(0, 0.05, z.shape))
    whole = replace(disturbed(exact, noise=0.3), depth=depth)
    options = replace(PLAIN, scale_sigma=0.0, depth_sigma=0.05, huber_depth=1e6)
    leaving = np.arange(60) < 30
    whole.weights[0, ~leaving] = 0
    whole.weights[3:, leaving] = 0
    best = adjust(whole, options)
    at_best = replace(whole, T_world_camera=best.T_world_camera, points=best.points)
    prior = prior_without_first(at_best, leaving, options)
    assert prior is not None
    assert set(prior.frames.tolist()) == {0, 1}
    rest = BundleProblem(
        pixels=whole.pixels[1:, 30:],
        weights=whole.weights[1:, 30:],
        T_world_camera=disturbed(at_best, seed=9).T_world_camera[1:],
        points=best.points[30:],
        focal=whole.focal,
        centre=whole.centre,
        depth=depth[1:, 30:],
        fixed=np.zeros(5, bool),
        prior=prior,
    )
    again = adjust(rest, options)
    assert np.abs(again.T_world_camera - best.T_world_camera[1:]).max() < 1e-3
    without = adjust(replace(rest, prior=None, fixed=None), options)
    assert np.abs(without.T_world_camera - best.T_world_camera[1:]).max() > 1e-3


def test_information_of_a_frame_shrinks_with_noise() -> None:
    exact, z = truth()
    spreads = []
    for sigma in (0.5, 1.0):
        adjustment = Adjustment(
            replace(exact, depth=z), replace(PLAIN, pixel_sigma=sigma, scale_sigma=0.0, depth_sigma=sigma)
        )
        information, _ = adjustment.reduced()
        rows = (np.arange(1, 5)[:, None] * adjustment.unknowns + np.arange(POSE)).ravel()
        spreads.append(np.sqrt(np.diag(np.linalg.inv(information[np.ix_(rows, rows)]))))
    assert spreads[1] == pytest.approx(2 * spreads[0], rel=1e-6)


def test_nothing_to_adjust_is_said() -> None:
    exact, _ = truth()
    weights = np.zeros_like(exact.weights)
    weights[0] = 1
    with pytest.raises(CannotReconstruct, match="40 points"):
        adjust(replace(exact, weights=weights), PLAIN)


def test_shapes_must_fit() -> None:
    exact, _ = truth()
    with pytest.raises(InvalidTracks, match=r"points has shape \[39, 3\], needed \[40, 3\]"):
        replace(exact, points=exact.points[:-1])
    with pytest.raises(InvalidTracks, match="T_world_camera"):
        replace(exact, T_world_camera=from_parts(np.eye(3), np.zeros(3)))
