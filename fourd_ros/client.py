"""Ask the nodes of this package from a script or a notebook.

with WorldModelClient.connect() as world:
    rollouts = world.imagine([trajectory], horizon=2.0).result(timeout=10.0)
    for frame in world.frames(rollouts[0].rollout_id):
        print(frame.time_from_start, frame.points.width)

with PolicyEvaluatorClient.connect() as evaluator:
    results = evaluator.evaluate(["scripted"], ["push"], starts=50, output_name="push").result().results
    for row in results:
        print(row.policy, row.rate, row.truth_rate)

with PartDynamicsClient.connect() as parts:
    pulled = parts.pull(SpaceDrags(start=handle, displacement=way), frame="world").result()
    print(pulled.joint_type, pulled.axis, pulled.amount)

with SceneLanguageClient.connect() as scene:
    for thing in scene.find("red mug").objects:
        print(thing.confidence, thing.header.frame_id, thing.pose.pose.position)

with CompositionalObjectsClient.connect() as objects:
    for thing in objects.reconstruct(last_frames=8).result(timeout=60.0)[-1].objects:
        print(thing.id, thing.dynamic, thing.pose.pose.position, len(thing.mesh.triangles))
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from action_msgs.msg import GoalStatus
from fourd_msgs.action import EvaluatePolicy, Imagine, PredictPartMotion
from fourd_msgs.msg import Rollout, RolloutFrame
from fourd_msgs.srv import GetRolloutFrames
from rclpy.node import Node

from fourd_ros.bridge.part_motion import drag_message
from fourd_ros.bridge.times import ns_to_stamp, seconds_to_duration
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.compositional_objects_client import CompositionalObjectsClient, ReconstructionFailed
from fourd_ros.goal_client import GoalClient, GoalFailed, PendingGoal, ServerUnavailable
from fourd_ros.part_dynamics.drags import SpaceDrags
from fourd_ros.records import RobotTrajectory
from fourd_ros.scene_language_client import QueryFailed, SceneLanguageClient

__all__ = [
    "CompositionalObjectsClient",
    "EvaluationFailed",
    "ImagineFailed",
    "PartDynamicsClient",
    "PartMotionFailed",
    "PolicyEvaluatorClient",
    "QueryFailed",
    "ReconstructionFailed",
    "SceneLanguageClient",
    "ServerUnavailable",
    "WorldModelClient",
]

ALL_FIELDS = GetRolloutFrames.Request.IMAGE | GetRolloutFrames.Request.POINTS | GetRolloutFrames.Request.OBSERVED


class ImagineFailed(GoalFailed):
    """A question without an answer; the codes are those of ``fourd_msgs/action/Imagine``."""

    kind = "imagine_failed"


class PartMotionFailed(GoalFailed):
    """Drags without an answer; the codes are those of ``fourd_msgs/action/PredictPartMotion``."""

    kind = "part_motion_failed"


class EvaluationFailed(GoalFailed):
    """An evaluation that ended early; the codes are those of ``fourd_msgs/action/EvaluatePolicy``."""

    kind = "evaluation_failed"


class WorldModelClient(GoalClient):
    """Wraps the action and the service of one world model node.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the world model node, with its namespace where it has one.
    """

    action_type, action_name, graph, failure = Imagine, "imagine", "world_model", ImagineFailed

    def __init__(self, node: Node, *, name: str = "world_model") -> None:
        super().__init__(node, name=name)
        self._frames = node.create_client(GetRolloutFrames, f"{name}/get_rollout_frames", callback_group=self.group)

    def destroy(self) -> None:
        """Give the action and service clients back."""
        super().destroy()
        self.node.destroy_client(self._frames)

    def is_ready(self) -> bool:
        """Whether action and service are offered."""
        return super().is_ready() and bool(self._frames.service_is_ready())

    def imagine(
        self,
        candidates: Sequence[RobotTrajectory | Any],
        *,
        views: Sequence[str] = (),
        observation_stamp_ns: int = 0,
        start_rollout_id: str = "",
        horizon: float = 0.0,
        step: float = 0.0,
        deadline: float = 0.0,
        num_samples: int = 1,
        seed: int = 0,
        backend: str = "",
        slot: str = "",
        feedback: Callable[[Any], None] | None = None,
    ) -> PendingGoal[list[Rollout]]:
        """Ask what happens if the robot moves so; returns at once.

        Args:
            candidates: commanded motions, as records or as ``trajectory_msgs/JointTrajectory``.
            views: cameras to imagine, empty for all.
            observation_stamp_ns: 0 for the latest observation.
            start_rollout_id: continue from the end of that rollout instead.
            horizon: how far [s], 0 for the length of the trajectory.
            step: between frames [s], 0 for the backend's own.
            deadline: seconds from acceptance, 0 for none.
            num_samples: futures per candidate.
            seed: of the first sample.
            backend: its name; empty lets the deadline pick.
            slot: a newer goal of the same slot aborts the older one.
            feedback: called with every ``Imagine.Feedback``.
        """
        goal = Imagine.Goal(
            candidates=[_as_message(candidate) for candidate in candidates],
            views=list(views),
            observation_stamp=ns_to_stamp(observation_stamp_ns),
            start_rollout_id=start_rollout_id,
            horizon=seconds_to_duration(horizon),
            step=seconds_to_duration(step),
            deadline=seconds_to_duration(deadline),
            num_samples=num_samples,
            seed=seed,
            backend=backend,
            slot=slot,
        )
        return self.send(goal, read=lambda result: list(result.rollouts), feedback=feedback)

    def frames(
        self,
        rollout_id: str,
        *,
        indices: Sequence[int] = (),
        views: Sequence[str] = (),
        fields: int = ALL_FIELDS,
        voxel_size: float = 0.0,
        max_bytes: int = 0,
        timeout: float = 10.0,
    ) -> list[RolloutFrame]:
        """Fetch frames of a rollout, in as many calls as the byte limit takes.

        Args:
            rollout_id: from a result, a preview or ``~/rollout``.
            indices: which frames, empty for all.
            views: which cameras, empty for all.
            fields: bits of ``GetRolloutFrames.Request``: IMAGE, POINTS, OBSERVED.
            voxel_size: thin the clouds to one point a voxel of this edge [m], 0 for all points.
            max_bytes: of one response, 0 for the node's own limit.
            timeout: for every call [s].

        Raises:
            ImagineFailed: unknown or expired rollout, or one frame exceeds the limit.
            ServerUnavailable: no answer.
        """
        frames: list[RolloutFrame] = []
        start = 0
        while True:
            request = GetRolloutFrames.Request(
                rollout_id=rollout_id,
                indices=list(indices),
                views=list(views),
                fields=fields,
                start_index=start,
                voxel_size=voxel_size,
                max_bytes=max_bytes,
            )
            response = self._call(request, timeout)
            if response.error_code != GetRolloutFrames.Response.NONE:
                raise ImagineFailed(response.error_msg, code=response.error_code, status=GoalStatus.STATUS_UNKNOWN)
            frames.extend(response.frames)
            if response.next_index == 0:
                return frames
            start = response.next_index

    def _call(self, request: Any, timeout: float) -> Any:
        answered = threading.Event()
        future = self._frames.call_async(request)
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(timeout):
            self._frames.remove_pending_request(future)
            raise ServerUnavailable(f"'{self.name}' did not answer within {timeout} s")
        return future.result()


class PolicyEvaluatorClient(GoalClient):
    """Wraps the action of one policy evaluator node.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the policy evaluator node, with its namespace where it has one.
    """

    action_type, action_name, graph, failure = EvaluatePolicy, "evaluate_policy", "policy_evaluator", EvaluationFailed

    def __init__(self, node: Node, *, name: str = "policy_evaluator") -> None:
        super().__init__(node, name=name)

    def evaluate(
        self,
        policies: Sequence[str],
        tasks: Sequence[str],
        *,
        starts: int,
        output_name: str,
        seed: int = 0,
        backend: str = "",
        with_truth: bool = True,
        resume: bool = False,
        feedback: Callable[[Any], None] | None = None,
    ) -> PendingGoal[Any]:
        """Ask how often policies succeed; returns at once. The answer is an ``EvaluatePolicy.Result``.

        Args:
            policies: their names, such as ``scripted/expert``; ``scripted`` stands for all of graded skill.
            tasks: kinds of task.
            starts: start states of each policy and task.
            output_name: of the folder on the node's machine that keeps the evaluation.
            seed: of the start states.
            backend: the rung that imagines; empty: as the node is set.
            with_truth: try everything in the simulator too.
            resume: go on with what the folder holds of the same evaluation.
            feedback: called with every ``EvaluatePolicy.Feedback``.
        """
        goal = EvaluatePolicy.Goal(
            policies=list(policies),
            tasks=list(tasks),
            starts=starts,
            seed=seed,
            backend=backend,
            with_truth=with_truth,
            output_name=output_name,
            resume=resume,
        )
        return self.send(goal, read=lambda result: result, feedback=feedback)


class PartDynamicsClient(GoalClient):
    """Wraps the action of one part dynamics node.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the part dynamics node, with its namespace where it has one.
    """

    action_type, action_name, graph, failure = (
        PredictPartMotion,
        "predict_part_motion",
        "part_dynamics",
        PartMotionFailed,
    )

    def __init__(self, node: Node, *, name: str = "part_dynamics") -> None:
        super().__init__(node, name=name)

    def pull(
        self,
        drags: SpaceDrags,
        *,
        frame: str,
        observation_stamp_ns: int = 0,
        steps: int = 0,
        deadline: float = 0.0,
        return_points: bool = True,
        feedback: Callable[[Any], None] | None = None,
    ) -> PendingGoal[Any]:
        """Ask what moves when an object is dragged so; returns at once. The answer is a ``PredictPartMotion.Result``.

        Args:
            drags: such as a user draws them, or `gripper_drag` makes them of the path of a gripper.
            frame: of the drags, in TF.
            observation_stamp_ns: of the images to look at [ns]; 0 for the newest.
            steps: of the motion; 0 for the node's default.
            deadline: the answer has to be there so long after acceptance [s]; 0 for none.
            return_points: fill in the moved points.
            feedback: called with every ``PredictPartMotion.Feedback``.
        """
        radii = np.zeros(len(drags)) if drags.radius is None else drags.radius
        goal = PredictPartMotion.Goal(
            drags=[
                drag_message(frame, *each, stamp_ns=observation_stamp_ns)
                for each in zip(drags.start, drags.displacement, radii, strict=True)
            ],
            observation_stamp=ns_to_stamp(observation_stamp_ns),
            steps=steps,
            deadline=seconds_to_duration(deadline),
            return_points=return_points,
        )
        return self.send(goal, read=lambda result: result, feedback=feedback)


def _as_message(candidate: RobotTrajectory | Any) -> Any:
    if not isinstance(candidate, RobotTrajectory):
        return candidate
    from std_msgs.msg import Header

    return trajectory_to_message(candidate, Header())
