"""Reading LeRobotDataset v3.0 folders into data sets of episodes.

Folders that `lerobot_writer` wrote come back exactly; from others comes what LeRobot has a place for.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.depth_steps import to_steps
from fourd_ros.data.dropped import Dropped
from fourd_ros.data.episode import Episode, expected_arrays, put_together
from fourd_ros.data.episode_index import IndexedCamera
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.data.lerobot_features import FeatureSet
from fourd_ros.data.lerobot_foreign import ForeignOptions, ForeignReading, plan_foreign
from fourd_ros.data.lerobot_frames import EpisodeFrames, frames_of, stacked
from fourd_ros.data.lerobot_info import EpisodePlace, LeRobotFolder
from fourd_ros.data.lerobot_layout import CONVERSION
from fourd_ros.data.lerobot_writer import Progress, unheard
from fourd_ros.data.parallel import run_jobs, runs_here
from fourd_ros.errors import FourdError, InvalidDataset
from fourd_ros.strict_json import parse_object, read_object


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A LeRobot folder on its way into a data set.

    Args:
        folder: of LeRobot.
        dataset: folder to be written.
        files: episodes of every file of numbers, by chunk and file.
        foreign: how a folder is understood that `lerobot_writer` did not write; None for one that it did.
    """

    folder: Path
    dataset: Path
    files: Mapping[tuple[int, int], tuple[EpisodePlace, ...]]
    foreign: ForeignReading | None

    @property
    def frames(self) -> int:
        """Of all episodes together."""
        return sum(episode.frames for episodes in self.files.values() for episode in episodes)

    @property
    def dropped(self) -> tuple[Dropped, ...]:
        """What will not be there."""
        return self.foreign.dropped if self.foreign else ()


@dataclass(frozen=True, kw_only=True)
class Read:
    """What was done.

    Args:
        added: episodes that are new in the data set.
        known: episodes that were there already.
    """

    added: int = 0
    known: int = 0

    def __add__(self, other: "Read") -> "Read":
        return Read(added=self.added + other.added, known=self.known + other.known)


@dataclass(frozen=True, kw_only=True)
class _FileJob:
    folder: Path
    dataset: Path
    chunk: int
    file: int
    episodes: tuple[EpisodePlace, ...]
    foreign: ForeignReading | None


def plan_reading(folder: Path, dataset: Path, options: ForeignOptions | None = None) -> Reading:
    """Look at a LeRobot folder and decide how its features are understood.

    Args:
        folder: of LeRobot.
        dataset: folder of episodes; may hold what an interrupted reading left.
        options: what folders do not say that `lerobot_writer` did not write.

    Raises:
        InvalidDataset: no LeRobotDataset v3.0, damaged, or without joints.
        MissingCamera: a camera's calibration is not known.
    """
    source = LeRobotFolder(folder)
    return Reading(
        folder=folder,
        dataset=dataset,
        files={place: tuple(episodes) for place, episodes in source.files().items()},
        foreign=None if source.exact else plan_foreign(source, options or ForeignOptions()),
    )


