"""Rendering states with Blender, where it is installed, as PartDrag-4D was rendered."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from fourd_ros.data.articulated_shards import ObjectFacts
from fourd_ros.errors import JobFailed, MissingDependency
from fourd_ros.simulation.articulated import ArticulatedObject
from fourd_ros.simulation.articulated_export import object_files

SCRIPT = Path(__file__).with_name("blender_script.py")
SECONDS = 600
"""For all views of one state."""


def find_blender() -> str:
    """The program.

    Raises:
        MissingDependency: it is not installed.
    """
    program = shutil.which("blender")
    if program is None:
        raise MissingDependency(
            "--renderer blender needs the program 'blender' (3.3 or later) on the PATH: apt-get install blender, or "
            "https://www.blender.org/download; --renderer mujoco needs no program"
        )
    return program


def blender_command(program: str, mesh: Path, folder: Path, *, size: int, views: tuple[int, ...]) -> list[str]:
    """The command that renders a mesh into the pictures and cameras of a folder."""
    numbers = ",".join(str(view) for view in views)
    start = ["--background", "--factory-startup", "--python-exit-code", "1", "--python", str(SCRIPT)]
    options = ["--object", str(mesh), "--output", str(folder), "--size", str(size), "--views", numbers]
    return [program, *start, "--", *options]


def pictures_by_blender(item: ArticulatedObject, facts: ObjectFacts) -> Callable[[Path, str], None]:
    """What puts the pictures of a state into a folder.

    Raises:
        MissingDependency: Blender is not installed.
    """
    program = find_blender()
    files = {name: text for name, text in object_files(item, facts).items() if name.startswith("motion/")}

    def render(folder: Path, state: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            for name, text in files.items():
                path = Path(scratch) / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
            mesh = Path(scratch) / "motion" / f"{state}.obj"
            command = blender_command(program, mesh, folder, size=facts.size, views=facts.views)
            _run(command, what=f"{facts.name}_{state}")

    return render


def _run(command: list[str], *, what: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JobFailed(f"Blender did not render {what}: {error}") from error
    if done.returncode:
        raise JobFailed(f"Blender did not render {what} (status {done.returncode}): {done.stderr.strip()[-1000:]}")
