"""One description of each graph of nodes, from which launch files and ``fourd bringup`` start it."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from fourd_ros.errors import InvalidParameter
from fourd_ros.resources import find_resource

PACKAGE = "fourd_ros"


@dataclass(frozen=True, kw_only=True)
class Argument:
    """Something that is chosen when a graph is started.

    Args:
        name: of the launch argument.
        default: its text; an empty one leaves the choice to the parameter files.
        description: one line.
        type: of the parameters it sets: str, bool, int, float or list.
        choices: the texts that are allowed; empty for all.
    """

    name: str
    default: str
    description: str
    type: type = str
    choices: tuple[str, ...] = ()

    def value(self, text: str) -> Any:
        """The value that `text` stands for.

        Raises:
            InvalidParameter: it is not of the argument's type, or none of its choices.
        """
        if self.choices and text not in self.choices:
            raise InvalidParameter(f"argument {self.name}:={text}; choose one of {list(self.choices)}")
        if self.type is str:
            return text
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = None
        if self.type is float and type(value) is int:
            value = float(value)
        if type(value) is not self.type:
            raise InvalidParameter(f"argument {self.name}:={text}; needed: {self.type.__name__} ({self.description})")
        return value


@dataclass(frozen=True, kw_only=True)
class NodeSpec:
    """A node of a graph.

    Args:
        executable: of the package, for launch.
        target: ``module:Class`` of the same node, for composition.
        name: of the node.
        parameters_file: the shipped YAML.
        parameters: parameter by the argument that sets it.
        remappings: topic names, from and to.
        package: that holds the executable.
        needs: argument without which the node is left out.
        unless: argument with which it is left out.
        where: argument and the text of it with which alone the node is started; None for always.
    """

    executable: str
    target: str
    name: str
    parameters_file: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    remappings: tuple[tuple[str, str], ...] = ()
    package: str = PACKAGE
    needs: str = ""
    unless: str = ""
    where: tuple[str, str] | None = None

    def is_wanted(self, texts: Mapping[str, str]) -> bool:
        """Whether it is started with these texts of all arguments."""
        missing = bool(self.needs) and not texts[self.needs]
        excluded = bool(self.unless) and bool(texts[self.unless])
        elsewhere = self.where is not None and texts[self.where[0]] != self.where[1]
        return not (missing or excluded or elsewhere)

    def node_class(self) -> Any:
        """The class; imports its module."""
        module, name = self.target.split(":")
        return getattr(importlib.import_module(module), name)


@dataclass(frozen=True, kw_only=True)
class PlannedNode:
    """A node with everything decided.

    Args:
        spec: what it is.
        namespace: of the node.
        parameter_files: later ones win.
        parameters: they win over the files.
    """

    spec: NodeSpec
    namespace: str
    parameter_files: tuple[Path, ...]
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Nodes that are started together.

    Args:
        name: of the launch file and of ``fourd bringup``.
        description: one line.
        nodes: of the graph.
        arguments: choices beside `COMMON`, or instead of the one with that name.
        next_steps: what to try once it is up, one line each; ``{foxglove}`` is a layout, ``{rviz}`` the command
            that opens the other one, ``{doctor}`` the one that looks at the inputs of a world model here.
    """

    name: str
    description: str
    nodes: tuple[NodeSpec, ...]
    arguments: tuple[Argument, ...] = ()
    next_steps: tuple[str, ...] = ()

    @property
    def all_arguments(self) -> dict[str, Argument]:
        """Arguments by name, the common ones first."""
        return {argument.name: argument for argument in (*COMMON, *self.arguments)}

    def value(self, name: str, chosen: Mapping[str, str]) -> Any:
        """The value of an argument, from the texts of those that were chosen.

        Raises:
            InvalidParameter: a value of the wrong type.
        """
        argument = self.all_arguments[name]
        return argument.value(chosen.get(name, argument.default))

    def plan(self, chosen: Mapping[str, str]) -> list[PlannedNode]:
        """Decide everything from the texts of the arguments; those not named have their defaults.

        Raises:
            InvalidParameter: an unknown argument, or a value of the wrong type.
            MissingResource: a parameter file is not there.
        """
        arguments = self.all_arguments
        unknown = sorted(set(chosen) - set(arguments))
        if unknown:
            raise InvalidParameter(f"graph '{self.name}' has no argument {unknown}; it has {list(arguments)}")
        texts = {name: chosen.get(name, argument.default) for name, argument in arguments.items()}
        for name, text in texts.items():
            if arguments[name].choices:
                arguments[name].value(text)
        return [self._plan_node(spec, texts) for spec in self.nodes if spec.is_wanted(texts)]

    def _plan_node(self, spec: NodeSpec, texts: Mapping[str, str]) -> PlannedNode:
        arguments = self.all_arguments
        given = {
            parameter: arguments[name].value(texts[name])
            for parameter, name in {**_COMMON_PARAMETERS, **spec.parameters}.items()
            if texts.get(name)
        }
        own = Path(texts["params_file"]).expanduser() if texts["params_file"] else None
        if own is not None and not own.is_file():
            raise InvalidParameter(f"params_file '{own}' does not exist")
        shipped = find_resource(spec.parameters_file)
        return PlannedNode(
            spec=spec,
            namespace=texts["namespace"],
            parameter_files=(shipped,) if own is None else (shipped, own),
            parameters=given,
        )


