"""Rendered articulated objects into a folder: in parallel, resumable, the same content for the same seeds."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from fourd_ros import __version__
from fourd_ros.data.articulated_shards import MANIFEST, SHARDS, ArticulatedShards, write_objects
from fourd_ros.data.episode_shards import Shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.data.partdrag4d_folder import PROCESSED, PartDrag4DFolder, StateName, write_states
from fourd_ros.data.partdrag4d_writer import is_written, write_object
from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.articulated import ARTICULATED_SPLITS, sample_articulated
from fourd_ros.simulation.articulated_export import object_files
from fourd_ros.simulation.articulated_rendering import ArticulatedOptions, render_articulated
from fourd_ros.simulation.blender import pictures_by_blender
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

DISTRIBUTION = 1
"""Counts up whenever the same seed gives another object."""

OBJECTS_PER_SHARD = 8
Layout = Literal["packed", "partdrag4d"]
RenderingProgram = Literal["mujoco", "blender"]


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Objects that one process renders."""

    folder: Path
    seeds: range
    options: ArticulatedOptions
    layout: Layout
    renderer: RenderingProgram


def record_articulated(
    folder: Path | str,
    split: str,
    seeds: range,
    options: ArticulatedOptions,
    *,
    layout: Layout = "partdrag4d",
    renderer: RenderingProgram = "mujoco",
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[int]:
    """Render the objects that are missing, then write lists and manifest; yields how many a job has seen to.

    Args:
        folder: of the data set; made where it is missing.
        split: which the seeds belong to, see `articulated_seeds`.
        seeds: of the objects.
        options: what is rendered.
        layout: `packed` for shards, `partdrag4d` for the files of PartDrag-4D.
        renderer: what makes the pictures of the latter; shards are always rendered by MuJoCo.
        workers: processes.
        ray: render in Ray tasks.
        address: of a Ray cluster that sees the same folder; see `run_jobs`.

    Raises:
        InvalidDataset: the folder holds something else, or objects rendered otherwise.
        MissingDependency: no OpenGL library, Blender or Ray is installed.
        JobFailed: see `run_jobs`.
    """
    folder = Path(folder).resolve()
    claim = _claim(folder, split, options, layout, renderer)
    step = OBJECTS_PER_SHARD if layout == "packed" else 1
    jobs = {}
    for start in range(0, len(seeds), step):
        part = seeds[start : start + step]
        jobs[f"objects-{part[0]:07d}"] = _Job(
            folder=folder, seeds=part, options=options, layout=layout, renderer=renderer
        )
    for _, done in run_jobs(_render, jobs, workers=workers, ray=ray, address=address):
        yield done
    if layout == "partdrag4d":
        files = PartDrag4DFolder(folder)
        write_states(files.list(split), [state for state in files.states if _is_object(files, state)])
    _write_manifest(folder, claim | content(folder, layout))


def content(folder: Path, layout: Layout) -> dict[str, Any]:
    """How many objects a folder holds, and of which kinds or classes."""
    if layout == "packed":
        shards = ArticulatedShards(folder)
        kinds = Counter(shards.object(name).facts.kind for name in shards.names)
        states = sum(len(shards.object(name).facts.states) for name in shards.names)
        return {"objects": len(shards), "states": states, "kinds": dict(sorted(kinds.items()))}
    objects = sorted((folder / PROCESSED).glob("[!.]*/[!.]*"))
    classes = Counter(path.parent.name for path in objects)
    return {"objects": len(objects), "states": len(PartDrag4DFolder(folder).states), "kinds": dict(classes)}


def _is_object(files: PartDrag4DFolder, state: StateName) -> bool:
    return any((files.root / PROCESSED).glob(f"*/{state.object}"))


def _claim(
    folder: Path, split: str, options: ArticulatedOptions, layout: Layout, renderer: RenderingProgram
) -> dict[str, Any]:
    """What is the same for all objects of a folder, noted there; or an error where something else is."""
    claim: dict[str, Any] = {
        "split": split,
        "kinds_of_split": list(ARTICULATED_SPLITS[split].kinds),
        "layout": layout,
        "renderer": renderer,
        "distribution": DISTRIBUTION,
        "options": asdict(options),
        "versions": {"fourd_ros": __version__, "mujoco": version("mujoco")},
    }
    path = folder / MANIFEST
    if not path.exists():
        _write_manifest(folder, claim)
        return claim
    found = read_object(path, error=InvalidDataset)
    other = sorted(key for key in claim if found.get(key) != claim[key])
    if other:
        raise InvalidDataset(
            f"'{folder}' holds objects rendered with other {', '.join(other)}; name another folder or remove it"
        )
    return claim


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _render(job: _Job) -> int:
    (_render_shard if job.layout == "packed" else _render_files)(job)
    return len(job.seeds)


def _render_shard(job: _Job) -> None:
    path = job.folder / SHARDS / f"objects-{job.seeds[0]:07d}.safetensors"
    wanted = {f"{seed:07d}/facts" for seed in job.seeds}
    if path.exists() and wanted <= set(Shard(path).names):
        return
    write_objects(path, [render_articulated(seed, job.options) for seed in job.seeds])


def _render_files(job: _Job) -> None:
    folder = PartDrag4DFolder(job.folder)
    for seed in job.seeds:
        item = sample_articulated(seed)
        if is_written(folder, item.category, item.name):
            continue
        facts, arrays = render_articulated(seed, job.options)
        pictures = pictures_by_blender(item, facts) if job.renderer == "blender" else None
        write_object(folder, facts, arrays, files=object_files(item, facts), pictures=pictures)
