"""The scene reconstruction node over its topics and services."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chat_rig import Asked, endpoint, says
from fourd_msgs.msg import SceneObjectArray
from fourd_msgs.srv import MapFile
from live_rig import NAMES, NS, START_NS, Stream, stream
from marks_rig import looks_and_says
from nav_msgs.msg import Odometry
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.clouds import read_cloud
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.qos import LATCHED, RESULT, static_transform_qos, transform_qos
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, stamp_to_ns
from fourd_ros.geometry.transforms import from_quaternion, rotation_about
from fourd_ros.nodes.map_anchor import T_BODY_OPTICAL
from fourd_ros.nodes.scene_reconstruction import SceneReconstructionNode
from fourd_ros.reconstruction.naming.naming_endpoint import KEY

FRAME = "eye_optical_frame"


class Stage:
    """A camera that moves, and who listens to what is made of it."""

    def __init__(self, client: Node, node: SceneReconstructionNode, wait_for: Callable[..., Any], seen: Stream) -> None:
        self.client, self.node, self.wait_for, self.stream = client, node, wait_for, seen
        self._images = {
            name: client.create_publisher(Image, f"eye/{name}", RESULT) for name in ("image", "depth", "masks")
        }
        self._info = client.create_publisher(CameraInfo, "eye/camera_info", RESULT)
        self.static = client.create_publisher(TFMessage, "/tf_static", static_transform_qos())
        self.odometry: list[Odometry] = []
        self.objects: list[SceneObjectArray] = []
        self.clouds: list[PointCloud2] = []
        self.maps: list[PointCloud2] = []
        self.transforms: list[Any] = []
        for kept, kind, topic, qos in (
            (self.odometry, Odometry, "odometry", RESULT),
            (self.objects, SceneObjectArray, "objects", RESULT),
            (self.clouds, PointCloud2, "objects/points", RESULT),
            (self.maps, PointCloud2, "static_points", LATCHED),
        ):
            client.create_subscription(kind, f"scene_reconstruction/{topic}", kept.append, qos)
        client.create_subscription(
            TFMessage, "/tf", lambda one: self.transforms.extend(one.transforms), transform_qos()
        )

    def show(self, frame: int, *, later: float = 0.0, **changed: Any) -> None:
        """Publish one frame, its messages as `changed` says (None for none)."""
        seen = self.stream
        stamp_ns = seen.stamp(frame) + round(later * NS)
        header = make_header(stamp_ns, FRAME)
        messages = {
            "info": camera_to_info(seen.camera, header),
            "image": array_to_image(seen.rgb[frame], "rgb8", header),
            "depth": array_to_image(seen.depth[frame], "32FC1", header),
            "masks": array_to_image(seen.masks[frame], "mono8", header),
            **changed,
        }
        for name, message in messages.items():
            if message is not None:
                (self._info if name == "info" else self._images[name]).publish(message)

    def play(self, frames: range, **options: Any) -> None:
        """Frame after frame, each when the one before was told of."""
        for frame in frames:
            before = len(self.odometry)
            self.show(frame, **options)
            self.wait_for(lambda before=before: len(self.odometry) > before, f"odometry of frame {frame}")

    def complain(self, kind: str, show: Callable[[], None]) -> None:
        """Show something until the node counts an error of a kind."""
        before = self.node.counters[kind]
        show()
        self.wait_for(lambda: self.node.counters[kind] > before, kind)


StageMaker = Callable[..., Stage]


@pytest.fixture
def make_stage(spin: Callable[..., Any], wait_for: Any, tmp_path: Path) -> StageMaker:
    def make(seen: Stream | None = None, **parameters: Any) -> Stage:
        client = spin(Node("asker"))
        values = {
            "autostart": False,
            "camera": "eye",
            "image_reliability": "reliable",
            "map_root": str(tmp_path / "maps"),
            "map_period": 0.05,
            "voxel_size": 0.05,
            "sync_slop": 0.0,
            **parameters,
        }
        overrides = [Parameter(key, value=value) for key, value in values.items()]
        node = SceneReconstructionNode(parameter_overrides=overrides)
        spin(node)
        assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        made = Stage(client, node, wait_for, seen or stream())
        wait_for(
            lambda: all(one.get_subscription_count() for one in (made._images["image"], made._info)), "subscriptions"
        )
        wait_for(lambda: made.node._topics._odometry.get_subscription_count(), "a listener")
        return made

    return make


@pytest.fixture
def stage(make_stage: StageMaker) -> Stage:
    return make_stage()


def pose(message: Any) -> Any:
    at, turn = message.position, message.orientation
    return from_quaternion(np.array([at.x, at.y, at.z]), np.array([turn.x, turn.y, turn.z, turn.w]))


def test_a_scene_is_told_of_with_the_stamps_of_its_frames(stage: Stage) -> None:
    seen: Stream = stage.stream
    stage.play(range(len(seen)))
    last = stage.odometry[-1]
    assert last.header.frame_id == "map" and last.child_frame_id == FRAME
    assert [stamp_to_ns(one.header.stamp) for one in stage.odometry] == [seen.stamp(f) for f in range(len(seen))]
    truth = T_BODY_OPTICAL @ seen.T_world_camera
    found = np.stack([pose(one.pose.pose) for one in stage.odometry])
    assert np.linalg.norm(found[:, :3, 3] - truth[:, :3, 3], axis=1).max() < 0.07
    assert np.linalg.eigvalsh(last.pose.covariance.reshape(6, 6)).min() > -1e-12
    stage.wait_for(lambda: stage.objects[-1].header.stamp == last.header.stamp, "objects of the last frame")
    ids = {thing.id for array in stage.objects for thing in array.objects}
    assert ids == {"object_1"}
    thing = stage.objects[-1].objects[0]
    assert thing.dynamic and thing.header.frame_id == "map" and thing.header.stamp == last.header.stamp
    true_speed = np.linalg.norm(seen.T_world_object[-1, :3, 3] - seen.T_world_object[-7, :3, 3]) * 5
    speed = thing.twist.twist.linear
    assert np.linalg.norm([speed.x, speed.y, speed.z]) == pytest.approx(true_speed, rel=0.25)
    stage.wait_for(lambda: stage.clouds and stage.clouds[-1].header.stamp == last.header.stamp, "the cloud")
    assert set(read_cloud(stage.clouds[-1])["label"]) == {17}
    stage.wait_for(lambda: stage.maps and stage.maps[-1].width > 500, "a map")
    assert stage.maps[-1].header.frame_id == "map" and set(read_cloud(stage.maps[-1])["label"]) == {1}
    mine = [one for one in stage.transforms if one.header.frame_id == "map"]
    assert mine and {one.child_frame_id for one in mine} == {FRAME}
    status = stage.node.status()
    assert {"track_ms", "pose_ms", "objects_ms", "map_ms", "frame_ms", "voxels"} <= set(status)


def test_the_map_goes_above_the_root_of_the_cameras_tree(stage: Stage) -> None:
    T_base_camera = np.eye(4)
    T_base_camera[:3, :3] = rotation_about((1.0, 0.0, 0.0), -1.2)
    T_base_camera[:3, 3] = 0.3, -0.2, 1.1
    stage.static.publish(
        TFMessage(
            transforms=[
                make_transform("base", "mast", START_NS, np.eye(4)),
                make_transform("mast", FRAME, START_NS, T_base_camera),
            ]
        )
    )
    stage.wait_for(lambda: stage.node._transforms.ancestors(FRAME) == ("mast", "base"), "the tree")
    stage.play(range(12))
    first = pose(stage.odometry[0].pose.pose)
    assert np.allclose(first, T_base_camera, atol=1e-6)
    stage.wait_for(lambda: any(one.header.frame_id == "map" for one in stage.transforms), "TF")
    mine = [one for one in stage.transforms if one.header.frame_id == "map"]
    assert {one.child_frame_id for one in mine} == {"base"}


def test_a_bag_that_starts_over_begins_a_new_path(stage: Stage) -> None:
    stage.play(range(0, 10))
    there = pose(stage.odometry[-1].pose.pose)
    stage.show(0, later=-5.0)
    stage.wait_for(lambda: stamp_to_ns(stage.odometry[-1].header.stamp) < START_NS, "the new passage")
    assert np.allclose(pose(stage.odometry[-1].pose.pose), T_BODY_OPTICAL, atol=1e-6)
    assert not np.allclose(there, T_BODY_OPTICAL, atol=1e-3)
    assert stage.node.counters["stamps_went_back"] == 1 and stage.node.counters["restarted"] == 1
    stage.play(range(0, 3), later=100.0)
    assert stage.node.counters["restarted"] == 2


def test_bad_frames_are_typed_errors_and_the_node_lives_on(stage: Stage) -> None:
    seen = stage.stream
    header = make_header(START_NS - NS, FRAME)
    stage.complain("missing_camera", lambda: stage.show(0, later=-100.0, info=None))
    stage.play(range(0, 3))
    wrong = array_to_image(seen.depth[3], "32FC1", make_header(seen.stamp(3), FRAME))
    stage.complain("invalid_image", lambda: stage.show(3, image=wrong))
    small = array_to_image(seen.rgb[3, ::2, ::2], "rgb8", make_header(seen.stamp(4), FRAME))
    stage.complain("invalid_image", lambda: stage.show(4, image=small))
    broken = array_to_image(seen.rgb[3], "rgb8", header)
    broken.encoding = "bayer_rggb8"
    stage.complain("invalid_image", lambda: stage.show(4, image=broken))
    blind = array_to_image(np.full_like(seen.depth[5], np.nan), "32FC1", make_header(seen.stamp(5), FRAME))
    before = stage.node.counters["invalid_image"]
    stage.play(range(5, 6), depth=blind)
    stage.wait_for(lambda: stage.node.counters["invalid_image"] == before + 1, "the complaint")
    stage.play(range(6, 9))
    assert stage.node.counters["unexpected"] == 0


def test_maps_are_saved_and_loaded_below_one_folder(stage: Stage, call: Callable[..., Any], tmp_path: Path) -> None:
    def ask(what: str, name: str, *, overwrite: bool = False) -> Any:
        return call(MapFile, f"scene_reconstruction/{what}_map", MapFile.Request(name=name, overwrite=overwrite))

    Response = MapFile.Response
    assert ask("save", "room").error_code == Response.NOT_ACTIVE
    stage.play(range(0, 8))
    saved = ask("save", "room")
    assert saved.error_code == Response.NONE and saved.voxels > 500 and (tmp_path / "maps" / "room.npz").is_file()
    assert ask("save", "room").error_code == Response.ALREADY_EXISTS
    assert ask("save", "room", overwrite=True).error_code == Response.NONE
    assert ask("save", "../room").error_code == Response.PATH_NOT_ALLOWED
    assert ask("load", "cellar").error_code == Response.INVALID_CLOUD
    assert call(Trigger, "scene_reconstruction/reset", Trigger.Request()).success
    stage.play(range(0, 1), later=3.0)
    assert len(stage.node._scene.map) == 0  # type: ignore[union-attr]
    loaded = ask("load", "room")
    assert loaded.error_code == Response.NONE and loaded.voxels == saved.voxels
    assert stage.node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert ask("save", "room").error_code == Response.NOT_ACTIVE
    assert not call(Trigger, "scene_reconstruction/reset", Trigger.Request()).success
    assert stage.node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS


def test_a_model_names_the_objects_while_frames_go_on(make_stage: StageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv(KEY, "secret")
    seen, asked, gate = stream(30, moving=2, seed=4), Asked(), threading.Event()
    right = looks_and_says(asked, seen.things)

    def slow(request: BaseHTTPRequestHandler) -> None:
        gate.wait(20.0)
        right(request)

    with endpoint(says("not now", status=403), slow, asked=asked) as (url, _):
        stage = make_stage(seen, use_masks=True, vlm_url=url, vlm_model="looker", vlm_period=0.1)
        stage.play(range(len(seen)))  # with a question that is refused, and one that is open
        assert asked.bodies[0]["model"] == "looker" and asked.keys[0] == "Bearer secret"
        names = {label for array in stage.objects for thing in array.objects for label in thing.labels}
        assert names and all("object" in name for name in names)
        gate.set()
        for later in range(1, 100):
            stage.play(range(len(seen) - 1, len(seen)), later=later / 30)
            if stage.node.status()["objects_named"] == 2:
                break
        stage.wait_for(lambda: {x for one in stage.objects[-1].objects for x in one.labels} == set(NAMES[:2]), "names")
    status = stage.node.status()
    assert status["vlm_endpoint_failed"] == status["vlm_answered"] == 1 and status["vlm_asked"] == 2
    assert "403" in str(status["vlm_problem"])
    things = stage.objects[-1].objects
    R = T_BODY_OPTICAL[:3, :3].T
    found = {thing.labels[0]: seen.name_of(len(seen) - 1, R @ pose(thing.pose.pose)[:3, 3]) for thing in things}
    assert found == {name: name for name in NAMES[:2]}


def test_an_address_that_is_none_is_told(spin: Callable[..., Any]) -> None:
    node = SceneReconstructionNode(
        parameter_overrides=[Parameter("autostart", value=False), Parameter("vlm_url", value="ftp://there")]
    )
    spin(node)
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert node.trigger_activate() == TransitionCallbackReturn.FAILURE and node.counters["invalid_config"] == 1
