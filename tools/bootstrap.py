"""Makes a bare machine ready: Debian packages, the environment in .venv, ROS 2, and fourd_ros itself.

    make setup        everything: nodes, demo, models, training, tests
    make demo         first only what the demo needs, which leaves out torch

Standard library only. Quick when nothing changed: stamps in .venv hold the hash of all that decides its contents.
torch may weigh gigabytes: FOURD_TORCH_INDEX names the index of another wheel, one for CPUs or for your GPU.
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
WHOLE_STAMP = VENV / "ready_whole"
LOG = VENV / "setup.log"
CONSTRAINTS = ROOT / "constraints.txt"
TORCH_INDEX = "FOURD_TORCH_INDEX"
DEMO_EXTRAS = ("onnx", "sim")
OTHER_EXTRAS = ("language", "ray", "test", "train", "viewer")
LIST_EXTRAS = """
import sys
from importlib.metadata import requires
for line in requires("fourd_ros"):
    name, _, marker = line.partition(";")
    if any(f'extra == "{extra}"' in marker.replace("'", '"') for extra in sys.argv[1:]):
        print(name.strip())
"""


@dataclass(frozen=True)
class DebianPackage:
    """What is needed from the system; `names` are tried in order, since Debian and Ubuntu differ."""

    names: tuple[str, ...]
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
    DebianPackage((f"python{VERSION}-venv",), "makes .venv", lambda: importlib.util.find_spec("ensurepip") is not None),
    DebianPackage((f"python{VERSION}-dev",), "builds the ROS interfaces", _headers),
    DebianPackage(("g++",), "builds the ROS interfaces", _command("c++", "g++")),
    DebianPackage(("make",), "builds the ROS interfaces", _command("make")),
    DebianPackage(("libosmesa6",), "lets MuJoCo render without a display", _library("OSMesa")),
    DebianPackage(("libgl1",), "OpenCV, MuJoCo", _library("GL")),
    DebianPackage(("libglib2.0-0", "libglib2.0-0t64"), "OpenCV", _library("glib-2.0")),
)
BROWSER = DebianPackage(
    ("chromium", "chromium-browser"),
    "opens the demo's page in tests",
    _command("chromium", "chromium-browser", "google-chrome", "chrome"),
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
    prefix = _privilege()
    if prefix is None:
        listing = "".join(f"\n  {package.names[0]:18} {package.purpose}" for package in missing)
        names = " ".join(package.names[0] for package in missing)
        raise SetupFailed(
            f"these system packages are missing and may not be installed from here:{listing}\n"
            f"Run this once, then try again:\n  sudo apt-get update && sudo apt-get install -y {names}"
        )
    apt(prefix, "update")
    return "installed " + " ".join(install_one(prefix, package) for package in missing)


def browser() -> str:
    """Install the browser of the tests; set-up goes on without it."""
    if BROWSER.present():
        return "all there"
    prefix = _privilege()
    if prefix is not None:
        try:
            apt(prefix, "update")
            return f"installed {install_one(prefix, BROWSER)}"
        except SetupFailed:
            pass
    return f"none could be installed, tests that need one will say so; sudo apt-get install {BROWSER.names[0]}"


def install_one(prefix: list[str], package: DebianPackage) -> str:
    """Install a package under the first of its names that apt knows; the name."""
    for name in package.names[:-1]:
        try:
            apt(prefix, "install", "-y", "--no-install-recommends", name)
            return name
        except SetupFailed:
            continue
    apt(prefix, "install", "-y", "--no-install-recommends", package.names[-1])
    return package.names[-1]


def apt(prefix: list[str], *words: str) -> None:
    call(*prefix, "apt-get", *words, environment={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


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
    """Hash of everything that decides what lies in .venv, torch's index aside."""
    digest = hashlib.sha256(f"{sys.version} {DEMO_EXTRAS} {OTHER_EXTRAS} {ROOT}".encode())
    files = [ROOT / name for name in ("setup.py", "setup.cfg", "pyproject.toml", "constraints.txt")]
    for folder in ("msg", "compat", "tools"):
        files += sorted(path for path in (ROOT / folder).rglob("*") if path.is_file() and path.suffix != ".pyc")
    for file in files:
        digest.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return digest.hexdigest()


def whole_fingerprint() -> str:
    return f"{fingerprint()} {os.environ.get(TORCH_INDEX, '')}"


def is_stamped(stamp: Path, wanted: str) -> bool:
    return stamp.is_file() and stamp.read_text() == wanted


def pip(*arguments: str) -> None:
    call(PYTHON, "-m", "pip", "--disable-pip-version-check", "install", *arguments)


def make_environment() -> None:
    if not PYTHON.exists():
        call(sys.executable, "-m", "venv", str(VENV))


def install_torch() -> str | None:
    index = os.environ.get(TORCH_INDEX)
    # The same version of another index is another build, which pip would not notice.
    pip("-c", str(CONSTRAINTS), *(["--force-reinstall", "--index-url", index] if index else []), "torch")
    return f"from {index}" if index else None


def install_build_tools() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pip("-c", str(CONSTRAINTS), *build)


def install_package() -> None:
    pip("-c", str(CONSTRAINTS), "--no-build-isolation", "-e", f".[{','.join(DEMO_EXTRAS)}]")


def check_imports() -> None:
    call(PYTHON, "-c", "import rclpy, fourd_msgs.action, tf2_msgs.msg, control_msgs.action, mujoco, fourd_ros")
    STAMP.write_text(fingerprint())


def install_other_extras() -> None:
    command = [str(PYTHON), "-c", LIST_EXTRAS, *OTHER_EXTRAS]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    pip("-c", str(CONSTRAINTS), *names)
    WHOLE_STAMP.write_text(whole_fingerprint())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo-only", action="store_true", help="leave out models, training and tests")
    arguments = parser.parse_args()
    try:
        return set_up(whole=not arguments.demo_only)
    except SetupFailed as failure:
        print(f"\n\nSet-up stopped: {failure}", file=sys.stderr)
        return 1


def set_up(*, whole: bool) -> int:
    check_python()
    steps: list[tuple[str, Callable[[], str | None]]] = []
    ready = is_stamped(STAMP, fingerprint())
    if not ready or not all(package.present() for package in NEEDED):
        steps += [("Python", check_python), ("System packages", lambda: debian_packages(NEEDED))]
    if not ready:
        steps += [
            ("Environment .venv", make_environment),
            ("ROS 2 Kilted and its interface generators", install_build_tools),
            ("fourd_ros, its libraries, and the ROS interfaces (compiled)", install_package),
            ("Imports", check_imports),
        ]
    if whole and not is_stamped(WHOLE_STAMP, whole_fingerprint()):
        steps += [("torch", install_torch), ("Libraries for models, training and tests", install_other_extras)]
    if whole and not BROWSER.present():
        steps.append(("Browser for the tests", browser))
    if not steps:
        return 0
    begin = time.monotonic()
    counter = Steps(len(steps))
    for title, action in steps:
        counter.run(title, action)
    print(f"Ready after {time.monotonic() - begin:.0f} s: .venv/bin/fourd --help")
    return 0


if __name__ == "__main__":
    sys.exit(main())
