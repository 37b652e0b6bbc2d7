"""The policy: what it has to be told, what it is asked, what it answers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from fourd_ros.errors import ContractViolated
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Contract:
    """What a policy needs to be told, declared once and checked before it starts.

    Args:
        cameras: names of the views that it looks at; none for a policy that does not look.
        depth: it needs points of these views, not colour alone.
        size: width and height of their images [px]; None for any.
        joints: names of the joints whose positions it needs.
        scene: it needs to know where everything truly is at the start (scripted experts).
        period: time from one answer to the next question [s]; None for one answer for the whole episode.
    """

    cameras: tuple[str, ...] = ()
    depth: bool = False
    size: tuple[int, int] | None = None
    joints: tuple[str, ...] = ()
    scene: bool = False
    period: float | None = None

    def check(self, name: str, observation: Observation, *, scene: bool) -> None:
        """See that a world tells what the policy `name` needs.

        Args:
            name: of the policy.
            observation: the first one that it would get.
            scene: whether the world knows where everything truly is.

        Raises:
            ContractViolated: something is missing.
        """
        wanting = [f"camera '{camera}'" for camera in self.cameras if camera not in observation.views]
        wanting += [f"joint '{joint}'" for joint in self.joints if joint not in observation.joint_positions]
        seen = [observation.views[camera].camera for camera in self.cameras if camera in observation.views]
        wanting += [
            f"images of {self.size[0]} x {self.size[1]} instead of {camera.width} x {camera.height}"
            for camera in seen
            if self.size is not None and (camera.width, camera.height) != self.size
        ]
        if self.scene and not scene:
            wanting.append("a start made by the simulator, to know where everything truly is")
        if wanting:
            raise ContractViolated(
                f"policy '{name}' needs {', '.join(wanting)}; there are the cameras {sorted(observation.views)} "
                f"and the joints {sorted(observation.joint_positions)}"
            )


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a policy is asked to do in one episode.

    Args:
        task: name of the kind of task.
        instruction: the same in words.
        goal: target of the task and where it shall be; None where words are all there is.
        scene: where everything truly is at the start; None for policies that may not know.
        seed: of everything random in the policy.
    """

    task: str
    instruction: str
    goal: Task | None
    scene: SceneSpec | None
    seed: int


class Policy(ABC):
    """Something that drives a robot; one episode after another.

    Args:
        name: by which it is known in results.
    """

    contract: Contract

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def begin(self, assignment: Assignment) -> None:
        """A new episode; nothing of the former one may be remembered."""

    @abstractmethod
    def act(self, observation: Observation, *, elapsed: float) -> RobotTrajectory | None:
        """The motion commanded from now on, until the next question; None when there is nothing more to do.

        Args:
            observation: what is known now.
            elapsed: time since the episode began [s].

        Raises:
            PolicyFailed: there is no answer, or none that a robot could follow.
        """

    def close(self) -> None:  # noqa: B027 - most policies hold nothing
        """Give back what it holds."""
