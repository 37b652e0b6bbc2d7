"""Shipped files are found in every layout that the package is installed in."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fourd_ros import resources
from fourd_ros.errors import MissingResource
from fourd_ros.resources import find_resource

ROOT = Path(__file__).resolve().parent.parent
RELATIVE = "config/some.yaml"


@pytest.fixture
def no_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As if the package lay in site-packages, with nothing installed around it."""
    monkeypatch.setattr(resources, "CHECKOUT", tmp_path / "site-packages")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "nowhere"))
    monkeypatch.delenv("AMENT_PREFIX_PATH", raising=False)


def _install(prefix: Path) -> Path:
    file = prefix / "share" / "fourd_ros" / RELATIVE
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    return file


def test_a_checkout_is_used_as_it_is() -> None:
    assert find_resource("config") == ROOT / "config"


def test_a_wheel_is_found_below_the_prefix_of_this_python(
    no_checkout: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = _install(tmp_path / "venv")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert find_resource(RELATIVE) == file


def test_colcon_is_found_by_the_ament_path_and_goes_first(
    no_checkout: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = _install(tmp_path / "install" / "fourd_ros")
    _install(tmp_path / "venv")
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path / 'empty'}:{tmp_path / 'install' / 'fourd_ros'}")
    assert find_resource(RELATIVE) == file


def test_what_is_nowhere_names_the_places(no_checkout: None, tmp_path: Path) -> None:
    with pytest.raises(MissingResource, match=r"nowhere/share/fourd_ros"):
        find_resource(RELATIVE)


def test_a_copied_package_in_another_process_finds_its_installed_files(tmp_path: Path) -> None:
    site = tmp_path / "lib" / "python" / "site-packages"
    shutil.copytree(ROOT / "fourd_ros", site / "fourd_ros", ignore=shutil.ignore_patterns("assets", "__pycache__"))
    file = _install(tmp_path)
    code = f"from fourd_ros.resources import find_resource; print(find_resource({RELATIVE!r}))"
    environment = {"PYTHONPATH": str(site), "AMENT_PREFIX_PATH": str(tmp_path)}
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == str(file)
