"""Tabletop episodes into a data set: in parallel, resumable, the same bytes for the same seeds."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fourd_ros import __version__
from fourd_ros.data.dataset_card import DatasetCard
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.episode_writer import EpisodeDatasetWriter
from fourd_ros.data.parallel import run_jobs
from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.tabletop import TabletopOptions, episode_name, record_tabletop
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import is_vacant, write_whole

MANIFEST = "tabletop.json"
DISTRIBUTION = 2
"""Counts up whenever the same seed gives another episode."""

JOB_EPISODES = 50


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Episodes that one process records into a part of its own."""

    folder: Path
    split: str
    seeds: range
    options: TabletopOptions


def record_tabletop_dataset(
    folder: Path | str,
    split: str,
    seeds: range,
    options: TabletopOptions,
    *,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[int]:
    """Record the episodes that are missing, then write the manifest; yields how many a finished job has seen to.

    Args:
        folder: of the data set; made where it is missing.
        split: which the seeds belong to, see `tabletop_seeds`.
        seeds: of the episodes.
        options: how they are drawn.
        workers: processes.
        ray: record in Ray tasks.
        address: of a Ray cluster that sees the same folder; see `run_jobs`.

    Raises:
        InvalidDataset: the folder holds something else, or episodes recorded otherwise; there is no such split.
        MissingDependency: no OpenGL library, pyarrow or Ray is installed.
        JobFailed: see `run_jobs`.
    """
    folder = Path(folder).resolve()
    claim = _claim(folder, split, options)
    jobs = {}
    for start in range(0, len(seeds), JOB_EPISODES):
        job = _Job(folder=folder, split=split, seeds=seeds[start : start + JOB_EPISODES], options=options)
        jobs[f"seeds-{job.seeds[0]:010d}"] = job
    for _, done in run_jobs(_record, jobs, workers=workers, ray=ray, address=address):
        yield done
    _write_manifest(folder, claim | content(EpisodeDataset(folder)))


def content(dataset: EpisodeDataset) -> dict[str, Any]:
    """How many episodes a data set holds, of which seeds, and a hash of their content whatever shards they lie in."""
    rows = sorted(dataset.rows(), key=lambda row: row.name)
    digest = hashlib.sha256()
    for row in rows:
        digest.update(f"{row.name} {row.sha256}\n".encode())
    seeds = [row.seed for row in rows if row.seed is not None]
    return {"episodes": len(rows), "seeds": _ranges(seeds), "sha256": digest.hexdigest()}


def _ranges(seeds: Sequence[int]) -> list[list[int]]:
    """First and last of every run of consecutive numbers."""
    runs: list[list[int]] = []
    for seed in seeds:
        if runs and seed == runs[-1][1] + 1:
            runs[-1][1] = seed
        else:
            runs.append([seed, seed])
    return runs


def _claim(folder: Path, split: str, options: TabletopOptions) -> dict[str, Any]:
    """What is the same for all episodes of a folder, noted there; or an error where something else is."""
    claim: dict[str, Any] = {
        "split": split,
        "distribution": DISTRIBUTION,
        "options": asdict(options),
        "versions": {"fourd_ros": __version__, "mujoco": version("mujoco"), "numpy": version("numpy")},
    }
    path = folder / MANIFEST
    if not path.exists():
        if not is_vacant(folder) and any((folder / "index").glob("*.parquet")):
            raise InvalidDataset(f"'{folder}' holds episodes that were not recorded for a tabletop split")
        card = DatasetCard(
            name=f"tabletop_{split}",
            description=f"Manipulation on a table, split '{split}' of the compact world model's data.",
            licence="Apache-2.0",
            made_by=f"fourd data tabletop --split {split}",
        )
        with EpisodeDatasetWriter(folder, card=card):
            pass
        _write_manifest(folder, claim)
        return claim
    found = read_object(path, error=InvalidDataset)
    other = sorted(key for key in claim if found.get(key) != claim[key])
    if other:
        raise InvalidDataset(
            f"'{folder}' holds episodes recorded with other {', '.join(other)}; name another folder or remove it"
        )
    return claim


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _record(job: _Job) -> int:
    with EpisodeDatasetWriter(job.folder, part=f"seeds-{job.seeds[0]:010d}") as writer:
        for seed in job.seeds:
            if not writer.has(episode_name(seed)):
                writer.add(record_tabletop(seed, job.split, options=job.options))
    return len(job.seeds)
