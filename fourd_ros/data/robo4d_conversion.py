"""A data set of episodes becomes a folder of the layout of Robo4D-200k: in parallel, resumable."""

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_index import INDEX, EpisodeRow
from fourd_ros.data.parallel import run_jobs
from fourd_ros.data.robo4d_clips import ROBOT_MOTION, ClipOptions, PlannedClip, make_clip, plan_clips
from fourd_ros.data.robo4d_folder import Robo4DFolder, checked_name
from fourd_ros.data.robo4d_work import ClipOutcome, claim
from fourd_ros.data.robo4d_writer import FilmOptions, is_written, write_clip
from fourd_ros.errors import FourdError, InvalidDataset
from fourd_ros.geometry.pointmap_range import PERCENTILES
from fourd_ros.whole_file import is_vacant

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class EpisodeJob:
    """One episode to convert.

    Args:
        dataset: folder of the data set.
        row: of the episode.
        folder: where its clips go.
        options: how it is cut.
        films: how clips become films.
    """

    dataset: Path
    row: EpisodeRow
    folder: Robo4DFolder
    options: ClipOptions
    films: FilmOptions


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A data set on its way into such a folder.

    Args:
        folder: where clips go.
        jobs: by name of the episode.
    """

    folder: Robo4DFolder
    jobs: dict[str, EpisodeJob]

    def run(
        self, *, workers: int = 1, ray: bool = False, address: str | None = None
    ) -> Iterator[tuple[ClipOutcome, ...]]:
        """Convert what is missing; yields what became of the clips of each episode, then writes the lists.

        Args:
            workers: processes.
            ray: work in Ray tasks.
            address: of a Ray cluster.
        """
        for _, outcomes in run_jobs(_convert, self.jobs, workers=workers, ray=ray, address=address):
            yield outcomes
        self.folder.write_lists(self.folder.names_with_facts())


def plan_robo4d(
    dataset: Path,
    folder: Path,
    options: ClipOptions | None = None,
    films: FilmOptions | None = None,
    *,
    episodes: str = "*",
    split: str | None = None,
) -> Conversion:
    """See what is to be done, and claim the folder for it.

    Args:
        dataset: folder of episodes.
        folder: new, or with an interrupted conversion of the same data set.
        options: how episodes are cut.
        films: how clips become films.
        episodes: only those whose names match, like ``sim_*``.
        split: only those of ``train``, ``validation`` or ``test``.

    Raises:
        InvalidDataset: no episodes, or the folder holds something else or clips that were made with other options.
    """
    options, films = options or ClipOptions(), films or FilmOptions()
    source = EpisodeDataset(dataset, split=split)
    rows = [row for row in source.rows() if fnmatchcase(row.name, episodes)]
    if not rows:
        raise InvalidDataset(f"'{dataset}' has no episodes '{episodes}'" + (f" in '{split}'" if split else ""))
    target = Robo4DFolder(folder)
    if not target.manifest.exists() and not is_vacant(folder):
        raise InvalidDataset(f"'{folder}' holds something else; name a new folder")
    claim(target.manifest, _manifest(source.card, options, films), what="clips")
    jobs = {row.name: EpisodeJob(dataset=dataset, row=row, folder=target, options=options, films=films) for row in rows}
    return Conversion(folder=target, jobs=jobs)


def _manifest(card: DatasetCard, options: ClipOptions, films: FilmOptions) -> dict[str, Any]:
    """What holds for all clips; what differs is in the facts of each."""
    return {
        "format": FORMAT,
        "layout": "Robo4D-200k",
        "made_by": "fourd data to-robo4d",
        "dataset": card.name,
        "description": card.description,
        "licence": card.licence,
        "frames": options.frames,
        "height": options.height,
        "width": options.width,
        "rate": options.rate or "that of the episode",
        "stride": options.stride or options.frames,
        "cameras": list(options.cameras) or "all",
        "fit": options.fit,
        "too_short": "goes on backwards" if options.mirror else "left out",
        "robot_motion": ROBOT_MOTION,
        "points": {
            "frame": "optical frame of the clip's first picture: x right, y down, z forward [m]",
            "convention": options.convention,
            "percentiles": list(PERCENTILES),
            "films": "uint8((p + 1) * 127.5) of p = (point - centre) / scale; holes of the scene filled, no robot is 0",
            "range": "centre and scale in clips/<name>.json, the same for scene and robot",
        },
        "scene_films": films.scene,
        "robot_films": films.robot,
    }


def _convert(job: EpisodeJob) -> tuple[ClipOutcome, ...]:
    try:
        dataset = _opened(job.dataset, (job.dataset / INDEX).stat().st_mtime_ns)
        planned = list(plan_clips(dataset, job.row, job.options))
    except FourdError as error:
        return (ClipOutcome(name=job.row.name, problem=str(error)),)
    return tuple(clip if isinstance(clip, ClipOutcome) else _write(dataset, clip, job) for clip in planned)


@lru_cache(maxsize=1)
def _opened(folder: Path, changed_ns: int) -> EpisodeDataset:
    """The data set, opened once a process unless its index has changed since."""
    return EpisodeDataset(folder)


def _write(dataset: EpisodeDataset, clip: PlannedClip, job: EpisodeJob) -> ClipOutcome:
    try:
        if is_written(checked_name(clip.name), job.folder):
            return ClipOutcome(name=clip.name)
        write_clip(make_clip(dataset, job.row, clip, job.options), job.folder, job.films)
    except FourdError as error:
        return ClipOutcome(name=clip.name, problem=str(error))
    return ClipOutcome(name=clip.name, made=True)
