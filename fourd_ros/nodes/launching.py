"""From a graph to a launch description; imported by the launch files, where a full ROS 2 is."""

from functools import partial

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from fourd_ros.nodes.graphs import Graph, PlannedNode, find_graph
from fourd_ros.nodes.transport import transport_environment
from fourd_ros.resources import find_resource

RVIZ_CONFIG = "config/fourd.rviz"
RESPAWN_DELAY = 2.0


def describe(graph_name: str) -> LaunchDescription:
    """The launch description of a graph, with its arguments, ``respawn`` and ``rviz``."""
    graph = find_graph(graph_name)
    return LaunchDescription(
        [
            *(SetEnvironmentVariable(name, value) for name, value in transport_environment().items()),
            *(
                DeclareLaunchArgument(argument.name, default_value=argument.default, description=argument.description)
                for argument in graph.all_arguments.values()
            ),
            DeclareLaunchArgument("respawn", default_value="false", description="start a node again when it dies"),
            DeclareLaunchArgument("rviz", default_value="false", description="open RViz beside the nodes"),
            OpaqueFunction(function=partial(_start_nodes, graph=graph)),
            Node(
                package="rviz2",
                executable="rviz2",
                arguments=["-d", str(find_resource(RVIZ_CONFIG))],
                condition=IfCondition(LaunchConfiguration("rviz")),
            ),
        ]
    )


def _start_nodes(context: LaunchContext, *, graph: Graph) -> list[Node]:
    """The nodes of the graph, planned from what the arguments are in this launch."""
    chosen = {name: LaunchConfiguration(name).perform(context) for name in graph.all_arguments}
    respawn = LaunchConfiguration("respawn").perform(context).lower() in ("true", "1")
    return [_node(planned, respawn=respawn, log_level=chosen["log_level"]) for planned in graph.plan(chosen)]


def _node(planned: PlannedNode, *, respawn: bool, log_level: str) -> Node:
    spec = planned.spec
    return Node(
        package=spec.package,
        executable=spec.executable,
        name=spec.name,
        namespace=planned.namespace,
        parameters=[*(str(path) for path in planned.parameter_files), dict(planned.parameters)],
        remappings=list(spec.remappings),
        arguments=["--ros-args", "--log-level", log_level],
        respawn=respawn,
        respawn_delay=RESPAWN_DELAY,
        output="screen",
    )
