import numpy as np
import pytest

from fourd_ros.evaluation.sequential import LARGEST_BET, ROWS_AT_ONCE, STEPS, compare_paired, confidence_sequence


def _capitals(outcomes: np.ndarray, mean: float, alpha: float) -> np.ndarray:
    """Hedged capital of theorem 3, round by round, as the paper writes it."""
    up = down = 0.5
    capitals = []
    sum_of_outcomes, sum_of_squares, variance = 0.0, 0.0, 0.25
    for t, outcome in enumerate(outcomes, start=1):
        bet = np.sqrt(2 * np.log(2 / alpha) / (variance * t * np.log(t + 1)))
        up *= 1 + min(bet, LARGEST_BET / mean) * (outcome - mean)
        down *= 1 - min(bet, LARGEST_BET / (1 - mean)) * (outcome - mean)
        capitals.append(max(up, down))
        sum_of_outcomes += outcome
        sum_of_squares += (outcome - (0.5 + sum_of_outcomes) / (t + 1)) ** 2
        variance = (0.25 + sum_of_squares) / (t + 1)
    return np.array(capitals)


def test_a_candidate_is_refused_once_a_gambler_is_rich() -> None:
    outcomes = np.random.default_rng(0).beta(2, 1, ROWS_AT_ONCE + 800)
    sequence = confidence_sequence(outcomes, confidence=0.9)
    assert sequence.high[-1] < sequence.high[ROWS_AT_ONCE - 1], "some are refused in the second block of rows only"
    for mean in [0.05, 0.3, 0.6, *np.arange(0.69, 0.73, 0.002).round(3), 0.8, 0.95]:
        rich = np.logical_or.accumulate(_capitals(outcomes, mean, 0.1) >= 1 / 0.1)
        tolerance = 1e-9
        refused = (sequence.low >= mean - tolerance) | (sequence.high <= mean + tolerance)
        assert refused.tolist() == rich.tolist()
    assert sequence.estimate[-1] == pytest.approx(outcomes.mean())


@pytest.mark.parametrize("mean", [0.1, 0.5])
def test_all_intervals_of_a_path_hold_at_once(mean: float) -> None:
    generator, paths, rounds = np.random.default_rng(1), 120, 250
    missed = 0
    for _ in range(paths):
        sequence = confidence_sequence(generator.random(rounds) < mean, confidence=0.9)
        missed += bool(((sequence.low >= mean) | (sequence.high <= mean)).any())
    assert missed / paths <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / paths)


def test_looking_at_fixed_intervals_again_and_again_would_not_hold() -> None:
    """What the sequence is for: an ordinary interval looked at after every outcome misses far too often."""
    draws = np.random.default_rng(2).random((300, 250)) < 0.5
    rounds = np.arange(1, 251)
    deviation = np.abs(draws.cumsum(axis=1) / rounds - 0.5) / (0.5 / np.sqrt(rounds))
    assert (deviation[:, 10:] > 1.645).any(axis=1).mean() > 0.3


def test_intervals_only_shrink_and_end_narrow() -> None:
    sequence = confidence_sequence(np.random.default_rng(3).random(1000) < 0.8)
    assert (np.diff(sequence.low) >= 0).all() and (np.diff(sequence.high) <= 0).all()
    assert sequence.high[-1] - sequence.low[-1] < 0.12
    assert sequence.count.tolist() == list(range(1, 1001))


def test_unknown_outcomes_change_nothing() -> None:
    outcomes = np.random.default_rng(4).random(60).round()
    holes = np.insert(outcomes, [0, 20, 60], np.nan)
    sequence, with_holes = confidence_sequence(outcomes), confidence_sequence(holes)
    assert with_holes.low[~np.isnan(holes)].tolist() == sequence.low.tolist()
    assert (with_holes.low[0], with_holes.high[0], with_holes.count[0]) == (0, 1, 0)
    assert np.isnan(with_holes.estimate[0])
    assert len(confidence_sequence([]).low) == 0


def test_a_clear_difference_is_decided_early_and_the_right_way_round() -> None:
    generator = np.random.default_rng(5)
    for _ in range(20):
        ease = generator.random(200)
        good, bad = ease < 0.9, ease + 0.2 * generator.normal(size=200) < 0.5
        comparison = compare_paired(good, bad)
        assert comparison.decided_at is not None and comparison.decided_at < 100
        assert comparison.first_is_better
        assert compare_paired(bad, good).first_is_better is False
        earlier = compare_paired(good[: comparison.decided_at], bad[: comparison.decided_at])
        assert earlier.decided_at == comparison.decided_at
        assert compare_paired(good[: comparison.decided_at - 1], bad[: comparison.decided_at - 1]).decided_at is None


def test_equal_policies_are_rarely_told_apart_however_long_one_looks() -> None:
    generator, runs = np.random.default_rng(6), 150
    wrong = 0
    for _ in range(runs):
        first, second = generator.random((2, 200)) < 0.7
        wrong += compare_paired(first, second, confidence=0.9).decided_at is not None
    assert wrong / runs <= 0.1 + 2 * np.sqrt(0.1 * 0.9 / runs)


def test_equal_outcomes_stay_undecided() -> None:
    comparison = compare_paired(np.ones(500), np.ones(500))
    assert comparison.decided_at is None and comparison.first_is_better is None
    assert comparison.difference.high[-1] - comparison.difference.low[-1] < 0.1
    assert STEPS % 2 == 0


@pytest.mark.parametrize(
    ("first", "second", "confidence", "message"),
    [
        ([1.0], [1.0, 0.0], 0.95, "one for each start state"),
        ([2.0], [1.5], 0.95, "between 0 and 1"),
        ([1.0], [1.0], 1.0, "confidence 1.0"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    first: list[float], second: list[float], confidence: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_paired(first, second, confidence=confidence)
