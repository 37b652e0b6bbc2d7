"""Objects in many states, seen from many sides, packed for training: few files, read as slices.

An object is a `PackedObject`; a shard is a safetensors file with the plain arrays of several, called
``<object>/<array>``. Pictures are deflated one by one (most of a picture is background), so one of them costs the
decompression of its own bytes.
"""

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulation import Joint, ObjectState, joint_of, joint_rows
from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.errors import InvalidDataset
from fourd_ros.geometry.transforms import apply
from fourd_ros.strict_json import parse_object, read_object

FloatArray = NDArray[np.float64]
Pixels = NDArray[np.uint8]

MANIFEST = "articulated.json"
SHARDS = "shards"
MAX_SIZE = 4096
_LEVEL = 3
_CHANNELS = 4


@dataclass(frozen=True, kw_only=True)
class ObjectFacts:
    """What is known of a packed object beside its arrays.

    Args:
        name: digits.
        kind: of the generator.
        category: class of PartNet-Mobility.
        size: width and height of its pictures [pixels].
        views: numbers of the cameras of PartDrag-4D that it is seen by.
        states: in the order of its arrays; those of one sequence lie beside each other.
        joints: its joint table, y-up.
    """

    name: str
    kind: str
    category: str
    size: int
    views: tuple[int, ...]
    states: tuple[ObjectState, ...]
    joints: tuple[Joint, ...]

    @property
    def sequences(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the states of each sequence, in order."""
        found: dict[tuple[str, ...], list[int]] = {}
        for index, state in enumerate(self.states):
            found.setdefault(state.sequence, []).append(index)
        return tuple(tuple(indices) for indices in found.values())


@dataclass(frozen=True, kw_only=True)
class ObjectArrays:
    """What a packed object is made of: S states, V views, P points, L labels.

    Args:
        rgba: pictures with transparent background, shape [S, V, size, size, 4].
        poses: Blender poses of the cameras (see `partdrag4d_cameras`), shape [V, 4, 4].
        points: on the surface of the closed object, z-up, shape [P, 3].
        labels: which of `motions` moves each point; of generated objects k for what hangs on joint k and the number
            of joints for the body, shape [P].
        motions: closed -> state, of every label, z-up, shape [S, L, 4, 4].
        visible: points that view 0 sees in every state, shape [S, P].
        depth: along the optical axis in the world of the cameras, NaN where nothing is, shape [S, V, size, size]; or
            None.
    """

    rgba: Pixels
    poses: FloatArray
    points: NDArray[np.float32]
    labels: NDArray[np.int32]
    motions: FloatArray
    visible: NDArray[np.bool_]
    depth: NDArray[np.float32] | None = None


def write_objects(path: Path, objects: Sequence[tuple[ObjectFacts, ObjectArrays]]) -> None:
    """Write a shard, whole or not at all; the same objects give the same bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for facts, content in objects:
        arrays |= {f"{facts.name}/{name}": array for name, array in _packed(facts, content).items()}
    write_shard(path, arrays)


def _packed(facts: ObjectFacts, content: ObjectArrays) -> dict[str, NDArray[Any]]:
    packed: dict[str, NDArray[Any]] = {
        "facts": np.frombuffer(json.dumps(_facts_as_json(facts)).encode(), np.uint8),
        "poses": content.poses.astype(np.float64),
        "points": content.points.astype(np.float32),
        "labels": content.labels.astype(np.int32),
        "motions": content.motions.astype(np.float32),
        "visible": np.packbits(content.visible, axis=-1),
        **_deflated("rgba", content.rgba.reshape(-1, *content.rgba.shape[2:])),
    }
    if content.depth is not None:
        steps = np.nan_to_num(content.depth, nan=0.0) * _DEPTH_STEPS
        packed |= _deflated("depth", steps.round().clip(0, 2**16 - 1).astype("<u2").reshape(-1, *steps.shape[2:]))
    return packed


_DEPTH_STEPS = 10_000.0


def _deflated(name: str, pictures: NDArray[Any]) -> dict[str, NDArray[Any]]:
    parts = [zlib.compress(np.ascontiguousarray(picture).tobytes(), _LEVEL) for picture in pictures]
    ends = np.cumsum([len(part) for part in parts])
    if ends[-1] >= 2**31:
        raise InvalidDataset(f"an object's pictures take {ends[-1]} bytes; at most 2 GiB fit one object")
    return {name: np.frombuffer(b"".join(parts), np.uint8), f"{name}_ends": ends.astype(np.int32)}


def _facts_as_json(facts: ObjectFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "kind": facts.kind,
        "category": facts.category,
        "size": facts.size,
        "views": list(facts.views),
        "states": [[state.main, state.step, [list(other) for other in state.others]] for state in facts.states],
        "joints": joint_rows(facts.joints),
    }


class PackedObject:
    """One object of a folder; arrays are read when they are asked for.

    Args:
        shard: that holds it.
        name: of the object.

    Raises:
        InvalidDataset: the shard does not hold it, or its facts cannot be read.
    """

    def __init__(self, shard: Shard, name: str) -> None:
        self._shard, self.name = shard, name
        self.facts = _read_facts(shard, name)

    @cached_property
    def poses(self) -> FloatArray:
        """Blender poses of the cameras, shape [V, 4, 4]."""
        return self._array("poses")

    @cached_property
    def labels(self) -> NDArray[np.int32]:
        """Of the points, shape [P]."""
        return self._array("labels")

    @cached_property
    def motions(self) -> FloatArray:
        """Closed -> state of every label, z-up, shape [S, L, 4, 4]."""
        return self._array("motions").astype(np.float64)

    @cached_property
    def rest_points(self) -> NDArray[np.float32]:
        """Points of the closed object, z-up, shape [P, 3]."""
        return self._array("points")

    def points(self, state: int) -> NDArray[np.float32]:
        """Points in a state, z-up, in the same order for every state, shape [P, 3]."""
        placed = np.array(self.rest_points)
        for label, motion in enumerate(self.motions[state]):
            mask = self.labels == label
            placed[mask] = apply(motion, placed[mask])
        return placed

    def visible(self, state: int) -> NDArray[np.bool_]:
        """Points that view 0 sees, shape [P]."""
        return np.unpackbits(self._array("visible")[state], count=len(self.labels)).astype(bool)

    def images(self, state: int, views: Sequence[int] | None = None) -> Pixels:
        """Pictures of a state, RGBA, shape [n, size, size, 4].

        Args:
            state: index of the state.
            views: places in `facts.views`; all by default.

        Raises:
            InvalidDataset: the bytes are damaged.
        """
        return np.stack([self._picture("rgba", state, view) for view in self._chosen(views)])

    def depth(self, state: int, views: Sequence[int] | None = None) -> NDArray[np.float32]:
        """Along the optical axis in the world of the cameras, NaN where nothing is, shape [n, size, size].

        Raises:
            InvalidDataset: the bytes are damaged, or nobody kept the depth.
        """
        if f"{self.name}/depth" not in self._shard.names:
            raise InvalidDataset(
                f"'{self._shard.path}' has no depth of {self.name}; make it with 'fourd data articulated --packed "
                "--depth', or train with data.reprojected=0"
            )
        steps = np.stack([self._picture("depth", state, view) for view in self._chosen(views)])
        return np.where(steps > 0, steps / np.float32(_DEPTH_STEPS), np.float32(np.nan)).astype(np.float32)

    def _chosen(self, views: Sequence[int] | None) -> Sequence[int]:
        return range(len(self.facts.views)) if views is None else views

    def _picture(self, name: str, state: int, view: int) -> NDArray[Any]:
        count = len(self.facts.views)
        if not (0 <= state < len(self.facts.states) and 0 <= view < count):
            raise InvalidDataset(
                f"object {self.name} has no state {state} with view {view}; it has {len(self.facts.states)} states and "
                f"{count} views"
            )
        index, ends, size = state * count + view, self._array(f"{name}_ends"), self.facts.size
        begin = int(ends[index - 1]) if index else 0
        shape, dtype = ((size, size, _CHANNELS), "u1") if name == "rgba" else ((size, size), "<u2")
        expected = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            decoder = zlib.decompressobj()
            data = decoder.decompress(self._array(name)[begin : ends[index]].data, expected)
        except zlib.error as error:
            raise InvalidDataset(f"'{self._shard.path}': {name} {state}/{view} of {self.name}: {error}") from error
        if len(data) != expected or decoder.unconsumed_tail:
            raise InvalidDataset(
                f"'{self._shard.path}': {name} {state}/{view} of {self.name} has not the {expected} bytes of a picture"
            )
        return np.frombuffer(data, dtype).reshape(shape)

    def _array(self, name: str) -> NDArray[Any]:
        return self._shard.array(f"{self.name}/{name}")


class ArticulatedShards:
    """The objects of a folder of shards; it may be copied into other processes, each of which maps the files itself.

    Args:
        folder: made by ``fourd data articulated --packed``.

    Raises:
        InvalidDataset: there are no shards, or one is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._paths = sorted((self.folder / SHARDS).glob("*.safetensors"))
        if not self._paths:
            raise InvalidDataset(
                f"'{folder}' has no {SHARDS}/*.safetensors; 'fourd data articulated FOLDER --packed' makes them"
            )
        self._open: dict[Path, Shard] = {}
        self._objects: dict[str, PackedObject] = {}
        self._places = {
            name.removesuffix("/facts"): path
            for path in self._paths
            for name in self._shard(path).names
            if name.endswith("/facts")
        }

    def __len__(self) -> int:
        return len(self._places)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}, "_objects": {}}

    @property
    def names(self) -> tuple[str, ...]:
        """Of the objects."""
        return tuple(self._places)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """How it was made."""
        return read_object(self.folder / MANIFEST, error=InvalidDataset)

    def object(self, name: str) -> PackedObject:
        """An object by name.

        Raises:
            InvalidDataset: there is none, or it is damaged.
        """
        if name not in self._objects:
            if name not in self._places:
                raise InvalidDataset(f"'{self.folder}' has no object '{name}'")
            self._objects[name] = PackedObject(self._shard(self._places[name]), name)
        return self._objects[name]

    def _shard(self, path: Path) -> Shard:
        if path not in self._open:
            self._open[path] = Shard(path)
        return self._open[path]


def _read_facts(shard: Shard, name: str) -> ObjectFacts:
    text = shard.array(f"{name}/facts").tobytes()
    found = parse_object(text, what=f"'{shard.path}', {name}", error=InvalidDataset)
    try:
        size = int(found["size"])
        if not 0 < size <= MAX_SIZE:
            raise ValueError(f"pictures of {size} pixels; at most {MAX_SIZE}")
        return ObjectFacts(
            name=name,
            kind=str(found["kind"]),
            category=str(found["category"]),
            size=size,
            views=tuple(int(view) for view in found["views"]),
            states=tuple(
                ObjectState(main=int(main), step=int(step), others=tuple((int(a), int(b)) for a, b in others))
                for main, step, others in found["states"]
            ),
            joints=tuple(joint_of(key, row, path=shard.path) for key, row in found["joints"].items()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidDataset(f"'{shard.path}', {name}: facts that cannot be read: {error}") from error
