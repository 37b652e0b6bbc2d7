"""Starts a graph in one process, from the same description and YAML as the launch files."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import rclpy
import yaml
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import TransitionCallbackReturn

from fourd_ros.errors import InvalidParameter
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.executor import make_executor
from fourd_ros.nodes.graphs import Graph, PlannedNode
from fourd_ros.nodes.transport import use_large_messages

LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
POLL_PERIOD = 0.1


def bring_up(
    graph: Graph,
    chosen: Mapping[str, str],
    *,
    node_parameters: Mapping[str, Mapping[str, str]] | None = None,
    ros_arguments: Sequence[str] = (),
    on_settled: Callable[[Sequence[FourdNode]], bool],
) -> bool:
    """Run a graph until it is interrupted.

    Args:
        graph: which nodes.
        chosen: texts of arguments.
        node_parameters: texts of further parameters by node name and parameter.
        ros_arguments: words after ``--ros-args`` for all nodes, such as remappings.
        on_settled: called once every node has started, or has failed to; False ends the run.

    Returns:
        Whether the graph ran until somebody ended it.

    Raises:
        InvalidParameter: an unknown argument, node or log level, or a value that does not fit.
    """
    log_level = chosen.get("log_level", "info")
    if log_level not in LOG_LEVELS:
        raise InvalidParameter(f"log_level '{log_level}'; choose one of {list(LOG_LEVELS)}")
    plan = graph.plan(chosen)
    extra = node_parameters or {}
    unknown = sorted(set(extra) - {planned.spec.name for planned in plan})
    if unknown:
        raise InvalidParameter(f"no node {unknown} here; there are {[planned.spec.name for planned in plan]}")
    use_large_messages()
    try:
        with ExitStack() as stack:
            stack.enter_context(rclpy.init(args=["--ros-args", "--log-level", log_level, *ros_arguments]))
            executor = make_executor()
            stack.callback(executor.shutdown, timeout_sec=1.0)
            nodes = [compose(planned, extra.get(planned.spec.name, {})) for planned in plan]
            for node in nodes:
                executor.add_node(node)
                stack.callback(node.destroy_node)
            return _spin(executor, nodes, on_settled)
    except (KeyboardInterrupt, ExternalShutdownException):
        return True


def compose(planned: PlannedNode, parameters: Mapping[str, str] | None = None) -> FourdNode:
    """A planned node in this process.

    Args:
        planned: of which graph it is a part.
        parameters: texts of further parameters, which win.
    """
    spec = planned.spec
    words = ["--ros-args", "-r", f"__node:={spec.name}"]
    for path in planned.parameter_files:
        words += ["--params-file", str(path)]
    texts = {name: _literal(value) for name, value in planned.parameters.items()} | dict(parameters or {})
    for name, text in texts.items():
        words += ["-p", f"{name}:={text}"]
    for old, new in spec.remappings:
        words += ["-r", f"{old}:={new}"]
    node: FourdNode = spec.node_class()(namespace=planned.namespace, cli_args=words)
    return node


def _literal(value: Any) -> str:
    """A value as YAML on one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n")).strip()


def _spin(executor: Any, nodes: Sequence[FourdNode], on_settled: Callable[[Sequence[FourdNode]], bool]) -> bool:
    while rclpy.ok() and not all(_is_settled(node) for node in nodes):
        executor.spin_once(timeout_sec=POLL_PERIOD)
    if rclpy.ok() and not on_settled(nodes):
        return False
    executor.spin()
    return True


def _is_settled(node: FourdNode) -> bool:
    return node.autostart_result is not None or not node.parameters.autostart


def failed(nodes: Sequence[FourdNode]) -> list[FourdNode]:
    """Nodes that tried to start by themselves and did not."""
    return [node for node in nodes if node.autostart_result not in (None, TransitionCallbackReturn.SUCCESS)]
