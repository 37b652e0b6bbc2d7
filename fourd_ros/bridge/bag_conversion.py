"""Bags become episodes of a data set, each bag once, with a report of what came of it."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.bridge.episode_reader import bag_id, read_episodes
from fourd_ros.data.dropped import Dropped
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.errors import InvalidDataset, InvalidInput
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

REPORTS = "conversions"
"""Folder of the reports in a data set, a JSON file a bag."""


@dataclass(frozen=True, kw_only=True)
class BagJob:
    """One bag to convert.

    Args:
        bag: rosbag2 folder, ``.mcap`` or ``.db3`` file.
        dataset: folder of the data set.
        options: how.
    """

    bag: Path
    dataset: Path
    options: EpisodeOptions


@dataclass(frozen=True, kw_only=True)
class BagReport:
    """What came of one bag.

    Args:
        bag: its path.
        id: its name in the data set; names of episodes and shards begin with it.
        bytes: of its files.
        seconds: that the conversion took.
        frames: by the name of the episode.
        dropped: what was left out.
        error: why nothing came of it, empty otherwise.
        resumed: it was converted before, and nothing was done now.
    """

    bag: str
    id: str
    bytes: int
    seconds: float
    frames: Mapping[str, int]
    dropped: tuple[Dropped, ...]
    error: str = ""
    resumed: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def bag_bytes(bag: Path) -> int:
    """Size of the files of a bag."""
    files = [bag] if bag.is_file() else [file for file in bag.glob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def bag_jobs(bags: Iterable[Path], dataset: Path, options: EpisodeOptions) -> dict[str, BagJob]:
    """A job for each bag by its path; of bags with one name and one content only the first."""
    known: set[str] = set()
    jobs: dict[str, BagJob] = {}
    for bag in bags:
        try:
            name = bag_id(bag)
        except InvalidInput:
            name = str(bag)  # the job itself reports it
        if name not in known:
            known.add(name)
            jobs[str(bag)] = BagJob(bag=bag, dataset=dataset, options=options)
    return jobs


def convert_bag(job: BagJob, *, progress: Callable[[float], None] | None = None) -> BagReport:
    """Add the episodes of a bag to a data set.

    A bag that was converted whole is left alone; of one whose conversion was interrupted, the episodes that are there
    are kept and the others added. A bag that cannot be read is reported, not raised.

    Args:
        job: what to do.
        progress: called now and then with the share that is done.

    Raises:
        InvalidDataset: the folder is no data set, or holds episodes of that bag that were made with other options.
        MissingDependency: pyarrow is not installed.
    """
    began = time.monotonic()
    try:
        name = bag_id(job.bag)
    except InvalidInput as error:
        return _failed(job, job.bag.name, str(error))
    path = job.dataset / REPORTS / f"{name}.json"
    options = _plain(job.options)
    if (former := _read(path)) is not None:
        if former["options"] != options:
            raise InvalidDataset(
                f"'{job.dataset}' has episodes of '{name}' that were made with other options ({path}); "
                "name another data set"
            )
        report: BagReport | None = former["report"]
        if report is not None:
            return report
    frames: dict[str, int] = {}
    dropped: list[Dropped] = []
    with EpisodeDatasetWriter(job.dataset, part=name) as writer:
        _write(path, options, None)
        try:
            for found in read_episodes(job.bag, job.options, progress=progress):
                if isinstance(found, Dropped):
                    dropped.append(found)
                    continue
                frames[found.name] = len(found.times)
                if not writer.has(found.name):
                    writer.add(found)
                del found  # else it would be in memory beside the next
        except InvalidDataset:
            raise
        except InvalidInput as error:
            return _failed(job, name, str(error))
    report = BagReport(
        bag=str(job.bag),
        id=name,
        bytes=bag_bytes(job.bag),
        seconds=time.monotonic() - began,
        frames=frames,
        dropped=tuple(dropped),
    )
    _write(path, options, report)
    return report


def _plain(options: EpisodeOptions) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(options.as_dict()))
    return plain


def _failed(job: BagJob, name: str, error: str) -> BagReport:
    return BagReport(bag=str(job.bag), id=name, bytes=0, seconds=0.0, frames={}, dropped=(), error=error)


def _write(path: Path, options: Mapping[str, Any], report: BagReport | None) -> None:
    """A report of None says that the conversion has begun."""
    write_whole(path, json.dumps({"options": options, "report": report and report.as_dict()}, indent=1) + "\n")


def _read(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    found = read_object(path, error=InvalidDataset)
    try:
        report = found["report"]
        return {"options": found["options"], "report": report and _restored(report)}
    except (KeyError, TypeError) as error:
        raise InvalidDataset(f"'{path}' is damaged: {error}; remove it to convert its bag again") from error


def _restored(report: Mapping[str, Any]) -> BagReport:
    dropped = tuple(Dropped(**entry) for entry in report["dropped"])
    return BagReport(**{**report, "dropped": dropped, "resumed": True})
