"""What a URDF says about a robot: links, joints and what they look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidRobotDescription, MissingDependency, PathNotAllowed
from fourd_ros.robot.mesh_paths import MeshPaths

FloatArray = NDArray[np.float64]
Colour = tuple[float, float, float]

FIXED = "fixed"
ROTATING = ("revolute", "continuous")
SLIDING = ("prismatic",)


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """A mesh file.

    Args:
        path: absolute, below an allowed root.
        scale: factors along its axes, shape [3].
    """

    path: Path
    scale: FloatArray


@dataclass(frozen=True, kw_only=True)
class Box:
    """A box around its origin with edges `size` [m], shape [3]."""

    size: FloatArray


@dataclass(frozen=True, kw_only=True)
class Cylinder:
    """A cylinder around its origin, along z, of `radius` and `length` [m]."""

    radius: float
    length: float


@dataclass(frozen=True, kw_only=True)
class Sphere:
    """A sphere around its origin of `radius` [m]."""

    radius: float


Geometry = Mesh | Box | Cylinder | Sphere


@dataclass(frozen=True, kw_only=True)
class Visual:
    """One visible part of a link.

    Args:
        geometry: its shape.
        T_link_visual: where it sits, shape [4, 4].
        colour: red, green, blue from 0 to 1; None where the URDF gives none.
    """

    geometry: Geometry
    T_link_visual: FloatArray
    colour: Colour | None


@dataclass(frozen=True, kw_only=True)
class Link:
    """A rigid body of the robot with its visible parts."""

    name: str
    visuals: tuple[Visual, ...]


@dataclass(frozen=True, kw_only=True)
class Mimic:
    """Makes a joint follow another: ``multiplier * q + offset``."""

    joint: str
    multiplier: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class Joint:
    """How a child link moves against its parent.

    Args:
        name: unique.
        kind: ``fixed``, ``revolute``, ``continuous`` or ``prismatic``.
        parent: link name.
        child: link name.
        T_parent_joint: child pose at position zero, shape [4, 4].
        axis: unit vector in the joint frame, shape [3].
        lower: least position [rad | m], -inf for none.
        upper: greatest position [rad | m], inf for none.
        velocity: greatest speed [rad/s | m/s], inf for none.
        mimic: the joint it follows, if any.
    """

    name: str
    kind: str
    parent: str
    child: str
    T_parent_joint: FloatArray
    axis: FloatArray
    lower: float
    upper: float
    velocity: float
    mimic: Mimic | None


@dataclass(frozen=True, kw_only=True)
class RobotDescription:
    """A tree of links.

    Args:
        name: of the robot.
        root: the link without a parent.
        links: all of them, in the order of the URDF.
        joints: parents before children.
        text: the URDF it was read from.
    """

    name: str
    root: str
    links: tuple[Link, ...]
    joints: tuple[Joint, ...]
    text: str

    @classmethod
    def from_urdf(
        cls,
        text: str,
        *,
        package_roots: Mapping[str, Path] | None = None,
        base_directory: Path | None = None,
        allowed_roots: Sequence[Path] | None = None,
        visuals: bool = True,
    ) -> "RobotDescription":
        """Read a URDF, with XML entities refused and sizes bounded.

        Args:
            text: the XML.
            package_roots: folders of packages that are not installed in the sourced workspaces.
            base_directory: folder that relative mesh references start from.
            allowed_roots: only meshes below these are accepted; None allows the folders above and installed packages.
            visuals: otherwise what the links look like is left out, and no mesh file is looked for.

        Raises:
            InvalidRobotDescription: malformed, too large, cyclic, several roots, or references to what is not there.
            MeshUnavailable: a mesh of a package that is not known.
            PathNotAllowed: a mesh outside the allowed roots.
        """
        from fourd_ros.robot.urdf import read_urdf

        paths = MeshPaths(package_roots=package_roots or {}, base_directory=base_directory, allowed_roots=allowed_roots)
        return read_urdf(text, paths if visuals else None)


def load_description(
    path: Path,
    *,
    package_roots: Mapping[str, Path] | None = None,
    allowed_roots: Sequence[Path] | None = None,
    visuals: bool = True,
) -> RobotDescription:
    """Read a URDF file, or a xacro file that you trust: xacro evaluates the Python expressions in it.

    Args:
        path: ``*.urdf`` or ``*.xacro``.
        package_roots: folders of packages that are not installed in the sourced workspaces.
        allowed_roots: only meshes below these are accepted; None allows the file's folder and packages.
        visuals: otherwise what the links look like is left out, and no mesh file is looked for.

    Raises:
        PathNotAllowed: there is no such file, or it is neither a URDF nor a xacro file.
        InvalidRobotDescription: see `RobotDescription.from_urdf`, or xacro fails.
        MissingDependency: a xacro file without the xacro package.
    """
    if not path.is_file() or path.suffix not in (".urdf", ".xml", ".xacro"):
        raise PathNotAllowed(f"{path} is not a file ending in .urdf, .xml or .xacro")
    text = _expand_xacro(path) if path.suffix == ".xacro" else path.read_text(encoding="utf-8")
    return RobotDescription.from_urdf(
        text, package_roots=package_roots, base_directory=path.parent, allowed_roots=allowed_roots, visuals=visuals
    )


def _expand_xacro(path: Path) -> str:
    try:
        import xacro
    except ImportError as error:
        raise MissingDependency("xacro files need the xacro package: pip install xacro") from error
    try:
        return str(xacro.process_file(str(path)).toxml())
    except Exception as error:  # xacro raises whatever the expressions in the file raise
        raise InvalidRobotDescription(f"xacro cannot process {path}: {error}") from error