COMMON = (
    Argument(name="namespace", default="", description="of all nodes and relative topics"),
    Argument(name="params_file", default="", description="YAML that is read after the shipped ones, and wins"),
    Argument(name="autostart", default="true", description="configure and activate the nodes at once", type=bool),
    Argument(name="log_level", default="info", description="debug, info, warn, error or fatal"),
    Argument(name="use_sim_time", default="false", description="take the time from /clock", type=bool),
)
_COMMON_PARAMETERS = {"autostart": "autostart"}

_USE_SIM_TIME = Argument(
    name="use_sim_time",
    default="true",
    description="what runs beside the source of /clock takes the time from it",
    type=bool,
)
_CAMERAS = Argument(
    name="cameras",
    default="",
    description="camera namespaces, such as [front, wrist]; empty: as in the YAML",
    type=list,
)
_DESCRIPTION = Argument(
    name="robot_description_file", default="", description="URDF or xacro instead of the robot_description topic"
)
_DEPTH_COMPLETION = Argument(
    name="depth_completion",
    default="",
    description="fill holes of depth images with this model: depth_completion (shipped) or a folder",
)
_TASK = Argument(name="task", default="", description="what the scene is made for; empty: as in the YAML")
_SEED = Argument(
    name="seed", default="", description="of the scene, or of what is imagined; empty: as in the YAML", type=int
)
_RATE = Argument(
    name="real_time_factor", default="", description="simulated seconds per second; empty: as in the YAML", type=float
)

_SIMULATED, _IMAGINED = "simulated", "imagined"
_ROBOT = Argument(
    name="robot",
    default=_SIMULATED,
    description="what stands in for the robot: simulated (MuJoCo) or imagined (a world model)",
    choices=(_SIMULATED, _IMAGINED),
)
_BACKEND = Argument(
    name="backend", default="", description="the rung that imagines the robot's world; empty: as in the YAML"
)
_BEST_RUNG = Argument(
    name="backend", default="", description="the best rung to load, such as points or kinema4d; empty: as in the YAML"
)
_MODEL = Argument(
    name="model",
    default="",
    description="folder of checkpoints of the rung kinema4d, see docs/kinema4d.md; empty: none",
)
_START = Argument(
    name="start", default="", description="episode or bag that the imagined robot starts from; empty: as in the YAML"
)
_START_FOLDERS = Argument(
    name="start_folders",
    default="",
    description="where such are looked for, as in [my_episodes]; empty: what comes with the package",
    type=list,
)

_PLAYED = (
    Argument(name="rate", default="", description="recorded seconds per second, of a bag", type=float),
    Argument(name="loop", default="true", description="start the bag over at its end", type=bool),
)
_OF_A_BAG = (
    Argument(name="bag", default="", description="folder or MCAP file to replay; empty: live cameras"),
    *_PLAYED,
)

_OF_ONE_CAMERA = (
    Argument(name="camera", default="", description="its namespace; empty: as in the YAML"),
    Argument(name="compressed", default="", description="take compressed images; empty: as in the YAML", type=bool),
    Argument(name="use_depth", default="", description="wait for depth images; empty: as in the YAML", type=bool),
)

