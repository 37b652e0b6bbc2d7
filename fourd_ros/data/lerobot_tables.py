"""The parquet tables of a LeRobot folder."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fourd_ros.data.lerobot_features import COUNTERS, FeatureSet
from fourd_ros.data.lerobot_statistics import QUANTILES, Statistics
from fourd_ros.whole_file import whole_file

EXTRA_ARRAY = ("name", "shape", "values")

_VALUES = ("min", "max", "mean", "std", *QUANTILES)


@contextmanager
def write_tables(path: Path, schema: Any) -> Iterator[Callable[[Any], None]]:
    """A parquet file, whole or not at all; what is yielded takes tables, or rows, each a group of its own.

    Args:
        path: of the file.
        schema: of all tables; None takes that of the only one.
    """
    writer: Any = None

    def write(table: Any) -> None:
        nonlocal writer
        if isinstance(table, list):
            table = pa.Table.from_pylist(table, schema=schema)
        if writer is None:
            writer = pq.ParquetWriter(file, schema or table.schema, write_page_checksum=True)
        writer.write_table(table)

    with whole_file(path) as file:
        yield write
        if writer is not None:
            writer.close()


def data_schema(features: FeatureSet) -> Any:
    """Columns of the files in ``data/``."""
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.schema(
        [
            *((key, _vector(len(column.names))) for key, column in features.columns.items()),
            *((key, image) for key in (*features.depth, *features.segmentation)),
            *((key, getattr(pa, dtype)()) for key, dtype in COUNTERS.items()),
        ]
    )


def data_table(features: FeatureSet, numbers: Mapping[str, NDArray[Any]], images: Mapping[str, Sequence[bytes]]) -> Any:
    """Some frames; `numbers` by feature, shape [T] or [T, N], and `images` by feature, bytes of T files."""
    schema = data_schema(features)
    columns: dict[str, Any] = {key: _column(np.ascontiguousarray(values)) for key, values in numbers.items()}
    for key, files in images.items():
        nowhere = pa.nulls(len(files), pa.string())
        columns[key] = pa.StructArray.from_arrays([pa.array(files, pa.binary()), nowhere], ["bytes", "path"])
    return pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _vector(size: int) -> Any:
    """As ``datasets`` stores numbers in a row: one alone, or a list of fixed size."""
    return pa.float64() if size == 1 else pa.list_(pa.float64(), size)


def _column(values: NDArray[Any]) -> Any:
    """Numbers of T frames, shape [T] or [T, N]."""
    column = pa.array(values.reshape(-1))
    size = values.size // len(values)
    return column if size == 1 else pa.FixedSizeListArray.from_arrays(column, size)


def extras_schema() -> Any:
    """Columns of the files in ``meta/fourd/``."""
    shape, values = pa.list_(pa.int64()), pa.list_(pa.float64())
    array = pa.struct(dict(zip(EXTRA_ARRAY, (pa.string(), shape, values), strict=True)))
    return pa.schema(
        {
            "episode_index": pa.int64(),
            "metadata": pa.string(),
            "robot_description": pa.string(),
            "arrays": pa.list_(array),
        }
    )


def episodes_schema(features: FeatureSet) -> Any:
    """Columns of the files in ``meta/episodes/``."""
    whole, seconds = pa.int64(), pa.float64()
    place = {"chunk_index": whole, "file_index": whole}
    times = {"from_timestamp": seconds, "to_timestamp": seconds}
    return pa.schema(
        {
            "episode_index": whole,
            "tasks": pa.list_(pa.string()),
            "length": whole,
            "dataset_from_index": whole,
            "dataset_to_index": whole,
            **{f"data/{name}": kind for name, kind in place.items()},
            **{f"meta/episodes/{name}": kind for name, kind in place.items()},
            **{f"videos/{key}/{name}": kind for key in features.films for name, kind in {**place, **times}.items()},
            **{
                f"stats/{key}/{name}": kind
                for key, axes in _statistics_axes(features).items()
                for name, kind in _statistics_types(axes).items()
            },
        }
    )


def _statistics_axes(features: FeatureSet) -> dict[str, int]:
    """How many axes the statistics of each feature have."""
    images = (*features.films, *features.depth, *features.segmentation)
    return {
        **dict.fromkeys((*features.columns, *COUNTERS), 1),
        **dict.fromkeys(images, 3),
    }


def _statistics_types(axes: int) -> dict[str, Any]:
    nested = pa.float64()
    for _ in range(axes):
        nested = pa.list_(nested)
    return {**dict.fromkeys(_VALUES, nested), "count": pa.list_(pa.int64())}


def read_statistics(path: Path, features: FeatureSet) -> Iterator[dict[str, Statistics]]:
    """The statistics of every episode in a file of ``meta/episodes/``."""
    keys = _statistics_axes(features)
    columns = [f"stats/{key}/{name}" for key in keys for name in (*_VALUES, "count")]
    for row in pq.read_table(path, columns=columns, partitioning=None).to_pylist():
        yield {
            key: {name: np.array(row[f"stats/{key}/{name}"]) for name in (*_VALUES, "count")}
            for key in keys
            if row[f"stats/{key}/count"] is not None
        }


def tasks_table(tasks: Sequence[str]) -> Any:
    """Tasks by number, as pandas writes them: the words are the index."""

    def noted(name: str, kind: str, numpy_kind: str) -> dict[str, Any]:
        return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_kind, "metadata": None}

    index = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [{**index, "metadata": {"encoding": "UTF-8"}}],
        "columns": [noted("task_index", "int64", "int64"), noted("task", "unicode", "object")],
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(pandas)})
