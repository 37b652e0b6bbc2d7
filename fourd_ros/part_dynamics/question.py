"""From what cameras see and drags in space to the motion of a part in the same frame."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from fourd_ros.data.partdrag4d_cameras import TARGET, TRUE_FOV, FloatArray, from_world, normalise_poses
from fourd_ros.data.partdrag4d_images import on_white, windowed
from fourd_ros.errors import NoObservation
from fourd_ros.geometry.transforms import apply, invert, look_at
from fourd_ros.part_dynamics.drags import SpaceDrags, in_views
from fourd_ros.part_dynamics.model import PartDynamics, PartMotion, motion_between
from fourd_ros.part_dynamics.object_frame import ObjectFrame
from fourd_ros.part_dynamics.object_scan import ObjectScan, ScanOptions, scan_object
from fourd_ros.part_dynamics.pulled_part import as_pulled
from fourd_ros.part_dynamics.splat_camera import square_pinhole
from fourd_ros.part_dynamics.standard_views import SeenPoints, draw_standard_views, standard_cameras
from fourd_ros.records import View

Floats = NDArray[np.float32]
ViewSource = Literal["drawn", "cameras"]
FINER = 2
"""Whole pictures are made with so many times the pixels that the network sees of its window."""

Checkpoint = Callable[[float], object]
"""Takes the share that is done; what it raises ends the work."""


@dataclass(frozen=True, kw_only=True)
class QuestionOptions:
    """How a question is put to the network.

    Args:
        views: ``drawn``: the standard views are drawn from the points that all cameras see (one with depth is enough);
            ``cameras``: the pictures of the first four cameras, turned so that they look where the standard ones do.
        scan: where the object ends.
        steps: of the motion; the last is the whole of it.
        seed: of the points that a drag is propagated to.
        rigid: the part is one piece and goes as far as the drags say (see `as_pulled`); else as the network says.
    """

    views: ViewSource = "drawn"
    scan: ScanOptions = field(default_factory=ScanOptions)
    steps: int = 1
    seed: int = 0
    rigid: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkViews:
    """What the network sees.

    Args:
        images: on white, 0..1, shape [V, 3, S, S].
        raw: raw poses of the cameras, shape [V, 4, 4].
        drawn: the pictures are reprojections of what other cameras saw.
    """

    images: Floats
    raw: FloatArray
    drawn: bool


class PartQuestion:
    """One object and its drags; answered step by step.

    Args:
        model: that answers.
        views: what the cameras saw, by name, in the frame of the drags, whose z axis points up.
        drags: at the object.
        options: how it is put.

    Raises:
        InvalidDrag: a drag is off the object, behind the camera or outside of the first view.
        NoObservation: too few cameras, or no depth where it is needed.
    """

    def __init__(
        self,
        model: PartDynamics,
        views: Mapping[str, View],
        drags: SpaceDrags,
        *,
        options: QuestionOptions = QuestionOptions(),
    ) -> None:
        self._model, self._options = model, options
        with_depth = [view for view in views.values() if np.isfinite(view.points).any()]
        self.scan = scan_object(with_depth, drags.start, options.scan) if with_depth else None
        self.frame = self._placed(views)
        self.views = self._seen(views)
        self.drags = self._spread(drags)
        self._start, _ = self.pixels(1.0)

    def answer(self, checkpoint: Checkpoint = lambda _: None) -> Iterator[PartMotion]:
        """The motion after every step, in the frame of the views.

        Args:
            checkpoint: called before every pass of the network.
        """
        steps = self._options.steps
        poses, raw_first = normalise_poses(self.views.raw), self.views.raw[0]
        to_fixed = self.frame.network_to_fixed(raw_first)
        checkpoint(0.0)
        before = self._model.gaussians(self.views.images, poses, self._start, self._start)
        for step in range(1, steps + 1):
            checkpoint(step / (steps + 1))
            _, end = self.pixels(step / steps)
            after = self._model.gaussians(self.views.images, poses, self._start, end)
            motion = motion_between(before, after).carried(to_fixed)
            yield as_pulled(motion, self.drags.part(step / steps)) if self._options.rigid else motion

    def _placed(self, views: Mapping[str, View]) -> ObjectFrame:
        if self.scan is not None:
            return ObjectFrame.around(self.scan.points, self.scan.eye)
        region = self._options.scan.region
        if not region:
            raise NoObservation("no camera has depth; needed is one that has, or the region that the object fills")
        return ObjectFrame.of_region(region, next(iter(views.values())).T_world_camera[:3, 3])

    def _seen(self, views: Mapping[str, View]) -> NetworkViews:
        sizes = self._model.network.settings
        if self._options.views == "drawn":
            if self.scan is None:
                raise NoObservation("no camera has depth, so no views can be drawn; set views to 'cameras'")
            rgba = draw_standard_views(_points_of(self.scan, self.frame), size=FINER * sizes.input_size)
            images = windowed(on_white(rgba)[:, :3], sizes.window, sizes.input_size)
            return NetworkViews(images=images, raw=standard_cameras()[: sizes.views], drawn=True)
        chosen = list(views.values())[: sizes.views]
        if len(chosen) < sizes.views:
            raise NoObservation(f"{len(chosen)} cameras; the network needs {sizes.views}, or draw the views from depth")
        target = self.frame.from_object(from_world(np.array(TARGET)))
        turned = [look_at(view.T_world_camera[:3, 3], target) for view in chosen]
        pictures = [
            _turned_picture(view, pose, self._mask(view), size=FINER * sizes.input_size)
            for view, pose in zip(chosen, turned, strict=True)
        ]
        return NetworkViews(
            images=windowed(np.stack(pictures), sizes.window, sizes.input_size),
            raw=np.stack([self.frame.raw_pose(pose) for pose in turned]),
            drawn=False,
        )

    def _mask(self, view: View) -> NDArray[np.bool_]:
        """Pixels of the object; all where nobody knows, whose background has to be white then; shape [H, W]."""
        if self.scan is None or not np.isfinite(view.points).any():
            return np.ones(view.rgb.shape[:2], bool)
        low, high = self.scan.points.min(axis=0) - 1e-6, self.scan.points.max(axis=0) + 1e-6
        points = apply(view.T_world_camera, view.points.astype(np.float64))
        return np.asarray(((points >= low) & (points <= high)).all(axis=-1))

    def _spread(self, drags: SpaceDrags) -> SpaceDrags:
        """As many drags as the network was trained with."""
        surface = np.zeros((0, 3)) if self.scan is None else self.scan.points
        rng = np.random.default_rng(self._options.seed)
        return drags.spread(surface, rng, count=self._model.network.settings.num_drags)

    def pixels(self, share: float) -> tuple[Floats, Floats]:
        """Where drags begin and end in every view after a share of their way, shape [V, N, 2]; see `in_views`."""
        part = self.drags.part(share)
        start, end = (self.frame.to_object(points) for points in (part.start, part.start + part.displacement))
        return in_views(start, end, self.views.raw)


def _points_of(scan: ObjectScan, frame: ObjectFrame) -> SeenPoints:
    return SeenPoints(
        positions=frame.to_object(scan.points),
        rgb=scan.rgb.astype(np.float32) / np.float32(255),
        pitch=scan.pitch / frame.scale,
    )


def _turned_picture(view: View, pose: FloatArray, mask: NDArray[np.bool_], *, size: int) -> Floats:
    """What a square camera at the same place would see, on white, shape [3, size, size]."""
    camera = square_pinhole(fovy=TRUE_FOV, size=size)
    rays = camera.rays().astype(np.float64) @ (invert(view.T_world_camera) @ pose)[:3, :3].T
    pixels = view.camera.project(rays)
    places = np.nan_to_num(np.moveaxis(pixels[..., ::-1], -1, 0), nan=-10.0)
    shown = np.where(mask[..., None], view.rgb, 255).astype(np.float32) / 255
    return np.stack(
        [ndimage.map_coordinates(shown[..., channel], places, order=1, cval=1.0) for channel in range(3)]
    ).astype(np.float32)
