"""Ask a world model node from a script or a notebook.

with WorldModelClient.connect() as world:
    rollouts = world.imagine([trajectory], horizon=2.0).result(timeout=10.0)
    for frame in world.frames(rollouts[0].rollout_id):
        print(frame.time_from_start, frame.points.width)
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import rclpy
from action_msgs.msg import GoalStatus
from fourd_msgs.action import Imagine
from fourd_msgs.msg import Rollout, RolloutFrame
from fourd_msgs.srv import GetRolloutFrames
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from fourd_ros.bridge.qos import BURST
from fourd_ros.bridge.times import ns_to_stamp, seconds_to_duration
from fourd_ros.bridge.trajectories import trajectory_to_message
from fourd_ros.errors import FourdError
from fourd_ros.records import RobotTrajectory

LIVENESS_PERIOD = 0.1
"""How often a waiting client looks whether its server still lives [s]."""

ALL_FIELDS = GetRolloutFrames.Request.IMAGE | GetRolloutFrames.Request.POINTS | GetRolloutFrames.Request.OBSERVED


class ServerUnavailable(FourdError):
    """No world model node answers, or the one that worked on the goal is gone."""

    kind = "server_unavailable"


class ImagineFailed(FourdError):
    """The node ended the goal without an answer.

    Attributes:
        code: an error code of ``fourd_msgs/action/Imagine``; 0 when the goal was rejected.
        status: ``action_msgs/GoalStatus`` of the goal.
    """

    kind = "imagine_failed"

    def __init__(self, message: str, *, code: int, status: int) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class ImagineHandle:
    """A question under way. Any thread may wait on it while the node's executor spins elsewhere."""

    def __init__(self, client: "WorldModelClient", sent: Future[Any]) -> None:
        self._client = client
        self._answered = threading.Event()
        self._goal: Any = None
        self._response: Any = None
        self._servers: frozenset[bytes] = client.server_ids()
        sent.add_done_callback(self._on_accepted)
        self._accepted = threading.Event()

    def _on_accepted(self, future: Future[Any]) -> None:
        self._goal = future.result()
        self._accepted.set()
        if self._goal is None or not self._goal.accepted:
            self._answered.set()
            return
        self._goal.get_result_async().add_done_callback(self._on_result)

    def _on_result(self, future: Future[Any]) -> None:
        self._response = future.result()
        self._answered.set()

    def done(self) -> bool:
        """Whether an answer, good or bad, is here."""
        return self._answered.is_set()

    def result(self, timeout: float | None = None) -> list[Rollout]:
        """Wait for the rollouts.

        Args:
            timeout: seconds to wait, None for as long as the server lives.

        Raises:
            ImagineFailed: rejected, aborted or cancelled; says why and carries the error code.
            ServerUnavailable: the server died meanwhile.
            TimeoutError: nothing after `timeout`.
        """
        give_up = float("inf") if timeout is None else time.monotonic() + timeout
        while not self._answered.wait(LIVENESS_PERIOD):
            if not self._servers & self._client.server_ids():
                raise ServerUnavailable(f"the server of '{self._client.name}' is gone; ask again when it is back")
            if time.monotonic() > give_up:
                raise TimeoutError(f"no answer from '{self._client.name}' within {timeout} s")
        if self._response is None:
            raise ImagineFailed(
                f"'{self._client.name}' rejected the goal: it is inactive or its queue is full (see /diagnostics)",
                code=0,
                status=GoalStatus.STATUS_UNKNOWN,
            )
        result, status = self._response.result, self._response.status
        if status != GoalStatus.STATUS_SUCCEEDED:
            raise ImagineFailed(
                result.error_msg or f"the goal ended with status {status}", code=result.error_code, status=status
            )
        return list(result.rollouts)

    def cancel(self, timeout: float = 5.0) -> bool:
        """Take the question back; True when the server agreed.

        Raises:
            TimeoutError: the goal was not accepted, or the server did not answer, within `timeout` [s].
        """
        if not self._accepted.wait(timeout):
            raise TimeoutError(f"the goal was not accepted within {timeout} s")
        if self._goal is None or not self._goal.accepted:
            return False
        answered = threading.Event()
        future = self._goal.cancel_goal_async()
        future.add_done_callback(lambda _: answered.set())
        if not answered.wait(timeout):
            raise TimeoutError(f"no answer to the cancel request within {timeout} s")
        return bool(future.result().goals_canceling)


class WorldModelClient:
    """Wraps the action and the service of one world model node.

    Args:
        node: a node that somebody spins, in another thread than the one that waits here.
        name: name of the world model node, with its namespace where it has one.
    """

    def __init__(self, node: Node, *, name: str = "world_model") -> None:
        self.node, self.name = node, name
        group = ReentrantCallbackGroup()
        self._imagine = ActionClient(
            node,
            Imagine,
            f"{name}/imagine",
            callback_group=group,
            goal_service_qos_profile=BURST,
            result_service_qos_profile=BURST,
        )
        self._frames = node.create_client(GetRolloutFrames, f"{name}/get_rollout_frames", callback_group=group)
        self._status_topic = node.resolve_topic_name(f"{name}/imagine/_action/status")

    @classmethod
    @contextmanager
    def connect(cls, name: str = "world_model", *, timeout: float = 10.0) -> Iterator[Self]:
        """A client with a node and an executor of its own, for scripts.

        Raises:
            ServerUnavailable: no such node within `timeout` [s].
        """
        with rclpy.init() if not rclpy.ok() else _Nothing():
            node = Node("world_model_client")
            executor = MultiThreadedExecutor(num_threads=2)
            executor.add_node(node)
            client = cls(node, name=name)  # before spinning: rclpy looks into half-made action clients
            spinner = threading.Thread(target=executor.spin, daemon=True)
            spinner.start()
            try:
                client.wait(timeout=timeout)
                yield client
            finally:
                executor.shutdown()
                spinner.join()
                client.destroy()
                node.destroy_node()

    def destroy(self) -> None:
        """Give the action and service clients back."""
        self._imagine.destroy()
        self.node.destroy_client(self._frames)

    def wait(self, *, timeout: float = 10.0) -> None:
        """Wait until the node offers its action and service.

        Raises:
            ServerUnavailable: not within `timeout` [s].
        """
        give_up = time.monotonic() + timeout
        ready = self._imagine.wait_for_server(timeout) and self._frames.wait_for_service(
            max(give_up - time.monotonic(), 0.0)
        )
        while ready and not self.server_ids() and time.monotonic() < give_up:
            time.sleep(0.01)
        if not ready or not self.server_ids():
            raise ServerUnavailable(
                f"no world model at '{self.name}' within {timeout} s; start one: fourd bringup world_model"
            )

    def server_ids(self) -> frozenset[bytes]:
        """Identities of the running servers; a restarted one has a new identity."""
        publishers = self.node.get_publishers_info_by_topic(self._status_topic)
        return frozenset(bytes(info.endpoint_gid) for info in publishers)

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
    ) -> ImagineHandle:
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
        listener = None if feedback is None else (lambda message: feedback(message.feedback))
        return ImagineHandle(self, self._imagine.send_goal_async(goal, feedback_callback=listener))

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


class _Nothing:
    """A context that is already there."""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def _as_message(candidate: RobotTrajectory | Any) -> Any:
    if not isinstance(candidate, RobotTrajectory):
        return candidate
    from std_msgs.msg import Header

    return trajectory_to_message(candidate, Header())
