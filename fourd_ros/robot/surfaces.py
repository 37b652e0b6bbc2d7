"""The visible surface of a link as triangles with smooth normals and colours."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh
from numpy.typing import NDArray

from fourd_ros.errors import MeshUnavailable
from fourd_ros.geometry.transforms import apply
from fourd_ros.robot.description import Box, Colour, Cylinder, Link, Mesh, Sphere, Visual

Floats = NDArray[np.float32]

MAX_MESH_BYTES = 100_000_000
MAX_MESH_FACES = 2_000_000
MESH_SUFFIXES = (".stl", ".obj", ".ply", ".dae", ".glb", ".off")

CREASE = np.cos(np.deg2rad(40.0))
"""Faces that meet at a smaller angle shade as one smooth surface."""

MAX_SMOOTH_FACES = 100_000
"""Finer parts shade flat: their faces are no larger than a pixel."""

DEFAULT_COLOUR: Colour = (0.7, 0.7, 0.7)


@dataclass(frozen=True, kw_only=True)
class Surface:
    """Triangles in the frame of their link.

    Args:
        corners: positions [m], shape [F, 3, 3].
        normals: unit normal at every corner, shape [F, 3, 3].
        colours: red, green, blue from 0 to 1, shape [F, 3].
    """

    corners: Floats
    normals: Floats
    colours: Floats


def link_surface(link: Link) -> Surface | None:
    """Everything visible of a link; None where nothing is.

    Raises:
        MeshUnavailable: a mesh file that is missing, unreadable, of an unknown kind, or too large.
    """
    parts = [part for visual in link.visuals for part in _visual_parts(visual)]
    if not parts:
        return None
    return Surface(
        corners=np.concatenate([mesh.triangles for mesh, _ in parts]).astype(np.float32),
        normals=np.concatenate([_corner_normals(mesh) for mesh, _ in parts]).astype(np.float32),
        colours=np.concatenate([np.tile(colour, (len(mesh.faces), 1)) for mesh, colour in parts]).astype(np.float32),
    )


def _visual_parts(visual: Visual) -> list[tuple[trimesh.Trimesh, Colour]]:
    parts = []
    for mesh in _meshes(visual):
        colour = visual.colour or _own_colour(mesh)
        whole = trimesh.Trimesh(apply(visual.T_link_visual, mesh.vertices), mesh.faces, process=False)
        whole.merge_vertices(digits_vertex=6)
        whole.update_faces(whole.nondegenerate_faces())
        if len(whole.faces):
            parts.append((whole, colour))
    return parts


def _meshes(visual: Visual) -> list[trimesh.Trimesh]:
    shape = visual.geometry
    match shape:
        case Box():
            return [trimesh.creation.box(extents=shape.size)]
        case Cylinder():
            return [trimesh.creation.cylinder(radius=shape.radius, height=shape.length, sections=48)]
        case Sphere():
            return [trimesh.creation.icosphere(radius=shape.radius, subdivisions=3)]
        case Mesh():
            return [_scaled(mesh, shape) for mesh in _read(shape.path)]


def _read(path: Path) -> list[trimesh.Trimesh]:
    """The triangle meshes of a file, placed as in its scene; no other file is opened."""
    if path.suffix.lower() not in MESH_SUFFIXES:
        raise MeshUnavailable(f"mesh {path} is of an unknown kind; known: {list(MESH_SUFFIXES)}")
    try:
        size = path.stat().st_size
        if size > MAX_MESH_BYTES:
            raise MeshUnavailable(f"mesh {path} has {size} bytes; at most {MAX_MESH_BYTES} are read")
        scene = trimesh.load_scene(io.BytesIO(path.read_bytes()), file_type=path.suffix[1:].lower(), process=False)
        meshes = [mesh for mesh in scene.dump() if isinstance(mesh, trimesh.Trimesh)]
    except OSError as error:
        raise MeshUnavailable(f"mesh {path} cannot be read: {error.strerror}") from error
    except MeshUnavailable:
        raise
    except Exception as error:  # mesh parsers raise whatever a damaged file makes them stumble over
        raise MeshUnavailable(f"mesh {path} is damaged or of another kind than its name says: {error}") from error
    faces = sum(len(mesh.faces) for mesh in meshes)
    if not 0 < faces <= MAX_MESH_FACES:
        raise MeshUnavailable(f"mesh {path} has {faces} triangles; 1 to {MAX_MESH_FACES} are taken")
    if not all(np.isfinite(mesh.vertices).all() for mesh in meshes):
        raise MeshUnavailable(f"mesh {path} has vertices that are not finite")
    return meshes


def _scaled(mesh: trimesh.Trimesh, shape: Mesh) -> trimesh.Trimesh:
    mesh.vertices = mesh.vertices * shape.scale
    if np.prod(shape.scale) < 0:  # mirrored: turn the faces outwards again
        mesh.faces = mesh.faces[:, ::-1]
    return mesh


def _own_colour(mesh: trimesh.Trimesh) -> Colour:
    """The colour the mesh file gives, where it gives one."""
    look = mesh.visual
    if isinstance(look, trimesh.visual.TextureVisuals):
        colour = look.material.main_color
    elif look is not None and look.defined:
        colour = look.main_color
    else:
        return DEFAULT_COLOUR
    red, green, blue = (np.asarray(colour[:3]) / 255).tolist()
    return red, green, blue


def _corner_normals(mesh: trimesh.Trimesh) -> NDArray[np.float64]:
    """Area-weighted mean of the normals of the faces around each corner that lie within the crease angle."""
    flat = mesh.face_normals
    if len(flat) > MAX_SMOOTH_FACES:
        return np.repeat(flat[:, None], 3, axis=1)
    corner, neighbour = _corners_sharing_a_vertex(mesh.faces)
    smooth = np.einsum("ij,ij->i", flat[corner // 3], flat[neighbour]) > CREASE
    corner, neighbour = corner[smooth], neighbour[smooth]
    weighted = flat[neighbour] * mesh.area_faces[neighbour, None]
    total = np.stack([np.bincount(corner, axis, minlength=flat.size) for axis in weighted.T], axis=-1)
    normals: NDArray[np.float64] = total / np.linalg.norm(total, axis=-1, keepdims=True)
    return normals.reshape(-1, 3, 3)


def _corners_sharing_a_vertex(faces: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every pair of a corner (3 face + place) and a face at the same vertex, itself included."""
    vertices = faces.ravel()
    order = np.argsort(vertices, kind="stable")
    valence = np.bincount(vertices)
    first = np.cumsum(valence) - valence
    count = valence[vertices]
    corner = np.repeat(np.arange(len(vertices)), count)
    place = np.arange(len(corner)) - np.repeat(np.cumsum(count) - count, count)
    return corner, order[first[vertices[corner]] + place] // 3
