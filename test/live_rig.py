"""A stream of an exact scene with a box that moves, for what reconstructs it live."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np
from moving_scene import SceneOptions, moving_scene
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, invert

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
PERIOD_NS = NS // 30
NAMES = ("striped crate", "wild carton", "last parcel")
"""Of the moving boxes, in their order."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Frames and their truth.

    Args:
        camera: of all frames.
        rgb: colour, shape [F, H, W, 3].
        depth: z-depth [m], shape [F, H, W].
        masks: number of the moving box, from 1, 0 for none, shape [F, H, W].
        T_world_camera: in the first camera's axes, shape [F, 4, 4].
        T_world_object: of the first moving box, shape [F, 4, 4].
    """

    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    masks: NDArray[np.uint8]
    T_world_camera: NDArray[np.float64]
    T_world_object: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rgb)

    def things(self, picture: NDArray[np.uint8]) -> dict[str, tuple[float, float]]:
        """Where the moving boxes are in a picture of the stream, also a marked one, as shares of its sides."""
        picture = cv2.resize(picture, self.rgb.shape[2:0:-1], interpolation=cv2.INTER_AREA)
        thin = self.rgb[:, ::4, ::4].astype(np.int16) - picture[::4, ::4]
        frame = int(np.median(np.abs(thin), axis=(1, 2)).mean(axis=-1).argmin())
        places = {name: np.argwhere(self.masks[frame] == k) for k, name in enumerate(NAMES, start=1)}
        return {
            name: (at[:, 1].mean() / self.camera.width, at[:, 0].mean() / self.camera.height)
            for name, at in places.items()
            if len(at)
        }

    def name_of(self, frame: int, place: NDArray[np.floating[Any]]) -> str:
        """The moving box that a frame shows at a place of the world [3], empty for none."""
        x, y = np.rint(self.camera.project(apply(invert(self.T_world_camera[frame]), place))).astype(int)
        return ("", *NAMES)[self.masks[frame, y, x]]

    def stamp(self, frame: int) -> int:
        """When a frame was taken [ns]."""
        return START_NS + frame * PERIOD_NS

    def strayed(self, frame: int, T_found: Any, T_first_found: Any, first: int) -> float:
        """How far the origin of a found object is from where the box would have taken it since `first` [m]."""
        moved = self.T_world_object[frame] @ invert(self.T_world_object[first]) @ T_first_found
        return float(np.linalg.norm(moved[:3, 3] - T_found[:3, 3]))


@cache
def stream(frames: int = 45, *, moving: int = 1, seed: int = 1) -> Stream:
    """A camera on an arc around three boxes that stand and some that move."""
    options = SceneOptions(frames=frames, width=192, height=144, focal=168, tracks=10, moving=moving)
    scene: dict[str, Any] = moving_scene(seed, options)
    camera = PinholeCamera(width=options.width, height=options.height, K=scene["K"])
    return Stream(
        camera=camera,
        rgb=scene["rgb"],
        depth=scene["depth"],
        masks=scene["label"],
        T_world_camera=scene["c2w"],
        T_world_object=scene["obj2w"][0],
    )
