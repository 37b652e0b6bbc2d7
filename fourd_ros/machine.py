"""What this machine has of all that fourd_ros uses, what is missing, and the command that brings it."""

import ctypes.util
import importlib.metadata
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fourd_ros import __version__
from fourd_ros.errors import MissingResource
from fourd_ros.resources import CHECKOUT, find_resource
from fourd_ros.shared_memory import FOLDER, left_segments

DEFAULT_MIDDLEWARE = "rmw_fastrtps_cpp"
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
GL_PACKAGES = {"OSMesa": "libosmesa6", "EGL": "libegl1"}
EXTRAS = {
    "sim": "simulator",
    "onnx": "shipped models",
    "cpu": "the same and point clouds on the CPU, excludes [gpu]",
    "gpu": "the same and point clouds on the GPU, excludes [cpu]",
    "models": "models of your own, with torch",
    "train": "training",
    "ray": "several machines",
    "viewer": "live viewer",
}
MINIMUM_SHARED_MEMORY = 256 << 20
MUCH_LEFT = 256 << 20
"""Segments of killed processes are worth a word when they take more than this [bytes]."""
MINIMUM_DISK = 2 << 30
# Distributions whose module has another name.
MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml", "open3d-cpu": "open3d"}
MODULES |= {"onnxruntime-gpu": "onnxruntime"}


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of the report.

    Args:
        subject: what was looked at.
        status: MISSING where something that is needed does not work, NOTE where something could be better.
        detail: what was found.
        remedy: the command or step that mends it.
    """

    subject: str
    status: Status
    detail: str
    remedy: str = ""


def examine(*, transport: Mapping[str, str]) -> list[Finding]:
    """Everything that can be seen without starting a node.

    Args:
        transport: environment variables that large messages need and that are not set.
    """
    return [
        _python(),
        _package(),
        *_ros(),
        *_libraries(),
        _gpu(),
        _transport(transport),
        _shared_memory(),
        *_rendering(),
        _disk(),
    ]


def pip_install(*names: str) -> str:
    """The command that brings distributions into this environment, in the locked versions where there is a checkout."""
    python, constraints = Path(sys.executable), CHECKOUT / "constraints.txt"
    locked = ["-c", _as_typed(constraints)] if constraints.is_file() else []
    return shlex.join([_as_typed(python), "-m", "pip", "install", *locked, *names])


def machine_facts() -> dict[str, str | int]:
    """What figures depend on: processor, cores that may be used, system and Python; no names of hosts or people."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(*names: str) -> dict[str, str]:
    """Of this package and of those distributions that are installed."""
    found = {"fourd_ros": __version__, **{name: _version(name) for name in names}}
    return {name: version for name, version in found.items() if version}


