"""Depth errors against plain loops and scikit-image, alignments against least squares."""

import math
from dataclasses import fields

import numpy as np
import pytest
from skimage.metrics import mean_squared_error

from fourd_ros.errors import InvalidImage
from fourd_ros.evaluation.depth_metrics import (
    DEPTH_METRICS,
    DepthErrors,
    align_depth,
    depth_errors,
    median_depth_error,
)


def depth_pair(seed: int, size: tuple[int, ...] = (12, 15)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0.4, 4.0, size)
    return truth * generator.uniform(0.6, 1.5, size), truth


def errors_by_loop(depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The formulas of Eigen et al. 2014, pixel by pixel."""
    pairs = [(d, t) for d, t in zip(depth.ravel(), truth.ravel(), strict=True) if np.isfinite(d) and np.isfinite(t)]
    count = len(pairs)
    ratios = [max(d / t, t / d) for d, t in pairs]
    return {
        "abs_rel": sum(abs(d - t) / t for d, t in pairs) / count,
        "sq_rel": sum((d - t) ** 2 / t for d, t in pairs) / count,
        "mae": sum(abs(d - t) for d, t in pairs) / count,
        "rmse": math.sqrt(sum((d - t) ** 2 for d, t in pairs) / count),
        "log_rmse": math.sqrt(sum((math.log(d) - math.log(t)) ** 2 for d, t in pairs) / count),
        **{f"delta{k}": sum(ratio < 1.25**k for ratio in ratios) / count for k in (1, 2, 3)},
    }


def as_numbers(errors: DepthErrors) -> dict[str, float]:
    return {field.name: float(getattr(errors, field.name)) for field in fields(errors)}


@pytest.mark.parametrize("seed", range(4))
def test_errors_are_those_of_the_formulas(seed: int) -> None:
    depth, truth = depth_pair(seed)
    depth[::5], truth[:, ::4] = np.nan, np.nan
    known = as_numbers(depth_errors(depth, truth))
    coverage = known.pop("coverage")
    assert known == pytest.approx(errors_by_loop(depth, truth), rel=1e-12)
    assert coverage == np.isfinite(depth[np.isfinite(truth)]).mean()


def test_worked_example() -> None:
    errors = depth_errors(np.array([[2.0, 3.0]]), np.array([[1.0, 2.5]]))
    assert float(errors.abs_rel) == pytest.approx((1 / 1 + 0.5 / 2.5) / 2)
    assert float(errors.sq_rel) == pytest.approx((1 / 1 + 0.25 / 2.5) / 2)
    assert float(errors.rmse) == pytest.approx(math.sqrt(1.25 / 2))
    assert (float(errors.delta1), float(errors.delta2), float(errors.delta3)) == (0.5, 0.5, 0.5)


def test_rmse_is_the_root_of_the_error_of_scikit_image() -> None:
    depth, truth = depth_pair(7)
    assert float(depth_errors(depth, truth).rmse) ** 2 == pytest.approx(mean_squared_error(truth, depth))


def test_every_error_has_its_description() -> None:
    assert [metric.name for metric in DEPTH_METRICS] == [field.name for field in fields(DepthErrors)]


def test_batches_hold_the_errors_of_their_images() -> None:
    depth, truth = depth_pair(3, (2, 3, 8, 9))
    for align in ("none", "median", "scale", "scale-shift"):
        errors = depth_errors(depth, truth, align=align)
        assert errors.rmse.shape == (2, 3)
        alone = as_numbers(depth_errors(depth[1, 2], truth[1, 2], align=align))
        assert alone == pytest.approx({name: float(getattr(errors, name)[1, 2]) for name in alone})


def test_range_drops_true_depths_and_clips_predictions() -> None:
    truth = np.array([[0.0, 1.0, 2.0, 50.0, np.nan]])
    depth = np.array([[1.0, -3.0, 30.0, 1.0, 1.0]])
    errors = depth_errors(depth, truth, min_depth=0.5, max_depth=10.0)
    assert float(errors.mae) == pytest.approx((0.5 + 8.0) / 2)
    assert float(errors.coverage) == 1.0
    with pytest.raises(InvalidImage, match="0 < min_depth < max_depth"):
        depth_errors(depth, truth, min_depth=0.0)


def test_nothing_known_gives_nan_and_no_coverage() -> None:
    truth = np.ones((3, 3))
    unknown = as_numbers(depth_errors(np.full((3, 3), np.nan), truth))
    assert unknown.pop("coverage") == 0.0
    assert all(map(math.isnan, unknown.values()))
    nowhere = as_numbers(depth_errors(truth, truth, mask=np.zeros((3, 3), dtype=bool)))
    assert all(map(math.isnan, nowhere.values()))


@pytest.mark.parametrize("seed", range(3))
def test_alignments_undo_what_they_can_undo(seed: int) -> None:
    _, truth = depth_pair(seed)
    truth[0] = np.nan
    for mode, changed in (("median", 3.7 * truth), ("scale", 0.2 * truth), ("scale-shift", 0.5 * truth - 0.3)):
        aligned = align_depth(changed, truth, mode=mode)
        np.testing.assert_allclose(aligned, truth, rtol=1e-10)
        errors = depth_errors(changed, truth, align=mode, max_depth=100.0)
        assert float(errors.abs_rel) == pytest.approx(0.0, abs=1e-10)
    assert float(depth_errors(3.7 * truth, truth).abs_rel) == pytest.approx(2.7)


@pytest.mark.parametrize("seed", range(3))
def test_line_is_that_of_least_squares(seed: int) -> None:
    depth, truth = depth_pair(seed)
    mask = np.random.default_rng(seed).random(depth.shape) < 0.5
    line, *_ = np.linalg.lstsq(np.stack([depth[mask], np.ones(mask.sum())], axis=1), truth[mask], rcond=None)
    np.testing.assert_allclose(align_depth(depth, truth, mode="scale-shift", mask=mask), line[0] * depth + line[1])
    factor, *_ = np.linalg.lstsq(depth[mask][:, None], truth[mask], rcond=None)
    np.testing.assert_allclose(align_depth(depth, truth, mode="scale", mask=mask), factor * depth)


def test_fits_without_ground_are_unknown() -> None:
    truth = np.linspace(1, 2, 12).reshape(3, 4)
    assert np.isnan(align_depth(np.full((3, 4), 2.0), truth, mode="scale-shift")).all()
    assert np.isnan(align_depth(np.zeros((3, 4)), truth, mode="median")).all()
    assert np.isnan(align_depth(truth, truth, mode="scale", mask=np.zeros((3, 4), dtype=bool))).all()
    errors = depth_errors(np.full((3, 4), 2.0), truth, align="scale-shift")
    assert np.isnan(errors.rmse)


def test_median_depth_error_needs_some_pixels() -> None:
    truth = np.ones((2, 60, 80))
    mask = np.zeros(truth.shape, dtype=bool)
    mask[0, 0, :9], mask[1, 0, :10] = True, True
    np.testing.assert_array_equal(median_depth_error(truth + 1, truth, mask=mask), [np.nan, 1.0])
    holes = truth.copy()
    holes[:, 0, 5:] = np.nan
    assert np.isnan(median_depth_error(holes, truth, mask=mask)).all()
    np.testing.assert_array_equal(median_depth_error(holes, truth - 2, mask=mask, min_pixels=5), [2.0, 2.0])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidImage, match=r"one shape \[\*, H, W\]"):
        depth_errors(np.ones((3, 4)), np.ones((4, 3)))
    with pytest.raises(InvalidImage, match=r"broadcasts to \[3, 4\]"):
        median_depth_error(np.ones((3, 4)), np.ones((3, 4)), mask=np.ones((2, 2), dtype=bool))
    with pytest.raises(InvalidImage, match="alignment 'mean'"):
        align_depth(np.ones((3, 4)), np.ones((3, 4)), mode="mean")  # type: ignore[arg-type]
