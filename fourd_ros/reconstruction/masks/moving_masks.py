"""Masks of objects that move, from dense flow that a world at rest would not have."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import invert
from fourd_ros.reconstruction.tracking.flow import Flow
from fourd_ros.reconstruction.tracking.residual_flow import confirmed, moving_regions, static_flow

__all__ = ["MovingMaskOptions", "masks_of_motion"]

LIKE = 4.0
"""Pictures that differ by no more than this agree [of 255]."""

LESS_LIKE = 1.5
"""A world at rest explains a pixel unless motion explains it this many times better."""

Progress = Callable[[float], None]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class MovingMaskOptions:
    """What is an object.

    Args:
        gaps: frames between the pictures that are compared; with larger ones slow objects are seen to move. One above 1
            is left out where the picture moves by more than ``longest``.
        longest: way of a tenth of the pixels, in longer sides of the image, above which flow is not to be trusted.
        threshold: more than this is motion [px],
        share: and more than this share of the flow that a world at rest would have,
        share_of_line: or of that along the epipolar line, where there is no depth.
        least_share: of the image; smaller regions are left out.
        least_frames: objects that move in fewer frames are left out.
        patience: frames for which an object may stand still before it is lost.
        max_objects: those with the most pixels are kept.

    Raises:
        InvalidParameter: no gap, or a number that is not positive.
    """

    gaps: tuple[int, ...] = (1, 4)
    longest: float = 0.06
    threshold: float = 1.2
    share: float = 0.15
    share_of_line: float = 0.05
    least_share: float = 0.002
    least_frames: int = 3
    patience: int = 8
    max_objects: int = 24

    def __post_init__(self) -> None:
        if not self.gaps or min(self.gaps) < 1 or self.threshold <= 0 or not 0 < self.least_share < 1:
            raise InvalidParameter(f"masks of what moves: {self}; gaps start at 1, thresholds must be positive")


def masks_of_motion(
    rgb: NDArray[np.uint8],
    depth: NDArray[np.floating] | None,
    camera: PinholeCamera,
    T_world_camera: NDArray[np.float64],
    *,
    flow: Flow,
    options: MovingMaskOptions | None = None,
    progress: Progress | None = None,
) -> NDArray[np.int32]:
    """Which moving object a pixel shows, 0 none, shape [F, H, W].

    Args:
        rgb: shape [F, H, W, 3].
        depth: z-depth in the unit of the path, NaN where unknown, shape [F, H, W]; without it flow is motion as far as
            it leads away from the epipolar line, so what moves along that line is not seen to move.
        camera: of all frames, without distortion.
        T_world_camera: shape [F, 4, 4].
        flow: from one frame to another.
        options: what is an object.
        progress: told the share that is done.
    """
    options = options or MovingMaskOptions()
    scene = _Scene(rgb, depth, camera, T_world_camera, flow)
    objects = _Objects(options, rgb.shape[:3])
    for frame in range(len(rgb)):
        moving = scene.moving(frame, options)
        objects.add(frame, moving, scene.step_from_former(frame))
        if progress is not None:
            progress((frame + 1) / len(rgb))
    return objects.masks()


class _Scene:
    def __init__(
        self,
        rgb: NDArray[np.uint8],
        depth: NDArray[np.floating] | None,
        camera: PinholeCamera,
        T_world_camera: NDArray[np.float64],
        flow: Flow,
    ) -> None:
        self._rgb, self._depth, self._camera, self._path, self._flow = rgb, depth, camera, T_world_camera, flow
        self._steps: dict[int, NDArray[np.float32]] = {}

    def moving(self, frame: int, options: MovingMaskOptions) -> NDArray[np.int32]:
        """Regions of a frame that move against one of the compared frames, shape [H, W]."""
        strong, weak = (np.zeros(self._rgb.shape[1:3], bool) for _ in range(2))
        for gap in options.gaps:
            other = frame + gap if frame + gap < len(self._rgb) else frame - gap
            if other >= 0:
                excess = self._excess(frame, other, options)
                with np.errstate(invalid="ignore"):
                    strong |= excess > 1
                    weak |= excess > 0.5
        least = max(1, int(options.least_share * strong.size))
        seeds = moving_regions(strong.astype(np.float32), threshold=0.5, radius=1, min_pixels=least) > 0
        grown = _grown(seeds, weak if self._depth is None else weak & ~_depth_edges(self._depth[frame]))
        return moving_regions(grown.astype(np.float32), threshold=0.5, radius=1, min_pixels=least)

    def step_from_former(self, frame: int) -> NDArray[np.float32] | None:
        """Flow of a frame back to the one before, shape [H, W, 2]; None for the first one."""
        return self._steps.pop(frame, None) if frame else None

    def _excess(self, frame: int, other: int, options: MovingMaskOptions) -> NDArray[np.float64]:
        """Residual flow over what is allowed, NaN where unknown, shape [H, W]."""
        forward = self._flow(self._rgb[frame], self._rgb[other])
        if abs(other - frame) > 1 and _far(forward) > options.longest * max(self._rgb.shape[1:3]):
            return np.zeros(self._rgb.shape[1:3])
        backward = self._flow(self._rgb[other], self._rgb[frame])
        if other == frame + 1:
            self._steps[other] = backward
        known = confirmed(forward, backward)
        T_other_frame = invert(self._path[other]) @ self._path[frame]
        if self._depth is None:
            still = _along_epipolar_line(forward, self._camera, T_other_frame)
        else:
            still = static_flow(self._depth[frame], self._camera, T_other_frame)
        share = options.share_of_line if self._depth is None else options.share
        allowed = options.threshold + share * np.linalg.norm(still, axis=-1)
        excess = np.linalg.norm(known - still, axis=-1) / allowed
        as_still, as_moving = (_unlikeness(self._rgb[frame], self._rgb[other], way) for way in (still, forward))
        with np.errstate(invalid="ignore"):
            explained = as_still < np.maximum(LIKE, as_moving * LESS_LIKE)
        return np.where(explained, 0.0, excess)


class _Objects:
    """Regions of frame after frame, numbered so that what overlaps what came before keeps its number."""

    def __init__(self, options: MovingMaskOptions, size: tuple[int, ...]) -> None:
        self._options = options
        self._masks = np.zeros(size, np.int32)
        self._now = np.zeros(size[1:], np.int32)
        self._moved: dict[int, list[int]] = {}

    def add(self, frame: int, regions: NDArray[np.int32], step: NDArray[np.float32] | None) -> None:
        """Number the regions of the next frame.

        Args:
            frame: its index.
            regions: numbers within the frame, shape [H, W].
            step: flow back to the frame before, shape [H, W, 2].
        """
        carried = np.zeros_like(self._now) if step is None else _carried(self._now, step)
        for number in np.unique(carried[carried > 0]):
            if frame - self._moved[int(number)][-1] > self._options.patience:
                carried[carried == number] = 0
        numbered = np.zeros_like(carried)
        taken: set[int] = set()
        for region in range(1, int(regions.max(initial=0)) + 1):
            mask = regions == region
            number = self._number(carried[mask])
            numbered[mask] = number
            taken.add(number)
            self._moved.setdefault(number, []).append(frame)
        waiting = (numbered == 0) & (carried > 0) & ~np.isin(carried, list(taken))
        numbered[waiting] = carried[waiting]
        self._now = numbered
        self._masks[frame] = numbered

    def masks(self) -> NDArray[np.int32]:
        """All frames, with the objects numbered from 1 by their size; after its last motion an object is gone."""
        sizes = {}
        for number, frames in self._moved.items():
            if len(set(frames)) >= self._options.least_frames:
                self._masks[frames[-1] + 1 :][self._masks[frames[-1] + 1 :] == number] = 0
                sizes[number] = int((self._masks == number).sum())
        order = sorted(sizes, key=lambda number: -sizes[number])[: self._options.max_objects]
        table = np.zeros(max(self._moved, default=0) + 1, np.int32)
        for new, old in enumerate(order, start=1):
            table[old] = new
        return table[self._masks]

    def _number(self, carried: NDArray[np.int32]) -> int:
        """The object that covers most of a region in what came before, else a new one."""
        counts = np.bincount(carried)
        counts[0] = 0
        if counts.max() >= 0.2 * len(carried):
            return int(counts.argmax())
        return max(self._moved, default=0) + 1


def _along_epipolar_line(
    flow: NDArray[np.floating], camera: PinholeCamera, T_second_first: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The nearest flow that a point at rest could have at some distance, shape [H, W, 2].

    Source: Hartley and Zisserman, Multiple View Geometry, 9.2.
    """
    R, (tx, ty, tz) = T_second_first[:3, :3], T_second_first[:3, 3]
    inverse = np.linalg.inv(camera.K)
    y, x = np.mgrid[: camera.height, : camera.width].astype(np.float64)
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    there = np.concatenate([pixels[..., :2] + flow, np.ones((*x.shape, 1))], axis=-1)
    if np.hypot(np.hypot(tx, ty), tz) < 1e-9:
        turned = pixels @ (camera.K @ R @ inverse).T
        return np.asarray(turned[..., :2] / turned[..., 2:] - pixels[..., :2])
    cross = np.array([[0, -tz, ty], [tz, 0, -tx], [-ty, tx, 0]])
    lines = pixels @ (inverse.T @ cross @ R @ inverse).T
    normal = lines[..., :2] / np.maximum((lines[..., :2] ** 2).sum(axis=-1, keepdims=True), 1e-18)
    away = (lines * there).sum(axis=-1, keepdims=True) * normal
    return np.asarray(flow - away)


