"""Trains the shipped learned policy, keeps checkpoints of the training, and measures each in the simulator.

About half an hour on one core; goes on where it was stopped. Needs the extras for training and simulation.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from fourd_ros.cli import main as fourd
from fourd_ros.evaluation.policy.starts import StartOptions, simulated_start
from fourd_ros.evaluation.policy.trial_setup import assignment_of
from fourd_ros.evaluation.policy.worlds import SimulatedWorld, drive
from fourd_ros.evaluation.statistics import wilson_interval
from fourd_ros.model_io.folder import ModelFolder, describe_model, write_model
from fourd_ros.model_io.loading import load_component
from fourd_ros.policies.imitation import ImitationPolicy, onnx_file
from fourd_ros.policies.imitation_inputs import TASKS
from fourd_ros.whole_file import write_whole

SEED = 4002
"""Of the start states that checkpoints are measured on; those of the demonstrations have the two seeds before."""

LONGEST = 14.0
"""Episode [s]."""


def train(run: Path, steps: Sequence[int]) -> list[Path]:
    """Folders with the model after so many steps each, of one training."""
    kept = [run / "kept" / f"step_{count}" for count in steps]
    for count, folder in zip(steps, kept, strict=True):
        if folder.exists():
            continue
        begun = ["--resume"] if run.exists() else []
        if fourd(["train", "imitation", "--run", str(run), *begun, "--set", f"training.steps={count}"]) != 0:
            raise SystemExit("the training was stopped; call it again to go on")
        folder.parent.mkdir(exist_ok=True)
        (run / "model").rename(folder)
    return kept


def join(models: Sequence[Path], target: Path) -> None:
    """One model folder with all checkpoints."""
    opened = [ModelFolder(path) for path in models]
    names = [next(iter(model.components)) for model in opened]
    metrics = {name: values for model in opened for name, values in model.card.metrics.items()}
    write_model(
        target,
        {name: load_component(model.path, name) for name, model in zip(names, opened, strict=True)},
        card=replace(opened[-1].card, metrics=metrics, files={}),
        model_class=ImitationPolicy.__name__,
        extra={onnx_file(name): model.file(onnx_file(name)) for name, model in zip(names, opened, strict=True)},
        overwrite=True,
    )


def measure(target: Path, episodes: int, kept: Path) -> dict[str, dict[str, list[bool]]]:
    """Whether each checkpoint did each task, start by start; what was measured before is not tried again."""
    found = json.loads(kept.read_text()) if kept.exists() else {}
    todo = [
        (name, task, number) for name in ModelFolder(target).components for task in TASKS for number in range(episodes)
    ]
    policies = {name: ImitationPolicy.from_folder(target, name, threads=1) for name in ModelFolder(target).components}
    for name, task, number in tqdm(todo, desc="episodes"):
        done = found.setdefault(name, {}).setdefault(task, [])
        if len(done) > number:
            continue
        done.append(succeeds(policies[name], task, number))
        write_whole(kept, json.dumps(found))
    return found


def succeeds(policy: ImitationPolicy, task: str, number: int) -> bool:
    """Whether the policy truly does a task from one start, looking again and again."""
    with simulated_start(task, number, StartOptions(seed=SEED, shadows=False)) as (start, simulator):
        world = SimulatedWorld(simulator)
        drive(policy, world, assignment_of(policy, start, SEED), limit=LONGEST)
        return start.task.succeeded(start.scene, world.state())


def tell(target: Path, found: Mapping[str, Mapping[str, Sequence[bool]]]) -> None:
    """Write the success rates into the card, and print them."""
    card = ModelFolder(target).card
    metrics = {name: dict(values) for name, values in card.metrics.items()}
    for name, by_task in found.items():
        for task, outcomes in by_task.items():
            rate = wilson_interval(sum(outcomes), len(outcomes))
            metrics[name][f"success_{task}"] = float(rate.estimate)
            metrics[name][f"success_{task}_low_95"] = round(float(rate.low), 3)
            metrics[name][f"success_{task}_high_95"] = round(float(rate.high), 3)
            print(f"{name:12}{task:14}{rate.estimate:.2f} [{rate.low:.2f}, {rate.high:.2f}] of {len(outcomes)}")
    describe_model(target, replace(card, metrics=metrics))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, default=Path("out/train/imitation/shipped"), help="folder of the training")
    parser.add_argument("--steps", type=int, nargs="+", default=[300, 1200, 4000], help="of the checkpoints")
    parser.add_argument("--episodes", type=int, default=24, help="of each task that a checkpoint is measured on")
    parser.add_argument("--model", type=Path, default=Path("models/imitation"), help="folder that is written")
    args = parser.parse_args()
    join(train(args.run, args.steps), args.model)
    tell(args.model, measure(args.model, args.episodes, args.run / "episodes.json"))


if __name__ == "__main__":
    main()
