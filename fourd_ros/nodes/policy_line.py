"""The line to a ROS node that is a policy: the topics of a robot in one direction, commands in the other."""

import itertools
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TypeAlias

import rclpy
from geometry_msgs.msg import Point, Pose, PoseStamped
from rclpy.context import Context
from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from fourd_ros.bridge.clock import CLOCK_TOPIC
from fourd_ros.bridge.qos import LATCHED, RESULT
from fourd_ros.bridge.times import make_header, stamp_to_ns
from fourd_ros.data.bag_inputs import COMMAND_TOPIC
from fourd_ros.errors import InvalidConfig, PolicyFailed
from fourd_ros.nodes.base import FourdNode
from fourd_ros.nodes.counterpart import Counterpart
from fourd_ros.nodes.executor import make_executor
from fourd_ros.nodes.instants import Instant
from fourd_ros.nodes.position_commands import POSITION_TOPIC
from fourd_ros.nodes.robot_topics import MountedCamera, Picture, RobotTopics
from fourd_ros.nodes.transport import use_large_messages
from fourd_ros.robot.model import RobotModel

Command: TypeAlias = JointTrajectory | Float64MultiArray

_GLOBAL_TOPICS = (CLOCK_TOPIC, "/tf", "/tf_static")

_PROCESS = f"policy_line_{secrets.token_hex(4)}"
"""Beginning of the names of all lines of this process; they are used one at a time."""

_numbers = itertools.count()


@dataclass(frozen=True, kw_only=True)
class LineNames:
    """What the line is called in the ROS graph.

    Args:
        namespace: of all topics, the clock and TF among them; empty for none.
        command_topic: ``trajectory_msgs/JointTrajectory`` of the policy.
        position_topic: ``std_msgs/Float64MultiArray`` of the policy.
        reset_service: ``std_srvs/Trigger`` of the policy, called before each episode; empty for none.

    Raises:
        InvalidConfig: one of them is no name of ROS.
    """

    namespace: str = ""
    command_topic: str = COMMAND_TOPIC
    position_topic: str = POSITION_TOPIC
    reset_service: str = ""

    def __post_init__(self) -> None:
        try:
            validate_namespace(self.root or "/")
            for name in filter(None, (self.command_topic, self.position_topic, self.reset_service)):
                validate_full_topic_name(expand_topic_name(name, "policy", self.root or "/"))
        except NameValidationException as error:
            raise InvalidConfig(f"the names {self} cannot be used in ROS: {error}") from error

    @property
    def root(self) -> str:
        """The namespace with a slash before it and none behind it."""
        stripped = self.namespace.strip("/")
        return f"/{stripped}" if stripped else ""

    @property
    def remapping(self) -> list[str]:
        """Command line that brings the clock and TF into the namespace."""
        rules = [word for topic in _GLOBAL_TOPICS for word in ("-r", f"{topic}:={self.root}{topic}")]
        return ["--ros-args", *rules] if self.root else []