WORLD_MODEL_NODE = NodeSpec(
    executable="world_model",
    target="fourd_ros.nodes.world_model:WorldModelNode",
    name="world_model",
    parameters_file="config/world_model.yaml",
    parameters={
        "use_sim_time": "use_sim_time",
        "cameras": "cameras",
        "robot_description_file": "robot_description_file",
        "depth_completion": "depth_completion",
        "backend": "backend",
        "kinema4d_model": "model",
    },
)
SIMULATION_NODE = NodeSpec(
    executable="simulation",
    target="fourd_ros.nodes.simulation:SimulationNode",
    name="simulation",
    parameters_file="config/simulation.yaml",
    parameters={"cameras": "cameras", "task": "task", "seed": "seed", "real_time_factor": "real_time_factor"},
)
IMAGINED_ROBOT_NODE = NodeSpec(
    executable="imagined_robot",
    target="fourd_ros.nodes.imagined_robot:ImaginedRobotNode",
    name="imagined_robot",
    parameters_file="config/imagined_robot.yaml",
    parameters={name: name for name in ("cameras", "seed", "real_time_factor", "backend", "start", "start_folders")},
)
PART_DYNAMICS_NODE = NodeSpec(
    executable="part_dynamics",
    target="fourd_ros.nodes.part_dynamics:PartDynamicsNode",
    name="part_dynamics",
    parameters_file="config/part_dynamics.yaml",
    parameters={"use_sim_time": "use_sim_time", "cameras": "cameras", "model": "model", "views": "views"},
)
SCENE_RECONSTRUCTION_NODE = NodeSpec(
    executable="scene_reconstruction",
    target="fourd_ros.nodes.scene_reconstruction:SceneReconstructionNode",
    name="scene_reconstruction",
    parameters_file="config/scene_reconstruction.yaml",
    parameters={
        "use_sim_time": "use_sim_time",
        **{name: name for name in ("camera", "compressed", "use_depth", "use_masks")},
    },
)
SCENE_LANGUAGE_NODE = NodeSpec(
    executable="scene_language",
    target="fourd_ros.nodes.scene_language:SceneLanguageNode",
    name="scene_language",
    parameters_file="config/scene_language.yaml",
    parameters={
        "use_sim_time": "use_sim_time",
        **{name: name for name in ("camera", "compressed", "use_depth", "model", "texts")},
    },
)
COMPOSITIONAL_OBJECTS_NODE = NodeSpec(
    executable="compositional_objects",
    target="fourd_ros.nodes.compositional_objects:CompositionalObjectsNode",
    name="compositional_objects",
    parameters_file="config/compositional_objects.yaml",
    parameters={
        "use_sim_time": "use_sim_time",
        **{name: name for name in ("camera", "compressed", "use_depth", "use_masks", "model", "fixed_frame")},
    },
)
POLICY_EVALUATOR_NODE = NodeSpec(
    executable="policy_evaluator",
    target="fourd_ros.nodes.policy_evaluation:PolicyEvaluatorNode",
    name="policy_evaluator",
    parameters_file="config/policy_evaluator.yaml",
    parameters={name: name for name in ("output_root", "settings_file", "workers")},
)
BAG_NODE = NodeSpec(
    executable="bag_replay",
    target="fourd_ros.nodes.bag_replay:BagReplayNode",
    name="bag_replay",
    parameters_file="config/bag_replay.yaml",
    parameters={"bag": "bag", "rate": "rate", "loop": "loop"},
)

ASK = "ask what happens if ...: python3, from fourd_ros.client import WorldModelClient; or publish on `trajectory`"
LOOK = "look at it: open {foxglove} in Foxglove, or where RViz is: {rviz}"
TOPICS = "see which inputs of a world model arrive and what is missing: {doctor}"

