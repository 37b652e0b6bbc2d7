"""``fourd report``: results of earlier runs as a page with charts, or as Markdown."""

import argparse
from pathlib import Path

from fourd_ros.commands.arguments import confidence
from fourd_ros.evaluation.report import report_markdown, write_report
from fourd_ros.evaluation.results_file import read_results

EXAMPLES = [
    "fourd report out/demo/report/results.json --out out/report",
    "fourd report monday/results.json tuesday/results.json --out out/both --title 'Two days' --confidence 0.99",
    "fourd report out/demo/report/results.json --markdown",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fourd report``."""
    parser.add_argument(
        "results", nargs="+", type=Path, help="results.json of reports or evaluations, in reading order"
    )
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, help="folder for index.html, charts, JSON and CSV")
    target.add_argument("--markdown", action="store_true", help="print the tables for a README or a model card")
    parser.add_argument("--title", default="Results", help="heading of the page (default: %(default)s)")
    parser.add_argument("--confidence", type=confidence, default=0.95, help="of the intervals (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the report or print the tables."""
    tables = [table for path in args.results for table in read_results(path)]
    if args.markdown:
        print(report_markdown(tables, confidence=args.confidence, seed=args.seed))
        return 0
    page = write_report(args.out, title=args.title, tables=tables, confidence=args.confidence, seed=args.seed)
    print(f"{len(tables)} tables: {page.resolve().as_uri()}")
    return 0
