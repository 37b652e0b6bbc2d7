"""``fourd bringup``: start a graph of nodes in this process."""

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fourd_ros.commands.remapping import add_remapping, ros_arguments
from fourd_ros.errors import InvalidParameter
from fourd_ros.nodes.graphs import GRAPHS, Graph, find_graph
from fourd_ros.resources import find_resource

EXAMPLES = [
    "fourd bringup demo",
    "fourd bringup demo --set bag:=my_bag --set cameras:='[front, wrist]'",
    "fourd bringup world_model --params-file my_robot.yaml --use-sim-time",
    "fourd bringup world_model --remap front/image:=/camera/color/image_raw",
    "fourd bringup simulation --set task:=stack --set simulation.image_width:=320",
    "fourd bringup simulation --list",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``fourd bringup``."""
    parser.add_argument("graph", choices=sorted(GRAPHS), help="which nodes: " + "; ".join(_summaries()))
    parser.add_argument("--params-file", metavar="YAML", help="read after the shipped files, and wins")
    parser.add_argument("--namespace", help="of all nodes and relative topics")
    parser.add_argument("--use-sim-time", action="store_true", help="take the time from /clock")
    parser.add_argument("--log-level", help="debug, info, warn, error or fatal")
    parser.add_argument(
        "--set",
        metavar="NAME:=VALUE",
        action="append",
        default=[],
        type=_assignment,
        help="an argument of the graph, or a parameter as NODE.NAME:=VALUE; may be repeated",
    )
    add_remapping(parser)
    parser.add_argument("--list", action="store_true", help="show the arguments of the graph and end")


def run(args: argparse.Namespace) -> int:
    """Run the graph until Control-C; status 1 when a node could not start."""
    graph = find_graph(args.graph)
    if args.list:
        print("\n".join(_argument_lines(graph)))
        return 0
    from fourd_ros.nodes.bringup import bring_up, failed

    chosen, node_parameters = _choices(args)

    def on_settled(nodes: Sequence[Any]) -> bool:
        commands = {
            "doctor": _doctor(nodes, params_file=chosen.get("params_file", ""), remap=args.remap),
            "rviz": _rviz(nodes, use_sim_time=graph.value("use_sim_time", chosen), remap=args.remap),
        }
        print("\n".join(_report(graph, nodes, commands)), flush=True)
        return not failed(nodes)

    ran = bring_up(
        graph,
        chosen,
        node_parameters=node_parameters,
        ros_arguments=ros_arguments(args.remap),
        on_settled=on_settled,
    )
    return 0 if ran else 1


def _assignment(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is not like name:=value")
    return name, value


def _choices(args: argparse.Namespace) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Arguments of the graph, and parameters by node."""
    options = {"params_file": args.params_file, "namespace": args.namespace, "log_level": args.log_level}
    chosen = {name: value for name, value in options.items() if value is not None}
    if args.use_sim_time:
        chosen["use_sim_time"] = "true"
    node_parameters: dict[str, dict[str, str]] = {}
    for name, value in args.set:
        node, dot, parameter = name.partition(".")
        if dot:
            node_parameters.setdefault(node, {})[parameter] = value
        elif name in chosen:
            raise InvalidParameter(f"'{name}' is given twice, as an option and with --set")
        else:
            chosen[name] = value
    return chosen, node_parameters


def _summaries() -> list[str]:
    return [f"{name} ({graph.description})" for name, graph in sorted(GRAPHS.items())]


def _argument_lines(graph: Graph) -> list[str]:
    rows = [(f"{a.name}:={a.default}", a.description) for a in graph.all_arguments.values()]
    width = max(len(left) for left, _ in rows)
    return [f"{left:<{width}}  {right}" for left, right in rows]


def _doctor(nodes: Sequence[Any], *, params_file: str, remap: Sequence[str]) -> str:
    """The command that looks at what these nodes publish for, or take into, a world model."""
    words = ["fourd", "doctor", "--topics"]
    cameras = [node.cameras for node in nodes if node.cameras]
    words += ["--cameras", *cameras[-1]] if cameras else []
    if params_file:
        words += ["--params-file", params_file]
    if namespace := nodes[0].get_namespace().strip("/"):
        words += ["--namespace", namespace]
    return shlex.join([*words, *(word for rule in remap for word in ("--remap", rule))])


def _rviz(nodes: Sequence[Any], *, use_sim_time: bool, remap: Sequence[str]) -> str:
    """The command that shows what these nodes publish, with their names and in their time."""
    words = ["-p", "use_sim_time:=true"] if use_sim_time else []
    if (namespace := nodes[0].get_namespace()) != "/":
        words += ["-r", f"__ns:={namespace}"]
    words += ros_arguments(remap)
    layout = str(find_resource("config/fourd.rviz"))
    return shlex.join(["rviz2", "-d", layout, *(["--ros-args", *words] if words else [])])


def _report(graph: Graph, nodes: Sequence[Any], commands: Mapping[str, str]) -> list[str]:
    """What is up, and what to try next, with the `commands` that fit it."""
    lines = [f"{node.get_fully_qualified_name()}: {node.state_label}" for node in nodes]
    if not all(node.is_active or not node.parameters.autostart for node in nodes):
        return [*lines, "a node could not start; the log above says why"]
    foxglove = find_resource("config/foxglove.json")
    return [
        *lines,
        "",
        "next:",
        *(f"  {line.format(foxglove=foxglove, **commands)}" for line in graph.next_steps),
        "",
        "Control-C ends",
    ]
