"""Objects that a segmenter finds in simulated videos of a camera at rest, beside those that are there."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from fourd_ros.compositional.segmentation.segmenter import Footage, SegmentedObject, Segmenter
from fourd_ros.data.scene_shards import SceneFrames
from fourd_ros.depth_completion.sensor_noise import SensorRanges
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.simulation.scene_sequences import EVERYWHERE, SequenceOptions, film_fixed
from fourd_ros.simulation.scene_splits import scene_seeds

__all__ = ["FoundObject", "VideoScore", "evaluate_segmenter", "judge_video"]

Numbers = NDArray[np.uint8]

LEAST_SHARE = 1e-3
"""A thing counts where it covers this share of the picture in at least two frames."""

_SPLIT = "validation"


@dataclass(frozen=True, kw_only=True)
class FoundObject:
    """A thing that is there.

    Args:
        iou: of its masks of all frames together with those of the object that was found for it; 0 where none was.
        moves: whether it moves.
        moves_found: whether it was said to; None where it was not found.
    """

    iou: float
    moves: bool
    moves_found: bool | None


@dataclass(frozen=True, kw_only=True)
class VideoScore:
    """A video.

    Args:
        things: that are there.
        others: objects that were found and are none of them.
    """

    things: tuple[FoundObject, ...]
    others: int


def judge_video(objects: tuple[SegmentedObject, ...], numbers: Numbers, moves: dict[int, bool]) -> VideoScore:
    """Every thing beside the object that is paired with it so that the overlap of all is largest.

    Args:
        objects: that were found.
        numbers: of the thing at every pixel, shape [F, H, W].
        moves: whether things move, by their number; those that are hardly seen do not count.
    """
    least = LEAST_SHARE * numbers[0].size
    counted = [number for number in moves if ((numbers == number).sum(axis=(1, 2)) >= least).sum() >= 2]
    found = [one.masks for one in objects]
    overlap = np.array([[_iou(numbers == number, masks) for masks in found] for number in counted])
    overlap = overlap.reshape(len(counted), len(found))
    pairs = dict(zip(*(side.tolist() for side in linear_sum_assignment(-overlap)), strict=True))
    things = tuple(
        FoundObject(
            iou=float(overlap[row, pairs[row]]) if row in pairs else 0.0,
            moves=moves[number],
            moves_found=objects[pairs[row]].moves if row in pairs else None,
        )
        for row, number in enumerate(counted)
    )
    return VideoScore(things=things, others=len(found) - len(pairs))


def evaluate_segmenter(
    segmenter: Segmenter,
    *,
    videos: int,
    size: int = 256,
    frames: int = 16,
    robot: bool,
    noisy: bool,
    depth: bool = True,
) -> Iterator[VideoScore]:
    """Scores of a segmenter on held-out scenes of the simulator.

    Args:
        segmenter: that is judged.
        videos: how many.
        size: of the pictures [px].
        frames: of a video, five a second.
        robot: whether the robot that moves the things is in the pictures.
        noisy: measure depth as a depth camera would, instead of exactly.
        depth: tell depth at all.
    """
    options = SequenceOptions(width=size, height=size, frames=frames)
    for seed in scene_seeds(_SPLIT, sequences=videos):
        facts, seen = film_fixed(seed, _SPLIT, options, robot=robot)
        camera = PinholeCamera(width=size, height=size, K=seen.K)
        seen = _measured(seen, camera, seed) if noisy else seen
        footage = Footage(rgb=list(seen.rgb), depth=list(seen.depth) if depth else None, camera=camera)
        everywhere = {number for _, number in EVERYWHERE}
        moves = {
            thing.number: bool((seen.states[:, column] & 1).any())
            for column, thing in enumerate(facts.things)
            if thing.number not in everywhere
        }
        yield judge_video(segmenter.segment(footage, progress=_quiet), seen.numbers, moves)


def _measured(frames: SceneFrames, camera: PinholeCamera, seed: int) -> SceneFrames:
    rng = np.random.default_rng((seed, 5))
    sensor = SensorRanges().draw(rng)
    rows = zip(frames.depth, frames.rgb, frames.numbers, strict=True)
    depth = [sensor.measure(one, rgb=rgb, labels=labels, camera=camera, rng=rng) for one, rgb, labels in rows]
    return replace(frames, depth=np.stack(depth))


def _iou(truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> float:
    return float((truth & found).sum() / max(int((truth | found).sum()), 1))


def _quiet(share: float) -> None:
    """Nobody watches."""
