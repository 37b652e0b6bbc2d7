"""Articulated objects as files of other programs: URDF, MJCF, and the meshes of PartDrag-4D."""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulated_shards import ObjectFacts
from fourd_ros.data.articulation import SLIDES, ObjectState, state_motions, to_y_up, to_z_up
from fourd_ros.geometry.transforms import apply, from_quaternion, rotation_from_quaternion
from fourd_ros.simulation.appearance import Appearance
from fourd_ros.simulation.articulated import ArticulatedObject, MovingPart
from fourd_ros.simulation.parts import Part, Quaternion, Vector

FloatArray = NDArray[np.float64]
Triangles = tuple[FloatArray, NDArray[np.int64]]

_SECTIONS = 24


def object_files(item: ArticulatedObject, facts: ObjectFacts) -> dict[str, str]:
    """Texts of the processed folder of an object, by relative path: meshes of parts and of states, URDF and MJCF.

    Meshes of parts are y-up as those of PartNet-Mobility, those of states z-up, as in the original.
    """
    files = {"mobility.urdf": urdf(item), "object.xml": mjcf(item)}
    groups = [*(part.shapes for part in item.moving), item.body]
    meshes = [[(*triangles_of(part), part.appearance) for part in shapes] for shapes in groups]
    for index, pieces in enumerate(meshes):
        moved = [(to_y_up(vertices), faces, look) for vertices, faces, look in pieces]
        files[f"parts_ply/{index}.obj"] = obj(moved, index)
        files[f"parts_ply/{index}.mtl"] = mtl([look for _, _, look in pieces], index)
    for state in facts.states:
        files[f"motion/{state.name}.obj"] = _state_obj(item, state, meshes)
    for index, pieces in enumerate(meshes):
        files[f"motion/{index}.mtl"] = mtl([look for _, _, look in pieces], index)
    return files


Piece = tuple[FloatArray, NDArray[np.int64], Appearance]


def _state_obj(item: ArticulatedObject, state: ObjectState, meshes: Sequence[Sequence[Piece]]) -> str:
    motions = state_motions(item.joint_table, state)
    texts, first = [], 1
    for index, pieces in enumerate(meshes):
        motion = motions.get(index, np.eye(4))
        moved = [(to_z_up(apply(motion, to_y_up(vertices))), faces, look) for vertices, faces, look in pieces]
        texts.append(obj(moved, index, first=first))
        first += sum(len(vertices) for vertices, _, _ in pieces)
    return "".join(texts)


def obj(pieces: Iterable[Piece], index: int, *, first: int = 1) -> str:
    """Pieces of the mesh of part `index` as Wavefront OBJ; `first` is the number of their first vertex."""
    lines = [f"mtllib {index}.mtl", f"o part_{index}"]
    for number, (vertices, faces, _) in enumerate(pieces):
        lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices.tolist()]
        lines.append(f"usemtl material-{index}-{number}")
        lines += [f"f {a} {b} {c}" for a, b, c in (faces + first).tolist()]
        first += len(vertices)
    return "\n".join(lines) + "\n"


def mtl(looks: Sequence[Appearance], index: int) -> str:
    """Materials of part `index`: plain colours; patterns are left out."""
    lines = []
    for number, look in enumerate(looks):
        red, green, blue = look.colour
        lines += [f"newmtl material-{index}-{number}", f"Kd {red:.4f} {green:.4f} {blue:.4f}", "Ks 0.1 0.1 0.1", ""]
    return "\n".join(lines)


def triangles_of(part: Part) -> Triangles:
    """Vertices [N, 3] in the object's frame and triangles [M, 3] of a primitive."""
    vertices, faces = {"box": _box, "cylinder": _cylinder, "sphere": _sphere}[part.shape](part.size)
    return apply(from_quaternion(part.position, part.rotation), vertices).astype(np.float64), faces


def _box(size: tuple[float, ...]) -> Triangles:
    signs = np.stack(np.meshgrid(*[(-1.0, 1.0)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return signs * size, np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))])


def _cylinder(size: tuple[float, ...]) -> Triangles:
    radius, half = size[:2]
    rows = [(half, radius), (-half, radius)]
    return _revolved(rows, half)


