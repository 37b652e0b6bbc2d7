"""Write docs/nodes.md: topics, services, actions and parameters of every node, taken from the running nodes.

python tools/make_node_tables.py            # write
python tools/make_node_tables.py --check    # status 1 when the page is not what the code says
"""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# Nothing that runs elsewhere on this machine may appear in the tables.
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "OFF"

import rclpy
from rclpy.action import get_action_server_names_and_types_by_node
from rclpy.parameter import Parameter

from fourd_ros.bridge.parameters import Row, table
from fourd_ros.nodes.bag_replay import BagReplayNode
from fourd_ros.nodes.base import FourdNode, NodeParameters
from fourd_ros.nodes.compositional_objects import CompositionalObjectsNode
from fourd_ros.nodes.imagined_robot import ImaginedRobotNode
from fourd_ros.nodes.part_dynamics import PartDynamicsNode
from fourd_ros.nodes.policy_evaluation import PolicyEvaluatorNode
from fourd_ros.nodes.scene_language import SceneLanguageNode
from fourd_ros.nodes.scene_reconstruction import SceneReconstructionNode
from fourd_ros.nodes.simulation import SimulationNode
from fourd_ros.nodes.world_model import WorldModelNode

PAGE = Path(__file__).resolve().parent.parent / "docs" / "nodes.md"
NODES: tuple[type[FourdNode], ...] = (
    WorldModelNode,
    SimulationNode,
    ImaginedRobotNode,
    PartDynamicsNode,
    SceneReconstructionNode,
    SceneLanguageNode,
    CompositionalObjectsNode,
    PolicyEvaluatorNode,
    BagReplayNode,
)
INTRODUCTION = """\
# Nodes

Written by `tools/make_node_tables.py` from the running nodes; do not edit. Names are relative to the node's namespace
unless they begin with `/`; those with `~/` are below the node's name.

## Every node

A lifecycle node (`~/change_state`, `~/get_state`) that reports on `/diagnostics`. Beside its own parameters it has
`use_sim_time` and these:
"""
LIFECYCLE_AND_PARAMETERS = ("rcl_interfaces/", "lifecycle_msgs/", "type_description_interfaces/")
OF_EVERY_NODE = ("/parameter_events", "/rosout", "/transition_event", "/diagnostics")
ABSOLUTE = ("/tf", "/tf_static", "/clock")
MARKUP, ESCAPED = re.compile(r"[|<]"), r"\\\g<0>"
NamesAndTypes = Iterable[tuple[str, list[str]]]


def main() -> int:
    """Write or compare; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    args = parser.parse_args()
    text = page()
    if not args.check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print(f"{PAGE.name} is not what the code says; run: python tools/make_node_tables.py", file=sys.stderr)
        return 1
    return 0


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION, *parameter_table(table(NodeParameters))]
    with rclpy.init(args=[]):
        for node_class in NODES:
            node = node_class(parameter_overrides=[Parameter("autostart", value=False)])
            try:
                lines += describe(node)
            finally:
                node.destroy_node()
    return "\n".join(lines).rstrip() + "\n"


def describe(node: FourdNode) -> Iterator[str]:
    """The section of one node, which is brought up for it unless it has nothing to start with (a replay has no bag)."""
    identity = node.get_name(), node.get_namespace()
    yield f"## {node.get_name()}\n"
    yield f"{(type(node).__doc__ or '').partition(chr(10))[0]}\n".replace("``", "`")
    if not isinstance(node, BagReplayNode):
        node.trigger_configure()
        node.trigger_activate()
        yield from name_table(node, "subscribes to", node.get_subscriber_names_and_types_by_node(*identity))
        yield from name_table(node, "publishes", node.get_publisher_names_and_types_by_node(*identity))
        yield from name_table(node, "service", node.get_service_names_and_types_by_node(*identity))
        yield from name_table(node, "action", get_action_server_names_and_types_by_node(node, *identity))
    common = {row.name for row in table(NodeParameters)}
    yield from parameter_table(row for row in table(type(node).Parameters) if row.name not in common)


def name_table(node: FourdNode, title: str, entries: NamesAndTypes) -> Iterator[str]:
    """Names and types, without what every node has; nothing when none is left."""
    rows = {(shown(name, node), types[0]) for name, types in entries if not is_common(name, types[0])}
    if rows:
        yield f"| {title} | type |\n|---|---|"
        yield from (f"| `{name}` | `{kind}` |" for name, kind in sorted(rows))
        yield ""


def parameter_table(rows: Iterable[Row]) -> Iterator[str]:
    """Parameters with defaults and ranges."""
    yield "| parameter | type | default | range | what it does |\n|---|---|---|---|---|"
    for row in rows:
        cells = (f"`{row.name}`", row.type, f"`{row.default}`", row.range, row.description)
        yield f"| {' | '.join(MARKUP.sub(ESCAPED, cell) for cell in cells)} |"
    yield ""


def shown(name: str, node: Any) -> str:
    """A resolved name as a user would write it, one for all cameras."""
    if name in ABSOLUTE:
        return name
    own = f"/{node.get_name()}/"
    if name.startswith(own):
        return f"~/{name.removeprefix(own)}"
    first, _, rest = name.removeprefix("/").partition("/")
    return f"<camera>/{rest}" if first in node.cameras else name.removeprefix("/")


def is_common(name: str, kind: str) -> bool:
    """Whether rclpy or the node base makes it, for every node or behind every action."""
    return name.endswith(OF_EVERY_NODE) or "/_action/" in name or kind.startswith(LIFECYCLE_AND_PARAMETERS)


if __name__ == "__main__":
    sys.exit(main())
