"""Makes a bare machine ready: Debian packages, the environment in .venv, ROS 2, torch, and fourd_ros itself.

    make setup        everything that `make demo` and `make test` need

Standard library only. Quick when nothing changed: a stamp in .venv holds the hash of all that decides its contents.
FOURD_TORCH_INDEX names another index for the torch wheel, for instance one with builds for your GPU.
"""

import argparse
import ctypes.util
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "ready"
LOG = VENV / "setup.log"
CONSTRAINTS = ROOT / "constraints.txt"
TORCH_INDEX = "FOURD_TORCH_INDEX"
EXTRAS = "sim,test"


@dataclass(frozen=True)
class DebianPackage:
    """What the wheels need from the system."""

    name: str
    purpose: str
    present: Callable[[], bool]


def _command(*names: str) -> Callable[[], bool]:
    return lambda: any(shutil.which(name) for name in names)


def _library(name: str) -> Callable[[], bool]:
    return lambda: ctypes.util.find_library(name) is not None


def _headers() -> bool:
    return Path(sysconfig.get_path("include"), "Python.h").is_file()


VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
NEEDED = (
    DebianPackage(f"python{VERSION}-venv", "makes .venv", lambda: importlib.util.find_spec("ensurepip") is not None),
    DebianPackage(f"python{VERSION}-dev", "builds the ROS interfaces", _headers),
    DebianPackage("g++", "builds the ROS interfaces", _command("c++", "g++")),
    DebianPackage("make", "builds the ROS interfaces", _command("make")),
    DebianPackage("libosmesa6", "lets MuJoCo render without a display", _library("OSMesa")),
    DebianPackage("libgl1", "OpenCV, MuJoCo", _library("GL")),
    DebianPackage("libglib2.0-0", "OpenCV", _library("glib-2.0")),
)
NEEDED_BY_TESTS = (
    DebianPackage(
        "chromium", "opens the demo's page in a test", _command("chromium", "chromium-browser", "google-chrome")
    ),
)


class SetupFailed(Exception):
    """Says in one message what is wrong and what to do."""


class Steps:
    """Numbered lines with the seconds each step took; what commands say goes to the log."""

    def __init__(self, total: int) -> None:
        self.total, self.number = total, 0

    def run(self, title: str, action: Callable[[], str | None]) -> None:
        self.number += 1
        print(f"[{self.number}/{self.total}] {title} ...", end=" ", flush=True)
        begin = time.monotonic()
        note = action()
        print(f"{time.monotonic() - begin:.1f} s{f'  ({note})' if note else ''}", flush=True)


def call(*command: str | Path, environment: dict[str, str] | None = None) -> None:
    """Run a command; its output goes to the log, and its end to the error message when it fails."""
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("a+") as log:
        log.write(f"$ {' '.join(map(str, command))}\n")
        log.flush()
        begin = log.tell()
        done = subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            log.seek(begin)
            tail = "".join(log.readlines()[-15:])
            raise SetupFailed(f"{' '.join(map(str, command[:4]))} ... failed:\n{tail}\nThe whole log: {LOG}")


def check_python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 12) or not sys.platform.startswith("linux"):
        raise SetupFailed(
            f"Python 3.11 or 3.12 on Linux is needed, this is {VERSION} on {sys.platform}; "
            "install one (apt-get install python3.11 python3.11-venv) and name it: make PYTHON=python3.11 setup"
        )
    return f"{sys.executable} {VERSION}"


def debian_packages(wanted: tuple[DebianPackage, ...]) -> str:
    """Install what is missing where that is allowed, else say so once."""
    missing = [package for package in wanted if not package.present()]
    if not missing:
        return "all there"
    names = [package.name for package in missing]
    prefix = _privilege()
    if prefix is None:
        listing = "".join(f"\n  {package.name:18} {package.purpose}" for package in missing)
        raise SetupFailed(
            f"these system packages are missing and may not be installed from here:{listing}\n"
            f"Run this once, then try again:\n  sudo apt-get update && sudo apt-get install -y {' '.join(names)}"
        )
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    call(*prefix, "apt-get", "update", environment=quiet)
    call(*prefix, "apt-get", "install", "-y", "--no-install-recommends", *names, environment=quiet)
    return "installed " + " ".join(names)


def _privilege() -> list[str] | None:
    """The words before apt-get: none for root, sudo where it asks for no password; None where neither works."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    if (
        shutil.which("sudo")
        and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
    ):
        return ["sudo", "-n"]
    return None


def fingerprint() -> str:
    """Hash of everything that decides what lies in .venv."""
    digest = hashlib.sha256(f"{sys.version} {EXTRAS} {os.environ.get(TORCH_INDEX, '')} {ROOT}".encode())
    files = [ROOT / name for name in ("setup.py", "setup.cfg", "pyproject.toml", "constraints.txt")]
    for folder in ("msg", "compat", "tools"):
        files += sorted(path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def pip(*arguments: str) -> None:
    call(PYTHON, "-m", "pip", "--disable-pip-version-check", "install", *arguments)


def make_environment() -> None:
    if not PYTHON.exists():
        call(sys.executable, "-m", "venv", str(VENV))


def install_torch() -> str | None:
    index = os.environ.get(TORCH_INDEX)
    pip("-c", str(CONSTRAINTS), *(["--index-url", index] if index else []), "torch")
    return f"from {index}" if index else None


def install_build_tools() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pip("-c", str(CONSTRAINTS), *build)


def install_package() -> None:
    pip("-c", str(CONSTRAINTS), "--no-build-isolation", "-e", f".[{EXTRAS}]")


def check_imports() -> None:
    call(PYTHON, "-c", "import rclpy, fourd_msgs.action, tf2_msgs.msg, control_msgs.action, mujoco, fourd_ros")
    STAMP.write_text(fingerprint())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--without-tests", action="store_true", help="leave out the browser that only the tests need")
    arguments = parser.parse_args()
    wanted = NEEDED if arguments.without_tests else NEEDED + NEEDED_BY_TESTS
    try:
        check_python()
        ready = STAMP.is_file() and STAMP.read_text() == fingerprint()
        if ready and all(package.present() for package in wanted):
            return 0
        begin = time.monotonic()
        steps = Steps(2 if ready else 7)
        steps.run("Python", check_python)
        steps.run("System packages", lambda: debian_packages(wanted))
        if not ready:
            steps.run("Environment .venv", make_environment)
            steps.run("torch", install_torch)
            steps.run("ROS 2 Kilted and its interface generators", install_build_tools)
            steps.run("fourd_ros, its libraries, and the ROS interfaces (compiled)", install_package)
            steps.run("Imports", check_imports)
    except SetupFailed as failure:
        print(f"\n\nSet-up stopped: {failure}", file=sys.stderr)
        return 1
    print(f"Ready after {time.monotonic() - begin:.0f} s: .venv/bin/fourd --help")
    return 0


if __name__ == "__main__":
    sys.exit(main())
