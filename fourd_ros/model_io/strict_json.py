"""JSON objects from files that somebody else may have written: bounded, each name once, no NaN, whole characters."""

import json
from pathlib import Path
from typing import Any

from fourd_ros.errors import InvalidModel

MAX_BYTES = 64 * 1024**2
"""The index of a model of a thousand layers has 1 MB."""


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        InvalidModel: no file, too large, not JSON, not an object, a name twice, NaN or an infinite number, text
            that is none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise InvalidModel(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        return parse_object(path.read_bytes(), what=f"'{path}'")
    except OSError as error:
        raise InvalidModel(f"'{path}' cannot be read: {error.strerror}") from error


def parse_object(data: bytes, *, what: str) -> dict[str, Any]:
    """The object in `data`; `what` names it in errors, which are those of `read_object`."""
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_refuse)
        if b"\\u" in data:
            json.dumps(found, ensure_ascii=False).encode("utf-8")  # an escaped half of a character cannot be shown
    except (ValueError, RecursionError) as error:
        raise InvalidModel(f"{what} is not readable JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidModel(f"{what} holds a {type(found).__name__}, needed a JSON object")
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"twice the same name: {sorted({name for name in names if names.count(name) > 1})[:10]}")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def to_bytes(value: object) -> bytes:
    """Readable JSON with a line feed at its end; refuses NaN and infinite numbers with ValueError."""
    return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
