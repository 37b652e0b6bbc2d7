"""Where the cube of the shapes stands before the camera, and how large it is.

The model says nothing of metres or of the camera: all its shapes lie in one cube [-1, 1]^3, seen along -z with y up.
Here one similarity for all of them is found, from depth within the masks, from the known size of an object and its
mask, or not at all; the result says which it was, and how far to trust it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.depth_placement import place_by_depth
from fourd_ros.compositional.placed_cube import R_CAMERA_CUBE, UNPLACED, Placement, SeenObject
from fourd_ros.compositional.size_placement import place_by_size
from fourd_ros.errors import InvalidClip
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import rotation_about

__all__ = ["R_CAMERA_CUBE", "UNPLACED", "Placement", "SeenObject", "place_cube", "rotations_around"]


def rotations_around(*, azimuths: int = 8, elevations: Sequence[float] = (0.0, 0.4, 0.8)) -> NDArray[np.float64]:
    """Turns of the cube before a camera that may look at it from any side, shape [R, 3, 3]; the first is along -z.

    Args:
        azimuths: directions around y, evenly spread.
        elevations: of the camera above the plane y = 0 [rad].
    """
    around = rotation_about([0.0, 1.0, 0.0], np.arange(azimuths) * (2 * np.pi / azimuths))
    tilts = rotation_about([1.0, 0.0, 0.0], np.asarray(elevations))
    turns: NDArray[np.float64] = R_CAMERA_CUBE @ tilts[:, None] @ around
    return turns.reshape(-1, 3, 3)


def place_cube(
    seen: Sequence[SeenObject],
    camera: PinholeCamera,
    *,
    rotations: NDArray[np.floating] | None = None,
    rng: np.random.Generator | None = None,
) -> Placement:
    """One placement of all objects: by depth where there is enough of it, else by size, else the identity.

    Objects may be of several frames as long as camera and cube stand still. What is hidden, beyond the border of the
    picture or without depth does no harm as long as it is less than about half of an object; up to a quarter of the
    depth may be wrong.

    Args:
        seen: objects in frames; those without shape or mask tell nothing.
        camera: of all masks.
        rotations: how the cube may be turned to the camera, to begin with, shape [R, 3, 3]; only along -z where none
            are given (`rotations_around` makes more). The turn is refined from the best one by depth; by size the
            first one is taken as it is.
        rng: draws points on the shapes; by default always the same ones.

    Raises:
        InvalidClip: a mask of another size than the camera's picture.
    """
    for one in seen:
        if one.mask.shape != (camera.height, camera.width):
            raise InvalidClip(
                f"a mask {list(one.mask.shape)} for a camera of {camera.height} x {camera.width} pixels; scale either"
            )
    starts = R_CAMERA_CUBE[None] if rotations is None else np.asarray(rotations, np.float64)
    telling = [one for one in seen if one.mask.any() and not one.mesh.is_empty]
    drawn = np.random.default_rng(0) if rng is None else rng
    found = place_by_depth(telling, camera, starts, drawn)
    return found or place_by_size(telling, camera, starts[0]) or UNPLACED
