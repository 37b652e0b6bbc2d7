"""Errors of paths against evo, and what single poses, gaps and lines mean."""

import numpy as np
import pytest
from evo.core import metrics
from evo.core.trajectory import PosePath3D
from evo.core.units import Unit

from fourd_ros.errors import InvalidTransform
from fourd_ros.evaluation.path_metrics import absolute_errors, align_path, relative_errors, root_mean_square
from fourd_ros.geometry.transforms import from_quaternion

POSES = 40
SCALE = 1.7


def paths(seed: int, batch: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
    """A true path, and an estimate in another frame and scale that drifts."""
    generator = np.random.default_rng(seed)
    steps = from_quaternion(
        generator.normal(0.05, 0.05, (*batch, POSES, 3)), generator.normal([0, 0, 0, 1], 0.1, (*batch, POSES, 4))
    )
    truth = steps.copy()
    for index in range(1, POSES):
        truth[..., index, :, :] = truth[..., index - 1, :, :] @ steps[..., index, :, :]
    noise = from_quaternion(
        generator.normal(0, 0.01, (*batch, POSES, 3)), generator.normal([0, 0, 0, 1], 0.01, (*batch, POSES, 4))
    )
    frame = from_quaternion(generator.normal(size=3), generator.normal(size=4))
    estimate = frame @ truth @ noise
    estimate[..., :3, 3] *= SCALE
    return estimate, truth


def evo_errors(estimate: np.ndarray, truth: np.ndarray, metric: metrics.PE, align: str) -> np.ndarray:
    moved, true = PosePath3D(poses_se3=list(estimate)), PosePath3D(poses_se3=list(truth))
    if align != "none":
        moved.align(true, correct_scale=align == "sim3")
    metric.process_data((true, moved))
    return np.asarray(metric.error)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("align", ["none", "se3", "sim3"])
def test_absolute_errors_are_those_of_evo(seed: int, align: str) -> None:
    estimate, truth = paths(seed)
    errors = absolute_errors(estimate, truth, align=align)
    position = metrics.APE(metrics.PoseRelation.translation_part)
    np.testing.assert_allclose(errors.translation, evo_errors(estimate, truth, position, align), atol=1e-9)
    assert float(root_mean_square(errors.translation)) == pytest.approx(
        position.get_statistic(metrics.StatisticsType.rmse)
    )
    angle = metrics.APE(metrics.PoseRelation.rotation_angle_rad)
    np.testing.assert_allclose(errors.rotation, evo_errors(estimate, truth, angle, align), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("delta", [1, 7])
def test_relative_errors_are_those_of_evo(seed: int, delta: int) -> None:
    estimate, truth = paths(seed)
    errors = relative_errors(estimate, truth, delta=delta)
    for relation, ours in (
        (metrics.PoseRelation.translation_part, errors.translation),
        (metrics.PoseRelation.rotation_angle_rad, errors.rotation),
    ):
        metric = metrics.RPE(relation, delta=delta, delta_unit=Unit.frames, all_pairs=True)
        np.testing.assert_allclose(ours, evo_errors(estimate, truth, metric, "none"), atol=1e-6)


def test_alignment_undoes_frame_and_scale() -> None:
    _, truth = paths(3)
    frame = from_quaternion([1, 2, 3], [0.1, 0.5, -0.3, 0.7])
    moved = frame @ truth
    np.testing.assert_allclose(align_path(moved, truth, mode="se3"), truth, atol=1e-12)
    moved[:, :3, 3] *= SCALE
    np.testing.assert_allclose(align_path(moved, truth, mode="sim3"), truth, atol=1e-12)
    assert np.nanmin(absolute_errors(moved, truth, align="se3").translation) > 0.001


def test_batches_hold_the_errors_of_their_paths() -> None:
    estimate, truth = paths(4, (2, 2))
    for errors in (absolute_errors(estimate, truth, align="sim3"), relative_errors(estimate, truth, delta=3)):
        assert root_mean_square(errors.translation).shape == (2, 2)
    alone = absolute_errors(estimate[1, 0], truth[1, 0], align="sim3")
    np.testing.assert_allclose(
        absolute_errors(estimate, truth, align="sim3").translation[1, 0], alone.translation, atol=1e-12
    )


def test_unknown_poses_do_not_count() -> None:
    estimate, truth = paths(5)
    gaps = estimate.copy()
    gaps[[3, 20, 39], :3, 3] = np.nan
    known = np.setdiff1d(np.arange(POSES), [3, 20, 39])
    errors = absolute_errors(gaps, truth, align="sim3")
    assert np.isnan(errors.translation[[3, 20, 39]]).all()
    rest = absolute_errors(estimate[known], truth[known], align="sim3")
    np.testing.assert_allclose(errors.translation[known], rest.translation, atol=1e-12)
    assert np.isnan(relative_errors(gaps, truth).rotation).sum() == 5


def test_one_pose_says_something_only_without_alignment() -> None:
    estimate, truth = (path[:1] for path in paths(6))
    for align in ("se3", "sim3"):
        assert np.isnan(root_mean_square(absolute_errors(estimate, truth, align=align).translation))
    distance = np.linalg.norm(estimate[0, :3, 3] - truth[0, :3, 3])
    assert float(absolute_errors(estimate, truth, align="none").translation[0]) == pytest.approx(distance)
    steps = relative_errors(estimate, truth)
    assert steps.translation.shape == (0,)
    assert np.isnan(root_mean_square(steps.translation))


def test_a_straight_path_fits_and_a_path_that_stands_still_has_no_scale() -> None:
    truth = np.tile(np.eye(4), (5, 1, 1))
    truth[:, 0, 3] = np.arange(5)
    turned = from_quaternion([0, 0, 1], [0, 0, 0.6, 0.8]) @ truth
    np.testing.assert_allclose(absolute_errors(turned, truth, align="se3").translation, 0, atol=1e-12)
    still = np.tile(np.eye(4), (5, 1, 1))
    assert np.isnan(absolute_errors(still, truth, align="sim3").translation).all()
    np.testing.assert_allclose(absolute_errors(still, truth, align="se3").translation, [2, 1, 0, 1, 2], atol=1e-12)


def test_small_angles_are_exact() -> None:
    truth = np.tile(np.eye(4), (3, 1, 1))
    turned = truth @ from_quaternion([0, 0, 0], [0, 0, 0.5e-9, 1.0])
    np.testing.assert_allclose(absolute_errors(turned, truth, align="none").rotation, 1e-9, rtol=1e-6)


def test_paths_that_do_not_fit_are_refused() -> None:
    estimate, truth = paths(0)
    with pytest.raises(InvalidTransform, match=r"one shape \[\*, T, 4, 4\]"):
        absolute_errors(estimate[1:], truth)
    with pytest.raises(InvalidTransform, match="at least one pose"):
        relative_errors(estimate, truth, delta=0)
    with pytest.raises(InvalidTransform, match="alignment 'affine'"):
        align_path(estimate, truth, mode="affine")  # type: ignore[arg-type]
