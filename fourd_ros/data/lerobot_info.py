"""What a LeRobotDataset v3.0 folder says about itself; nothing of it is believed before it is checked."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fourd_ros.data.lerobot_layout import CONVERSION, DATA, EXTRAS, FILMS, INFO, TASKS, check_key, place
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object

MAX_ROWS = 100_000_000
MAX_TABLE_BYTES = 8 * 1024**3
"""Of a parquet file when it is unpacked."""

_UPGRADE = (
    "'python -m lerobot.scripts.convert_dataset_v21_to_v30' of LeRobot's own package makes v3.0 of v2.1 "
    "(lerobot 0.4 has it as lerobot.datasets.v30.convert_dataset_v21_to_v30)"
)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One feature of ``info.json``.

    Args:
        dtype: of NumPy, or ``video``, ``image``, ``string``.
        shape: of one frame's.
        names: of the places or axes, empty where there are none.
        depth_map: whether it is an image of distances.
    """

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...]
    depth_map: bool


@dataclass(frozen=True, kw_only=True)
class FilmPlace:
    """Where an episode is in the films of one camera.

    Args:
        chunk: number of the folder.
        file: number in it.
        start: time of the first picture [s].
    """

    chunk: int
    file: int
    start: float


@dataclass(frozen=True, kw_only=True)
class EpisodePlace:
    """Where an episode is.

    Args:
        index: number in the data set.
        frames: how many.
        films: by feature.
    """

    index: int
    frames: int
    films: Mapping[str, FilmPlace]


