"""All units of one start: every policy, in the imagination of every rung and in the simulator."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import FourdError, JudgeFailed, PolicyFailed
from fourd_ros.evaluation.policy.controls import load_rung
from fourd_ros.evaluation.policy.goals import Ending, Goal, Track, Verdict, goal_of
from fourd_ros.evaluation.policy.judge import Judge
from fourd_ros.evaluation.policy.starts import Start, StartOptions, body_of, simulated_start
from fourd_ros.evaluation.policy.units import Outcome, Unit, UnitResult
from fourd_ros.evaluation.policy.worlds import ImaginedWorld, SimulatedWorld, drive
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.policies.base import Assignment, Policy
from fourd_ros.policies.checked import CheckedPolicy
from fourd_ros.policies.registry import make_policy
from fourd_ros.records import ObjectMotion, Observation, Pixels, RobotTrajectory
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.world_model.base import Forecast, ModelOptions, Question, WorldModel
from fourd_ros.world_model.compact.things import find_things
from fourd_ros.world_model.scene import understand

if TYPE_CHECKING:
    from fourd_ros.simulation.simulator import Simulator

FloatArray = NDArray[np.float64]

CONTACTS = ("nothing moved", "something else moved", "moved along", "moved, and others too", "lifted")
"""What a robot may do to the thing that its task is about, and to others."""

FRAME_STEP = 0.2
"""Between two frames of a film [s]."""

MOVED, LIFTED = 0.01, 0.03
"""From how far on a thing counts as moved, and as lifted [m]."""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """What is tried at a start.

    Args:
        kind: of the task.
        number: of the start.
        options: what the start is drawn from.
        policies: their names.
        seeds: of each.
        backends: rungs that imagine; the first one is the one that is judged, the others are controls.
        model: what rungs are made of.
        truth: try it in the simulator too.
        limit: longest episode [s].
        answer_limit: longest time for an answer of a policy [s].
        judge: of imagined films; None for the detector of the task.
        least_trust: what is trusted less is not judged.
    """

    kind: str
    number: int
    options: StartOptions
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    backends: tuple[str, ...]
    model: ModelOptions
    truth: bool
    limit: float
    answer_limit: float
    judge: Judge | None
    least_trust: float


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What truly came of a unit.

    Args:
        outcome: in the simulator.
        detected: what the detector of success says when it is told how things truly moved; None where unsure.
        contact: what the robot did to things, one of `CONTACTS`; empty for an invalid unit.
    """

    outcome: Outcome
    detected: bool | None
    contact: str


@dataclass(frozen=True, kw_only=True)
class StartResults:
    """What was tried at one start.

    Args:
        results: by rung.
        truths: by policy and seed; empty without a simulator.
    """

    results: Mapping[str, Sequence[UnitResult]]
    truths: Mapping[tuple[str, int], Truth]


def try_start(trials: Trials) -> StartResults:
    """Try everything; whatever a policy does wrong makes its unit invalid, with the reason.

    Raises:
        FourdError: the start, the rungs or a policy cannot be made.
    """
    with simulated_start(trials.kind, trials.number, trials.options) as (start, simulator):
        policies = {name: checked_policy(name, trials) for name in trials.policies}
        try:
            for name, policy in policies.items():
                policy.contract.check(name, start.observation, scene=True)
            units = [(name, seed) for name in policies for seed in trials.seeds]
            tried = units if trials.truth else []
            truths = {(name, seed): _true(policies[name], start, simulator, seed, trials) for name, seed in tried}
            results = {backend: _results(trials, start, backend, policies, truths) for backend in trials.backends}
            return StartResults(results=results, truths=truths)
        finally:
            for policy in policies.values():
                with suppress(PolicyFailed):
                    policy.close()


def checked_policy(name: str, trials: Trials) -> CheckedPolicy:
    """A policy whose answers come in time and can be followed by the robot, or end its episode.

    Raises:
        InvalidInput, MissingDependency: as `make_policy` says.
    """
    robot = shared_robot()
    return CheckedPolicy(
        make_policy(name, task=trials.kind),
        robot.kinematics,
        answer_limit=trials.answer_limit,
        targets=() if robot.gripper is None else robot.gripper.joints,
    )


def _results(
    trials: Trials,
    start: Start,
    backend: str,
    policies: Mapping[str, Policy],
    truths: Mapping[tuple[str, int], Truth],
) -> list[UnitResult]:
    imagination = Imagination(start, load_rung(backend, trials.model), trials)
    results = []
    for seed in trials.seeds:
        for name, (outcome, sha256) in imagination.outcomes(policies, seed).items():
            results.append(
                UnitResult(
                    unit=Unit(task=trials.kind, policy=name, start=trials.number, seed=seed),
                    imagined=outcome,
                    true=truths[name, seed].outcome if (name, seed) in truths else None,
                    start_sha256=start.sha256,
                    model_sha256=sha256,
                    backend=backend,
                )
            )
    return results


def _true(policy: Policy, start: Start, simulator: "Simulator", seed: int, trials: Trials) -> Truth:
    began = time.perf_counter()
    try:
        witness = Witness(start, simulator)
        drive(policy, witness.world, assignment_of(policy, start, seed), limit=trials.limit)
        success = start.task.succeeded(start.scene, witness.world.state())
    except Exception as error:
        return Truth(outcome=_invalid(error), detected=None, contact="")
    seconds = time.perf_counter() - began
    return Truth(
        outcome=Outcome(success=success, probability=float(success), seconds=seconds),
        detected=witness.detected(),
        contact=witness.contact,
    )


