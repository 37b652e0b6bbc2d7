"""One object over the frames of a clip: its pose, and one shape where it is rigid.

Shapes of different frames come from the model one by one, with other triangles each.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.animated_glb import HIDDEN, MovingMesh
from fourd_ros.compositional.object_colours import object_colour
from fourd_ros.compositional.surface_mesh import SurfaceMesh, sampled
from fourd_ros.errors import InvalidMesh
from fourd_ros.geometry.transforms import invert

__all__ = ["ObjectTrack", "track_object"]

FloatArray = NDArray[np.float64]

POINTS = 1000
"""Drawn on each shape."""

RIGID = 0.02
"""Shapes that differ less from the first one, in sizes of the object, are the same one seen again."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectTrack:
    """An object over F frames.

    Args:
        number: its id.
        shapes: in the frame of the object: one where it is rigid, one for each frame that has one otherwise.
        shown: which of them each frame has, -1 where it has none, shape [F].
        T_parent_object: pose, NaN where there is no shape, shape [F, 4, 4].
        strays: how far the shape of a frame lies from the first one, at most, in sizes of the object.
    """

    number: int
    shapes: tuple[SurfaceMesh, ...]
    shown: NDArray[np.int64]
    T_parent_object: FloatArray
    strays: float

    @property
    def is_rigid(self) -> bool:
        """Whether one shape stands for all frames."""
        return len(self.shapes) <= 1

    def at(self, frame: int) -> SurfaceMesh:
        """The shape of a frame in the parent's frame; empty where there is none."""
        if self.shown[frame] == HIDDEN:
            return SurfaceMesh.empty()
        return self.shapes[int(self.shown[frame])].carried(self.T_parent_object[frame])

    def animated(self) -> MovingMesh:
        """For `write_animated_glb`."""
        return MovingMesh(
            name=f"object_{self.number:03d}",
            colour=object_colour(self.number),
            shapes=self.shapes,
            shown=self.shown,
            T_scene_object=self.T_parent_object,
        )


def track_object(number: int, meshes: Sequence[SurfaceMesh], T_parent_object: FloatArray) -> ObjectTrack:
    """The track of an object whose shape and pose every frame has, as `object_poses` finds them.

    Args:
        number: its id.
        meshes: F of them in the parent's frame; empty in frames that do not have the object, as before it appears.
        T_parent_object: its poses, shape [F, 4, 4]; of frames without a shape they are not read.

    Raises:
        InvalidMesh: not as many poses as meshes.
    """
    if T_parent_object.shape != (len(meshes), 4, 4):
        raise InvalidMesh(f"{len(meshes)} meshes with poses {list(T_parent_object.shape)}; needed is [F, 4, 4]")
    frames = [frame for frame, mesh in enumerate(meshes) if not mesh.is_empty]
    poses, shown = np.full((len(meshes), 4, 4), np.nan), np.full(len(meshes), HIDDEN)
    poses[frames] = T_parent_object[frames]
    shapes = tuple(meshes[frame].carried(invert(poses[frame])) for frame in frames)
    strays = max((_difference(shapes[0], shape) for shape in shapes[1:]), default=0.0)
    rigid = strays < RIGID
    shown[frames] = 0 if rigid else np.arange(len(frames))
    return ObjectTrack(
        number=number, shapes=shapes[:1] if rigid else shapes, shown=shown, T_parent_object=poses, strays=strays
    )


def _difference(one: SurfaceMesh, other: SurfaceMesh) -> float:
    """Mean distance between two surfaces, both ways, beyond what points drawn from them differ anyhow [sizes]."""
    from scipy.spatial import cKDTree

    ours, again, theirs = (
        sampled(mesh, POINTS, rng=np.random.default_rng(seed))[0] for seed, mesh in enumerate((one, one, other))
    )
    size = float(np.linalg.norm(np.ptp(one.bounds, axis=0)))

    def apart(points: FloatArray) -> float:
        return float(cKDTree(ours).query(points)[0].mean() + cKDTree(points).query(ours)[0].mean()) / 2

    return max(apart(theirs) - apart(again), 0.0) / size