class LeRobotFolder:
    """A folder in LeRobot's layout.

    Args:
        folder: with ``meta/info.json``.

    Attributes:
        folder: of the data set.
        rate: frames a second [Hz].
        features: by name.
        exact: whether `fourd` wrote it, with all that LeRobot has no place for.

    Raises:
        InvalidDataset: no such folder, an older or unfinished one, or ``info.json`` is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        info = self._read_info()
        try:
            self.rate = float(info["fps"])
            self._episodes = int(info["total_episodes"])
            self._data_path = str(info.get("data_path") or DATA)
            self._film_path = str(info.get("video_path") or FILMS)
            self.features = {str(key): _feature(facts) for key, facts in info["features"].items()}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidDataset(f"'{self.folder / INFO}' is damaged: {type(error).__name__}: {error}") from error
        if not 0 < self.rate < float("inf"):
            raise InvalidDataset(f"'{self.folder / INFO}' has {self.rate} frames a second; needed is a positive number")
        for key in self.features:
            check_key(key)
        self.exact = (self.folder / CONVERSION).exists()

    def _read_info(self) -> dict[str, Any]:
        path = self.folder / INFO
        if not path.exists():
            raise InvalidDataset(
                f"'{self.folder}' is an unfinished conversion; run the same 'fourd data to-lerobot' again"
                if (self.folder / CONVERSION).exists()
                else f"'{self.folder}' has no {INFO}; a LeRobotDataset v3.0 folder is needed"
            )
        info = read_object(path, error=InvalidDataset)
        version = str(info.get("codebase_version"))
        if not version.startswith("v3."):
            raise InvalidDataset(f"'{self.folder}' has the layout {version}, this reads v3.0; {_UPGRADE}")
        return info

    def files(self) -> dict[tuple[int, int], list[EpisodePlace]]:
        """Episodes of every file in ``data/``, by chunk and file, in their order.

        Raises:
            InvalidDataset: ``meta/episodes`` is damaged or lacks episodes.
        """
        found: dict[tuple[int, int], list[EpisodePlace]] = defaultdict(list)
        paths = sorted((self.folder / "meta/episodes").glob("*/*.parquet"))
        films = [key for key, feature in self.features.items() if feature.dtype == "video"]
        for path in paths:
            for row in _episode_rows(path, films):
                place_of_row = EpisodePlace(
                    index=row["episode_index"],
                    frames=row["length"],
                    films={key: _film_place(row, key) for key in films},
                )
                found[row["data/chunk_index"], row["data/file_index"]].append(place_of_row)
        there = sum(map(len, found.values()))
        if there != self._episodes:
            raise InvalidDataset(f"meta/episodes of '{self.folder}' has {there} episodes, {INFO} says {self._episodes}")
        return {place: sorted(found[place], key=lambda episode: episode.index) for place in sorted(found)}

    def tasks(self) -> dict[int, str]:
        """Tasks in words, by number.

        Raises:
            InvalidDataset: ``meta/tasks.parquet`` is missing or damaged.
        """
        path = self.folder / TASKS
        rows = read_table(path).to_pylist()
        try:
            words = next(key for key in rows[0] if key != "task_index") if rows else ""
            return {int(row["task_index"]): str(row[words]) for row in rows}
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise InvalidDataset(f"'{path}' is damaged: {type(error).__name__}: {error}") from error

    def data_path(self, chunk: int, file: int) -> Path:
        """File with numbers of every frame."""
        return place(self.folder, self._data_path, chunk=chunk, file=file)

    def film_path(self, key: str, film: FilmPlace) -> Path:
        """File with a film."""
        return place(self.folder, self._film_path, chunk=film.chunk, file=film.file, key=key)

    def extras(self, chunk: int, file: int) -> dict[int, dict[str, Any]]:
        """What LeRobot has no place for, by number of the episode."""
        path = place(self.folder, EXTRAS, chunk=chunk, file=file)
        table = read_table(path, ["episode_index", "metadata", "robot_description", "arrays"])
        if any(column.null_count for column in table.columns):
            raise InvalidDataset(f"'{path}' is damaged: it lacks values")
        return {row["episode_index"]: row for row in table.to_pylist()}


def open_table(path: Path) -> Any:
    """A parquet file whose sizes are within bounds.

    Raises:
        InvalidDataset: missing, damaged, or too large.
    """
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        size = sum(group.total_byte_size for group in groups)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidDataset(f"'{path}' is no parquet file: {error}") from error
    if file.metadata.num_rows > MAX_ROWS or size > MAX_TABLE_BYTES:
        raise InvalidDataset(
            f"'{path}' has {file.metadata.num_rows} rows and {size} bytes; allowed are {MAX_ROWS} and {MAX_TABLE_BYTES}"
        )
    return file


def read_table(path: Path, columns: list[str] | None = None) -> Any:
    """A whole parquet file.

    Raises:
        InvalidDataset: missing, damaged, too large, or without one of the columns.
    """
    file = open_table(path)
    missing = set(columns or ()).difference(file.schema_arrow.names)
    if missing:
        raise InvalidDataset(f"'{path}' has no columns {sorted(missing)}")
    try:
        return file.read(columns=columns)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InvalidDataset(f"'{path}' is damaged: {error}") from error


def _episode_rows(path: Path, films: list[str]) -> Iterator[dict[str, Any]]:
    whole = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    whole += [f"videos/{key}/{name}" for key in films for name in ("chunk_index", "file_index")]
    times = [f"videos/{key}/from_timestamp" for key in films]
    for row in read_table(path, [*whole, *times]).to_pylist():
        if not all(isinstance(row[name], int) and row[name] >= 0 for name in whole) or not row["length"]:
            raise InvalidDataset(f"'{path}' is damaged: episode {row['episode_index']} has a place that is no number")
        if not all(isinstance(row[name], float) and 0 <= row[name] < float("inf") for name in times):
            raise InvalidDataset(f"'{path}' is damaged: episode {row['episode_index']} has a time that is no number")
        yield row


def _film_place(row: Mapping[str, Any], key: str) -> FilmPlace:
    return FilmPlace(
        chunk=row[f"videos/{key}/chunk_index"],
        file=row[f"videos/{key}/file_index"],
        start=row[f"videos/{key}/from_timestamp"],
    )


def _feature(facts: Mapping[str, Any]) -> Feature:
    shape = tuple(facts["shape"])
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"shape {facts['shape']}")
    info = {**(facts.get("video_info") or {}), **(facts.get("info") or {})}
    return Feature(
        dtype=str(facts["dtype"]),
        shape=shape,
        names=_names(facts.get("names")),
        depth_map=bool(info.get("is_depth_map") or info.get("video.is_depth_map")),
    )


def _names(given: object) -> tuple[str, ...]:
    """Names as a list, or as a list in a mapping (``{"motors": [...]}``)."""
    if isinstance(given, Mapping):
        given = next(iter(given.values()), None) if len(given) == 1 else None
    return tuple(str(name) for name in given) if isinstance(given, list) else ()
