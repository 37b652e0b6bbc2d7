"""All units of one start: every policy, in the imagination of every rung and in the simulator."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fourd_ros.errors import PolicyFailed
from fourd_ros.evaluation.policy.controls import load_rung
from fourd_ros.evaluation.policy.imagination import Imagination
from fourd_ros.evaluation.policy.starts import Start, simulated_start
from fourd_ros.evaluation.policy.trial_setup import Trials, assignment_of, checked_policy
from fourd_ros.evaluation.policy.units import Outcome, Unit, UnitResult, invalid_outcome
from fourd_ros.evaluation.policy.witness import Truth, Witness
from fourd_ros.evaluation.policy.worlds import drive
from fourd_ros.policies.base import Policy

if TYPE_CHECKING:
    from fourd_ros.simulation.simulator import Simulator


@dataclass(frozen=True, kw_only=True)
class StartResults:
    """What was tried at one start.

    Args:
        results: by rung.
        truths: by policy and seed; empty without a simulator.
    """

    results: Mapping[str, Sequence[UnitResult]]
    truths: Mapping[tuple[str, int], Truth]


def try_start(trials: Trials) -> StartResults:
    """Try everything; whatever a policy does wrong makes its unit invalid, with the reason.

    Raises:
        FourdError: the start, the rungs or a policy cannot be made.
    """
    with simulated_start(trials.kind, trials.number, trials.options) as (start, simulator):
        policies = {name: checked_policy(name, trials) for name in trials.policies}
        try:
            for name, policy in policies.items():
                policy.contract.check(name, start.observation, scene=True)
            units = [(name, seed) for name in policies for seed in trials.seeds]
            tried = units if trials.truth else []
            truths = {(name, seed): _true(policies[name], start, simulator, seed, trials) for name, seed in tried}
            results = {backend: _results(trials, start, backend, policies, truths) for backend in trials.backends}
            return StartResults(results=results, truths=truths)
        finally:
            for policy in policies.values():
                with suppress(PolicyFailed):
                    policy.close()


def _results(
    trials: Trials,
    start: Start,
    backend: str,
    policies: Mapping[str, Policy],
    truths: Mapping[tuple[str, int], Truth],
) -> list[UnitResult]:
    imagination = Imagination(start, load_rung(backend, trials.model), trials)
    results = []
    for seed in trials.seeds:
        for name, (outcome, sha256) in imagination.outcomes(policies, seed).items():
            results.append(
                UnitResult(
                    unit=Unit(task=trials.kind, policy=name, start=trials.number, seed=seed),
                    imagined=outcome,
                    true=truths[name, seed].outcome if (name, seed) in truths else None,
                    start_sha256=start.sha256,
                    model_sha256=sha256,
                    backend=backend,
                )
            )
    return results


def _true(policy: Policy, start: Start, simulator: "Simulator", seed: int, trials: Trials) -> Truth:
    began = time.perf_counter()
    try:
        witness = Witness(start, simulator)
        drive(policy, witness.world, assignment_of(policy, start, seed), limit=trials.limit)
        success = start.task.succeeded(start.scene, witness.world.state())
    except Exception as error:
        return Truth(outcome=invalid_outcome(error), detected=None, contact="")
    seconds = time.perf_counter() - began
    return Truth(
        outcome=Outcome(success=success, probability=float(success), seconds=seconds),
        detected=witness.detected(),
        contact=witness.contact,
    )
