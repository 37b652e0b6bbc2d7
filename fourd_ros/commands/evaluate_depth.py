"""``fourd evaluate depth``: depth of reconstructions against the truth of a data set."""

import argparse

from fourd_ros.commands.evaluate_poses import add_result_arguments, prepare, show

SUMMARY = "depth of reconstructions on Sintel, Bonn, KITTI, or own scenes"
EXAMPLES = [
    "fourd evaluate depth kitti kitti_depth out/kitti",
    "fourd evaluate depth sintel MPI-Sintel out/sintel --fit median --out results",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set, the results, and how they are judged."""
    parser.add_argument(
        "dataset", choices=("bonn", "kitti", "scenes", "sintel"), help="`scenes` is a folder of <scene>/depth_gt"
    )
    parser.add_argument(
        "--fit",
        choices=("scale-shift", "median", "scale"),
        default="scale-shift",
        help="of disparities, once for a video: line of least squares (default), ratio of medians, robust scale",
    )
    add_result_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Judge every scene; the status is 1 where one failed."""
    from tqdm import tqdm

    from fourd_ros.evaluation.depth_datasets import DEPTH_DATASETS
    from fourd_ros.evaluation.reconstruction_scores import score_depth, write_depth_results

    scenes = args.scenes or DEPTH_DATASETS[args.dataset].scenes(args.root)
    if args.prepare is not None:
        return prepare(args, scenes)
    scores = [
        score_depth(args.dataset, args.root, args.results, scene, experiment=args.experiment, fit=args.fit)
        for scene in tqdm(scenes, unit="scene", disable=args.json or None)
    ]
    if args.out is not None:
        write_depth_results(args.out / "depth" / args.dataset / args.experiment, scores)
    return show(scores, f"Depth of videos on {args.dataset}, fit {args.fit}", as_json=args.json)
