"""What may be moved: the connected things above support planes, found by geometry alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import FloatArray, Mask, Points, View
from fourd_ros.world_model.compositing import HELD_LABEL
from fourd_ros.world_model.scene import Scene
from fourd_ros.world_model.supports import Support, find_supports

FIRST_LABEL = HELD_LABEL
"""Labels of things begin here (as in ``fourd_msgs/RolloutFrame``)."""

SAMPLES = 6000
"""Points of a view that supports are looked for in."""

LEAST_HEIGHT = 0.006
LEAST_SIGMAS = 4.0
"""What stands out less from its support, in metres and in deviations of the support's points, is the support."""

GROWN_SHARE = 0.35
"""Beside a thing, pixels that stand out by this share of that are its own."""

GAP = 0.012
GAP_PIXELS = 1.6
"""Points nearer to each other than this belong to one thing, in metres and in pixels at their distance."""

TEAR_PIXELS = 3.0
"""Neighbouring pixels belong together up to this many times the distance between pixels."""

RIM = 2
"""Pixels this near to the robot may show a mixture: they join things and make none [px]."""

GROWTH = 2
"""Things grow back at their silhouettes by so many pixels [px]."""

LEAST_PIXELS = 6
LEAST_EXTENT = 0.012
LARGEST = 0.7
"""Components of fewer pixels, or smaller or larger than this [m], are no things."""


@dataclass(frozen=True, kw_only=True)
class Thing:
    """Pixels that may move together.

    Args:
        label: 16 and more, distinct in a scene; 16 is the held thing where there is one.
        pixels: True where it was observed, by view, shape [H, W].
        points: those pixels in the world [m], view after view in the order of `pixels`, row by row, shape [N, 3].
        support: height of the plane that it stands on, or hangs over, in the world [m].
        held: it is between the fingers.
    """

    label: int
    pixels: Mapping[str, Mask]
    points: FloatArray
    support: float
    held: bool


def find_things(scene: Scene, *, max_things: int = 8, reach: float = 1.1) -> tuple[Thing, ...]:
    """What stands on horizontal supports, and what the gripper holds.

    Up is the z axis of the robot's root. Neither colours nor anything learned are used: things that touch are one,
    and so are the parts of a cabinet.

    Args:
        scene: what was observed.
        max_things: the held thing and those nearest to the robot are kept.
        reach: what is farther from the robot's root, measured on the floor, is not looked at [m].

    Returns:
        The held thing first, then the others, nearest to the robot's links first.
    """
    seen = [_Seen.of(scene, name) for name in scene.observation.views]
    supports = _supports(seen, reach)
    found = _components(seen, supports, reach) if supports else []
    found.sort(key=lambda pixels: _distance_to_robot(scene, seen, pixels))
    held = [[view.held for view in seen]] if scene.holds_something else []
    first = FIRST_LABEL if held else FIRST_LABEL + 1
    return tuple(
        _thing(scene, seen, supports, pixels, label=first + index, held=index < len(held))
        for index, pixels in enumerate([*held, *found][:max_things])
    )


@dataclass(frozen=True)
class _Seen:
    """One view, in the frame of the robot's root.

    Args:
        view: what was seen.
        points: camera-frame pointmap [m], shape [H, W, 3].
        T_robot_camera: shape [4, 4].
        free: known pixels of neither the robot nor what it holds, shape [H, W].
        held: pixels of what it holds, shape [H, W].
        rim: free pixels beside the robot, shape [H, W].
    """

    view: View
    T_robot_camera: FloatArray
    free: Mask
    held: Mask
    rim: Mask

    @classmethod
    def of(cls, scene: Scene, name: str) -> "_Seen":
        view, robot, held = scene.observation.views[name], scene.robot[name], scene.held[name]
        free = np.isfinite(view.points[..., 2]) & ~robot & ~held
        rim = ndimage.binary_dilation(robot, iterations=RIM) & free
        return cls(view, invert(scene.observation.T_world_robot) @ view.T_world_camera, free, held, rim)

    @property
    def pixel_size(self) -> float:
        """Distance between neighbouring pixels at a depth of 1 m [m]."""
        return 1 / float(self.view.camera.K[0, 0])

    def in_robot(self, chosen: NDArray[np.intp]) -> Points:
        """Chosen pixels (flat indices) as points, shape [N, 3]."""
        return np.asarray(apply(self.T_robot_camera, self.view.points.reshape(-1, 3)[chosen]))

    def heights(self, support: Support) -> NDArray[np.float32]:
        """Of all pixels over a support [m], shape [H, W]."""
        normal = np.array([*-support.slope, 1.0])
        direction = normal @ self.T_robot_camera[:3, :3]
        offset = normal @ self.T_robot_camera[:3, 3] - support.height
        return np.asarray(self.view.points @ direction.astype(np.float32) + np.float32(offset))