def _far(flow: NDArray[np.float32]) -> float:
    """Way of the tenth of the pixels that move most [px]."""
    return float(np.percentile(np.linalg.norm(flow[::4, ::4], axis=-1), 90))


def _unlikeness(first: NDArray[np.uint8], second: NDArray[np.uint8], way: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean difference of brightness around pixels and where `way` leads them, NaN where it is unknown, shape [H, W]."""
    here, there = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) for image in (first, second))
    y, x = np.mgrid[: here.shape[0], : here.shape[1]].astype(np.float32)
    known = np.isfinite(way).all(axis=-1)
    x, y = (
        x + np.where(known, way[..., 0], 0).astype(np.float32),
        y + np.where(known, way[..., 1], 0).astype(np.float32),
    )
    moved = cv2.remap(there, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    error = np.asarray(cv2.blur(np.abs(moved - here), (5, 5)), np.float64)
    return np.where(known, error, np.nan)


def _carried(numbers: NDArray[np.int32], step: NDArray[np.float32]) -> NDArray[np.int32]:
    """Numbers of the former frame where the flow leads from there."""
    height, width = numbers.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    there = cv2.remap(
        numbers.astype(np.float32), x + step[..., 0], y + step[..., 1], cv2.INTER_NEAREST, borderValue=(0,)
    )
    return np.asarray(there).astype(np.int32)


def _grown(seeds: Mask, allowed: Mask) -> Mask:
    """Seeds with everything that is allowed and connected to them, unless that is far more than the seeds."""
    count, labels, facts, _ = cv2.connectedComponentsWithStats((seeds | allowed).astype(np.uint8), connectivity=4)
    inside = np.bincount(np.asarray(labels)[seeds], minlength=count)
    kept = inside >= 0.3 * np.asarray(facts)[:, cv2.CC_STAT_AREA]
    kept[0] = False
    return np.asarray(kept[np.asarray(labels)] | seeds)


def _depth_edges(depth: NDArray[np.floating]) -> Mask:
    """Where depth jumps by more than a twentieth from a pixel to the next."""
    with np.errstate(invalid="ignore", divide="ignore"):
        log = np.log(depth)
        steps = np.zeros(depth.shape)
        steps[:, 1:] = np.abs(np.diff(log, axis=1))
        steps[1:] = np.fmax(steps[1:], np.abs(np.diff(log, axis=0)))
        return np.asarray(steps > 0.05)
