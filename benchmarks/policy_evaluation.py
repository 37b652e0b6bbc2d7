"""Policies tried in the imagination, in units a minute, beside MuJoCo with pictures on the same starts.

A unit is one policy at one start of a push; it ends with a verdict. *Open loop*: all scripted policies, which plan
once; the imagination takes those of a start together, MuJoCo one after the other, with a picture every 0.2 s as a film
of the unit needs it. *Closed loop*: an expert that looks at a picture of 128 x 128 every 0.4 s, imagined or rendered.
The worlds take turns at every start, in one process, so that a busy machine slows them alike. The clock starts with the
start state made and the model loaded; planning is in it for both.

*Workers*: the same small evaluation, without the simulator, by one process and by two, in turn. The clock runs from
the first start that each process has finished, so that starting processes is not in it, to the last start; the last one
is often alone. The median of the evaluations counts. Policies: four scripted ones.

    python benchmarks/policy_evaluation.py
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from measure import report

from fourd_ros.evaluation.policy.config import ALL_SCRIPTED, PolicyEvaluationConfig, StartSettings
from fourd_ros.evaluation.policy.controls import load_rung
from fourd_ros.evaluation.policy.evaluation import PolicyEvaluation
from fourd_ros.evaluation.policy.imagination import FRAME_STEP, Imagination
from fourd_ros.evaluation.policy.starts import Start, simulated_start
from fourd_ros.evaluation.policy.trial_setup import Trials, assignment_of, checked_policy
from fourd_ros.evaluation.policy.units import UnitResult
from fourd_ros.evaluation.policy.worlds import REST, SimulatedWorld, drive
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.policies.registry import make_policy
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tabletop_scene import CAMERA

TASK, SEED = "push", 0
LOOK_PERIOD = 0.4
OPEN, CLOSED = "open loop", "closed loop"
IMAGINED, MUJOCO = "imagined", "MuJoCo"
FEW = ("scripted/expert", "scripted/aim_20mm", "scripted/aim_50mm", "scripted/random")


class Looking(Policy):
    """An expert that goes on with its plan after every look."""

    contract = Contract(cameras=(CAMERA,), scene=True, period=LOOK_PERIOD)

    def __init__(self) -> None:
        super().__init__("looking expert")
        self._expert = make_policy("scripted/expert", task=TASK)
        self._plan: RobotTrajectory | None = None

    def begin(self, assignment: Assignment) -> None:
        self._expert.begin(assignment)
        self._plan = None

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        if self._plan is None:
            self._plan = self._expert.act(observation, elapsed=elapsed)
        plan = self._plan
        if plan is None or elapsed > plan.times[-1] + REST:
            return None
        rest = np.append(plan.times[(plan.times > elapsed) & (plan.times < plan.times[-1])], plan.times[-1])
        times = np.maximum(rest - elapsed, 1e-3)
        return RobotTrajectory(joint_names=plan.joint_names, times=times, positions=plan.at(rest))


def worlds(evaluation: PolicyEvaluation, *, starts: int) -> Iterator[dict[str, object]]:
    """Units a minute in both worlds, tried in turn."""
    seconds: dict[tuple[str, str], list[tuple[float, float]]] = {}
    units = dict.fromkeys((OPEN, CLOSED), 0)
    for number in range(starts + 1):
        trials = evaluation.trials(TASK, number)
        with simulated_start(TASK, number, trials.options) as (start, simulator):
            scripted = {name: checked_policy(name, trials) for name in trials.policies}
            for loop, policies in ((OPEN, scripted), (CLOSED, {"looking": Looking()})):
                taken = (
                    (IMAGINED, timed(imagining(start, policies, trials))),
                    (MUJOCO, timed(simulating(start, simulator, policies, trials))),
                )
                if number > 0:  # the first start loads what the others find ready
                    units[loop] += len(policies)
                    for world, spent in taken:
                        seconds.setdefault((loop, world), []).append(spent)
    for loop, count in units.items():
        rates = {world: rate(count, seconds[loop, world]) for world in (IMAGINED, MUJOCO)}
        ratio = rates[IMAGINED]["per_cpu_minute"] / rates[MUJOCO]["per_cpu_minute"]
        yield {"what": loop, "backend": evaluation.config.backend, "units": count, **rates, "ratio": ratio}


def imagining(start: Start, policies: Mapping[str, Policy], trials: Trials) -> Callable[[], object]:
    """What tries policies in the imagination."""
    imagination = Imagination(start, load_rung(trials.backends[0], trials.model), trials)
    return lambda: imagination.outcomes(policies, SEED)


def simulating(
    start: Start, simulator: Simulator, policies: Mapping[str, Policy], trials: Trials
) -> Callable[[], object]:
    """What tries policies in MuJoCo, with pictures."""

    def simulate() -> None:
        for policy in policies.values():
            filmed: list[float] = []

            def watch(filmed: list[float] = filmed) -> None:
                if simulator.time > filmed[-1] + FRAME_STEP:
                    simulator.render(CAMERA)
                    filmed.append(simulator.time)

            looks = policy.contract.period is not None
            world = SimulatedWorld(simulator) if looks else SimulatedWorld(simulator, watch=watch)
            filmed.append(simulator.time)
            drive(policy, world, assignment_of(policy, start, SEED), limit=trials.limit)
            start.task.succeeded(start.scene, world.state())

    return simulate


def timed(function: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - cpu


def rate(units: int, seconds: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Units a minute, and a minute of processor time."""
    wall, cpu = np.sum(seconds, axis=0)
    return {"per_minute": 60 * units / wall, "per_cpu_minute": 60 * units / cpu}


