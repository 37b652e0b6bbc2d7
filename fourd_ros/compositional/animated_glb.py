"""Moving objects in one GLB file that viewers and Blender play.

An object is a node that moves (translation and rotation); its shapes are nodes below it, each of which is shown while
its scale is one and hidden while it is zero, the way that glTF 2.0 (section 3.11, "Animations") names for visibility.
Morph targets would need the same triangles in every frame, which shapes from fields do not have.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.object_colours import RGB
from fourd_ros.compositional.surface_mesh import SurfaceMesh
from fourd_ros.errors import InvalidMesh
from fourd_ros.geometry.transforms import to_quaternion
from fourd_ros.whole_file import whole_file

__all__ = ["MovingMesh", "write_animated_glb"]

FloatArray = NDArray[np.float64]

HIDDEN = -1
FLOAT, UNSIGNED_INT = 5126, 5125
VERTEX_BUFFER, INDEX_BUFFER = 34962, 34963
MAX_BYTES = 2**32 - 1


@dataclass(frozen=True, kw_only=True, eq=False)
class MovingMesh:
    """An object over the frames of a clip.

    Args:
        name: of its node.
        colour: red, green and blue, 0..255.
        shapes: what it looks like at one time or another, in its own frame; one that is rigid has one.
        shown: which shape each frame shows, `HIDDEN` where none, shape [F].
        T_scene_object: its pose in every frame, shape [F, 4, 4]; NaN where it is not known, which only frames that
            show nothing may have.

    Raises:
        InvalidMesh: shapes that do not fit, a frame that shows a shape that is not there or has no faces, or one at an
            unknown pose.
    """

    name: str
    colour: RGB
    shapes: tuple[SurfaceMesh, ...]
    shown: NDArray[np.int64]
    T_scene_object: FloatArray

    def __post_init__(self) -> None:
        frames = len(self.shown)
        if self.shown.shape != (frames,) or self.T_scene_object.shape != (frames, 4, 4) or not frames:
            raise InvalidMesh(
                f"'{self.name}' has shapes shown {list(self.shown.shape)} and poses {list(self.T_scene_object.shape)}; "
                "needed are [F] and [F, 4, 4], F at least 1"
            )
        visible = np.unique(self.shown[self.shown != HIDDEN])
        if visible.size and not (visible.min() >= 0 and visible.max() < len(self.shapes)):
            raise InvalidMesh(f"'{self.name}' shows shapes {visible.tolist()} of {len(self.shapes)}")
        if any(self.shapes[number].is_empty for number in visible):
            raise InvalidMesh(f"'{self.name}' shows a shape without faces; a frame without a shape shows {HIDDEN}")
        if not np.isfinite(self.T_scene_object[self.shown != HIDDEN]).all():
            raise InvalidMesh(f"'{self.name}' is shown at poses that are not known")


def write_animated_glb(path: Path | str, objects: Sequence[MovingMesh], *, times: NDArray[np.floating]) -> None:
    """Write objects over time into one file, whole or not at all.

    Args:
        path: of the file; missing folders are made.
        objects: with as many frames as there are times.
        times: of the frames from the start [s], increasing, shape [F].

    Raises:
        InvalidMesh: nothing is ever shown, times that do not increase or do not fit, or more than 4 GiB.
    """
    seconds = np.asarray(times, np.float32)
    if seconds.ndim != 1 or not np.isfinite(seconds).all() or (np.diff(seconds) <= 0).any() or (seconds < 0).any():
        raise InvalidMesh(f"times of shape {list(seconds.shape)}; needed are increasing numbers from 0 on, [F]")
    for one in objects:
        if len(one.shown) != len(seconds):
            raise InvalidMesh(f"'{one.name}' has {len(one.shown)} frames, there are {len(seconds)} times")
    file = _Gltf(seconds)
    for one in objects:
        file.add(one)
    content = file.bytes()
    with whole_file(path) as out:
        out.write(content)


class _Gltf:
    """The parts of a file, collected: what they mean in JSON, and their numbers in one buffer."""

    def __init__(self, seconds: NDArray[np.float32]) -> None:
        self._seconds = seconds
        self._buffer = bytearray()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._meshes: list[dict[str, Any]] = []
        self._nodes: list[dict[str, Any]] = []
        self._roots: list[int] = []
        self._samplers: list[dict[str, Any]] = []
        self._channels: list[dict[str, Any]] = []

    def add(self, one: MovingMesh) -> None:
        """An object that is shown at any time."""
        visible = [int(number) for number in np.unique(one.shown) if number != HIDDEN]
        if not visible:
            return
        self._materials.append(_material(one))
        node = self._node({"name": one.name})
        self._roots.append(node)
        self._move(node, _known_poses(one))
        self._nodes[node]["children"] = [self._shape(one, number) for number in visible]

    def bytes(self) -> bytes:
        """The whole file."""
        if not self._meshes:
            raise InvalidMesh("no object is shown in any frame; there is nothing to write")
        content = {
            "asset": {"version": "2.0", "generator": "fourd_ros"},
            "scene": 0,
            "scenes": [{"nodes": self._roots}],
            "nodes": self._nodes,
            "meshes": self._meshes,
            "materials": self._materials,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": len(self._buffer)}],
        }
        if self._channels:
            content["animations"] = [{"name": "clip", "samplers": self._samplers, "channels": self._channels}]
        text = json.dumps(content, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        length = 12 + 8 + len(text) + 8 + len(self._buffer)
        if length > MAX_BYTES:
            raise InvalidMesh(f"{length} bytes; a GLB file has at most {MAX_BYTES}: decimate the shapes")
        head = struct.pack("<4sII", b"glTF", 2, length) + struct.pack("<I4s", len(text), b"JSON")
        return b"".join([head, text, struct.pack("<I4s", len(self._buffer), b"BIN\0"), self._buffer])

    def _shape(self, one: MovingMesh, number: int) -> int:
        shape = one.shapes[number]
        primitive = {
            "attributes": {
                "POSITION": self._accessor(shape.vertices, "VEC3", target=VERTEX_BUFFER, bounds=True),
                "NORMAL": self._accessor(shape.vertex_normals(), "VEC3", target=VERTEX_BUFFER),
            },
            "indices": self._accessor(shape.faces.astype(np.uint32).ravel(), "SCALAR", target=INDEX_BUFFER),
            "material": len(self._materials) - 1,
        }
        name = f"{one.name}_shape_{number:03d}"
        self._meshes.append({"name": name, "primitives": [primitive]})
        node = self._node({"name": name, "mesh": len(self._meshes) - 1})
        self._show(node, one.shown == number)
        return node

    def _node(self, node: dict[str, Any]) -> int:
        self._nodes.append(node)
        return len(self._nodes) - 1

    def _move(self, node: int, poses: FloatArray) -> None:
        """Where it stands, over time as far as that changes."""
        position, turn = to_quaternion(poses)
        flips = np.cumprod(np.where((turn[1:] * turn[:-1]).sum(axis=1) < 0, -1.0, 1.0))
        turn = turn * np.concatenate([[1.0], flips])[:, None]  # the short way round, from frame to frame
        for path, values, kind in (("translation", position, "VEC3"), ("rotation", turn, "VEC4")):
            self._nodes[node][path] = values[0].tolist()
            if not np.allclose(values, values[0], atol=1e-9):
                self._animate(node, path, self._seconds, values, kind, "LINEAR")

    def _show(self, node: int, visible: NDArray[np.bool_]) -> None:
        """The times at which it comes and goes."""
        if visible.all():
            return
        changes = np.flatnonzero(np.concatenate([[True], visible[1:] != visible[:-1]]))
        scale = np.repeat(visible[changes, None].astype(np.float32), 3, axis=1)
        self._nodes[node]["scale"] = scale[0].tolist()
        if len(changes) > 1:
            self._animate(node, "scale", self._seconds[changes], scale, "VEC3", "STEP")

    def _animate(
        self, node: int, path: str, times: NDArray[np.float32], values: NDArray[Any], kind: str, interpolation: str
    ) -> None:
        self._samplers.append(
            {
                "input": self._accessor(times, "SCALAR", bounds=True),
                "output": self._accessor(values.astype(np.float32), kind),
                "interpolation": interpolation,
            }
        )
        self._channels.append({"sampler": len(self._samplers) - 1, "target": {"node": node, "path": path}})

    def _accessor(self, values: NDArray[Any], kind: str, *, target: int | None = None, bounds: bool = False) -> int:
        """Numbers in the buffer; all have four bytes, so everything is aligned."""
        data = np.ascontiguousarray(values)
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self._buffer), "byteLength": data.nbytes}
        if target is not None:
            view["target"] = target
        self._buffer += data.tobytes()
        self._views.append(view)
        accessor: dict[str, Any] = {
            "bufferView": len(self._views) - 1,
            "componentType": UNSIGNED_INT if data.dtype == np.uint32 else FLOAT,
            "count": len(data),
            "type": kind,
        }
        if bounds:
            rows = data.reshape(len(data), -1)
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self._accessors.append(accessor)
        return len(self._accessors) - 1


def _material(one: MovingMesh) -> dict[str, Any]:
    """Of its colour, which glTF wants in linear light (IEC 61966-2-1)."""
    screen = np.array(one.colour) / 255
    linear = np.where(screen <= 0.04045, screen / 12.92, ((screen + 0.055) / 1.055) ** 2.4)
    look = {"baseColorFactor": [*linear.tolist(), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
    return {"name": one.name, "pbrMetallicRoughness": look}


def _known_poses(one: MovingMesh) -> FloatArray:
    """Poses of all frames; where it is not known, that of the frame before, or of the first that is."""
    known = np.asarray(np.isfinite(one.T_scene_object).all(axis=(1, 2)))
    last = np.maximum.accumulate(np.where(known, np.arange(len(known)), -1))
    return np.asarray(one.T_scene_object[np.where(last < 0, np.argmax(known), last)])
