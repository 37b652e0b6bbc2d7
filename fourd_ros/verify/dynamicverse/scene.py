"""The exact scene: that it means what we think it means."""

import re

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import EXACT, SYSTEM, Computed, compare_all
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

_PIXEL = Tolerance(atol=1e-3)
_LABELS = Tolerance(outlier_share=1e-3)
_PLACE = Tolerance(atol=1e-5)
_NOISE = Tolerance(rtol=0.1)
_SEEN = Tolerance(outlier_share=0.05)
_FOCAL_ERROR = 1.1
_TRACK_NOISE = 0.3
_DEPTH_NOISE = Tolerance(atol=0.03)
_DEPTH_DEVIATION = float(np.sqrt(0.05**2 + 0.05**2 + 0.01**2))
_SURFACE, _SAME_DEPTH = 1e-3, 0.02


@check(SYSTEM, "scene.npz")
def truth(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Tracks, labels and flow, from poses, depth and points by our own projection; noise by its size."""
    scene = _Scene(vectors)
    noise = vectors["tracks_noisy"].astype(np.float64) - vectors["tracks"]
    compare("tracks_noisy", noise.std(), expected=_TRACK_NOISE, tolerance=_NOISE)
    ratio = np.log(vectors["depth_noisy"] / vectors["depth"])
    compare("depth_noisy", ratio.std(), expected=_DEPTH_DEVIATION, tolerance=_DEPTH_NOISE)
    focal = np.array([[_FOCAL_ERROR, 1, 1], [1, _FOCAL_ERROR, 1], [1, 1, 1]])
    computed: Computed = {
        "K_bad": (vectors["K"] * focal, Tolerance(rtol=1e-6)),
        "tracks": (scene.tracks(), _PIXEL),
        "points_world": (scene.rigid_points(), _PLACE),
        "track_label": (scene.on_object(scene.points[0], 0), EXACT),
        "vis": (scene.visible(), _SEEN),
        "label": (np.stack([scene.on_object(places, frame) for frame, places in enumerate(scene.places)]), _LABELS),
    }
    for name in vectors:
        if match := re.fullmatch(r"flow_(\d+)_(\d+)", name):
            computed[name] = scene.flow(int(match[1]), int(match[2])), _PIXEL
    inputs = "rgb depth c2w obj2w K obj_half init_frames tracks_noisy depth_noisy"
    compare_all(vectors, compare, computed, inputs=inputs)


class _Scene:
    """Camera, poses and places of one moving box in a room that stands still."""

    def __init__(self, vectors: Tensors) -> None:
        self.vectors = vectors
        height, width = vectors["depth"].shape[1:]
        self.camera = PinholeCamera(width=width, height=height, K=vectors["K"])
        self.T_camera_world, self.T_world_object = invert(vectors["c2w"]), vectors["obj2w"]
        self.T_object_world = invert(self.T_world_object)
        self.points = vectors["points_world"].astype(np.float64)
        seen = points_from_depth(vectors["depth"], self.camera).astype(np.float64)
        moved = apply(vectors["c2w"], seen.reshape(len(seen), -1, 3))
        self.places = moved.reshape(seen.shape)

    def tracks(self) -> NDArray[np.floating]:
        """Pixels of all points, shape [F, N, 2]."""
        return self.camera.project(apply(self.T_camera_world, self.points))

    def visible(self) -> NDArray[np.bool_]:
        """Whether the depth image shows the points, shape [F, N]; by the nearest pixel, so rarely wrong at edges."""
        seen = apply(self.T_camera_world, self.points)
        pixels, distance = self.camera.project(seen), seen[..., 2]
        size = np.array([self.camera.width, self.camera.height])
        inside = ((pixels >= 0) & (pixels <= size - 1)).all(axis=-1)
        column, row = np.moveaxis(np.clip(np.nan_to_num(np.rint(pixels)), 0, size - 1).astype(np.int64), -1, 0)
        depth = self.vectors["depth"][np.arange(len(seen))[:, None], row, column]
        return np.asarray(inside & (np.abs(distance / depth - 1) < _SAME_DEPTH))

    def rigid_points(self) -> NDArray[np.floating]:
        """The points of the first frame, moved with the object or not at all, shape [F, N, 3]."""
        start = np.broadcast_to(self.points[0], self.points.shape)
        moved = apply(self.T_world_object @ self.T_object_world[0], start)
        return np.where((self.vectors["track_label"] == 1)[:, None], moved, start)

    def on_object(self, places: NDArray[np.floating], frame: int) -> NDArray[np.bool_]:
        """Whether places lie on the surface of the box, shape [*]."""
        own = apply(self.T_object_world[frame], places)
        return np.asarray((np.abs(own) / self.vectors["obj_half"]).max(axis=-1) < 1 + _SURFACE)

    def flow(self, start: int, end: int) -> NDArray[np.floating]:
        """Where the surface of each pixel goes [px], shape [H, W, 2]."""
        T = self.T_world_object[end] @ self.T_object_world[start]
        moves = (self.vectors["label"][start] == 1)[..., None]
        moved = np.where(moves, apply(T, self.places[start]), self.places[start])
        column, row = np.meshgrid(np.arange(self.camera.width), np.arange(self.camera.height))
        pixels = self.camera.project(apply(self.T_camera_world[end], moved))
        return np.asarray(pixels - np.stack([column, row], axis=-1))
