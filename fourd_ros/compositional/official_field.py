"""The lattice of values that the original makes meshes of: for comparisons, the narrow band is what is used.

Rules: COM4D (arXiv 2512.05272), sections 8 and 15 of the specification this was written from.
"""

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.field_lattice import BOUND, CHUNK, Field, ask, lattice_points

__all__ = ["official_field"]

Values = NDArray[np.float32]

FINE_SIDE = 512
"""Points along an axis of a lattice around which the band is narrower."""


def official_field(field: Field, *, first: int, last: int, band: float = 1.0, chunk: int = CHUNK) -> Values:
    """Values on ``2^last`` points along each axis, as the original finds them.

    Its first lattice has both ends of the cube, the later ones only one. Around every point whose squashed value lies
    within the band, the next lattice is asked; elsewhere it has the value of the coarser point. A band of 1 leaves out
    only what float32 squashes to exactly 1.

    Args:
        field: to ask.
        first: doublings of the first lattice; 8 originally.
        last: doublings of the last; 9 originally.
        band: of ``|2 sigmoid(v) - 1|``.
        chunk: points that are asked for at once.

    Returns:
        Shape [2^last, 2^last, 2^last].

    Raises:
        InvalidField: values that are not finite.
    """
    line = np.linspace(-BOUND, BOUND, 2**first, dtype=np.float32)
    points = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1)
    values = ask(field, points.reshape(-1, 3), chunk=chunk).reshape(points.shape[:3])
    for _ in range(first, last):
        values = _refined(field, values, band, chunk)
    return values


def _refined(field: Field, values: Values, band: float, chunk: int) -> Values:
    from scipy.ndimage import maximum_filter

    side = len(values)
    near = np.zeros(values.shape, np.uint8)
    inner = (slice(1, -1),) * 3
    near[inner] = np.abs(2 * _sigmoid(values[inner]) - 1) < band
    asked = maximum_filter(near, 3 if side >= FINE_SIDE else 5, mode="constant").astype(bool)
    finer = values
    for axis in range(3):
        finer, asked = np.repeat(finer, 2, axis=axis), np.repeat(asked, 2, axis=axis)
    finer[asked] = ask(field, lattice_points(np.argwhere(asked), 2 * side), chunk=chunk)
    return finer


def _sigmoid(values: Values) -> Values:
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-values))
