import numpy as np
import pytest

from fourd_ros.evaluation.statistics import (
    bootstrap_interval,
    bootstrap_median,
    mean_of_known,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (81, 263, 0.2553, 0.3662),
    ],
)
def test_wilson_gives_the_published_values(successes: int, trials: int, low: float, high: float) -> None:
    interval = wilson_interval(successes, trials)
    assert interval.estimate == pytest.approx(successes / trials)
    assert (interval.low, interval.high) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )


def test_wilson_without_trials_knows_nothing() -> None:
    interval = wilson_interval(0, 0)
    assert np.isnan(interval.estimate)
    assert (interval.low, interval.high) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3)])
def test_wilson_refuses_impossible_counts(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="needed 0 <= successes <= trials"):
        wilson_interval(successes, trials)


def test_bootstrap_agrees_with_the_normal_interval_of_a_large_sample() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 2000)
    interval = bootstrap_interval(values, resamples=4000)
    half = 1.96 * values.std(ddof=1) / np.sqrt(len(values))
    assert interval.estimate == pytest.approx(values.mean())
    assert float(interval.low) == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert float(interval.high) == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_bootstrap_of_two_values_reaches_both_and_repeats_itself() -> None:
    first, second = (
        bootstrap_interval([1.0, 5.0], seed=3),
        bootstrap_interval([1.0, 5.0], seed=3),
    )
    assert (float(first.low), float(first.estimate), float(first.high)) == (
        1.0,
        3.0,
        5.0,
    )
    assert (first.low, first.high) == (second.low, second.high)


def test_bootstrap_counts_only_what_is_known() -> None:
    interval = bootstrap_interval([[1.0, np.nan, np.nan], [3.0, 4.0, np.nan]])
    np.testing.assert_array_equal(interval.estimate, [2.0, 4.0, np.nan])
    np.testing.assert_array_equal(interval.count, [2, 1, 0])
    assert interval.low[1] == interval.high[1] == 4.0
    assert np.isnan(interval.low[2])


def test_bootstrap_refuses_nothing_and_odd_confidence() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        bootstrap_interval([])
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval([1.0], confidence=95)


def test_mean_of_known_along_the_second_axis() -> None:
    np.testing.assert_array_equal(
        mean_of_known(np.array([[1.0, np.nan], [np.nan, np.nan]]), axis=1),
        [1.0, np.nan],
    )


def test_bootstrap_of_the_median_covers_it_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        interval = bootstrap_median(generator.exponential(size=40), resamples=300, seed=trial)
        covered += bool(interval.low <= np.log(2) <= interval.high)
    assert 0.9 <= covered / 200 <= 0.985


def test_medians_of_two_columns_are_drawn_together() -> None:
    values = np.random.default_rng(1).normal(0, 1, 50)
    shifted = bootstrap_median(values + 0.1, values)
    assert [float(value) for value in (shifted.estimate, shifted.low, shifted.high)] == pytest.approx([0.1] * 3)
    values[0] = np.nan
    assert int(bootstrap_median(values).count) == 49
    assert np.isnan(bootstrap_median(np.full(3, np.nan)).estimate)
