"""Which types a pickle mentions, read from its operations without carrying out any."""

import mmap
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PICKLES = 5
"""What torch wrote before version 1.6 is so many pickles one after the other, then the data."""


def mentioned_types(path: Path) -> set[str]:
    """Full names of classes and functions, for messages: whoever wrote the pickle can hide some."""
    found: set[str] = set()
    # Of a map no more can be read than there is, whatever length a pickle claims.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        for _ in range(_PICKLES):
            try:
                found.update(_types(pickletools.genops(content)))  # type: ignore[arg-type]
            except ValueError:  # no pickle follows
                break
    return found


def _types(operations: Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Iterator[str]:
    texts: list[str] = []
    remembered: dict[int, str] = {}
    latest = ""
    for operation, argument, _ in operations:
        name = operation.name
        if name in ("GLOBAL", "INST"):
            yield argument.replace(" ", ".")
        elif name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif name == "MEMOIZE" or name.endswith("PUT"):
            remembered[len(remembered) if argument is None else argument] = latest
            continue
        latest = argument if _is_text(name) else remembered.get(argument, "") if name.endswith("GET") else ""
        texts += [latest] if latest else []


def _is_text(operation: str) -> bool:
    return "UNICODE" in operation or operation.endswith("STRING")
