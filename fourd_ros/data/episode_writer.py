"""Writing episodes into a data set: what is there is whole, and is never written twice."""

import fcntl
import hashlib
import os
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from numpy.typing import NDArray

from fourd_ros.data.dataset_card import DatasetCard, read_card, write_card
from fourd_ros.data.episode import FILE_NAME, Episode, take_apart
from fourd_ros.data.episode_index import (
    INDEX,
    SHARDS,
    EpisodeRow,
    make_row,
    part_names,
    read_columns,
    robot_path,
    shard_path,
    write_part,
)
from fourd_ros.data.episode_shards import write_shard
from fourd_ros.errors import InvalidDataset
from fourd_ros.whole_file import is_vacant, write_whole

SHARD_BYTES = 256 * 1000**2


class EpisodeDatasetWriter:
    """Adds episodes to a data set; a context manager.

    Episodes wait in memory until their shard is full, or the writer is closed: then the shard and its part of the
    index become visible together. A process that is killed loses only what waited, and `has` tells what it was.
    Several writers may work on one folder at the same time if each has a `part` of its own; the same episodes added
    to the same part give the same files.

    Args:
        folder: of the data set; made where it is missing.
        card: of a new data set; that of an existing one stays. By default it has the folder's name.
        part: how the files of this writer are called: ``<part>-00000`` and so on.
        max_shard_bytes: a shard is full before it would exceed this.

    Raises:
        InvalidDataset: the folder holds something else, its index is damaged, or `part` has another writer.
        MissingDependency: pyarrow is not installed.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        card: DatasetCard | None = None,
        part: str = "episodes",
        max_shard_bytes: int = SHARD_BYTES,
    ) -> None:
        self.folder = Path(folder)
        if not FILE_NAME.fullmatch(part):
            raise InvalidDataset(f"'{part}' cannot name files; a part has letters, digits and _.+=@-")
        self._part, self._max_shard_bytes = part, max_shard_bytes
        self._claim(card)
        self._lock = _lock_part(self.folder, part)
        self._sweep()
        self._names = set(read_columns(self.folder, ["name"])["name"])
        self._shard = self._free_shard()
        self._rows: list[EpisodeRow] = []
        self._arrays: dict[str, NDArray[Any]] = {}

    def has(self, name: str) -> bool:
        """Whether an episode is there already, or waits to be written."""
        return name in self._names

    def add(self, episode: Episode) -> None:
        """Add one episode.

        Raises:
            InvalidDataset: there is one of that name already.
        """
        if self.has(episode.name):
            raise InvalidDataset(f"'{self.folder}' has an episode '{episode.name}' already")
        facts, arrays = take_apart(episode)
        size = sum(array.nbytes for array in arrays.values())
        if self._rows and sum(row.bytes for row in self._rows) + size > self._max_shard_bytes:
            self.flush()
        robot = self._keep_robot(episode.robot_description)
        self._rows.append(make_row(facts, arrays, shard=self._shard, robot=robot))
        self._arrays |= {f"{episode.name}/{name}": array for name, array in arrays.items()}
        self._names.add(episode.name)

    def flush(self) -> None:
        """Write what waits, as a shard of its own."""
        if not self._rows:
            return
        write_shard(shard_path(self.folder, self._shard), self._arrays)
        write_part(self.folder, self._shard, self._rows)
        self._rows, self._arrays, self._shard = [], {}, self._free_shard()

    def close(self) -> None:
        """Write what waits and let another writer have the part."""
        try:
            self.flush()
        finally:
            os.unlink(self._lock.name)
            self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _claim(self, card: DatasetCard | None) -> None:
        if is_vacant(self.folder):
            write_card(self.folder, card or DatasetCard(name=self.folder.resolve().name))
        else:
            read_card(self.folder)

    def _sweep(self) -> None:
        """Remove the unfinished files of a writer of this part that was killed."""
        for kind in (INDEX, SHARDS):
            for partial in (self.folder / kind).glob(f".{self._part}-[0-9]*.partial"):
                partial.unlink()

    def _free_shard(self) -> str:
        """The first that has no part of the index; what an interrupted writer left of it is overwritten."""
        taken = set(part_names(self.folder))
        number = 0
        while (name := f"{self._part}-{number:05d}") in taken:
            number += 1
        return name

    def _keep_robot(self, description: str) -> str:
        if not description:
            return ""
        robot = hashlib.sha256(description.encode()).hexdigest()
        path = robot_path(self.folder, robot)
        if not path.exists():
            write_whole(path, description)
        return robot


def _lock_part(folder: Path, part: str) -> BinaryIO:
    """A lock file that the system lets go of when its process ends, however it ends."""
    path = folder / INDEX / f".{part}.lock"
    path.parent.mkdir(exist_ok=True)
    lock = path.open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_ino != os.fstat(lock.fileno()).st_ino:
            raise BlockingIOError("the lock file was removed by its former owner and made anew")
    except OSError as error:
        lock.close()
        raise InvalidDataset(f"another process writes part '{part}' of '{folder}'; wait for it") from error
    return lock
