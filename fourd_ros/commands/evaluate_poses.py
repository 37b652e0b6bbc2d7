"""``fourd evaluate poses``: camera paths of reconstructions against the truth of a data set."""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import names

if TYPE_CHECKING:
    from fourd_ros.evaluation.reconstruction_scores import SceneScore

SUMMARY = "camera paths of reconstructions on Sintel, TUM-dynamics, Bonn, or own scenes"
EXAMPLES = [
    "fourd evaluate poses sintel MPI-Sintel out/sintel",
    "fourd evaluate poses tum tum_dynamics --prepare out/tum",
    "fourd evaluate poses bonn rgbd_bonn_dataset out/bonn --published-bonn --out results",
    "fourd evaluate poses scenes my_scenes out/my_scenes --scenes kitchen,desk --json",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The data set, the results, and how they are judged."""
    parser.add_argument(
        "dataset", choices=("bonn", "scenes", "sintel", "tum"), help="`scenes` is a folder of <scene>/c2w.npy"
    )
    parser.add_argument("--normalize", action="store_true", help="divide true positions by the length of the true path")
    parser.add_argument(
        "--published-bonn",
        action="store_true",
        help="judge by the truth behind published numbers on Bonn: by row, with the quaternions in the wrong order",
    )
    add_result_arguments(parser)


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """What `evaluate poses` and `evaluate depth` share, after the data set."""
    parser.add_argument("root", type=Path, help="of the data set")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("results", type=Path, nargs="?", help="folder with <scene>/dynamicBA/<experiment> for each scene")
    what.add_argument(
        "--prepare",
        type=Path,
        metavar="FOLDER",
        help="judge nothing, link the pictures that count to <scene>/rgb there",
    )
    parser.add_argument("--experiment", default="base", help="folder below dynamicBA (default base)")
    parser.add_argument("--scenes", type=names, metavar="NAMES", help="only these, with commas between them")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write all_results.txt and result.json there")
    parser.add_argument("--json", action="store_true", help="print values, means and failures as JSON")


def run(args: argparse.Namespace) -> int:
    """Judge every scene; the status is 1 where one failed."""
    from tqdm import tqdm

    from fourd_ros.evaluation.pose_datasets import POSE_DATASETS
    from fourd_ros.evaluation.reconstruction_scores import score_poses, write_pose_results

    scenes = args.scenes or POSE_DATASETS[args.dataset].scenes(args.root)
    if args.prepare is not None:
        return prepare(args, scenes)
    scores = [
        score_poses(
            args.dataset,
            args.root,
            args.results,
            scene,
            experiment=args.experiment,
            normalize=args.normalize,
            published=args.published_bonn,
        )
        for scene in tqdm(scenes, unit="scene", disable=args.json or None)
    ]
    if args.out is not None:
        kind = "normalized" if args.normalize else "unnormalized"
        write_pose_results(args.out / "pose" / args.dataset / f"{args.experiment}_{kind}", scores)
    return show(scores, f"Camera paths on {args.dataset}: m, m and degrees", as_json=args.json)


def prepare(args: argparse.Namespace, scenes: Sequence[str]) -> int:
    """Link the pictures of all scenes; the status is 1 where some are missing."""
    from fourd_ros.errors import InvalidDataset
    from fourd_ros.evaluation.dataset_frames import prepare_frames

    frames, failed = {}, {}
    for scene in scenes:
        try:
            frames[scene] = prepare_frames(args.dataset, args.root, scene, args.prepare)
        except InvalidDataset as error:
            failed[scene] = str(error)
    if args.json:
        print(json.dumps({"frames": frames, "failures": failed}, indent=1))
    else:
        print(
            "\n".join(f"{scene}: {count} pictures in {args.prepare / scene / 'rgb'}" for scene, count in frames.items())
        )
        _show_failures(failed, len(scenes))
    return int(bool(failed))


def show(scores: list["SceneScore"], title: str, *, as_json: bool) -> int:
    """Print the table, or JSON, and what failed; the exit status."""
    from fourd_ros.evaluation.reconstruction_scores import failures, mean_scores, score_table

    failed = failures(scores)
    if as_json:
        values = {score.scene: dict(score.values) for score in scores if not score.problem}
        print(json.dumps({"mean": mean_scores(scores), "scenes": values, "failures": failed}, indent=1))
        return int(bool(failed))
    print(score_table(scores, title))
    _show_failures(failed, len(scores))
    return int(bool(failed))


def _show_failures(failed: Mapping[str, str], count: int) -> None:
    if failed:
        print(f"\n{len(failed)} of {count} scenes failed:")
        print("\n".join(f"  {scene}: {problem}" for scene, problem in failed.items()))