def _sphere(size: tuple[float, ...]) -> Triangles:
    radius = size[0]
    angles = np.linspace(0, np.pi, _SECTIONS // 2 + 1)[1:-1]
    return _revolved([(radius * np.cos(a), radius * np.sin(a)) for a in angles.tolist()], radius)


def _revolved(rows: Sequence[tuple[float, float]], top: float) -> Triangles:
    """Rings of height and radius from the top down, closed by points at +- `top`."""
    angles = np.arange(_SECTIONS) * 2 * np.pi / _SECTIONS
    rings = [np.stack([r * np.cos(angles), r * np.sin(angles), np.full(_SECTIONS, z)], axis=-1) for z, r in rows]
    vertices = np.concatenate([*rings, [[0.0, 0.0, top], [0.0, 0.0, -top]]])
    here, there = np.arange(_SECTIONS), (np.arange(_SECTIONS) + 1) % _SECTIONS
    faces = []
    for row in range(len(rows) - 1):
        a, b = row * _SECTIONS, (row + 1) * _SECTIONS
        faces += [np.stack([a + here, b + here, b + there], -1), np.stack([a + here, b + there, a + there], -1)]
    last, north, south = (len(rows) - 1) * _SECTIONS, len(vertices) - 2, len(vertices) - 1
    faces.append(np.stack([np.full(_SECTIONS, north), here, there], -1))
    faces.append(np.stack([np.full(_SECTIONS, south), last + there, last + here], -1))
    return vertices, np.concatenate(faces)


def mjcf(item: ArticulatedObject) -> str:
    """An object as MJCF, with its joints and limits."""
    from fourd_ros.simulation.articulated_model import build_spec

    spec = build_spec(item)
    spec.compile()
    return str(spec.to_xml())


def urdf(item: ArticulatedObject) -> str:
    """An object as URDF: links of primitives, joints with limits [rad | length]."""
    robot = ElementTree.Element("robot", name=f"{item.kind}_{item.name}")
    _add_link(robot, "base", item.body, (0.0, 0.0, 0.0))
    for part in item.moving:
        _add_link(robot, part.name, part.shapes, part.hinge.origin)
        _add_joint(robot, part)
    ElementTree.indent(robot)
    return ElementTree.tostring(robot, encoding="unicode") + "\n"


def _add_link(robot: ElementTree.Element, name: str, shapes: Sequence[Part], origin: Vector) -> None:
    link = ElementTree.SubElement(robot, "link", name=name)
    for index, part in enumerate(shapes):
        for tag in ("visual", "collision"):
            element = ElementTree.SubElement(link, tag)
            place = np.asarray(part.position) - origin
            ElementTree.SubElement(element, "origin", xyz=_numbers(place), rpy=_numbers(rpy_of(part.rotation)))
            geometry = ElementTree.SubElement(element, "geometry")
            if part.shape == "box":
                ElementTree.SubElement(geometry, "box", size=_numbers(2 * np.asarray(part.size)))
            elif part.shape == "sphere":
                ElementTree.SubElement(geometry, "sphere", radius=f"{part.size[0]:.6g}")
            else:
                ElementTree.SubElement(
                    geometry, "cylinder", radius=f"{part.size[0]:.6g}", length=f"{2 * part.size[1]:.6g}"
                )
            if tag == "visual":
                material = ElementTree.SubElement(element, "material", name=f"{name}_{index}")
                ElementTree.SubElement(material, "color", rgba=_numbers((*part.appearance.colour, 1.0)))


def _add_joint(robot: ElementTree.Element, part: MovingPart) -> None:
    hinge = part.hinge
    joint = ElementTree.SubElement(robot, "joint", name=f"{part.name}_joint", type=hinge.type)
    ElementTree.SubElement(joint, "parent", link="base")
    ElementTree.SubElement(joint, "child", link=part.name)
    ElementTree.SubElement(joint, "origin", xyz=_numbers(hinge.origin), rpy="0 0 0")
    ElementTree.SubElement(joint, "axis", xyz=_numbers(hinge.direction))
    upper = hinge.upper if hinge.type == SLIDES else float(np.deg2rad(hinge.upper))
    ElementTree.SubElement(joint, "limit", lower="0", upper=f"{upper:.6g}", effort="100", velocity="1")


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{float(value):.6g}" for value in values)


def rpy_of(rotation: Quaternion) -> Vector:
    """Roll, pitch and yaw of a quaternion x y z w; the yaw is 0 where the axis of the roll is vertical."""
    R = rotation_from_quaternion(rotation)
    pitch = float(-np.arcsin(np.clip(R[2, 0], -1, 1)))
    if abs(R[2, 0]) > 1 - 1e-9:
        return float(np.arctan2(np.sign(pitch) * R[0, 1], R[1, 1])), pitch, 0.0
    return float(np.arctan2(R[2, 1], R[2, 2])), pitch, float(np.arctan2(R[1, 0], R[0, 0]))
