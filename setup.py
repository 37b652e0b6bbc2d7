"""Packaging of fourd_ros. Versions are locked in constraints.txt; here are names only."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import ClassVar

from setuptools import Command, find_packages, setup
from setuptools.command.build import build
from setuptools.command.develop import develop
from setuptools.dist import Distribution

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))
import interfaces  # noqa: E402

NAME = "fourd_ros"

REQUIRES = [
    "argcomplete",
    "av",
    "defusedxml",
    "embreex",
    "lxml",
    "matplotlib",
    "mcap",
    "numpy>=1.26,<3",
    "opencv-python-headless",
    "pillow",
    "pyarrow",
    "pyyaml",
    "rosbags",
    "safetensors",
    "scipy",
    "threadpoolctl",
    "tqdm",
    "trimesh",
    "xacro",
    "zstandard",
]
ROS_WHEELS = ["ros-kilted-common-interfaces", "ros-kilted-rclpy", "ros-kilted-rmw-fastrtps-cpp"]
TORCH = ["torch>=2.6"]
MODELS = [*TORCH, "fast-simplification", "numba", "scikit-image"]
REMOTE = ["msgpack", "websockets>=15"]
EXTRAS = {
    "onnx": ["onnxruntime"],  # of these three only one: they bring the same modules
    "cpu": ["onnxruntime", "open3d-cpu"],
    "gpu": ["onnxruntime-gpu", "open3d"],
    "sim": ["mujoco"],
    "models": MODELS,
    "language": [*MODELS, "transformers", "wordllama"],
    "train": [*MODELS, "accelerate", "diffusers", "onnx", "onnxscript", "peft", "tensorboard"],
    "ray": ["ray"],
    "viewer": ["viser"],
    "remote": REMOTE,
    "test": [
        *REMOTE,
        "evo",
        "gtsam",
        "mypy",
        "psutil",
        "pycolmap",
        "pytest",
        "pytest-timeout",
        "pytest-xdist",
        "ruff",
        "scikit-image",
        "types-defusedxml",
        "types-PyYAML",
    ],
}


def _shared(folder: str) -> list[tuple[str, list[str]]]:
    """`folder` of the checkout, file by file, as it will lie below ``share/fourd_ros``."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(ROOT)
            found.setdefault(str(Path("share", NAME, relative.parent)), []).append(str(relative))
    return list(found.items())


class BuildInterfaces(Command):
    """Builds the interface packages that are missing here and adds them to what is installed."""

    user_options: ClassVar = []
    editable_mode = False

    def initialize_options(self) -> None:
        self.build_base: str | None = None
        self.build_lib: str | None = None

    def finalize_options(self) -> None:
        self.set_undefined_options("build", ("build_base", "build_base"), ("build_lib", "build_lib"))

    def run(self) -> None:
        site = os.path.relpath(sysconfig.get_path("platlib"), sys.prefix)
        for package in interfaces.to_bundle():
            stage = interfaces.build(package, ROOT / str(self.build_base) / "interfaces")
            for is_python, target, files in interfaces.staged_files(stage):
                if not is_python:
                    self.distribution.data_files.append((target, files))
                elif self.editable_mode:
                    self.distribution.data_files.append((str(Path(site, target)), files))
                else:
                    self._copy(files, Path(str(self.build_lib), target))

    @staticmethod
    def _copy(files: list[str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copy2(file, folder)

    def get_outputs(self) -> list[str]:
        return []

    def get_output_mapping(self) -> dict[str, str]:
        return {}

    def get_source_files(self) -> list[str]:
        return [str(p.relative_to(ROOT)) for top in interfaces.SOURCES.values() for p in top.rglob("*") if p.is_file()]


class Build(build):
    sub_commands: ClassVar = [*build.sub_commands, ("build_interfaces", None)]


class Develop(develop):
    """``colcon build --symlink-install``: the interfaces go beside the links."""

    def run(self) -> None:
        super().run()
        if self.uninstall or "COLCON" not in os.environ:
            return
        site = Path(self.install_dir)
        for package in interfaces.to_bundle():
            stage = interfaces.build(package, Path.cwd() / "interfaces")
            shutil.copytree(stage / "py", site, dirs_exist_ok=True)
            for top in ("lib", "share"):
                shutil.copytree(stage / top, site.parents[2] / top, dirs_exist_ok=True)


class Dist(Distribution):
    def has_ext_modules(self) -> bool:
        """The wheel is bound to a platform as soon as it holds compiled interfaces."""
        return bool(interfaces.to_bundle())

    def has_data(self) -> bool:
        """Asked by setuptools before it lets an editable installation have data files."""
        return bool(self.data_files)


setup(
    name=NAME,
    version="0.1.0",
    description="Imagined futures as ROS 2 data: ask what happens next, get clouds and images of it.",
    long_description=(ROOT / "README.md").read_text() if (ROOT / "README.md").exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.13",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["assets/**/*", "viewer/**/*.html", "viewer/**/*.js", "viewer/**/*.css", "py.typed"]},
    zip_safe=False,
    distclass=Dist,
    cmdclass={"build": Build, "build_interfaces": BuildInterfaces, "develop": Develop},
    install_requires=[*REQUIRES, *([] if interfaces.ros_is_sourced() else ROS_WHEELS)],
    extras_require=EXTRAS,
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *(entry for folder in ("config", "demo", "launch", "models") for entry in _shared(folder)),
    ],
    entry_points={
        "console_scripts": [
            "bag_replay = fourd_ros.nodes.bag_replay:main",
            "fourd = fourd_ros.cli:main",
            "compositional_objects = fourd_ros.nodes.compositional_objects:main",
            "imagined_robot = fourd_ros.nodes.imagined_robot:main",
            "part_dynamics = fourd_ros.nodes.part_dynamics:main",
            "policy_evaluator = fourd_ros.nodes.policy_evaluation:main",
            "scene_language = fourd_ros.nodes.scene_language:main",
            "scene_reconstruction = fourd_ros.nodes.scene_reconstruction:main",
            "simulation = fourd_ros.nodes.simulation:main",
            "world_model = fourd_ros.nodes.world_model:main",
        ]
    },
)
