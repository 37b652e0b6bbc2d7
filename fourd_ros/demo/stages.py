"""Numbered stages with their times, for whoever watches."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stages:
    """Announces stages and tells how long each took.

    Args:
        titles: of all stages, in order.
        write: takes one line of text.
    """

    def __init__(self, titles: tuple[str, ...], *, write: Callable[[str], None]) -> None:
        self._titles, self._write = titles, write
        self._done = 0
        self._began = time.perf_counter()

    @contextmanager
    def next(self) -> Iterator[Callable[[str], None]]:
        """Run the next stage; yields what takes its remarks."""
        title = self._titles[self._done]
        self._done += 1
        began = time.perf_counter()
        self._write(f"[{self._done}/{len(self._titles)}] {title} ...")
        yield lambda remark: self._write(f"      {remark}")
        self._write(f"      {time.perf_counter() - began:.1f} s")

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self._began
