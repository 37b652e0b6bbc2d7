"""The C++ example against the headers that rosidl generates from msg/ (rclcpp itself is in no wheel)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "docs" / "cpp_client"
PROGRAM = """
#include <iostream>
#include "question.hpp"
int main() {
  const auto goal = make_question("elbow", 0.4, std::chrono::milliseconds(1250));
  const auto & motion = goal.candidates.at(0);
  const auto & end = motion.points.at(0);
  std::cout << motion.joint_names.at(0) << " " << end.positions.at(0) << " " << end.time_from_start.sec << " "
            << end.time_from_start.nanosec << " " << fourd_msgs::action::Imagine::Result::QUEUE_FULL;
}
"""


@pytest.fixture(scope="module")
def prefixes() -> list[str]:
    """Where ROS packages and their headers lie."""
    sys.path.insert(0, str(ROOT / "tools"))
    import interfaces

    sys.path.remove(str(ROOT / "tools"))
    return [str(prefix) for prefix in interfaces.ros_prefixes()]


@pytest.fixture(scope="module")
def headers(prefixes: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Include folders with the generated headers of fourd_msgs in front; no library is built."""
    build = tmp_path_factory.mktemp("headers")
    search = os.pathsep.join(prefixes)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "CMAKE_PREFIX_PATH": search, "AMENT_PREFIX_PATH": search, "PATH": path}
    cmake = str(shutil.which("cmake", path=path))
    shim = ROOT / "tools" / "wheels_shim.cmake"
    options = [f"-DPython3_EXECUTABLE={sys.executable}", f"-DCMAKE_PROJECT_INCLUDE={shim}", "-DBUILD_TESTING=OFF"]
    for arguments in (
        ["-S", str(ROOT / "msg"), "-B", str(build), *options],
        ["--build", str(build), "-t", "fourd_msgs__cpp"],
    ):
        subprocess.run([cmake, *arguments], env=environment, check=True, capture_output=True)
    installed = [str(folder) for prefix in prefixes for folder in Path(prefix, "include").glob("*") if folder.is_dir()]
    return [f"-I{folder}" for folder in (build / "rosidl_generator_cpp", *installed)]


def test_the_question_compiles_and_says_what_was_asked(headers: list[str], tmp_path: Path) -> None:
    (tmp_path / "main.cpp").write_text(PROGRAM)
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{EXAMPLE / 'src'}", *headers]
    subprocess.run([*command, str(tmp_path / "main.cpp"), "-o", str(tmp_path / "ask")], check=True)
    said = subprocess.run([str(tmp_path / "ask")], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["elbow", "0.4", "1", "250000000", "1030"]
