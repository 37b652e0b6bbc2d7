"""PLY files of Gaussians as LGM and PartRM write them, readable by 3DGS viewers.

Compatible files, the default, hold what 3DGS optimises: logit of the opacity, logarithm of the scales, and the colour
as the constant spherical harmonic. The others hold the values as they stand under the same names; a file does not say
of which kind it is.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidGaussians
from fourd_ros.part_dynamics.gaussians import Gaussians, named_columns
from fourd_ros.part_dynamics.splat_rules import MAX_GAUSSIANS
from fourd_ros.whole_file import whole_file

Array = NDArray[Any]

PROPERTIES = (
    *("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *("scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)
HARMONIC = 0.28209479177387814
"""Of degree 0: 1 / (2 sqrt(pi))."""

MIN_OPACITY = 0.005
"""Fainter Gaussians are left out of the original's files."""

OPACITY_MARGIN = 1e-6
SCALE_OFFSET = 1e-8
MAX_HEADER_BYTES = 4096


def write_ply(gaussians: Gaussians, path: Path | str, *, compatible: bool = True, prune: bool = True) -> int:
    """Write a file, whole or not at all.

    Args:
        gaussians: to write.
        path: of the file.
        compatible: as 3DGS optimises them; otherwise as they stand.
        prune: leave out those with an opacity below `MIN_OPACITY`, as the original does.

    Returns:
        How many were written.
    """
    values = gaussians.values
    if prune:
        values = values[gaussians.opacities >= np.float32(MIN_OPACITY)]
    with whole_file(path) as file:
        file.write(_header(len(values)))
        file.write(_raw(values).astype("<f4").tobytes() if compatible else _in_order(values).astype("<f4").tobytes())
    return len(values)


def read_ply(path: Path | str, *, compatible: bool = True) -> Gaussians:
    """Read a file that `write_ply` or the original wrote, or any 3DGS file without view-dependent colour.

    Properties may stand in any order and others may stand between them, if all are floats.

    Args:
        path: of the file.
        compatible: as it was written.

    Raises:
        InvalidGaussians: there is no such file, it is no PLY of Gaussians, it is cut short, or holds too many.
    """
    with _open(Path(path)) as file:
        count, names = _read_header(file, path)
        table = np.fromfile(file, "<f4", count * len(names))
    if table.size != count * len(names):
        raise InvalidGaussians(f"'{path}' ends after {table.size} of {count * len(names)} values; copy it again")
    columns = table.reshape(count, len(names))[:, [names.index(name) for name in PROPERTIES]]
    position, rgb, opacity, scale, rotation = np.split(columns, [3, 6, 7, 10], axis=1)
    if compatible:
        with np.errstate(over="ignore"):
            opacity, scale = 1 / (1 + np.exp(-opacity)), np.exp(scale)
        rgb = np.float32(HARMONIC) * rgb + np.float32(0.5)
    return Gaussians(values=np.concatenate([position, opacity, scale, rotation, rgb], axis=1, dtype=np.float32))


def _raw(values: Array) -> Array:
    """As 3DGS optimises them, in the order of a file."""
    position, opacity, scale, rotation, rgb = named_columns(values)
    clear = np.clip(opacity, np.float32(OPACITY_MARGIN), np.float32(1 - OPACITY_MARGIN))
    logit = np.log(clear / (1 - clear))
    return np.hstack(
        [
            position,
            (rgb - np.float32(0.5)) / np.float32(HARMONIC),
            logit,
            np.log(scale + np.float32(SCALE_OFFSET)),
            rotation,
        ]
    )


def _in_order(values: Array) -> Array:
    position, opacity, scale, rotation, rgb = named_columns(values)
    return np.hstack([position, rgb, opacity, scale, rotation])


def _header(count: int) -> bytes:
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {count}"]
    lines += [f"property float {name}" for name in PROPERTIES]
    return "\n".join([*lines, "end_header", ""]).encode("ascii")


def _open(path: Path) -> Any:
    if not path.is_file():
        raise InvalidGaussians(f"there is no file '{path}'; 'write_ply' writes Gaussians")
    return path.open("rb")


def _read_header(file: Any, path: Path | str) -> tuple[int, list[str]]:
    count, read = -1, 0
    names: list[str] = []
    lines = iter(lambda: file.readline(MAX_HEADER_BYTES), b"")
    for number, line in enumerate(lines):
        words, read = line.decode("ascii", "replace").split(), read + len(line)
        if (number == 0 and words != ["ply"]) or read > MAX_HEADER_BYTES:
            break
        match words:
            case ["end_header"] if count >= 0 and set(PROPERTIES) <= set(names):
                return _bounded(count, path), names
            case ["format", kind, _] if kind != "binary_little_endian":
                raise InvalidGaussians(f"'{path}' is a PLY in the format {kind}; binary_little_endian is read")
            case ["element", "vertex", number_text] if number_text.isdigit() and count < 0:
                count = int(number_text)
            case ["property", "float" | "float32", name]:
                names.append(name)
            case ["element" | "property", *_]:
                break
    raise InvalidGaussians(
        f"'{path}' is no PLY of Gaussians; needed is one element 'vertex' with the float properties "
        f"{', '.join(PROPERTIES)}"
    )


def _bounded(count: int, path: Path | str) -> int:
    if count > MAX_GAUSSIANS:
        raise InvalidGaussians(f"'{path}' says it holds {count} Gaussians; at most {MAX_GAUSSIANS} are read")
    return count
