"""docs/nodes.md is what the running nodes say."""

from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def test_the_page_of_the_nodes_is_fresh(other_process: Any) -> None:
    tool = other_process(str(ROOT / "tools" / "make_node_tables.py"), "--check")
    assert tool.process.wait(240) == 0, tool.output()
