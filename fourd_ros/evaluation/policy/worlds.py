"""Where policies act: the simulator, or the imagination."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fourd_ros.evaluation.policy.starts import observe, settle
from fourd_ros.policies.base import Assignment, Policy
from fourd_ros.records import Observation, RobotTrajectory
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.trajectory_follower import TrajectoryFollower
from fourd_ros.simulation.scene import SceneState
from fourd_ros.world_model.base import WorldModel
from fourd_ros.world_model.imagined_state import ImaginedState

if TYPE_CHECKING:
    from fourd_ros.simulation.simulator import Simulator

CONTROL_PERIOD = 0.02
"""Between two set points of the simulated servos [s]."""

REST = 0.4
"""After the last commanded point things come to rest for so long [s]."""


class World(ABC):
    """Something with a robot in it that can be commanded and looked at."""

    @abstractmethod
    def observe(self, cameras: Sequence[str]) -> Observation:
        """What is measured now, and seen with some of the cameras."""

    @abstractmethod
    def follow(self, trajectory: RobotTrajectory, seconds: float) -> None:
        """Command a motion from now on, and let time pass."""


class SimulatedWorld(World):
    """MuJoCo, from the start of its scene.

    Args:
        simulator: of the scene.
        watch: is called after every tick of `CONTROL_PERIOD`.
    """

    def __init__(self, simulator: "Simulator", *, watch: Callable[[], None] = lambda: None) -> None:
        settle(simulator)
        self._simulator, self._watch = simulator, watch
        self._follower = TrajectoryFollower(simulator.commanded_positions())

    def observe(self, cameras: Sequence[str]) -> Observation:
        return observe(self._simulator, cameras)

    def follow(self, trajectory: RobotTrajectory, seconds: float) -> None:
        simulator, now = self._simulator, self._simulator.time
        self._follower.follow(trajectory, start=now, now=now)
        ticks = max(1, round(seconds / CONTROL_PERIOD))
        for tick in range(1, ticks + 1):
            moment = now + seconds * tick / ticks
            simulator.command(*self._follower.setpoint(moment))
            simulator.step(moment - simulator.time)
            self._watch()

    def state(self) -> SceneState:
        """Where everything truly is now."""
        return self._simulator.state()


class ImaginedWorld(World):
    """A world model, from an observation.

    Args:
        model: the rung that imagines.
        robot: the robot.
        start: what is seen at the start.
        limit: longest episode [s].
        seed: of what is random in the model.
    """

    def __init__(self, model: WorldModel, robot: RobotModel, start: Observation, *, limit: float, seed: int) -> None:
        self._state = ImaginedState(model, robot, start, horizon=limit, seed=seed)

    def observe(self, cameras: Sequence[str]) -> Observation:
        return self._state.observation()

    def follow(self, trajectory: RobotTrajectory, seconds: float) -> None:
        self._state.command(trajectory)
        self._state.wait(seconds)

    @property
    def commanded(self) -> RobotTrajectory:
        """All commands since the start, up to now."""
        known, now = self._state.commanded, self._state.now
        times = np.append(known.times[known.times < now], now)
        return RobotTrajectory(joint_names=known.joint_names, times=times, positions=known.at(times))


def drive(policy: Policy, world: World, assignment: Assignment, *, limit: float) -> float:
    """Let a policy act in a world.

    Args:
        policy: that decides.
        world: at its start.
        assignment: what is to be done.
        limit: longest episode [s].

    Returns:
        How long the episode was [s].

    Raises:
        PolicyFailed: it gave no answer, or none that the robot could follow.
    """
    policy.begin(assignment)
    elapsed, period = 0.0, policy.contract.period
    while elapsed < limit:
        motion = policy.act(world.observe(policy.contract.cameras), elapsed=elapsed)
        if motion is None:
            break
        seconds = min(float(motion.times[-1]) + REST if period is None else period, limit - elapsed)
        world.follow(motion, seconds)
        elapsed += seconds
        if period is None:
            break
    return elapsed
