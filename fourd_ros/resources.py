"""The files that come with the package: config, launch and models, wherever it is installed."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fourd_ros.errors import MissingResource

PACKAGE = "fourd_ros"
CHECKOUT = Path(__file__).resolve().parent.parent


def find_resource(relative: str) -> Path:
    """The path of a shipped file or folder, such as ``config/world_model.yaml``.

    It is looked for in the checkout, below ``share/fourd_ros`` of the prefixes of ``AMENT_PREFIX_PATH``,
    and below that of this Python.

    Raises:
        MissingResource: it is nowhere; the places are named.
    """
    places = list(dict.fromkeys(_places()))
    for place in places:
        if (place / relative).exists():
            return place / relative
    raise MissingResource(f"'{relative}' is in none of {[str(p) for p in places]}; reinstall {PACKAGE}")


def _places() -> Iterator[Path]:
    if (CHECKOUT / "package.xml").is_file():
        yield CHECKOUT
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        if prefix:
            yield Path(prefix) / "share" / PACKAGE
    yield Path(sys.prefix) / "share" / PACKAGE
