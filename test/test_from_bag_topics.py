"""Which topic of a bag becomes which part of an episode."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hardware_bag import (
    IMAGE,
    NS,
    HardwareBag,
    assert_motion,
    calibration,
    depth_picture,
    header,
    new,
    numbers,
    posture,
    read,
    seconds,
)

from fourd_ros.bridge.episode_options import EpisodeOptions
from fourd_ros.errors import InvalidBag, InvalidConfig, InvalidInput


@pytest.fixture
def robot() -> HardwareBag:
    """Two seconds of a robot whose cameras are still to come."""
    return HardwareBag.of_robot(2.0)


def test_depth_is_optional_and_has_to_be_registered(robot: HardwareBag, tmp_path: Path) -> None:
    metres = np.linspace(0.5, 2.0, 48).reshape(6, 8).astype(np.float32)
    metres[0, 0] = np.nan
    robot.camera("front", 1.9)
    robot.camera("wrist", 1.9)
    for index in range(0, 19):
        if index != 4:
            robot.put("/front/depth", IMAGE, depth_picture(index / 10, "front_optical", metres), index / 10 + 0.05)
        robot.put("/wrist/depth", IMAGE, depth_picture(index / 10, "front_optical", metres), index / 10 + 0.05)
    (episode,), dropped = read(robot.write(tmp_path / "bag"))
    depth = episode.views["front"].depth
    assert depth is not None and np.array_equal(depth[0], metres, equal_nan=True)
    assert np.isnan(depth[4]).all() and dropped["missing_image"].what == "/front/depth"
    assert np.isnan(episode.views["wrist"].depth).all() and "registered" in dropped["invalid_image"].why
    (small,), _ = read(tmp_path / "bag", size=(4, 3), cameras=("front",))
    view = small.views["front"]
    assert view.rgb.shape[1:3] == (3, 4) == view.depth.shape[1:] and view.camera == episode.views[
        "front"
    ].camera.scaled(4, 3)


def test_drivers_names_and_compressed_images_are_understood(robot: HardwareBag, tmp_path: Path) -> None:
    import cv2

    millimetres = np.full((6, 8), 1234, np.uint16)

    def compressed(message: Any, index: int) -> Any:
        pixels = message.data.reshape(6, 8, 3)
        data = cv2.imencode(".png", pixels)[1]
        return new("sensor_msgs/msg/CompressedImage", header=message.header, format="png", data=data.ravel())

    robot.camera("front", 1.9, topic="/front/color/image_raw/compressed", edit=compressed, info=False)
    for index in range(19):
        t = index / 10
        robot.put("/front/color/camera_info", "sensor_msgs/msg/CameraInfo", calibration(t, "front"), t)
        data = np.concatenate([np.zeros(12, np.uint8), cv2.imencode(".png", millimetres)[1].ravel()])
        robot.put(
            "/front/aligned_depth_to_color/image_raw/compressedDepth",
            "sensor_msgs/msg/CompressedImage",
            new(
                "sensor_msgs/msg/CompressedImage",
                header=header(t, "front_optical"),
                format="16UC1; compressedDepth png",
                data=data,
            ),
            t + 0.04,
        )
    (episode,), dropped = read(robot.write(tmp_path / "bag"))
    assert dropped == {} and list(episode.views) == ["front_color"]
    assert numbers(episode, "front_color") == list(range(19))
    assert np.allclose(episode.views["front_color"].depth, 1.234)


def test_topics_are_renamed_when_asked(robot: HardwareBag, tmp_path: Path) -> None:
    robot.camera("front", 1.9, topic="/usb/rgb", info=False)
    robot.put("/usb/calibration", "sensor_msgs/msg/CameraInfo", calibration(1.8, "front"), 1.8)
    path = robot.write(tmp_path / "bag")
    with pytest.raises(InvalidBag, match="lacks a camera"):
        read(path)
    for name, view in (("/eye", "eye"), ("/left/eye", "left_eye"), ("", "camera")):
        renamed = {"/usb/rgb": f"{name}/image", "/usb/calibration": f"{name}/camera_info"}
        (episode,), _ = read(path, remaps=renamed)
        assert list(episode.views) == [view] and len(episode.times) == 19
    with pytest.raises(InvalidBag, match=r"no topic .'/nobody'"):
        read(path, remaps={"/nobody": "/eye/image"})


def trajectory(t: float, names: tuple[str, ...], points: dict[float, list[float]]) -> Any:
    duration = "builtin_interfaces/msg/Duration"
    return new(
        "trajectory_msgs/msg/JointTrajectory",
        header=header(t),
        joint_names=list(names),
        points=[
            new(
                "trajectory_msgs/msg/JointTrajectoryPoint",
                positions=np.array(row),
                velocities=np.zeros(0),
                accelerations=np.zeros(0),
                effort=np.zeros(0),
                time_from_start=new(duration, sec=int(time), nanosec=round(time % 1 * NS)),
            )
            for time, row in points.items()
        ],
    )


def test_commands_of_several_controllers_are_followed(robot: HardwareBag, tmp_path: Path) -> None:
    kind = "trajectory_msgs/msg/JointTrajectory"
    robot.put("/arm/joint_trajectory", kind, trajectory(0.5, ("a",), {1.0: [2.0]}), 0.5)
    robot.put("/hand/joint_trajectory", kind, trajectory(1.0, ("b",), {0.0: [7.0], 1.0: [8.0]}), 1.0)
    robot.camera("front", 1.9)
    (episode,), _ = read(robot.write(tmp_path / "bag"))
    start = float(posture(0.5)[0])
    expected = np.interp(seconds(episode), [0.5, 1.5], [start, 2.0])
    expected[:5] = np.nan
    assert np.allclose(episode.commanded[:, 0], expected, equal_nan=True, atol=0.011), "a joint sample is 20 ms apart"
    hand = np.interp(seconds(episode), [1.0, 2.0], [7.0, 8.0])
    hand[:10] = np.nan
    assert np.allclose(episode.commanded[:, 1], hand, equal_nan=True)


def test_set_points_and_actions_of_other_types(robot: HardwareBag, tmp_path: Path) -> None:
    for index, t in enumerate(np.arange(0.0, 2.0, 0.1)):
        target = new(
            "sensor_msgs/msg/JointState",
            header=header(t),
            name=["b", "a"],
            position=np.array([10.0 * t, t]),
            velocity=np.zeros(0),
            effort=np.zeros(0),
        )
        robot.put("/joint_command", "sensor_msgs/msg/JointState", target, t)
        layout = new("std_msgs/msg/MultiArrayLayout", dim=[], data_offset=0)
        data = np.array([float(index), np.nan if index == 4 else -1.0])
        array = new("std_msgs/msg/Float64MultiArray", layout=layout, data=data)
        robot.put("/policy", "std_msgs/msg/Float64MultiArray", array, t)
    kind = "trajectory_msgs/msg/JointTrajectory"
    robot.put("/plan", kind, trajectory(0.0, ("a", "b"), {0.0: [0.0, 1.0], 2.0: [2.0, 1.0]}), 0.0)
    robot.camera("front", 1.9)
    path = robot.write(tmp_path / "bag")
    (episode,), dropped = read(path, command_topics=("/joint_command",), action_topics=("/policy",))
    assert np.allclose(episode.commanded, np.stack([seconds(episode), 10.0 * seconds(episode)], axis=1))
    assert episode.action_names == ("0", "1")
    assert episode.actions[:, 0].tolist() == [0, 1, 2, 3, 3, *range(5, 19)]
    assert dropped["invalid_input"].count == 1 and "not finite" in dropped["invalid_input"].why
    (episode,), _ = read(path, action_topics=("/plan",))
    assert episode.action_names == ("a", "b")
    assert np.allclose(episode.actions, np.stack([seconds(episode), np.ones(19)], axis=1))


def test_one_topic_may_have_several_uses(robot: HardwareBag, tmp_path: Path) -> None:
    kind = "trajectory_msgs/msg/JointTrajectory"
    robot.put("/arm/joint_trajectory", kind, trajectory(0.0, ("a",), {0.0: [0.0], 2.0: [2.0]}), 0.0)
    robot.camera("front", 1.9)
    path = robot.write(tmp_path / "bag")
    (episode,), _ = read(path, action_topics=("/arm/joint_trajectory", "/joint_states"))
    assert np.allclose(episode.commanded[:, 0], seconds(episode))
    assert np.array_equal(episode.actions[:, 0], episode.commanded[:, 0])
    assert episode.action_names == ("arm/joint_trajectory:a", "joint_states:a", "joint_states:b")
    assert_motion(episode)


def test_actions_hold_until_the_next(robot: HardwareBag, tmp_path: Path) -> None:
    vector = "geometry_msgs/msg/Vector3"
    for t in (0.25, 1.05):
        turned = new(vector, x=0.0, y=0.0, z=-t)
        twist = new("geometry_msgs/msg/Twist", linear=new(vector, x=t, y=0.0, z=0.0), angular=turned)
        robot.put("/cmd_vel", "geometry_msgs/msg/Twist", twist, t)
    robot.put("/grip", "std_msgs/msg/Float64", new("std_msgs/msg/Float64", data=0.5), 0.0)
    robot.camera("front", 1.9)
    path = robot.write(tmp_path / "bag")
    (episode,), dropped = read(path, action_topics=("/cmd_vel", "/grip"))
    assert episode.action_names[0] == "cmd_vel:linear.x" and episode.action_names[-1] == "grip:data"
    assert dropped["no_observation"].count == 3 and "no action" in dropped["no_observation"].why
    assert episode.actions[:, 0].tolist() == [0.25] * 8 + [1.05] * 8
    assert np.array_equal(episode.actions[:, 5], -episode.actions[:, 0]) and (episode.actions[:, 6] == 0.5).all()
    with pytest.raises(InvalidInput, match="actions of type 'tf2_msgs/msg/TFMessage'"):
        read(path, action_topics=("/tf",))


def test_instructions_and_splits_by_a_topic(robot: HardwareBag, tmp_path: Path) -> None:
    for t, text in ((0.05, "take the cup"), (0.65, ""), (0.85, "take the cup"), (1.25, "wipe")):
        robot.text("/task", text, t)
    robot.text("/note", "only once", 1.8)
    robot.camera("front", 1.9)
    path = robot.write(tmp_path / "bag")
    episodes, dropped = read(path, split_topic="/task", instruction_topic="/task")
    assert [episode.instructions for episode in episodes] == [("take the cup",), ("take the cup",), ("wipe",)]
    assert [len(episode.times) for episode in episodes] == [6, 4, 6]
    assert dropped["between_episodes"].count == 3
    (episode,), _ = read(path, instruction_topic="/note")
    assert episode.instructions == ("only once",)
    (episode,), _ = read(path, instruction_topic="/task")
    assert episode.instructions == ("take the cup", "wipe")
    (episode,), _ = read(path, instruction="stack")
    assert episode.instructions == ("stack",)
    for t, number in ((0.0, 0), (0.95, 1)):
        robot.put("/count", "std_msgs/msg/Int32", new("std_msgs/msg/Int32", data=number), t)
    for t, on in ((0.45, True), (1.15, False), (1.25, True)):
        robot.put("/recording", "std_msgs/msg/Bool", new("std_msgs/msg/Bool", data=on), t)
    path = robot.write(tmp_path / "more")
    assert [len(episode.times) for episode in read(path, split_topic="/count")[0]] == [10, 9]
    assert [len(episode.times) for episode in read(path, split_topic="/recording")[0]] == [7, 6]
    with pytest.raises(InvalidBag, match="needed: std_msgs/msg/String"):
        read(path, instruction_topic="/tf")
    with pytest.raises(InvalidConfig, match="not by both"):
        EpisodeOptions(instruction="a", instruction_topic="/task")
