"""What was imagined about a bag in files, each with what the bag shows later."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fourd_ros.errors import AlreadyExists
from fourd_ros.nodes.bag_loop import NS, BagLoop, ImaginedInstant
from fourd_ros.nodes.bag_observations import observations
from fourd_ros.records import Observation, Rollout
from fourd_ros.whole_file import is_vacant
from fourd_ros.world_model.rollout_file import save_rollout


class SavedRollouts:
    """A folder that takes a file for every rollout: ``00001.500_candidate_0_sample_0.npz``.

    Args:
        folder: made when the first file is written.
        overwrite: files may lie there already; those of the same name are replaced.

    Raises:
        AlreadyExists: something lies there and that was not allowed.
    """

    def __init__(self, folder: Path, *, overwrite: bool = False) -> None:
        if not overwrite and not is_vacant(folder):
            raise AlreadyExists(
                f"'{folder}' exists already; choose another folder, or --overwrite to replace its files"
            )
        self.folder = folder

    def add(self, loop: BagLoop, instant: ImaginedInstant) -> tuple[Path, ...]:
        """Write all rollouts of an instant; the observation that they start from is the first of their truth.

        Args:
            loop: that answered.
            instant: its answer, not long ago.

        Raises:
            RolloutExpired: the node no longer remembers it.
            InvalidRollout: a camera of the bag changes its calibration.
        """
        rollouts = [loop.recall(rollout) for rollout in instant.rollouts]
        truth = tuple(_later(loop, rollouts[0])) if rollouts else ()
        seconds = (instant.stamp_ns - loop.reader.start_ns) / NS
        return tuple(self._save(rollout, truth, seconds) for rollout in rollouts)

    def _save(self, rollout: Rollout, truth: Sequence[Observation], seconds: float) -> Path:
        path = self.folder / f"{seconds:09.3f}_candidate_{rollout.candidate}_sample_{rollout.sample}.npz"
        save_rollout(rollout, path, truth=truth)
        return path


def _later(loop: BagLoop, rollout: Rollout) -> Iterator[Observation]:
    """What the cameras of a rollout saw when it begins and at its times, as far as the bag goes on."""
    recorded = np.array(sorted(loop.recorded), np.int64)
    period_ns = float(np.median(np.diff(recorded))) if len(recorded) > 1 else 0.0
    wanted = rollout.stamp_ns + np.round(np.concatenate([[0.0], rollout.times]) * NS).astype(np.int64)
    nearest = recorded[np.abs(recorded[:, None] - wanted).argmin(axis=0)]
    chosen = np.unique(nearest[np.abs(nearest - wanted) <= period_ns / 2])
    slop_ns = min(loop.sync_slop * NS, period_ns / 2)
    found = observations(
        loop.reader,
        loop.inputs,
        loop.robot,
        wanted=lambda stamp_ns: bool((np.abs(chosen - stamp_ns) <= slop_ns).any()),
        frame=rollout.frame,
        recorded=(loop.recorded[int(chosen[0])], loop.recorded[int(chosen[-1])]),
    )
    for observation in found:
        yield replace(observation, views={name: observation.views[name] for name in rollout.views})