def _supports(seen: Sequence[_Seen], reach: float) -> tuple[Support, ...]:
    """Supports within reach, from an even sample of every view."""
    points, areas = [], []
    for view in seen:
        chosen = np.flatnonzero(view.free & ~view.rim)
        chosen = chosen[:: max(1, len(chosen) // SAMPLES)]
        here = view.in_robot(chosen)
        inside = np.hypot(here[:, 0], here[:, 1]) < reach
        here, chosen = here[inside], chosen[inside]
        depth = view.view.points.reshape(-1, 3)[chosen, 2]
        drop = np.abs(here[:, 2] - view.T_robot_camera[2, 3])
        points.append(here)
        areas.append(depth**3 / np.maximum(drop, 0.05) * view.pixel_size**2)
    return find_supports(np.concatenate(points), np.concatenate(areas))


def _components(seen: Sequence[_Seen], supports: Sequence[Support], reach: float) -> list[list[Mask]]:
    """Pixels of every thing, one mask a view."""
    heights = [_over_support(view, supports) for view in seen]
    seeds = [np.flatnonzero(view.free & ~view.rim & (height > 1.0)) for view, height in zip(seen, heights, strict=True)]
    points = [view.in_robot(chosen) for view, chosen in zip(seen, seeds, strict=True)]
    near = [np.hypot(cloud[:, 0], cloud[:, 1]) < reach for cloud in points]
    seeds = [chosen[inside] for chosen, inside in zip(seeds, near, strict=True)]
    points = [cloud[inside] for cloud, inside in zip(points, near, strict=True)]
    labels = _cluster(seen, seeds, points)
    images = []
    for view, height, chosen, found in zip(seen, heights, seeds, labels, strict=True):
        image = np.zeros(view.free.shape, np.int32)
        image.reshape(-1)[chosen] = found
        images.append(_grown(view, image, view.free & (height > GROWN_SHARE)))
    count = max((int(image.max(initial=0)) for image in images), default=0)
    return [[image == label for image in images] for label in range(1, count + 1)]


def _over_support(view: _Seen, supports: Sequence[Support]) -> NDArray[np.float32]:
    """Height over the highest support below every pixel, in units of what stands out from it, shape [H, W]."""
    result = np.full(view.free.shape, -np.inf, np.float32)
    for support in supports:
        relative = view.heights(support) / np.float32(max(LEAST_HEIGHT, LEAST_SIGMAS * support.noise))
        result = np.where(relative > -1.0, relative, result)
    return result


def _cluster(
    seen: Sequence[_Seen], seeds: Sequence[NDArray[np.intp]], points: Sequence[Points]
) -> list[NDArray[np.int32]]:
    """Number of the component of every seed, from 1; 0 for those that are no thing."""
    cloud = np.concatenate(points)
    if len(cloud) == 0:
        return [np.zeros(0, np.int32) for _ in seeds]
    depths = [view.view.points.reshape(-1, 3)[chosen, 2] for view, chosen in zip(seen, seeds, strict=True)]
    spacing = np.concatenate([view.pixel_size * depth for view, depth in zip(seen, depths, strict=True)])
    chosen = reduce(cloud, max_points=len(cloud), voxel_size=GAP / 2)
    tree = KDTree(cloud[chosen])
    _, nearest = tree.query(cloud)
    pairs = tree.query_pairs(max(GAP, GAP_PIXELS * float(np.median(spacing))), output_type="ndarray")
    neighbours = [
        nearest[np.searchsorted(chosen_pixels, touching) + start]
        for chosen_pixels, touching, start in _touching(seen, seeds, depths)
    ]
    edges = np.concatenate([pairs, *neighbours])
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(len(chosen), len(chosen)))
    _, component = connected_components(graph, directed=False)
    member = component[nearest]
    kept = _kept(cloud, member)
    split = np.cumsum([len(part) for part in seeds])[:-1]
    return np.split(kept[member], split)


def _touching(
    seen: Sequence[_Seen], seeds: Sequence[NDArray[np.intp]], depths: Sequence[NDArray[np.float32]]
) -> list[tuple[NDArray[np.intp], NDArray[np.intp], int]]:
    """Pairs of neighbouring seeds without a jump in depth, as flat indices of their view."""
    result, start = [], 0
    for view, chosen, depth in zip(seen, seeds, depths, strict=True):
        width = view.free.shape[1]
        z = np.full(view.free.size, np.nan, np.float32)
        z[chosen] = depth
        pairs = []
        for step in (1, width):
            other = chosen[chosen + step < z.size] + step
            jump = np.abs(z[other] - z[other - step])
            joined = jump < TEAR_PIXELS * view.pixel_size * z[other]
            if step == 1:
                joined &= other % width != 0
            pairs.append(np.stack([other[joined] - step, other[joined]], axis=-1))
        result.append((chosen, np.concatenate(pairs), start))
        start += len(chosen)
    return result


def _kept(cloud: Points, member: NDArray[np.int32]) -> NDArray[np.int32]:
    """New number of every component, from 1; 0 for those too small or too large to be things."""
    count = np.bincount(member)
    extent = np.zeros(len(count))
    for axis in range(3):
        low, high = np.full(len(count), np.inf), np.full(len(count), -np.inf)
        np.minimum.at(low, member, cloud[:, axis])
        np.maximum.at(high, member, cloud[:, axis])
        extent = np.maximum(extent, high - low)
    good = (count >= LEAST_PIXELS) & (extent > LEAST_EXTENT) & (extent < LARGEST)
    return np.where(good, np.cumsum(good), 0).astype(np.int32)


def _grown(view: _Seen, labels: NDArray[np.int32], eligible: Mask) -> NDArray[np.int32]:
    """Labels spread to eligible neighbours without a jump in depth, shape [H, W]."""
    depth = view.view.points[..., 2]
    for _ in range(GROWTH):
        ring = np.flatnonzero(eligible & (labels == 0) & ndimage.binary_dilation(labels > 0))
        new = np.zeros(len(ring), np.int32)
        z, width = depth.reshape(-1)[ring], labels.shape[1]
        for step in (-1, 1, -width, width):
            other = np.clip(ring + step, 0, labels.size - 1)
            joined = np.abs(depth.reshape(-1)[other] - z) < TEAR_PIXELS * view.pixel_size * z
            new = np.where((new == 0) & joined, labels.reshape(-1)[other], new)
        labels.reshape(-1)[ring] = new
    return labels


def _distance_to_robot(scene: Scene, seen: Sequence[_Seen], pixels: Sequence[Mask]) -> float:
    """Between the middle of a thing and the nearest link [m]."""
    middle = np.concatenate(
        [view.in_robot(np.flatnonzero(mask)) for view, mask in zip(seen, pixels, strict=True)]
    ).mean(axis=0)
    links = np.stack([pose[:3, 3] for pose in scene.link_poses.values()])
    return float(np.linalg.norm(links - middle, axis=1).min())


def _thing(
    scene: Scene, seen: Sequence[_Seen], supports: Sequence[Support], pixels: Sequence[Mask], *, label: int, held: bool
) -> Thing:
    points = np.concatenate(
        [
            apply(view.view.T_world_camera, view.view.points[mask].astype(np.float64))
            for view, mask in zip(seen, pixels, strict=True)
        ]
    )
    return Thing(
        label=label,
        pixels=dict(zip(scene.observation.views, pixels, strict=True)),
        points=points,
        support=_support_below(invert(scene.observation.T_world_robot), supports, points),
        held=held,
    )


def _support_below(T_robot_world: FloatArray, supports: Sequence[Support], points: FloatArray) -> float:
    """Height, in the world, of the highest support below most of the points; of the lowest point without any [m]."""
    local = apply(T_robot_world, points)
    below = [support for support in supports if np.median(support.above(local)) > 0]
    if not below:
        return float(points[:, 2].min())
    foot = np.median(local, axis=0)
    foot[2] -= below[-1].above(foot)
    return float(apply(invert(T_robot_world), foot[None])[0, 2])
