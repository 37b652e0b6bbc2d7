"""The index of a data set: a row an episode, a parquet file a shard.

A shard counts only with its part of the index, which is written after it; so what was interrupted is not there.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import FILE_NAME
from fourd_ros.errors import InvalidDataset, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.strict_json import parse_object
from fourd_ros.whole_file import whole_file

if TYPE_CHECKING:
    import pyarrow as pa

INDEX, SHARDS, ROBOTS = "index", "shards", "robots"


@dataclass(frozen=True, kw_only=True)
class IndexedCamera:
    """A camera of an episode.

    Args:
        name: of the camera.
        width: columns of its pictures.
        height: rows of its pictures.
        depth: whether it measured depth.
        segmentation: whether it is known what each pixel shows.
    """

    name: str
    width: int
    height: int
    depth: bool
    segmentation: bool


@dataclass(frozen=True, kw_only=True)
class EpisodeRow:
    """What the index says about one episode; see `Episode` for what the fields mean.

    Args:
        name: of the episode.
        shard: file in ``shards/``, without its ending, that holds the arrays ``<name>/<array>``.
        frames: how many.
        rate: frames a second [Hz].
        start_ns: stamp of the first frame [ns].
        duration: from the first to the last frame [s].
        source: where it is from.
        tasks: names of the tasks.
        instructions: the same in words.
        success: whether they succeeded, None if nobody judged.
        seed: from which all was drawn, if it was.
        policy: who acted.
        cameras: who looked.
        joint_names: of the robot.
        action_names: of the columns of the actions.
        robot: SHA-256 of the robot description ``robots/<robot>.urdf``, empty if it is not known.
        bytes: of its arrays.
        sha256: of its arrays, see `arrays_sha256`.
        metadata: JSON with everything that is not an array.
    """

    name: str
    shard: str
    frames: int
    rate: float
    start_ns: int
    duration: float
    source: str
    tasks: tuple[str, ...]
    instructions: tuple[str, ...]
    success: bool | None
    seed: int | None
    policy: str
    cameras: tuple[IndexedCamera, ...]
    joint_names: tuple[str, ...]
    action_names: tuple[str, ...]
    robot: str
    bytes: int
    sha256: str
    metadata: str

    def facts(self) -> dict[str, Any]:
        """What `metadata` says.

        Raises:
            InvalidDataset: it is damaged.
        """
        return parse_object(self.metadata.encode(), what=f"metadata of episode '{self.name}'", error=InvalidDataset)


def make_row(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], *, shard: str, robot: str) -> EpisodeRow:
    """The row of an episode that was taken apart; `robot` is the hash of its description."""
    return EpisodeRow(
        **row_facts(facts, arrays["times"]),
        shard=shard,
        robot=robot,
        bytes=sum(array.nbytes for array in arrays.values()),
        sha256=arrays_sha256(arrays),
        metadata=json.dumps({key: value for key, value in facts.items() if key != "robot_description"}),
    )


def row_facts(facts: Mapping[str, Any], times: NDArray[np.float64]) -> dict[str, Any]:
    """What a row repeats of the facts of an episode, so that it can be looked for."""
    views: Mapping[str, Mapping[str, Any]] = facts["views"]
    return {
        **{field.name: _plain(facts[field.name]) for field in fields(EpisodeRow) if field.name in facts},
        "frames": len(times),
        "duration": float(times[-1] - times[0]),
        "cameras": tuple(
            IndexedCamera(name=name, **{key: view[key] for key in ("width", "height", "depth", "segmentation")})
            for name, view in views.items()
        ),
    }


def _plain(value: Any) -> Any:
    """Lists, as JSON and parquet have them, as tuples."""
    return tuple(value) if isinstance(value, list) else value


def arrays_sha256(arrays: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over name, type, shape and bytes of every array, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.reshape(-1).view("u1").data)
    return digest.hexdigest()


def shard_path(folder: Path, shard: str) -> Path:
    """File with the arrays of a shard."""
    return folder / SHARDS / f"{shard}.safetensors"


def part_path(folder: Path, shard: str) -> Path:
    """File with the rows of a shard."""
    return folder / INDEX / f"{shard}.parquet"


def robot_path(folder: Path, robot: str) -> Path:
    """File with a robot description, named by its hash."""
    return folder / ROBOTS / f"{robot}.urdf"


def write_part(folder: Path, shard: str, rows: Iterable[EpisodeRow]) -> None:
    """Write the rows of a shard, whole or not at all."""
    parquet = _pyarrow().parquet
    table = _pyarrow().Table.from_pylist([asdict(row) for row in rows], schema=_schema())
    with whole_file(part_path(folder, shard)) as file:
        parquet.write_table(table, file, compression="zstd", write_page_checksum=True)


def part_names(folder: Path) -> list[str]:
    """Names of the shards that have rows."""
    return sorted(path.stem for path in (folder / INDEX).glob("[!.]*.parquet"))


def read_part(folder: Path, shard: str) -> list[EpisodeRow]:
    """The rows of one shard.

    Raises:
        InvalidDataset: missing, unreadable, or it lacks columns.
        MissingDependency: pyarrow is not installed.
    """
    return _rows(_read_table(folder, shard, _COLUMNS))


def read_index(folder: Path) -> list[EpisodeRow]:
    """All rows, in the order of the episodes' names.

    Raises:
        InvalidDataset, MissingDependency: see `read_part`.
    """
    return _rows(_read_all(folder, _COLUMNS))


def read_columns(folder: Path, columns: Sequence[str]) -> dict[str, list[Any]]:
    """Some columns of all rows, in the order of the episodes' names, without reading the others.

    Raises:
        InvalidDataset, MissingDependency: see `read_part`.
    """
    table = _read_all(folder, list(dict.fromkeys(("name", *columns))))
    return {column: table[column].to_pylist() for column in columns}


_COLUMNS = [field.name for field in fields(EpisodeRow)]


def _read_all(folder: Path, columns: list[str]) -> "pa.Table":
    tables = [_read_table(folder, shard, columns) for shard in part_names(folder)]
    return _pyarrow().concat_tables([_schema_of(columns).empty_table(), *tables]).sort_by("name")


def _read_table(folder: Path, shard: str, columns: list[str]) -> "pa.Table":
    pyarrow, path, schema = _pyarrow(), part_path(folder, shard), _schema_of(columns)
    try:
        file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True)
        table = file.read(columns=columns, use_threads=False).select(columns)
        table = table if table.schema.equals(schema) else table.cast(schema)
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise InvalidDataset(f"'{path}' is not a part of an index: {error}") from error
    lacking = [name for name in columns if name not in _MAY_BE_UNKNOWN and _lacks_values(table[name])]
    if lacking:
        raise InvalidDataset(f"'{path}' is not a part of an index: it lacks values of {', '.join(lacking)}")
    if "shard" in columns and set(table["shard"].to_pylist()) - {shard}:
        raise InvalidDataset(f"'{path}' is not the part of shard '{shard}', but of another")
    strange = [name for name in table["name"].to_pylist() if not FILE_NAME.fullmatch(name)] if "name" in columns else []
    if strange:
        raise InvalidDataset(f"'{path}' is not a part of an index: no episode can be called {strange[0]!r:.200}")
    return table


_MAY_BE_UNKNOWN = ("success", "seed")


def _lacks_values(column: "pa.ChunkedArray") -> bool:
    """Whether a column has empty places, or its lists or structures have."""
    pyarrow = _pyarrow()
    if column.null_count:
        return True
    if pyarrow.types.is_list(column.type):
        return _lacks_values(pyarrow.compute.list_flatten(column))
    return pyarrow.types.is_struct(column.type) and any(map(_lacks_values, column.flatten()))


def _rows(table: "pa.Table") -> list[EpisodeRow]:
    return [_row(values) for values in table.to_pylist()]


def _row(values: Mapping[str, Any]) -> EpisodeRow:
    plain: dict[str, Any] = {name: _plain(value) for name, value in values.items()}
    plain["cameras"] = tuple(IndexedCamera(**camera) for camera in values["cameras"])
    return EpisodeRow(**plain)


def _schema_of(columns: Iterable[str]) -> "pa.Schema":
    return _pyarrow().schema([_schema().field(column) for column in columns])


@cache
def _schema() -> "pa.Schema":
    pyarrow = _pyarrow()
    text, texts = pyarrow.string(), pyarrow.list_(pyarrow.string())
    camera = pyarrow.struct(
        {
            "name": text,
            "width": pyarrow.int32(),
            "height": pyarrow.int32(),
            "depth": pyarrow.bool_(),
            "segmentation": pyarrow.bool_(),
        }
    )
    types = {
        **dict.fromkeys(("name", "shard", "source", "policy", "robot", "sha256", "metadata"), text),
        **dict.fromkeys(("tasks", "instructions", "joint_names", "action_names"), texts),
        **dict.fromkeys(("frames", "start_ns", "seed", "bytes"), pyarrow.int64()),
        **dict.fromkeys(("rate", "duration"), pyarrow.float64()),
        "success": pyarrow.bool_(),
        "cameras": pyarrow.list_(camera),
    }
    return pyarrow.schema([(field.name, types[field.name]) for field in fields(EpisodeRow)])


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.compute
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency(f"data sets need pyarrow ({error}): {pip_install('pyarrow')}") from error
    return pyarrow
