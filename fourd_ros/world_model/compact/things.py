"""What may be moved: the connected things above support planes, found by geometry alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.geometry.voxel import reduce
from fourd_ros.records import FloatArray, Mask, Points
from fourd_ros.world_model.compact.seen import Seen, supports_of, within
from fourd_ros.world_model.compositing import HELD_LABEL
from fourd_ros.world_model.scene import Scene
from fourd_ros.world_model.supports import Support

Indices = NDArray[np.intp]

FIRST_LABEL = HELD_LABEL
"""Labels of things begin here (as in ``fourd_msgs/RolloutFrame``)."""

LEAST_HEIGHT = 0.006
LEAST_SIGMAS = 4.0
"""What stands out less from its support, in metres and in deviations of the support's points, is the support."""

GROWN_SHARE = 0.35
"""Beside a thing, pixels that stand out by this share of that are its own."""

GAP = 0.012
GAP_PIXELS = 1.6
"""Points nearer to each other than this belong to one thing, in metres and in pixels at their distance."""

NEIGHBOURS = ((0, 1), (1, -1), (1, 0), (1, 1), (0, 2), (2, 0))
"""Steps to the pixels that a pixel may be connected to; over holes of one pixel too [rows, columns]."""

TEAR_PIXELS = 3.5
"""Neighbouring pixels belong together up to this many times the distance between pixels."""

RIM = 2
"""Pixels this near to the robot may show a mixture: they join things and make none [px]."""

GROWTH = 2
"""Things grow back at their silhouettes by so many pixels [px]."""

HOVER = 0.025
HOVER_GAP = 0.04
"""What is this high over its support is joined to what is this near [m]."""

STRAY = 0.02
"""What stands out this near to a thing and is none by itself belongs to it [m]."""

