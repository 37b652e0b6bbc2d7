"""Builds the ROS interface packages with CMake, and knows which of them this installation has to bring along.

``setup.py`` uses it; it runs before anything is installed, so it needs the standard library only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = {
    "tf2_msgs": ROOT / "compat" / "tf2_msgs",
    "control_msgs": ROOT / "compat" / "control_msgs",
    "fourd_msgs": ROOT / "msg",
}
SHIM = ROOT / "tools" / "wheels_shim.cmake"
GENERATORS = "rosidl_default_generators"
# Marks a package that this build installed, so that the next build does not take it for the ROS underneath.
BUNDLED = "bundled_by_fourd_ros"


def _paths(variable: str) -> list[Path]:
    return [Path(entry) for entry in os.environ.get(variable, "").split(os.pathsep) if entry]


def _site_prefixes() -> Iterator[Path]:
    """Prefixes behind ``<prefix>/lib/pythonX.Y/site-packages`` on the path, pip's build overlay included."""
    for entry in map(Path, sys.path):
        if entry.name in ("site-packages", "dist-packages") and len(entry.parents) > 2:
            yield entry.parents[2]


def ros_prefixes() -> list[Path]:
    """Every folder that may hold ROS packages, the sourced ones first."""
    candidates = [*_paths("AMENT_PREFIX_PATH"), *_paths("CMAKE_PREFIX_PATH"), *_site_prefixes()]
    return [prefix for prefix in dict.fromkeys(candidates) if prefix.is_dir()]


def _holds(prefix: Path, package: str) -> bool:
    return (prefix / "share/ament_index/resource_index/packages" / package).is_file()


def _provides(prefix: Path, package: str) -> bool:
    return _holds(prefix, package) and not (prefix / "share" / package / BUNDLED).exists()


def to_bundle() -> list[str]:
    """The interface packages that no ROS, and no other package of the workspace, provides."""
    prefixes = ros_prefixes()
    return [name for name in SOURCES if not any(_provides(prefix, name) for prefix in prefixes)]


def ros_is_sourced() -> bool:
    """True where an installed ROS, not the wheels of this Python, provides rclpy."""
    return any(_holds(prefix, "rclpy") and prefix != Path(sys.prefix) for prefix in _paths("AMENT_PREFIX_PATH"))


def _fingerprint(name: str, prefixes: list[Path]) -> str:
    digest = hashlib.sha256(f"{sys.version_info[:2]} {[str(prefix) for prefix in prefixes]}".encode())
    for file in sorted(path for path in (Path(__file__).resolve(), SHIM, *SOURCES[name].rglob("*")) if path.is_file()):
        digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def _cmake(*arguments: str, environment: dict[str, str]) -> None:
    # An environment that is not activated has cmake beside its Python only.
    cmake = shutil.which("cmake", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if cmake is None:
        raise SystemExit("cmake is needed to build the ROS interfaces: pip install cmake, or apt-get install cmake")
    subprocess.run([cmake, *arguments], check=True, env=environment)


def build(name: str, folder: Path) -> Path:
    """Build one interface package and return its staged prefix; free when nothing changed.

    Its Python modules are staged under ``py/``, everything else where an installation has it.

    Args:
        name: a key of `SOURCES`.
        folder: scratch space that survives between builds.
    """
    prefixes = ros_prefixes()
    if not any(_holds(prefix, GENERATORS) for prefix in prefixes):
        raise SystemExit(
            "no ROS 2 with interface generators was found: source an installed ROS, or run `make setup`, which "
            "installs the ROS wheels into .venv"
        )
    stage, work, stamp = folder / name / "stage", folder / name / "work", folder / name / "stamp"
    fingerprint = _fingerprint(name, prefixes)
    if stamp.is_file() and stamp.read_text() == fingerprint:
        return stage
    shutil.rmtree(folder / name, ignore_errors=True)
    search = os.pathsep.join(map(str, prefixes))
    environment = {
        **os.environ,
        "CMAKE_PREFIX_PATH": search,
        "AMENT_PREFIX_PATH": search,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    _cmake(
        *("-S", str(SOURCES[name]), "-B", str(work)),
        *("-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", f"-DCMAKE_INSTALL_PREFIX={stage}"),
        *(f"-DPython3_EXECUTABLE={sys.executable}", "-DPYTHON_INSTALL_DIR=py", f"-DCMAKE_PROJECT_INCLUDE={SHIM}"),
        environment=environment,
    )
    _cmake("--build", str(work), "-j", str(os.cpu_count() or 1), environment=environment)
    _cmake("--install", str(work), environment=environment)
    _strip(stage)
    (stage / "share" / name / BUNDLED).touch()
    shutil.rmtree(work)
    stamp.write_text(fingerprint)
    return stage


def _strip(stage: Path) -> None:
    """Drop what only a C++ workspace uses, paths of this machine, and metadata of a distribution of its own."""
    unwanted = (
        "include",
        "py/*.egg-info",
        "share/*/cmake",
        "share/*/environment",
        "**/parent_prefix_path",
        "**/__pycache__",
    )
    for folder in [folder for pattern in unwanted for folder in stage.glob(pattern)]:
        shutil.rmtree(folder)
    for file in (*stage.glob("py/**/*.c"), *stage.glob("share/*/local_setup.*"), *stage.glob("share/*/package.dsv")):
        file.unlink()


def staged_files(stage: Path) -> Iterator[tuple[bool, str, list[str]]]:
    """The staged folders: whether below ``py/``, path relative to that or to the prefix, and the files in it."""
    for root, _, names in os.walk(stage):
        relative = Path(root).relative_to(stage)
        is_python = relative.parts[:1] == ("py",)
        if names:
            target = relative.relative_to("py") if is_python else relative
            yield is_python, str(target), [str(Path(root, name)) for name in names]
