"""Policies by name: ``KIND/DETAIL``, or ``module:Class`` of a user's own."""

from fourd_ros.errors import InvalidInput, UnknownPolicy
from fourd_ros.policies.base import Policy
from fourd_ros.registries import find_registered

_MAKERS: dict[str, str] = {
    "imitation": "fourd_ros.policies.imitation:make_policy",
    "lerobot": "fourd_ros.policies.lerobot_policy:make_policy",
    "process": "fourd_ros.policies.process_policy:make_policy",
    "ros": "fourd_ros.nodes.ros_policy:make_policy",
    "scripted": "fourd_ros.policies.scripted:make_policy",
    "websocket": "fourd_ros.policies.websocket_policy:make_policy",
}


def policy_kinds() -> tuple[str, ...]:
    """What may stand before the slash."""
    return tuple(_MAKERS)


def make_policy(name: str, *, task: str) -> Policy:
    """The policy of a name, made for a task.

    Args:
        name: ``scripted/expert``, or ``package.module:Class/detail`` of a user's own: what is called with the detail
            (text, may be empty) and the keyword `task`.
        task: kind of task.

    Raises:
        UnknownPolicy: there is no such policy.
        InvalidInput: what was made is none.
        MissingDependency: what it runs on is not installed.
    """
    kind, _, detail = name.partition("/")
    maker = find_registered(_MAKERS, kind, what="policy", error=UnknownPolicy, others=True)
    if not callable(maker):
        raise InvalidInput(f"policy '{name}' is {maker!r}, needed is something that makes a policy")
    policy = maker(detail, task=task)
    if not isinstance(policy, Policy):
        raise InvalidInput(f"policy '{name}' is {policy!r}, needed is a fourd_ros.policies.base.Policy")
    return policy
