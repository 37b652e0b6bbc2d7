"""Writing LeRobotDataset v3.0 folders: parquet, mp4 and meta, without the package ``lerobot``.

Every file of the folder is whole or not there. A file of episodes counts with its part of ``meta/episodes``, which is
written after it; the folder is a data set with ``meta/info.json``, which is written last.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.depth_steps import DEPTH_STEP, to_metres
from fourd_ros.data.episode_dataset import read_robot
from fourd_ros.data.episode_index import EpisodeRow, IndexedCamera, shard_path
from fourd_ros.data.episode_shards import Shard
from fourd_ros.data.lerobot_features import FeatureSet
from fourd_ros.data.lerobot_layout import DATA, EPISODES, EXTRAS, FILMS, INFO, STATS, TASKS, VERSION, place
from fourd_ros.data.lerobot_plan import Conversion, LeRobotOptions, PlannedFile
from fourd_ros.data.lerobot_statistics import PixelCounter, Statistics, sampled_frames, statistics_of, together
from fourd_ros.data.lerobot_tables import (
    EXTRA_ARRAY,
    data_schema,
    data_table,
    episodes_schema,
    extras_schema,
    read_statistics,
    tasks_table,
    write_tables,
)
from fourd_ros.data.packed_images import pack_depth, pack_labels
from fourd_ros.data.parallel import run_jobs, runs_here
from fourd_ros.data.video import describe, encode, plain
from fourd_ros.whole_file import write_whole

BLOCK_FRAMES = 128
"""Frames in memory at a time."""

_COLOURS, _LABELS = 256, 256
_DEPTHS = np.iinfo(np.uint16).max + 1


Progress = Callable[[float], object]
"""Is told how many frames more are done; fractions are those of one camera's."""


def unheard(frames: float) -> None:
    """Progress that nobody wants to hear of."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What was done.

    Args:
        episodes: how many were written.
        frames: of all of them.
        unknown_actions: frames in which some part of the action is NaN: nothing was commanded there.
    """

    episodes: int = 0
    frames: int = 0
    unknown_actions: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            episodes=self.episodes + other.episodes,
            frames=self.frames + other.frames,
            unknown_actions=self.unknown_actions + other.unknown_actions,
        )


@dataclass(frozen=True, kw_only=True)
class _FileJob:
    dataset: Path
    folder: Path
    options: LeRobotOptions
    features: FeatureSet
    tasks: tuple[str, ...]
    file: PlannedFile


