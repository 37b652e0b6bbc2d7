"""What an episode looks like, in the imagination and in truth."""

import numpy as np

from fourd_ros.evaluation.policy.controls import load_rung
from fourd_ros.evaluation.policy.imagination import FRAME_STEP, Imagination
from fourd_ros.evaluation.policy.starts import Start, simulated_start
from fourd_ros.evaluation.policy.trial_setup import Trials, assignment_of, checked_policy
from fourd_ros.evaluation.policy.units import Unit
from fourd_ros.evaluation.policy.worlds import SimulatedWorld, drive
from fourd_ros.policies.base import Policy
from fourd_ros.records import Pixels
from fourd_ros.simulation.simulator import Simulator


def film(trials: Trials, unit: Unit) -> tuple[Pixels, Pixels]:
    """Try a unit once more, with pictures from the first frame on, `FRAME_STEP` between two of them.

    Args:
        trials: of its start.
        unit: one of them.

    Returns:
        imagined by the judged rung, and of the simulator, each of shape [T, H, W, 3], uint8.

    Raises:
        FourdError: the start, the rung or the policy cannot be made, or the policy failed.
    """
    with simulated_start(trials.kind, trials.number, trials.options) as (start, simulator):
        policy = checked_policy(unit.policy, trials)
        try:
            imagination = Imagination(start, load_rung(trials.backends[0], trials.model), trials)
            motion = imagination.commanded(policy, unit.seed)
            return imagination.film(motion, unit.seed), _true(policy, start, simulator, unit.seed, trials.limit)
        finally:
            policy.close()


def _true(policy: Policy, start: Start, simulator: Simulator, seed: int, limit: float) -> Pixels:
    camera = simulator.camera_names[0]
    frames: list[Pixels] = []

    def watch() -> None:
        if simulator.time - begin > len(frames) * FRAME_STEP - 1e-6:
            frames.append(simulator.render(camera).rgb)

    world = SimulatedWorld(simulator, watch=watch)
    begin = simulator.time
    watch()
    drive(policy, world, assignment_of(policy, start, seed), limit=limit)
    return np.stack(frames)
