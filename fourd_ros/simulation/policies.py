"""Scripted policies by name, from expert to bad."""

from dataclasses import dataclass

from fourd_ros.errors import UnknownTask


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A scripted policy.

    Args:
        aim_noise: standard deviation of the point that is aimed at, in x and y each [m].
        heading_error: standard deviation of the direction of a push [rad].
        fraction: part of the way that is gone.
        wrong_object: True to work on another object where there is one.
        random_motion: True to ignore the task and move about.
        freeze_after: part of the motion after which the robot stands still, 1 for never.
    """

    aim_noise: float = 0.0
    heading_error: float = 0.0
    fraction: float = 1.0
    wrong_object: bool = False
    random_motion: bool = False
    freeze_after: float = 1.0


POLICIES: dict[str, Policy] = {
    "expert": Policy(),
    "noise_1cm": Policy(aim_noise=0.01),
    "noise_3cm": Policy(aim_noise=0.03),
    "noise_6cm": Policy(aim_noise=0.06),
    "off_heading": Policy(heading_error=0.5, aim_noise=0.02),
    "half_way": Policy(fraction=0.5),
    "wrong_object": Policy(wrong_object=True, aim_noise=0.01),
    "freeze": Policy(freeze_after=0.45),
    "random": Policy(random_motion=True),
}


def find_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        UnknownTask: there is none.
    """
    if name not in POLICIES:
        raise UnknownTask(f"no policy '{name}'; there are {list(POLICIES)}")
    return POLICIES[name]
