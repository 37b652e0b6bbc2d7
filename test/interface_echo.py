"""Fills any interface with values that differ in every field, and a process that sends each one back.

A service answers, and an action ends, with what `filled` makes of its own type, so the other side knows every value.
"""

import array
import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import numpy as np
import rclpy
from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node
from rclpy.task import Future
from rosidl_parser.definition import (
    AbstractNestedType,
    AbstractSequence,
    Array,
    BasicType,
    BoundedSequence,
    NamespacedType,
)

PACKAGES = ("fourd_msgs", "tf2_msgs", "control_msgs")
DEPTH = 10


def interfaces(kind: str) -> list[Any]:
    """Every class of a kind (``msg``, ``srv``, ``action``) that this repository builds."""
    found = []
    for package in PACKAGES:
        if importlib.util.find_spec(f"{package}.{kind}"):
            module = importlib.import_module(f"{package}.{kind}")
            found += [getattr(module, name) for name in sorted(vars(module)) if "_" not in name]
    return [one for one in found if isinstance(one, type)]


def filled(cls: Any) -> Any:
    """An instance in which no field has its default, the same one in every process."""
    return _fill(cls, iter(range(1, 1_000_000)))


def _fill(cls: Any, numbers: Iterator[int]) -> Any:
    message = cls()
    for name, kind in zip(cls.get_fields_and_field_types(), cls.SLOT_TYPES, strict=True):
        setattr(message, name, _value(kind, numbers))
    return message


def _value(kind: Any, numbers: Iterator[int]) -> Any:
    if isinstance(kind, AbstractNestedType):
        size = kind.size if isinstance(kind, Array) else 2
        values = [_value(kind.value_type, numbers) for _ in range(size)]
        return _like_default(kind, values)
    if isinstance(kind, NamespacedType):
        module = importlib.import_module(".".join(kind.namespaces))
        return _fill(getattr(module, kind.name), numbers)
    if isinstance(kind, BasicType):
        return _basic(kind.typename, next(numbers))
    return f"text {next(numbers)}"


def _basic(typename: str, number: int) -> Any:
    if typename == "boolean":
        return True
    if typename in ("float", "double"):
        return number + 0.5
    return bytes([number % 251]) if typename == "octet" else number % 127 + 1


def _like_default(kind: Any, values: list[Any]) -> Any:
    codes = {"double": "d", "float": "f", "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "int32": "i"}
    typename = getattr(kind.value_type, "typename", "")
    if isinstance(kind, AbstractSequence | BoundedSequence) and typename in codes:
        return array.array(codes[typename], values)
    if isinstance(kind, Array) and typename in codes:
        return np.array(values, dtype=codes[typename])
    return values


class Echo(Node):
    """Answers for every interface under a topic, service or action of its name."""

    def __init__(self) -> None:
        super().__init__("interface_echo")
        for cls in interfaces("msg"):
            back = self.create_publisher(cls, topic_of(cls, "back"), DEPTH)
            self.create_subscription(cls, topic_of(cls, "there"), back.publish, DEPTH)
        for cls in interfaces("srv"):
            self.create_service(cls, topic_of(cls), self._serve(cls))
        for cls in interfaces("action"):
            ActionServer(self, cls, topic_of(cls), self._act(cls))
            self._serve_until_cancelled(cls)

    @staticmethod
    def _serve(cls: Any) -> Any:
        def answer(request: Any, response: Any) -> Any:
            assert request == filled(cls.Request)
            return filled(cls.Response)

        return answer

    @staticmethod
    def _act(cls: Any) -> Any:
        def execute(goal: Any) -> Any:
            assert goal.request == filled(cls.Goal)
            goal.publish_feedback(filled(cls.Feedback))
            goal.succeed()
            return filled(cls.Result)

        return execute

    def _serve_until_cancelled(self, cls: Any) -> None:
        cancelled: Future[None] = Future()

        async def execute(goal: Any) -> Any:
            goal.publish_feedback(filled(cls.Feedback))
            await cancelled
            goal.canceled()
            return filled(cls.Result)

        def cancel(goal: Any) -> CancelResponse:
            cancelled.set_result(None)
            return CancelResponse.ACCEPT

        ActionServer(self, cls, topic_of(cls, "until_cancelled"), execute, cancel_callback=cancel)


def topic_of(cls: Any, suffix: str = "it") -> str:
    """A name for the topic, service or action of a class."""
    return f"echo/{cls.__module__.split('.')[0]}/{cls.__name__}/{suffix}"


def main() -> None:
    rclpy.init()
    node = Echo()
    print("ready", flush=True)
    rclpy.spin(node)


if __name__ == "__main__":
    main()
