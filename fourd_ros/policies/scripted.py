"""Scripted policies of graded skill: they know where everything is, plan once, and err by a stated amount."""

import math
from dataclasses import replace
from functools import lru_cache

from fourd_ros.errors import PolicyFailed, UnknownPolicy
from fourd_ros.policies.base import Assignment, Contract, Policy
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.robot.panda import PANDA_READY
from fourd_ros.simulation.acting import plan_motion
from fourd_ros.simulation.controller import JOINTS, InverseKinematics
from fourd_ros.simulation.policies import Policy as Skill
from fourd_ros.simulation.scene import sample_scene

_ANY = {
    "expert": Skill(),
    "freeze_45": Skill(freeze_after=0.45),
    "random": Skill(random_motion=True),
}
_AIM = {f"aim_{millimetres}mm": Skill(aim_noise=millimetres / 1000) for millimetres in (10, 20, 30, 40, 50, 60, 80)}
_AIM_FINELY = {f"aim_{millimetres}mm": Skill(aim_noise=millimetres / 1000) for millimetres in (5, 15, 25, 35)}

SKILLS: dict[str, dict[str, Skill]] = {
    "push": {
        **_ANY,
        **_AIM,
        **{f"heading_{degrees}": Skill(heading_error=math.radians(degrees)) for degrees in (10, 20, 30, 45)},
        **{f"part_{percent}": Skill(fraction=percent / 100) for percent in (85, 70, 50, 130)},
        "wrong_object": Skill(wrong_object=True),
    },
    "pick_place": {
        **_ANY,
        **_AIM,
        **_AIM_FINELY,
        **{f"part_{percent}": Skill(fraction=percent / 100) for percent in (90, 80, 115)},
        "wrong_object": Skill(wrong_object=True),
    },
    "open_drawer": {
        **_ANY,
        **_AIM,
        **_AIM_FINELY,
        **{f"part_{percent}": Skill(fraction=percent / 100) for percent in (85, 75, 65, 50)},
        "late_freeze_70": Skill(freeze_after=0.7),
    },
}
"""By task and name; the number says by how much: standard deviation of the aim, of the direction of a push [deg],
part of the way [%]."""


class ScriptedPolicy(Policy):
    """Plans the whole motion from the truth about the start.

    Args:
        name: a key of ``SKILLS[task]``.
        skill: how it errs.
    """

    contract = Contract(joints=JOINTS, scene=True)

    def __init__(self, name: str, skill: Skill) -> None:
        super().__init__(name)
        self._skill = skill
        self._assignment: Assignment | None = None

    def begin(self, assignment: Assignment) -> None:
        self._assignment = assignment

    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        assignment = self._assignment
        if assignment is None or assignment.scene is None or assignment.goal is None:
            raise PolicyFailed(f"policy '{self.name}' was not told the scene and the goal of its episode")
        if elapsed > 0:
            return None
        return plan_motion(
            self._skill,
            assignment.goal,
            assignment.scene,
            _kinematics(),
            observation.joint_positions,
            seed=assignment.seed,
        )


def make_policy(name: str, *, task: str) -> ScriptedPolicy:
    """The scripted policy of that name.

    Raises:
        UnknownPolicy: nobody wrote any for the task, or none of that name.
    """
    skills = SKILLS.get(task, {})
    if name not in skills:
        raise UnknownPolicy(
            f"no scripted policy '{name}' for '{task}'; there are "
            f"{ {kind: list(names) for kind, names in SKILLS.items()} }"
        )
    return ScriptedPolicy(name, skills[name])


@lru_cache(maxsize=1)
def _kinematics() -> InverseKinematics:
    """Of the robot alone, biased to its usual posture; the same for all scenes."""
    from fourd_ros.simulation.model import build_model

    return InverseKinematics(build_model(replace(sample_scene(0), objects=(), fixtures=())), PANDA_READY)
