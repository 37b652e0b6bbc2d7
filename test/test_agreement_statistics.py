import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.agreement import Agreement, judge_agreement, mean_discordance
from fourd_ros.evaluation.ceiling import ceiling
from fourd_ros.evaluation.correlation import (
    FEWEST,
    fisher_interval,
    leave_one_out,
    pearson,
    permutation_p,
    spearman,
)
from fourd_ros.evaluation.detectable import detectable_paired, detectable_unpaired
from fourd_ros.evaluation.rate_agreement import LOWEST, mmrv, mmrv_inversions, rate_agreement, regret, top_one
from fourd_ros.evaluation.reliability import reliability
from fourd_ros.evaluation.statistics import bootstrap_difference, bootstrap_of_means, wilson_interval

# Success of RT-2-X, RT-1 (converged, 15 %), RT-1-X, RT-1 (begin) and Octo-Base on the robot and in simulation with
# visual matching, as published with Li et al. 2024 (SIMPLER, arXiv 2405.05941).
SIMPLER = {
    "pick coke can": (
        [0.907, 0.853, 0.920, 0.760, 0.133, 0.293],
        [0.787, 0.857, 0.710, 0.567, 0.027, 0.170],
    ),
    "close drawer": (
        [0.630, 0.926, 0.889, 0.741, 0.000, 0.519],
        [0.343, 0.861, 0.667, 0.891, 0.278, 0.444],
    ),
}
TRUE = [0.9, 0.6, 0.5, 0.1]
IMAGINED = [0.5, 0.8, 0.5, 0.0]
"""One inversion (the first two), one pair that ties in imagination only (first and third)."""


def test_the_published_correlations_and_rank_violation_of_simpler() -> None:
    real, simulated = SIMPLER["pick coke can"]
    assert pearson(simulated, real) == pytest.approx(0.975, abs=5e-4)
    assert mmrv(simulated, real) == pytest.approx(0.031, abs=5e-4)
    real, simulated = SIMPLER["close drawer"]
    r = float(pearson(simulated, real))
    assert r == pytest.approx(0.771, abs=5e-4)
    interval = fisher_interval(r, len(real))
    assert (interval.low, interval.high) == (pytest.approx(-0.11, abs=5e-3), pytest.approx(0.97, abs=5e-3))


@pytest.mark.parametrize("task", SIMPLER)
def test_correlations_are_those_of_scipy(task: str) -> None:
    real, simulated = SIMPLER[task]
    known = stats.pearsonr(simulated, real)
    ends = known.confidence_interval(0.9)
    interval = fisher_interval(float(pearson(simulated, real)), 6, confidence=0.9)
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((known.statistic, ends.low, ends.high))
    assert spearman(simulated, np.round(real, 1)) == pytest.approx(stats.spearmanr(simulated, np.round(real, 1))[0])
    exact = stats.permutation_test(
        (simulated, real),
        lambda x, y, axis: (stats.zscore(x, axis) * stats.zscore(y, axis)).mean(axis),
        permutation_type="pairings",
        vectorized=True,
        alternative="greater",
    )
    assert permutation_p(simulated, real) == pytest.approx(exact.pvalue, abs=0.004)


def test_correlations_pass_over_what_is_unknown_and_do_not_exist_without_variation() -> None:
    first, second = np.array([[0.1, 0.4, np.nan, 0.9], [0.3, 0.3, 0.3, 0.3]]), np.array([0.0, np.nan, 0.5, 1.0])
    assert pearson(first, second).tolist() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert spearman(first, second).tolist() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert np.isnan(pearson(np.full(7, 0.1), np.arange(7)))
    assert np.isnan(permutation_p([0.5, 0.5], [0.0, 1.0]))
    assert np.isnan(fisher_interval(0.5, FEWEST - 1).low)
    assert (fisher_interval(1.0, 9).low, fisher_interval(1.0, 9).high) == (1.0, 1.0)


def test_leaving_one_policy_out_is_the_correlation_of_the_others() -> None:
    real, simulated = (np.array(rates) for rates in SIMPLER["close drawer"])
    by_hand = [stats.pearsonr(np.delete(simulated, p), np.delete(real, p))[0] for p in range(6)]
    assert leave_one_out(simulated, real) == pytest.approx(by_hand)