def convert(
    conversion: Conversion,
    *,
    progress: Progress = unheard,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Written:
    """Write what is missing of a LeRobot folder, and complete it.

    Args:
        conversion: what `plan_conversion` decided.
        progress: hears of frames as they are done, of whole files where several processes work.
        workers: processes at a time.
        ray: work as Ray tasks.
        address: of a Ray cluster.

    Raises:
        InvalidDataset: episodes are damaged.
        MissingDependency: Ray was asked for and is not installed.
    """
    jobs = {
        f"file {file.chunk}/{file.file}": _FileJob(
            dataset=conversion.dataset,
            folder=conversion.folder,
            options=conversion.options,
            features=conversion.features,
            tasks=conversion.tasks,
            file=file,
        )
        for file in conversion.missing()
    }
    progress(conversion.frames - sum(job.file.frames for job in jobs.values()))
    here = runs_here(jobs, workers=workers, ray=ray)
    function = partial(_write_file, progress=progress) if here else _write_file
    written = Written()
    for _, part in run_jobs(function, jobs, workers=workers, ray=ray, address=address):
        written += part
        if not here:
            progress(part.frames)
    _complete(conversion)
    return written


def _write_file(job: _FileJob, progress: Progress = unheard) -> Written:
    """Films first, then numbers and images, then what LeRobot has no place for, then the part that makes them count."""
    sources = [_StoredArrays(job.dataset, row) for row in job.file.rows]
    statistics: list[dict[str, Statistics]] = [{} for _ in sources]
    share = 1 / (len(job.features.films) + 1)
    for key, camera in job.features.films.items():
        film = _film(sources, key, camera, statistics)
        told = (_told(picture, progress, share) for picture in film)
        encode(told, _file_path(job, FILMS, key), rate=job.features.rate, video=job.options.video)
    with write_tables(_file_path(job, DATA), data_schema(job.features)) as write:
        for number, source in enumerate(sources):
            for table in _blocks(job, number, source, statistics[number]):
                write(table)
                progress(len(table) * share)
    with write_tables(_file_path(job, EXTRAS), extras_schema()) as write:
        for number, source in enumerate(sources):
            write([_extras(job, number, source)])
    with write_tables(_file_path(job, EPISODES), episodes_schema(job.features)) as write:
        write([_episode_row(job, number, statistics[number]) for number in range(len(sources))])
    actions = job.features.action.array
    return Written(
        episodes=len(sources),
        frames=job.file.frames,
        unknown_actions=sum(int(np.isnan(source[actions]).any(axis=1).sum()) for source in sources),
    )


def _told(picture: NDArray[np.uint8], progress: Progress, share: float) -> NDArray[np.uint8]:
    progress(share)
    return picture


class _StoredArrays(Mapping[str, NDArray[Any]]):
    """Arrays of an episode by name, mapped from its shard; depth is in steps."""

    def __init__(self, dataset: Path, row: EpisodeRow) -> None:
        self.dataset, self.row = dataset, row
        self._shard = _open_shard(shard_path(dataset, row.shard))

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._shard.array(f"{self.row.name}/{name}")

    def __iter__(self) -> Iterator[str]:
        prefix = f"{self.row.name}/"
        return (name.removeprefix(prefix) for name in self._shard.names if name.startswith(prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


@lru_cache(maxsize=4)
def _open_shard(path: Path) -> Shard:
    return Shard(path)


def _file_path(job: _FileJob, template: str, key: str = "") -> Path:
    return place(job.folder, template, chunk=job.file.chunk, file=job.file.file, key=key)


def _film(
    sources: list[_StoredArrays], key: str, camera: IndexedCamera, statistics: list[dict[str, Statistics]]
) -> Iterator[NDArray[np.uint8]]:
    """Pictures of one camera, episode after episode; their statistics are there when they were all taken."""
    for source, found in zip(sources, statistics, strict=True):
        pictures = source[f"{camera.name}/rgb"]
        counter, sampled = PixelCounter(3, _COLOURS, unit=1 / 255), sampled_frames(len(pictures))
        for number, picture in enumerate(pictures):
            if number in sampled:
                counter.add(picture)
            yield picture
        _keep(found, key, counter.statistics())


def _blocks(job: _FileJob, number: int, source: _StoredArrays, found: dict[str, Statistics]) -> Iterator[Any]:
    """Tables of an episode, a few frames each."""
    features, frames = job.features, source.row.frames
    sampled = sampled_frames(frames)
    numbers = {key: source[column.array].reshape(frames, -1) for key, column in features.columns.items()}
    counters = _counters(job, number, frames)
    for key, values in {**numbers, **counters}.items():
        _keep(found, key, statistics_of(values))
    images: dict[str, tuple[str, _DepthColumn | _LabelColumn]] = {
        **{key: (f"{camera.name}/depth", _DepthColumn()) for key, camera in features.depth.items()},
        **{key: (f"{camera.name}/segmentation", _LabelColumn()) for key, camera in features.segmentation.items()},
    }
    for start in range(0, frames, BLOCK_FRAMES):
        block = slice(start, min(start + BLOCK_FRAMES, frames))
        packed = {
            key: [
                column.pack(image, counted=start + place in sampled) for place, image in enumerate(source[array][block])
            ]
            for key, (array, column) in images.items()
        }
        yield data_table(features, {key: values[block] for key, values in {**numbers, **counters}.items()}, packed)
    for key, (_, column) in images.items():
        _keep(found, key, column.counter.statistics())


class _DepthColumn:
    """Depth in steps, to files of metres."""

    def __init__(self) -> None:
        self.counter = PixelCounter(1, _DEPTHS, unit=DEPTH_STEP, unknown=0)

    def pack(self, steps: NDArray[np.uint16], *, counted: bool) -> bytes:
        if counted:
            self.counter.add(steps)
        return pack_depth(to_metres(steps))


class _LabelColumn:
    """Labels, to files of the same."""

    def __init__(self) -> None:
        self.counter = PixelCounter(1, _LABELS, unit=1 / 255)

    def pack(self, labels: NDArray[np.uint8], *, counted: bool) -> bytes:
        if counted:
            self.counter.add(labels)
        return pack_labels(labels)


def _keep(found: dict[str, Statistics], key: str, statistics: Statistics | None) -> None:
    if statistics is not None:
        found[key] = statistics


def _counters(job: _FileJob, number: int, frames: int) -> dict[str, NDArray[Any]]:
    """What LeRobot counts, for every frame; its times are those of a clock without jitter."""
    index = np.arange(frames)
    before = sum(row.frames for row in job.file.rows[:number])
    return {
        "timestamp": (index / job.features.rate).astype(np.float32),
        "frame_index": index,
        "episode_index": np.full(frames, job.file.first_episode + number),
        "index": job.file.first_frame + before + index,
        "task_index": np.full(frames, job.file.tasks[number]),
    }


def _extras(job: _FileJob, number: int, source: _StoredArrays) -> dict[str, Any]:
    """What LeRobot has no place for; images and what became a column are left to LeRobot."""
    row = source.row
    elsewhere = {column.array for column in job.features.columns.values()}
    kept = (name for name in source if name not in elsewhere and source[name].dtype == np.float64)
    facts = row.facts()
    for camera in facts["views"].values():
        for field in job.options.without:
            camera[field] = False
    return {
        "episode_index": job.file.first_episode + number,
        "metadata": json.dumps(facts),
        "robot_description": read_robot(source.dataset, row.robot),
        "arrays": [
            dict(zip(EXTRA_ARRAY, (name, source[name].shape, source[name].reshape(-1)), strict=True))
            for name in sorted(kept)
        ],
    }


def _episode_row(job: _FileJob, number: int, statistics: dict[str, Statistics]) -> dict[str, Any]:
    file, row = job.file, job.file.rows[number]
    before = sum(other.frames for other in file.rows[:number])
    first = file.first_frame + before
    chunk_and_file = {"chunk_index": file.chunk, "file_index": file.file}
    times = {"from_timestamp": before / job.features.rate, "to_timestamp": (before + row.frames) / job.features.rate}
    return {
        "episode_index": file.first_episode + number,
        "tasks": [job.tasks[file.tasks[number]]],
        "length": row.frames,
        "dataset_from_index": first,
        "dataset_to_index": first + row.frames,
        **{f"data/{name}": value for name, value in chunk_and_file.items()},
        **{f"meta/episodes/{name}": value for name, value in chunk_and_file.items()},
        **{
            f"videos/{key}/{name}": value
            for key in job.features.films
            for name, value in {**chunk_and_file, **times}.items()
        },
        **{
            f"stats/{key}/{name}": values.tolist()
            for key, found in statistics.items()
            for name, values in found.items()
        },
    }


def _complete(conversion: Conversion) -> None:
    """The last files; with ``info.json`` the folder is a data set."""
    folder, options = conversion.folder, conversion.options
    for left_over in folder.rglob(".*.partial"):
        left_over.unlink()
    with write_tables(folder / TASKS, None) as write:
        write(tasks_table(conversion.tasks))
    parts = (place(folder, EPISODES, chunk=file.chunk, file=file.file) for file in conversion.files)
    statistics = together(found for part in parts for found in read_statistics(part, conversion.features))
    listed = {
        key: {name: values.tolist() for name, values in found.items()} for key, found in sorted(statistics.items())
    }
    write_whole(folder / STATS, json.dumps(listed, indent=1) + "\n")
    films = {key: describe(place(folder, FILMS, chunk=0, file=0, key=key)) for key in conversion.features.films}
    info = {
        "codebase_version": VERSION,
        "robot_type": options.robot_type or None,
        "total_episodes": conversion.episodes,
        "total_frames": conversion.frames,
        "total_tasks": len(conversion.tasks),
        "chunks_size": options.files_per_chunk,
        "data_files_size_in_mb": options.data_file_mb,
        "video_files_size_in_mb": options.video_file_mb,
        "fps": plain(conversion.features.rate),
        "splits": {"train": f"0:{conversion.episodes}"},
        "data_path": DATA,
        "video_path": FILMS if films else None,
        "features": conversion.features.described(films),
    }
    write_whole(folder / INFO, json.dumps(info, indent=1, ensure_ascii=False) + "\n")
