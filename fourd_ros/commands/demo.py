"""``fourd demo``: a bag is replayed, its futures are imagined and judged, and one page shows it."""

import argparse
import shlex
import sys
import webbrowser
from pathlib import Path

from fourd_ros.commands.arguments import positive_float, positive_int
from fourd_ros.demo.story import DemoSettings, tell
from fourd_ros.resources import find_resource

EXAMPLES = [
    "fourd demo",
    "fourd demo --instants 10 --horizon 1.5 --open",
    "fourd demo --bag my_bag --out out/my_bag",
]

SHIPPED_BAG = "demo/bag"
DEFAULTS = DemoSettings(bag=Path(SHIPPED_BAG), page=Path("out/demo/index.html"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``fourd demo``."""
    parser.add_argument("--bag", type=Path, help="bag to replay (default: the one that comes with the package)")
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULTS.page.parent,
        help="folder for index.html and report/ (default: %(default)s)",
    )
    parser.add_argument(
        "--instants",
        type=positive_int,
        default=DEFAULTS.instants,
        help="instants to imagine from (default: %(default)s)",
    )
    parser.add_argument(
        "--horizon", type=positive_float, default=DEFAULTS.horizon, help="how far to imagine [s] (default: %(default)s)"
    )
    parser.add_argument(
        "--step",
        type=positive_float,
        default=DEFAULTS.step,
        help="time between imagined frames [s] (default: %(default)s)",
    )
    parser.add_argument(
        "--params-file", type=Path, metavar="YAML", help="parameters of the world model node, such as backends"
    )
    parser.add_argument("--seed", type=int, default=DEFAULTS.seed, help="seed (default: %(default)s)")
    parser.add_argument(
        "--open", action=argparse.BooleanOptionalAction, default=False, help="open the page in a browser at the end"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo and print what came out."""
    settings = DemoSettings(
        bag=args.bag or find_resource(SHIPPED_BAG),
        page=args.out / "index.html",
        instants=args.instants,
        horizon=args.horizon,
        step=args.step,
        seed=args.seed,
        params_file=args.params_file,
        command_line=shlex.join(["fourd", *sys.argv[1:]]),
    )
    result = tell(settings, write=lambda line: print(line, flush=True))
    for table in result.tables:
        print(f"\n{table}")
    for model in result.findings:
        print(f"\n{model.model}: {model.remark}")
        for title, items in (("Found", model.found), ("Missed", model.missed)):
            print(f"  {title} (imagined against the first frame repeated):")
            for finding in items or ("nothing",):
                print(f"    - {finding}")
    for name, reason in result.missing.items():
        print(f"\n{name} is not shown: {reason}")
    address = result.page.resolve().as_uri()
    print(f"\nEvery figure with its interval: {result.report} (charts, CSV and JSON beside it)")
    print(f"{result.seconds:.1f} s in all. Open the page:\n  {address}")
    if args.open:
        webbrowser.open(address)
    return 0
