"""What happens in tabletop episodes: how many objects move, how far, how many are grasped."""

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import Episode
from fourd_ros.data.episode_dataset import EpisodeDataset, Window
from fourd_ros.robot.kinematics import Kinematics
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.fixtures import FIXTURE_KINDS
from fourd_ros.simulation.model import FINGER_JOINT, GRIPPER_BODY
from fourd_ros.simulation.tabletop_scene import CAMERA

FloatArray = NDArray[np.float64]

MOVED = 0.02
"""An object that ends farther from its start than this [m] has moved."""

STIRRED = 0.01
"""An episode in which no object moves farther than this [m] is one in which nothing moves."""

VISIBLE_PIXELS = 8
_IN_HAND = 0.06
_BLOCKED = 0.002
_LABELS_OF_FIXTURES = ("cabinet", "chest", *FIXTURE_KINDS)


@dataclass(frozen=True, kw_only=True)
class EpisodeFacts:
    """What happened in one episode.

    Args:
        task: what was meant to happen.
        displacements: distance from first to last place of every object and part of a fixture [m].
        grasped: whether the gripper carried an object.
        objects: how many there are, fixtures aside.
        visible: how many of them show at least `VISIBLE_PIXELS` pixels in the first frame.
    """

    task: str
    displacements: tuple[float, ...]
    grasped: bool
    objects: int
    visible: int


@dataclass(frozen=True, kw_only=True)
class SplitStatistics:
    """What happens in the episodes of a split.

    Args:
        episodes: how many.
        displacement: mean over objects that moved [m].
        moved: mean number of objects that moved.
        grasped: share of episodes in which an object is carried.
        several: share with several objects.
        still: share in which nothing moves.
        visible: share of the objects that are seen in the first frame.
        tasks: episodes by what was meant to happen.
    """

    episodes: int
    displacement: float
    moved: float
    grasped: float
    several: float
    still: float
    visible: float
    tasks: dict[str, int]


def tabletop_statistics(facts: Iterable[EpisodeFacts]) -> SplitStatistics:
    """Sum up what happened in episodes; there is at least one."""
    found = list(facts)
    moved = [value for item in found for value in item.displacements if value > MOVED]
    return SplitStatistics(
        episodes=len(found),
        displacement=float(np.mean(moved)) if moved else 0.0,
        moved=len(moved) / len(found),
        grasped=float(np.mean([item.grasped for item in found])),
        several=float(np.mean([item.objects > 1 for item in found])),
        still=float(np.mean([max(item.displacements, default=0.0) < STIRRED for item in found])),
        visible=sum(item.visible for item in found) / max(1, sum(item.objects for item in found)),
        tasks=dict(Counter(item.task for item in found).most_common()),
    )


def episode_facts(dataset: EpisodeDataset, chosen: Container[str] | None = None) -> Iterator[EpisodeFacts]:
    """What happened in each episode of a data set of `record_tabletop`.

    Args:
        dataset: of them.
        chosen: names of the episodes that count; None for all.
    """
    for index, row in enumerate(dataset.rows()):
        if chosen is not None and row.name not in chosen:
            continue
        labels = row.facts()["object_labels"]
        free = np.array([label not in _LABELS_OF_FIXTURES for label in labels], np.bool_)
        motion = dataset.window(index, 0, row.frames, cameras=[], fields=["commanded", "measured", "object_poses"])
        picture = dataset.window(index, 0, 1, cameras=[CAMERA], fields=["segmentation"])
        yield _facts(motion, picture, free)


def _facts(motion: Window, picture: Window, free: NDArray[np.bool_]) -> EpisodeFacts:
    """Of an episode whose objects are `free` [N], but for the parts of fixtures."""
    assert motion.object_poses is not None
    centres = _middles(motion.object_poses)
    labels = picture.views[CAMERA].segmentation
    assert labels is not None
    pixels = np.bincount(labels.ravel(), minlength=len(free) + 1)[1 : len(free) + 1]
    return EpisodeFacts(
        task="+".join(motion.tasks),
        displacements=tuple(np.linalg.norm(centres[-1] - centres[0], axis=-1).tolist()),
        grasped=bool(carried(motion)[free].any()),
        objects=int(free.sum()),
        visible=int((pixels[free] >= VISIBLE_PIXELS).sum()),
    )


def _middles(poses: FloatArray) -> FloatArray:
    """A point of each thing that its turning moves too: lids turn about their frames, shape [T, N, 3]."""
    return np.asarray(poses[..., :3, 3] - 0.05 * poses[..., :3, 0])


def carried(motion: Window | Episode) -> NDArray[np.bool_]:
    """Which objects move with the gripper whose fingers they keep from closing, shape [N]."""
    assert motion.measured is not None and motion.commanded is not None and motion.object_poses is not None
    centres = _middles(motion.object_poses)
    finger = motion.joint_names.index(FINGER_JOINT)
    gripper = _kinematics().link_poses(motion.measured)[GRIPPER_BODY]
    blocked = motion.measured[:, finger] - motion.commanded[:, finger] > _BLOCKED
    near = np.linalg.norm(centres - gripper[:, None, :3, 3], axis=-1) < _IN_HAND
    held = near & blocked[:, None]
    steps = np.linalg.norm(np.diff(centres, axis=0), axis=-1)
    return np.asarray((steps * (held[1:] & held[:-1])).sum(axis=0) > MOVED)


@cache
def _kinematics() -> Kinematics:
    return Kinematics(panda_description())
