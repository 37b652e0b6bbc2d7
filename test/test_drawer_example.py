"""The example of the drawer, from the shipped bag through the launched node to figures and a picture."""

import json
from pathlib import Path
from typing import Any

from conftest import ROOT


def test_the_drawer_is_pulled_and_judged(other_process: Any, tmp_path: Path) -> None:
    example = other_process(str(ROOT / "examples" / "drawer.py"), "--out", str(tmp_path / "out"))
    assert example.process.wait(240) == 0, example.output()
    figures = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert figures["points foretold to move"] > 0
    come = "what came there, from what was {} [m]"
    assert figures[come.format("foretold")] < figures[come.format("there before")]
    assert (tmp_path / "out" / "drawer.png").stat().st_size > 1000
