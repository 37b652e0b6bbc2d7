"""Sequences of a moving camera in scenes where things move, packed for training: few files, read as slices.

A shard is a safetensors file with the plain arrays of several sequences, called ``<sequence>/<array>``.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.depth_steps import to_metres, to_steps
from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import parse_object, read_object

FloatArray = NDArray[np.float64]

MANIFEST = "scenes.json"
SHARDS = "shards"

TABLE, FLOOR, WALL, ROBOT = 254, 253, 252, 255
"""Numbers of what is in every scene; 0 is what nobody can name."""

STATES = ("moving", "held", "open", "closed")
"""What a thing may be at an instant; the place of a word is that of its bit."""


@dataclass(frozen=True, kw_only=True)
class SceneThing:
    """Something that has pixels.

    Args:
        number: of its pixels.
        label: what a person would call it: colour and category, or category.
        category: its last word.
    """

    number: int
    label: str
    category: str


@dataclass(frozen=True, kw_only=True)
class SceneFacts:
    """What is known of a sequence beside its pictures.

    Args:
        name: digits.
        behaviour: what happens.
        rate: frames a second.
        things: in the order of `SceneFrames.states`.
    """

    name: str
    behaviour: str
    rate: float
    things: tuple[SceneThing, ...]


@dataclass(frozen=True, kw_only=True)
class SceneFrames:
    """Frames of a sequence: F frames of H x W pixels, N things.

    Args:
        rgb: colour, shape [F, H, W, 3], uint8.
        depth: along the optical axis [m], NaN where unknown, shape [F, H, W].
        numbers: which thing a pixel shows, shape [F, H, W], uint8.
        T_world_camera: shape [F, 4, 4].
        K: camera matrix of all frames, pixel centres at integers, shape [3, 3].
        states: bits of `STATES` by thing, shape [F, N], uint8.
    """

    rgb: NDArray[np.uint8]
    depth: NDArray[np.float32]
    numbers: NDArray[np.uint8]
    T_world_camera: FloatArray
    K: FloatArray
    states: NDArray[np.uint8]


def state_words(bits: int) -> tuple[str, ...]:
    """The words of `STATES` whose bits are set."""
    return tuple(word for place, word in enumerate(STATES) if bits >> place & 1)


def write_sequences(path: Path, sequences: Sequence[tuple[SceneFacts, SceneFrames]]) -> None:
    """Write a shard, whole or not at all; the same sequences give the same bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for facts, frames in sequences:
        packed: dict[str, NDArray[Any]] = {
            "facts": np.frombuffer(json.dumps(asdict(facts)).encode(), np.uint8),
            "rgb": frames.rgb,
            "depth": to_steps(frames.depth),
            "numbers": frames.numbers,
            "T_world_camera": frames.T_world_camera.astype(np.float64),
            "K": frames.K.astype(np.float64),
            "states": frames.states,
        }
        arrays |= {f"{facts.name}/{name}": np.ascontiguousarray(array) for name, array in packed.items()}
    write_shard(path, arrays)


class SceneShards:
    """The sequences of a folder, by number; it may be copied into other processes, each of which maps the files itself.

    Args:
        folder: made by ``fourd data scenes``.

    Raises:
        InvalidDataset: there are no shards, or one is damaged.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        paths = sorted((self.folder / SHARDS).glob("*.safetensors"))
        if not paths:
            raise InvalidDataset(f"'{folder}' has no {SHARDS}/*.safetensors; 'fourd data scenes FOLDER' makes them")
        self._open: dict[Path, Shard] = {}
        self._places = [
            (path, name.removesuffix("/facts"))
            for path in paths
            for name in sorted(self._shard(path).names)
            if name.endswith("/facts")
        ]

    def __len__(self) -> int:
        return len(self._places)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": {}}

    @property
    def manifest(self) -> Mapping[str, Any]:
        """How it was made."""
        return read_object(self.folder / MANIFEST, error=InvalidDataset)

    def facts(self, index: int) -> SceneFacts:
        """Of a sequence.

        Raises:
            InvalidDataset: they cannot be read.
        """
        path, name = self._places[index]
        text = self._array(index, "facts").tobytes()
        found = parse_object(text, what=f"'{path}', {name}", error=InvalidDataset)
        try:
            things = tuple(SceneThing(**thing) for thing in found.pop("things"))
            return SceneFacts(things=things, **found)
        except (KeyError, TypeError, AttributeError) as error:
            raise InvalidDataset(f"'{path}', {name}: facts that cannot be read: {error}") from error

    def length(self, index: int) -> int:
        """Frames of a sequence."""
        return len(self._array(index, "states"))

    def frames(self, index: int, chosen: Sequence[int] | None = None) -> SceneFrames:
        """Frames of a sequence; all by default.

        Raises:
            InvalidDataset: its arrays do not fit together, or it has no such frame.
        """
        arrays = {name: self._array(index, name) for name in ("rgb", "depth", "numbers", "T_world_camera", "states")}
        count = len(arrays["states"])
        shapes = {name: array.shape for name, array in arrays.items()}
        pixels = shapes["numbers"]
        wanted = {"rgb": (*pixels, 3), "depth": pixels, "T_world_camera": (count, 4, 4)}
        fits = len(pixels) == 3 and pixels[0] == count and all(shapes[name] == shape for name, shape in wanted.items())
        if not fits:
            raise InvalidDataset(f"'{self._places[index][0]}': arrays of {self._places[index][1]} of shapes {shapes}")
        taken = list(range(count) if chosen is None else chosen)
        if not all(0 <= frame < count for frame in taken):
            raise InvalidDataset(f"frames {taken} of a sequence that has {count}")
        return SceneFrames(
            rgb=arrays["rgb"][taken],
            depth=to_metres(arrays["depth"][taken]),
            numbers=arrays["numbers"][taken],
            T_world_camera=arrays["T_world_camera"][taken],
            K=np.array(self._array(index, "K")),
            states=arrays["states"][taken],
        )

    def _array(self, index: int, array: str) -> NDArray[Any]:
        path, name = self._places[index]
        return self._shard(path).array(f"{name}/{array}")

    def _shard(self, path: Path) -> Shard:
        if path not in self._open:
            self._open[path] = Shard(path)
        return self._open[path]