LEAST_PIXELS = 6
LEAST_AREA = 7e-5
LEAST_EXTENT = 0.012
LARGEST = 0.7
"""Components of fewer pixels, or of less area [m^2], or smaller or larger than this [m], are no things."""


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
        reach: what is farther from the robot's root is not looked at [m].

    Returns:
        The held thing first, then the others, nearest to the robot's links first.
    """
    seen = [Seen.of(scene, name, reach) for name in scene.observation.views]
    supports = supports_of(seen, reach)
    found = _components(seen, supports, reach) if supports else []
    found.sort(key=lambda pixels: _distance_to_robot(scene, seen, pixels))
    held = [[view.held for view in seen]] if scene.holds_something else []
    first = FIRST_LABEL if held else FIRST_LABEL + 1
    kept = _with_strays(seen, supports, [*held, *found])[:max_things]
    return tuple(
        _thing(scene, seen, supports, pixels, label=first + index, held=index < len(held))
        for index, pixels in enumerate(kept)
    )


def _components(seen: Sequence[Seen], supports: Sequence[Support], reach: float) -> list[list[Mask]]:
    """Pixels of every thing, one mask a view."""
    heights = [_over_support(view, supports) for view in seen]
    seeds = [_seeds(view, height, reach) for view, height in zip(seen, heights, strict=True)]
    images = []
    for view, height, chosen, labels in zip(seen, heights, seeds, _cluster(seen, seeds, supports), strict=True):
        image = np.zeros(view.free.shape, np.int32)
        image.reshape(-1)[chosen] = labels
        images.append(_grown(view, image, view.free & (height > GROWN_SHARE)))
    count = max((int(image.max(initial=0)) for image in images), default=0)
    return [[image == label for image in images] for label in range(1, count + 1)]


def _seeds(view: Seen, height: NDArray[np.float32], reach: float) -> Indices:
    """Pixels that stand out from their support within reach, except those beside the robot."""
    chosen = np.flatnonzero(view.free & (height > 1.0))
    chosen = chosen[within(view.in_robot(chosen), reach)]
    rim = np.zeros(len(chosen), bool)
    for step in np.ndindex(2 * RIM + 1, 2 * RIM + 1):
        other, inside = _neighbours(chosen, view.robot.shape, (step[0] - RIM, step[1] - RIM))
        rim |= inside & view.robot.reshape(-1)[other]
    return chosen[~rim]


def _neighbours(chosen: Indices, shape: tuple[int, ...], step: tuple[int, int]) -> tuple[Indices, Mask]:
    """The pixels `step` rows and columns further (flat indices), and whether they are inside the image."""
    rows, columns = np.divmod(chosen, shape[1])
    rows, columns = rows + step[0], columns + step[1]
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    return np.where(inside, rows * shape[1] + columns, 0), inside


def _over_support(view: Seen, supports: Sequence[Support]) -> NDArray[np.float32]:
    """Height over the highest support below every pixel, in units of what stands out from it, shape [H, W]."""
    result = np.full(view.free.shape, -np.inf, np.float32)
    for support in supports:
        relative = view.heights(support) / np.float32(max(LEAST_HEIGHT, LEAST_SIGMAS * support.noise))
        result = np.where(relative > -1.0, relative, result)
    return result


def _cluster(seen: Sequence[Seen], seeds: Sequence[Indices], supports: Sequence[Support]) -> list[NDArray[np.int32]]:
    """Number of the component of every seed, from 1; 0 for those that are no thing.

    Points are one thing that are near to each other, or whose pixels are without a jump in depth. What hovers is
    part of what is nearest: its foot is hidden, or the sensor lost what lies between.
    """
    cloud = np.concatenate([view.in_robot(chosen) for view, chosen in zip(seen, seeds, strict=True)])
    split = np.cumsum([len(chosen) for chosen in seeds])[:-1]
    if len(cloud) == 0:
        return np.split(np.zeros(0, np.int32), split)
    sizes = np.concatenate([view.pixel_size * view.depth[chosen] for view, chosen in zip(seen, seeds, strict=True)])
    gap = max(GAP, GAP_PIXELS * float(np.median(sizes)))
    nodes = cloud[reduce(cloud, max_points=len(cloud), voxel_size=gap / 2)]
    tree = KDTree(nodes)
    node = tree.query(cloud)[1]
    parts = zip(seen, seeds, np.split(node, split), strict=True)
    edges = np.concatenate([tree.query_pairs(gap, output_type="ndarray"), *(_touching(*part) for part in parts)])
    graph = coo_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(len(nodes), len(nodes)))
    member = _settled(nodes, connected_components(graph, directed=False)[1], supports)
    return np.split(_numbers(nodes, member, node, sizes)[member[node]], split)


def _settled(nodes: Points, member: NDArray[np.int32], supports: Sequence[Support]) -> NDArray[np.int32]:
    """Components [N] of nodes [N, 3] after those that hover were joined to the nearest other one."""
    height = np.min([np.where(above > -HOVER, above, np.inf) for above in (s.above(nodes) for s in supports)], axis=0)
    member = member.copy()
    for part in range(member.max() + 1):
        own = member == part
        if not own.any() or height[own].min() < HOVER or own.all():
            continue
        distance, nearest = KDTree(nodes[~own]).query(nodes[own], distance_upper_bound=HOVER_GAP)
        if np.isfinite(distance).any():
            member[own] = member[~own][nearest[distance.argmin()]]
    return member


def _touching(view: Seen, seeds: Indices, node: Indices) -> Indices:
    """Nodes of neighbouring seeds without a jump in depth, shape [E, 2]."""
    node_of = np.full(view.free.size, -1)
    node_of[seeds] = node
    depth, pairs = view.depth, []
    for step in NEIGHBOURS:
        other, inside = _neighbours(seeds, view.free.shape, step)
        jump = np.abs(depth[other] - depth[seeds])
        joined = inside & (node_of[other] >= 0) & (jump < np.maximum(GAP, TEAR_PIXELS * view.pixel_size * depth[seeds]))
        pairs.append(np.stack([node[joined], node_of[other[joined]]], axis=-1))
    return np.concatenate(pairs)


def _numbers(nodes: Points, member: NDArray[np.int32], node: Indices, sizes: NDArray[np.float32]) -> NDArray[np.int32]:
    """New number of every component, from 1; 0 for those too small or too large to be things.

    Args:
        nodes: points [m], shape [N, 3].
        member: component of every node, shape [N].
        node: of every pixel, shape [P].
        sizes: widths of the pixels where they look [m], shape [P].
    """
    pixels = np.bincount(member[node])
    area = np.bincount(member[node], weights=sizes**2)
    extent = np.zeros(len(pixels))
    for part in np.flatnonzero(pixels >= LEAST_PIXELS):
        extent[part] = np.ptp(nodes[member == part], axis=0).max()
    good = (pixels >= LEAST_PIXELS) & (area > LEAST_AREA) & (extent > LEAST_EXTENT) & (extent < LARGEST)
    return np.where(good, np.cumsum(good), 0).astype(np.int32)


def _grown(view: Seen, labels: NDArray[np.int32], eligible: Mask) -> NDArray[np.int32]:
    """Labels spread to eligible neighbours without a jump in depth, shape [H, W]."""
    window = _around(labels > 0)
    eligible, outside = np.zeros_like(eligible), eligible
    eligible[window] = outside[window]
    flat, depth = labels.reshape(-1), view.depth
    for _ in range(GROWTH):
        empty = np.flatnonzero(eligible & (labels == 0))
        new = np.zeros(len(empty), np.int32)
        for step in ((-1, 0), (0, -1), (0, 1), (1, 0)):
            other, inside = _neighbours(empty, labels.shape, step)
            jump = np.abs(depth[other] - depth[empty])
            joined = inside & (new == 0) & (jump < TEAR_PIXELS * view.pixel_size * depth[empty])
            new[joined] = flat[other[joined]]
        flat[empty] = new
    return labels


def _with_strays(
    seen: Sequence[Seen], supports: Sequence[Support], things: Sequence[Sequence[Mask]]
) -> list[list[Mask]]:
    """Things [K][views] with what stands out close to them and is part of none: cut off by a finger, or its rim."""
    if not things or not supports:
        return [list(pixels) for pixels in things]
    labels = [
        np.sum([mask * np.int32(k + 1) for k, mask in enumerate(masks)], axis=0) for masks in zip(*things, strict=True)
    ]
    taken = [np.flatnonzero(image) for image in labels]
    tree = KDTree(np.concatenate([view.in_robot(chosen) for view, chosen in zip(seen, taken, strict=True)]))
    owner = np.concatenate([image.reshape(-1)[chosen] for image, chosen in zip(labels, taken, strict=True)])
    for view, image in zip(seen, labels, strict=True):
        strays = np.flatnonzero(view.free & (image == 0) & (_over_support(view, supports) > 1.0))
        distance, nearest = tree.query(view.in_robot(strays), distance_upper_bound=STRAY)
        near = np.isfinite(distance)
        image.reshape(-1)[strays[near]] = owner[nearest[near]]
    return [[image == k + 1 for image in labels] for k in range(len(things))]


def _around(mask: Mask) -> tuple[slice, slice]:
    """The rectangle around what is True and what may grow there."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return slice(0), slice(0)
    return (
        slice(max(rows[0] - GROWTH, 0), rows[-1] + GROWTH + 1),
        slice(max(columns[0] - GROWTH, 0), columns[-1] + GROWTH + 1),
    )


def _distance_to_robot(scene: Scene, seen: Sequence[Seen], pixels: Sequence[Mask]) -> float:
    """Between the middle of a thing and the nearest link [m]."""
    middle = np.concatenate(
        [view.in_robot(np.flatnonzero(mask)) for view, mask in zip(seen, pixels, strict=True)]
    ).mean(axis=0)
    links = np.stack([pose[:3, 3] for pose in scene.link_poses.values()])
    return float(np.linalg.norm(links - middle, axis=1).min())


def _thing(
    scene: Scene, seen: Sequence[Seen], supports: Sequence[Support], pixels: Sequence[Mask], *, label: int, held: bool
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
