"""Places that cannot be written are typed errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fourd_ros.errors import InvalidModel


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the system says of a full disk, a read-only folder or an impossible name into InvalidModel."""
    try:
        yield
    except OSError as error:
        raise InvalidModel(f"'{path}' cannot be written: {error}") from error