def assignment_of(policy: Policy, start: Start, seed: int) -> Assignment:
    """What a policy is told of a start; where everything truly is only if it has to know."""
    return Assignment(
        task=start.kind,
        instruction=start.task.instruction,
        goal=start.task,
        scene=start.scene if policy.contract.scene else None,
        seed=seed * 1_000_003 + start.number,
    )


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
                found[name] = (_invalid(error), "")
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
        return self._goal.judge(Ending(tracks=tracks, grasp=_grasp_point(self.robot, motion.positions[-1])))

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


class Witness:
    """Sees what truly happens to things in a simulated episode.

    Args:
        start: the start.
        simulator: that stands there.
    """

    def __init__(self, start: Start, simulator: "Simulator") -> None:
        self.world = SimulatedWorld(simulator, watch=self._watch)
        self._start, self._simulator = start, simulator
        self._before = simulator.object_poses()
        self._rise = 0.0

    @property
    def contact(self) -> str:
        """What was done to things so far, one of `CONTACTS`."""
        after = self._simulator.object_poses()
        moved = {name for name, pose in after.items() if _way(self._before[name], pose) > MOVED}
        if not moved:
            return "nothing moved"
        if self._target not in moved:
            return "something else moved"
        if self._rise > LIFTED:
            return "lifted"
        return "moved along" if moved == {self._target} else "moved, and others too"

    def detected(self) -> bool | None:
        """What the detector says of how things truly moved."""
        after = self._simulator.object_poses()
        tracks = []
        for item in resting(shared_robot(), self._start.observation):
            track = _track(item, 0, self._start.observation)
            if len(track.points):
                body = self._nearest(track.start)
                tracks.append(replace(track, motion=after[body] @ invert(self._before[body])))
        goal = goal_of(self._start.task, self._start.scene)
        return goal.judge(Ending(tracks=tracks, grasp=self._simulator.state().gripper[:3, 3])).success

    @property
    def _target(self) -> str:
        return body_of(self._start.task, self._start.scene)

    def _nearest(self, place: FloatArray) -> str:
        """The body whose origin was nearest to a place at the start; of a fixture, the part that moves."""
        moving = self._before.keys() - {fixture.name for fixture in self._start.scene.fixtures}
        return min(moving, key=lambda name: float(np.linalg.norm(self._before[name][:3, 3] - place)))

    def _watch(self) -> None:
        pose = self._simulator.object_poses()[self._target]
        self._rise = max(self._rise, float(pose[2, 3] - self._before[self._target][2, 3]))


def _way(before: FloatArray, after: FloatArray) -> float:
    return float(np.linalg.norm(after[:3, 3] - before[:3, 3]))


def resting(robot: RobotModel, observation: Observation) -> tuple[ObjectMotion, ...]:
    """All things that are seen in an observation, as if nothing ever moved them."""
    return tuple(
        ObjectMotion(label=thing.label, pixels=thing.pixels, motion=np.eye(4)[None], sigma=np.zeros(1))
        for thing in find_things(understand(robot, observation))
    )


def tracks_of(forecast: Forecast, index: int, observation: Observation, at_rest: Sequence[ObjectMotion]) -> list[Track]:
    """Where things are at one instant of a forecast.

    Args:
        forecast: by a rung.
        index: of the instant.
        observation: that it starts from.
        at_rest: all things that were seen; those that the forecast does not speak of stay.
    """
    spoken = [_track(item, index, observation) for item in forecast.objects]
    silent = [item for item in at_rest if not any(_overlap(item, other) for other in forecast.objects)]
    return [track for track in (*spoken, *(_track(item, 0, observation) for item in silent)) if len(track.points)]


def _track(item: ObjectMotion, index: int, observation: Observation) -> Track:
    clouds = [
        apply(view.T_world_camera, view.points[item.pixels[name] & np.isfinite(view.points[..., 2])])
        for name, view in observation.views.items()
    ]
    points = np.concatenate(clouds).astype(np.float64)
    return Track(points=points, motion=item.motion[index], sigma=float(item.sigma[index]))


def _overlap(one: ObjectMotion, other: ObjectMotion) -> bool:
    return any(bool((mask & other.pixels[name]).any()) for name, mask in one.pixels.items())


def _grasp_point(robot: RobotModel, positions: FloatArray) -> FloatArray:
    """Where the point between the finger tips is [m], shape [3]; NaN for a robot without a gripper."""
    if robot.gripper is None:
        return np.full(3, np.nan)
    pose = robot.kinematics.link_poses(positions)[robot.gripper.carrier] @ robot.gripper.grasp_frame
    return np.asarray(pose[:3, 3], np.float64)


def _invalid(error: Exception) -> Outcome:
    """Of a unit whose policy failed, whatever it raised: policies are not ours."""
    reason = f"{error.kind}: {error}" if isinstance(error, FourdError) else f"{type(error).__name__}: {error}"
    return Outcome(success=None, invalid=reason)


@lru_cache(maxsize=1)
def shared_robot() -> RobotModel:
    """The robot of all starts; made once in a process."""
    return RobotModel(panda_description())
