"""Packaging: what is declared, what is bundled where, and what the set-up does on machines that lack things."""

import ast
import importlib.util
import re
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import fourd_ros

ROOT = Path(__file__).resolve().parent.parent
ROS_PACKAGE = re.compile(r"\w+_(msgs|msgs_py|srvs|interfaces)|(rcl|tf2_|tf_|launch|rosidl|ament_)\w*|xacro")
"""Modules of this name come from ROS, not from PyPI."""


def _tool(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


bootstrap = _tool("bootstrap")
interface_build = _tool("interfaces")


def _constant(name: str) -> object:
    """A literal assigned at the top of setup.py, which cannot be imported without running."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return ast.literal_eval(node.value)
    raise AssertionError(f"setup.py has no {name}")


def _name(requirement: str) -> str:
    return re.split(r"[<>=!\[ ]", requirement)[0].lower().replace("_", "-")


def _locked() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {_name(line) for line in lines if line and not line.startswith("#")}


def _depends(package: Path) -> set[str]:
    root = ET.parse(package).getroot()
    return {element.text or "" for element in root if element.tag.endswith("depend")}


def test_one_version_everywhere() -> None:
    manifests = [ROOT / "package.xml", ROOT / "msg" / "package.xml"]
    versions = {ET.parse(path).getroot().findtext("version") for path in manifests}
    declared = re.search(r'version="([\d.]+)"', (ROOT / "setup.py").read_text())
    assert declared is not None
    assert versions == {declared[1]} == {fourd_ros.__version__}


def test_every_requirement_is_locked_exactly() -> None:
    build = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    names = {_name(one) for list_name in ("REQUIRES", "ROS_WHEELS") for one in _constant(list_name)}  # type: ignore[attr-defined]
    assert names | {_name(one) for one in build} <= _locked()
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.!]+", line) for line in lines)
    assert "torch==2.13.0" in lines


def test_extras_of_cpu_and_gpu_do_not_overlap() -> None:
    text = (ROOT / "setup.py").read_text()
    assert '"cpu": ["onnxruntime", "open3d-cpu"]' in text
    assert '"gpu": ["onnxruntime-gpu", "open3d"]' in text


def test_the_ros_packages_imported_are_declared() -> None:
    declared = _depends(ROOT / "package.xml")
    imported = set()
    for file in (ROOT / "fourd_ros").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
            elif isinstance(node, ast.Import):
                imported.update(alias.name.split(".")[0] for alias in node.names)
    ros = {name for name in imported if ROS_PACKAGE.fullmatch(name)}
    assert {"fourd_msgs", "std_srvs", "rcl_interfaces", "rclpy", "launch_ros"} <= ros
    assert ros <= declared


def test_the_packages_of_the_design_are_rosdep_keys() -> None:
    declared = _depends(ROOT / "package.xml")
    assert {"rclpy", "sensor_msgs_py", "tf_transformations", "python3-numpy", "python3-opencv"} <= declared
    assert {f"python3-{name}-pip" for name in ("diffusers", "peft", "open3d", "onnxruntime-gpu", "pytorch")} <= declared
    local = yaml.safe_load((ROOT / "rosdep.yaml").read_text())
    assert set(local) <= declared


def test_interfaces_depend_on_what_their_files_name() -> None:
    for folder in interface_build.SOURCES.values():
        used = set()
        for file in [*folder.glob("msg/*"), *folder.glob("srv/*"), *folder.glob("action/*")]:
            used |= set(re.findall(r"^(\w+)/\w+", file.read_text(), re.MULTILINE))
        package = folder / "package.xml"
        assert used - {ET.parse(package).getroot().findtext("name")} <= _depends(package)
        cmake = (folder / "CMakeLists.txt").read_text()
        assert all(name in cmake for name in used - {folder.name, "fourd_msgs"})


def test_console_scripts_exist() -> None:
    for module, function in re.findall(r'= ([\w.]+):(\w+)"', (ROOT / "setup.py").read_text()):
        spec = importlib.util.find_spec(module)
        assert spec is not None
        assert spec.origin is not None
        names = {
            node.name for node in ast.parse(Path(spec.origin).read_text()).body if isinstance(node, ast.FunctionDef)
        }
        assert function in names, module


def _ros(prefix: Path, *packages: str) -> Path:
    index = prefix / "share" / "ament_index" / "resource_index" / "packages"
    index.mkdir(parents=True, exist_ok=True)
    for package in packages:
        (index / package).touch()
        (prefix / "share" / package).mkdir(exist_ok=True)
    return prefix


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ROS but the one that AMENT_PREFIX_PATH names."""
    monkeypatch.setattr(interface_build, "_site_prefixes", lambda: iter(()))
    monkeypatch.delenv("CMAKE_PREFIX_PATH", raising=False)


def test_the_wheels_get_all_interfaces(only: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(_ros(tmp_path, "rclpy", "geometry_msgs")))
    assert interface_build.to_bundle() == ["tf2_msgs", "control_msgs", "fourd_msgs"]


def test_what_a_ros_provides_is_never_bundled(only: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(_ros(tmp_path, "rclpy", "tf2_msgs", "control_msgs")))
    assert interface_build.to_bundle() == ["fourd_msgs"]
    assert interface_build.ros_is_sourced()


def test_a_colcon_workspace_brings_fourd_msgs_itself(
    only: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ros = _ros(tmp_path / "ros", "rclpy", "tf2_msgs", "control_msgs")
    workspace = _ros(tmp_path / "install", "fourd_msgs")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{workspace}:{ros}")
    assert interface_build.to_bundle() == []


def test_what_an_earlier_installation_bundled_is_bundled_again(
    only: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _ros(tmp_path, "tf2_msgs", "fourd_msgs")
    for package in ("tf2_msgs", "fourd_msgs"):
        (tmp_path / "share" / package / interface_build.BUNDLED).touch()
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert interface_build.to_bundle() == ["tf2_msgs", "control_msgs", "fourd_msgs"]


def test_the_wheels_of_this_python_are_not_a_sourced_ros(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", sys.prefix)
    assert not interface_build.ros_is_sourced()


def test_without_generators_the_build_says_how_to_get_them(
    only: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(_ros(tmp_path, "rclpy")))
    with pytest.raises(SystemExit, match="make setup"):
        interface_build.build("tf2_msgs", tmp_path)


def _absent(name: str = "libfoo1") -> object:
    return bootstrap.DebianPackage((name,), "draws", lambda: False)


def test_missing_system_packages_are_named_once_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "_privilege", lambda: None)
    with pytest.raises(bootstrap.SetupFailed) as failure:
        bootstrap.debian_packages((_absent("libfoo1"), _absent("libbar2")))
    assert "sudo apt-get install -y libfoo1 libbar2" in str(failure.value)


def test_missing_system_packages_are_installed_where_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(bootstrap, "_privilege", lambda: ["sudo", "-n"])
    monkeypatch.setattr(bootstrap, "call", lambda *words, environment: commands.append(words))
    assert bootstrap.debian_packages((_absent(),)) == "installed libfoo1"
    assert [words[:4] for words in commands] == [
        ("sudo", "-n", "apt-get", "update"),
        ("sudo", "-n", "apt-get", "install"),
    ]
    assert commands[1][-1] == "libfoo1"


def test_nothing_is_asked_for_that_is_there() -> None:
    assert bootstrap.debian_packages((bootstrap.DebianPackage(("libc6",), "", lambda: True),)) == "all there"


def test_a_failed_command_shows_its_end_and_the_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bootstrap, "LOG", tmp_path / "log" / "setup.log")
    with pytest.raises(bootstrap.SetupFailed, match=r"(?s)the reason.*setup.log"):
        bootstrap.call(sys.executable, "-c", "print('the reason'); raise SystemExit(3)")


def test_the_stamp_changes_with_what_decides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = bootstrap.fingerprint()
    assert bootstrap.fingerprint() == before
    monkeypatch.setattr(bootstrap, "DEMO_EXTRAS", ("sim",))
    assert bootstrap.fingerprint() != before


def test_an_unsuitable_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap.sys, "platform", "win32")
    with pytest.raises(bootstrap.SetupFailed, match=r"Python 3\.11 or 3\.12 on Linux"):
        bootstrap.check_python()


def test_the_bootstrap_needs_the_standard_library_only() -> None:
    for name in ("bootstrap", "interfaces"):
        subprocess.run([sys.executable, "-S", "-I", "-m", "py_compile", f"tools/{name}.py"], cwd=ROOT, check=True)
        tree = ast.parse((ROOT / "tools" / f"{name}.py").read_text())
        imports = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imports |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        assert {one.split(".")[0] for one in imports if one} <= sys.stdlib_module_names


def test_ci_runs_the_tests_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert lines[1:] == ["exec make test"]
