"""What could be known of tabletop episodes: the simulator itself foretells them, as far as a camera shows them.

The same command is carried out again from the first frame, with densities and frictions drawn anew.

    python tools/foresight_ceiling.py [--episodes 100] [--seed 0]
"""

import argparse
from dataclasses import replace

import numpy as np
from tqdm import tqdm

from fourd_ros.evaluation.statistics import wilson_interval
from fourd_ros.evaluation.tabletop_cases import case_of
from fourd_ros.evaluation.tabletop_objects import NEAR
from fourd_ros.evaluation.tabletop_truth import Truth
from fourd_ros.evaluation.world_model import simulated_robot
from fourd_ros.simulation.tabletop import TabletopOptions, act_otherwise, commanded_motion, record_tabletop
from fourd_ros.simulation.tabletop_scene import tabletop_seeds
from fourd_ros.simulation.tabletop_statistics import carried

SPLIT = "test"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    errors: dict[str, list[float]] = {"all": []}
    for seed in tqdm(tabletop_seeds(SPLIT, seed=args.seed, episodes=args.episodes), unit="episode"):
        for case, error in foretold(seed, rng):
            errors.setdefault(case, []).append(error)
            errors["all"].append(error)
    for case, values in errors.items():
        found = wilson_interval(sum(value < NEAR for value in values), len(values))
        print(
            f"{case:18s} {len(values):4d} objects, median {1000 * np.median(values):5.1f} mm, "
            f"mean {1000 * np.mean(values):5.1f} mm, within 25 mm {100 * float(found.estimate):3.0f} % "
            f"[{100 * float(found.low):.0f}, {100 * float(found.high):.0f}]"
        )


def foretold(seed: int, rng: np.random.Generator) -> list[tuple[str, float]]:
    """How every object that moved came to move, and how far from its true place the simulator puts it [m]."""
    episode = record_tabletop(seed, SPLIT, options=TabletopOptions(shadows=False))
    truth, in_hand = Truth(episode), carried(episode)
    again = Truth(replace(episode, object_poses=act_otherwise(seed, SPLIT, commanded_motion(episode), unseen=rng)))
    found = []
    for index in truth.judged:
        if truth.moved[index]:
            pixels = truth.pixels(index)
            off = np.median(again.way(pixels)[-1] - truth.way(pixels)[-1], axis=0)
            case = case_of(truth, index, carried=bool(in_hand[index]), robot=simulated_robot())
            found.append((case, float(np.linalg.norm(off))))
    return found


if __name__ == "__main__":
    main()
