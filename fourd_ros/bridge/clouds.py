"""``sensor_msgs/PointCloud2`` <-> arrays.

Clouds made here have 24 bytes a point: x y z rgb sigma FLOAT32, label UINT32, where rgb holds the three colour bytes
in the way of PCL. A producer that writes `POINT` records itself pays for one plain copy (`packed_cloud`).
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourd_ros.bridge.buffers import append_bytes, from_field
from fourd_ros.errors import InvalidCloud, TooLarge

MAX_CLOUD_POINTS = 8_000_000
NO_COLOUR = 128
UNKNOWN_LABEL, STATIC_LABEL, ROBOT_LABEL, FIRST_OBJECT_LABEL = 0, 1, 2, 16

POINT = np.dtype(
    [
        ("x", "<f4"),
        ("y", "<f4"),
        ("z", "<f4"),
        ("blue", "u1"),
        ("green", "u1"),
        ("red", "u1"),
        ("unused", "u1"),
        ("sigma", "<f4"),
        ("label", "<u4"),
    ]
)
# Small enough for the columns of a block to stay in the second-level cache while they are interleaved.
BLOCK_POINTS = 8192
FLOAT32, UINT32 = 7, 6
FIELDS = (
    ("x", 0, FLOAT32),
    ("y", 4, FLOAT32),
    ("z", 8, FLOAT32),
    ("rgb", 12, FLOAT32),
    ("sigma", 16, FLOAT32),
)
DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def make_cloud(
    header: Any,
    points: NDArray[np.float32],
    *,
    rgb: ArrayLike = NO_COLOUR,
    sigma: ArrayLike = np.nan,
    label: ArrayLike = UNKNOWN_LABEL,
) -> Any:
    """``sensor_msgs/PointCloud2`` of separate columns.

    Args:
        header: ``std_msgs/Header`` with the source stamp and the frame of `points`.
        points: positions [m], shape [N, 3]; NaN rows are kept and clear ``is_dense``.
        rgb: colour, shape [N, 3], uint8; grey by default.
        sigma: standard deviation of the position [m], scalar or shape [N]; NaN for unknown.
        label: 0 unknown, 1 static, 2 robot, 16 and more objects; scalar or shape [N].

    Raises:
        InvalidCloud: the columns have different lengths.
    """
    count = len(points)
    columns = _columns(points, rgb, sigma, label)
    cloud = _empty_message(header, count, is_dense=True)
    scratch = np.zeros(min(count, BLOCK_POINTS), POINT)
    for start in range(0, count, BLOCK_POINTS):
        block = slice(start, min(start + BLOCK_POINTS, count))
        filled = scratch[: block.stop - block.start]
        _interleave(filled, *(column[block] for column in columns))
        append_bytes(cloud.data, filled)
        cloud.is_dense = cloud.is_dense and _all_finite(points[block])
    return cloud


def packed_cloud(header: Any, packed: NDArray[np.void], *, is_dense: bool = True) -> Any:
    """``sensor_msgs/PointCloud2`` of `POINT` records, shape [N], in one copy.

    Args:
        header: ``std_msgs/Header`` with the source stamp and the frame.
        packed: what `pack_points` returns, or records that a producer filled.
        is_dense: False if a position may be NaN.

    Raises:
        InvalidCloud: other records.
    """
    if packed.dtype != POINT or packed.ndim != 1:
        raise InvalidCloud(f"records of shape {list(packed.shape)} and type {packed.dtype}, needed [N] of {POINT}")
    cloud = _empty_message(header, len(packed), is_dense=is_dense)
    append_bytes(cloud.data, packed)
    return cloud


def pack_points(
    points: NDArray[np.float32],
    *,
    rgb: ArrayLike = NO_COLOUR,
    sigma: ArrayLike = np.nan,
    label: ArrayLike = UNKNOWN_LABEL,
) -> NDArray[np.void]:
    """`POINT` records, shape [N], of the columns that `make_cloud` takes."""
    packed = np.zeros(len(points), POINT)
    _interleave(packed, *_columns(points, rgb, sigma, label))
    return packed


def read_cloud(msg: Any, *, max_points: int = MAX_CLOUD_POINTS) -> dict[str, NDArray[Any]]:
    """The columns of a ``PointCloud2`` of any layout.

    Args:
        msg: cloud with at least x, y and z of one floating type; either byte order, rows padded or not, NaN kept.
        max_points: refuse larger clouds before anything is copied.

    Returns:
        ``points`` [N, 3] float32 [m]; ``rgb`` [N, 3] uint8 where the cloud has rgb or rgba; every other field by its
        name, shape [N] ([N, count] where a field has several elements).

    Raises:
        InvalidCloud: fields, steps and sizes contradict each other, or x, y, z are missing.
        TooLarge: more than `max_points`.
    """
    width, height = int(msg.width), int(msg.height)
    if width * height > max_points:
        raise TooLarge(f"cloud of {width} x {height} points exceeds the bound of {max_points} (max_points)")
    records = _records(msg, width, height).reshape(-1)
    names = records.dtype.names or ()
    missing = [name for name in "xyz" if name not in names or records.dtype[name].kind != "f"]
    if missing:
        raise InvalidCloud(f"no floating field {missing}; the fields are {list(names)}")
    columns: dict[str, NDArray[Any]] = {
        "points": np.stack([records[n] for n in "xyz"], axis=1).astype(np.float32, copy=False)
    }
    for name in names:
        if name in ("rgb", "rgba"):
            columns["rgb"] = _colours(records[name])
        elif name not in ("x", "y", "z"):
            columns[name] = records[name].astype(records.dtype[name].base.newbyteorder("="))
    return columns


def _columns(points: NDArray[np.float32], rgb: ArrayLike, sigma: ArrayLike, label: ArrayLike) -> list[NDArray[Any]]:
    """Points, rgb, sigma and label, every one with a row per point."""
    count = len(points)
    given = {"points": points, "rgb": rgb, "sigma": sigma, "label": label}
    shapes = {
        "points": (count, 3),
        "rgb": (count, 3),
        "sigma": (count,),
        "label": (count,),
    }
    try:
        return [np.broadcast_to(column, shapes[name]) for name, column in given.items()]
    except ValueError as cause:
        found = {name: list(np.shape(column)) for name, column in given.items()}
        raise InvalidCloud(f"columns of shapes {found}; needed points and rgb [N, 3], sigma and label [N]") from cause


def _interleave(
    packed: NDArray[np.void],
    points: NDArray[Any],
    rgb: NDArray[Any],
    sigma: NDArray[Any],
    label: NDArray[Any],
) -> None:
    for axis, name in enumerate(("x", "y", "z")):
        packed[name] = points[:, axis]
    for channel, name in enumerate(("red", "green", "blue")):
        packed[name] = rgb[:, channel]
    packed["sigma"] = sigma
    packed["label"] = label


def _all_finite(points: NDArray[np.float32]) -> bool:
    """Whether every coordinate is finite, in one pass without a temporary (the squares add up to a finite sum)."""
    flat = np.ascontiguousarray(points).reshape(-1)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(flat @ flat))


def _empty_message(header: Any, count: int, *, is_dense: bool) -> Any:
    return empty_cloud(header, (*FIELDS, ("label", 20, UINT32)), count, point_step=POINT.itemsize, is_dense=is_dense)


def empty_cloud(
    header: Any, fields: Iterable[tuple[str, int, int]], count: int, *, point_step: int, is_dense: bool
) -> Any:
    """A ``PointCloud2`` whose data are still to be filled in.

    Args:
        header: of it.
        fields: name, offset [bytes] and datatype of each.
        count: points.
        point_step: bytes of a point.
        is_dense: no position is NaN.
    """
    from sensor_msgs.msg import PointCloud2, PointField

    return PointCloud2(
        header=header,
        height=1,
        width=count,
        fields=[PointField(name=name, offset=offset, datatype=kind, count=1) for name, offset, kind in fields],
        is_bigendian=False,
        point_step=point_step,
        row_step=point_step * count,
        is_dense=is_dense,
    )


def _records(msg: Any, width: int, height: int) -> NDArray[np.void]:
    """A view [H, W] of the points as structured records."""
    point_step, row_step = int(msg.point_step), int(msg.row_step)
    dtype = _record_type(msg, point_step)
    data = from_field(msg.data, InvalidCloud)
    if width * height == 0:
        return np.zeros((height, width), dtype)
    if row_step < width * point_step:
        raise InvalidCloud(
            f"row_step is {row_step} bytes, {width} points of {point_step} bytes need {width * point_step}"
        )
    needed = (height - 1) * row_step + width * point_step
    if not needed <= len(data) <= height * row_step:
        raise InvalidCloud(f"data has {len(data)} bytes, {height} rows of {row_step} bytes need {height * row_step}")
    return np.ndarray((height, width), dtype, buffer=data, strides=(row_step, point_step))


def _record_type(msg: Any, point_step: int) -> np.dtype[np.void]:
    order = ">" if msg.is_bigendian else "<"
    names, formats, offsets = [], [], []
    for field in msg.fields:
        kind, count = DATATYPES.get(int(field.datatype)), int(field.count)
        if kind is None or count < 1:
            raise InvalidCloud(f"field '{field.name}' has datatype {field.datatype} and count {count}")
        if field.offset + np.dtype(kind).itemsize * count > point_step:
            raise InvalidCloud(f"field '{field.name}' at offset {field.offset} leaves a point of {point_step} bytes")
        names.append(str(field.name))
        formats.append(f"{order}{kind}" if count == 1 else f"({count},){order}{kind}")
        offsets.append(int(field.offset))
    if not all(names) or len(set(names)) != len(names) or not names:
        raise InvalidCloud(f"the fields are {names}; names must be distinct, and there must be some")
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": point_step})


def _colours(packed: NDArray[Any]) -> NDArray[np.uint8]:
    """Red, green, blue [N, 3] of PCL's packed colour, whatever type its four bytes were declared as."""
    if packed.dtype.itemsize != 4 or packed.ndim != 1:
        raise InvalidCloud(f"a packed colour has 4 bytes, the field is {packed.dtype} of shape {list(packed.shape)}")
    words = np.ascontiguousarray(packed).view(packed.dtype.str[0] + "u4")
    return np.stack([(words >> shift).astype(np.uint8) for shift in (16, 8, 0)], axis=1)
