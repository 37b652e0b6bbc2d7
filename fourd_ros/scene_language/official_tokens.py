"""Token files of the original: dictionaries that numpy pickled. They are read without building what they mention.

The operations of the pickle run, but each of the few types they may mention is replaced by one that only notes what it
is given; arrays are then made of their bytes, whose count has to be that of their shape.
"""

import pickle
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCheckpoint, UnsafeCheckpoint

MAX_BYTES = 4 << 30
TOKENS, SPECIAL = "aggregated_tokens_list", "patch_start_idx"
_UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, pickle.PickleError)
_FLOATS = {"f4": np.float32, "f2": np.float16}


class _Noted:
    """An array or a type of numbers: what it was made with, and its state."""

    def __init__(self, *given: Any) -> None:
        self.given, self.state = given, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


_ALLOWED = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
}


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in _ALLOWED:
            raise UnsafeCheckpoint(
                f"it mentions {module_name}.{global_name}, which no token file needs; nothing was run"
            )
        return _Noted


def read_official_tokens(path: Path | str) -> tuple[list[NDArray[np.floating]], int]:
    """Tokens of one frame.

    Args:
        path: ``streamvggt_token/NNNNNN.npy``.

    Returns:
        The layers, shape [1, 1, P, 2 C] each, and how many of the P tokens are not of patches.

    Raises:
        InvalidCheckpoint: it is something else, damaged or beyond 4 GiB.
        UnsafeCheckpoint: its pickle mentions other types; nothing was run.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidCheckpoint(f"'{path}' has {path.stat().st_size:,} bytes; at most {MAX_BYTES:,} are read")
        with path.open("rb") as file:
            content = _content(file)
        layers = [_array(layer) for layer in content[TOKENS]]
        special = content[SPECIAL]
    except UnsafeCheckpoint as error:
        raise UnsafeCheckpoint(f"'{path}': {error}") from None
    except _UNREADABLE as error:
        raise InvalidCheckpoint(f"'{path}' is no file of tokens: {type(error).__name__}: {error}") from error
    if not layers or type(special) is not int:
        raise InvalidCheckpoint(f"'{path}' holds no layer, or does not say where patches begin")
    return layers, special


def _content(file: BinaryIO) -> Any:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = header(file)
    if shape != () or not kind.hasobject:
        raise ValueError(f"an array {shape} of {kind}, needed is one object")
    outer = _Reader(file).load()
    return outer.state[4][0]


def _array(noted: Any) -> NDArray[np.floating]:
    _, shape, kind, column_major, data = noted.state
    name, order = kind.given[0], kind.state[1]
    if name not in _FLOATS or order not in "<=" or column_major:
        raise ValueError(f"numbers of type {order}{name}; needed are little-endian f4 or f2 in row-major order")
    dtype = np.dtype(_FLOATS[name])
    if len(data) != prod(shape) * dtype.itemsize:
        raise ValueError(f"{len(data)} bytes for a shape of {shape}")
    return np.frombuffer(data, dtype).reshape(shape)
