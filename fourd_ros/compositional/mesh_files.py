"""Meshes in files that other programs open: GLB with a node an object, PLY and OBJ with all of them joined.

Coordinates are written as they are. In a viewer of GLB y points up, as in the cube of the model; what was placed in a
camera's frame or in a world whose z points up lies on its side there.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fourd_ros.compositional.object_colours import RGB, object_colour
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidMesh
from fourd_ros.whole_file import whole_file

__all__ = ["MESH_FILES", "write_meshes"]

MESH_FILES = (".glb", ".ply", ".obj")


def write_meshes(
    path: Path | str, meshes: Mapping[str, SurfaceMesh], *, colours: Mapping[str, RGB] | None = None
) -> None:
    """Write meshes of one frame into a file, whole or not at all.

    Args:
        path: of a name that ends in ``.glb``, ``.ply`` or ``.obj``; missing folders are made.
        meshes: by name; those without faces are left out.
        colours: red, green and blue by the same names; those of the palette in order where none are given.

    Raises:
        InvalidMesh: another ending, or no face at all.
    """
    import trimesh

    path = Path(path)
    if path.suffix.lower() not in MESH_FILES:
        raise InvalidMesh(f"'{path.name}' is to be a mesh file; the endings known are {list(MESH_FILES)}")
    given = colours or {name: object_colour(number) for number, name in enumerate(meshes)}
    solid = {name: _coloured(mesh, given[name]) for name, mesh in meshes.items() if not mesh.is_empty}
    if not solid:
        raise InvalidMesh(f"nothing to write into '{path.name}': {len(meshes)} meshes, and none has a face")
    whole: Any
    if path.suffix.lower() == ".glb":
        whole = trimesh.Scene()
        for name, mesh in solid.items():
            whole.add_geometry(mesh, node_name=name, geom_name=name)
    else:
        whole = trimesh.util.concatenate(list(solid.values()))
    content = whole.export(file_type=path.suffix[1:].lower())
    with whole_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def _coloured(mesh: SurfaceMesh, colour: RGB) -> Any:
    import trimesh

    return trimesh.Trimesh(
        vertices=mesh.vertices,
        faces=mesh.faces,
        vertex_normals=mesh.vertex_normals(),
        vertex_colors=np.tile(np.array([*colour, 255], np.uint8), (len(mesh.vertices), 1)),
        process=False,
    )
