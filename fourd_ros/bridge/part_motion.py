"""Messages of part dynamics: drags in; moved points, the joint and its markers out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.bridge.buffers import append_bytes
from fourd_ros.bridge.clouds import FIRST_OBJECT_LABEL, FLOAT32, STATIC_LABEL, UINT32, empty_cloud
from fourd_ros.bridge.times import make_header, stamp_to_ns
from fourd_ros.errors import InvalidDrag
from fourd_ros.geometry.transforms import apply

FloatArray = NDArray[np.float64]
Lookup = Callable[[str, int], FloatArray]
"""Frame and stamp [ns] -> its pose in the fixed frame, shape [4, 4]."""

MOVED = np.dtype(
    [
        *((axis, "<f4") for axis in "xyz"),
        *((colour, "u1") for colour in ("blue", "green", "red", "unused")),
        ("label", "<u4"),
        *((axis, "<f4") for axis in ("dx", "dy", "dz")),
    ]
)
MOVED_FIELDS = (
    ("x", 0, FLOAT32),
    ("y", 4, FLOAT32),
    ("z", 8, FLOAT32),
    ("rgb", 12, FLOAT32),
    ("label", 16, UINT32),
    ("dx", 20, FLOAT32),
    ("dy", 24, FLOAT32),
    ("dz", 28, FLOAT32),
)

MOST_ARROWS = 200
ARROW, AXIS = (0.004, 0.008, 0.0), (0.01, 0.02, 0.0)
"""Shaft and head diameter of the markers [m]; the length of a head is a share that RViz chooses."""

AXIS_LENGTH = 0.3
"""Half of the drawn axis [m]."""

ARROW_COLOUR, AXIS_COLOUR = (0.1, 0.6, 1.0, 0.8), (1.0, 0.4, 0.1, 1.0)
"""Red, green, blue and opacity, 0..1."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DragArrays:
    """Drags in the fixed frame, N of them.

    Args:
        start: [m], shape [N, 3].
        displacement: [m], shape [N, 3].
        radius: of the grip [m], shape [N].
    """

    start: FloatArray
    displacement: FloatArray
    radius: FloatArray


def drag_message(
    frame: str,
    start: NDArray[np.floating],
    displacement: NDArray[np.floating],
    radius: float = 0.0,
    *,
    stamp_ns: int = 0,
) -> Any:
    """``fourd_msgs/Drag``.

    Args:
        frame: of both vectors.
        start: where it is grabbed [m], shape [3].
        displacement: how far it is pulled [m], shape [3].
        radius: of the grip [m]; 0 for the server's default.
        stamp_ns: of the observation that shows the point [ns]; 0 for the newest.
    """
    from fourd_msgs.msg import Drag
    from geometry_msgs.msg import Point, Vector3

    place, way = ([float(number) for number in vector] for vector in (start, displacement))
    return Drag(
        header=make_header(stamp_ns, frame),
        start=Point(x=place[0], y=place[1], z=place[2]),
        displacement=Vector3(x=way[0], y=way[1], z=way[2]),
        radius=float(radius),
    )


def drags_to_arrays(drags: Sequence[Any], lookup: Lookup, *, stamp_ns: int, radius: float) -> DragArrays:
    """``fourd_msgs/Drag`` of any frames.

    Args:
        drags: at least one.
        lookup: finds frames; raises `TransformUnavailable`.
        stamp_ns: of the observation [ns], for drags that have no stamp.
        radius: of drags that name none [m].

    Raises:
        InvalidDrag: none, one without a frame or with the id of an object, or numbers that are not finite.
    """
    if not drags:
        raise InvalidDrag("the goal has no drags; at least one is needed")
    starts, ways = np.zeros((len(drags), 3)), np.zeros((len(drags), 3))
    for number, drag in enumerate(drags):
        if not drag.header.frame_id:
            raise InvalidDrag(f"drag {number} names no frame; its header.frame_id must be in TF")
        if drag.object_id:
            raise InvalidDrag(f"drag {number} is at object '{drag.object_id}'; objects are known by their points only")
        start, way = _vector(drag.start), _vector(drag.displacement)
        if not (np.isfinite(start).all() and np.isfinite(way).all()):
            raise InvalidDrag(f"drag {number} holds numbers that are not finite")
        pose = lookup(drag.header.frame_id, stamp_to_ns(drag.header.stamp) or stamp_ns)
        starts[number], ways[number] = apply(pose, start), pose[:3, :3] @ way
    radii = np.array([float(drag.radius) or radius for drag in drags])
    return DragArrays(start=starts, displacement=ways, radius=radii)


