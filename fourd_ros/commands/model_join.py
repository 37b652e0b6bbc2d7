"""``fourd model join``: the trained parts of the compact world model become one model."""

import argparse
from pathlib import Path

from fourd_ros.commands.arguments import positive_int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Parts, target, and the episodes that the trust score is fitted on."""
    parser.add_argument("folder", type=Path, help="of the joined model")
    parser.add_argument("--dynamics", type=Path, required=True, help="model folder of 'fourd train points'")
    parser.add_argument("--generator", type=Path, required=True, help="model folder of 'fourd train compact'")
    parser.add_argument("--recipe", type=Path, help="script that made the parts; its text goes into the card")
    parser.add_argument("--episodes", type=positive_int, default=300, help="to fit the trust on (default 300)")
    parser.add_argument("--seed", type=int, default=1, help="which episodes of the validation split (default 1)")
    parser.add_argument("--workers", type=positive_int, default=1, help="processes that record episodes")
    parser.add_argument(
        "--kept", type=Path, default=Path("out/evaluate/tabletop"), help="where recorded episodes are kept"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the model that is there")


def run(args: argparse.Namespace) -> int:
    """Join, and say how well the trust was fitted."""
    from fourd_ros.evaluation.tabletop_run import Evaluation
    from fourd_ros.training.trust import BACKEND, Parts, join

    evaluation = Evaluation(
        split="validation",
        seed=args.seed,
        episodes=args.episodes,
        backends=(BACKEND,),
        model=str(args.folder),
        kept=args.kept,
        workers=args.workers,
    )
    parts = Parts(
        dynamics=args.dynamics,
        generator=args.generator,
        recipe=args.recipe.read_text(encoding="utf-8") if args.recipe else "",
    )
    folder = join(parts, args.folder, evaluation, overwrite=args.overwrite)
    print(f"'{folder.path}': trust fitted on {args.episodes} validation episodes of seed {args.seed}")
    return 0
