"""Transforms in time: a NumPy buffer, the same one with ``tf2_ros`` doing the arithmetic, and their listener."""

import importlib.util
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourd_ros.bridge.diagnostics import Counters
from fourd_ros.bridge.frame_tree import FrameTree, Path, Pose
from fourd_ros.bridge.times import make_header, seconds_to_ns, stamp_to_ns
from fourd_ros.errors import InvalidTransform, TransformUnavailable
from fourd_ros.geometry.transforms import from_quaternion, invert, to_quaternion

ROUNDED = 1e-3
"""A quaternion whose norm differs from 1 by more is normalised and counted."""

BROKEN = 0.1
"""One whose norm differs by more is no rotation."""

WARNING_PERIOD = 5.0


class TransformBuffer:
    """The recent past of the TF tree; safe for one writer and many readers in different threads.

    Args:
        duration: how much of it is remembered [s].
        max_gap: neighbouring samples further apart are not interpolated [s].
        counters: where corrections (``transform_normalised``, ``transform_reparented``) and what a listener was refused
            (``invalid_transform``) are counted.
    """

    def __init__(self, *, duration: float = 10.0, max_gap: float = 1.0, counters: Counters | None = None) -> None:
        self._tree = FrameTree(keep_ns=seconds_to_ns(duration))
        self._max_gap_ns = seconds_to_ns(max_gap)
        self.counters = counters or Counters()
        self._changed = threading.Condition()

    def set_transform(
        self,
        parent: str,
        child: str,
        stamp_ns: int,
        T_parent_child: Pose,
        *,
        static: bool = False,
    ) -> None:
        """Remember where `child` was.

        Args:
            parent: frame in which the child is given.
            child: frame that moves.
            stamp_ns: when [ns]; of no meaning for a static one.
            T_parent_child: rigid transform, shape [4, 4].
            static: valid at all times, and kept when the clock jumps.

        Raises:
            InvalidTransform: an empty name, values that are not finite, a circle, or a single leap ahead in time by
                more than what is remembered.
        """
        if not parent or not child:
            raise InvalidTransform(f"transform '{parent}' -> '{child}' lacks a frame name")
        if T_parent_child.shape != (4, 4) or not np.isfinite(T_parent_child).all():
            raise InvalidTransform(f"transform '{parent}' -> '{child}' must be a finite [4, 4] matrix")
        with self._changed:
            self._insert(_bare(parent), _bare(child), stamp_ns, T_parent_child, static)
            self._changed.notify_all()

    def add(self, transform: Any, *, static: bool = False) -> None:
        """Remember a ``geometry_msgs/TransformStamped``.

        Raises:
            InvalidTransform: as `set_transform`, or a quaternion far from unit length.
        """
        for error in self.add_all([transform], static=static):
            raise error

    def add_all(self, transforms: Sequence[Any], *, static: bool = False) -> list[InvalidTransform]:
        """Remember the transforms of a ``tf2_msgs/TFMessage``; returns why some could not be."""
        if not transforms:
            return []
        numbers = np.array([_numbers(one.transform) for one in transforms])
        norms = np.linalg.norm(numbers[:, 3:], axis=1)
        sound = np.abs(norms - 1) <= BROKEN
        numbers[~sound] = (0, 0, 0, 0, 0, 0, 1)
        poses = from_quaternion(numbers[:, :3], numbers[:, 3:])
        errors = []
        for transform, pose, norm in zip(transforms, poses, norms.tolist(), strict=True):
            try:
                self._add(transform, pose, norm, static)
            except InvalidTransform as error:
                errors.append(error)
        return errors

    def _add(self, transform: Any, pose: Pose, norm: float, static: bool) -> None:
        parent, child = str(transform.header.frame_id), str(transform.child_frame_id)
        if not abs(norm - 1) <= BROKEN:
            raise InvalidTransform(f"transform '{parent}' -> '{child}' has a quaternion of length {norm:.3g}, needed 1")
        if abs(norm - 1) > ROUNDED:
            self.counters.count("transform_normalised")
        self.set_transform(parent, child, stamp_to_ns(transform.header.stamp), pose, static=static)

    def lookup(self, target: str, source: str, stamp_ns: int = 0, *, timeout: float = 0.0) -> Pose:
        """``T_target_source`` at one instant, shape [4, 4].

        Args:
            target: frame to express points in.
            source: frame the points are given in.
            stamp_ns: when [ns]; 0 for the newest instant that all frames between the two share.
            timeout: wait this long (steady time) for samples on their way [s]; never in a callback of the listener's
                executor thread.

        Raises:
            TransformUnavailable: unknown or unconnected frames, a gap, or a stamp outside what is remembered;
                names the edge and the range.
        """
        target, source = _bare(target), _bare(source)
        give_up = time.monotonic() + timeout
        with self._changed:
            while True:
                try:
                    return self._lookup(target, source, stamp_ns)
                except TransformUnavailable:
                    remaining = give_up - time.monotonic()
                    if remaining <= 0:
                        raise
                self._changed.wait(remaining)

    def ancestors(self, frame: str) -> tuple[str, ...]:
        """Frames above `frame`, the nearest first; empty for a root or an unknown frame."""
        with self._changed:
            return tuple(edge.parent for edge in self._tree.chain(_bare(frame)))

    def frames(self) -> set[str]:
        """Names of all known frames."""
        with self._changed:
            return self._tree.frames()

    def clear(self) -> None:
        """Forget all motion (the clock jumped); static transforms stay, nobody sends them again."""
        with self._changed:
            self._tree.forget_motion()

    def _insert(self, parent: str, child: str, stamp_ns: int, T_parent_child: Pose, static: bool) -> None:
        if self._tree.insert(parent, child, stamp_ns, T_parent_child, static=static):
            self.counters.count("transform_reparented")

    def _lookup(self, target: str, source: str, stamp_ns: int) -> Pose:
        if target == source:
            return np.eye(4)
        path = self._tree.path(target, source)
        stamp_ns = stamp_ns or path.latest()
        path.check(stamp_ns, self._max_gap_ns)
        return self._evaluate(path, stamp_ns)

    def _evaluate(self, path: Path, stamp_ns: int) -> Pose:
        T_common_source, T_common_target = np.eye(4), np.eye(4)
        for edge in path.from_source:
            T_common_source = edge.at(stamp_ns) @ T_common_source
        for edge in path.from_target:
            T_common_target = edge.at(stamp_ns) @ T_common_target
        return invert(T_common_target) @ T_common_source