def test_both_conventions_of_the_rank_violation_by_hand() -> None:
    assert mmrv(IMAGINED, TRUE) == pytest.approx((0.3 + 0.3 + 0.4 + 0.0) / 4)
    assert mmrv_inversions(IMAGINED, TRUE) == pytest.approx((0.3 + 0.3) / 4)


def test_gaps_of_rank_violations_are_true_ones() -> None:
    assert mmrv([0.1, 0.9], [0.9, 0.5]) == pytest.approx(0.4)
    assert mmrv([0.9, 0.5], [0.1, 0.9]) == pytest.approx(0.8)


def test_ties_in_truth_cost_nothing_and_constant_imagination_costs_the_distance_to_the_best() -> None:
    assert mmrv([0.2, 0.8], [0.5, 0.5]) == 0
    assert mmrv([0.5] * 4, TRUE) == pytest.approx(np.mean(0.9 - np.array(TRUE)))
    assert mmrv_inversions([0.5] * 4, TRUE) == 0


def test_rank_violations_need_two_policies_that_are_known() -> None:
    assert np.isnan(mmrv([0.2, np.nan], [0.3, 0.4]))
    assert mmrv([0.9, np.nan, 0.1], [0.3, 1.0, 0.4]) == pytest.approx(0.1)


def test_regret_and_top_one_average_over_ties_of_the_imagined_best() -> None:
    assert regret(IMAGINED, TRUE) == pytest.approx(0.3)
    assert top_one(IMAGINED, TRUE) == 0
    assert regret([0.8, 0.8, 0.1, 0.1], TRUE) == pytest.approx(0.9 - 0.75)
    assert top_one([0.8, 0.8, 0.1, 0.1], TRUE) == 0.5
    assert np.isnan(regret([np.nan, np.nan], [0.1, 0.2]))


