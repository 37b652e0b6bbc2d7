"""Objects of a prepared video in a folder of GLB files, made step by step so that a stopped run goes on.

Layout (COM4D, arXiv 2512.05272, section 2 of the specification this was written from): ``scene/scene_000.glb`` and so
on (objects at rest, then those that move, at the reference frame), ``scene/scene_all.glb``, ``scene/scene.glb`` (at
rest alone), ``dynamic/object_001/frame_000.glb``, ``dynamic/dynamic_scene_frame_000.glb``. Beyond it
``animation.glb``, which viewers play, ``placement.json`` and ``reconstruction.json``, which is written last.
Coordinates are those of the cube [-1, 1]^3, y up.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.animated_glb import write_animated_glb
from fourd_ros.compositional.clip_window import ClipWindow
from fourd_ros.compositional.field_extraction import extract_surface
from fourd_ros.compositional.filmed_scene import FilmedScene
from fourd_ros.compositional.mesh_files import write_meshes
from fourd_ros.compositional.object_clip import ObjectClip
from fourd_ros.compositional.object_track import track_object
from fourd_ros.compositional.placed_objects import FilmOptions, place_shapes
from fourd_ros.compositional.prepared_clip import PreparedClip
from fourd_ros.compositional.shape_motion import object_poses
from fourd_ros.compositional.surface_mesh import SurfaceMesh, decimated
from fourd_ros.data.array_archive import ArchiveKind
from fourd_ros.errors import AlreadyExists, InvalidClip
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

if TYPE_CHECKING:
    from fourd_ros.compositional.model import CompositionalObjects, ObjectLatents, Progress

__all__ = ["ClipChoice", "reconstruct_folder"]

FACTS, WORK = "reconstruction.json", "work"
FORMAT = 1
FRAMES_PER_SECOND = 8.0
"""Of the animation where the clip does not say when its frames were taken."""

_KEPT = ArchiveKind(
    what="a step of a reconstruction of objects",
    made_by="remove the folder work/",
    error=InvalidClip,
)


@dataclass(frozen=True, kw_only=True)
class ClipChoice:
    """What of a prepared video is reconstructed.

    Args:
        frames: their numbers in the folder, increasing.
        reference: number of the frame that objects at rest are made of, which need not be among them; None takes the
            best one.
        static: how many objects at rest the network is to find by itself, as the original does; None takes those of
            ``masks_static/``, each shown by its mask.
    """

    frames: tuple[int, ...]
    reference: int | None = None
    static: int | None = None


def reconstruct_folder(
    model: "CompositionalObjects",
    source: PreparedClip,
    folder: Path | str,
    *,
    choice: ClipChoice,
    options: FilmOptions,
    recipe: Mapping[str, Any],
    official_compat: bool = False,
    progress: "Progress | None" = None,
) -> dict[str, Any]:
    """Make the objects of a prepared video, or go on where that was stopped; what is whole is not made again.

    Args:
        model: makes objects.
        source: the video.
        folder: of the results; made where it is missing.
        choice: what of the video.
        options: how.
        recipe: what decides about the result, for JSON; a folder that was begun with another one is left alone.
        official_compat: see `ObjectOptions`.
        progress: is told after every step.

    Returns:
        The contents of ``reconstruction.json``.

    Raises:
        AlreadyExists: the folder holds something else, or objects made otherwise.
        InvalidClip, InvalidImage, TooLarge, InvalidField: as of `CompositionalObjects.reconstruct`.
    """
    folder = Path(folder)
    claim = json.loads(json.dumps({"format": FORMAT, **recipe}))
    if (done := _begin(folder, claim)) is not None:
        return done
    work = folder / WORK
    film = _Film(source, choice, options, side=model.images.side)

    def make() -> "ObjectLatents":
        asked = options.object_options(static_objects=film.static_count, official_compat=official_compat)
        return model.latents(film.clip, asked, reference=film.reference, progress=progress)

    latents = _latents(work / "latents.npz", make)
    shapes = _Shapes(model, latents, work, options, progress)
    at_rest = [shapes.mesh(f"scene_{place:03d}", one) for place, one in enumerate(latents["at_rest"])]
    then = [shapes.mesh(f"reference_{place:03d}", one) for place, one in enumerate(latents["moving_at_reference"])]
    moving = [
        [shapes.mesh(f"object_{number:03d}_{frame:03d}", one) for frame, one in enumerate(frames)]
        for number, frames in zip(film.clip.ids, latents["moving"], strict=True)
    ]
    if not then:
        then = [frames[film.nearest] for frames in moving]
    _write_scene(folder / "scene", at_rest, then)
    _write_motion(folder / "dynamic", at_rest, dict(zip(film.clip.ids, moving, strict=True)))
    _write_animation(folder / "animation.glb", film, at_rest, moving)
    _write_placement(folder / "placement.json", film, at_rest, moving, options)
    facts: dict[str, Any] = claim | film.facts()
    write_whole(folder / FACTS, json.dumps(facts, indent=1) + "\n")
    shutil.rmtree(work)
    return facts


class _Film:
    """The chosen frames, and the reference beside them."""

    def __init__(self, source: PreparedClip, choice: ClipChoice, options: FilmOptions, *, side: int) -> None:
        rows = {*choice.frames, *([] if choice.reference is None else [choice.reference])}
        self.numbers = sorted(rows)
        self.scene = FilmedScene.of_prepared(source, frames=self.numbers)
        self.window: ClipWindow = self.scene.window(options.fill)
        every = self.scene.object_clip(self.window, side=side)
        if choice.static is not None:
            every = ObjectClip(frames=every.frames, masks=every.masks, ids=every.ids)
        self.rows = [self.numbers.index(frame) for frame in choice.frames]
        self.clip = every.chosen(self.rows)
        self.static_count = len(self.scene.static) if choice.static is None else choice.static
        self.nearest = self.clip.best_frame
        self.reference = self.clip.at(self.nearest)
        self.reference_row = self.rows[self.nearest]
        if choice.reference is not None:
            self.reference_row = self.numbers.index(choice.reference)
            self.reference = every.at(self.reference_row)
            self.nearest = int(np.abs(np.array(choice.frames) - choice.reference).argmin())
        self._names = [source.frames[frame].stem for frame in choice.frames]
        self._reference_name = source.frames[self.numbers[self.reference_row]].stem
        stamps = source.facts.get("stamps_ns")
        self.times: NDArray[np.float64] = np.arange(len(self.rows)) / FRAMES_PER_SECOND
        if isinstance(stamps, list) and len(stamps) == len(source.frames):
            chosen = np.array([stamps[frame] for frame in choice.frames], np.int64)
            if (np.diff(chosen) > 0).all():
                self.times = (chosen - chosen[0]) * 1e-9

    def facts(self) -> dict[str, Any]:
        """For ``reconstruction.json``."""
        return {
            "frames": self._names,
            "reference": self._reference_name,
            "times": self.times.tolist(),
            "static": self.static_count,
            "objects": [{"number": one.number, "label": one.label, "moves": one.moves} for one in self.scene.objects],
        }


class _Shapes:
    """Meshes of latents; those that an earlier run has made are read."""

    def __init__(
        self,
        model: "CompositionalObjects",
        latents: Mapping[str, NDArray[np.float32]],
        work: Path,
        options: FilmOptions,
        progress: "Progress | None",
    ) -> None:
        self._model, self._work, self._options, self._progress = model, work, options, progress
        self._done = 0
        self._count = sum(
            int(np.prod(array.shape[:-2])) for name, array in latents.items() if array.size or name != "moving"
        )

    def mesh(self, name: str, latents: NDArray[np.float32]) -> SurfaceMesh:
        path = self._work / f"{name}.npz"
        if path.is_file():
            with _KEPT.open(path) as archive:
                mesh = SurfaceMesh(vertices=archive.read("vertices"), faces=archive.read("faces"))
        else:
            mesh = self._made(latents)
            _KEPT.write(path, {}, {"vertices": mesh.vertices, "faces": mesh.faces})
        self._done += 1
        if self._progress is not None:
            self._progress("meshes", self._done, self._count)
        return mesh

    def _made(self, latents: NDArray[np.float32]) -> SurfaceMesh:
        import torch

        parameter = next(self._model.vae.parameters())
        field = self._model.vae.decode(torch.from_numpy(np.array(latents)).to(parameter))
        mesh = extract_surface(field, resolution=self._options.resolution)
        return decimated(mesh, self._options.max_faces) if self._options.max_faces else mesh


def _begin(folder: Path, claim: dict[str, Any]) -> dict[str, Any] | None:
    """Note what a folder is for; the facts of one that is whole already."""
    for path in (folder / FACTS, folder / WORK / FACTS):
        if path.is_file():
            found = read_object(path, error=InvalidClip)
            if other := sorted(key for key in claim if found.get(key) != claim[key]):
                raise AlreadyExists(
                    f"'{folder}' holds objects made with other {', '.join(other)}; name another folder or remove it"
                )
            return found if path.parent == folder else None
    if folder.exists() and any(folder.iterdir()):
        raise AlreadyExists(f"'{folder}' is not empty and holds no objects that were made here; name another folder")
    write_whole(folder / WORK / FACTS, json.dumps(claim) + "\n")
    return None


def _latents(path: Path, make: Callable[[], "ObjectLatents"]) -> dict[str, NDArray[np.float32]]:
    names = ("at_rest", "moving", "moving_at_reference")
    if not path.is_file():
        made = make()
        arrays = {name: getattr(made, name) for name in names}
        known = {
            name: np.zeros((0, *made.moving.shape[2:]), np.float32) if one is None else one.float().cpu().numpy()
            for name, one in arrays.items()
        }
        _KEPT.write(path, {}, known)
    with _KEPT.open(path) as archive:
        return {name: archive.read(name) for name in names}


def _write_scene(folder: Path, at_rest: Sequence[SurfaceMesh], moving: Sequence[SurfaceMesh]) -> None:
    """Every object at the reference frame, and all of them together."""
    named = {f"object_{place:03d}": mesh for place, mesh in enumerate([*at_rest, *moving])}
    for place, mesh in enumerate(named.values()):
        _write(folder / f"scene_{place:03d}.glb", {"object": mesh})
    _write(folder / "scene_all.glb", named)
    _write(folder / "scene.glb", dict(list(named.items())[: len(at_rest)]))


def _write_motion(folder: Path, at_rest: Sequence[SurfaceMesh], moving: Mapping[int, Sequence[SurfaceMesh]]) -> None:
    """Every moving object in every frame, and everything that shows in a frame."""
    for number, meshes in moving.items():
        for frame, mesh in enumerate(meshes):
            _write(folder / f"object_{number:03d}" / f"frame_{frame:03d}.glb", {"object": mesh})
    for frame in range(max((len(meshes) for meshes in moving.values()), default=0)):
        standing = {f"static_{place:03d}": mesh for place, mesh in enumerate(at_rest)}
        together = {f"object_{number:03d}": meshes[frame] for number, meshes in moving.items()}
        _write(folder / f"dynamic_scene_frame_{frame:03d}.glb", standing | together)


def _write(path: Path, meshes: Mapping[str, SurfaceMesh]) -> None:
    """A file of what has a surface; none where nothing has."""
    if any(not mesh.is_empty for mesh in meshes.values()):
        write_meshes(path, meshes)


def _write_animation(
    path: Path, film: _Film, at_rest: Sequence[SurfaceMesh], moving: Sequence[Sequence[SurfaceMesh]]
) -> None:
    """All objects over time; those at rest have the numbers after those that move."""
    tracks = []
    following = max(film.clip.ids, default=0) + 1
    frames = len(film.rows)
    numbered = [
        *zip(film.clip.ids, moving, strict=True),
        *((following + place, [mesh] * frames) for place, mesh in enumerate(at_rest)),
    ]
    for number, meshes in numbered:
        still = all(mesh is meshes[0] for mesh in meshes)
        poses = np.repeat(object_poses(meshes[:1]), frames, axis=0) if still else object_poses(meshes)
        tracks.append(track_object(number, meshes, poses).animated())
    if any((one.shown >= 0).any() for one in tracks):
        write_animated_glb(path, tracks, times=film.times)


def _write_placement(
    path: Path,
    film: _Film,
    at_rest: Sequence[SurfaceMesh],
    moving: Sequence[Sequence[SurfaceMesh]],
    options: FilmOptions,
) -> None:
    """Where the cube stands before the camera of the prepared frames."""
    frames = len(film.numbers)
    shapes: list[Any] = []
    if len(film.scene.static) == len(at_rest) and film.clip.static_masks is not None:
        shapes += [(one, (mesh,)) for one, mesh in zip(film.scene.static, at_rest, strict=True)]
    for one, meshes in zip(film.scene.moving, moving, strict=True):
        over = [SurfaceMesh.empty()] * frames
        for row, mesh in zip(film.rows, meshes, strict=True):
            over[row] = mesh
        shapes.append((one, over))
    placement = place_shapes(
        film.scene, shapes, reference=film.reference_row, window=film.window, object_size=options.object_size
    )
    known = np.isfinite(placement.residual)
    facts = {
        "T_camera_cube": placement.T_camera_cube.tolist(),
        "source": placement.source,
        "residual": placement.residual if known else None,
        "confidence": placement.confidence,
    }
    write_whole(path, json.dumps(facts, indent=1) + "\n")