def _vector(message: Any) -> FloatArray:
    return np.array([message.x, message.y, message.z])


def moved_cloud(
    header: Any,
    points: NDArray[np.floating],
    *,
    rgb: NDArray[np.uint8],
    displacement: NDArray[np.floating],
    moving: NDArray[np.bool_],
) -> Any:
    """``PointCloud2`` with x y z rgb label dx dy dz.

    Args:
        header: stamp of the observation, fixed frame.
        points: after the motion [m], shape [N, 3].
        rgb: shape [N, 3].
        displacement: how far each has gone [m], shape [N, 3].
        moving: which belong to the part that moves (label 16), the others are static (label 1); shape [N].
    """
    records = np.zeros(len(points), MOVED)
    for place, axis in enumerate("xyz"):
        records[axis], records[f"d{axis}"] = points[:, place], displacement[:, place]
    for place, colour in enumerate(("red", "green", "blue")):
        records[colour] = rgb[:, place]
    records["label"] = np.where(moving, FIRST_OBJECT_LABEL, STATIC_LABEL)
    cloud = empty_cloud(header, MOVED_FIELDS, len(records), point_step=MOVED.itemsize, is_dense=True)
    append_bytes(cloud.data, records)
    return cloud


def motion_markers(
    header: Any,
    points: NDArray[np.floating],
    displacement: NDArray[np.floating],
    *,
    axis: tuple[FloatArray, FloatArray] | None,
) -> Any:
    """``MarkerArray``: arrows of what moves, and the axis of the joint.

    Args:
        header: of both.
        points: that move, before they do [m], shape [N, 3]; at most 200 of them are drawn.
        displacement: of each [m], shape [N, 3].
        axis: a point and the direction of the joint; None where there is none.
    """
    from visualization_msgs.msg import Marker, MarkerArray

    chosen = np.linspace(0, len(points) - 1, min(len(points), MOST_ARROWS)).astype(np.intp)
    arrows = [
        _arrow(header, "motion", number, start, start + way, ARROW, ARROW_COLOUR)
        for number, (start, way) in enumerate(zip(points[chosen], displacement[chosen], strict=True))
    ]
    if axis is not None:
        origin, direction = axis
        ends = origin - AXIS_LENGTH * direction, origin + AXIS_LENGTH * direction
        arrows.append(_arrow(header, "joint", 0, *ends, AXIS, AXIS_COLOUR))
    return MarkerArray(markers=[Marker(header=header, action=Marker.DELETEALL), *arrows])


def _arrow(
    header: Any,
    namespace: str,
    number: int,
    start: NDArray[np.floating],
    end: NDArray[np.floating],
    size: tuple[float, float, float],
    colour: tuple[float, float, float, float],
) -> Any:
    from geometry_msgs.msg import Point, Vector3
    from std_msgs.msg import ColorRGBA
    from visualization_msgs.msg import Marker

    red, green, blue, opacity = colour
    return Marker(
        header=header,
        ns=namespace,
        id=number,
        type=Marker.ARROW,
        action=Marker.ADD,
        points=[Point(x=float(x), y=float(y), z=float(z)) for x, y, z in (start, end)],
        scale=Vector3(x=size[0], y=size[1], z=size[2]),
        color=ColorRGBA(r=red, g=green, b=blue, a=opacity),
    )
