"""A stream of an exact scene with a box that moves, for what reconstructs it live."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from moving_scene import SceneOptions, moving_scene
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import invert

NS = 1_000_000_000
START_NS = 1_700_000_000 * NS
PERIOD_NS = NS // 30


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Frames and their truth.

    Args:
        camera: of all frames.
        rgb: colour, shape [F, H, W, 3].
        depth: z-depth [m], shape [F, H, W].
        masks: number of the moving box, 0 for none, shape [F, H, W].
        T_world_camera: in the first camera's axes, shape [F, 4, 4].
        T_world_object: of the box, shape [F, 4, 4].
    """

    camera: PinholeCamera
    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    masks: NDArray[np.uint8]
    T_world_camera: NDArray[np.float64]
    T_world_object: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rgb)

    def stamp(self, frame: int) -> int:
        """When a frame was taken [ns]."""
        return START_NS + frame * PERIOD_NS

    def strayed(self, frame: int, T_found: Any, T_first_found: Any, first: int) -> float:
        """How far the origin of a found object is from where the box would have taken it since `first` [m]."""
        moved = self.T_world_object[frame] @ invert(self.T_world_object[first]) @ T_first_found
        return float(np.linalg.norm(moved[:3, 3] - T_found[:3, 3]))


@cache
def stream(frames: int = 45) -> Stream:
    """A camera on an arc around three boxes that stand and one that moves."""
    options = SceneOptions(frames=frames, width=192, height=144, focal=168, tracks=10)
    scene: dict[str, Any] = moving_scene(1, options)
    camera = PinholeCamera(width=options.width, height=options.height, K=scene["K"])
    return Stream(
        camera=camera,
        rgb=scene["rgb"],
        depth=scene["depth"],
        masks=scene["label"],
        T_world_camera=scene["c2w"],
        T_world_object=scene["obj2w"][0],
    )
