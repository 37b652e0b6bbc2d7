"""``fourd evaluate scene-language``: geometry and answers on simulated sequences that no training has seen."""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import cores, positive_int

if TYPE_CHECKING:
    from fourd_ros.data.scene_shards import SceneShards
    from fourd_ros.evaluation.report import Picture
    from fourd_ros.evaluation.results import ResultTable
    from fourd_ros.evaluation.scene_answers import Limits
    from fourd_ros.evaluation.scene_language import JudgedSequence
    from fourd_ros.model_io.folder import ModelFolder
    from fourd_ros.scene_language.text_search import TextSearch

SUMMARY = "depth, camera path and texts of simulated sequences that no training has seen, as a stream"
EXAMPLES = [
    "fourd evaluate scene-language --out out/evaluate/scene_language",
    "fourd evaluate scene-language out/train/scene_language/run/model --sequences 20 --json",
    "fourd evaluate scene-language --write-card",
]

TITLES = {
    "test": "New scenes",
    "new_things": "Things of categories never trained on",
    "new_combinations": "Colours and categories never trained on together",
}
TUNED_ON, TRAINED_ON = "validation", "train"
SHOWN = 6
DIGITS = 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The model, and the sequences it is tried on."""
    parser.add_argument(
        "model",
        nargs="?",
        default="scene_language_compact",
        help="model folder, or name of a shipped model (the default)",
    )
    parser.add_argument("--sequences", type=positive_int, default=40, help="of each set (default 40)")
    parser.add_argument("--asked", type=positive_int, default=4, help="frames of each that are asked about (default 4)")
    parser.add_argument("--data", type=Path, default=Path("out/scenes"), help="where a folder for each split is kept")
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes that film what is missing")
    parser.add_argument("--device", default="cpu", help="to compute on (default cpu)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a report with charts and pictures there")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument(
        "--write-card",
        action="store_true",
        help="put the figures into the card of the model, and what makes a text present into its texts.json",
    )
    parser.add_argument("--json", action="store_true", help="print the means as JSON")


def run(args: argparse.Namespace) -> int:
    """Choose limits on one split, evaluate the others within them; a report and the model's files when asked."""
    from fourd_ros.evaluation.report import report_markdown, write_report
    from fourd_ros.evaluation.scene_answers import best_limits
    from fourd_ros.evaluation.scene_geometry import median_depth
    from fourd_ros.evaluation.scene_language import geometry_table, words_table
    from fourd_ros.model_io.folder import ModelFolder, find_model

    folder = ModelFolder(find_model(args.model))
    median = median_depth(_shards(TRAINED_ON, args), sequences=args.sequences)
    judged = {split: _judged(split, folder, median, args) for split in (TUNED_ON, *TITLES)}
    limits = best_limits([answer for one in judged[TUNED_ON] for answer in one.answers])
    tables: dict[str, ResultTable] = {}
    for split, title in TITLES.items():
        tables[f"{split}, geometry"] = geometry_table(judged[split], title=f"{title}: geometry")
        tables[f"{split}, words"] = words_table(judged[split], limits, title=f"{title}: words")
    means, shown = _means(tables), list(tables.values())
    search = _search(folder, limits, args)
    if args.write_card:
        _write_card(folder, search, means, shown, args)
    note = f"Chosen on {TUNED_ON}: {limits}. The training median of depth is {median:.3f} m."
    print(json.dumps({"limits": vars(limits), "means": means}) if args.json else f"{report_markdown(shown)}\n{note}")
    if args.out is not None:
        pictures = [picture for split in TITLES for picture in _pictures(split, judged[split], search)]
        notes = [_command(args), note]
        write_report(args.out, title=folder.card.name, tables=shown, pictures=pictures, notes=notes)
    return 0


