#!/usr/bin/env python3
"""Make the vendored Panda from the ``franka_panda`` folder of the pybullet wheel.

    pip download --no-deps pybullet==3.2.7 && unzip pybullet-*.whl 'pybullet_data/franka_panda/*'
    python tools/make_panda_assets.py pybullet_data/franka_panda fourd_ros/assets/panda

Every visual loses the faces nobody can see from outside, is split by colour (a URDF material and an STL
file hold one each), welded, decimated, wound outwards and written as binary STL. Needs numpy, trimesh,
embreex and fast-simplification.
"""

import argparse
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import fast_simplification
import numpy as np
import trimesh
from defusedxml.ElementTree import parse

VISUAL_FACES = 1000
COLLISION_FACES = 300
SMALLEST_PART = 3e-4  # area [m^2]; below are screws and status lights
VISIBILITY_RAYS = 256  # per face
MATERIALS = {
    "white": (0.93, 0.93, 0.93),
    "light_grey": (0.75, 0.77, 0.78),
    "dark_grey": (0.25, 0.25, 0.25),
}
SOURCE_COLOURS = {"white": 255, "light_grey": 235, "dark_grey": 64}
# Tells MuJoCo to keep visuals and frames; every other reader skips the element.
MUJOCO_COMPILER = {
    "discardvisual": "false",
    "strippath": "false",
    "fusestatic": "false",
    "balanceinertia": "true",
}
PYBULLET_ONLY = ("contact", "safety_controller")

Part = tuple[str, trimesh.Trimesh]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="unpacked pybullet_data/franka_panda")
    parser.add_argument("target", type=Path, help="folder that receives panda.urdf and meshes/")
    arguments = parser.parse_args()
    convert(arguments.source, arguments.target)


def convert(source: Path, target: Path) -> None:
    """Write ``panda.urdf``, its meshes and the licence into `target`."""
    for kind in ("visual", "collision"):
        (target / "meshes" / kind).mkdir(parents=True, exist_ok=True)
    robot = parse(source / "panda.urdf").getroot()
    robot.insert(0, _mujoco_block())
    for name, rgb in MATERIALS.items():
        robot.append(_material(name, rgb))
    for link in robot.findall("link"):
        _convert_link(link, source, target)
    for element in robot.iter():
        for tag in PYBULLET_ONLY:
            for child in element.findall(tag):
                element.remove(child)
    ET.indent(robot)
    ET.ElementTree(robot).write(target / "panda.urdf", encoding="utf-8", xml_declaration=True)
    shutil.copyfile(source / "LICENSE.txt", target / "LICENSE.txt")


def _convert_link(link: ET.Element, source: Path, target: Path) -> None:
    if (inertial := link.find("inertial/mass")) is not None and float(inertial.get("value", "0")) == 0:
        link.remove(link.find("inertial"))  # a pure frame
    for visual in link.findall("visual"):
        link.remove(visual)
        path = _source_mesh(visual, source)
        for colour, mesh in _visual_parts(path):
            name = f"meshes/visual/{path.stem}_{colour}.stl"
            mesh.export(target / name)
            link.append(_geometry("visual", visual.find("origin"), name, colour))
    for collision in link.findall("collision"):
        link.remove(collision)
        path = _source_mesh(collision, source)
        name = f"meshes/collision/{path.stem}.stl"
        _decimated(_welded(_parts(path)), COLLISION_FACES).convex_hull.export(target / name)
        link.append(_geometry("collision", collision.find("origin"), name))


def _source_mesh(element: ET.Element, source: Path) -> Path:
    mesh = element.find("geometry/mesh")
    assert mesh is not None
    return source / re.sub("^package://", "", mesh.get("filename", ""))


def _parts(path: Path) -> list[trimesh.Trimesh]:
    scene = trimesh.load_scene(path, process=False)
    return [mesh for mesh in scene.geometry.values() if mesh.area > SMALLEST_PART]


