"""Set-up on machines that lack something; apt is a script here that knows a few packages."""

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

AptMaker = Callable[..., Callable[[], list[str]]]
ROOT = Path(__file__).resolve().parent.parent
APT = """#!/bin/sh
echo "$@" >> {log}
[ "$1" = update ] && exit 0
for name in {known}; do [ "$name" = "$4" ] && exit 0; done
echo "E: Unable to locate package $4"; exit 100
"""


@pytest.fixture
def bootstrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    specification = importlib.util.spec_from_file_location("bootstrap", ROOT / "tools" / "bootstrap.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "bootstrap", module)
    specification.loader.exec_module(module)
    for name in ("LOG", "STAMP", "WHOLE_STAMP"):
        monkeypatch.setattr(module, name, tmp_path / name.lower())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return module


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AptMaker:
    """``apt("make", "g++")``: an apt-get that knows these; what it was asked to install."""

    def make(*known: str) -> Callable[[], list[str]]:
        folder, log = tmp_path / "bin", tmp_path / "apt.log"
        folder.mkdir()
        (folder / "apt-get").write_text(APT.format(log=log, known=" ".join(known) or "''"))
        (folder / "apt-get").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))
        return lambda: [line.split()[-1] for line in log.read_text().splitlines() if line.startswith("install")]

    return make


def test_a_browser_under_its_other_name_is_found(bootstrap: ModuleType, apt: AptMaker) -> None:
    asked = apt("chromium-browser")
    assert bootstrap.browser() == "installed chromium-browser"
    assert asked() == ["chromium", "chromium-browser"]


def test_set_up_goes_on_without_a_browser(bootstrap: ModuleType, apt: AptMaker) -> None:
    apt()
    assert "none could be installed" in bootstrap.browser()


def test_a_needed_package_that_cannot_be_had_stops_set_up(bootstrap: ModuleType, apt: AptMaker) -> None:
    apt("make")
    wanted = tuple(bootstrap.DebianPackage((name,), "builds", lambda: False) for name in ("make", "g++"))
    with pytest.raises(bootstrap.SetupFailed, match=r"Unable to locate package g\+\+"):
        bootstrap.debian_packages(wanted)


def test_the_demo_needs_no_torch_and_another_index_brings_it_anew(
    bootstrap: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed: list[tuple[str, ...]] = []
    monkeypatch.setattr(bootstrap, "pip", lambda *words: installed.append(words))
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    monkeypatch.setattr(bootstrap, "NEEDED", ())
    monkeypatch.setattr(bootstrap, "browser", lambda: None)
    monkeypatch.delenv("FOURD_TORCH_INDEX", raising=False)
    bootstrap.STAMP.write_text(bootstrap.fingerprint())
    assert bootstrap.set_up(whole=False) == 0 and installed == []
    assert bootstrap.set_up(whole=True) == 0
    torch, others = installed
    assert torch[-1] == "torch" and {"accelerate", "pytest", "ray"} <= set(others) and "mujoco" not in others
    installed.clear()
    assert bootstrap.set_up(whole=True) == 0 and installed == []
    monkeypatch.setenv("FOURD_TORCH_INDEX", "https://wheels.example.org/cpu")
    assert bootstrap.set_up(whole=True) == 0
    assert "https://wheels.example.org/cpu" in installed[0] and "--index-url" not in installed[1]