def workers(config: PolicyEvaluationConfig, *, evaluations: int) -> dict[str, object]:
    """How much faster two processes are than one."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    loads = [os.getloadavg()[0]]
    for _ in range(evaluations):
        for number, found in rates.items():
            found.append(steady_rate(config, workers=number))
        loads.append(os.getloadavg()[0])
    return {
        "what": "workers",
        "backend": config.backend,
        "evaluations": evaluations,
        "one_per_minute": statistics.median(rates[1]),
        "two_per_minute": statistics.median(rates[2]),
        "ratio": statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True)),
        "load": loads,
    }


def steady_rate(config: PolicyEvaluationConfig, *, workers: int) -> float:
    """Units a minute from the first start that each process has finished on."""
    moments: list[float] = []

    def hear(results: Sequence[UnitResult]) -> None:
        moments.extend([time.perf_counter()] * bool(results))

    with tempfile.TemporaryDirectory() as folder:
        PolicyEvaluation(config, Path(folder), workers=workers, apart=True).run(heard=hear)
    starts = len(moments) - workers
    return 60 * starts * len(config.policies) / (moments[-1] - moments[workers - 1])


def rows(backend: str, *, starts: int, evaluations: int, starts_each: int) -> Iterator[Mapping[str, object]]:
    """All measurements."""
    config = PolicyEvaluationConfig(tasks=(TASK,), policies=(ALL_SCRIPTED,), backend=backend, controls=(), truth=False)
    with tempfile.TemporaryDirectory() as folder:
        yield from worlds(PolicyEvaluation(config, Path(folder)), starts=starts)
    few = replace(config, policies=FEW, starts=StartSettings(count=starts_each))
    yield workers(few, evaluations=evaluations)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default=PolicyEvaluationConfig.backend, help="rung that imagines")
    parser.add_argument("--starts", type=int, default=3, help="that are timed")
    parser.add_argument("--evaluations", type=int, default=5, help="with one worker and with two")
    parser.add_argument("--starts-each", type=int, default=10, help="of such an evaluation; at least 3")
    args = parser.parse_args()
    rounds = {"starts": args.starts, "evaluations": args.evaluations, "starts_each": args.starts_each}
    report("policy_evaluation", rows(args.backend, **rounds))
