"""Samples of the point dynamics in memory: mirrored, jittered, followed from their begin or through a short window."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode_shards import Shard
from fourd_ros.training.task import Sample
from fourd_ros.world_model.compact.dynamics import POINTS

MIRROR = np.array([1.0, -1.0, 1.0, 1.0], np.float32)
"""The physics of a table does not change in a mirror; neither do the frames of a gripper with two equal fingers."""

JITTER = 0.001
"""Standard deviation of what is added to every coordinate of a point [m]."""

STIRRED = 1e-3
"""A step in which some entry of a pose changes by more shows something [m]."""

QUIET_WEIGHT = 0.3
"""Of a window in which nothing is stirred, against one for each step of it in which something is."""


@dataclass(frozen=True, kw_only=True)
class Following:
    """How long samples are followed.

    Args:
        window: number of steps.
        whole: share of the samples that are followed from the observation to the end instead.
    """

    window: int
    whole: float


class PointSamples:
    """All samples of a preparation.

    Args:
        paths: of its shards, see `prepare_samples`.
        things: of a sample that are shown, those nearest to the path of the gripper.
        following: how long samples are followed; None for plain samples, all whole.
    """

    def __init__(self, paths: Sequence[Path], *, things: int, following: Following | None) -> None:
        shards = [Shard(path) for path in paths]
        self._arrays = {name: np.concatenate([shard.array(name) for shard in shards]) for name in shards[0].names}
        self._things, self._following = things, following

    def __len__(self) -> int:
        return len(self._arrays["steps"])

    def plain(self) -> "PointSamples":
        """The same samples as they are."""
        samples = copy(self)
        samples._following = None
        return samples

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """What `points_windows.unfold` makes a batch of.

        Returns:
            arrays as `points_recording.make_samples` stores them, with fewer things and points, and ``begin`` and
            ``length``: the steps at which it begins and for which it is followed.
        """
        stored = {name: array[index] for name, array in self._arrays.items()}
        for name in ("points", "body", "present", "held", "support"):
            stored[name] = stored[name][: self._things]
        for name in ("points", "body"):
            stored[name] = stored[name][:, :POINTS]
        begin, length = 0, int(stored["steps"])
        if self._following is not None:
            stored = _augmented(stored, rng)
            if rng.random() >= self._following.whole:
                length = min(self._following.window, length)
                begin = _draw_begin(stored["motions"], int(stored["steps"]), length, rng)
        return {**stored, "begin": np.array(begin, np.int64), "length": np.array(length, np.int64)}


def _augmented(stored: Mapping[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, NDArray[Any]]:
    """Seen in a mirror half of the time, with points that are a little off."""
    changed = dict(stored)
    changed["points"] = stored["points"] + rng.normal(0.0, JITTER, stored["points"].shape).astype(np.float32)
    if rng.random() < 0.5:
        changed["points"] = changed["points"] * MIRROR[:3]
        changed["eye"] = stored["eye"] * MIRROR[:3]
        for name in ("motions", "frames"):
            changed[name] = MIRROR[:, None] * stored[name] * MIRROR
    return changed


def _draw_begin(motions: NDArray[np.float32], steps: int, length: int, rng: np.random.Generator) -> int:
    """Step at which a window begins, mostly one in which something moves."""
    before = np.concatenate([np.broadcast_to(np.eye(4, dtype=np.float32), motions[:1].shape), motions[:-1]])
    stirred = (np.abs(motions - before)[:, :, :3] > STIRRED).any(axis=(1, 2, 3))[:steps]
    inside = np.convolve(stirred, np.ones(length), mode="valid")
    weight = QUIET_WEIGHT + inside
    return int(rng.choice(len(weight), p=weight / weight.sum()))
