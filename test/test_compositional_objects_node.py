"""The compositional objects node over its topics and its action."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import filmed_rig
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from filmed_rig import BALLS, CAMERA, PARTS, film
from fourd_msgs.action import ReconstructObjects
from fourd_msgs.msg import SceneObjectArray
from rclpy.action import ActionClient
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.object_meshes import mesh_from_message
from fourd_ros.bridge.qos import BURST, LATCHED, RESULT, static_transform_qos
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, ns_to_stamp, seconds_to_duration, stamp_to_ns
from fourd_ros.client import CompositionalObjectsClient
from fourd_ros.compositional.object_colours import object_colour
from fourd_ros.geometry.transforms import from_rpy
from fourd_ros.nodes.compositional_objects import CompositionalObjectsNode

NS = 1_000_000_000
START = 1_700_000_000 * NS
Result, Feedback = ReconstructObjects.Result, ReconstructObjects.Feedback
QUICK: dict[str, Any] = {
    "autostart": False,
    "image_reliability": "reliable",
    "use_depth": True,
    "sync_slop": 0.0,
    "steps": 2,
    "guidance": 1.0,
    "resolution": 32,
    "max_faces": 100,
    "kept_frames": 6,
    "max_frames": 4,
    "playback_period": 0.02,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filmed_rig.write(tmp_path_factory.mktemp("models") / "balls")


class Stage:
    """A camera before two balls, and who asks."""

    def __init__(self, client: Node, node: CompositionalObjectsNode, wait_for: Callable[..., Any]) -> None:
        self.client, self.node, self.wait_for = client, node, wait_for
        self.rgb, self.numbers, self.depth = film(6)
        self._publishers = {
            name: client.create_publisher(kind, f"camera/{name}", RESULT)
            for name, kind in (("image", Image), ("depth", Image), ("masks", Image), ("camera_info", CameraInfo))
        }
        self.tf = client.create_publisher(TFMessage, "/tf_static", static_transform_qos())
        self.action = ActionClient(
            client, ReconstructObjects, "compositional_objects/reconstruct_objects", feedback_sub_qos_profile=BURST
        )
        self.objects: list[SceneObjectArray] = []
        self.markers: list[MarkerArray] = []
        client.create_subscription(SceneObjectArray, "compositional_objects/objects", self.objects.append, LATCHED)
        client.create_subscription(MarkerArray, "compositional_objects/markers", self.markers.append, LATCHED)

    def wait_for_listeners(self, **asked: bool) -> None:
        """Until the node hears all that it has asked for."""
        heard = [one for name, one in self._publishers.items() if asked.get(name, True)]
        self.wait_for(lambda: all(one.get_subscription_count() for one in heard), "listeners")

    def show(self, frame: int, *, later: int = 0, **changed: Any) -> None:
        """Publish one frame, its messages as `changed` says (None for none)."""
        header = make_header(START + frame * NS + later, "eye")
        messages = {
            "camera_info": camera_to_info(CAMERA, header),
            "image": array_to_image(self.rgb[frame], "rgb8", header),
            "depth": array_to_image(self.depth[frame], "32FC1", header),
            "masks": array_to_image(self.numbers[frame], "mono8", header),
        }
        for name, message in messages.items():
            if changed.get(name, message) is not None:
                changed_message = changed.get(name, message)
                self._publishers[name].publish(
                    changed_message
                    if not isinstance(changed_message, np.ndarray)
                    else array_to_image(changed_message, message.encoding, header)
                )

    def play(self, frames: range, **changed: Any) -> None:
        """Frame after frame, each once, and until the node keeps it."""
        for frame in frames:
            stamp_ns = START + frame * NS
            self.show(frame, **changed)
            self.wait_for(
                lambda stamp_ns=stamp_ns: any(one.stamp_ns == stamp_ns for one in self.node._ring._frames),
                f"frame {frame}",
            )

    def send(self, *, feedback: Callable[[Any], None] | None = None, **goal: Any) -> Any:
        """The handle of an accepted goal."""
        assert self.action.wait_for_server(timeout_sec=120)
        sent = self.action.send_goal_async(ReconstructObjects.Goal(**goal), feedback_callback=feedback)
        self.wait_for(sent.done, "acceptance")
        assert sent.result().accepted
        return sent.result()

    def ask(self, **goal: Any) -> tuple[Any, int]:
        """Result and status."""
        answer = self.send(**goal).get_result_async()
        self.wait_for(answer.done, "a result")
        return answer.result().result, answer.result().status

    def refused(self, error: str, text: str, **goal: Any) -> None:
        """A goal ends with an error that is counted."""
        before = self.node.counters[error.lower()]
        result, status = self.ask(**goal)
        assert status == GoalStatus.STATUS_ABORTED, result.error_msg
        assert result.error_code == getattr(Result, error), result.error_msg
        assert text in result.error_msg
        assert self.node.counters[error.lower()] == before + 1


StageMaker = Callable[..., Stage]


@pytest.fixture
def make_stage(spin: Callable[..., Any], model: Path, wait_for: Any) -> StageMaker:
    def make(**parameters: Any) -> Stage:
        client = spin(Node("asker"))
        values = {**QUICK, "model": str(model), "use_masks": True, **parameters}
        node = CompositionalObjectsNode(
            parameter_overrides=[Parameter(key, value=value) for key, value in values.items()]
        )
        spin(node)
        assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
        stage = Stage(client, node, wait_for)
        stage.wait_for_listeners(masks=values["use_masks"], depth=values["use_depth"])
        return stage

    return make


def position(thing: Any) -> np.ndarray:
    place = thing.pose.pose.position
    return np.array([place.x, place.y, place.z])


def test_objects_stand_where_the_camera_sees_them_over_time(make_stage: StageMaker) -> None:
    stage = make_stage()
    stage.play(range(3))
    told: list[Any] = []
    answer = stage.send(last_frames=3, feedback=lambda one: told.append(one.feedback)).get_result_async()
    stage.wait_for(answer.done, "a result")
    result = answer.result().result
    assert result.error_code == Result.NONE and answer.result().status == GoalStatus.STATUS_SUCCEEDED
    assert [stamp_to_ns(one.header.stamp) for one in result.frames] == [START + frame * NS for frame in range(3)]
    assert {one.header.frame_id for one in result.frames} == {"eye"}
    for array in result.frames:
        assert [(thing.id, thing.dynamic) for thing in array.objects] == [("object_2", False), ("object_1", True)]
        for thing in array.objects:
            vertices, faces = mesh_from_message(thing.mesh)
            assert 4 <= len(faces) <= 110 and thing.header == array.header and 0 < thing.confidence <= 1
            assert thing.last_seen == array.header.stamp
            size = np.array([thing.size.x, thing.size.y, thing.size.z])
            np.testing.assert_allclose(np.ptp(vertices, axis=0), size, atol=1e-5)
    # The network makes the same ball in the same place of all, so they stand somewhere between both.
    assert 0.8 < position(result.frames[0].objects[1])[2] < 1.6
    stage.wait_for(lambda: len({stamp_to_ns(one.header.stamp) for one in stage.objects}) == 3, "a playback")
    stage.wait_for(lambda: len(stage.markers) > 3, "markers")
    marker = stage.markers[-1].markers[1]
    assert marker.type == Marker.TRIANGLE_LIST and marker.id == 1 and len(marker.points) % 3 == 0
    assert marker.color.r == pytest.approx(object_colour(1)[0] / 255, abs=1e-6)
    stage.wait_for(lambda: told and told[-1].stage == Feedback.PLACING, "the last feedback")
    progress = [one.progress for one in told]
    assert progress == sorted(progress) and {one.stage for one in told} == {1, 2, 3}
    status = stage.node.status()
    assert status["placed_by"] == "depth" and status["objects"] == 2
    assert stage.node.warning() == ""


def test_a_clip_is_named_by_its_time_and_lands_in_the_fixed_frame(make_stage: StageMaker) -> None:
    stage = make_stage(fixed_frame="world")
    stage.play(range(4))
    pose = from_rpy([1.0, 2.0, 3.0], [0.0, 0.0, np.pi / 2])
    goal = {"from_time": ns_to_stamp(START + NS), "to_time": ns_to_stamp(START + 2 * NS)}
    stage.node.set_parameters([Parameter("transform_timeout", value=0.05)])
    result, status = stage.ask(**goal)
    assert status == GoalStatus.STATUS_ABORTED and "world" in result.error_msg
    stage.tf.publish(TFMessage(transforms=[make_transform("world", "eye", START, pose)]))
    stage.wait_for(lambda: "world" in stage.node._transforms.frames(), "the transform")
    there, status = stage.ask(**goal)
    assert status == GoalStatus.STATUS_SUCCEEDED and len(there.frames) == 2
    assert there.frames[0].header.frame_id == "world"
    seen = (np.linalg.inv(pose) @ [*position(there.frames[0].objects[0]), 1])[:3]
    assert np.linalg.norm(seen - BALLS[2]) < 0.5


def test_bad_goals_and_what_shows_nothing_get_typed_errors(make_stage: StageMaker) -> None:
    stage = make_stage()
    stage.refused("NO_OBSERVATION", "no frame has come", last_frames=1)
    stage.play(range(5))
    stage.refused("INVALID_TIME", "names no clip")
    stage.refused("INVALID_TIME", "is no time", from_time=ns_to_stamp(START + NS), to_time=ns_to_stamp(START))
    stage.refused("NO_OBSERVATION", "no frame of that time", from_time=ns_to_stamp(START + 99 * NS))
    stage.refused("TOO_LARGE", "at most 4", last_frames=5)
    stage.refused("TOO_LARGE", "kept_frames", last_frames=7)
    stage.refused("DEADLINE_MISSED", "deadline", last_frames=1, deadline=seconds_to_duration(1e-6))
    assert stage.ask(last_frames=1)[1] == GoalStatus.STATUS_SUCCEEDED, "nothing is lost"


def test_masks_that_are_missing_empty_wrong_or_too_many(make_stage: StageMaker) -> None:
    stage = make_stage()
    stage.show(0, masks=None)
    stage.refused("NO_OBSERVATION", "no frame has come", last_frames=1)
    before = stage.node.counters["invalid_image"]

    def complained() -> bool:
        stage.show(1, masks=np.zeros((24, 32), np.uint8))
        return stage.node.counters["invalid_image"] > before

    stage.wait_for(complained, "a complaint about masks of another size")
    assert not len(stage.node._ring)
    stage.play(range(2, 3), masks=np.zeros_like(stage.numbers[0]))
    stage.refused("NO_OBSERVATION", "no object", last_frames=1)
    crowd = np.arange(stage.numbers[0].size).reshape(stage.numbers[0].shape) % (PARTS + 2)
    stage.play(range(3, 4), masks=crowd.astype(np.uint8))
    stage.refused("TOO_LARGE", str(PARTS), last_frames=1)


def test_an_object_that_is_hidden_for_some_frames_keeps_its_id(make_stage: StageMaker) -> None:
    stage = make_stage()
    stage.play(range(1))
    without = np.where(stage.numbers[1] == 1, 0, stage.numbers[1]).astype(np.uint8)
    stage.play(range(1, 2), masks=without)
    stage.play(range(2, 3))
    result, status = stage.ask(last_frames=3)
    assert status == GoalStatus.STATUS_SUCCEEDED
    hidden = next(thing for thing in result.frames[1].objects if thing.id == "object_1")
    assert stamp_to_ns(hidden.last_seen) == START and hidden.mesh.triangles


def test_depth_that_knows_nothing_is_counted_and_objects_are_said_to_be_unplaced(make_stage: StageMaker) -> None:
    stage = make_stage()
    stage.play(range(1), depth=np.full_like(stage.depth[0], np.nan))
    result, status = stage.ask(last_frames=1)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.frames[0].objects[0].confidence == 0
    assert stage.node.counters["invalid_image"] == 1 and stage.node.counters["placed_by_identity"] == 1
    assert "not in metres" in stage.node.warning()


def test_without_masks_the_segmenter_finds_what_moves_and_numbers_persist(make_stage: StageMaker) -> None:
    stage = make_stage(use_masks=False, use_depth=False, object_size=0.24, max_frames=6)
    stage.play(range(6))
    first, status = stage.ask(last_frames=6)
    assert status == GoalStatus.STATUS_SUCCEEDED, first.error_msg
    found = {thing.id: thing.dynamic for thing in first.frames[0].objects}
    assert found["object_1"]
    again, _ = stage.ask(from_time=ns_to_stamp(START + NS))
    assert "object_1" in {thing.id for thing in again.frames[0].objects} <= found.keys()
    assert stage.node.status()["placed_by"] == "size"


def test_a_goal_can_be_cancelled_and_the_client_waits_for_answers(make_stage: StageMaker) -> None:
    stage = make_stage(steps=400)
    stage.play(range(2))
    client = CompositionalObjectsClient(stage.client, name="compositional_objects")
    client.wait(timeout=60)
    told: list[Any] = []
    slow = client.reconstruct(last_frames=2, feedback=told.append)
    stage.wait_for(lambda: any(one.stage == Feedback.GENERATING for one in told), "the first step")
    assert slow.cancel(timeout=60)
    with pytest.raises(Exception, match="cancelled") as raised:
        slow.result(timeout=60)
    assert getattr(raised.value, "code", None) == Result.CANCELLED
    stage.node.set_parameters([Parameter("steps", value=1)])
    frames = client.reconstruct(last_frames=1).result(timeout=60)
    assert len(frames) == 1
    client.destroy()


def test_time_that_jumps_back_forgets_the_frames_and_deactivation_ends_goals(make_stage: StageMaker) -> None:
    stage = make_stage(steps=400)
    stage.play(range(2, 4))

    def jumped() -> bool:
        stage.show(0)
        return [one.stamp_ns for one in stage.node._ring._frames] == [START]

    stage.wait_for(jumped, "a new beginning")
    assert stage.node.counters["stamps_went_back"] >= 1
    answer = stage.send(last_frames=1).get_result_async()
    assert stage.node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    stage.wait_for(answer.done, "the end of the goal")
    assert answer.result().result.error_code == Result.NOT_ACTIVE
