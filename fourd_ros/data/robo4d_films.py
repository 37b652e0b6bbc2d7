"""Films of any origin, read whole: bounded before they are decoded, and never less than they promise."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.video import decode_all
from fourd_ros.errors import InvalidDataset, TooLarge

MAX_FILM_BYTES = 4 * 1024**3
"""Of decoded pictures; 49 of 720 x 480 pixels have 51 MB."""


def read_film(path: Path, *, max_bytes: int = MAX_FILM_BYTES) -> NDArray[np.uint8]:
    """All pictures of a film.

    Args:
        path: of the file.
        max_bytes: of all pictures together.

    Returns:
        Colour, shape [T, H, W, 3], T at least 1.

    Raises:
        InvalidDataset: missing, no film, damaged, or it ends before the pictures that it promises.
        TooLarge: more pixels than allowed.
    """
    promised, (height, width) = _promise(path)
    pictures: list[NDArray[np.uint8]] = []
    _check_bytes(path, promised, height, width, max_bytes)
    for picture in decode_all(path):
        pictures.append(picture)
        _check_bytes(path, len(pictures), height, width, max_bytes)
    if not pictures or len(pictures) < promised:
        raise InvalidDataset(
            f"'{path}' ends after {len(pictures)} of {promised} pictures; it is truncated: make or fetch it again"
        )
    return np.stack(pictures)


def _promise(path: Path) -> tuple[int, tuple[int, int]]:
    """How many pictures a film says it has (0 where it does not say), and their height and width."""
    import av

    try:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            return int(stream.frames), (stream.height, stream.width)
    except (av.FFmpegError, OSError, IndexError) as error:
        raise InvalidDataset(f"'{path}' is no film, or truncated: {error}; make or fetch it again") from error


def _check_bytes(path: Path, frames: int, height: int, width: int, max_bytes: int) -> None:
    needed = frames * height * width * 3
    if needed > max_bytes:
        raise TooLarge(f"'{path}' has {frames} pictures of {width} x {height}, {needed} bytes; allowed are {max_bytes}")
