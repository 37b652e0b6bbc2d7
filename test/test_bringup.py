"""``fourd bringup`` in a process of its own, as a user runs it."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node

from fourd_ros.cli import main
from fourd_ros.nodes.graphs import GRAPHS

FOURD = ("-m", "fourd_ros.cli")


def state(call: Any, node: str) -> int:
    return int(call(GetState, f"{node}/get_state", GetState.Request()).current_state.id)


def parameter(call: Any, node: str, name: str) -> Any:
    return call(GetParameters, f"{node}/get_parameters", GetParameters.Request(names=[name])).values[0]


def check_printed_doctor(other_process: Any, output: str) -> None:
    """The look at the inputs that a graph proposes finds nothing missing, run as it is printed."""
    command = next(line for line in output.splitlines() if "fourd doctor" in line).partition(": ")[2]
    words = shlex.split(command)
    assert words[0] == "fourd"
    doctor = other_process(*FOURD, *words[1:])
    assert doctor.process.wait(240) == 0, doctor.output()
    assert "nothing missing" in doctor.output()


def test_a_graph_comes_up_with_what_was_chosen_and_ends_on_control_c(
    other_process: Any, call: Any, spin: Any, wait_for: Any, tmp_path: Path
) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("/**: {ros__parameters: {image_rate: 2.0, image_width: 32, gripper_speed: 0.05}}")
    process = other_process(
        *FOURD,
        *("bringup", "simulation", "--namespace", "cell", "--params-file", str(own), "--use-sim-time"),
        *("--set", "seed:=5", "--set", "cameras:=[wrist]", "--set", "simulation.image_width:=40"),
        *("--remap", "wrist/image:=/camera/color/image_raw"),
    )
    wait_for(lambda: "Control-C" in process.output() or process.process.poll() is not None, "the node")
    assert "/cell/simulation: active" in process.output()
    assert state(call, "/cell/simulation") == State.PRIMARY_STATE_ACTIVE
    assert parameter(call, "/cell/simulation", "seed").integer_value == 5
    assert list(parameter(call, "/cell/simulation", "cameras").string_array_value) == ["wrist"]
    assert parameter(call, "/cell/simulation", "image_rate").double_value == 2.0, "the user's file wins"
    assert parameter(call, "/cell/simulation", "state_rate").double_value == 50.0, "over the shipped one"
    assert parameter(call, "/cell/simulation", "image_width").integer_value == 40, "and --set over both"
    observer = spin(Node("observer", use_global_arguments=False))
    wait_for(lambda: observer.count_publishers("/camera/color/image_raw"), "the remapped topic")
    check_printed_doctor(other_process, process.output())
    assert "--ros-args -p use_sim_time:=true -r __ns:=/cell -r wrist/image:=" in process.output(), "RViz alike"
    assert process.interrupt() == 0
    assert "Traceback" not in process.output()


def test_the_demo_runs_several_nodes_in_one_process(other_process: Any, call: Any, wait_for: Any) -> None:
    process = other_process(*FOURD, "bringup", "demo", "--set", "real_time_factor:=0.5")
    wait_for(lambda: "Control-C" in process.output() or process.process.poll() is not None, "the nodes")
    for node in ("/simulation", "/world_model"):
        assert f"{node}: active" in process.output()
        assert state(call, node) == State.PRIMARY_STATE_ACTIVE
    assert parameter(call, "/world_model", "use_sim_time").bool_value
    check_printed_doctor(other_process, process.output())
    assert process.terminate() == 0


def test_a_node_that_cannot_start_ends_the_graph_with_status_1(other_process: Any, wait_for: Any) -> None:
    process = other_process(*FOURD, "bringup", "demo", "--set", "bag:=no_such_bag")
    assert process.process.wait(240) == 1
    assert "no_such_bag" in process.output()
    assert "Traceback" not in process.output()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "colour:=red"], "no argument"),
        (["--set", "seed:=many"], "needed: int"),
        (["--set", "camera_driver.rate:=1"], "no node"),
        (["--log-level", "loud"], "choose one of"),
        (["--set", "namespace:=a", "--namespace", "b"], "given twice"),
    ],
)
def test_choices_that_mean_nothing_are_refused(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bringup", "simulation", *words]) == 1
    assert message in capsys.readouterr().err


def test_a_remapping_that_is_none_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["bringup", "simulation", "--remap", "front/image"])
    assert "is not like" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_the_arguments_of_a_graph_are_listed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bringup", name, "--list"]) == 0
    listed = capsys.readouterr().out
    assert all(argument in listed for argument in GRAPHS[name].all_arguments)