def _visual_parts(path: Path) -> list[Part]:
    by_colour: dict[str, list[trimesh.Trimesh]] = {}
    for mesh in _visible(_parts(path)):
        by_colour.setdefault(_colour_name(mesh), []).append(mesh)
    welded = {colour: _welded(meshes) for colour, meshes in by_colour.items()}
    total = sum(mesh.area**0.5 for mesh in welded.values())
    shares = {colour: int(VISUAL_FACES * mesh.area**0.5 / total) for colour, mesh in welded.items()}
    parts = [(colour, _decimated(mesh, shares[colour])) for colour, mesh in welded.items()]
    _turn_outwards([mesh for _, mesh in parts])
    return parts


def _visible(parts: list[trimesh.Trimesh]) -> list[trimesh.Trimesh]:
    """The parts without the faces from whose centre every straight way out is blocked."""
    kept = []
    for mesh, votes in zip(parts, _ways_out(parts), strict=True):
        seen = (votes != 0).any(axis=1)
        if mesh.area_faces[seen].sum() > SMALLEST_PART:
            mesh.update_faces(seen)
            kept.append(mesh)
    return kept


def _turn_outwards(parts: list[trimesh.Trimesh]) -> None:
    """Wind every face so that its front is the side that sees more of the outside."""
    for mesh, votes in zip(parts, _ways_out(parts), strict=True):
        inwards = votes[:, 1] > votes[:, 0]
        mesh.faces[inwards] = mesh.faces[inwards, ::-1]


def _ways_out(parts: list[trimesh.Trimesh]) -> list[np.ndarray]:
    """How many of some random directions lead outside from each face's front and from its back, shape [F, 2]."""
    whole = trimesh.util.concatenate([trimesh.Trimesh(m.vertices, m.faces, process=False) for m in parts])
    directions = np.random.default_rng(0).normal(size=(VISIBILITY_RAYS, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    votes = np.zeros((len(whole.faces), 2), int)
    for direction in directions:
        origins = whole.triangles_center + 2e-4 * direction
        free = ~whole.ray.intersects_any(origins, np.broadcast_to(direction, origins.shape))
        front = whole.face_normals @ direction > 0
        votes += np.stack([free & front, free & ~front], axis=1)
    return np.split(votes, np.cumsum([len(mesh.faces) for mesh in parts])[:-1])


def _colour_name(mesh: trimesh.Trimesh) -> str:
    material = getattr(mesh.visual, "material", None)
    green = 255 if material is None else int(material.diffuse[1])
    return min(SOURCE_COLOURS, key=lambda name: abs(SOURCE_COLOURS[name] - green))


def _welded(meshes: list[trimesh.Trimesh]) -> trimesh.Trimesh:
    whole = trimesh.util.concatenate([trimesh.Trimesh(m.vertices, m.faces, process=False) for m in meshes])
    whole.merge_vertices(digits_vertex=6)
    whole.update_faces(whole.nondegenerate_faces() & whole.unique_faces())
    whole.remove_unreferenced_vertices()
    return whole


def _decimated(mesh: trimesh.Trimesh, faces: int) -> trimesh.Trimesh:
    if len(mesh.faces) > faces:
        vertices, triangles = fast_simplification.simplify(
            mesh.vertices.astype(np.float32),
            mesh.faces.astype(np.int32),
            target_count=faces,
            agg=2,
        )
        mesh = trimesh.Trimesh(vertices, triangles)
        mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
    trimesh.repair.fix_normals(mesh, multibody=True)
    return mesh


def _geometry(tag: str, origin: ET.Element | None, mesh: str, colour: str = "") -> ET.Element:
    element = ET.Element(tag)
    if origin is not None:
        element.append(origin)
    ET.SubElement(ET.SubElement(element, "geometry"), "mesh", filename=mesh)
    if colour:
        ET.SubElement(element, "material", name=f"panda_{colour}")
    return element


def _material(name: str, rgb: tuple[float, float, float]) -> ET.Element:
    material = ET.Element("material", name=f"panda_{name}")
    ET.SubElement(material, "color", rgba=" ".join(f"{channel:g}" for channel in (*rgb, 1.0)))
    return material


def _mujoco_block() -> ET.Element:
    block = ET.Element("mujoco")
    ET.SubElement(block, "compiler", MUJOCO_COMPILER)
    return block


if __name__ == "__main__":
    main()
