"""A bar for what takes long: not shown in less than two seconds, nor where nobody looks."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

PATIENCE = 2.0
"""Seconds before a bar appears."""


def with_progress(items: Sequence[Item], *, task: str, unit: str) -> Iterator[Item]:
    """The items; a bar on a terminal says how many of them are done."""
    from tqdm import tqdm

    yield from tqdm(items, desc=task, unit=unit, delay=PATIENCE, disable=None, leave=False)
