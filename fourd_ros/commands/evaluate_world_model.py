"""``fourd evaluate world-model``: how well the rungs of the ladder foresee held-out episodes, which it makes itself."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import cores, names, non_negative_int, positive_int

if TYPE_CHECKING:
    from fourd_ros.evaluation.table import Table
    from fourd_ros.evaluation.tabletop_run import Evaluation
    from fourd_ros.evaluation.world_model_results import SplitResults

SUMMARY = "how well the world models foresee simulated episodes, which are made here"
EXAMPLES = [
    "fourd evaluate world-model --split test --seed 0 --episodes 200 --out out/evaluate/world_model",
    "fourd evaluate world-model --model out/train/points/1/model --backends points --split validation --json",
    "fourd evaluate world-model --split test,new_shapes,new_cameras,noisy_depth --write-card",
]
DIGITS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the episodes it is tried on."""
    parser.add_argument(
        "--model",
        default="world_model_compact",
        metavar="DIR",
        help="folder of the learned rungs, or name of a shipped one (default world_model_compact)",
    )
    parser.add_argument(
        "--split",
        type=names,
        default=("test",),
        metavar="NAME",
        help="test, new_shapes, new_cameras, noisy_depth or validation; several with commas (default test)",
    )
    parser.add_argument("--seed", type=non_negative_int, default=0, help="other episodes of the split (default 0)")
    parser.add_argument("--episodes", type=positive_int, default=200, help="of each split (default 200)")
    parser.add_argument(
        "--backends", type=names, metavar="A,B", help="rungs to judge, the last one by the goals (default: all)"
    )
    parser.add_argument("--no-lpips", dest="lpips", action="store_false", help="saves a third of the time, and torch")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a report with charts and pictures there")
    parser.add_argument(
        "--kept", type=Path, default=Path("out/evaluate/tabletop"), help="where recorded episodes are kept"
    )
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes (default: one a core)")
    parser.add_argument("--write-card", action="store_true", help="put the figures into the card of the model")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Evaluate and print tables; a report and the card of the model are written when asked."""
    from fourd_ros.evaluation.tabletop_run import Evaluation
    from fourd_ros.world_model.base import SHIPPED_BACKENDS

    evaluations = [
        Evaluation(
            split=split,
            seed=args.seed,
            episodes=args.episodes,
            backends=args.backends or SHIPPED_BACKENDS,
            model=args.model,
            kept=args.kept,
            with_lpips=args.lpips,
            workers=args.workers,
        )
        for split in args.split
    ]
    results = []
    for evaluation in evaluations:
        results.append(_evaluate(evaluation, bar=not args.json))
        if not args.json:
            print("\n\n".join(str(table) for table in _tables(results[-1])), end="\n\n")
    if args.json:
        from fourd_ros.evaluation.world_model_overview import as_json

        print(json.dumps({found.split: as_json(found) for found in results}))
    if args.write_card:
        _write_card(args, results)
    if args.out is not None:
        _write_report(args, evaluations, results)
    return 0


def _evaluate(evaluation: "Evaluation", *, bar: bool) -> "SplitResults":
    from tqdm import tqdm

    from fourd_ros.evaluation.tabletop_run import judge_episodes, record_episodes, statistics_of
    from fourd_ros.evaluation.world_model_results import SplitResults

    shown = {"total": evaluation.episodes, "unit": "episode", "disable": None if bar else True}
    with tqdm(desc=f"{evaluation.split}: recording", **shown) as recording:
        for done in record_episodes(evaluation):
            recording.update(done)
    scores = list(tqdm(judge_episodes(evaluation), desc=f"{evaluation.split}: imagining", **shown))
    return SplitResults(
        split=evaluation.split,
        scores=sorted(scores, key=lambda item: item.name),
        statistics=statistics_of(evaluation),
    )


def _tables(found: "SplitResults") -> list["Table"]:
    from fourd_ros.evaluation.world_model_overview import episodes_table, overview, reliability_table, trust_table

    tables = (overview(found), episodes_table(found), trust_table(found), reliability_table(found))
    return [table for table in tables if table is not None]


def _write_report(
    args: argparse.Namespace, evaluations: Sequence["Evaluation"], results: Sequence["SplitResults"]
) -> None:
    from fourd_ros.evaluation.report import write_report
    from fourd_ros.evaluation.world_model_pictures import pictures

    write_report(
        args.out,
        title=f"World models on held-out episodes: {args.model}",
        tables=[table for found in results for table in found.tables],
        pictures=[
            picture
            for evaluation, found in zip(evaluations, results, strict=True)
            for picture in pictures(evaluation, found)
        ],
        notes=[_command(args), *_notes(results)],
    )


def _notes(results: Sequence["SplitResults"]) -> list[str]:
    """What is met and what is missed, a paragraph a split."""
    from fourd_ros.evaluation.world_model_overview import verdicts

    return [f"{found.split} ({found.judged}): {'; '.join(verdicts(found))}." for found in results if verdicts(found)]


def _write_card(args: argparse.Namespace, results: Sequence["SplitResults"]) -> None:
    """The figures, in ``fourd.json`` and as tables in ``README.md``."""
    from fourd_ros.model_io.folder import ModelFolder, describe_model, find_model

    folder = ModelFolder(find_model(args.model))
    card = replace(folder.card, metrics=_metrics(results), metrics_command=_command(args))
    text = "\n\n".join(table.markdown for found in results for table in _tables(found))
    describe_model(folder.path, card, results=text)


def _metrics(results: Sequence["SplitResults"]) -> Mapping[str, Mapping[str, tuple[float, float, float]]]:
    """Value and interval in display units, by split and method, then by figure."""
    return {
        f"{found.split}: {method}": {
            item.metric.label: tuple(  # type: ignore[misc]
                round(item.metric.scale * float(end), DIGITS)
                for end in (item.mean.estimate, item.mean.low, item.mean.high)
            )
            for item in found.known_of(method)
        }
        for found in results
        for method in found.methods
    }


def _command(args: argparse.Namespace) -> str:
    """What makes the same figures again."""
    splits = ",".join(args.split)
    chosen = f" --backends {','.join(args.backends)}" if args.backends else ""
    return (
        f"fourd evaluate world-model --model {args.model} --split {splits} --seed {args.seed} "
        f"--episodes {args.episodes}{chosen}"
    )
