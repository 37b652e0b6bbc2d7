"""From a graph to a launch description; imported by the launch files, where a full ROS 2 is."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from fourd_ros.nodes.graphs import Argument, Graph, PlannedNode, find_graph
from fourd_ros.nodes.transport import transport_environment
from fourd_ros.resources import find_resource

RVIZ_CONFIG = "config/fourd.rviz"
RVIZ_CAMERA = "front"
"""Whose image the layout shows."""

RESPAWN_DELAY = 2.0
LAUNCH_ONLY = (
    Argument(name="respawn", default="false", description="start a node again when it dies", type=bool),
    Argument(
        name="rviz",
        default="false",
        description="open RViz beside the nodes; the names in its layout are relative and follow namespace and cameras",
        type=bool,
    ),
    Argument(name="rviz_frame", default="", description="RViz's fixed frame; empty: the Panda's, as in the layout"),
)


def describe(graph_name: str) -> LaunchDescription:
    """The launch description of a graph, with its arguments and `LAUNCH_ONLY`."""
    graph = find_graph(graph_name)
    return LaunchDescription(
        [
            *(SetEnvironmentVariable(name, value) for name, value in transport_environment().items()),
            *(
                DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
                for argument in (*graph.all_arguments.values(), *LAUNCH_ONLY)
            ),
            OpaqueFunction(function=partial(_start_nodes, graph=graph)),
        ]
    )


def _start_nodes(context: LaunchContext, *, graph: Graph) -> list[Node]:
    """The nodes of the graph, planned from what the arguments are in this launch, and RViz."""
    chosen = {name: LaunchConfiguration(name).perform(context) for name in graph.all_arguments}
    beside = {one.name: one.value(LaunchConfiguration(one.name).perform(context)) for one in LAUNCH_ONLY}
    plan = graph.plan(chosen)
    nodes = [_node(planned, respawn=beside["respawn"], log_level=chosen["log_level"]) for planned in plan]
    if beside["rviz"]:
        nodes.append(_rviz(plan, use_sim_time=graph.value("use_sim_time", chosen), frame=beside["rviz_frame"]))
    return nodes


def _node(planned: PlannedNode, *, respawn: bool, log_level: str) -> Node:
    spec = planned.spec
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=planned.namespace,
        parameters=[*(str(path) for path in planned.parameter_files), _as_typed(planned.parameters)],
        remappings=list(spec.remappings),
        arguments=["--ros-args", "--log-level", log_level],
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY,
        output="screen",
    )


def _rviz(plan: Sequence[PlannedNode], *, use_sim_time: bool, frame: str) -> Node:
    """RViz with the shipped layout, in the namespace of the nodes and with their names for topics."""
    cameras = [planned.parameters["cameras"] for planned in plan if "cameras" in planned.parameters]
    image = [(f"{RVIZ_CAMERA}/image", f"{cameras[-1][0]}/image")] if cameras else []
    return Node(
        package="rviz2",
        executable="rviz2",
        namespace=plan[0].namespace,
        parameters=[{"use_sim_time": use_sim_time}],
        remappings=[*image, *(rule for planned in plan for rule in planned.spec.remappings)],
        arguments=["-d", str(find_resource(RVIZ_CONFIG)), *(("-f", frame) if frame else ())],
    )


def _as_typed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Text stays text: launch reads a plain one as YAML, where 2024_01_01 is a number."""
    return {
        name: ParameterValue(value, value_type=str) if isinstance(value, str) else value
        for name, value in parameters.items()
    }