GRAPHS: dict[str, Graph] = {
    graph.name: graph
    for graph in (
        Graph(
            name="world_model",
            description="the world model beside your robot or simulator",
            nodes=(WORLD_MODEL_NODE,),
            arguments=(_CAMERAS, _DESCRIPTION, _DEPTH_COMPLETION, _BEST_RUNG, _MODEL),
            next_steps=(TOPICS, ASK, LOOK),
        ),
        Graph(
            name="simulation",
            description="a simulated tabletop with a Panda, its cameras and controllers",
            nodes=(SIMULATION_NODE,),
            arguments=(_USE_SIM_TIME, _CAMERAS, _TASK, _SEED, _RATE),
            next_steps=(
                TOPICS,
                "see another scene: fourd bringup simulation --set seed:=7",
                LOOK,
            ),
        ),
        Graph(
            name="robot",
            description="a robot to drive, simulated or imagined, behind the same topics and actions",
            nodes=(
                replace(SIMULATION_NODE, where=(_ROBOT.name, _SIMULATED)),
                replace(IMAGINED_ROBOT_NODE, where=(_ROBOT.name, _IMAGINED)),
            ),
            arguments=(
                _USE_SIM_TIME,
                _ROBOT,
                _CAMERAS,
                _TASK,
                _SEED,
                _RATE,
                _BACKEND,
                _START,
                _START_FOLDERS,
            ),
            next_steps=(
                TOPICS,
                "drive either of them alike: fourd bringup robot --set robot:=simulated, or --set robot:=imagined",
                LOOK,
            ),
        ),
        Graph(
            name="part_dynamics",
            description="how the parts of an object move when they are dragged, before your cameras or on a bag",
            nodes=(replace(BAG_NODE, needs="bag"), PART_DYNAMICS_NODE),
            arguments=(
                replace(_USE_SIM_TIME, default="false"),
                *_OF_A_BAG,
                replace(_CAMERAS, default="[front]"),
                Argument(name="model", default="", description="weights; empty: as in the YAML"),
                Argument(
                    name="views",
                    default="",
                    description="drawn from depth, or the pictures of four cameras; empty: as in the YAML",
                ),
            ),
            next_steps=(
                "pull at something: its action, part_dynamics/predict_part_motion; see docs/part_dynamics.md",
                "watch part_dynamics/moved and part_dynamics/markers",
            ),
        ),
        Graph(
            name="scene_reconstruction",
            description="camera path, static map and moving objects, before your camera or on a bag",
            nodes=(replace(BAG_NODE, needs="bag"), SCENE_RECONSTRUCTION_NODE),
            arguments=(
                replace(_USE_SIM_TIME, default="false"),
                *_OF_A_BAG,
                *_OF_ONE_CAMERA,
                Argument(
                    name="use_masks",
                    default="",
                    description="wait for masks of what may move; empty: as in the YAML",
                    type=bool,
                ),
            ),
            next_steps=(
                "see it on a bag: fourd bringup scene_reconstruction --set bag:=demo/moving_objects --set "
                "compressed:=true",
                "watch scene_reconstruction/objects, scene_reconstruction/static_points and odometry",
                LOOK,
            ),
        ),
        Graph(
            name="scene_language",
            description="camera poses, depth, and where what you ask for is, before your camera or on a bag",
            nodes=(replace(BAG_NODE, needs="bag"), SCENE_LANGUAGE_NODE),
            arguments=(
                replace(_USE_SIM_TIME, default="false"),
                *_OF_A_BAG,
                *_OF_ONE_CAMERA,
                Argument(name="model", default="", description="weights; empty: as in the YAML"),
                Argument(
                    name="texts",
                    default="",
                    description="standing texts, such as [red mug, drawer]; empty: as in the YAML",
                    type=list,
                ),
            ),
            next_steps=(
                "see it on a bag: fourd bringup scene_language --set bag:=demo/bag --set camera:=front --set "
                "use_depth:=true --set 'texts:=[red mug]'",
                "ask: python3, from fourd_ros.client import SceneLanguageClient; or its service, scene_language/query",
                "watch scene_language/points, scene_language/found and scene_language/found/mask",
            ),
        ),
        Graph(
            name="compositional_objects",
            description="complete shapes of what your camera has seen, over time, before it or on a bag",
            nodes=(replace(BAG_NODE, needs="bag"), COMPOSITIONAL_OBJECTS_NODE),
            arguments=(
                replace(_USE_SIM_TIME, default="false"),
                *_OF_A_BAG,
                *_OF_ONE_CAMERA,
                Argument(
                    name="use_masks",
                    default="",
                    description="wait for masks of objects; empty: as in the YAML",
                    type=bool,
                ),
                Argument(name="model", default="", description="weights; empty: as in the YAML"),
                Argument(name="fixed_frame", default="", description="of the answers; empty: as in the YAML"),
            ),
            next_steps=(
                "ask: python3, from fourd_ros.client import CompositionalObjectsClient; or its action, "
                "compositional_objects/reconstruct_objects",
                "watch compositional_objects/objects and compositional_objects/markers",
            ),
        ),
        Graph(
            name="policy_evaluator",
            description="how often policies succeed, judged in the imagination",
            nodes=(POLICY_EVALUATOR_NODE,),
            arguments=(
                Argument(name="output_root", default="", description="of all evaluations; empty: as in the YAML"),
                Argument(
                    name="settings_file",
                    default="",
                    description="what goals leave open, as `fourd evaluate policies` takes it; empty: as in the YAML",
                ),
                Argument(name="workers", default="", description="processes at once; empty: as in the YAML", type=int),
            ),
            next_steps=(
                "evaluate: python3, from fourd_ros.client import PolicyEvaluatorClient; or its action, evaluate_policy",
            ),
        ),
        Graph(
            name="demo",
            description="the world model on a simulated robot, or on a bag",
            nodes=(
                replace(SIMULATION_NODE, unless="bag"),
                replace(BAG_NODE, needs="bag"),
                WORLD_MODEL_NODE,
            ),
            arguments=(
                _USE_SIM_TIME,
                Argument(name="bag", default="", description="folder or MCAP file to replay; empty: simulate"),
                *_PLAYED,
                replace(_CAMERAS, default="[front, wrist]", description="camera namespaces"),
                _DESCRIPTION,
                _DEPTH_COMPLETION,
                _BEST_RUNG,
                _MODEL,
                _TASK,
                _SEED,
                _RATE,
            ),
            next_steps=(ASK, LOOK, TOPICS),
        ),
    )
}


def find_graph(name: str) -> Graph:
    """The graph of that name.

    Raises:
        InvalidParameter: there is none.
    """
    if name not in GRAPHS:
        raise InvalidParameter(f"no graph '{name}'; there are {sorted(GRAPHS)}")
    return GRAPHS[name]
