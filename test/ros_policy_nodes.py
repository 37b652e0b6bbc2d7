"""A process with several policies as plain ROS nodes; each behaves as its namespace says, and prints what it hears."""

import json
import sys
from contextlib import suppress

import rclpy
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import PoseStamped
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image, JointState
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from tf2_msgs.msg import TFMessage
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

JOINT, STEP, PERIOD = "panda_joint1", 0.05, 0.5
BEHAVIOURS = ("turns", "arrays", "waits", "outdated", "done", "nan", "silent", "refuses")

LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATIC = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Policy(Node):
    """Answers every image of the front camera."""

    def __init__(self, behaviour: str) -> None:
        remapping = [
            word for topic in ("clock", "tf", "tf_static") for word in ("-r", f"/{topic}:=/{behaviour}/{topic}")
        ]
        super().__init__(
            "policy",
            namespace=behaviour,
            cli_args=["--ros-args", *remapping],
            parameter_overrides=[Parameter("use_sim_time", value=True)],
        )
        self._behaviour, self._heard, self._resets = behaviour, {}, 0
        self._trajectory = self.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", 5)
        self._positions = self.create_publisher(Float64MultiArray, "forward_position_controller/commands", 5)
        self.create_service(Trigger, "policy/reset", self._reset)
        for kind, topic, qos in (
            (String, "instruction", LATCHED),
            (PoseStamped, "goal_pose", LATCHED),
            (TFMessage, "/tf", 100),
            (TFMessage, "/tf_static", STATIC),
            (CameraInfo, "front/camera_info", 5),
            (JointState, "joint_states", 5),
        ):
            self.create_subscription(kind, topic, lambda message, topic=topic: self._hear(topic, message), qos)
        self.create_subscription(Image, "front/image", self._act, 5)

    def _hear(self, topic: str, message: object) -> None:
        self._heard[topic] = message

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._resets += 1
        response.success, response.message = self._behaviour != "refuses", "out of order"
        return response

    def _act(self, image: Image) -> None:
        state = self._heard["joint_states"]
        here = dict(zip(state.name, state.position, strict=True))[JOINT]
        self._tell(image, here)
        trajectory = JointTrajectory(joint_names=[JOINT])
        trajectory.header.stamp = image.header.stamp
        reached = JointTrajectoryPoint(positions=[here + STEP], time_from_start=Duration(nanosec=500_000_000))
        match self._behaviour:
            case "silent":
                return
            case "arrays":
                self._positions.publish(Float64MultiArray(data=[here + STEP]))
                return
            case "waits":
                trajectory.header.stamp.sec += 1
            case "outdated":
                trajectory.header.stamp = Time(sec=image.header.stamp.sec - 1)
            case "nan":
                reached.positions = [float("nan")]
        trajectory.points = [] if self._behaviour == "done" else [reached]
        self._trajectory.publish(trajectory)

    def _tell(self, image: Image, here: float) -> None:
        goal = self._heard.get("goal_pose")
        stamps = [self._heard[topic].header.stamp for topic in ("joint_states", "front/camera_info")]
        told = {
            "policy": self._behaviour,
            "episode": self._resets,
            "instruction": self._heard["instruction"].data,
            "goal": None if goal is None else [goal.pose.position.x, goal.pose.position.y, goal.pose.position.z],
            "goal_frame": None if goal is None else goal.header.frame_id,
            "stamp_ns": image.header.stamp.sec * 10**9 + image.header.stamp.nanosec,
            "one_stamp": all(
                stamp == image.header.stamp for stamp in (*stamps, self._heard["/tf"].transforms[0].header.stamp)
            ),
            "clock_ns": self.get_clock().now().nanoseconds,
            "image": [image.height, image.width],
            "frames": [transform.child_frame_id for transform in self._heard["/tf_static"].transforms],
            "joint": here,
        }
        print(json.dumps(told), flush=True)


def main() -> None:
    """Serve them all."""
    with rclpy.init():
        executor = SingleThreadedExecutor()
        for behaviour in sys.argv[1:]:
            executor.add_node(Policy(behaviour))
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            executor.spin()


if __name__ == "__main__":
    main()
