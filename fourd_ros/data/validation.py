"""Every problem of a data set in one list."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.dataset_card import CARD, read_card
from fourd_ros.data.episode import check_array, expected_arrays, put_together
from fourd_ros.data.episode_dataset import read_robot
from fourd_ros.data.episode_index import (
    INDEX,
    SHARDS,
    EpisodeRow,
    arrays_sha256,
    part_names,
    part_path,
    read_part,
    row_facts,
    shard_path,
)
from fourd_ros.data.episode_shards import Shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.data.splits import FILE as SPLITS_FILE
from fourd_ros.data.splits import read_splits
from fourd_ros.errors import FourdError, InvalidDataset

_CONTRADICTIONS = (FourdError, KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong.

    Args:
        where: file, relative to the data set, or episode.
        what: is wrong there.
    """

    where: str
    what: str


@dataclass(frozen=True, kw_only=True)
class _ShardJob:
    folder: Path
    shard: str


def count_shards(folder: Path | str) -> int:
    """How many shards `validate` is going to read."""
    return len(part_names(Path(folder)))


def validate(
    folder: Path | str,
    *,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
    progress: Callable[[], object] = lambda: None,
) -> list[Problem]:
    """Read every byte of a data set and list what is wrong with it.

    Args:
        folder: of the data set.
        workers: processes.
        ray: read in Ray tasks.
        address: of a Ray cluster that sees the same folder; see `run_jobs`.
        progress: called after each shard.

    Raises:
        InvalidDataset: there is no such folder.
        MissingDependency: pyarrow or Ray is not installed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InvalidDataset(f"there is no folder '{folder}'")
    problems = list(_caught(CARD, lambda: read_card(folder)))
    rows: list[EpisodeRow] = []
    for shard in part_names(folder):
        where = str(part_path(folder, shard).relative_to(folder))
        problems += _caught(where, lambda shard=shard: rows.extend(read_part(folder, shard)))  # type: ignore[misc]
    if not rows:
        problems.append(Problem(where=INDEX, what="there are no episodes"))
    problems += _repeated(rows)
    problems += _without_rows(folder)
    problems += _of_splits(folder, {row.name for row in rows})
    for robot in sorted({row.robot for row in rows}):
        problems += _caught(f"robots/{robot}.urdf", lambda robot=robot: read_robot(folder, robot))  # type: ignore[misc]
    jobs = {shard: _ShardJob(folder=folder, shard=shard) for shard in sorted({row.shard for row in rows})}
    found: dict[str, list[Problem]] = {}
    for key, of_shard in run_jobs(_check_shard, jobs, workers=workers, ray=ray, address=address):
        found[key] = of_shard
        progress()
    return problems + [problem for key in jobs for problem in found[key]]


def _caught(where: str, attempt: Callable[[], object]) -> Iterator[Problem]:
    try:
        attempt()
    except InvalidDataset as error:
        yield Problem(where=where, what=str(error))


def _repeated(rows: list[EpisodeRow]) -> Iterator[Problem]:
    shards: dict[str, list[str]] = {}
    for row in rows:
        shards.setdefault(row.name, []).append(row.shard)
    for name, places in shards.items():
        if len(places) > 1:
            yield Problem(where=name, what=f"{len(places)} episodes have this name, in {', '.join(places)}")


def _without_rows(folder: Path) -> Iterator[Problem]:
    indexed = set(part_names(folder))
    for path in sorted((folder / SHARDS).glob("[!.]*.safetensors")):
        if path.stem not in indexed:
            yield Problem(
                where=f"{SHARDS}/{path.name}",
                what="no part of the index names its episodes: writing was interrupted, or the part was lost",
            )


def _of_splits(folder: Path, names: set[str]) -> Iterator[Problem]:
    try:
        splits = set(read_splits(folder))
    except InvalidDataset as error:
        yield Problem(where=SPLITS_FILE, what=str(error))
        return
    for name in sorted(splits - names):
        yield Problem(where=SPLITS_FILE, what=f"there is no episode '{name}'")
    if splits:
        for name in sorted(names - splits):
            yield Problem(where=SPLITS_FILE, what=f"episode '{name}' is in no split")


def _check_shard(job: _ShardJob) -> list[Problem]:
    path = shard_path(job.folder, job.shard)
    try:
        shard = Shard(path)
    except InvalidDataset as error:
        return [Problem(where=str(path.relative_to(job.folder)), what=str(error))]
    arrays: dict[str, dict[str, NDArray[Any]]] = {}
    for full_name in shard.names:
        episode, _, name = full_name.partition("/")
        arrays.setdefault(episode, {})[name] = shard.array(full_name)
    rows = read_part(job.folder, job.shard)
    problems = [problem for row in rows for problem in _check_episode(row, arrays.get(row.name, {}))]
    for unknown in sorted(set(arrays) - {row.name for row in rows}):
        problems.append(Problem(where=str(path.relative_to(job.folder)), what=f"no row names its episode '{unknown}'"))
    return problems


def _check_episode(row: EpisodeRow, arrays: Mapping[str, NDArray[Any]]) -> Iterator[Problem]:
    if arrays_sha256(arrays) != row.sha256:
        yield Problem(where=row.name, what="its arrays are not those that were written: the hash differs")
    try:
        facts = row.facts()
        expected = expected_arrays(facts, row.frames)
    except _CONTRADICTIONS as error:
        yield Problem(where=row.name, what=f"its metadata is damaged: {type(error).__name__}: {error}")
        return
    sound = True
    for problem in _check_arrays(row.name, arrays, expected):
        sound = False
        yield problem
    if not sound:
        return
    try:
        put_together({**facts, "robot_description": ""}, lambda name: arrays[name])
        other = [name for name, value in row_facts(facts, arrays["times"]).items() if getattr(row, name) != value]
    except _CONTRADICTIONS as error:
        yield Problem(where=row.name, what=str(error))
        return
    if other:
        yield Problem(where=row.name, what=f"the index and its metadata say different things: {', '.join(other)}")


def _check_arrays(
    episode: str, arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[tuple[int, ...], type]]
) -> Iterator[Problem]:
    for name, (shape, dtype) in expected.items():
        if name not in arrays:
            yield Problem(where=episode, what=f"it has no array '{name}'")
            continue
        try:
            check_array(name, arrays[name], shape, np.uint16 if name.endswith("/depth") else dtype)
        except FourdError as error:
            yield Problem(where=episode, what=str(error))
    for name in sorted(set(arrays) - set(expected)):
        yield Problem(where=episode, what=f"it has an array '{name}' that its metadata does not know")
