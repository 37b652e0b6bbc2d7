"""``fourd train``: train a model, or continue where a run was stopped."""

import argparse
import importlib.util
import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.commands.arguments import print_settings
from fourd_ros.errors import InvalidConfig, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.resources import find_resource
from fourd_ros.training.run_folder import RUNS, RunFolder, newest_run, next_run
from fourd_ros.training.settings import read_config
from fourd_ros.training.tasks import TASKS, load_task

if TYPE_CHECKING:
    from fourd_ros.training.loop import TrainingResult

EXAMPLES = [
    "fourd train --list",
    "fourd train depth_completion",
    "fourd train depth_completion --set training.steps=2000 training.precision=bf16 --run out/train/short",
    "fourd train depth_completion --run out/train/short --resume",
    "fourd train depth_completion --settings",
    "fourd train --schedule config/train/compositional_compact.yaml --run out/train/objects",
    "torchrun --nproc-per-node 2 -m fourd_ros.cli train depth_completion --run-folder out/train/large",
]

LIBRARIES = ("torch", "accelerate", "tensorboard")

INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        nargs="?",
        type=_model_name,
        metavar="MODEL",
        help="name from --list, '-' and '_' alike, or module:Class of your own task",
    )
    parser.add_argument("--list", action="store_true", help="what can be trained")
    parser.add_argument("--settings", action="store_true", help="what the configuration of MODEL holds")
    parser.add_argument("--config", type=Path, metavar="YAML", help="settings (default config/train/MODEL.yaml)")
    parser.add_argument(
        "--schedule",
        type=Path,
        metavar="YAML",
        help="stages one after the other, each from the model of the one before; goes on where it stopped",
    )
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change settings")
    parser.add_argument(
        "--run",
        "--run-folder",
        dest="run_folder",
        type=Path,
        metavar="FOLDER",
        help="of the run (default out/train/MODEL/N); torchrun lets only the long name through",
    )
    parser.add_argument("--resume", action="store_true", help="continue the run of --run, or the newest one")
    parser.add_argument("--json", action="store_true", help="rows as lines of JSON, no progress bar")


def run(args: argparse.Namespace) -> int:
    if args.list:
        return _list(as_json=args.json)
    if args.schedule is not None:
        return _train_stages(args)
    if args.model is None:
        raise InvalidConfig(f"no model is named; there are {list(TASKS)}")
    _need_libraries()
    task_class = load_task(args.model)
    if args.settings:
        return print_settings(task_class.config_class, as_json=args.json)
    return _train(task_class, args)


def _model_name(text: str) -> str:
    return text if ":" in text else text.replace("-", "_")


def _list(*, as_json: bool) -> int:
    if as_json:
        print(json.dumps(TASKS))
    else:
        print("\n".join(f"{name:24}{target}" for name, target in TASKS.items()))
    return 0


def _train(task_class: type[Any], args: argparse.Namespace) -> int:
    from accelerate import PartialState

    from fourd_ros.training.loop import train

    label = args.model.rpartition(":")[2]
    folder = args.run_folder or (newest_run(label) if args.resume else next_run(label))
    if args.resume and args.config is None:
        config = RunFolder(folder).read_config(task_class.config_class, args.set)
    else:
        config = read_config(task_class.config_class, args.config or _default_config(args.model), args.set)
    report: Callable[[Any], None] | None = _print_row if args.json else None
    result = train(task_class(config), folder, resume=args.resume, bar=not args.json, report=report)
    PartialState().destroy_process_group()
    if result.is_main:
        _tell(result, RunFolder(folder), args)
    return INTERRUPTED if result.interrupted else 0


def _train_stages(args: argparse.Namespace) -> int:
    """All stages of a schedule that are not done yet."""
    _need_libraries()
    from fourd_ros.training.stages import train_stages

    if args.model is not None or args.config is not None:
        raise InvalidConfig("a schedule names models and configurations itself; leave MODEL and --config out")
    folder = args.run_folder or RUNS / args.schedule.stem
    result = train_stages(
        args.schedule,
        folder,
        changes=tuple(args.set),
        bar=not args.json,
        report=_print_row if args.json else None,
    )
    command = ["fourd", "train", "--schedule", str(args.schedule), "--run", str(folder)]
    if args.json:
        facts = {"interrupted": result.interrupted, "metrics": result.metrics, "run": str(folder)}
        print(json.dumps({"kind": "end", **facts, "continue": command}), flush=True)
    else:
        print(
            f"{'stopped' if result.interrupted else 'done'}: {folder}; the same command goes on: {shlex.join(command)}"
        )
    return INTERRUPTED if result.interrupted else 0


def _tell(result: "TrainingResult", run_folder: RunFolder, args: argparse.Namespace) -> None:
    command = ["fourd", "train", args.model, "--run", str(run_folder.path), "--resume"]
    if args.json:
        facts = {"step": result.step, "interrupted": result.interrupted, "metrics": result.metrics}
        print(json.dumps({"kind": "end", **facts, "run": str(run_folder.path), "continue": command}), flush=True)
    elif result.interrupted:
        print(f"stopped after step {result.step}, everything is saved; continue with:\n  {shlex.join(command)}")
    else:
        metrics = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
        print(f"step {result.step}: {metrics}\nmodel: {run_folder.model}")
        print(f"curves: tensorboard --logdir {shlex.quote(str(run_folder.tensorboard))}")


def _default_config(model: str) -> Path | None:
    """Of a task of somebody's own: the defaults of its class."""
    return find_resource(f"config/train/{model}.yaml") if model in TASKS else None


def _print_row(row: Any) -> None:
    print(json.dumps(row), flush=True)


def _need_libraries() -> None:
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependency(f"training needs {', '.join(missing)}: {pip_install(*missing)}")
