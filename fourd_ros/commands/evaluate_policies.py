"""``fourd evaluate policies``: how well policies do in the imagination, and how far that tells of the truth."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import cores, positive_int, print_settings

if TYPE_CHECKING:
    from fourd_ros.evaluation.policy.evaluation import PolicyEvaluation
    from fourd_ros.evaluation.policy.units import UnitResult

SUMMARY = "success rates of policies, in the imagination and in the simulator"
EXAMPLES = [
    "fourd evaluate policies config/evaluate/study.yaml --out out/policies",
    "fourd evaluate policies --out out/push --set tasks=[push] --set starts.count=10 --set backend=points",
    "fourd evaluate policies --settings",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is tried, and where results are kept."""
    parser.add_argument("config", type=Path, nargs="?", metavar="CONFIG", help="YAML file (default: the defaults)")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="change settings")
    parser.add_argument("--settings", action="store_true", help="list all settings, with their defaults")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/evaluate/policies"),
        metavar="FOLDER",
        help="of results and report; one that was interrupted is gone on with (default out/evaluate/policies)",
    )
    parser.add_argument("--workers", type=positive_int, default=cores(), help="processes (default: one a core)")
    parser.add_argument("--ray", action="store_true", help="spread over Ray, which may span machines")
    parser.add_argument("--address", metavar="HOST:PORT", help="of a Ray cluster (default: one is started here)")
    parser.add_argument("--json", action="store_true", help="print the manifest with all figures; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Try what was not tried yet, write the report and print a table."""
    from fourd_ros.evaluation.policy.config import PolicyEvaluationConfig
    from fourd_ros.evaluation.policy.evaluation import PolicyEvaluation
    from fourd_ros.training.settings import read_config

    if args.settings:
        return print_settings(PolicyEvaluationConfig, as_json=args.json)
    config = read_config(PolicyEvaluationConfig, args.config, args.set)
    evaluation = PolicyEvaluation(config, args.out, workers=args.workers, ray=args.ray, address=args.address)
    _try_all(evaluation, quiet=args.json)
    page = evaluation.write_report()
    if args.json:
        print((args.out / "manifest.json").read_text(encoding="utf-8"))
    else:
        print((args.out / "summary.md").read_text(encoding="utf-8"))
        print(f"report: {page}")
    return 0


def _try_all(evaluation: "PolicyEvaluation", *, quiet: bool) -> None:
    from tqdm import tqdm

    with tqdm(total=evaluation.total, desc="policies", unit="unit", disable=quiet) as bar:

        def hear(results: "Sequence[UnitResult]") -> None:
            bar.update(len(results))

        evaluation.run(heard=hear)
