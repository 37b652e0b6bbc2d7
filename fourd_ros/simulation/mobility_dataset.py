"""Objects of PartNet-Mobility into files of PartDrag-4D: in parallel, resumable."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from fourd_ros.data.articulated_shards import MANIFEST
from fourd_ros.data.parallel import run_jobs
from fourd_ros.data.partdrag4d_folder import PROCESSED, PartDrag4DFolder, write_states
from fourd_ros.data.partdrag4d_writer import is_written, write_object
from fourd_ros.data.partnet_mobility import copy_pictures, mesh_files, read_mobility
from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.articulated_rendering import ArticulatedOptions
from fourd_ros.simulation.mobility_rendering import render_mobility
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

LIST = "all"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """An object that one process renders."""

    source: Path
    folder: Path
    category: str
    options: ArticulatedOptions
    seed: int


def record_mobility(
    source: Path,
    folder: Path,
    categories: Mapping[str, str],
    options: ArticulatedOptions,
    *,
    seed: int = 0,
    workers: int = 1,
    ray: bool = False,
    address: str | None = None,
) -> Iterator[tuple[str, str]]:
    """Render the objects that are missing, then write the list of states.

    Args:
        source: with a folder for each object.
        folder: of the data set; made where it is missing.
        categories: class of each object by id.
        options: what is rendered.
        seed: draws which other joints stand at which ends.
        workers: processes.
        ray: render in Ray tasks.
        address: of a Ray cluster that sees the same folders; see `run_jobs`.

    Yields:
        Id of an object and why it was left out, "" where it is there now.

    Raises:
        InvalidDataset: the folder holds something else, or objects rendered otherwise.
        MissingDependency: no OpenGL library or Ray is installed.
        JobFailed: see `run_jobs`.
    """
    folder = folder.resolve()
    claim = {"layout": "partdrag4d", "source": "PartNet-Mobility", "seed": seed, "options": asdict(options)}
    path = folder / MANIFEST
    if not path.exists():
        write_whole(path, json.dumps(claim, indent=1) + "\n")
    elif (found := read_object(path, error=InvalidDataset)) != claim:
        other = sorted(key for key in {*claim, *found} if found.get(key) != claim.get(key))
        raise InvalidDataset(
            f"'{folder}' holds objects with other {', '.join(other)}; name another folder or remove it"
        )
    jobs = {
        name: _Job(source=source.resolve() / name, folder=folder, category=category, options=options, seed=seed)
        for name, category in categories.items()
    }
    yield from run_jobs(_render, jobs, workers=workers, ray=ray, address=address)
    files = PartDrag4DFolder(folder)
    whole = {path.name for path in (folder / PROCESSED).glob("[!.]*/[!.]*")}
    write_states(files.list(LIST), [state for state in files.states if state.object in whole])


def _render(job: _Job) -> str:
    """Why the object is left out, or nothing."""
    folder = PartDrag4DFolder(job.folder)
    if is_written(folder, job.category, job.source.name):
        return ""
    try:
        item = read_mobility(job.source)
        facts, arrays = render_mobility(item, job.category, job.options, seed=job.seed)
        write_object(folder, facts, arrays, files=mesh_files(item), complete=partial(copy_pictures, item))
    except InvalidDataset as error:
        return str(error)
    return ""