class Tf2TransformBuffer(TransformBuffer):
    """The same checks, errors and waiting, with the transforms stored and interpolated by ``tf2_ros.Buffer``."""

    def __init__(self, *, duration: float = 10.0, max_gap: float = 1.0, counters: Counters | None = None) -> None:
        import tf2_ros
        from rclpy.duration import Duration

        super().__init__(duration=duration, max_gap=max_gap, counters=counters)
        self._failure = tf2_ros.TransformException
        self._buffer = tf2_ros.Buffer(cache_time=Duration(nanoseconds=seconds_to_ns(duration)))

    def clear(self) -> None:
        super().clear()
        self._buffer.clear()

    def _insert(self, parent: str, child: str, stamp_ns: int, T_parent_child: Pose, static: bool) -> None:
        super()._insert(parent, child, stamp_ns, T_parent_child, static)
        message = make_transform(parent, child, stamp_ns, T_parent_child)
        store = self._buffer.set_transform_static if static else self._buffer.set_transform
        store(message, "fourd_ros")

    def _evaluate(self, path: Path, stamp_ns: int) -> Pose:
        from rclpy.time import Time

        try:
            message = self._buffer.lookup_transform(path.target, path.source, Time(nanoseconds=stamp_ns))
        except self._failure as error:
            raise TransformUnavailable(f"no transform from '{path.source}' to '{path.target}': {error}") from error
        return _pose(message.transform)


def make_transform_buffer(
    *, duration: float = 10.0, max_gap: float = 1.0, counters: Counters | None = None
) -> TransformBuffer:
    """A buffer on ``tf2_ros`` where it is installed (a full ROS), else the NumPy one; both answer alike."""
    kind = Tf2TransformBuffer if importlib.util.find_spec("tf2_ros") else TransformBuffer
    return kind(duration=duration, max_gap=max_gap, counters=counters)


class TransformListener:
    """Feeds ``/tf`` and ``/tf_static`` into a buffer; one bad transform does not lose the others of its message.

    Args:
        node: whose executor runs the callbacks (in a callback group of their own).
        buffer: where the transforms go.
        on_error: called with the InvalidTransform of a refused one; when None it is counted in the buffer's counters
            and logged now and then.
        prefix: of the two topics.
    """

    def __init__(
        self,
        node: Any,
        buffer: TransformBuffer,
        *,
        on_error: Callable[[InvalidTransform], None] | None = None,
        prefix: str = "/",
    ) -> None:
        from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
        from tf2_msgs.msg import TFMessage

        from fourd_ros.bridge.qos import static_transform_qos, transform_qos

        self._node = node
        self._buffer = buffer
        self._on_error = on_error or self._report
        group = MutuallyExclusiveCallbackGroup()
        self._subscriptions = [
            node.create_subscription(TFMessage, topic, partial(self._take, static=static), qos, callback_group=group)
            for topic, qos, static in (
                (f"{prefix}tf", transform_qos(), False),
                (f"{prefix}tf_static", static_transform_qos(), True),
            )
        ]

    def destroy(self) -> None:
        """Stop listening."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def _take(self, message: Any, *, static: bool) -> None:
        for error in self._buffer.add_all(message.transforms, static=static):
            self._on_error(error)

    def _report(self, error: InvalidTransform) -> None:
        self._buffer.counters.count(error.kind)
        self._node.get_logger().warning(str(error), throttle_duration_sec=WARNING_PERIOD)


def make_transform(parent: str, child: str, stamp_ns: int, T_parent_child: ArrayLike) -> Any:
    """``geometry_msgs/TransformStamped`` of a rigid transform, shape [4, 4]."""
    from geometry_msgs.msg import Quaternion, Transform, TransformStamped, Vector3

    (x, y, z), (qx, qy, qz, qw) = (part.tolist() for part in to_quaternion(np.asarray(T_parent_child)))
    return TransformStamped(
        header=make_header(stamp_ns, parent),
        child_frame_id=child,
        transform=Transform(translation=Vector3(x=x, y=y, z=z), rotation=Quaternion(x=qx, y=qy, z=qz, w=qw)),
    )


def _pose(transform: Any) -> NDArray[np.float64]:
    numbers = np.array(_numbers(transform))
    return from_quaternion(numbers[:3], numbers[3:])


def _numbers(transform: Any) -> tuple[float, ...]:
    """Position and quaternion of a ``geometry_msgs/Transform``."""
    at, turned = transform.translation, transform.rotation
    return at.x, at.y, at.z, turned.x, turned.y, turned.z, turned.w


def _bare(frame: str) -> str:
    """A frame name without the leading slash of ROS 1."""
    return frame.removeprefix("/")
