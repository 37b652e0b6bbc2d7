"""Meshes of others made ready for training: in the unit cube, points with normals, pictures.

Layout and rules: COM4D (arXiv 2512.05272), section 10 of the specification this was written from: a folder for each
asset with the surfaces of the whole and of its geometries, ``num_parts.json``, and pictures.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.mesh_pictures import fitting_camera, orbit, render_mesh
from fourd_ros.compositional.outer_surface import outer_points
from fourd_ros.compositional.prepared_clip import write_pixels
from fourd_ros.compositional.surface_mesh import SurfaceMesh, sampled
from fourd_ros.data.anime_files import FRAMES_KEPT, in_unit_cube, read_anime, turned_upright
from fourd_ros.data.object_surfaces import POINTS, SURFACES, ObjectSurfaces, SurfacePoints, write_surfaces
from fourd_ros.errors import InvalidDataset, InvalidMesh, InvalidParameter
from fourd_ros.whole_file import whole_folder, write_whole

__all__ = ["MAX_PARTS", "MESHES", "AssetOptions", "Geometry", "prepare_asset", "prepare_sequence", "read_geometries"]

FloatArray = NDArray[np.float64]

MESHES = (".glb", ".obj", ".ply", ".stl", ".off")
MAX_PARTS = 16
"""A scene of more geometries is prepared as a whole only."""

EXTENT = 2.0
MAX_BYTES = 512 * 1024**2
MAX_FACES = 5_000_000
ELEVATION = 0.35
"""Of the cameras around an object [rad]."""

PART_COUNT = "num_parts.json"
_GREY = 0.7


@dataclass(frozen=True, kw_only=True)
class AssetOptions:
    """How assets are prepared.

    Args:
        points: on each surface.
        views: pictures of an asset; of a frame of a sequence there is one.
        size: width and height of the pictures [px].
        frames: of a sequence, at most.
        outer: points only where a surface is seen from outside, with normals that point there; for meshes of double
            walls, or whose faces are turned anyhow. Else on all faces, with their normals, as published data have them.
        z_up: sequences stand along z, as animals of DeformingThings4D, and are turned.
        seed: of the points.

    Raises:
        InvalidParameter: a value below 1, or a picture of less than 8 pixels.
    """

    points: int = POINTS
    views: int = 11
    size: int = 518
    frames: int = FRAMES_KEPT
    outer: bool = False
    z_up: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.points, self.views, self.frames) < 1 or not 8 <= self.size <= 4096:
            raise InvalidParameter(f"{self}; needed: points, views and frames of at least 1, size 8 to 4096")


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """A part of an asset.

    Args:
        vertices: shape [V, 3], float64.
        faces: shape [F, 3], int32.
        colours: of the faces, 0 to 1, shape [F, 3].
    """

    vertices: FloatArray
    faces: NDArray[np.int32]
    colours: FloatArray


def read_geometries(path: Path) -> list[Geometry]:
    """What a mesh file holds, each geometry where the scene has it; those without faces are left out.

    Raises:
        InvalidDataset: missing, too large, unreadable, or without any face.
    """
    import trimesh

    try:
        if path.suffix.lower() not in MESHES or path.stat().st_size > MAX_BYTES:
            raise InvalidDataset(f"'{path}' is no mesh of at most {MAX_BYTES} bytes; read are {', '.join(MESHES)}")
        scene = trimesh.load_scene(path)
        meshes = [mesh for mesh in scene.dump(concatenate=False) if isinstance(mesh, trimesh.Trimesh)]
    except OSError as error:
        raise InvalidDataset(f"'{path}' cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        raise InvalidDataset(f"'{path}' is no mesh that can be read: {type(error).__name__}: {error}") from error
    found = [_geometry(mesh) for mesh in meshes if len(mesh.faces)]
    faces = sum(len(one.faces) for one in found)
    if not 0 < faces <= MAX_FACES or not all(np.isfinite(one.vertices).all() for one in found):
        raise InvalidDataset(f"'{path}' has {faces} faces; needed are 1 to {MAX_FACES}, of finite vertices")
    return found


def prepare_asset(mesh: Path, folder: Path, options: AssetOptions) -> int:
    """Make the folder of an asset, whole or not at all; one that is there stays.

    Args:
        mesh: file of it.
        folder: to be made: ``points.npz``, ``num_parts.json``, ``render_0000.png`` and so on.
        options: how.

    Returns:
        How many parts it has.

    Raises:
        InvalidDataset: the mesh cannot be used.
    """
    if folder.is_dir():
        return part_count(folder)
    parts = read_geometries(mesh)
    placed = in_unit_cube(np.concatenate([part.vertices for part in parts]), extent=EXTENT)
    ends = np.cumsum([len(part.vertices) for part in parts])
    vertices = np.split(placed, ends[:-1])
    faces = np.concatenate([part.faces + np.int32(start) for part, start in zip(parts, (0, *ends[:-1]), strict=True)])
    colours = np.concatenate([part.colours for part in parts])
    rng = np.random.default_rng(options.seed)
    pieces = list(zip(vertices, (part.faces for part in parts), strict=True)) if 1 < len(parts) <= MAX_PARTS else []
    try:
        surfaces = ObjectSurfaces(
            whole=_points(placed, faces, options, rng),
            parts=tuple(_points(*piece, options, rng) for piece in pieces),
        )
    except InvalidMesh as error:
        raise InvalidDataset(f"'{mesh}' cannot be prepared: {error}") from error
    camera, distance = fitting_camera(float(np.linalg.norm(placed, axis=1).max()), size=options.size)
    with whole_folder(folder) as new:
        write_surfaces(new / SURFACES, surfaces)
        for view, pose in enumerate(orbit(options.views, distance, elevation=ELEVATION)):
            write_pixels(new / f"render_{view:04d}.png", render_mesh(placed, faces, colours, camera, pose).rgb)
        write_whole(new / PART_COUNT, json.dumps({"num_parts": len(parts), "mesh_path": str(mesh)}) + "\n")
    return len(parts)


def prepare_sequence(anime: Path, folder: Path, options: AssetOptions) -> int:
    """Make the folder of a moving mesh, whole or not at all; one that is there stays.

    All frames are placed and scaled together, and seen by one camera on +z.

    Args:
        anime: file of DeformingThings4D.
        folder: to be made, with ``frame_0001/points.npz`` and ``frame_0001.png`` and so on.
        options: how.

    Returns:
        Frames.

    Raises:
        InvalidDataset: the file cannot be used.
    """
    if folder.is_dir():
        return len(list(folder.glob("frame_*.png")))
    sequence = read_anime(anime, frames=options.frames)
    vertices = in_unit_cube(turned_upright(sequence.vertices) if options.z_up else sequence.vertices)
    camera, distance = fitting_camera(float(np.linalg.norm(vertices, axis=-1).max()), size=options.size)
    pose, colours = orbit(1, distance)[0], np.full((len(sequence.faces), 3), _GREY)
    rng = np.random.default_rng(options.seed)
    with whole_folder(folder) as new:
        for number, frame in enumerate(vertices, start=1):
            try:
                surface = _points(frame, sequence.faces, options, rng)
            except InvalidMesh as error:
                raise InvalidDataset(f"'{anime}' frame {number} cannot be prepared: {error}") from error
            write_surfaces(new / f"frame_{number:04d}" / SURFACES, ObjectSurfaces(whole=surface))
            picture = render_mesh(frame, sequence.faces, colours, camera, pose)
            write_pixels(new / f"frame_{number:04d}.png", picture.rgb)
    return len(vertices)


def part_count(folder: Path) -> int:
    """Parts of a prepared asset.

    Raises:
        InvalidDataset: the folder is none of a prepared asset.
    """
    from fourd_ros.strict_json import read_object

    found: Any = read_object(folder / PART_COUNT, error=InvalidDataset).get("num_parts")
    if not isinstance(found, int) or found < 1:
        raise InvalidDataset(f"'{folder / PART_COUNT}' holds no count of parts")
    return found


def _geometry(mesh: Any) -> Geometry:
    try:
        colours = np.asarray(mesh.visual.to_color().vertex_colors, np.float64)[mesh.faces].mean(axis=1)[:, :3] / 255
    except (AttributeError, IndexError, ValueError):
        colours = np.full((len(mesh.faces), 3), _GREY)
    return Geometry(
        vertices=np.asarray(mesh.vertices, np.float64), faces=np.asarray(mesh.faces, np.int32), colours=colours
    )


def _points(
    vertices: FloatArray, faces: NDArray[np.int32], options: AssetOptions, rng: np.random.Generator
) -> SurfacePoints:
    mesh = SurfaceMesh(vertices=vertices.astype(np.float32), faces=faces)
    points, normals = (outer_points if options.outer else sampled)(mesh, options.points, rng=rng)
    return SurfacePoints(points=points.astype(np.float32), normals=normals.astype(np.float32))
