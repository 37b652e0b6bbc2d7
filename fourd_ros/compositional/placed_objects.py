"""From a filmed scene to whole objects where they stand before the camera, and how they move."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.clip_window import ClipWindow
from fourd_ros.compositional.filmed_scene import FilmedScene
from fourd_ros.compositional.object_track import ObjectTrack, track_object
from fourd_ros.compositional.options import MotionOptions, ObjectOptions, SceneOptions
from fourd_ros.compositional.placed_cube import UNPLACED, Placement, SeenObject
from fourd_ros.compositional.placement import place_cube
from fourd_ros.compositional.segmentation.segmenter import SegmentedObject
from fourd_ros.compositional.shape_motion import object_poses
from fourd_ros.compositional.surface_mesh import SurfaceMesh, decimated
from fourd_ros.errors import InvalidParameter

if TYPE_CHECKING:
    from fourd_ros.compositional.model import CompositionalObjects, Progress

__all__ = ["MIXED_SHARE", "PLACING", "FilmOptions", "PlacedObject", "PlacedScene", "place_shapes", "reconstruct_filmed"]

FloatArray = NDArray[np.float64]

MIXED_SHARE = 0.42
"""Of the steps of motion, in which objects see each other: 21 of 50 in the original."""

PLACED_FRAMES = 3
"""Of a moving object, as many are compared with what is seen when the cube is placed."""

PLACING = "placing"
"""Stage that progress is told of after those of the model."""


@dataclass(frozen=True, kw_only=True)
class FilmOptions:
    """How objects of a filmed scene are made.

    Args:
        fill: share of the network's picture that the objects take; None shows it the whole frame.
        resolution: points of the lattice on which meshes are found, along an axis.
        max_faces: of a mesh; 0 keeps all of them.
        object_size: largest extent of every object [m], which places them where there is no depth; None for unknown.
        tokens: of each object; None takes as many as the model is used to.
        seed: of the noise.
        scene: how objects are made at one frame.
        motion: how moving objects are made in all frames.

    Raises:
        InvalidParameter: a number that cannot be.
    """

    fill: float | None = 0.6
    resolution: int = 64
    max_faces: int = 2000
    object_size: float | None = None
    tokens: int | None = None
    seed: int = 0
    scene: SceneOptions = field(default_factory=SceneOptions)
    motion: MotionOptions = field(default_factory=MotionOptions)

    def __post_init__(self) -> None:
        if self.fill is not None and not 0.05 <= self.fill <= 1:
            raise InvalidParameter(f"fill {self.fill}; needed is 0.05 to 1, or None for the whole frame")
        if self.max_faces and self.max_faces < 4:
            raise InvalidParameter(f"max_faces {self.max_faces}; a closed surface has 4 or more, and 0 keeps all")

    def object_options(self, *, static_objects: int, official_compat: bool = False) -> ObjectOptions:
        """What the model is told, with the number of objects at rest."""
        return ObjectOptions(
            static_objects=static_objects,
            tokens=self.tokens,
            seed=self.seed,
            scene=self.scene,
            motion=self.motion,
            official_compat=official_compat,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedObject:
    """One object over F frames.

    Args:
        label: what it is called; empty for nothing.
        moves: whether it does.
        seen: in which frames it shows, shape [F].
        track: its number, shapes and poses in the frame of the camera.
    """

    label: str
    moves: bool
    seen: NDArray[np.bool_]
    track: ObjectTrack


@dataclass(frozen=True, kw_only=True, eq=False)
class PlacedScene:
    """Objects of a filmed scene.

    Args:
        objects: those at rest, then those that move.
        placement: how their cube stands before the camera; with the source ``identity`` their frame is the cube
            itself, and lengths are no metres.
        window: that the network was shown.
    """

    objects: tuple[PlacedObject, ...]
    placement: Placement
    window: ClipWindow


def reconstruct_filmed(
    model: "CompositionalObjects",
    scene: FilmedScene,
    options: FilmOptions | None = None,
    *,
    progress: "Progress | None" = None,
    cancel: Callable[[], bool] | None = None,
) -> PlacedScene:
    """Whole objects of a filmed scene, in the frame of its camera.

    Args:
        model: makes shapes.
        scene: what was filmed.
        options: how.
        progress: is told after every step; the stages are those of the model, then `PLACING`.
        cancel: asked as often.

    Raises:
        InvalidClip, InvalidImage, TooLarge, InvalidField, Cancelled: as of `CompositionalObjects.reconstruct`.
    """
    options = options or FilmOptions()
    window = scene.window(options.fill)
    clip = scene.object_clip(window, side=model.images.side)
    reference = clip.best_frame
    made = model.reconstruct(
        clip,
        options.object_options(static_objects=len(scene.static)),
        reference=reference,
        resolution=options.resolution,
        progress=progress,
        cancel=cancel,
    )
    shapes = [
        *((one, (_thinned(mesh, options.max_faces),)) for one, mesh in zip(scene.static, made.at_rest, strict=True)),
        *((one, tuple(_thinned(mesh, options.max_faces) for mesh in made.moving[one.number])) for one in scene.moving),
    ]
    placement = place_shapes(scene, shapes, reference=reference, window=window, object_size=options.object_size)
    objects = tuple(_placed(one, meshes, placement, len(scene.rgb)) for one, meshes in shapes)
    if progress is not None:
        progress(PLACING, 1, 1)
    return PlacedScene(objects=objects, placement=placement, window=window)


def place_shapes(
    scene: FilmedScene,
    shapes: Sequence[tuple[SegmentedObject, Sequence[SurfaceMesh]]],
    *,
    reference: int,
    window: ClipWindow,
    object_size: float | None = None,
) -> Placement:
    """How the cube of shapes stands before the camera of a filmed scene.

    Args:
        scene: what was filmed.
        shapes: objects of it, with one mesh in the cube where they are at rest and one for each frame where not.
        reference: frame in which those at rest are compared with what is seen.
        window: that the network was shown.
        object_size: largest extent of every object [m]; None for unknown.
    """
    if scene.camera is None:
        return UNPLACED
    seen = [
        SeenObject(
            mesh=meshes[frame if one.moves else 0],
            mask=one.mask(frame),
            depth=None if scene.depth is None else scene.depth[frame],
            size=object_size,
        )
        for one, meshes in shapes
        for frame in (_telling(one) if one.moves else [reference])
    ]
    return place_cube(seen, scene.camera, rotations=window.turn_of_cube(scene.camera)[None])


def _thinned(mesh: SurfaceMesh, faces: int) -> SurfaceMesh:
    return decimated(mesh, faces) if faces else mesh


def _telling(one: SegmentedObject) -> list[int]:
    """Frames evenly over those in which an object is seen."""
    shown = np.flatnonzero(one.masks.any(axis=(1, 2)))
    places = np.linspace(0, len(shown) - 1, min(PLACED_FRAMES, len(shown))).round().astype(int)
    return [int(frame) for frame in shown[places]]


def _placed(one: SegmentedObject, meshes: Sequence[SurfaceMesh], placement: Placement, frames: int) -> PlacedObject:
    placed = [placement.place(mesh) for mesh in meshes]
    over_time = placed if one.moves else placed * frames
    poses = object_poses(placed)
    return PlacedObject(
        label=one.label,
        moves=one.moves,
        seen=np.asarray(one.masks.any(axis=(1, 2))),
        track=track_object(one.number, over_time, poses if one.moves else np.repeat(poses, frames, axis=0)),
    )
