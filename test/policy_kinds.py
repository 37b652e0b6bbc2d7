"""Policies that behave as policies of others may; tests name them ``policy_kinds:Class/detail``."""

import os
import signal
import threading

import numpy as np

from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.records import Observation, RobotTrajectory

JOINTS = ("panda_joint1", "panda_finger_joint1")


def assignment(instruction: str = "push the cube", seed: int = 0) -> Assignment:
    return Assignment(task="push", instruction=instruction, goal=None, scene=None, seed=seed)


class Nodding(Policy):
    """Turns the first joint by the detail [rad] in half a second, and does nothing more after a second."""

    contract = Contract(cameras=("front",), joints=JOINTS, period=0.5)

    def __init__(self, detail: str = "0.2", *, task: str = "push") -> None:
        super().__init__(f"nodding {detail}")
        self.angle = float(detail)
        self.assignments: list[Assignment] = []
        self.seen: list[Observation] = []

    def begin(self, assignment: Assignment) -> None:
        self.assignments.append(assignment)

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        self.seen.append(observation)
        if elapsed > 1.0:
            return None
        now = observation.joint_positions["panda_joint1"]
        positions = np.array([[now + self.angle / 2], [now + self.angle]])
        return RobotTrajectory(joint_names=("panda_joint1",), times=np.array([0.25, 0.5]), positions=positions)


class Failing(Nodding):
    """Fails in the way of the detail."""

    def __init__(self, detail: str, *, task: str = "push") -> None:
        super().__init__(task=task)
        self.way = detail
        self.released = threading.Event()

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        match self.way:
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exits":
                os._exit(3)
            case "hangs":
                self.released.wait(60.0)
            case "raises":
                raise ValueError("no idea")
            case "nan":
                return RobotTrajectory(joint_names=JOINTS[:1], times=np.array([1.0]), positions=np.array([[np.nan]]))
            case "unreadable":
                return threading.Lock()  # type: ignore[return-value]
            case "strange":
                return {"joint": 1.0}  # type: ignore[return-value]
            case "unknown joint":
                return RobotTrajectory(joint_names=("tail",), times=np.array([1.0]), positions=np.zeros((1, 1)))
        return super().act(observation, elapsed=elapsed)


def unmakeable(detail: str, *, task: str) -> Policy:
    """Dies of being made."""
    os._exit(5)