def _outcomes(policies: int, starts: int, *, seed: int, flipped: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """Imagined and true outcomes; starts are easy or hard for all policies, a share of the imagined ones is drawn anew.

    Drawn anew are outcomes of policies that imagination takes for better or worse than they are.
    """
    generator = np.random.default_rng(seed)
    skill = np.linspace(0, 1, policies)[:, None]
    believed = np.clip(skill + np.random.default_rng(1).normal(0, 0.25, skill.shape), 0, 1)
    ease = generator.random((1, starts))
    true = (0.7 * generator.random((policies, starts)) + 0.3 * ease < skill).astype(float)
    anew = (generator.random(true.shape) < believed).astype(float)
    return np.where(generator.random(true.shape) < flipped, anew, true), true


@pytest.fixture(scope="module")
def judged() -> Agreement:
    imagined, true = _outcomes(16, 50, seed=3)
    imagined[2, :5] = np.nan
    group = np.arange(16) < 4
    return judge_agreement(imagined, true, probabilities=0.1 + 0.8 * imagined, group=group, resamples=500)


def test_estimates_are_those_of_the_rates(judged: Agreement) -> None:
    imagined, true = judged.imagined_rates.estimate, judged.true_rates.estimate
    by_hand = rate_agreement(imagined, true, middle=judged.middle, group=judged.group)
    assert [float(i.estimate) for i in judged.rates] == pytest.approx([float(value) for value in by_hand])
    assert judged.middle.tolist() == ((true >= 0.1) & (true <= 0.95)).tolist()
    assert judged.rates.group_over_estimate.estimate == pytest.approx((imagined - true)[:4].mean())
    assert judged.imagined_unknown == pytest.approx(5 / (16 * 50))
    assert judged.imagined_rates[2].count == 45


def test_every_interval_holds_its_estimate_and_stays_in_range(judged: Agreement) -> None:
    intervals = [*judged.rates, *judged.episodes, *judged.episodes_wilson, judged.fisher, judged.calibration_error]
    for interval, lowest in zip(intervals, [*LOWEST, *[-1.0] * 8], strict=True):
        assert lowest <= interval.low <= interval.estimate <= interval.high <= 1
    assert judged.leave_one_out.low <= judged.rates.pearson.estimate <= judged.leave_one_out.high
    assert judged.permutation_p == pytest.approx(1 / 501)


def test_single_outcomes_are_counted_where_both_are_known() -> None:
    judged = judge_agreement([[1, 1, 0, np.nan], [1, 0, 0, 1]], [[1, 0, 0, 1], [1, 1, np.nan, 1]], resamples=50)
    assert [float(i.estimate) for i in judged.episodes] == pytest.approx([4 / 6, 3 / 4, 3 / 4])
    assert [int(i.count) for i in judged.episodes_wilson] == [6, 4, 4]
    wilson = wilson_interval(4, 6)
    assert judged.episodes_wilson.agreement.low == pytest.approx(float(wilson.low))
    assert mean_discordance(np.array([[1, 0, 0, 1], [1, 1, np.nan, 1]], float)) == pytest.approx(1 / 3)


def test_the_calibration_error_is_that_of_the_reliability_diagram() -> None:
    generator = np.random.default_rng(5)
    claimed = generator.random((8, 30))
    true = (generator.random(claimed.shape) < claimed**2).astype(float)
    claimed[0, :3] = np.nan
    known = reliability(claimed.T.ravel(), true.T.ravel(), resamples=10)
    assert known is not None
    judged = judge_agreement(true, true, probabilities=claimed, resamples=50)
    assert judged.calibration_error.estimate == pytest.approx(float(known.calibration_error.estimate))


def test_perfect_imagination_is_perfect_and_constant_imagination_has_no_correlation() -> None:
    _, true = _outcomes(8, 20, seed=0)
    perfect = judge_agreement(true, true, resamples=100).rates
    assert (perfect.pearson.low, perfect.mmrv.high, perfect.regret.high, perfect.top_one.low) == (1, 0, 0, 1)
    constant = judge_agreement(np.zeros_like(true), true, resamples=100)
    correlations = (constant.rates.pearson, constant.rates.spearman, constant.fisher, constant.leave_one_out)
    assert all(np.isnan([i.estimate, i.low, i.high]).all() for i in correlations)
    assert np.isnan(constant.permutation_p)
    best = constant.true_rates.estimate.max()
    assert constant.rates.mmrv.estimate == pytest.approx(best - constant.true_rates.estimate.mean())


def test_both_sides_are_drawn_with_the_same_starts() -> None:
    true = np.tile(np.arange(20) % 2, (3, 1)) / 2
    judged = judge_agreement(true + 0.25, true, resamples=100)
    over = judged.rates.over_estimate
    assert (over.low, over.estimate, over.high) == pytest.approx((0.25, 0.25, 0.25))


@pytest.mark.filterwarnings("error")
def test_nothing_known_is_nothing_told() -> None:
    judged = judge_agreement([[np.nan]], [[1.0]], resamples=10)
    text = json.dumps(judged.as_dict(), allow_nan=False)
    assert json.loads(text)["rates"]["pearson"] == {"estimate": None, "low": None, "high": None, "count": 1}


def test_equal_tables_and_seeds_give_equal_records(judged: Agreement) -> None:
    imagined, true = _outcomes(6, 20, seed=8)
    first, second, other = (judge_agreement(imagined, true, resamples=50, seed=seed).as_dict() for seed in (1, 1, 2))
    assert first == second != other
    assert json.loads(json.dumps(judged.as_dict(), allow_nan=False)) == judged.as_dict()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0, 0.0]], [[1.0]]), "needed is one"),
        (([1.0, 0.0], [1.0, 0.0]), "needed is one"),
        (([[]], [[]]), "not empty"),
        (([[2.0]], [[1.0]]), "'imagined' holds 2.0"),
        (([[1.0]], [[-np.inf]]), "'true' holds -inf"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(arguments: tuple[object, object], message: str) -> None:
    with pytest.raises(InvalidResults, match=message):
        judge_agreement(*arguments)
    with pytest.raises(InvalidResults, match="one flag for each of 1 policies"):
        judge_agreement([[1.0]], [[1.0]], group=[True, False])


def test_the_ceiling_is_the_reliability_of_the_truth() -> None:
    generator = np.random.default_rng(2)
    skill = generator.random(60)
    all_policies = np.ones(60, dtype=bool)
    medians = []
    for starts in (20, 200):
        true = (generator.random((60, starts)) < skill[:, None]).astype(float)
        reached = ceiling(true, middle=all_policies, group=all_policies, splits=300)
        noise = (skill * (1 - skill)).mean() / (starts // 2)
        assert reached.pearson.estimate == pytest.approx(skill.var() / (skill.var() + noise), abs=0.06)
        assert reached.over_estimate.estimate == pytest.approx(0, abs=0.01)
        medians.append(float(reached.pearson.estimate))
    assert medians[1] > medians[0]


def test_one_start_has_no_ceiling() -> None:
    both = np.ones(2, dtype=bool)
    assert np.isnan(ceiling(np.array([[0.0], [1.0]]), middle=both, group=both, splits=10).pearson.estimate)


def test_detectable_differences_have_the_sizes_of_textbooks_and_the_power_they_claim() -> None:
    # 40 % against 60 % needs 97 patients a group (Fleiss, Levin and Paik, without continuity correction)
    assert detectable_unpaired(97) == pytest.approx(0.2, abs=2e-4)
    assert np.isnan(detectable_paired(5, discordance=0.1))
    generator, starts, discordance = np.random.default_rng(0), 2000, 0.3
    difference = detectable_paired(starts, discordance=discordance, power=0.9)
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    wins, losses, _ = generator.multinomial(starts, shares, size=20_000).T
    found = np.abs(wins - losses) > 1.96 * np.sqrt(wins + losses)
    assert found.mean() == pytest.approx(0.9, abs=0.02)
    assert difference < detectable_unpaired(starts, power=0.9)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"discordance": 1.2}, "discordance 1.2"), ({"discordance": 0.2, "power": 1.0}, "power 1.0")],
)
def test_probabilities_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        detectable_paired(50, **options)


