"""Exact scenes with moving boxes, ray-cast: what ``scene.npz`` of DynamicVerse's vectors holds, from any seed."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import apply, from_parts, invert, look_at, rotation_about

FloatArray = NDArray[np.float64]
ROOM = np.array([3.0, 2.0, 4.0])
SAME_SURFACE = 0.01
"""A point is seen if the ray through its pixel meets a surface this near to it [m]."""


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """What a scene is drawn from.

    Args:
        frames: of the clip.
        width: of a frame [px].
        height: of a frame [px].
        focal: fx = fy [px].
        tracks: of the clip.
        still: boxes that stand.
        moving: boxes that move, each its own way.
        camera: how the camera goes: ``arc``, ``forward``, ``sideways`` or ``wander``.
        outliers: share of tracks that jump about.
        dropped: share of visible entries that are lost.
    """

    frames: int = 24
    width: int = 160
    height: int = 120
    focal: float = 140.0
    tracks: int = 900
    still: int = 3
    moving: int = 1
    camera: str = "arc"
    outliers: float = 0.0
    dropped: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Box:
    """Half its size [m], and its pose in every frame."""

    half: FloatArray
    T_world_box: FloatArray = field(repr=False)


def moving_scene(seed: int, options: SceneOptions | None = None) -> dict[str, NDArray[np.generic]]:
    """All arrays of ``scene.npz`` that a solver reads, and ``object`` [N], 0 for static tracks.

    Frames are shaded by a pattern that sticks to the surfaces, so that trackers find something.
    """
    options = options or SceneOptions()
    rng = np.random.default_rng(seed)
    path = _camera_path(rng, options)
    boxes = _boxes(rng, options)
    K = np.array([[options.focal, 0, (options.width - 1) / 2], [0, options.focal, (options.height - 1) / 2], [0, 0, 1]])
    grid = np.stack(np.meshgrid(np.arange(options.width), np.arange(options.height)), -1).reshape(-1, 2).astype(float)
    views = [_look(frame, grid, K, path, boxes, options) for frame in range(options.frames)]
    size = (options.frames, options.height, options.width)
    depth = np.stack([view.depth for view in views]).reshape(size)
    of_box = np.stack([view.box for view in views]).reshape(size)
    tracks, vis, born, object_of, places = _follow(rng, K, path, boxes, options)
    noisy = tracks + rng.normal(0, 0.3, tracks.shape)
    _spoil(rng, noisy, vis, options)
    return {
        "rgb": np.stack([view.rgb for view in views]).reshape(*size, 3),
        "depth": depth.astype(np.float32),
        "label": of_box.astype(np.uint8),
        "c2w": path,
        "obj2w": np.stack([box.T_world_box for box in boxes[options.still :]]) if options.moving else np.zeros((0,)),
        "K": K,
        "K_bad": K * np.array([[1.1], [1.1], [1]])
        + np.array([[0, 0, -0.1 * K[0, 2]], [0, 0, -0.1 * K[1, 2]], [0, 0, 0]]),
        "tracks": tracks,
        "vis": vis,
        "init_frames": born,
        "points_world": places,
        "object": object_of,
        "track_label": (object_of > 0).astype(np.int8),
        "tracks_noisy": noisy,
        "depth_noisy": _with_noise(rng, depth).astype(np.float32),
    }


def save_scene(scene: dict[str, NDArray[np.generic]], path: Path) -> None:
    """As ``scene.npz`` has it."""
    np.savez_compressed(path, **scene)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class _Look:
    depth: FloatArray
    box: NDArray[np.int64]
    place: FloatArray
    rgb: NDArray[np.uint8]


def _camera_path(rng: np.random.Generator, options: SceneOptions) -> FloatArray:
    share = np.linspace(-0.5, 0.5, options.frames)[:, None]
    sway = 0.04 * np.sin(share * rng.uniform(6, 12, 3) + rng.uniform(0, 6, 3))
    eyes = {
        "arc": np.concatenate([1.7 * np.sin(share), 0.15 * share, -2.6 + 0.5 * share**2], 1),
        "forward": np.concatenate([0.2 * share, 0.1 * share, -2.4 + 1.4 * share], 1),
        "sideways": np.concatenate([1.8 * share, 0 * share, -2.5 + 0 * share], 1),
        "wander": np.concatenate([0.6 * np.sin(5 * share), 0.4 * np.cos(4 * share), -2.5 + 0.8 * share], 1),
    }[options.camera] + sway
    target = np.array([0, 0.3, 1.5]) + rng.uniform(-0.3, 0.3, 3)
    path = np.stack([look_at(eye, target, up=(0, -1, 0)) for eye in eyes])
    return invert(path[0]) @ path


def _boxes(rng: np.random.Generator, options: SceneOptions) -> list[Box]:
    """Standing ones first. The world is the first camera's frame, where the room is around z = 2.6."""
    found = []
    share = np.linspace(0, 1, options.frames)
    places = rng.permutation(options.still + options.moving)
    for number in range(options.still + options.moving):
        column = (places[number] + 0.5) / len(places) - 0.5
        begin = np.array([3.2 * column, rng.uniform(-0.3, 0.8), rng.uniform(2.6, 4.2)])
        axis = rng.normal(size=3)
        turn = rotation_about(axis / np.linalg.norm(axis), rng.uniform(0, 3))
        T = np.tile(from_parts(turn, begin), (options.frames, 1, 1))
        if number >= options.still:
            way = rng.normal(size=3) * [1, 0.6, 0.6]
            way *= rng.uniform(0.7, 1.4) / np.linalg.norm(way)
            T[:, :3, 3] += (share**1.2)[:, None] * way
            T[:, :3, :3] = rotation_about((0, 1, 0), share * rng.uniform(-1.2, 1.2)) @ T[:, :3, :3]
        found.append(Box(half=rng.uniform(0.22, 0.42, 3), T_world_box=T))
    return found


