"""PLY files of points alone: x, y and z of every vertex, binary or text, written as float32.

Format: http://paulbourke.net/dataformats/ply
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.whole_file import whole_file

MAX_POINTS = 10_000_000
_MAX_HEADER_BYTES = 64 * 1024
_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
}


def write_points(path: Path, points: NDArray[np.floating]) -> None:
    """Write points [N, 3], whole or not at all."""
    properties = "".join(f"property float {axis}\n" for axis in "xyz")
    with whole_file(path) as file:
        file.write(
            f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{properties}end_header\n".encode()
        )
        file.write(np.ascontiguousarray(points, "<f4").tobytes())


def read_points(path: Path | str) -> NDArray[np.float32]:
    """Points of a file, whatever else its vertices have, shape [N, 3].

    Raises:
        InvalidDataset: missing, no PLY, its vertices have no x, y, z or are not its first element, truncated, too many
            points, or values that are not finite.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_MAX_HEADER_BYTES)
            header, end, _ = start.partition(b"end_header\n")
            if not end:
                raise InvalidDataset(f"'{path}' is no PLY file: its header does not end")
            kind, count, columns = _read_header(header.decode("ascii", "replace"), path)
            file.seek(len(header) + len(end))
            points = _read_values(file.read(size), kind, count, columns, path)
    except OSError as error:
        raise InvalidDataset(f"'{path}' cannot be read: {error.strerror}") from error
    if not np.isfinite(points).all():
        raise InvalidDataset(f"'{path}' has points that are not finite")
    return points


def _read_header(text: str, path: Path) -> tuple[str, int, list[tuple[str, str]]]:
    kind, count, columns, element = "", -1, [], ""
    lines = [line.split() for line in text.splitlines()]
    if not lines or lines[0] != ["ply"]:
        raise InvalidDataset(f"'{path}' is no PLY file")
    try:
        for words in lines[1:]:
            if words[:1] == ["format"]:
                kind = words[1]
            elif words[:1] == ["element"]:
                if words[1] == "vertex" and element:
                    raise ValueError("vertices come after something else")
                element = words[1]
                count = int(words[2]) if element == "vertex" else count
            elif words[:1] == ["property"] and element == "vertex":
                columns.append((words[2], _TYPES[words[1]]))
    except (IndexError, KeyError, ValueError) as error:
        raise InvalidDataset(f"'{path}' has a header that cannot be read: {error}") from error
    if kind not in ("ascii", "binary_little_endian", "binary_big_endian") or not 0 <= count <= MAX_POINTS:
        raise InvalidDataset(f"'{path}' has format '{kind}' and {count} vertices; at most {MAX_POINTS} are read")
    if not {"x", "y", "z"} <= {name for name, _ in columns}:
        raise InvalidDataset(f"'{path}' has vertices without x, y and z")
    return kind, count, columns


def _read_values(data: bytes, kind: str, count: int, columns: list[tuple[str, str]], path: Path) -> NDArray[np.float32]:
    if kind == "ascii":
        rows = [line.split() for line in data.split(b"\n", count)[:count]]
        places = [[name for name, _ in columns].index(axis) for axis in "xyz"]
        try:
            return np.array([[float(row[place]) for place in places] for row in rows], np.float32).reshape(count, 3)
        except (IndexError, ValueError) as error:
            raise InvalidDataset(f"'{path}' has not {count} vertices of numbers: {error}") from error
    order = "<" if kind == "binary_little_endian" else ">"
    record = np.dtype([(name, order + code) for name, code in columns])
    if len(data) < count * record.itemsize:
        raise InvalidDataset(f"'{path}' is truncated: {len(data)} bytes for {count} vertices of {record.itemsize}")
    vertices = np.frombuffer(data, record, count)
    return np.stack([vertices[axis] for axis in "xyz"], axis=-1).astype(np.float32)
