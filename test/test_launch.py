"""The launch files against what they start: executables, parameters, files, arguments; and the layouts."""

import ast
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_recorder import Launched, Node, resolve

from fourd_ros.errors import InvalidParameter
from fourd_ros.nodes.graphs import COMMON, GRAPHS, NodeSpec, find_graph

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
SPECS = {spec.name: spec for graph in GRAPHS.values() for spec in graph.nodes}
USE_SIM_TIME = "use_sim_time"
"""Every rclpy node declares it."""


def launch(name: str, **given: str) -> Launched:
    return resolve(ROOT / "launch" / f"{name}.launch.py", given)


def console_scripts() -> dict[str, str]:
    """Executable -> ``module:function`` as setup.py says it, without running it."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    lines = next(
        ast.literal_eval(keyword.value)["console_scripts"]
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "entry_points"
    )
    return dict(line.replace(" ", "").split("=", 1) for line in lines)


def declared(spec: NodeSpec) -> dict[str, Any]:
    """Parameters of the node's class, with their defaults."""
    fields = {field.name: field.default for field in dataclasses.fields(spec.node_class().Parameters)}
    return {**fields, USE_SIM_TIME: False}


def parameters(node: Node) -> dict[str, Any]:
    """What the node gets in the end, files first."""
    merged: dict[str, Any] = {}
    for source in node.parameters:
        merged |= (
            source if isinstance(source, dict) else yaml.safe_load(Path(source).read_text())["/**"]["ros__parameters"]
        )
    return merged


def test_there_is_a_launch_file_for_every_graph() -> None:
    assert {path.name.removesuffix(".launch.py") for path in LAUNCH_FILES} == set(GRAPHS)


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_defaults_lead_to_nodes_that_exist_with_parameters_they_declare(name: str) -> None:
    launched = launch(name)
    scripts = console_scripts()
    assert launched.nodes
    for node in launched.nodes:
        spec = SPECS[str(node.name)]
        assert node.package == "fourd_ros"
        assert scripts[node.executable] == f"{spec.target.split(':')[0]}:main"
        defaults = declared(spec)
        for parameter, value in parameters(node).items():
            assert parameter in defaults, f"{spec.name} declares no parameter '{parameter}'"
            expected = list if isinstance(defaults[parameter], tuple) else type(defaults[parameter])
            assert type(value) is expected, f"{parameter} is {value!r}"
        assert node.respawn is False
        assert node.arguments == ["--ros-args", "--log-level", "info"]


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_the_transport_profile_is_set_unless_the_user_chose_one(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTDDS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    profile = launch(name).environment["FASTDDS_DEFAULT_PROFILES_FILE"]
    assert Path(profile).read_text().count("<segment_size>67108864</segment_size>") == 1
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "/mine.xml")
    assert launch(name).environment == {}
    monkeypatch.setenv("ROS_DISTRO", "jazzy")
    assert launch(name).environment == {"FASTRTPS_DEFAULT_PROFILES_FILE": profile}


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_the_usual_arguments_reach_every_node(name: str, tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("/**: {ros__parameters: {diagnostics_period: 0.5}}")
    launched = launch(
        name, namespace="robot1", params_file=str(own), autostart="false", log_level="debug", respawn="true"
    )
    for node in launched.nodes:
        assert node.namespace == "robot1"
        assert node.parameters[1] == str(own)
        assert parameters(node)["autostart"] is False
        assert parameters(node)["diagnostics_period"] == 0.5
        assert node.arguments[-1] == "debug"
        assert node.respawn
        assert node.respawn_delay


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_every_argument_has_an_effect(name: str) -> None:
    graph = find_graph(name)
    used = {argument for spec in graph.nodes for argument in (*spec.parameters.values(), spec.needs, spec.unless)}
    used |= {spec.where[0] for spec in graph.nodes if spec.where}
    common = {"namespace", "params_file", "autostart", "log_level", USE_SIM_TIME}
    assert {argument.name for argument in COMMON} == common
    assert {argument.name for argument in graph.arguments} <= used | common
    assert set(launch(name).arguments) == {*graph.all_arguments, "respawn", "rviz", "rviz_frame"}


def test_one_argument_puts_the_imagined_robot_in_the_place_of_the_simulated_one() -> None:
    given = {"cameras": "[front]", "seed": "3"}
    simulated, imagined = (launch("robot", robot=kind, **given).nodes for kind in ("simulated", "imagined"))
    assert [node.name for node in simulated] == ["simulation"]
    assert [node.name for node in imagined] == ["imagined_robot"]
    for node in (*simulated, *imagined):
        assert parameters(node)["cameras"] == ["front"] and parameters(node)["seed"] == 3
        assert set(parameters(node)) <= set(declared(SPECS[str(node.name)]))
    with pytest.raises(InvalidParameter, match="simulated"):
        launch("robot", robot="real")


def test_an_argument_wins_over_the_files_and_an_empty_one_does_not() -> None:
    node = launch("world_model", cameras="[left, right]", use_sim_time="true").nodes[0]
    assert parameters(node)["cameras"] == ["left", "right"]
    assert parameters(node)[USE_SIM_TIME] is True
    shipped = yaml.safe_load((ROOT / "config" / "world_model.yaml").read_text())["/**"]["ros__parameters"]
    assert parameters(launch("world_model").nodes[0])["cameras"] == shipped["cameras"]


def test_the_demo_simulates_or_replays_on_simulated_time() -> None:
    simulated, replayed = launch("demo"), launch("demo", bag="my_bag", rate="2")
    assert [node.name for node in simulated.nodes] == ["simulation", "world_model"]
    assert [node.name for node in replayed.nodes] == ["bag_replay", "world_model"]
    assert parameters(replayed.nodes[0])["bag"] == "my_bag"
    assert parameters(replayed.nodes[0])["rate"] == 2.0
    for launched in (simulated, replayed):
        assert parameters(launched.nodes[1])[USE_SIM_TIME] is True
    assert USE_SIM_TIME not in parameters(simulated.nodes[0]), "the source of /clock does not follow it"
    assert parameters(simulated.nodes[0])["cameras"] == parameters(simulated.nodes[1])["cameras"]


@pytest.mark.parametrize("name", sorted(GRAPHS))
@pytest.mark.parametrize("use_sim_time", [True, False])
def test_what_runs_beside_the_clock_takes_its_time_as_chosen(name: str, use_sim_time: bool) -> None:
    nodes = {node.executable: node for node in launch(name, rviz="true", use_sim_time=str(use_sim_time).lower()).nodes}
    assert parameters(nodes["rviz2"])[USE_SIM_TIME] is use_sim_time
    if "world_model" in nodes:
        assert parameters(nodes["world_model"])[USE_SIM_TIME] is use_sim_time
    if "simulation" in nodes:
        assert USE_SIM_TIME not in parameters(nodes["simulation"])


@pytest.mark.parametrize("text", ["2024_01_01", "on", "1e3", "null", "a: b", "[x]"])
def test_text_stays_text(text: str) -> None:
    assert parameters(launch("demo", bag=text).nodes[0])["bag"] == text
    assert parameters(launch("world_model", robot_description_file=text).nodes[0])["robot_description_file"] == text


def test_rviz_opens_with_the_shipped_layout() -> None:
    rviz = launch("demo", rviz="true").nodes[-1]
    assert (rviz.package, rviz.executable) == ("rviz2", "rviz2")
    assert rviz.arguments[0] == "-d"
    assert Path(rviz.arguments[1]).is_file()
    assert len(rviz.arguments) == 2
    assert "rviz2" not in [node.executable for node in launch("demo").nodes]


def test_rviz_follows_namespace_cameras_and_frame() -> None:
    rviz = launch("demo", rviz="true", namespace="cell_1", cameras="[side, wrist]", rviz_frame="base_link").nodes[-1]
    assert rviz.namespace == "cell_1"
    assert rviz.arguments[2:] == ["-f", "base_link"]
    renamed = dict(rviz.remappings)
    topics = {renamed.get(topic, topic) for topic in layout_topics()["rviz"]}
    assert "side/image" in topics
    assert not [topic for topic in topics if topic.startswith("/")], "absolute names do not follow the namespace"


@pytest.mark.parametrize(
    ("given", "needed"),
    [({"seed": "many"}, "int"), ({"cameras": "front"}, "list"), ({"params_file": "nowhere.yaml"}, "does not exist")],
)
def test_arguments_that_mean_nothing_are_refused(given: dict[str, str], needed: str) -> None:
    with pytest.raises(InvalidParameter, match=needed):
        launch("simulation", **given)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="no argument"):
        find_graph("demo").plan({"colour": "red"})
    with pytest.raises(InvalidParameter, match="world_model"):
        find_graph("everything")


