"""JSON objects from files that somebody else may have written: bounded, each name once, no NaN, whole characters."""

import json
from pathlib import Path
from typing import Any

from fourd_ros.errors import FourdError

MAX_BYTES = 64 * 1024**2
"""The index of a model of a thousand layers has 1 MB."""


def read_object(path: Path, *, error: type[FourdError]) -> dict[str, Any]:
    """The object in a file.

    Args:
        path: of the file.
        error: what is raised when there is no file, or it is too large, not JSON, not an object, or has a name twice,
            NaN, an infinite number, or text that is none.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise error(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        return parse_object(path.read_bytes(), what=f"'{path}'", error=error)
    except OSError as cause:
        raise error(f"'{path}' cannot be read: {cause.strerror}") from cause


def parse_object(data: bytes, *, what: str, error: type[FourdError]) -> dict[str, Any]:
    """The object in `data`; `what` names it in the `error`, which is raised like in `read_object`."""
    try:
        found = json.loads(data.decode("utf-8"), object_pairs_hook=_each_once, parse_constant=_refuse)
        if b"\\u" in data:
            json.dumps(found, ensure_ascii=False).encode("utf-8")  # an escaped half of a character cannot be shown
    except (ValueError, RecursionError) as cause:
        raise error(f"{what} is not readable JSON: {cause}") from cause
    if not isinstance(found, dict):
        raise error(f"{what} holds a {type(found).__name__}, needed a JSON object")
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
