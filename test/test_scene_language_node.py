"""The scene language node over its topics and services."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fourd_msgs.msg import SceneObjectArray
from fourd_msgs.srv import QueryScene
from geometry_msgs.msg import PoseStamped
from language_rig import HEIGHT, SEEN, WIDTH, camera, model_folder, picture
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage

from fourd_ros.bridge.cameras import camera_from_info, camera_to_info
from fourd_ros.bridge.clouds import read_cloud
from fourd_ros.bridge.images import array_to_image, image_to_array
from fourd_ros.bridge.qos import RESULT, transform_qos
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp, stamp_to_ns
from fourd_ros.client import QueryFailed, SceneLanguageClient, ServerUnavailable
from fourd_ros.geometry.transforms import from_parts, from_quaternion, rotation_about
from fourd_ros.nodes.map_anchor import T_BODY_OPTICAL
from fourd_ros.nodes.scene_language import SceneLanguageNode

FRAME, NAME = "eye_optical_frame", "scene_language"
NS = 1_000_000_000
START_NS, PERIOD_NS = 1_700_000_000 * NS, NS // 10
EVERYTHING, NOTHING = 1e-6, 1.0
"""Thresholds: what the networks here say means nothing, but is above the one and below the other."""

Request, Response = QueryScene.Request, QueryScene.Response


class Stage:
    """A camera, and who listens to what is made of it."""

    def __init__(self, client: Node, node: SceneLanguageNode, wait_for: Callable[..., Any]) -> None:
        self.client, self.node, self.wait_for = client, node, wait_for
        self._images = {name: client.create_publisher(Image, f"eye/{name}", RESULT) for name in ("image", "depth")}
        self._info = client.create_publisher(CameraInfo, "eye/camera_info", RESULT)
        self.transforms_out = client.create_publisher(TFMessage, "/tf", transform_qos())
        self.heard: dict[str, list[Any]] = {}
        for topic, kind in (
            ("pose", PoseStamped),
            ("points", PointCloud2),
            ("image", Image),
            ("depth", Image),
            ("camera_info", CameraInfo),
            ("found", SceneObjectArray),
            ("found/mask", Image),
        ):
            kept = self.heard[topic] = []
            client.create_subscription(kind, f"{NAME}/{topic}", kept.append, RESULT)
        self.transforms: list[Any] = []
        client.create_subscription(
            TFMessage, "/tf", lambda one: self.transforms.extend(one.transforms), transform_qos()
        )

    @property
    def poses(self) -> list[PoseStamped]:
        return self.heard["pose"]

    def show(self, number: int, *, stamp_ns: int | None = None, **changed: Any) -> None:
        """Publish one frame, its messages as `changed` says (None for none)."""
        header = make_header(START_NS + number * PERIOD_NS if stamp_ns is None else stamp_ns, FRAME)
        messages = {
            "info": camera_to_info(camera(), header),
            "image": array_to_image(picture(number), "rgb8", header),
            "depth": array_to_image(np.full((HEIGHT, WIDTH), 2.0, np.float32), "32FC1", header),
            **changed,
        }
        for name, message in messages.items():
            if message is not None:
                message.header = header
                (self._info if name == "info" else self._images[name]).publish(message)

    def play(self, frames: range, **options: Any) -> None:
        """Frame after frame, each when the one before was told of."""
        for number in frames:
            before = len(self.poses)
            self.show(number, **options)
            self.wait_for(lambda before=before: len(self.poses) > before, f"the pose of frame {number}")

    def complain(self, kind: str, show: Callable[[], None]) -> None:
        """Show something until the node counts an error of a kind."""
        before = self.node.counters[kind]
        show()
        self.wait_for(lambda: self.node.counters[kind] > before, kind)

    def last(self, topic: str) -> Any:
        """The message of the newest frame."""
        stamp = self.poses[-1].header.stamp
        heard = self.heard[topic]
        self.wait_for(lambda: heard and heard[-1].header.stamp == stamp, topic)
        return heard[-1]


StageMaker = Callable[..., Stage]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture
def make_stage(spin: Callable[..., Any], wait_for: Any, folder: Path) -> StageMaker:
    def make(**parameters: Any) -> Stage:
        client = spin(Node("asker"))
        values = {
            "autostart": False,
            "camera": "eye",
            "image_reliability": "reliable",
            "sync_slop": 0.0,
            "language_period": 0.0,
            "model": str(folder),
            **parameters,
        }
        node = SceneLanguageNode(parameter_overrides=[Parameter(key, value=value) for key, value in values.items()])
        spin(node)
        assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        made = Stage(client, node, wait_for)
        wait_for(
            lambda: (
                all(one.get_subscription_count() for one in (*made._images.values(), made._info))
                if parameters.get("use_depth")
                else made._images["image"].get_subscription_count() and made._info.get_subscription_count()
            ),
            "subscriptions",
        )
        wait_for(lambda: node._topics._pose.get_subscription_count(), "a listener")
        return made

    return make


def pose(message: Any) -> Any:
    at, turn = message.position, message.orientation
    return from_quaternion(np.array([at.x, at.y, at.z]), np.array([turn.x, turn.y, turn.z, turn.w]))


def ask(call: Callable[..., Any], text: str = "red mug", **fields: Any) -> Any:
    return call(QueryScene, f"{NAME}/query", Request(text=text, **fields))


def test_with_depth_everything_is_in_metres(make_stage: StageMaker, call: Callable[..., Any]) -> None:
    stage = make_stage(use_depth=True)
    stage.play(range(9))
    last = stage.poses[-1]
    assert last.header.frame_id == "map" and stamp_to_ns(last.header.stamp) == START_NS + 8 * PERIOD_NS
    np.testing.assert_allclose(pose(stage.poses[0].pose), T_BODY_OPTICAL, atol=1e-6)
    status = stage.node.status()
    assert status["metres_from"] == "depth" and stage.node.warning() == "" and status["frames_of_stream"] == 9
    assert {"geometry_ms", "language_ms", "tell_ms", "frame_ms"} <= set(status)

    cloud = stage.last("points")
    columns = read_cloud(cloud)
    assert cloud.header.frame_id == "map" and 0.9 * SEEN[0] * SEEN[1] < cloud.width <= SEEN[0] * SEEN[1]
    assert columns["confidence"].min() > 1 and columns["rgb"].std() > 10
    info, shown, depth = (stage.last(topic) for topic in ("camera_info", "image", "depth"))
    assert info.header.frame_id == shown.header.frame_id == depth.header.frame_id == FRAME
    assert (info.width, info.height) == (shown.width, shown.height) == (depth.width, depth.height) == SEEN[::-1]
    metres = image_to_array(depth)
    assert np.median(metres) == pytest.approx(2.0, rel=0.3)
    seen = camera_from_info(info)
    points = (seen.rays() * metres[..., None]).reshape(-1, 3)
    T_map_camera = pose(last.pose)
    in_map = points @ T_map_camera[:3, :3].T + T_map_camera[:3, 3]
    step = np.abs(in_map[None, :] - columns["points"][100:110, None]).max(axis=-1).min(axis=1)
    assert step.max() < 1e-3
    stage.wait_for(lambda: any(one.header.frame_id == "map" for one in stage.transforms), "TF")
    mine = [one for one in stage.transforms if one.header.frame_id == "map"]
    assert {one.child_frame_id for one in mine} == {FRAME}

    answer = ask(call, threshold=EVERYTHING, points=True, masks=True, max_objects=3)
    assert answer.error_code == Response.NONE and answer.found
    assert 0 < len(answer.objects) <= 3 and len(answer.masks) == len(answer.relevancy) == len(answer.objects)
    assert list(answer.relevancy) == sorted(answer.relevancy, reverse=True)
    for thing, mask in zip(answer.objects, answer.masks, strict=True):
        assert thing.labels == ["red mug"] and thing.header.frame_id == thing.points.header.frame_id == "map"
        assert (mask.width, mask.height) == (WIDTH, HEIGHT) and set(np.unique(image_to_array(mask))) <= {0, 255}
        assert mask.header.stamp == thing.last_seen == thing.points.header.stamp
        there = read_cloud(thing.points)["points"]
        centre = np.array([thing.pose.pose.position.x, thing.pose.pose.position.y, thing.pose.pose.position.z])
        assert (np.percentile(there, 4, axis=0) <= centre).all() and (centre <= np.percentile(there, 96, axis=0)).all()
    plain = ask(call, threshold=EVERYTHING)
    assert plain.found and not plain.masks and not plain.objects[0].points.width
    missing = ask(call, threshold=NOTHING, masks=True, points=True)
    assert missing.error_code == Response.NONE and not missing.found and not missing.objects and not missing.masks


def test_without_metres_it_is_said_and_nothing_is_called_metres(
    make_stage: StageMaker, call: Callable[..., Any]
) -> None:
    stage = make_stage()
    stage.play(range(8))
    assert {one.header.frame_id for one in stage.poses} == {"map_unscaled"}
    assert stage.last("points").header.frame_id == "map_unscaled"
    stage.last("image")
    assert not stage.heard["depth"] and not any(one.header.frame_id.startswith("map") for one in stage.transforms)
    assert stage.node.status()["metres_from"] == "unknown" and "map_unscaled" in stage.node.warning()
    assert ask(call, threshold=EVERYTHING).objects[0].header.frame_id == "map_unscaled"


def test_a_user_may_say_how_long_a_metre_is(make_stage: StageMaker) -> None:
    stage = make_stage(assumed_scale=0.5, publish_tf=False)
    stage.play(range(8))
    stage.last("depth")
    assert stage.poses[-1].header.frame_id == "map" and stage.node.status()["metres_from"] == "assumed"
    assert not any(one.header.frame_id == "map" for one in stage.transforms)


def test_a_camera_that_tf_knows_to_move_tells_metres(make_stage: StageMaker) -> None:
    stage = make_stage()
    turn = rotation_about((1.0, 0.0, 0.0), -1.2)
    stage.wait_for(lambda: stage.transforms_out.get_subscription_count() == 2, "listeners to TF")
    for number in range(16):
        at = from_parts(turn, [0.3 + 0.1 * number, -0.2, 1.1])
        transform = make_transform("base", FRAME, START_NS + number * PERIOD_NS, at)
        stage.transforms_out.publish(TFMessage(transforms=[transform]))
        stage.wait_for(lambda: FRAME in stage.node._transforms.frames(), "the tree")
        stage.play(range(number, number + 1))
    assert stage.node.status()["metres_from"] == "baselines" and stage.poses[-1].header.frame_id == "map"
    np.testing.assert_allclose(pose(stage.poses[0].pose)[:3, :3], turn, atol=1e-6)
    stage.wait_for(lambda: any(one.header.frame_id == "map" for one in stage.transforms), "TF")
    assert {one.child_frame_id for one in stage.transforms if one.header.frame_id == "map"} == {"base"}


def test_bad_frames_are_typed_errors_and_the_node_lives_on(make_stage: StageMaker) -> None:
    stage = make_stage(use_depth=True)
    stage.complain("missing_camera", lambda: stage.show(0, info=None))
    stage.play(range(1, 3))
    deep = array_to_image(np.full((HEIGHT, WIDTH), 900, np.uint16), "16UC1", make_header(0, FRAME))
    stage.complain("invalid_image", lambda: stage.show(3, image=deep))
    small = array_to_image(picture(4, width=40, height=30), "rgb8", make_header(0, FRAME))
    stage.complain("invalid_image", lambda: stage.show(4, image=small))
    blind = array_to_image(np.full((HEIGHT, WIDTH), np.nan, np.float32), "32FC1", make_header(0, FRAME))
    before = stage.node.counters["invalid_image"]
    stage.play(range(5, 6), depth=blind)
    assert stage.node.counters["invalid_image"] == before + 1
    grey = array_to_image(picture(6)[..., 0].copy(), "mono8", make_header(0, FRAME))
    stage.play(range(6, 7), image=grey)
    shown = image_to_array(stage.last("image"))
    assert (shown[..., 0] == shown[..., 2]).all()
    warped = camera_to_info(camera(), make_header(0, FRAME))
    warped.d = [0.1, 0.0, 0.0, 0.0, 0.0]
    stage.complain("invalid_camera", lambda: stage.show(7, info=warped))
    assert stage.node.counters["restarted"] == 0
    stage.play(range(8, 10))
    assert stage.node.counters["unexpected"] == 0


def test_another_resolution_or_a_jump_begins_a_new_stream(make_stage: StageMaker, call: Callable[..., Any]) -> None:
    stage = make_stage()
    stage.play(range(3))
    assert not np.allclose(pose(stage.poses[-1].pose), pose(stage.poses[0].pose), atol=1e-3)
    header = make_header(0, FRAME)
    other = {
        "info": camera_to_info(camera(width=60, height=60), header),
        "image": array_to_image(picture(3, width=60, height=60), "rgb8", header),
    }
    stage.play(range(3, 4), **other)
    stage.wait_for(lambda: stage.node.status()["frames_of_stream"] == 1, "the new stream")
    assert stage.node.counters["restarted"] == 1 and stage.node.status()["remembered_frames"] == 1
    np.testing.assert_allclose(pose(stage.poses[-1].pose)[:3, :3], T_BODY_OPTICAL[:3, :3], atol=1e-6)
    masks = ask(call, threshold=EVERYTHING, masks=True).masks
    assert {(mask.width, mask.height) for mask in masks} == {(60, 60)}
    stage.play(range(4, 5), stamp_ns=START_NS - 5 * NS, **other)
    assert stage.node.counters["stamps_went_back"] == 1 and stage.node.counters["restarted"] == 2
    stage.play(range(5, 6), stamp_ns=START_NS - 4 * NS, **other)
    assert call(Trigger, f"{NAME}/reset", Trigger.Request()).success
    stage.play(range(6, 7), stamp_ns=START_NS - 3 * NS, **other)
    assert stage.node.counters["restarted"] == 3


def test_without_calibration_frames_are_taken_where_that_is_wanted(make_stage: StageMaker) -> None:
    stage = make_stage(need_camera_info=False)
    stage.complain("invalid_image", lambda: stage.show(0, info=None, image=bayer()))
    stage.play(range(1, 3), info=None)
    assert camera_from_info(stage.last("camera_info")).K[0, 2] == SEEN[1] / 2
    stage.play(range(3, 4))
    assert stage.node.counters["restarted"] == 1
    assert camera_from_info(stage.last("camera_info")).K[0, 2] == pytest.approx((SEEN[1] - 1) / 2)


def bayer() -> Image:
    message = array_to_image(picture(0)[..., 0].copy(), "mono8", make_header(0, FRAME))
    message.encoding = "bayer_rggb8"
    return message


def test_bad_questions_get_a_typed_error_and_a_counter(make_stage: StageMaker, call: Callable[..., Any]) -> None:
    stage = make_stage(answer_megabytes=0.01)
    early = ask(call)
    assert early.error_code == Response.NO_OBSERVATION and "nothing was seen" in early.error_msg
    stage.play(range(4))
    at = [ns_to_stamp(START_NS + number * PERIOD_NS) for number in range(4)]
    cases: dict[str, tuple[dict[str, Any], int, str]] = {
        "empty": ({"text": ""}, Response.INVALID_TEXT, "empty"),
        "spaces": ({"text": " \n\t"}, Response.INVALID_TEXT, "empty"),
        "long": ({"text": "mug " * 2500}, Response.INVALID_TEXT, "10000 characters"),
        "backwards": ({"from_time": at[3], "to_time": at[1]}, Response.INVALID_TIME, "before it begins"),
        "earlier": ({"to_time": ns_to_stamp(NS)}, Response.NO_OBSERVATION, "4 frames"),
        "too much": ({"masks": True, "points": True, "threshold": EVERYTHING}, Response.TOO_LARGE, "answer_megabytes"),
        "above one": ({"threshold": 1.5}, Response.INVALID_THRESHOLD, "1.5"),
        "no number": ({"threshold": float("nan")}, Response.INVALID_THRESHOLD, "nan"),
    }
    for name, (fields, code, words) in cases.items():
        answer = ask(call, **fields)
        assert answer.error_code == code and words in answer.error_msg, name
        assert not answer.found and not answer.objects and not answer.masks, name
    counted = ("invalid_text", "invalid_time", "no_observation", "too_large", "invalid_threshold")
    assert [stage.node.counters[kind] for kind in counted] == [3, 1, 2, 1, 2]
    assert ask(call, text="a word nobody knows: zyxwv", threshold=EVERYTHING).found
    assert stage.node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert ask(call).error_code == Response.NOT_ACTIVE
    assert not call(Trigger, f"{NAME}/reset", Trigger.Request()).success
    assert stage.node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    assert ask(call).error_code == Response.NO_OBSERVATION
    assert stage.node.trigger_deactivate() == stage.node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS


def test_a_span_of_time_is_what_is_looked_at(make_stage: StageMaker, call: Callable[..., Any]) -> None:
    stage = make_stage(query_frames=2)
    stage.play(range(6))
    at = [ns_to_stamp(START_NS + number * PERIOD_NS) for number in range(6)]
    within = ask(call, threshold=EVERYTHING, from_time=at[1], to_time=at[3])
    seen = {stamp_to_ns(thing.last_seen) for thing in within.objects}
    assert START_NS + 3 * PERIOD_NS in seen and seen <= {START_NS + k * PERIOD_NS for k in (1, 3)}
    newest = ask(call, threshold=EVERYTHING, from_time=at[5])
    assert {stamp_to_ns(thing.last_seen) for thing in newest.objects} == {START_NS + 5 * PERIOD_NS}


def test_standing_texts_are_answered_in_every_frame_and_may_change(make_stage: StageMaker) -> None:
    stage = make_stage()
    stage.play(range(2))
    assert not stage.heard["found"]
    told = (stage.node._standing._found, stage.node._standing._mask)
    stage.wait_for(lambda: all(one.get_subscription_count() for one in told), "listeners")
    texts = ["red mug", "table"]
    assert all(one.successful for one in stage.node.set_parameters([Parameter("texts", value=texts)]))
    stage.play(range(2, 6))
    stage.last("found")

    def since(topic: str) -> list[Any]:
        """A frame before may still have been at work when the texts came."""
        return [one for one in stage.heard[topic] if stamp_to_ns(one.header.stamp) >= START_NS + 2 * PERIOD_NS]

    stage.wait_for(lambda: len(since("found/mask")) == 4, "masks")
    arrays, masks = since("found"), since("found/mask")
    assert len(arrays) == 4 and [one.header.stamp for one in arrays] == [one.header.stamp for one in masks]
    for array, mask in zip(arrays, masks, strict=True):
        assert mask.header.frame_id == FRAME and (mask.width, mask.height) == SEEN[::-1]
        there = {texts[number - 1] for number in np.unique(image_to_array(mask)) if number}
        labels = {label for thing in array.objects for label in thing.labels}
        assert there <= labels <= set(texts)
    stage.node.set_parameters([Parameter("texts", value=["", "table"])])
    stage.play(range(6, 7))
    stage.wait_for(lambda: stage.node.counters["invalid_text"], "the complaint")
    stage.node.set_parameters([Parameter("texts", value=["table"])])
    stage.play(range(7, 9))
    stage.last("found")
    assert stage.node.counters["unexpected"] == 0


def test_memory_stops_growing(make_stage: StageMaker, call: Callable[..., Any]) -> None:
    stage = make_stage(use_depth=True, cache_policy="budget", cache_tokens=40, memory_megabytes=1.0, texts=["table"])
    sizes = []
    for block in range(3):
        stage.play(range(block * 20, block * 20 + 20))
        assert ask(call, threshold=EVERYTHING).found
        status, live = stage.node.status(), stage.node._live
        assert live is not None
        sizes.append((live.byte_count, status["remembered_frames"], len(stage.node._memory), len(stage.node._times)))
    assert sizes[-1][:3] == sizes[-2][:3] and sizes[-1][1] < 20
    assert stage.node.status()["frames_of_stream"] == 60 and stage.node._times.maxlen == 100


def test_what_cannot_be_loaded_fails_to_configure(spin: Callable[..., Any], tmp_path: Path) -> None:
    values = {"autostart": False, "model": str(tmp_path / "nowhere")}
    node = SceneLanguageNode(parameter_overrides=[Parameter(key, value=value) for key, value in values.items()])
    spin(node)
    assert node.trigger_configure() == TransitionCallbackReturn.FAILURE and node.counters["unknown_model"] == 1


def test_a_model_without_language_tells_geometry(
    make_stage: StageMaker, call: Callable[..., Any], tmp_path: Path
) -> None:
    stage = make_stage(model=str(model_folder(tmp_path / "blind", language=False)), texts=["table"])
    stage.play(range(3))
    assert stage.last("points").width
    refused = ask(call)
    assert refused.error_code == Response.NO_OBSERVATION and "no language" in refused.error_msg
    assert stage.node.status()["remembered_frames"] == 0


def test_the_client_asks_and_hands_on_what_is_refused(make_stage: StageMaker) -> None:
    stage = make_stage()
    stage.play(range(3))
    client = SceneLanguageClient(stage.client)
    client.wait(timeout=60)
    found = client.find("red mug", threshold=EVERYTHING, max_objects=1, masks=True, points=True)
    assert found.found and len(found.objects) == len(found.masks) == 1 and found.objects[0].points.width
    assert not client.find("red mug", threshold=NOTHING).found
    with pytest.raises(QueryFailed, match="empty") as caught:
        client.find("")
    assert caught.value.code == Response.INVALID_TEXT
    client.destroy()
    lost = SceneLanguageClient(stage.client, name="nobody")
    with pytest.raises(ServerUnavailable, match="fourd bringup scene_language"):
        lost.wait(timeout=0.1)
    lost.destroy()
