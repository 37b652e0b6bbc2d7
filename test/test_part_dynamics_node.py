"""The part dynamics node over its topics and its action."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from fourd_msgs.action import PredictPartMotion
from fourd_msgs.msg import Drag
from geometry_msgs.msg import Point, Vector3
from part_rig import FRONT, small_network, view
from rclpy.action import ActionClient
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from tf2_msgs.msg import TFMessage
from visualization_msgs.msg import Marker, MarkerArray

from fourd_ros.bridge.cameras import camera_to_info
from fourd_ros.bridge.clouds import read_cloud
from fourd_ros.bridge.images import array_to_image
from fourd_ros.bridge.qos import RESULT, static_transform_qos
from fourd_ros.bridge.tf import make_transform
from fourd_ros.bridge.times import make_header, seconds_to_duration, stamp_to_ns
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.nodes.part_dynamics import PartDynamicsNode
from fourd_ros.part_dynamics.conversion import COMPONENT

NS = 1_000_000_000
STAMP = 1_700_000_000 * NS
Result, Feedback = PredictPartMotion.Result, PredictPartMotion.Feedback


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "part"
    card = ModelCard(name="part", system="partrm", purpose="of tests", licence="Apache-2.0", data="none", limits="all")
    write_model(folder, {COMPONENT: small_network()}, card=card, model_class="PartDynamics")
    return folder


class Stage:
    """A camera before a cabinet, and who asks."""

    def __init__(self, client: Node, node: PartDynamicsNode, wait_for: Callable[..., Any]) -> None:
        self.node, self.client, self.wait_for = node, client, wait_for
        self.view = view(size=64)
        self._publishers = {
            name: client.create_publisher(kind, f"camera/{name}", RESULT)
            for name, kind in (("image", Image), ("depth", Image), ("camera_info", CameraInfo))
        }
        self._tf = client.create_publisher(TFMessage, "/tf_static", static_transform_qos())
        self.action = ActionClient(client, PredictPartMotion, "part_dynamics/predict_part_motion")
        self.clouds: list[PointCloud2] = []
        self.markers: list[MarkerArray] = []
        self.views: list[Image] = []
        for kept, kind, topic in (
            (self.clouds, PointCloud2, "moved"),
            (self.markers, MarkerArray, "markers"),
            (self.views, Image, "views"),
        ):
            client.create_subscription(kind, f"part_dynamics/{topic}", kept.append, RESULT)

    def look(self, *, calibrated: bool = True, depth: np.ndarray | None = None, stamp_ns: int = STAMP) -> None:
        """Publish one instant until the node has it."""
        header, seen = make_header(stamp_ns, "optical"), self.view
        self._tf.publish(TFMessage(transforms=[make_transform("world", "optical", stamp_ns, seen.T_world_camera)]))
        distance = seen.points[..., 2] if depth is None else depth

        def sent() -> bool:
            if calibrated:
                self._publishers["camera_info"].publish(camera_to_info(seen.camera, header))
            self._publishers["image"].publish(array_to_image(seen.rgb, "rgb8", header))
            self._publishers["depth"].publish(array_to_image(distance, "32FC1", header))
            return stamp_ns in self.node._watch.observer.stamps()

        self.wait_for(sent, "the instant")

    def ask(self, *drags: Drag, feedback: Callable[[Any], None] | None = None, **goal: Any) -> tuple[Any, int]:
        """Result and status."""
        answer = self.send(*drags, feedback=feedback, **goal).get_result_async()
        self.wait_for(answer.done, "a result")
        return answer.result().result, answer.result().status

    def send(self, *drags: Drag, feedback: Callable[[Any], None] | None = None, **goal: Any) -> Any:
        """The handle of an accepted goal."""
        assert self.action.wait_for_server(timeout_sec=120)
        sent = self.action.send_goal_async(
            PredictPartMotion.Goal(drags=list(drags), **goal), feedback_callback=feedback
        )
        self.wait_for(sent.done, "acceptance")
        assert sent.result().accepted
        return sent.result()


@pytest.fixture
def stage(spin: Callable[..., Any], model: Path, wait_for: Any) -> Stage:
    client = spin(Node("asker"))
    node = PartDynamicsNode(
        parameter_overrides=[Parameter("autostart", value=False), Parameter("model", value=str(model))]
    )
    spin(node)
    assert node.trigger_configure() == node.trigger_activate() == TransitionCallbackReturn.SUCCESS
    return Stage(client, node, wait_for)


def drag(start: np.ndarray = FRONT[0], pull: tuple[float, float, float] = (-0.2, 0.0, 0.0), **fields: Any) -> Drag:
    header = make_header(0, fields.pop("frame", "world"))
    x, y, z = (float(value) for value in start)
    return Drag(
        header=header,
        start=Point(x=x, y=y, z=z),
        displacement=Vector3(x=pull[0], y=pull[1], z=pull[2]),
        **fields,
    )


def test_a_drag_is_answered_step_by_step(stage: Stage) -> None:
    stage.look()
    told: list[Any] = []
    result, status = stage.ask(drag(), steps=3, return_points=True, feedback=lambda one: told.append(one.feedback))
    assert status == GoalStatus.STATUS_SUCCEEDED and result.error_code == Result.NONE
    assert result.origin.header.frame_id == "world" and stamp_to_ns(result.origin.header.stamp) == STAMP
    moved = read_cloud(result.moved)
    assert set(moved) == {"points", "rgb", "label", "dx", "dy", "dz"} and set(np.unique(moved["label"])) <= {1, 16}
    stage.wait_for(lambda: len(stage.clouds) == 3 and len(stage.markers) == 3 and stage.views, "clouds")
    assert np.array_equal(read_cloud(stage.clouds[-1])["points"], moved["points"])
    assert all(markers.markers[0].action == Marker.DELETEALL for markers in stage.markers)
    assert stage.views[0].header.frame_id == "drawn_views" and stage.views[0].width == 4 * stage.views[0].height
    stage.wait_for(lambda: told and told[-1].stage == Feedback.FITTING, "the last feedback")
    progress = [one.progress for one in told]
    assert progress == sorted(progress) and {Feedback.OBSERVING, Feedback.PREDICTING} <= {one.stage for one in told}
    if result.joint_type:
        axis = np.array([result.axis.x, result.axis.y, result.axis.z])
        assert np.linalg.norm(axis) == pytest.approx(1) and result.amount >= 0


def test_a_drag_in_the_frame_of_the_camera_is_the_same(stage: Stage) -> None:
    stage.look()
    pose = stage.view.T_world_camera
    turn, place = pose[:3, :3].T, pose[:3, 3]
    pull = turn @ [-0.2, 0.0, 0.0]
    there = drag(turn @ (FRONT[0] - place), tuple(float(value) for value in pull), frame="optical")
    answers = [stage.ask(one, return_points=True)[0] for one in (drag(), there)]
    points = [read_cloud(answer.moved)["points"] for answer in answers]
    assert np.allclose(points[0], points[1], atol=1e-4)


BAD: dict[str, tuple[Callable[[], list[Drag]], dict[str, Any], str, str]] = {
    "no drag": (lambda: [], {}, "INVALID_DRAG", "no drags"),
    "too many": (lambda: [drag()] * 65, {}, "TOO_LARGE", "65 drags; at most 64"),
    "off the object": (lambda: [drag(FRONT[0] - [0.3, 0, 0])], {}, "INVALID_DRAG", "from the object"),
    "not finite": (lambda: [drag(FRONT[0] * np.nan)], {}, "INVALID_DRAG", "not finite"),
    "no frame": (lambda: [drag(frame="")], {}, "INVALID_DRAG", "names no frame"),
    "an object": (lambda: [drag(object_id="cup")], {}, "INVALID_DRAG", "'cup'"),
    "a bad radius": (lambda: [drag(radius=-1.0)], {}, "INVALID_DRAG", "radii"),
    "an unknown frame": (lambda: [drag(frame="moon")], {}, "TRANSFORM_UNAVAILABLE", "moon"),
    "too many steps": (lambda: [drag()], {"steps": 65}, "TOO_LARGE", "65 steps"),
    "another instant": (
        lambda: [drag()],
        {"observation_stamp": make_header(STAMP - NS, "").stamp},
        "UNKNOWN_OBSERVATION",
        "no images at",
    ),
    "too late": (lambda: [drag()], {"deadline": seconds_to_duration(1e-6)}, "DEADLINE_MISSED", "deadline"),
}


def test_bad_goals_get_a_typed_error_and_a_counter_and_nothing_is_lost(stage: Stage) -> None:
    stage.look()
    stage.node.set_parameters([Parameter("observation_timeout", value=0.05)])
    for name, (make, goal, error, text) in BAD.items():
        before = stage.node.counters[error.lower()]
        result, status = stage.ask(*make(), **goal)
        assert status == GoalStatus.STATUS_ABORTED and result.error_code == getattr(Result, error), name
        assert text in result.error_msg, name
        assert stage.node.counters[error.lower()] == before + 1, name
    assert stage.ask(drag())[1] == GoalStatus.STATUS_SUCCEEDED


def test_drags_without_length_are_answered_with_no_joint(stage: Stage) -> None:
    stage.look()
    result, status = stage.ask(drag(pull=(0.0, 0.0, 0.0)), return_points=True)
    assert status == GoalStatus.STATUS_SUCCEEDED and result.joint_type == Result.UNKNOWN
    moved = read_cloud(result.moved)
    assert not np.stack([moved[axis] for axis in ("dx", "dy", "dz")]).any()


def test_depth_of_nothing_but_holes_is_named(stage: Stage) -> None:
    stage.look(depth=np.full(stage.view.rgb.shape[:2], np.nan, np.float32))
    result, status = stage.ask(drag())
    assert status == GoalStatus.STATUS_ABORTED and result.error_code == Result.NO_OBSERVATION
    assert "no camera has depth" in result.error_msg


def test_views_without_calibration_are_named(stage: Stage) -> None:
    stage.node.set_parameters([Parameter("observation_timeout", value=0.05)])
    stage.look(calibrated=False)
    result, _ = stage.ask(drag())
    assert result.error_code == Result.NO_OBSERVATION and "camera_info" in result.error_msg


def test_a_goal_is_cancelled_between_steps(stage: Stage) -> None:
    stage.look()
    begun = threading.Event()
    handle = stage.send(drag(), steps=64, feedback=lambda one: one.feedback.progress > 0 and begun.set())
    assert begun.wait(120)
    handle.cancel_goal_async()
    answer = handle.get_result_async()
    stage.wait_for(answer.done, "the end")
    assert answer.result().status == GoalStatus.STATUS_CANCELED
    assert answer.result().result.error_code == Result.CANCELLED
    assert stage.ask(drag(), steps=1)[1] == GoalStatus.STATUS_SUCCEEDED
