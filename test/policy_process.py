"""A policy in a process of its own: it looks, turns the arm a bit with every image, and goes home with one action."""

import json
import sys
import threading

import numpy as np
import rclpy
from control_msgs.action import FollowJointTrajectory
from rclpy.action import ActionClient
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from fourd_ros.bridge.images import image_to_rgb
from fourd_ros.bridge.joints import joint_positions
from fourd_ros.bridge.qos import RESULT
from fourd_ros.bridge.times import make_header
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.nodes.executor import make_executor
from fourd_ros.records import RobotTrajectory

JOINT = "panda_joint1"
STEP, TURN = 0.08, 0.3
PATIENCE = 240.0


def to(position: float, seconds: float) -> JointTrajectory:
    """A trajectory with one point."""
    trajectory = RobotTrajectory(joint_names=(JOINT,), times=np.array([seconds]), positions=np.array([[position]]))
    return trajectory_to_message(trajectory, make_header(0, ""))


class Policy(Node):
    """Turns the arm by `TURN`, a `STEP` with every image of the front camera."""

    def __init__(self) -> None:
        super().__init__("policy")
        self.images: list[np.ndarray] = []
        self.home = self.here = float("nan")
        self.turned = threading.Event()
        self._trajectory = self.create_publisher(JointTrajectory, "arm_controller/joint_trajectory", RESULT)
        self.arm = ActionClient(self, FollowJointTrajectory, "arm_controller/follow_joint_trajectory")
        self.create_subscription(JointState, "joint_states", self._measure, RESULT)
        self.create_subscription(Image, "front/image", self._act, RESULT)

    def _measure(self, message: JointState) -> None:
        self.here = joint_positions(message)[JOINT]

    def _act(self, message: Image) -> None:
        if np.isnan(self.here) or self.turned.is_set():
            return
        self.home = self.here if np.isnan(self.home) else self.home
        self.images.append(image_to_rgb(message).astype(np.float32))
        if self.here > self.home + TURN - 0.02:
            self.turned.set()
        else:
            self._trajectory.publish(to(min(self.here + STEP, self.home + TURN), 0.1))

    def go_home(self) -> int:
        """The error code of the action."""
        assert self.arm.wait_for_server(timeout_sec=PATIENCE)
        done, outcome = threading.Event(), []
        sent = self.arm.send_goal_async(FollowJointTrajectory.Goal(trajectory=to(self.home, 1.0)))

        def ended(future: object) -> None:
            outcome.append(future.result().result.error_code)
            done.set()

        sent.add_done_callback(lambda future: future.result().get_result_async().add_done_callback(ended))
        assert done.wait(PATIENCE), "no result"
        return int(outcome[0])


def main() -> int:
    """One episode; prints what it was like."""
    with rclpy.init():
        policy, executor = Policy(), make_executor()
        executor.add_node(policy)
        spinning = threading.Thread(target=executor.spin)
        spinning.start()
        try:
            done = policy.turned.wait(PATIENCE)
            code = policy.go_home() if done else None
        finally:
            executor.shutdown(timeout_sec=5.0)
            spinning.join()
            policy.destroy_node()
    change = np.abs(policy.images[-1] - policy.images[0]).mean() if policy.images else 0.0
    away = policy.here - policy.home
    print(json.dumps({"images": len(policy.images), "change": float(change), "code": code, "away": away}))
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main())
