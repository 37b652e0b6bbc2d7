"""Gaussians of many states: what the first stage of training compares with, index by index, so none is left out.

One safetensors file a state, ``<folder>/<state>.safetensors``, with one array ``gaussians`` [N, 14] of activated values
(position 3, opacity, scale 3, rotation 4, colour 3) as float16 or float32.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import FILE_NAME
from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.errors import InvalidDataset

CHANNELS = 14
MAX_GAUSSIANS = 4_000_000
_ARRAY, _ENDING = "gaussians", ".safetensors"


class GaussianDatabase:
    """The Gaussians in a folder, by state; it may be copied into other processes.

    Args:
        folder: made where it is missing, when something is written.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def __contains__(self, state: object) -> bool:
        return isinstance(state, str) and self.path(state).exists()

    @property
    def states(self) -> tuple[str, ...]:
        """That are there, by name."""
        return tuple(sorted(path.name.removesuffix(_ENDING) for path in self.folder.glob(f"[!.]*{_ENDING}")))

    def path(self, state: str) -> Path:
        """File of a state.

        Raises:
            InvalidDataset: that cannot name a file.
        """
        if not FILE_NAME.fullmatch(state):
            raise InvalidDataset(f"'{state[:250]}' cannot name a state; a name has letters, digits and _.+=@-")
        return self.folder / f"{state}{_ENDING}"

    def write(self, state: str, gaussians: NDArray[np.floating], *, half: bool = True) -> None:
        """Keep the Gaussians of a state, whole or not at all.

        Args:
            state: name.
            gaussians: activated values, none left out, shape [N, 14].
            half: as float16, which is off by up to 5e-4 of a value; otherwise as float32.

        Raises:
            InvalidDataset: another shape, too many, or values that are not finite (in that type).
        """
        _check(gaussians.shape, f"Gaussians of '{state}'")
        with np.errstate(over="ignore"):
            values = np.ascontiguousarray(gaussians, np.float16 if half else np.float32)
        if not np.isfinite(values).all():
            raise InvalidDataset(f"Gaussians of '{state}' have values that are not finite as {values.dtype}")
        write_shard(self.path(state), {_ARRAY: values})

    def read(self, state: str) -> NDArray[np.float32]:
        """Gaussians of a state, float32, shape [N, 14].

        Raises:
            InvalidDataset: missing, damaged, of another shape, or not finite.
        """
        path = self.path(state)
        if not path.exists():
            raise InvalidDataset(f"'{self.folder}' has no Gaussians of state '{state}'")
        values = Shard(path).array(_ARRAY)
        _check(values.shape, f"'{path}'")
        if values.dtype.kind != "f" or not np.isfinite(values).all():
            raise InvalidDataset(f"'{path}' holds values that are not finite numbers")
        return values.astype(np.float32)


def _check(shape: tuple[int, ...], what: str) -> None:
    if len(shape) != 2 or shape[1] != CHANNELS or not 0 < shape[0] <= MAX_GAUSSIANS:
        raise InvalidDataset(f"{what} have shape {list(shape)}; needed is [N, {CHANNELS}] with N up to {MAX_GAUSSIANS}")