class PolicyLine(FourdNode):
    """One end of the line, while it is active.

    Args:
        robot: that is shown.
        names: of topics and services.
        cameras: that are shown.
        context: initialised.
    """

    def __init__(self, *, robot: RobotModel, names: LineNames, cameras: Sequence[str], context: Context) -> None:
        self._robot, self._names, self._cameras = robot, names, cameras
        self._answers: queue.Queue[Command] = queue.Queue(maxsize=1)
        self._asked_ns = self._outdated = 0
        super().__init__(
            f"{_PROCESS}_{next(_numbers)}",
            context=context,
            namespace=names.root,
            cli_args=names.remapping,
            parameter_overrides=[Parameter("autostart", value=False)],
        )

    def start(self) -> None:
        """Advertise, and listen to commands."""
        self._topics = RobotTopics(self, description=self._robot.description, kinematics=self._robot.kinematics)
        self._topics.advertise_cameras(self._cameras)
        self._instruction = self.advertise(String, "instruction", LATCHED)
        self._goal = self.advertise(PoseStamped, "goal_pose", LATCHED)
        self.subscribe(JointTrajectory, self._names.command_topic, self._hear_trajectory, RESULT)
        self.subscribe(Float64MultiArray, self._names.position_topic, self._hear, RESULT)
        self._policy = Counterpart(self, (self._names.command_topic, self._names.position_topic), family=_PROCESS)

    # On the thread of the policy.

    def wait_for_policy(self, *, limit: float) -> None:
        """Wait until there is a node to talk to: somebody listens to every camera and commands.

        Raises:
            NoSubscriber: not within `limit` [s].
        """
        needed: list[tuple[str, ...]] = [(f"{camera}/image", f"{camera}/depth") for camera in self._cameras]
        self._policy.wait(needed or [("joint_states",)], limit=limit)

    def reset_policy(self, *, limit: float) -> None:
        """Call the reset service, where there is one.

        Raises:
            PolicyFailed: it does not answer within `limit` [s], or says that it failed.
        """
        if not self._names.reset_service:
            return
        name = self.resolve_service_name(self._names.reset_service)
        response = self._policy.call(Trigger, name, Trigger.Request(), limit=limit)
        if response is None:
            raise PolicyFailed(f"no answer of the service {name} (std_srvs/Trigger) within {limit:g} s")
        if not response.success:
            raise PolicyFailed(f"{name} failed: {response.message}")

    def tell(self, instruction: str, place: Sequence[float] | None, stamp_ns: int) -> None:
        """A new episode: what is to be done in words, and where in the frame of the robot's root [m], shape [3]."""
        if place is not None:
            x, y, z = map(float, place)
            header = make_header(stamp_ns, self._robot.kinematics.root)
            self._goal.publish(PoseStamped(header=header, pose=Pose(position=Point(x=x, y=y, z=z))))
        self._instruction.publish(String(data=instruction))

    def show_cameras(self, cameras: Mapping[str, MountedCamera], stamp_ns: int) -> None:
        """The cameras of an episode and where they are."""
        self._topics.publish_still(cameras, stamp_ns)

    def ask(self, instant: Instant, look: Callable[[str], Picture], *, limit: float) -> Command:
        """Publish one instant, and wait for the first command that follows it.

        Args:
            instant: clock and joints.
            look: what a camera sees then.
            limit: time for an answer [s].

        Raises:
            PolicyFailed: there was none.
        """
        self._asked_ns, self._outdated = instant.stamp_ns, 0
        answers: queue.Queue[Command] = queue.Queue(maxsize=1)
        self._answers = answers
        self._topics.publish_state(instant)
        self._topics.publish_views(look, instant.stamp_ns)
        try:
            return answers.get(timeout=limit)
        except queue.Empty:
            raise PolicyFailed(
                f"no answer within {limit:g} s on {' or '.join(self._policy.command_topics)}"
                + (f"; {self._outdated} were stamped before the observation" if self._outdated else "")
            ) from None

    # On threads of the executor.

    def _hear_trajectory(self, message: JointTrajectory) -> None:
        stamp_ns = stamp_to_ns(message.header.stamp)
        if 0 < stamp_ns < self._asked_ns:
            self._outdated += 1
        else:
            self._hear(message)

    def _hear(self, message: Command) -> None:
        """The first one counts; what nobody waits for goes with its queue when the next question is asked."""
        with suppress(queue.Full):
            self._answers.put_nowait(message)


@contextmanager
def open_line(*, robot: RobotModel, names: LineNames, cameras: Sequence[str]) -> Iterator[PolicyLine]:
    """A line with a context and an executor of its own, which ends with the block.

    Args:
        robot: that is shown.
        names: of topics and services.
        cameras: that are shown.

    Raises:
        PolicyFailed: its topics cannot be made; the log says why.
    """
    use_large_messages()
    context = Context()
    with rclpy.init(args=[], context=context):
        line = PolicyLine(robot=robot, names=names, cameras=cameras, context=context)
        line.trigger_configure()
        active = line.trigger_activate() == TransitionCallbackReturn.SUCCESS
        executor = make_executor(context=context)
        executor.add_node(line)
        spinner = threading.Thread(target=executor.spin, name=line.get_name(), daemon=True)
        spinner.start()
        try:
            if not active:
                raise PolicyFailed(f"the topics of {names} could not be made; see the log")
            yield line
        finally:
            executor.shutdown(timeout_sec=1.0)
            spinner.join()
            line.destroy_node()
