"""The base of every node: a managed lifecycle that gives back what it took, and errors that are seen."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, cast

import rclpy
from rclpy.callback_groups import CallbackGroup
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription
from rclpy.timer import Timer

from fourd_ros.bridge.clock import ClockWatch, steady_clock
from fourd_ros.bridge.diagnostics import UNEXPECTED, Counters, DiagnosticsPublisher
from fourd_ros.bridge.parameters import declare, parameter
from fourd_ros.errors import FourdError
from fourd_ros.nodes.executor import make_executor
from fourd_ros.nodes.transport import use_large_messages
from fourd_ros.nodes.worker import Worker

WARNING_PERIOD = 5.0
"""The same kind of problem is logged this often [s]; its counter counts every time."""


class ClockJump(Enum):
    """How the ROS clock jumped."""

    FORWARD = "forward"
    BACKWARD = "backward"


@dataclass(frozen=True, kw_only=True)
class NodeParameters:
    """Parameters of every node; a node's own ones are a subclass."""

    autostart: bool = parameter(
        True, "configure and activate at once; else somebody calls change_state", read_only=True
    )
    diagnostics_period: float = parameter(
        1.0, "seconds between messages on /diagnostics", minimum=0.1, maximum=60.0, read_only=True
    )
    clock_jump_forward: float = parameter(
        2.0,
        "a longer step of the ROS clock clears histories, as does any step back [s]",
        minimum=0.01,
        maximum=3600.0,
        read_only=True,
    )


