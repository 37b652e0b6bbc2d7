"""What really happened in a simulated episode: which pixels show what, and how every object moved."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import ROBOT_ID, Episode, EpisodeView
from fourd_ros.errors import InvalidEpisode
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.records import Mask, Points

FloatArray = NDArray[np.float64]

MOVED = 0.02
"""An object has moved when it is farther than this from where it was [m]."""

UNTOUCHED = 0.002
"""An object that never is farther than this from where it was has not been touched [m]."""

MIN_PIXELS = 10
"""Objects of which the first frame shows less are not judged."""

_CORNERS = np.array(list(product((-0.5, 0.5), repeat=3)))


@dataclass(frozen=True, eq=False)
class Truth:
    """An episode of a single camera that stands still, its first frame and T later ones, with N objects.

    Args:
        episode: with exact depth and segmentation.

    Raises:
        InvalidEpisode: it has several cameras, one that moves, or no depth or segmentation.
    """

    episode: Episode

    def __post_init__(self) -> None:
        views = list(self.episode.views.values())
        if len(views) != 1 or views[0].mounted_on or views[0].depth is None or views[0].segmentation is None:
            raise InvalidEpisode(
                f"'{self.episode.name}' has {len(views)} cameras; needed is a single one that stands still, with depth "
                "and segmentation"
            )

    @property
    def view_name(self) -> str:
        """Name of the camera."""
        return next(iter(self.episode.views))

    @property
    def view(self) -> EpisodeView:
        """What the camera saw."""
        return self.episode.views[self.view_name]

    @cached_property
    def points(self) -> Points:
        """Camera-frame pointmaps [m], shape [T + 1, H, W, 3]."""
        assert self.view.depth is not None
        return points_from_depth(self.view.depth, self.view.camera)

    @property
    def labels(self) -> NDArray[np.uint8]:
        """0 the scene, k the object k - 1, 255 the robot, shape [T + 1, H, W]."""
        assert self.view.segmentation is not None
        return self.view.segmentation

    @cached_property
    def robot(self) -> Mask:
        """Where the robot was seen, shape [T + 1, H, W]."""
        return np.asarray(self.labels == ROBOT_ID)

    @cached_property
    def motion(self) -> FloatArray:
        """How every object moves its points in the world since the first frame, shape [T + 1, N, 4, 4]."""
        poses = self.episode.object_poses
        return poses @ invert(poses[:1])

    @cached_property
    def displacement(self) -> FloatArray:
        """Mean way of the corners of every object's bounding box since the first frame [m], shape [T + 1, N]."""
        corners = _CORNERS * self.episode.object_sizes[:, None]
        places = apply(self.episode.object_poses, corners)
        return np.asarray(np.linalg.norm(places - places[:1], axis=-1).mean(axis=-1))

    @property
    def moved(self) -> NDArray[np.bool_]:
        """Objects that are elsewhere at the end, shape [N]."""
        return np.asarray(self.displacement[-1] > MOVED)

    @property
    def untouched(self) -> NDArray[np.bool_]:
        """Objects that never moved at all, shape [N]."""
        return np.asarray(self.displacement.max(axis=0, initial=0.0) < UNTOUCHED)

    @cached_property
    def moved_region(self) -> Mask:
        """Pixels of later frames that show an object that has moved by then, or did at first, shape [T, H, W]."""
        has_moved = np.zeros((len(self.displacement), ROBOT_ID + 1), bool)
        has_moved[:, 1 : 1 + self.displacement.shape[1]] = self.displacement > MOVED
        steps = range(1, len(has_moved))
        return np.stack([has_moved[step][self.labels[step]] | has_moved[step][self.labels[0]] for step in steps])

    def pixels(self, index: int) -> Mask:
        """Where the first frame shows an object, shape [H, W]."""
        return np.asarray(self.labels[0] == index + 1)

    @property
    def judged(self) -> list[int]:
        """Objects that the first frame shows well enough."""
        counts = np.bincount(self.labels[0].ravel(), minlength=ROBOT_ID + 1)
        return [index for index in range(len(self.episode.object_names)) if counts[index + 1] >= MIN_PIXELS]

    def world_points(self, pixels: Mask) -> FloatArray:
        """Points of the first frame in the world [m], shape [n, 3]."""
        return np.asarray(apply(self.view.T_world_camera[0], self.points[0][pixels].astype(np.float64)))

    def way(self, pixels: Mask) -> FloatArray:
        """Where points of the first frame are later, less where they were, in the world [m], shape [T, n, 3]."""
        start = self.world_points(pixels)
        return moved_by(self.motion[1:], self.labels[0][pixels].astype(np.intp) - 1, start) - start


def moved_by(motions: FloatArray, owners: NDArray[np.intp], points: FloatArray) -> FloatArray:
    """Points after the motion of what each belongs to.

    Args:
        motions: of N things, shape [T, N, 4, 4].
        owners: index of the thing; any other number belongs to none of them, which stays, shape [n].
        points: shape [n, 3].

    Returns:
        Shape [T, n, 3].
    """
    moved = np.repeat(points[None], len(motions), axis=0)
    for index in range(motions.shape[1]):
        own = owners == index
        if own.any():
            moved[:, own] = apply(motions[:, index], np.broadcast_to(points[own], (len(motions), own.sum(), 3)))
    return moved
