"""What comes of policies at a start, in the imagination of one rung."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from fourd_ros.errors import JudgeFailed
from fourd_ros.evaluation.policy.goals import Ending, Goal, Verdict, goal_of
from fourd_ros.evaluation.policy.starts import Start
from fourd_ros.evaluation.policy.tracks import grasp_point, resting, tracks_of
from fourd_ros.evaluation.policy.trial_setup import Trials, assignment_of, shared_robot
from fourd_ros.evaluation.policy.units import Outcome, invalid_outcome
from fourd_ros.evaluation.policy.worlds import ImaginedWorld, drive
from fourd_ros.policies.base import Policy
from fourd_ros.records import Pixels, RobotTrajectory
from fourd_ros.world_model.base import Forecast, Question, WorldModel

FRAME_STEP = 0.2
"""Between two frames of a film [s]."""


class Imagination:
    """A start in the imagination of one rung.

    Args:
        start: the start.
        model: the rung.
        trials: what is tried.
    """

    def __init__(self, start: Start, model: WorldModel, trials: Trials) -> None:
        self.robot = shared_robot()
        self._start, self._model, self._trials = start, model, trials
        self._goal: Goal = goal_of(start.task, start.scene)
        self._resting = resting(self.robot, start.observation)

    def outcomes(self, policies: Mapping[str, Policy], seed: int) -> dict[str, tuple[Outcome, str]]:
        """What comes of every policy, and the hash of what imagined it; those that answer once are imagined at once."""
        found: dict[str, tuple[Outcome, str]] = {}
        motions: dict[str, RobotTrajectory] = {}
        for name, policy in policies.items():
            try:
                motions[name] = self.commanded(policy, seed)
            except Exception as error:
                found[name] = (invalid_outcome(error), "")
        began = time.perf_counter()
        forecasts, ends = self._forecasts(list(motions.values()), seed)
        seconds = (time.perf_counter() - began) / max(len(motions), 1)
        for (name, motion), forecast, index in zip(motions.items(), forecasts, ends, strict=True):
            found[name] = (self._judged(motion, forecast, index, seconds, seed), forecast.model_sha256)
        return {name: found[name] for name in policies}

    def commanded(self, policy: Policy, seed: int) -> RobotTrajectory:
        """All that a policy commands in an episode, over all joints, to its end.

        Raises:
            PolicyFailed: it gave no answer, or none that the robot could follow.
        """
        limit = self._trials.limit
        world = ImaginedWorld(self._model, self.robot, self._start.observation, limit=limit, seed=seed)
        drive(policy, world, assignment_of(policy, self._start, seed), limit=limit)
        return world.commanded

    def _forecasts(self, motions: Sequence[RobotTrajectory], seed: int) -> tuple[Sequence[Forecast], list[int]]:
        """Of every motion, and the place of its own end among the instants."""
        if not motions:
            return [], []
        times, places = np.unique([motion.times[-1] for motion in motions], return_inverse=True)
        question = Question(
            robot=self.robot,
            observation=self._start.observation,
            candidates=tuple(motions),
            times=times,
            views=tuple(self._start.observation.views)[:1],
            seed=seed,
        )
        return self._model.predict(question), places.tolist()

    def _judged(self, motion: RobotTrajectory, forecast: Forecast, index: int, seconds: float, seed: int) -> Outcome:
        trusted = not forecast.trust < self._trials.least_trust
        told = Outcome(success=None, trust=forecast.trust, abstained=not trusted, seconds=seconds)
        if not trusted:
            return told
        try:
            verdict = self._verdict(motion, forecast, index, seed)
        except JudgeFailed as error:
            return replace(told, invalid=f"{error.kind}: {error}")
        if verdict.success is None:
            return replace(
                told, invalid="" if self._trials.judge else verdict.reason, abstained=bool(self._trials.judge)
            )
        return replace(told, success=verdict.success, probability=verdict.probability)

    def _verdict(self, motion: RobotTrajectory, forecast: Forecast, index: int, seed: int) -> Verdict:
        if self._trials.judge is not None:
            return self._trials.judge.judge(self.film(motion, seed), self._start.task.instruction)
        tracks = tracks_of(forecast, index, self._start.observation, self._resting)
        return self._goal.judge(Ending(tracks=tracks, grasp=grasp_point(self.robot, motion.positions[-1])))

    def film(self, motion: RobotTrajectory, seed: int) -> Pixels:
        """What the first camera would see under a commanded motion, from now on, shape [T, H, W, 3], uint8."""
        camera, view = next(iter(self._start.observation.views.items()))
        question = Question(
            robot=self.robot,
            observation=self._start.observation,
            candidates=(motion,),
            times=np.arange(FRAME_STEP, float(motion.times[-1]) + FRAME_STEP / 2, FRAME_STEP),
            views=(camera,),
            seed=seed,
        )
        (rollout,) = self._model.imagine(question, checkpoint=lambda _: None)
        return np.concatenate([view.rgb[None], rollout.views[camera].rgb])