def read(
    reading: Reading,
    *,
    progress: Progress = unheard,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Read:
    """Add what is missing to the data set.

    Args:
        reading: what `plan_reading` found.
        progress: hears of frames as they are done, of whole files where several processes work.
        workers: processes at a time.
        ray: work as Ray tasks.
        address: of a Ray cluster.

    Raises:
        InvalidDataset: the folder is damaged.
        MissingDependency: Ray was asked for and is not installed.
    """
    # The card is there before the workers, so that none of them makes one up.
    EpisodeDatasetWriter(reading.dataset, card=_card(reading)).close()
    jobs = {
        f"file {chunk}/{file}": _FileJob(
            folder=reading.folder,
            dataset=reading.dataset,
            chunk=chunk,
            file=file,
            episodes=episodes,
            foreign=reading.foreign,
        )
        for (chunk, file), episodes in reading.files.items()
    }
    here = runs_here(jobs, workers=workers, ray=ray)
    function = partial(_read_file, progress=progress) if here else _read_file
    done = Read()
    for key, part in run_jobs(function, jobs, workers=workers, ray=ray, address=address):
        done += part
        if not here:
            progress(sum(place.frames for place in jobs[key].episodes))
    return done


def _card(reading: Reading) -> DatasetCard | None:
    if reading.foreign:
        return None
    path = reading.folder / CONVERSION
    try:
        return DatasetCard(**read_object(path, error=InvalidDataset)["card"])
    except (KeyError, TypeError) as error:
        raise InvalidDataset(f"'{path}' is damaged: {type(error).__name__}: {error}") from error


def _read_file(job: _FileJob, progress: Progress = unheard) -> Read:
    source = LeRobotFolder(job.folder)
    understand = _Foreign(source, job.foreign) if job.foreign else _Exact(source, job.chunk, job.file)
    with EpisodeDatasetWriter(job.dataset, part=f"lerobot-{job.chunk:03d}-{job.file:03d}") as writer:
        todo = [place for place in job.episodes if not writer.has(understand.name(place.index))]
        progress(sum(place.frames for place in job.episodes) - sum(place.frames for place in todo))
        for place, rows in frames_of(source.data_path(job.chunk, job.file), todo):
            try:
                writer.add(understand.episode(EpisodeFrames(source, place, rows)))
            except (FourdError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise InvalidDataset(f"episode {place.index} of '{job.folder}': {error}") from error
            progress(place.frames)
    return Read(added=len(todo), known=len(job.episodes) - len(todo))


class _Foreign:
    """Episodes that others wrote."""

    def __init__(self, source: LeRobotFolder, reading: ForeignReading) -> None:
        self._reading, self._tasks = reading, source.tasks()

    def name(self, index: int) -> str:
        return self._reading.episode_name(index)

    def episode(self, frames: EpisodeFrames) -> Episode:
        return self._reading.episode(frames, self._tasks)


class _Exact:
    """Episodes that `lerobot_writer` wrote, with all that LeRobot has no place for."""

    def __init__(self, source: LeRobotFolder, chunk: int, file: int) -> None:
        self._rows = source.extras(chunk, file)
        self._folder = source.folder

    def name(self, index: int) -> str:
        return str(self._facts(index)["name"])

    def episode(self, frames: EpisodeFrames) -> Episode:
        row = self._rows[frames.place.index]
        facts = {**self._facts(frames.place.index), "robot_description": row["robot_description"]}
        arrays = {array["name"]: _kept_array(array) for array in row["arrays"]} | _frame_arrays(frames, facts)
        return put_together(facts, arrays.__getitem__)

    def _facts(self, index: int) -> dict[str, Any]:
        try:
            text = self._rows[index]["metadata"]
            return parse_object(text.encode(), what=f"metadata of episode {index}", error=InvalidDataset)
        except (KeyError, AttributeError) as error:
            raise InvalidDataset(f"'{self._folder}': meta/fourd lacks episode {index}") from error


def _kept_array(array: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.array(array["values"], np.float64).reshape(array["shape"])


def _frame_arrays(frames: EpisodeFrames, facts: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """What LeRobot has a place for."""
    features, expected = FeatureSet.of_facts(facts), expected_arrays(facts, frames.place.frames)
    arrays: dict[str, NDArray[Any]] = {}
    for key, column in features.columns.items():
        shape, _ = expected[column.array]
        arrays[column.array] = frames.numbers(key, len(column.names)).reshape(shape)
    for key, camera in features.films.items():
        name = f"{camera.name}/rgb"
        arrays[name] = stacked(frames.film(key, _size(camera)), *expected[name])
    for key, camera in features.depth.items():
        name = f"{camera.name}/depth"
        steps_of_depth = (to_steps(image) for image in frames.images(key, _size(camera), "F"))
        arrays[name] = stacked(steps_of_depth, expected[name][0], np.uint16)
    for key, camera in features.segmentation.items():
        name = f"{camera.name}/segmentation"
        arrays[name] = stacked(frames.images(key, _size(camera), "L"), *expected[name])
    return arrays


def _size(camera: IndexedCamera) -> tuple[int, int]:
    return camera.width, camera.height
