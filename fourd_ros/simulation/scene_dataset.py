"""Sequences of scene language into a folder: in parallel, resumable, the same content for the same seeds."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fourd_ros import __version__
from fourd_ros.data.episode_shards import Shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.data.scene_shards import MANIFEST, SHARDS, SceneShards, write_sequences
from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.scene_sequences import EVERYWHERE, SequenceOptions, film_sequence
from fourd_ros.simulation.scene_splits import find_scene_split
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

DISTRIBUTION = 2
"""Counts up whenever the same seed gives another sequence."""

SEQUENCES_PER_SHARD = 16


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Sequences that one process films."""

    folder: Path
    split: str
    seeds: range
    options: SequenceOptions


def record_scenes(
    folder: Path | str,
    split: str,
    seeds: range,
    options: SequenceOptions,
    *,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[int]:
    """Film the sequences that are missing, then write the manifest; yields how many a job has seen to.

    Args:
        folder: of the data set; made where it is missing.
        split: which the seeds belong to, see `scene_seeds`.
        seeds: of the sequences.
        options: how they are filmed.
        workers: processes.
        ray: film in Ray tasks.
        address: of a Ray cluster that sees the same folder; see `run_jobs`.

    Raises:
        InvalidDataset: the folder holds something else, or sequences filmed otherwise; there is no such split.
        MissingDependency: no OpenGL library or Ray is installed.
        JobFailed: see `run_jobs`.
    """
    folder = Path(folder).resolve()
    claim = _claim(folder, split, options)
    jobs = {}
    for start in range(0, len(seeds), SEQUENCES_PER_SHARD):
        part = seeds[start : start + SEQUENCES_PER_SHARD]
        jobs[f"sequences-{part[0]:010d}"] = _Job(folder=folder, split=split, seeds=part, options=options)
    for _, done in run_jobs(_film, jobs, workers=workers, ray=ray, address=address):
        yield done
    _write_manifest(folder, claim | content(folder))


def content(folder: Path | str) -> dict[str, Any]:
    """How many sequences and frames a folder holds, what happens in them, and how often things are named."""
    shards = SceneShards(folder)
    facts = [shards.facts(index) for index in range(len(shards))]
    everywhere = {number for _, number in EVERYWHERE}
    categories = Counter(thing.category for one in facts for thing in one.things if thing.number not in everywhere)
    return {
        "sequences": len(shards),
        "frames": sum(shards.length(index) for index in range(len(shards))),
        "behaviours": dict(sorted(Counter(one.behaviour for one in facts).items())),
        "categories": dict(sorted(categories.items())),
    }


def _claim(folder: Path, split: str, options: SequenceOptions) -> dict[str, Any]:
    """What is the same for all sequences of a folder, noted there; or an error where something else is."""
    claim: dict[str, Any] = {
        "split": split,
        "of_tabletop": asdict(find_scene_split(split)),
        "distribution": DISTRIBUTION,
        "options": asdict(options),
        "versions": {"fourd_ros": __version__, "mujoco": version("mujoco"), "numpy": version("numpy")},
    }
    path = folder / MANIFEST
    if not path.exists():
        _write_manifest(folder, claim)
        return claim
    found = read_object(path, error=InvalidDataset)
    other = sorted(key for key in claim if found.get(key) != claim[key])
    if other:
        raise InvalidDataset(
            f"'{folder}' holds sequences filmed with other {', '.join(other)}; name another folder or remove it"
        )
    return claim


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _film(job: _Job) -> int:
    path = job.folder / SHARDS / f"sequences-{job.seeds[0]:010d}.safetensors"
    wanted = {f"{seed:010d}/facts" for seed in job.seeds}
    if not (path.exists() and wanted <= set(Shard(path).names)):
        write_sequences(path, [film_sequence(seed, job.split, job.options) for seed in job.seeds])
    return len(job.seeds)
