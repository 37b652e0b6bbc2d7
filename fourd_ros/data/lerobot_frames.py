"""The frames of one episode in a LeRobot folder: numbers and images from parquet, films from mp4."""

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fourd_ros.data.array_archive import MAX_BYTES
from fourd_ros.data.lerobot_info import EpisodePlace, LeRobotFolder, open_table
from fourd_ros.data.packed_images import unpack
from fourd_ros.data.video import decode
from fourd_ros.errors import InvalidDataset

BATCH_FRAMES = 64


class EpisodeFrames:
    """All frames of one episode.

    Args:
        source: the folder.
        place: of the episode in it.
        rows: the numbers and images of its frames.
    """

    def __init__(self, source: LeRobotFolder, place: EpisodePlace, rows: "pa.Table") -> None:
        self.source, self.place = source, place
        self._rows = rows

    def numbers(self, key: str, size: int) -> NDArray[Any]:
        """A feature as numbers of its own type, shape [T, `size`].

        Raises:
            InvalidDataset: it is missing, or has more or fewer numbers.
        """
        column = self._column(key)
        while pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            column = column.flatten()
        if len(column) != self.place.frames * size or column.null_count:
            raise InvalidDataset(
                f"'{key}' has {len(column) - column.null_count} numbers, needed {self.place.frames} x {size}"
            )
        try:
            return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(self.place.frames, size)
        except (pa.ArrowException, ValueError) as error:
            raise InvalidDataset(f"'{key}' does not hold numbers: {error}") from error

    def images(self, key: str, size: tuple[int, int], mode: str) -> Iterator[NDArray[Any]]:
        """The images of a feature, see `unpack`.

        Raises:
            InvalidDataset: it is missing, or holds no images.
            InvalidImage: an image is damaged, or not what it must be.
        """
        column = self._column(key)
        if not pa.types.is_struct(column.type) or "bytes" not in {field.name for field in column.type}:
            raise InvalidDataset(f"'{key}' holds no images")
        for data in column.field("bytes"):
            if not data.is_valid:
                raise InvalidDataset(f"'{key}' names image files instead of holding them")
            yield unpack(data.as_py(), size=size, mode=mode)

    def film(self, key: str, size: tuple[int, int]) -> Iterator[NDArray[np.uint8]]:
        """The pictures of a feature.

        Raises:
            InvalidDataset: the film is missing or damaged, or lacks pictures.
        """
        film = self.place.films[key]
        path = self.source.film_path(key, film)
        yield from islice(decode(path, size=size, rate=self.source.rate, start=film.start), self.place.frames)

    def _column(self, key: str) -> Any:
        if key not in self._rows.column_names:
            raise InvalidDataset(f"there is no column '{key}'")
        return self._rows[key].combine_chunks()


def stacked(images: Iterator[NDArray[Any]], shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """All images in one array of `shape` [T, *], filled one by one.

    Raises:
        InvalidDataset: there are fewer than T, or they would take more memory than an episode may.
    """
    if prod(shape) * np.dtype(dtype).itemsize > MAX_BYTES:
        raise InvalidDataset(f"images of shape {list(shape)} take more than {MAX_BYTES} bytes")
    array = np.empty(shape, dtype)
    count = 0
    for count, image in enumerate(images, 1):
        array[count - 1] = image
    if count != len(array):
        raise InvalidDataset(f"{count} pictures of {len(array)} are there")
    return array


def frames_of(path: Path, episodes: Sequence[EpisodePlace]) -> Iterator[tuple[EpisodePlace, "pa.Table"]]:
    """The rows of each of `episodes` in a file of ``data/``, in its order; one episode is in memory at a time.

    Raises:
        InvalidDataset: the file is damaged, or an episode is missing or of another length.
    """
    wanted = {episode.index: episode for episode in episodes}
    for index, rows in _runs(path) if wanted else ():
        episode = wanted.pop(index, None)
        if episode is None:
            continue
        if len(rows) != episode.frames:
            raise InvalidDataset(f"episode {index} has {len(rows)} rows in '{path}', needed {episode.frames}")
        yield episode, rows
    if wanted:
        raise InvalidDataset(f"'{path}' lacks episodes {sorted(wanted)[:5]}")


def _runs(path: Path) -> Iterator[tuple[int, "pa.Table"]]:
    """Rows of consecutive frames with the same ``episode_index``."""
    file = open_table(path)
    if "episode_index" not in file.schema_arrow.names:
        raise InvalidDataset(f"'{path}' has no column 'episode_index'")
    current = -1
    batches: list[pa.RecordBatch] = []
    try:
        for batch in file.iter_batches(BATCH_FRAMES):
            indices = batch["episode_index"].to_numpy(zero_copy_only=False)
            for begin, end in _bounds(indices):
                if batches and indices[begin] != current:
                    yield current, pa.Table.from_batches(batches)
                    batches = []
                current = int(indices[begin])
                batches.append(batch.slice(begin, end - begin))
    except (OSError, pa.ArrowException) as error:
        raise InvalidDataset(f"'{path}' is damaged: {error}") from error
    if batches:
        yield current, pa.Table.from_batches(batches)


def _bounds(indices: NDArray[Any]) -> list[tuple[int, int]]:
    cuts = [0, *(np.flatnonzero(np.diff(indices)) + 1).tolist(), len(indices)]
    return list(pairwise(cuts))
