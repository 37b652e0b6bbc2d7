"""Wavefront OBJ files: joined into one with their materials, and read as surfaces.

Rules of joining: PartRM 2025 (arXiv 2503.19913), section 8.2 of the specification this was written from: materials
become ``material-<k>-<n>``, indices of vertices, texture places and normals count on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset

MAX_BYTES = 256 * 1024**2
_KINDS = ("v", "vt", "vn")


def merge_meshes(paths: Sequence[Path], index: int) -> tuple[str, str]:
    """The meshes of a part as one OBJ text, and its MTL text.

    Args:
        paths: of OBJ files, each with its materials in an MTL file beside it.
        index: of the part; names its materials and their file.

    Raises:
        InvalidDataset: a file is missing or too large, or a face names a vertex that is not there.
    """
    merger = _Merger(index)
    for path in paths:
        merger.add(path)
    return "\n".join([f"mtllib {index}.mtl", *merger.lines]) + "\n", "\n".join(merger.materials) + "\n"


class _Merger:
    def __init__(self, index: int) -> None:
        self.lines: list[str] = []
        self.materials: list[str] = []
        self._index, self._count = index, 0
        self._before = dict.fromkeys(_KINDS, 0)

    def add(self, path: Path) -> None:
        names: dict[str, str] = {}
        here = dict.fromkeys(_KINDS, 0)
        for line in _lines(path):
            words = line.split()
            if words[0] == "mtllib":
                self._add_materials(path.parent / line.split(maxsplit=1)[1].strip(), path, names)
            elif words[0] == "usemtl":
                name = line.split(maxsplit=1)[1].strip() if len(words) > 1 else ""
                self.lines.append(f"usemtl {names.get(name) or self._new_name(name, names)}")
            elif words[0] in _KINDS:
                here[words[0]] += 1
                self.lines.append(line)
            elif words[0] == "f":
                self.lines.append("f " + " ".join(self._corner(word, here, path) for word in words[1:]))
        for kind, count in here.items():
            self._before[kind] += count

    def _corner(self, word: str, here: dict[str, int], path: Path) -> str:
        """A corner ``v/vt/vn`` with numbers of the joined file; negative ones count back from the last."""
        moved = []
        for kind, text in zip(_KINDS, word.split("/"), strict=False):
            try:
                number = int(text) if text else 0
            except ValueError as error:
                raise InvalidDataset(f"'{path}' has a face with '{word}'") from error
            number = number + here[kind] + 1 if number < 0 else number
            if text and not 1 <= number <= here[kind]:
                raise InvalidDataset(f"'{path}' has a face with '{word}'; it has {here[kind]} of '{kind}' before it")
            moved.append(str(number + self._before[kind]) if text else "")
        return "/".join(moved)

    def _add_materials(self, path: Path, mesh: Path, names: dict[str, str]) -> None:
        if path.parent.resolve() != mesh.parent.resolve():
            raise InvalidDataset(f"'{mesh}' takes materials from '{path}', outside its folder")
        for line in _lines(path):
            words = line.split(maxsplit=1)
            if words[0] == "newmtl":
                name = words[1].strip() if len(words) > 1 else ""
                self.materials.append(f"newmtl {self._new_name(name, names)}")
            elif words[0].startswith("map_") and len(words) > 1:
                # Pictures lie in images/ beside the folder of meshes, before and after.
                self.materials.append(f"{words[0]} ../images/{Path(words[1].strip()).name}")
            else:
                self.materials.append(line)

    def _new_name(self, name: str, names: dict[str, str]) -> str:
        names[name] = f"material-{self._index}-{self._count}"
        self._count += 1
        return names[name]


def _lines(path: Path) -> Iterator[str]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InvalidDataset(f"'{path}' cannot be read: {error.strerror}") from error
    for line in text.splitlines():
        if (stripped := line.strip()) and not stripped.startswith("#"):
            yield stripped


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """Triangles of one material.

    Args:
        vertices: shape [N, 3].
        faces: shape [M, 3].
        texture_places: of each corner, shape [M, 3, 2]; None where a corner has none.
        colour: RGB in 0..1.
        picture: of the texture; None where there is none.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    texture_places: NDArray[np.float64] | None
    colour: tuple[float, float, float]
    picture: Path | None


