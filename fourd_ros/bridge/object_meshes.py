"""Surfaces of objects as messages: ``shape_msgs/Mesh`` for planners, markers for viewers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.scene_objects import object_id, pose_message
from fourd_ros.errors import InvalidMesh, TooLarge

__all__ = ["ObjectSurface", "mesh_from_message", "mesh_message", "object_markers"]

FloatArray = NDArray[np.float64]

MAX_FACES = 200_000
"""Of one message: its points are Python objects, a hundred thousand of them take about a tenth of a second."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectSurface:
    """What a marker shows.

    Args:
        number: of the object.
        vertices: in its frame [m], shape [V, 3].
        faces: three vertices each, shape [F, 3].
        T_frame_object: its pose in the frame of the header, shape [4, 4].
        colour: red, green and blue, 0..255.
    """

    number: int
    vertices: NDArray[np.floating]
    faces: NDArray[np.integer]
    T_frame_object: FloatArray
    colour: tuple[int, int, int]


def mesh_message(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> Any:
    """``shape_msgs/Mesh``.

    Args:
        vertices: [m], shape [V, 3].
        faces: three vertices each, seen from outside to the left, shape [F, 3].

    Raises:
        InvalidMesh: other shapes, or faces that name vertices that are not there.
        TooLarge: more than `MAX_FACES` faces.
    """
    from geometry_msgs.msg import Point
    from shape_msgs.msg import Mesh, MeshTriangle

    _check(vertices, faces)
    return Mesh(
        triangles=[MeshTriangle(vertex_indices=face) for face in faces.astype(np.uint32)],
        vertices=[Point(x=x, y=y, z=z) for x, y, z in vertices.astype(np.float64).tolist()],
    )


def mesh_from_message(message: Any) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Vertices [V, 3] and faces [F, 3] of a ``shape_msgs/Mesh``.

    Raises:
        InvalidMesh: faces that name vertices that are not there, or vertices that are not finite.
        TooLarge: more than `MAX_FACES` faces.
    """
    vertices = np.array([(point.x, point.y, point.z) for point in message.vertices], np.float32).reshape(-1, 3)
    if len(message.triangles) > MAX_FACES:
        raise TooLarge(f"a mesh of {len(message.triangles)} triangles; at most {MAX_FACES} are taken")
    faces = np.array([triangle.vertex_indices for triangle in message.triangles], np.int64).reshape(-1, 3)
    _check(vertices, faces)
    return vertices, faces.astype(np.int32)


def object_markers(header: Any, surfaces: Iterable[ObjectSurface], *, hidden: Iterable[int] = ()) -> Any:
    """``MarkerArray`` with a triangle list an object, under its number; viewers keep those that are not named.

    Args:
        header: of all markers.
        surfaces: that are shown.
        hidden: numbers of objects that are shown no longer.

    Raises:
        InvalidMesh, TooLarge: as of `mesh_message`.
    """
    from visualization_msgs.msg import Marker, MarkerArray

    shown = [_marker(header, surface) for surface in surfaces]
    gone = [Marker(header=header, ns="objects", id=number, action=Marker.DELETE) for number in hidden]
    return MarkerArray(markers=[*shown, *gone])


def _marker(header: Any, surface: ObjectSurface) -> Any:
    from geometry_msgs.msg import Point, Vector3
    from std_msgs.msg import ColorRGBA
    from visualization_msgs.msg import Marker

    _check(surface.vertices, surface.faces)
    red, green, blue = (part / 255 for part in surface.colour)
    points = [Point(x=x, y=y, z=z) for x, y, z in surface.vertices.astype(np.float64).tolist()]
    return Marker(
        header=header,
        ns="objects",
        id=surface.number,
        type=Marker.TRIANGLE_LIST,
        action=Marker.ADD,
        pose=pose_message(surface.T_frame_object),
        scale=Vector3(x=1.0, y=1.0, z=1.0),
        color=ColorRGBA(r=red, g=green, b=blue, a=1.0),
        points=[points[corner] for corner in surface.faces.ravel().tolist()],
        text=object_id(surface.number),
    )


def _check(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> None:
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise InvalidMesh(
            f"vertices {list(vertices.shape)} and faces {list(faces.shape)}; needed are [V, 3] and [F, 3]"
        )
    if len(faces) > MAX_FACES:
        raise TooLarge(f"a mesh of {len(faces)} triangles; at most {MAX_FACES} go into a message: decimate it")
    if faces.size and (faces.min() < 0 or faces.max() >= len(vertices)):
        raise InvalidMesh(f"faces name vertices {faces.min()} to {faces.max()}, there are {len(vertices)}")
    if not np.isfinite(vertices).all():
        raise InvalidMesh("vertices that are not finite; a surface has none of them")
