"""Reconstructions of whole data sets against their truth: one row for each scene, and none is dropped in silence."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import FourdError, InvalidResults
from fourd_ros.evaluation.depth_datasets import DEPTH_DATASETS
from fourd_ros.evaluation.pose_datasets import POSE_DATASETS
from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.evaluation.reconstruction_results import count_frames, read_disparities, read_poses, result_folder
from fourd_ros.evaluation.table import Table
from fourd_ros.evaluation.video_depth_metrics import Fit, video_depth_errors
from fourd_ros.whole_file import write_whole

POSE_KEYS = ("ATE", "RPEt", "RPEr")
DEPTH_KEYS = ("video: abs_rel", "video: d1 < 1.25")

_DIGITS = 5


@dataclass(frozen=True, kw_only=True)
class SceneScore:
    """What became of one scene.

    Args:
        scene: its name.
        values: by the names of the original's result files; empty where it failed.
        weight: of the scene in means.
        known: share of the frames or pixels with truth that have a result.
        problem: why it failed, empty where it did not.
    """

    scene: str
    values: Mapping[str, float]
    weight: float = 1.0
    known: float = 1.0
    problem: str = ""


def score_poses(
    dataset: str, root: Path, results: Path, scene: str, *, experiment: str, normalize: bool, published: bool
) -> SceneScore:
    """The path of one scene; what is wrong with it is in its `problem`.

    Args:
        dataset: one of `POSE_DATASETS`.
        root: of the data set.
        results: a folder for each scene, see `result_folder`.
        scene: its name.
        experiment: folder below ``dynamicBA``.
        normalize: divide true positions by the length of the true path.
        published: judge by the truth that went into published numbers.
    """
    try:
        truth = POSE_DATASETS[dataset].read(root, scene, published=published)
        estimate = read_poses(result_folder(results, scene, experiment))
        if len(estimate) != len(truth):
            raise InvalidResults(f"{len(estimate)} poses were estimated, {len(truth)} frames count")
        scores = pose_scores(estimate, truth, normalize=normalize)
    except FourdError as error:
        return SceneScore(scene=scene, values={}, problem=str(error))
    values = dict(zip(POSE_KEYS, (scores.ate, scores.rpe_translation, scores.rpe_rotation), strict=True))
    return SceneScore(scene=scene, values=values, known=scores.known)


def score_depth(dataset: str, root: Path, results: Path, scene: str, *, experiment: str, fit: Fit) -> SceneScore:
    """The depth of one scene, as disparity; its weight is the number of pixels that count.

    Args:
        dataset: one of `DEPTH_DATASETS`.
        root: of the data set.
        results: a folder for each scene, see `result_folder`.
        scene: its name.
        experiment: folder below ``dynamicBA``.
        fit: how disparities are aligned.
    """
    try:
        truth = DEPTH_DATASETS[dataset].video(root, scene)
        errors = video_depth_errors(_resized(result_folder(results, scene, experiment), truth.shape), truth, fit=fit)
    except FourdError as error:
        return SceneScore(scene=scene, values={}, problem=str(error))
    values = dict(zip(DEPTH_KEYS, (errors.abs_rel, errors.delta), strict=True))
    return SceneScore(scene=scene, values=values, weight=float(errors.pixels), known=errors.coverage)


def mean_scores(scores: Iterable[SceneScore]) -> dict[str, float]:
    """Means of the scenes that did not fail, by their weights; empty where all did."""
    good = [score for score in scores if not score.problem]
    total = math.fsum(score.weight for score in good)
    keys = good[0].values if good else ()
    return {key: math.fsum(score.weight * score.values[key] for score in good) / total for key in keys}


def score_table(scores: list[SceneScore], title: str) -> Table:
    """A row for each scene, then the mean and how many it is of."""
    keys = next((tuple(score.values) for score in scores if not score.problem), ())
    rows = [
        (score.scene, *(f"{score.values[key]:.{_DIGITS}f}" for key in keys), f"{100 * score.known:.1f} %")
        if not score.problem
        else (score.scene, *("-" for _ in keys), "failed")
        for score in scores
    ]
    mean = mean_scores(scores)
    good = sum(not score.problem for score in scores)
    rows.append((f"mean of {good} of {len(scores)}", *(f"{mean[key]:.{_DIGITS}f}" for key in keys), ""))
    return Table(title=title, columns=("scene", *keys, "known"), rows=tuple(rows))


def write_pose_results(folder: Path, scores: list[SceneScore]) -> None:
    """``all_results.txt`` and ``result.json`` with the keys of the original, and the failures besides."""
    _write(folder, scores, {**mean_scores(scores), "pose_err": {s.scene: s.values for s in scores if not s.problem}})


def write_depth_results(folder: Path, scores: list[SceneScore]) -> None:
    """``all_results.txt`` and ``result.json`` with the keys of the original, and the failures besides."""
    _write(folder, scores, {**mean_scores(scores), "total_videos": sum(not score.problem for score in scores)})


def failures(scores: Iterable[SceneScore]) -> dict[str, str]:
    """Why scenes failed."""
    return {score.scene: score.problem for score in scores if score.problem}


def _write(folder: Path, scores: list[SceneScore], summary: Mapping[str, object]) -> None:
    lines = [f"{score.scene}: {score.problem or dict(score.values)}" for score in scores]
    write_whole(folder / "all_results.txt", "\n".join([*lines, f"mean: {mean_scores(scores)}", ""]))
    write_whole(folder / "result.json", json.dumps({**summary, "failures": failures(scores)}, indent=2) + "\n")


def _resized(folder: Path, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Disparities of all frames, bicubically brought to the size of the truth, shape [F, H, W]."""
    frames, height, width = shape
    if (count := count_frames(folder)) != frames:
        raise InvalidResults(f"{count} frames have a depth, {frames} count")
    video = np.empty((frames, height, width), np.float32)
    for number, disparity in enumerate(read_disparities(folder)):
        same = disparity.shape == (height, width)
        video[number] = disparity if same else cv2.resize(disparity, (width, height), interpolation=cv2.INTER_CUBIC)
    return video
