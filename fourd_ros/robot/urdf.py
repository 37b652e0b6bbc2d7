"""Reading URDF text into a `RobotDescription`."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import ParseError, fromstring

from fourd_ros.errors import InvalidRobotDescription
from fourd_ros.geometry.transforms import from_rpy
from fourd_ros.robot.description import (
    FIXED,
    ROTATING,
    SLIDING,
    Box,
    Colour,
    Cylinder,
    FloatArray,
    Geometry,
    Joint,
    Link,
    Mesh,
    Mimic,
    RobotDescription,
    Sphere,
    Visual,
)
from fourd_ros.robot.mesh_paths import MeshPaths

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_CHARACTERS = 10_000_000
MAX_LINKS = 1000
MAX_VISUALS = 10_000

Materials = dict[str, Colour]
Named = TypeVar("Named", Link, Joint)


def read_urdf(text: str, paths: MeshPaths | None) -> RobotDescription:
    """The robot that `text` describes, without visuals where `paths` is None.

    Raises what `RobotDescription.from_urdf` lists.
    """
    robot = _parse(text)
    links, joints = robot.findall("link"), robot.findall("joint")
    if not links or len(links) > MAX_LINKS or len(joints) > MAX_LINKS:
        raise InvalidRobotDescription(f"{len(links)} links and {len(joints)} joints; 1 to {MAX_LINKS} links are read")
    if len(visuals := list(robot.iter("visual"))) > MAX_VISUALS:
        raise InvalidRobotDescription(f"{len(visuals)} visuals; at most {MAX_VISUALS} are read")
    materials = _materials(robot)
    read_links = _unique(_link(element, materials, paths) for element in links)
    read_joints = _unique(_joint(element) for element in joints)
    root, ordered = _tree([link.name for link in read_links], read_joints)
    _check_mimics(ordered)
    return RobotDescription(name=robot.get("name", ""), root=root, links=read_links, joints=ordered, text=text)


def _parse(text: str) -> "Element":
    if len(text) > MAX_CHARACTERS:
        raise InvalidRobotDescription(f"URDF of {len(text)} characters; at most {MAX_CHARACTERS} are read")
    try:
        robot: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise InvalidRobotDescription(f"the URDF is not well-formed XML, or declares entities: {error}") from error
    if robot.tag != "robot":
        raise InvalidRobotDescription(f"the root element is <{robot.tag}>, a URDF has <robot>")
    return robot


def _unique(items: Iterable[Named]) -> tuple[Named, ...]:
    items = tuple(items)
    repeated = [name for name, count in Counter(item.name for item in items).items() if count > 1]
    if repeated:
        raise InvalidRobotDescription(f"names used twice: {repeated}")
    return items


def _link(element: "Element", materials: Materials, paths: MeshPaths | None) -> Link:
    seen = element.findall("visual")
    visuals = tuple(_visual(visual, materials, paths) for visual in seen) if paths is not None else ()
    return Link(name=_attribute(element, "name"), visuals=visuals)


def _visual(element: "Element", materials: Materials, paths: MeshPaths) -> Visual:
    geometry = element.find("geometry")
    if geometry is None or len(geometry) != 1:
        raise InvalidRobotDescription("every <visual> needs a <geometry> with exactly one shape")
    return Visual(
        geometry=_geometry(geometry[0], paths),
        T_link_visual=_origin(element),
        colour=_colour(element.find("material"), materials),
    )


def _geometry(shape: "Element", paths: MeshPaths) -> Geometry:
    read: dict[str, Callable[[], Geometry]] = {
        "mesh": lambda: Mesh(
            path=paths.resolve(_attribute(shape, "filename")), scale=_numbers(shape.get("scale", "1 1 1"), 3)
        ),
        "box": lambda: Box(size=_numbers(_attribute(shape, "size"), 3)),
        "cylinder": lambda: Cylinder(radius=_positive(shape, "radius"), length=_positive(shape, "length")),
        "sphere": lambda: Sphere(radius=_positive(shape, "radius")),
    }
    if shape.tag not in read:
        raise InvalidRobotDescription(f"geometry <{shape.tag}>; known: {sorted(read)}")
    return read[shape.tag]()


def _materials(robot: "Element") -> Materials:
    """Colours by name; those defined inside a visual count too, as in common exporters."""
    materials: Materials = {}
    for element in robot.iter("material"):
        colour = _own_colour(element)
        if colour is not None:
            materials.setdefault(element.get("name", ""), colour)
    return materials


def _colour(element: "Element | None", materials: Materials) -> Colour | None:
    if element is None:
        return None
    own = _own_colour(element)
    return own if own is not None else materials.get(element.get("name", ""))


def _own_colour(element: "Element") -> Colour | None:
    colour = element.find("color")
    if colour is None:
        return None
    red, green, blue, _ = np.clip(_numbers(_attribute(colour, "rgba"), 4), 0, 1).tolist()
    return red, green, blue


def _joint(element: "Element") -> Joint:
    name, kind = _attribute(element, "name"), _attribute(element, "type")
    if kind not in (FIXED, *ROTATING, *SLIDING):
        raise InvalidRobotDescription(f"joint '{name}' is '{kind}'; known: {[FIXED, *ROTATING, *SLIDING]}")
    limit, axis = element.find("limit"), element.find("axis")
    if limit is None and kind in ("revolute", "prismatic"):
        raise InvalidRobotDescription(f"{kind} joint '{name}' has no <limit>")
    bounded = limit is not None and kind != "continuous"
    return Joint(
        name=name,
        kind=kind,
        parent=_reference(element, "parent"),
        child=_reference(element, "child"),
        T_parent_joint=_origin(element),
        axis=_unit_axis(name, kind, "1 0 0" if axis is None else _attribute(axis, "xyz")),
        lower=_number(limit, "lower", 0.0) if bounded else -np.inf,
        upper=_number(limit, "upper", 0.0) if bounded else np.inf,
        velocity=_number(limit, "velocity", 0.0) or np.inf,
        mimic=_mimic(element.find("mimic")),
    )


def _mimic(element: "Element | None") -> Mimic | None:
    if element is None:
        return None
    return Mimic(
        joint=_attribute(element, "joint"),
        multiplier=_number(element, "multiplier", 1.0),
        offset=_number(element, "offset", 0.0),
    )


def _unit_axis(name: str, kind: str, text: str) -> FloatArray:
    axis = _numbers(text, 3)
    length = float(np.linalg.norm(axis))
    if kind == FIXED:
        return np.array([1.0, 0.0, 0.0])
    if length < 1e-9:
        raise InvalidRobotDescription(f"joint '{name}' has the axis 0 0 0")
    return axis / length


def _tree(links: list[str], joints: tuple[Joint, ...]) -> tuple[str, tuple[Joint, ...]]:
    """The root link, and the joints with parents before children."""
    for joint in joints:
        for link in (joint.parent, joint.child):
            if link not in links:
                raise InvalidRobotDescription(f"joint '{joint.name}' names link '{link}', which is not there")
    parents = Counter(joint.child for joint in joints)
    if shared := [link for link, count in parents.items() if count > 1]:
        raise InvalidRobotDescription(f"links with several parents: {shared}; a URDF is a tree")
    roots = [link for link in links if link not in parents]
    if len(roots) != 1:
        what = f"several roots: {roots}" if roots else "no root: its joints form a cycle"
        raise InvalidRobotDescription(f"the robot has {what}; exactly one link has no parent")
    children: dict[str, list[Joint]] = {}
    for joint in joints:
        children.setdefault(joint.parent, []).append(joint)
    ordered: list[Joint] = []
    waiting = list(reversed(children.get(roots[0], [])))
    while waiting:
        joint = waiting.pop()
        ordered.append(joint)
        waiting += reversed(children.get(joint.child, []))
    if len(ordered) < len(joints):
        cyclic = sorted({joint.name for joint in joints} - {joint.name for joint in ordered})
        raise InvalidRobotDescription(f"joints {cyclic} form a cycle that the root does not reach")
    return roots[0], tuple(ordered)


def _check_mimics(joints: tuple[Joint, ...]) -> None:
    by_name = {joint.name: joint for joint in joints}
    for joint in joints:
        seen, leader = {joint.name}, joint
        while leader.mimic is not None:
            if leader.mimic.joint not in by_name:
                raise InvalidRobotDescription(
                    f"joint '{leader.name}' mimics '{leader.mimic.joint}', which is not there"
                )
            leader = by_name[leader.mimic.joint]
            if leader.name in seen:
                raise InvalidRobotDescription(f"mimic joints {sorted(seen)} follow each other in a cycle")
            seen.add(leader.name)
        if joint.mimic is not None and leader.kind == FIXED:
            raise InvalidRobotDescription(f"joint '{joint.name}' mimics the fixed joint '{leader.name}'")


def _origin(element: "Element") -> FloatArray:
    origin = element.find("origin")
    if origin is None:
        return np.eye(4)
    return from_rpy(_numbers(origin.get("xyz", "0 0 0"), 3), _numbers(origin.get("rpy", "0 0 0"), 3))


def _reference(element: "Element", tag: str) -> str:
    child = element.find(tag)
    if child is None:
        raise InvalidRobotDescription(f"joint '{element.get('name')}' has no <{tag}>")
    return _attribute(child, "link")


def _attribute(element: "Element", name: str) -> str:
    value = element.get(name)
    if not value:
        raise InvalidRobotDescription(f"<{element.tag}> has no attribute '{name}'")
    return value


def _positive(element: "Element", name: str) -> float:
    value = float(_numbers(_attribute(element, name), 1)[0])
    if value <= 0:
        raise InvalidRobotDescription(f"<{element.tag}> has {name} {value}; it must be positive")
    return value


def _number(element: "Element | None", name: str, default: float) -> float:
    text = None if element is None else element.get(name)
    return default if text is None else float(_numbers(text, 1)[0])


def _numbers(text: str, count: int) -> FloatArray:
    try:
        numbers = np.array([float(word) for word in text.split()])
    except ValueError:
        numbers = np.empty(0)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InvalidRobotDescription(f"'{text[:80]}' is not {count} finite number(s)")
    return numbers