def _coverage(covers: Callable[[int], bool], runs: int) -> float:
    return float(np.mean([covers(seed) for seed in range(runs)]))


def test_wilson_covers_as_often_as_it_says() -> None:
    trials, rates = 50, np.linspace(0.05, 0.95, 19)
    intervals = [wilson_interval(k, trials) for k in range(trials + 1)]
    holds = np.array([[float(i.low) <= rate <= float(i.high) for i in intervals] for rate in rates])
    covered = (holds * stats.binom.pmf(np.arange(trials + 1), trials, rates[:, None])).sum(axis=1)
    assert covered.mean() == pytest.approx(0.95, abs=0.01)
    assert covered.min() > 0.9


def test_fisher_covers_as_often_as_it_says() -> None:
    true, pairs = 0.9, 16
    draws = np.random.default_rng(0).multivariate_normal([0, 0], [[1, true], [true, 1]], size=(2000, pairs))
    intervals = [fisher_interval(float(r), pairs) for r in pearson(draws[..., 0], draws[..., 1])]
    assert np.mean([i.low <= true <= i.high for i in intervals]) == pytest.approx(0.95, abs=0.015)


def test_the_paired_bootstrap_covers_as_often_as_it_says() -> None:
    def covers(seed: int) -> bool:
        ease, own = np.random.default_rng(seed).random((2, 200))
        difference = bootstrap_difference(0.8 * ease + 0.2 * own < 0.6, ease < 0.6, resamples=300, seed=seed)
        return bool(difference.low <= expected <= difference.high)

    ease, own = np.random.default_rng(10**6).random((2, 10**6))
    expected = np.mean(0.8 * ease + 0.2 * own < 0.6) - 0.6
    assert _coverage(covers, 400) == pytest.approx(0.95, abs=0.03)


def test_centred_bootstraps_of_correlation_and_rank_violation_cover_what_other_starts_would_say() -> None:
    policies, starts = 16, 50
    all_policies = np.ones(policies, dtype=bool)

    def statistics(means: np.ndarray) -> np.ndarray:
        told = rate_agreement(*np.split(means, 2, axis=-1), middle=all_policies, group=all_policies)
        return np.stack([told.pearson, told.mmrv], axis=-1)

    def starts_in_rows(seed: int) -> np.ndarray:
        return np.concatenate(_outcomes(policies, starts, seed=seed, flipped=0.5)).T

    others = np.stack([statistics(starts_in_rows(10**6 + seed).mean(axis=0)) for seed in range(300)])
    expected = np.median(others, axis=0)
    held = np.zeros(2)
    for seed in range(160):
        interval = bootstrap_of_means(starts_in_rows(seed), statistics, resamples=300, seed=seed)
        held += (interval.low <= expected) & (expected <= interval.high)
    assert held / 160 == pytest.approx([0.95, 0.95], abs=0.045)