def layout_topics() -> dict[str, set[str]]:
    """Topics that the layouts show, by file."""
    rviz = yaml.safe_load((ROOT / "config" / "fourd.rviz").read_text())
    displays = rviz["Visualization Manager"]["Displays"]
    shown = {display["Topic"]["Value"] for display in displays if "Topic" in display}
    shown |= {display["Description Topic"]["Value"] for display in displays if "Description Topic" in display}
    shown |= {d[key] for d in displays for key in ("Depth Map Topic", "Color Image Topic") if key in d}
    foxglove = json.loads((ROOT / "config" / "foxglove.json").read_text())
    panels = foxglove["configById"].values()
    seen = {topic for panel in panels for topic, settings in panel.get("topics", {}).items() if settings.get("visible")}
    seen |= {panel["imageMode"]["imageTopic"] for panel in panels if "imageMode" in panel}
    return {"rviz": shown, "foxglove": seen}


def test_the_layouts_show_topics_that_the_demo_has() -> None:
    published = {
        "/robot_description",
        "/front/image",
        "/world_model/points",
        "/world_model/imagined/points",
        "/world_model/imagined/image",
    }
    for file, names in layout_topics().items():
        topics = {f"/{name.removeprefix('/')}" for name in names}
        assert topics <= published, file
        assert published - {"/robot_description"} <= topics, file


def test_the_imagined_robot_is_translucent_and_has_frames_of_its_own() -> None:
    rviz = yaml.safe_load((ROOT / "config" / "fourd.rviz").read_text())
    displays = rviz["Visualization Manager"]["Displays"]
    robots = {d["Name"]: d for d in displays if d["Class"] == "rviz_default_plugins/RobotModel"}
    assert robots["robot"]["TF Prefix"] == ""
    assert robots["imagined robot"]["TF Prefix"] == "imagined"
    assert robots["imagined robot"]["Alpha"] < robots["robot"]["Alpha"]
    clouds = [d for d in displays if d["Class"] == "rviz_default_plugins/PointCloud2"]
    assert any(d["Color Transformer"] == "Intensity" and d["Channel Name"] == "sigma" for d in clouds)
