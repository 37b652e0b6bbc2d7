"""Objects of a filmed scene -> ROS messages, one array and the markers for every frame."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.object_meshes import ObjectSurface, mesh_message, object_markers
from fourd_ros.bridge.scene_objects import scene_object, scene_objects
from fourd_ros.bridge.times import make_header
from fourd_ros.compositional.animated_glb import HIDDEN
from fourd_ros.compositional.object_colours import object_colour
from fourd_ros.compositional.placed_objects import PlacedObject, PlacedScene

__all__ = ["placed_arrays", "placed_markers"]

FloatArray = NDArray[np.float64]

NAMELESS = "object"


def placed_arrays(scene: PlacedScene, *, stamps_ns: Sequence[int], frame: str, T_frame_camera: FloatArray) -> list[Any]:
    """``fourd_msgs/SceneObjectArray`` of every frame.

    An object without a shape in a frame is not in its array. The variance of a position is the square of the
    placement's residual; other covariances are zero, which says that they are not known.

    Args:
        scene: what was made.
        stamps_ns: of the frames [ns], shape [F].
        frame: of everything.
        T_frame_camera: pose of the camera in it, shape [4, 4].
    """
    residual = scene.placement.residual
    covariance = np.diag([residual**2 if np.isfinite(residual) else 0.0] * 3 + [0.0] * 3)
    meshes = {
        one.track.number: [mesh_message(shape.vertices, shape.faces) for shape in one.track.shapes]
        for one in scene.objects
    }
    arrays = []
    for index, stamp_ns in enumerate(stamps_ns):
        header = make_header(stamp_ns, frame)
        things = []
        for one in scene.objects:
            shown = int(one.track.shown[index])
            if shown == HIDDEN:
                continue
            poses = T_frame_camera @ one.track.T_parent_object
            linear, angular = _twist(poses, stamps_ns, index)
            thing = scene_object(
                header,
                number=one.track.number,
                name=one.label or NAMELESS,
                T_frame_object=poses[index],
                covariance=covariance,
                linear=linear,
                angular=angular,
                size=np.ptp(one.track.shapes[shown].bounds, axis=0),
                dynamic=one.moves,
                confidence=scene.placement.confidence,
                last_seen_ns=_last_seen(one, stamps_ns, index),
            )
            thing.mesh = meshes[one.track.number][shown]
            things.append(thing)
        arrays.append(scene_objects(header, things))
    return arrays


def placed_markers(scene: PlacedScene, index: int, *, stamp_ns: int, frame: str, T_frame_camera: FloatArray) -> Any:
    """``MarkerArray`` of one frame; what has no shape in it is taken away.

    Args:
        scene: what was made.
        index: of the frame.
        stamp_ns: of it [ns].
        frame: of everything.
        T_frame_camera: pose of the camera in it, shape [4, 4].
    """
    surfaces, hidden = [], []
    for one in scene.objects:
        shown = int(one.track.shown[index])
        if shown == HIDDEN:
            hidden.append(one.track.number)
            continue
        shape = one.track.shapes[shown]
        surfaces.append(
            ObjectSurface(
                number=one.track.number,
                vertices=shape.vertices,
                faces=shape.faces,
                T_frame_object=T_frame_camera @ one.track.T_parent_object[index],
                colour=object_colour(one.track.number),
            )
        )
    return object_markers(make_header(stamp_ns, frame), surfaces, hidden=hidden)


def _twist(poses: FloatArray, stamps_ns: Sequence[int], index: int) -> tuple[FloatArray, FloatArray]:
    """Linear [m/s] and angular [rad/s] velocity between the neighbours that are known, in the axes of the frame."""
    beside = [other for other in (index - 1, index, index + 1) if 0 <= other < len(poses)]
    near = [other for other in beside if np.isfinite(poses[other]).all()]
    first, last = near[0], near[-1]
    seconds = (stamps_ns[last] - stamps_ns[first]) * 1e-9
    if seconds <= 0:
        return np.zeros(3), np.zeros(3)
    turn = poses[last, :3, :3] @ poses[first, :3, :3].T
    turned = np.asarray(cv2.Rodrigues(turn)[0][:, 0], np.float64)
    return (poses[last, :3, 3] - poses[first, :3, 3]) / seconds, turned / seconds


def _last_seen(one: PlacedObject, stamps_ns: Sequence[int], index: int) -> int:
    """When it showed last, up to a frame; the first time that it does where that comes later [ns]."""
    seen = np.flatnonzero(one.seen)
    before = seen[seen <= index]
    return int(stamps_ns[int(before[-1] if len(before) else seen[0])])
