"""``fourd doctor``: of this machine, of crippled ones, and of a live system in another process."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fourd_ros import cli, machine
from fourd_ros.errors import InvalidParameter
from fourd_ros.machine import Finding, Status, examine, pip_install

HERE = Path(__file__).resolve().parent


def _find(findings: list[Finding], subject: str) -> Finding:
    return next(finding for finding in findings if finding.subject == subject)


def test_nothing_is_missing_where_the_tests_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert {"Python", "ROS 2", "RMW", "interfaces", "libraries", "GPU", "transport", "OpenGL", "disk"} <= {
        finding["subject"] for finding in report["findings"]
    }


def test_the_table_says_how_to_get_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    present = machine._installed
    monkeypatch.setattr(machine, "_installed", lambda name: name not in ("fourd_msgs", "scipy") and present(name))
    assert cli.main(["doctor"]) == 1
    table = capsys.readouterr().out
    assert "MISSING  interfaces" in table
    assert "-> make setup" in table
    assert f"-> {pip_install('scipy')}" in table
    assert table.rstrip().endswith("2 missing")


def test_without_ros_the_report_still_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    present = machine._installed
    monkeypatch.setattr(machine, "_installed", lambda name: name != "rclpy" and present(name))
    finding = _find(examine(transport={}), "ROS 2")
    assert finding.status is Status.MISSING
    assert "make setup" in finding.remedy


def test_a_middleware_that_is_not_installed_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_tomorrow_cpp")
    assert _find(examine(transport={}), "RMW").status is Status.MISSING


def test_without_a_gl_library_rendering_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.util.find_library", lambda name: None)
    assert "libosmesa6" in _find(examine(transport={}), "OpenGL").remedy


@pytest.mark.parametrize(("file", "status"), [("profile.xml", Status.OK), ("other.xml", Status.MISSING)])
def test_the_transport_profile_has_to_exist(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, status: Status
) -> None:
    (tmp_path / "profile.xml").write_text("<dds/>")
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", str(tmp_path / file))
    assert _find(examine(transport={}), "transport").status is status


def test_an_unset_profile_is_only_a_note() -> None:
    finding = _find(examine(transport={"FASTDDS_DEFAULT_PROFILES_FILE": "/a.xml"}), "transport")
    assert finding.status is Status.NOTE
    assert finding.remedy == "export FASTDDS_DEFAULT_PROFILES_FILE=/a.xml"


def test_a_missing_extra_is_only_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    present = machine._installed
    monkeypatch.setattr(machine, "_installed", lambda name: name != "mujoco" and present(name))
    finding = _find(examine(transport={}), "extra [sim]")
    assert finding.status is Status.NOTE
    assert finding.remedy == pip_install("mujoco")


def test_remedies_work_in_this_environment_and_keep_to_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(machine.CHECKOUT)
    monkeypatch.setattr(sys, "executable", str(machine.CHECKOUT / ".venv" / "bin" / "python"))
    assert pip_install("onnxruntime") == ".venv/bin/python -m pip install -c constraints.txt onnxruntime"
    assert not any("fourd_ros" in finding.remedy for finding in examine(transport={}))


@pytest.fixture(scope="module")
def live_robot() -> Iterator[None]:
    """Another process that publishes."""
    process = subprocess.Popen([sys.executable, str(HERE / "live_robot.py")], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("ready")
    yield
    process.terminate()
    process.wait(240)


def _topics(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    status = cli.main(["doctor", "--topics", "--json", *words])
    report = json.loads(capsys.readouterr().out)
    return status, {finding["subject"]: finding for finding in report["findings"]}


def test_a_live_robot_is_understood(live_robot: None, capsys: pytest.CaptureFixture[str]) -> None:
    status, found = _topics(capsys, "--cameras", "front", "--namespace", "/good", "--seconds", "20")
    bad = {subject: finding["detail"] for subject, finding in found.items() if finding["status"] != "ok"}
    assert bad == {"/clock": "2 publishers: /one_clock, /other_clock"}
    assert status == 1
    assert found["camera front"]["detail"] == "64 x 48, frame front_optical, connected to base"
    assert found["robot"]["detail"] == "stick: 1 joints, root base"


def test_what_is_wrong_on_a_live_robot_is_named(
    live_robot: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parameters = tmp_path / "robot.yaml"
    parameters.write_text("/**/world_model: {ros__parameters: {cameras: [front], image_reliability: reliable}}")
    status, found = _topics(capsys, "--params-file", str(parameters), "--namespace", "/bad", "--seconds", "3")
    assert status == 1
    image = found["/bad/front/image"]
    assert image["detail"] == "nobody publishes sensor_msgs/msg/Image here"
    assert "front/image:=" in image["remedy"]
    assert "/bad/cam/color/image_raw" in image["remedy"]
    assert "/bad/front/depth" not in image["remedy"]
    assert "QoS of live_robot" in found["/bad/front/depth"]["detail"]
    assert found["/bad/front/depth"]["remedy"] == "set image_reliability: best_effort"
    assert "publishes std_msgs/msg/String, needed is sensor_msgs/msg/JointState" in found["/bad/joint_states"]["detail"]
    assert found["robot"]["status"] == "missing"


def test_a_camera_that_tf_does_not_know_is_named(
    live_robot: None, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    parameters = tmp_path / "robot.yaml"
    parameters.write_text("world_model: {ros__parameters: {cameras: [front], fixed_frame: base, use_depth: false}}")
    remaps = ["--remap", "front/camera_info:=/bad/front/camera_info"]
    _, found = _topics(capsys, "--params-file", str(parameters), "--namespace", "/good", "--seconds", "20", *remaps)
    assert found["camera front"]["status"] == "missing"
    assert "nowhere" in found["camera front"]["detail"]


@pytest.mark.parametrize("text", ["- 1", "world_model: 3", "{", "world_model: {parameters: {}}"])
def test_a_malformed_parameter_file_is_a_typed_error(tmp_path: Path, text: str) -> None:
    from fourd_ros.nodes.live_inputs import settings_from

    (tmp_path / "p.yaml").write_text(text)
    with pytest.raises(InvalidParameter):
        settings_from(tmp_path / "p.yaml", [])


def test_the_examples_of_the_help_are_valid() -> None:
    from fourd_ros.commands import doctor

    for example in doctor.EXAMPLES:
        words = example.split(" | ")[0].split()[1:]
        assert cli.build_parser("doctor").parse_args(words).noun == "doctor"