def _cpu_model() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = (line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
        return next(names, platform.machine())


def _as_typed(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _python() -> Finding:
    cores = len(os.sched_getaffinity(0))
    return Finding(
        subject="Python",
        status=Status.OK,
        detail=f"{platform.python_version()} in {sys.prefix}, {platform.machine()}, {cores} cores",
    )


def _package() -> Finding:
    try:
        folder = find_resource("config").parent
    except MissingResource as error:
        remedy = f"in a checkout: {pip_install('.')}"
        return Finding(subject="fourd_ros", status=Status.MISSING, detail=str(error), remedy=remedy)
    return Finding(subject="fourd_ros", status=Status.OK, detail=f"{__version__}, files in {folder}")


def _ros() -> Iterator[Finding]:
    if not _installed("rclpy"):
        remedy = "make setup, or source /opt/ros/<distro>/setup.bash"
        yield Finding(subject="ROS 2", status=Status.MISSING, detail="rclpy cannot be imported", remedy=remedy)
        return
    wheels = _version("ros-kilted-rclpy")
    origin = f"kilted wheels, rclpy {wheels}" if wheels else os.environ.get("ROS_DISTRO", "unknown distribution")
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    scope = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    yield Finding(subject="ROS 2", status=Status.OK, detail=f"{origin}; domain {domain}, discovery {scope}")
    yield _middleware()
    missing = [name for name in ("fourd_msgs", "tf2_msgs", "control_msgs") if not _installed(name)]
    if missing:
        remedy = "make setup, or colcon build --base-paths . msg && source install/setup.bash"
        yield Finding(subject="interfaces", status=Status.MISSING, detail=f"no {', '.join(missing)}", remedy=remedy)
    else:
        yield Finding(subject="interfaces", status=Status.OK, detail="fourd_msgs, tf2_msgs, control_msgs")


def _middleware() -> Finding:
    name = os.environ.get("RMW_IMPLEMENTATION") or DEFAULT_MIDDLEWARE
    prefixes = [sys.prefix, *os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)]
    if any(Path(prefix, "lib", f"lib{name}.so").is_file() for prefix in prefixes if prefix):
        return Finding(subject="RMW", status=Status.OK, detail=name)
    remedy = f"unset RMW_IMPLEMENTATION, or install {name.replace('_', '-')}"
    return Finding(subject="RMW", status=Status.MISSING, detail=f"{name} is not installed", remedy=remedy)


def _requirements() -> Iterator[tuple[str, str]]:
    """(distribution, extra) of all that the installed package declares; the extra is empty for what is needed."""
    try:
        declared = importlib.metadata.requires("fourd_ros") or []
    except importlib.metadata.PackageNotFoundError:
        declared = []
    for line in declared:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == ['\"](\w+)['\"]", line)
        if name and not name[0].startswith("ros-"):
            yield name[0].lower(), extra[1] if extra else ""


def _libraries() -> Iterator[Finding]:
    absent: dict[str, list[str]] = {"": []}
    for name, extra in _requirements():
        lacking = absent.setdefault(extra, [])
        if not _installed(MODULES.get(name, name.replace("-", "_"))):
            lacking.append(name)
    needed = absent.pop("")
    if needed:
        remedy = pip_install(*needed)
        yield Finding(subject="libraries", status=Status.MISSING, detail=f"no {', '.join(needed)}", remedy=remedy)
    else:
        yield Finding(subject="libraries", status=Status.OK, detail="all there")
    for extra, purpose in EXTRAS.items():
        lacking = absent.get(extra, [])
        yield Finding(
            subject=f"extra [{extra}]",
            status=Status.NOTE if lacking else Status.OK,
            detail=f"{purpose}: no {', '.join(lacking)}" if lacking else purpose,
            remedy=pip_install(*lacking) if lacking else "",
        )


def _gpu() -> Finding:
    torch = f"torch {version}" if (version := _version("torch")) else "no torch"
    program = shutil.which("nvidia-smi")
    if program is None:
        return Finding(subject="GPU", status=Status.NOTE, detail=f"none; what is shipped runs on the CPU ({torch})")
    command = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    if answer.returncode != 0:
        return Finding(subject="GPU", status=Status.NOTE, detail=f"nvidia-smi fails: {answer.stderr.strip()} ({torch})")
    return Finding(
        subject="GPU", status=Status.OK, detail=f"{'; '.join(answer.stdout.split(chr(10))).strip('; ')} ({torch})"
    )


def _transport(recommended: Mapping[str, str]) -> Finding:
    remedy = " ".join(["export", *(f"{name}={value}" for name, value in recommended.items())])
    if recommended:
        detail = "best-effort messages above 512 KiB get lost, except in what launch files and `fourd bringup` start"
        return Finding(subject="transport", status=Status.NOTE, detail=detail, remedy=remedy)
    chosen = next((os.environ[name] for name in PROFILE_VARIABLES if name in os.environ), "")
    if not Path(chosen).is_file():
        detail, remedy = f"the profile '{chosen}' does not exist", f"unset {' '.join(PROFILE_VARIABLES)}"
        return Finding(subject="transport", status=Status.MISSING, detail=detail, remedy=remedy)
    return Finding(subject="transport", status=Status.OK, detail=f"profile {chosen}")


def _shared_memory() -> Finding:
    folder = FOLDER
    if not folder.is_dir():
        return Finding(subject="shared memory", status=Status.NOTE, detail="no /dev/shm: large messages go over UDP")
    free, left = shutil.disk_usage(folder).free, left_segments(folder)
    small = free < MINIMUM_SHARED_MEMORY
    remedies = ["docker run --shm-size=1g"] if small else []
    remedies += ["fourd doctor --clean-shared-memory"] if left.size > MUCH_LEFT else []
    return Finding(
        subject="shared memory",
        status=Status.NOTE if remedies else Status.OK,
        detail=f"{free >> 20} MiB free in {folder}; killed processes left {left.count} segments, {left.size >> 20} MiB",
        remedy=", or ".join(remedies),
    )


def _rendering() -> Iterator[Finding]:
    if not _installed("mujoco"):
        return
    found = [name for name in GL_PACKAGES if ctypes.util.find_library(name)]
    chosen = os.environ.get("MUJOCO_GL")
    remedy = f"apt-get install {GL_PACKAGES['OSMesa']}"
    if not found:
        yield Finding(
            subject="OpenGL", status=Status.MISSING, detail="MuJoCo cannot render without a display", remedy=remedy
        )
        return
    detail = f"{', '.join(found)}; {f'MUJOCO_GL={chosen}' if chosen else 'chosen automatically'}"
    yield Finding(subject="OpenGL", status=Status.OK, detail=detail)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    scarce = free < MINIMUM_DISK
    return Finding(
        subject="disk",
        status=Status.NOTE if scarce else Status.OK,
        detail=f"{free / (1 << 30):.1f} GiB free in {Path.cwd()}",
        remedy="bags and models need more; work in another folder" if scarce else "",
    )
