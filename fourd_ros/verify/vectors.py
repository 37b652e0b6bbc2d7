"""The files of a folder of vectors, read without ever running what is in them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidVectors, PathNotAllowed

Tensors = dict[str, NDArray[Any]]
MAX_FILE_BYTES = 8 << 30
_SAFETENSORS_TYPES = {
    "BOOL": np.bool_,
    "F16": np.float16,
    "F32": np.float32,
    "F64": np.float64,
    "I8": np.int8,
    "I16": np.int16,
    "I32": np.int32,
    "I64": np.int64,
    "U8": np.uint8,
    "U16": np.uint16,
    "U32": np.uint32,
    "U64": np.uint64,
}


class VectorFolder:
    """A folder of vectors that remembers which of its files were read."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.read: set[str] = set()

    def files(self) -> list[str]:
        """Relative paths of everything in it."""
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def path(self, relative: str) -> Path:
        """A file, or a folder with all that is in it, for a check that opens it by itself; counts as read.

        Raises:
            InvalidVectors: there is no such file.
            PathNotAllowed: it leads outside the folder.
        """
        path = (self.root / relative).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise PathNotAllowed(f"{relative} leads outside {self.root}")
        if not path.exists():
            raise InvalidVectors(f"{self.root} has no {relative}")
        inside = path.rglob("*") if path.is_dir() else [path]
        self.read.update(str(file.relative_to(self.root.resolve())) for file in inside if file.is_file())
        return path

    def load(self, relative: str) -> Any:
        """The contents of a file.

        Returns:
            Tensors by name for safetensors and npz, an array for npy, parsed JSON; for anything else its path.
        """
        path = self.path(relative)
        try:
            match path.suffix:
                case ".safetensors":
                    return _load_safetensors(path)
                case ".npz":
                    with np.load(path, allow_pickle=False) as archive:
                        return dict(archive)
                case ".json":
                    return json.loads(path.read_text())
                case ".npy" if not _holds_objects(path):
                    return np.load(path, allow_pickle=False)
        except ValueError as error:
            raise InvalidVectors(f"{relative} cannot be read: {error}") from None
        return path


def _holds_objects(path: Path) -> bool:
    """Whether an npy file holds pickled objects; such a file is handed on by its path, unopened."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        return bool(reader(file)[2].hasobject)


def _load_safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError, deserialize

    if path.stat().st_size > MAX_FILE_BYTES:
        raise InvalidVectors(f"{path} has {path.stat().st_size} bytes, at most {MAX_FILE_BYTES} are read")
    try:
        entries = deserialize(path.read_bytes())  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise InvalidVectors(f"{path} is not a safetensors file: {error}") from None
    return {name: _tensor(name, entry) for name, entry in entries}


def _tensor(name: str, entry: dict[str, Any]) -> NDArray[Any]:
    if entry["dtype"] == "BF16":  # the upper half of a float32
        bits = np.frombuffer(entry["data"], np.uint16).astype(np.uint32) << 16
        return bits.view(np.float32).reshape(entry["shape"])
    if entry["dtype"] not in _SAFETENSORS_TYPES:
        raise InvalidVectors(f"tensor {name} has the type {entry['dtype']}, which cannot be compared")
    return np.frombuffer(entry["data"], _SAFETENSORS_TYPES[entry["dtype"]]).reshape(entry["shape"])