def _shards(split: str, args: argparse.Namespace) -> "SceneShards":
    """The sequences of a split; those that are missing are filmed first."""
    from tqdm import tqdm

    from fourd_ros.data.scene_shards import SceneShards
    from fourd_ros.simulation.scene_dataset import record_scenes
    from fourd_ros.simulation.scene_sequences import SequenceOptions
    from fourd_ros.simulation.scene_splits import scene_seeds

    folder, seeds = args.data / split, scene_seeds(split, sequences=args.sequences)
    with tqdm(desc=f"{split}: film", total=len(seeds), unit="sequence", disable=args.json or None) as bar:
        for done in record_scenes(folder, split, seeds, SequenceOptions(), workers=args.workers):
            bar.update(done)
    return SceneShards(folder)


def _judged(split: str, folder: "ModelFolder", median: float, args: argparse.Namespace) -> list["JudgedSequence"]:
    from itertools import islice

    from tqdm import tqdm

    from fourd_ros.evaluation.scene_language import judge_sequences
    from fourd_ros.model_io.loading import load_model

    model = load_model(folder.path, allow_noncommercial=args.allow_noncommercial, device=args.device)
    found = judge_sequences(model, _search(folder, None, args), _shards(split, args), median=median, asked=args.asked)
    few = islice(found, args.sequences)
    return list(tqdm(few, desc=split, total=args.sequences, unit="sequence", disable=args.json or None))


def _search(folder: "ModelFolder", limits: "Limits | None", args: argparse.Namespace) -> "TextSearch":
    """The search of the model, within other limits than its own where they are given."""
    from fourd_ros.scene_language.presence import PresenceGate
    from fourd_ros.scene_language.text_search import TextSearch

    search = TextSearch.from_folder(folder.path, allow_noncommercial=args.allow_noncommercial, device=args.device)
    if limits is not None:
        gate = PresenceGate(relevancy=limits.relevancy, similarity=limits.similarity, pixels=limits.pixels)
        search.told = replace(search.told, gate=gate, masks=limits.rule)
    return search


def _pictures(split: str, judged: Sequence["JudgedSequence"], search: "TextSearch") -> list["Picture"]:
    from fourd_ros.evaluation.report import Picture
    from fourd_ros.evaluation.scene_language import picture

    pictures = []
    for one in judged[:: max(1, len(judged) // SHOWN)][:SHOWN]:
        text, rgb = picture(one, search)
        caption = f"{TITLES[split]}: a frame, its depth as said and as it is, and where '{text}' is (outline: truth)"
        pictures.append(Picture(caption=caption, rgb=rgb))
    return pictures


def _write_card(
    folder: "ModelFolder",
    search: "TextSearch",
    means: Mapping[str, Mapping[str, tuple[float, float, float]]],
    tables: Sequence["ResultTable"],
    args: argparse.Namespace,
) -> None:
    """The limits into ``texts.json``; the figures into ``fourd.json``, and as tables into ``README.md``."""
    from fourd_ros.evaluation.report import report_markdown
    from fourd_ros.model_io.folder import describe_model
    from fourd_ros.scene_language.text_search import TEXTS_FILE
    from fourd_ros.whole_file import write_whole

    write_whole(folder.path / TEXTS_FILE, search.told.content.decode())
    card = replace(folder.card, metrics=means, metrics_command=_command(args))
    describe_model(folder.path, card, results=report_markdown(tables))


def _means(tables: Mapping[str, "ResultTable"]) -> dict[str, dict[str, tuple[float, float, float]]]:
    """Mean and interval in display units, by set and method, then by metric."""
    means: dict[str, dict[str, tuple[float, float, float]]] = {}
    for name, table in tables.items():
        for aggregate in table.aggregate().values():
            mean, metric = aggregate.mean, aggregate.metric
            numbers = (metric.scale * float(value) for value in (mean.estimate, mean.low, mean.high))
            middle, low, high = (round(number, DIGITS) for number in numbers)
            if math.isfinite(middle):
                means.setdefault(f"{name}: {aggregate.method}", {})[metric.label] = (middle, low, high)
    return means


def _command(args: argparse.Namespace) -> str:
    """What makes the same figures again."""
    return f"fourd evaluate scene-language {args.model} --sequences {args.sequences} --asked {args.asked}"
