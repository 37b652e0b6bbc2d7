# PYTHON_ARGCOMPLETE_OK
"""The ``fourd`` command: reads the command line and hands over to one module of ``fourd_ros.commands``."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from fourd_ros import __version__
from fourd_ros.errors import FourdError

# A noun's module is imported only when the noun is used, so help stays instant.
COMMANDS: dict[str, str] = {
    "demo": "replay the shipped bag, imagine, judge, and write out/demo/index.html",
    "doctor": "what is installed, what is missing and how to get it",
    "bringup": "start a graph of nodes from one YAML, without a launch system",
    "bag": "look into, play and record bags",
    "reconstruct": "camera path, static map and moving objects of a video, a folder of pictures or a bag",
    "find": "where a text such as 'red mug' is meant in a video, a folder of pictures or a bag",
    "prepare-video": "masks of every object of a video, a folder of pictures or a bag, ready for reconstruction",
    "reconstruct-objects": "complete shapes of the objects of a prepared video over time, as GLB files",
    "imagine": "run the world model over a bag and write what it imagined beside it",
    "view": "rollouts, reconstructed scenes and files of Kinema4D's viewer as points in a browser",
    "data": "data sets of episodes: look into, check, split, pack, convert",
    "sim": "record simulated episodes and bags, or look at the simulator",
    "model": "look into, check, list and adopt model folders",
    "export": "networks of a model folder in the formats of other runtimes",
    "convert": "published checkpoints become model folders, rollouts files of another viewer",
    "train": "train a model, or continue a run that was stopped",
    "evaluate": "models on held-out data beside methods that learn nothing",
    "policy": "policies that drive the robot: list them, serve one to other programs",
    "report": "results of earlier runs as a page with charts, or as Markdown",
    "verify": "compare a system with the vectors computed by the original networks",
}


def build_parser(noun: str | None) -> argparse.ArgumentParser:
    """The parser, with the arguments of `noun` filled in (the other nouns get their help line only)."""
    parser = argparse.ArgumentParser(prog="fourd", description="Imagined futures as ROS 2 data.")
    parser.add_argument("--version", action="version", version=f"fourd_ros {__version__}")
    nouns = parser.add_subparsers(dest="noun", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if name != noun:
            nouns.add_parser(name, help=summary)
            continue
        module = importlib.import_module(f"fourd_ros.commands.{name.replace('-', '_')}")
        child = nouns.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog="examples:\n" + "\n".join(f"  {line}" for line in module.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(child)
        child.set_defaults(run=module.run)
    return parser


def _requested_noun(words: Sequence[str]) -> str | None:
    return next((word for word in words if word in COMMANDS), None)


def _complete() -> None:
    import argcomplete

    noun = _requested_noun(os.environ.get("COMP_LINE", "").split()[1:])
    argcomplete.autocomplete(build_parser(noun))


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status (1: a typed error, 2: wrong usage, 130: interrupted)."""
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    words = list(sys.argv[1:] if argv is None else argv)
    args = build_parser(_requested_noun(words)).parse_args(words)
    try:
        return int(args.run(args))
    except FourdError as error:
        print(f"fourd {args.noun}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python must not complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"fourd {args.noun}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