def _look(
    frame: int, pixels: FloatArray, K: FloatArray, path: FloatArray, boxes: list[Box], options: SceneOptions
) -> _Look:
    """What the rays through `pixels` [n, 2] meet; `box` counts moving boxes from 1."""
    rays = np.concatenate([(pixels - K[:2, 2]) / K[0, 0], np.ones((len(pixels), 1))], axis=1)
    room = from_parts(np.eye(3), (0, 0, 2.6))
    depth, local, _ = _meet(rays, path[frame], room, ROOM, inside=True)
    owner, place, box_of = np.full(len(pixels), -1), local, np.zeros(len(pixels), np.int64)
    for number, box in enumerate(boxes):
        z, at, hit = _meet(rays, path[frame], box.T_world_box[frame], box.half, inside=False)
        nearer = hit & (z < depth)
        depth, owner = np.where(nearer, z, depth), np.where(nearer, number, owner)
        place = np.where(nearer[:, None], at, place)
        box_of = np.where(nearer, max(0, number - options.still + 1), box_of)
    return _Look(depth=depth, box=box_of, place=place, rgb=_pattern(place, owner))


def _meet(
    rays: FloatArray, T_world_camera: FloatArray, T_world_box: FloatArray, half: FloatArray, *, inside: bool
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """z-depth, place in the box's axes, and whether it is met at all (slabs; Kay and Kajiya 1986)."""
    T = invert(T_world_box) @ T_world_camera
    start, way = T[:3, 3], rays @ T[:3, :3].T
    with np.errstate(divide="ignore", invalid="ignore"):
        first, second = (-half - start) / way, (half - start) / way
    near, far = np.minimum(first, second).max(axis=1), np.maximum(first, second).min(axis=1)
    hit = (far > np.maximum(near, 1e-6)) & (near > 1e-6)
    z = far if inside else np.where(hit, near, np.inf)
    return z, start + np.where(np.isfinite(z), z, 0)[:, None] * way, hit


def _pattern(place: FloatArray, owner: NDArray[np.int64]) -> NDArray[np.uint8]:
    shade = np.zeros(len(place))
    for wave, turn in enumerate(np.random.default_rng(5).normal(size=(10, 3, 3))):
        shade += np.sin((3 + 1.7 * wave) * (place @ turn)[:, 0] + owner * 2.0 + wave) / (1 + 0.12 * wave)
    tint = np.array([[0.9, 0.8, 0.7], [0.7, 0.9, 0.8], [0.8, 0.7, 0.9], [0.9, 0.9, 0.6], [0.6, 0.8, 0.9]])[owner % 5]
    return (np.clip(128 + 28 * shade, 0, 255)[:, None] * tint).astype(np.uint8)


def _follow(
    rng: np.random.Generator, K: FloatArray, path: FloatArray, boxes: list[Box], options: SceneOptions
) -> tuple[FloatArray, NDArray[np.bool_], NDArray[np.int32], NDArray[np.int64], FloatArray]:
    """Tracks [F, N, 2], visibility, birth, box (0 static, else from 1) and places in the world [F, N, 3]."""
    starts = np.unique(np.linspace(0, options.frames - 1, 5).astype(int))
    born = np.sort(rng.choice(starts, options.tracks)).astype(np.int32)
    size = np.array([options.width - 1, options.height - 1])
    pixels = rng.uniform(0, 1, (options.tracks, 2)) * size
    local, box_of = np.zeros((options.tracks, 3)), np.zeros(options.tracks, np.int64)
    for start in starts:
        mine = born == start
        view = _look(int(start), pixels[mine], K, path, boxes, options)
        rays = np.concatenate([(pixels[mine] - K[:2, 2]) / K[0, 0], np.ones((mine.sum(), 1))], axis=1)
        local[mine] = apply(path[start], rays * view.depth[:, None])
        box_of[mine] = view.box
    for number, box in enumerate(boxes[options.still :], start=1):
        for start in starts:
            mine = (box_of == number) & (born == start)
            local[mine] = apply(invert(box.T_world_box[start]), local[mine])
    places = np.repeat(local[None], options.frames, axis=0)
    for number, box in enumerate(boxes[options.still :], start=1):
        places[:, box_of == number] = apply(box.T_world_box, places[:, box_of == number])
    in_camera = apply(invert(path), places)
    z = in_camera[..., 2]
    tracks = in_camera[..., :2] / z[..., None] * K[0, 0] + K[:2, 2]
    vis = (z > 0.05) & (tracks >= 0).all(axis=-1) & (tracks <= size).all(axis=-1)
    for frame in range(options.frames):
        seen = np.flatnonzero(vis[frame])
        met = _look(frame, tracks[frame, seen], K, path, boxes, options).depth
        vis[frame, seen] = np.abs(met - z[frame, seen]) < SAME_SURFACE
    return tracks, vis, born, box_of, places


def _spoil(rng: np.random.Generator, tracks: FloatArray, vis: NDArray[np.bool_], options: SceneOptions) -> None:
    """Tracks that jump about, and entries that are lost, in place."""
    wrong = rng.random(options.tracks) < options.outliers
    walk = np.cumsum(rng.normal(0, 3.0, (options.frames, int(wrong.sum()), 2)), axis=0)
    tracks[:, wrong] += walk
    inside = ((tracks >= 0) & (tracks <= [options.width - 1, options.height - 1])).all(axis=-1)
    vis &= inside & (rng.random(vis.shape) >= options.dropped)


def _with_noise(rng: np.random.Generator, depth: FloatArray) -> FloatArray:
    """A factor by frame, a smooth field and white noise: 5 %, 5 % and 1 %."""
    frames, height, width = depth.shape
    coarse = rng.normal(0, 0.05, (frames, 4, 5))
    rows, columns = np.linspace(0, 3, height), np.linspace(0, 4, width)
    field = np.stack([_bilinear(grid, rows, columns) for grid in coarse])
    by_frame = rng.normal(0, 0.05, (frames, 1, 1))
    return depth * np.exp(by_frame + field + rng.normal(0, 0.01, depth.shape))


def _bilinear(grid: FloatArray, rows: FloatArray, columns: FloatArray) -> FloatArray:
    along = np.stack([np.interp(columns, np.arange(grid.shape[1]), row) for row in grid])
    return np.stack([np.interp(rows, np.arange(grid.shape[0]), column) for column in along.T], axis=1)
