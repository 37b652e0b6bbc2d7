"""Scenes of solids into a folder: in parallel, resumable, the same content for the same seeds."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fourd_ros import __version__
from fourd_ros.data.compositional_shards import MANIFEST, SHARDS, CompositionalShards, write_scenes
from fourd_ros.data.episode_shards import Shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.compositional_scenes import CompositionalOptions, film_scene
from fourd_ros.simulation.compositional_splits import compositional_seeds, kinds_of
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

DISTRIBUTION = 1
"""Counts up whenever the same seed gives another scene."""

SCENES_PER_SHARD = 32


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Scenes that one process films."""

    folder: Path
    split: str
    seeds: tuple[int, ...]
    options: CompositionalOptions


def record_compositional(
    folder: Path | str,
    split: str,
    scenes: Mapping[str, int],
    options: CompositionalOptions,
    *,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[int]:
    """Film the scenes that are missing, then write the manifest; yields how many a job has seen to.

    Args:
        folder: of the data set; made where it is missing.
        split: see `compositional_splits`.
        scenes: how many of each layout.
        options: how they are filmed.
        workers: processes.
        ray: film in Ray tasks.
        address: of a Ray cluster that sees the same folder; see `run_jobs`.

    Raises:
        InvalidDataset: the folder holds something else, or scenes filmed otherwise; there is no such split or layout.
        MissingDependency: no OpenGL library or Ray is installed.
        JobFailed: see `run_jobs`.
    """
    folder = Path(folder).resolve()
    jobs = {}
    for layout, count in scenes.items():
        seeds = compositional_seeds(split, scenes={layout: count})
        for start in range(0, len(seeds), SCENES_PER_SHARD):
            part = tuple(seeds[start : start + SCENES_PER_SHARD])
            jobs[f"scenes-{part[0]:010d}"] = _Job(folder=folder, split=split, seeds=part, options=options)
    claim = _claim(folder, split, options)
    for _, done in run_jobs(_film, jobs, workers=workers, ray=ray, address=address):
        yield done
    _write_manifest(folder, claim | content(folder))


def content(folder: Path | str) -> dict[str, Any]:
    """How many scenes a folder holds, and of what."""
    shards = CompositionalShards(folder)
    facts = [shards.facts(index) for index in range(len(shards))]
    return {
        "scenes": len(shards),
        "layouts": dict(sorted(Counter(one.layout for one in facts).items())),
        "behaviours": dict(sorted(Counter(one.behaviour for one in facts).items())),
        "kinds": dict(sorted(Counter(solid.kind for one in facts for solid in one.solids).items())),
    }


def _claim(folder: Path, split: str, options: CompositionalOptions) -> dict[str, Any]:
    """What is the same for all scenes of a folder, noted there; or an error where something else is."""
    claim: dict[str, Any] = {
        "split": split,
        "split_kinds": list(kinds_of(split)),
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
            f"'{folder}' holds scenes filmed with other {', '.join(other)}; name another folder or remove it"
        )
    return claim


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _film(job: _Job) -> int:
    path = job.folder / SHARDS / f"scenes-{job.seeds[0]:010d}.safetensors"
    wanted = {f"{seed:010d}/facts" for seed in job.seeds}
    if not (path.exists() and wanted <= set(Shard(path).names)):
        write_scenes(path, [film_scene(seed, job.split, job.options) for seed in job.seeds])
    return len(job.seeds)