def read_surfaces(path: Path) -> tuple[Surface, ...]:
    """What an OBJ file shows, a surface a material; polygons become fans of triangles.

    Raises:
        InvalidDataset: missing, too large, or with values that are no numbers or vertices that are not there.
    """
    try:
        return _surfaces(path)
    except (ValueError, IndexError) as error:
        raise InvalidDataset(f"'{path}' is no mesh that can be read: {error}") from error


def _surfaces(path: Path) -> tuple[Surface, ...]:
    vertices: list[list[float]] = []
    places: list[list[float]] = []
    looks: dict[str, _Look] = {}
    corners: dict[str, list[tuple[int, int]]] = {}
    material = ""
    for line in _lines(path):
        words = line.split()
        if words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == "vt":
            places.append([float(word) for word in words[1:3]])
        elif words[0] == "mtllib":
            looks |= _read_looks(path.parent / line.split(maxsplit=1)[1].strip())
        elif words[0] == "usemtl":
            material = line.split(maxsplit=1)[1].strip() if len(words) > 1 else ""
        elif words[0] == "f":
            polygon = [_corner_of(word, len(vertices), len(places)) for word in words[1:]]
            fan = pairwise(polygon[1:])
            corners.setdefault(material, []).extend(corner for a, b in fan for corner in (polygon[0], a, b))
    return tuple(_surface(found, vertices, places, looks.get(name, _Look())) for name, found in corners.items())


@dataclass(frozen=True, kw_only=True)
class _Look:
    colour: tuple[float, float, float] = (0.7, 0.7, 0.7)
    picture: Path | None = None


def _read_looks(path: Path) -> dict[str, _Look]:
    looks: dict[str, _Look] = {}
    name = ""
    for line in _lines(path):
        words = line.split(maxsplit=1)
        if words[0] == "newmtl":
            name = words[1].strip() if len(words) > 1 else ""
            looks[name] = _Look()
        elif words[0] == "Kd" and name in looks:
            red, green, blue = (float(value) for value in words[1].split()[:3])
            looks[name] = replace(looks[name], colour=(red, green, blue))
        elif words[0] == "map_Kd" and name in looks:
            # Pictures lie in images/ beside the folder of meshes, whatever path the file has.
            looks[name] = replace(looks[name], picture=path.parent.parent / "images" / Path(words[1].strip()).name)
    return looks


def _corner_of(word: str, vertices: int, places: int) -> tuple[int, int]:
    """Index of a corner's vertex and of its place in the texture, from 0; -1 where it has none."""
    texts = [*word.split("/"), "", ""][:2]
    found = []
    for text, count in zip(texts, (vertices, places), strict=True):
        number = int(text) if text else 0
        number = count + number if number < 0 else number - 1
        if text and not 0 <= number < count:
            raise IndexError(f"a face names '{word}' where {vertices} vertices and {places} texture places are")
        found.append(number if text else -1)
    return found[0], found[1]


def _surface(
    corners: list[tuple[int, int]], vertices: list[list[float]], places: list[list[float]], look: _Look
) -> Surface:
    indices = np.array(corners, np.int64).reshape(-1, 3, 2)
    used, faces = np.unique(indices[..., 0], return_inverse=True)
    textured = look.picture is not None and bool((indices[..., 1] >= 0).all())
    points = np.array(vertices, np.float64).reshape(-1, 3)[used]
    if not np.isfinite(points).all():
        raise ValueError("vertices that are not finite")
    return Surface(
        vertices=points,
        faces=faces.reshape(-1, 3),
        texture_places=np.array(places, np.float64)[indices[..., 1]] if textured else None,
        colour=look.colour,
        picture=look.picture if textured else None,
    )
