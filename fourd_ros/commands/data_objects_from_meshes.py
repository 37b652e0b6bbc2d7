"""``fourd data objects-from-meshes``: meshes and moving meshes become training data of compositional objects."""

import argparse
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fourd_ros.commands.arguments import add_parallel_options, non_negative_int, parallel_options, positive_int

if TYPE_CHECKING:
    from fourd_ros.compositional.mesh_assets import AssetOptions

SUMMARY = "points with normals and pictures out of GLB files and .anime sequences; goes on where it stopped"
EXAMPLES = [
    "fourd data objects-from-meshes 3d-front out/rooms",
    "fourd data objects-from-meshes DeformingThings4D/animals out/animals --z-up",
    "fourd data objects-from-meshes glbs out/objects --views 4 --size 256 --points 20480",
]

SETTINGS, VIEWS, SEQUENCES = "preparation.json", "objects.json", "sequences.json"


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One file."""

    source: Path
    folder: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which meshes, and how they are prepared."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder with .glb, .obj, .ply, .stl, .off, .anime")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of the data; made where it is missing")
    parser.add_argument("--points", type=positive_int, default=204_800, help="on each surface (default 204800)")
    parser.add_argument("--views", type=positive_int, default=11, help="pictures of an asset (default 11)")
    parser.add_argument("--size", type=positive_int, default=518, help="width and height of pictures (default 518)")
    parser.add_argument("--frames", type=positive_int, default=32, help="of a sequence, at most (default 32)")
    parser.add_argument("--outer", action="store_true", help="points only where a surface is seen from outside")
    parser.add_argument("--z-up", action="store_true", help="sequences stand along z, as animals of DeformingThings4D")
    parser.add_argument("--seed", type=non_negative_int, default=0, help="of the points (default 0)")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each file, no progress bar")
    add_parallel_options(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare what is missing, then write the lists; 1 where a file had to be left out."""
    from tqdm import tqdm

    from fourd_ros.compositional.mesh_assets import AssetOptions
    from fourd_ros.data.parallel import run_jobs
    from fourd_ros.errors import InvalidDataset

    options = AssetOptions(
        points=args.points,
        views=args.views,
        size=args.size,
        frames=args.frames,
        outer=args.outer,
        z_up=args.z_up,
        seed=args.seed,
    )
    jobs = _jobs(args.source, args.folder)
    if not jobs:
        raise InvalidDataset(f"'{args.source}' has no .glb, .obj, .ply, .stl, .off or .anime files")
    _claim(args.folder, options)
    counts: dict[str, int] = {}
    done = run_jobs(partial(_prepare, options=options), jobs, **parallel_options(args))
    for name, (count, reason) in tqdm(done, total=len(jobs), unit="file", disable=args.json or None):
        if not reason:
            counts[name] = count
        if args.json:
            print(json.dumps({"name": name, "count": count, "left_out": reason}), flush=True)
        elif reason:
            tqdm.write(f"{name} is left out: {reason}")
    _write_lists(args.folder, jobs, counts, options)
    if not args.json:
        print(f"{args.folder}: {len(counts)} of {len(jobs)} files")
    return 0 if len(counts) == len(jobs) else 1


def _jobs(source: Path, folder: Path) -> dict[str, _Job]:
    """The files below a folder by the name of what is made of them; ``_full`` ones repeat others."""
    from fourd_ros.compositional.mesh_assets import MESHES

    jobs: dict[str, _Job] = {}
    for path in sorted(source.rglob("*")):
        if path.suffix.lower() in (*MESHES, ".anime") and path.is_file() and not path.stem.endswith("_full"):
            name = "_".join(path.relative_to(source).with_suffix("").parts)
            if name in jobs:
                name += path.suffix.replace(".", "_")
            jobs[name] = _Job(source=path, folder=folder / name)
    return jobs


def _prepare(job: _Job, *, options: "AssetOptions") -> tuple[int, str]:
    """Parts or frames of a file, or why it cannot be used."""
    from fourd_ros.compositional.mesh_assets import prepare_asset, prepare_sequence
    from fourd_ros.errors import InvalidDataset

    prepare = prepare_sequence if job.source.suffix.lower() == ".anime" else prepare_asset
    try:
        return prepare(job.source, job.folder, options), ""
    except InvalidDataset as error:
        return 0, str(error)


def _claim(folder: Path, options: "AssetOptions") -> None:
    """Note how the data of a folder are prepared, or refuse where others are there already."""
    from fourd_ros.errors import InvalidDataset
    from fourd_ros.strict_json import read_object
    from fourd_ros.whole_file import write_whole

    path, wanted = folder / SETTINGS, asdict(options)
    if not path.exists():
        write_whole(path, json.dumps(wanted, indent=1) + "\n")
        return
    found = read_object(path, error=InvalidDataset)
    if other := sorted(key for key in wanted if found.get(key) != wanted[key]):
        raise InvalidDataset(f"'{folder}' holds data with other {', '.join(other)}; name another folder or remove it")


def _write_lists(folder: Path, jobs: dict[str, _Job], counts: dict[str, int], options: "AssetOptions") -> None:
    from fourd_ros.data.object_lists import (
        ObjectFrame,
        ObjectView,
        write_object_views,
        write_sequences,
    )
    from fourd_ros.data.object_surfaces import SURFACES

    views = [
        ObjectView(
            surface=jobs[name].folder / SURFACES,
            image=jobs[name].folder / f"render_{view:04d}.png",
            parts=count,
            mesh=str(jobs[name].source),
        )
        for name, count in sorted(counts.items())
        if jobs[name].source.suffix.lower() != ".anime"
        for view in range(options.views)
    ]
    sequences = {
        name: [
            ObjectFrame(
                surface=jobs[name].folder / f"frame_{number:04d}" / SURFACES,
                image=jobs[name].folder / f"frame_{number:04d}.png",
            )
            for number in range(1, count + 1)
        ]
        for name, count in sorted(counts.items())
        if jobs[name].source.suffix.lower() == ".anime"
    }
    if views:
        write_object_views(folder / VIEWS, views)
    if sequences:
        write_sequences(folder / SEQUENCES, sequences)
