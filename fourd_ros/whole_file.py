"""Files and folders that appear under their name when they are whole, and not before."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path | str) -> Iterator[BinaryIO]:
    """A new file, open for writing; it takes the place of `path` at the end, and vanishes if the block fails.

    Args:
        path: where it goes; missing folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path | str, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())


def is_vacant(path: Path) -> bool:
    """Whether a new folder may be made there: nothing is, or an empty folder."""
    return not any(path.iterdir()) if path.is_dir() else not path.exists()


@contextmanager
def whole_folder(path: Path | str) -> Iterator[Path]:
    """A new folder to fill; it takes the place of `path` at the end, and vanishes if the block fails.

    What was there goes with everything in it, and only after the new one is whole: whoever calls makes sure that
    it may.

    Args:
        path: where it goes; missing folders above it are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    nest = Path(tempfile.mkdtemp(prefix=f".{path.name[:200]}.", suffix=".partial", dir=path.parent))
    new, old = nest / "new", nest / "old"
    try:
        new.mkdir()
        yield new
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(new, path)
        except OSError:
            if old.exists():
                os.rename(old, path)
            raise
    finally:
        shutil.rmtree(nest, ignore_errors=True)