class FourdNode(LifecycleNode):
    """A managed node. Subclasses fill in the four hooks and :meth:`on_clock_jump`.

    What a hook makes with :meth:`subscribe`, :meth:`advertise`, :meth:`every`, :meth:`worker` or hands
    to :meth:`defer` is given back by itself: after ``stop()`` when ``start()`` made it, after ``unload()``
    when ``load()`` did. A hook that raises a :class:`FourdError` fails its transition with the message
    in the log; anything else is logged with its traceback and leads through error processing to
    *unconfigured*. Callbacks made here report what they raise and the node lives on.

    Args:
        name: default node name.
        options: passed on to ``rclpy.node.Node`` (context, namespace, cli_args, parameter_overrides ...).
    """

    Parameters: ClassVar[type[NodeParameters]] = NodeParameters

    def __init__(self, name: str, **options: Any) -> None:
        # Before anything can fail: a context that closes also destroys nodes that are half made.
        self._alive, self._loaded, self._started = ExitStack(), ExitStack(), ExitStack()
        self._scope = self._loaded
        self._is_loaded = False
        self._warned: dict[str, float] = {}
        self.counters = Counters()
        self.autostart_result: TransitionCallbackReturn | None = None
        super().__init__(name, **options)
        self.parameters: Any = declare(
            self, self.Parameters, on_change=self._take_parameters, state=lambda: self.state_label
        )
        self._watch_itself()
        if self.parameters.autostart:
            self._autostart_timer = self.create_timer(0.0, self._autostart, clock=steady_clock())

    # Hooks.

    def load(self) -> None:
        """Configure: read files, load the model, advertise."""

    def start(self) -> None:
        """Activate: subscribe, start workers and servers."""

    def stop(self) -> None:
        """Deactivate: end what is going on; entities and workers made in `start` follow by themselves."""

    def unload(self) -> None:
        """Cleanup: free the memory taken in `load`."""

    def on_clock_jump(self, jump: ClockJump) -> None:
        """The ROS clock jumped: forget histories. Runs on the clock's thread and must be quick."""

    def status(self) -> Mapping[str, object]:
        """Key-values beside the counters on ``/diagnostics``."""
        return {}

    def warning(self) -> str:
        """What the node lacks while it works, for ``/diagnostics``; empty when it lacks nothing."""
        return ""

    # What hooks use.

    @property
    def cameras(self) -> tuple[str, ...]:
        """Namespaces of the cameras that the node publishes or listens to; none for most nodes."""
        return tuple(getattr(self.parameters, "cameras", ()))

    @property
    def state_label(self) -> str:
        """Of the lifecycle: unconfigured, inactive, active, finalized, or a transition."""
        return str(self._state_machine.current_state[1])

    @property
    def is_active(self) -> bool:
        """True from the beginning of `start` to the end of `stop`."""
        return self._scope is self._started

    def defer(self, release: Callable[[], Any]) -> None:
        """Call `release` when what is being made now is given back, in reverse order."""
        self._scope.callback(release)

    def subscribe(
        self,
        msg_type: Any,
        topic: str,
        callback: Callable[[Any], object],
        qos: QoSProfile | int,
        *,
        raw: bool = False,
        group: CallbackGroup | None = None,
    ) -> Subscription[Any]:
        """A subscription whose callback's errors are counted and logged."""
        subscription = self.create_subscription(
            msg_type, topic, self.guarded(callback), qos, raw=raw, callback_group=group
        )
        self.defer(lambda: self.destroy_subscription(subscription))
        return subscription

    def advertise(self, msg_type: Any, topic: str, qos: QoSProfile | int) -> Publisher[Any]:
        """A publisher."""
        publisher = self.create_publisher(msg_type, topic, qos)
        self.defer(lambda: self.destroy_publisher(publisher))
        return publisher

    def serve(
        self,
        srv_type: Any,
        name: str,
        callback: Callable[[Any, Any], Any],
        *,
        group: CallbackGroup | None = None,
    ) -> Any:
        """A service; its callback answers errors in the response itself."""
        service = self.create_service(srv_type, name, callback, callback_group=group)
        self.defer(lambda: self.destroy_service(service))
        return service

    def every(self, period: float, callback: Callable[[], object], *, group: CallbackGroup | None = None) -> Timer:
        """A timer of steady time (a paused or missing ``/clock`` does not hold it), `period` in seconds."""
        timer = self.create_timer(period, self.guarded(callback), callback_group=group, clock=steady_clock())
        self.defer(lambda: self.destroy_timer(timer))
        return timer

    def worker(self, name: str) -> Worker:
        """A running worker; its errors are reported, its drops counted as ``dropped_<name>``."""
        worker = Worker(
            f"{self.get_name()}.{name}",
            on_error=self.report,
            on_drop=lambda: self.counters.count(f"dropped_{name}"),
        )
        worker.start()
        self.defer(worker.stop)
        return worker

    def guarded(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """`callback` with its exceptions handed to :meth:`report`."""

        def call(*args: Any) -> Any:
            try:
                return callback(*args)
            except Exception as error:
                self.report(error)
                return None

        return call

    def report(self, error: Exception) -> None:
        """Count `error` under its kind; log it, the same kind not more often than every few seconds."""
        if not self.context.ok():
            return
        self.counters.error(error)
        expected = isinstance(error, FourdError)
        kind = cast(FourdError, error).kind if expected else UNEXPECTED
        now = time.monotonic()
        if now - self._warned.get(kind, -WARNING_PERIOD) < WARNING_PERIOD:
            return
        self._warned[kind] = now
        if expected:
            self.get_logger().warning(f"{kind}: {error}")
        else:
            self.get_logger().error("".join(traceback.format_exception(error)))

    # The state machine.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        result = self._call("load", self.load)
        self._is_loaded = result == TransitionCallbackReturn.SUCCESS
        if not self._is_loaded:
            self._give_back(self._loaded)
        return result

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._scope = self._started
        result = self._call("start", self.start)
        if result != TransitionCallbackReturn.SUCCESS:
            self._give_back(self._started)
        return result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._leave("stop", self.stop, self._started)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._is_loaded = False
        return self._leave("unload", self.unload, self._loaded)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._leave_all()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        self._leave_all()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Give everything back, whatever the state."""
        self._leave_all()
        self._alive.close()
        super().destroy_node()

    def _watch_itself(self) -> None:
        settings = self.parameters
        diagnostics = DiagnosticsPublisher(
            self,
            self.counters,
            period=settings.diagnostics_period,
            values=lambda: {"state": self.state_label, **self.status()},
            warning=self.warning,
        )
        self._alive.callback(diagnostics.destroy)
        clock = ClockWatch(self, on_jump=self._jumped, on_conflict=self.report, forward=settings.clock_jump_forward)
        self._alive.callback(clock.destroy)

    def _call(self, hook: str, function: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            function()
        except FourdError as error:
            self.counters.error(error)
            self.get_logger().error(f"{hook} failed: {error}")
            return TransitionCallbackReturn.FAILURE
        except Exception as error:
            self.counters.error(error)
            self.get_logger().error(f"{hook} failed unexpectedly:\n{traceback.format_exc()}")
            return TransitionCallbackReturn.ERROR
        return TransitionCallbackReturn.SUCCESS

    def _leave(self, hook: str, function: Callable[[], None], scope: ExitStack) -> TransitionCallbackReturn:
        """Downwards there is no way back: an expected error of the hook is logged, and all is given back."""
        result = self._call(hook, function)
        self._give_back(scope)
        return (
            TransitionCallbackReturn.ERROR
            if result == TransitionCallbackReturn.ERROR
            else (TransitionCallbackReturn.SUCCESS)
        )

    def _leave_all(self) -> None:
        if self.is_active:
            self._leave("stop", self.stop, self._started)
        if self._is_loaded:
            self._is_loaded = False
            self._leave("unload", self.unload, self._loaded)

    def _give_back(self, scope: ExitStack) -> None:
        self._call("release", scope.close)
        self._scope = self._loaded

    def _take_parameters(self, parameters: NodeParameters) -> None:
        self.parameters = parameters

    def _jumped(self, seconds: float) -> None:
        jump = ClockJump.FORWARD if seconds > 0 else ClockJump.BACKWARD
        self.counters.count(f"clock_jump_{jump.value}")
        self.get_logger().info(f"the clock jumped {jump.value} by {abs(seconds):.3f} s")
        self.guarded(self.on_clock_jump)(jump)

    def _autostart(self) -> None:
        self.destroy_timer(self._autostart_timer)
        result = self.trigger_configure()
        if result == TransitionCallbackReturn.SUCCESS:
            result = self.trigger_activate()
        self.autostart_result = result
        if self.is_active:
            self.get_logger().info("is active")


def run(node_class: Callable[[], Node], args: Sequence[str] | None = None) -> int:
    """The main function of an executable with one node; returns the exit status.

    Args:
        node_class: makes the node.
        args: command line with ``--ros-args``; None for that of the process.
    """
    use_large_messages()
    try:
        with rclpy.init(args=None if args is None else list(args)):
            node = node_class()
            executor = make_executor()
            executor.add_node(node)
            try:
                executor.spin()
            finally:
                node.destroy_node()
                executor.shutdown(timeout_sec=1.0)
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    except FourdError as error:
        get_logger("fourd_ros").fatal(str(error))
        return 1
    return 0
