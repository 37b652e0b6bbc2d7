"""A page in a headless browser: what it draws, as a picture or as its document.

``python -m fourd_ros.viewer.browser out/demo/index.html docs/images`` takes the pictures of the documentation.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fourd_ros.errors import MissingDependency

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT = 120.0
"""Longest a page may take [s]."""

SETTLING = 6000
"""Virtual time a page is given to draw [ms]."""


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One picture of a page.

    Args:
        name: file name without its ending.
        fragment: state of the page.
        width: of the window [px].
        height: of the window [px].
    """

    name: str
    fragment: str
    width: int
    height: int


SHOTS = (
    Shot(name="demo_headline", fragment="section=headline&scheme=light", width=1200, height=740),
    Shot(name="demo_loop", fragment="section=loop&scheme=light&play=0&instant=6&t=5", width=1200, height=680),
    Shot(name="demo_plots", fragment="section=plots&scheme=light&play=0&t=7", width=1200, height=770),
    Shot(name="demo_scene", fragment="section=scene&scheme=dark&play=0&candidate=grasp&t=11", width=1200, height=800),
)
"""The pictures of the documentation."""


def read_page(page: Path, fragment: str, *, width: int = 800, height: int = 600) -> str:
    """The document after its scripts ran.

    Raises:
        MissingDependency: no browser is installed.
    """
    return _run(page, fragment, width, height, "--dump-dom")


def take(page: Path, shot: Shot, folder: Path) -> Path:
    """Take one picture as PNG; returns its path.

    Raises:
        MissingDependency: no browser is installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.resolve() / f"{shot.name}.png"
    _run(page, shot.fragment, shot.width, shot.height, f"--screenshot={path}", "--hide-scrollbars")
    return path


def take_all(page: Path, folder: Path) -> list[Path]:
    """Take the pictures of the documentation; returns their paths.

    Raises:
        MissingDependency: no browser is installed.
    """
    return [take(page, shot, folder) for shot in SHOTS]


def _run(page: Path, fragment: str, width: int, height: int, *options: str) -> str:
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise MissingDependency(
            f"none of {list(PROGRAMS)} is installed: apt-get install chromium (Ubuntu: chromium-browser)"
        )
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(program, "--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"),
            *("--enable-unsafe-swiftshader", f"--virtual-time-budget={SETTLING}", f"--user-data-dir={profile}"),
            *(f"--window-size={width},{height}", *options, f"{page.resolve().as_uri()}#{fragment}"),
        ]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=True).stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """Take all pictures of the documentation."""
    parser = argparse.ArgumentParser(description="Take the pictures of the documentation from a page of the demo.")
    parser.add_argument("page", type=Path, help="as written by: fourd demo")
    parser.add_argument("folder", type=Path, help="for the PNG files")
    chosen = parser.parse_args(arguments)
    for path in take_all(chosen.page, chosen.folder):
        sys.stdout.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
