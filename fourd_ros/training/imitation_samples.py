"""Training samples of the learned policy: what it would see of demonstrations, and what was commanded next."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.data.parallel import run_jobs
from fourd_ros.errors import InvalidDataset
from fourd_ros.evaluation.policy.starts import Start, StartOptions, simulated_start
from fourd_ros.evaluation.policy.worlds import SimulatedWorld
from fourd_ros.policies.imitation import STEP, follower_of
from fourd_ros.policies.imitation_inputs import SCALE, GripperPose, Situation, in_frame, network_inputs
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.inverse_kinematics import Tool
from fourd_ros.robot.model import RobotModel
from fourd_ros.robot.panda import panda_description
from fourd_ros.simulation.acting import plan_motion
from fourd_ros.simulation.policies import Policy as Skill
from fourd_ros.simulation.scene import at_present
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.training.task import Sample
from fourd_ros.whole_file import write_whole

Arrays = dict[str, NDArray[Any]]

OPTIONS = "demonstrations.json"
STARTS_PER_SHARD = 20

LOOK = 2 * STEP
"""Time from one sample of a demonstration to the next [s]."""

LOOKS_AFTER = 2
"""Samples after the end of a demonstration: there is nothing more to do."""

MIRROR = np.array([1.0, -1.0, 1.0])
"""What a table looks like in a mirror is a table; the goal, the camera and the robot are mirrored with it."""


@dataclass(frozen=True, kw_only=True)
class DemonstrationOptions:
    """What demonstrations have in common.

    Args:
        tasks: kinds, in turn.
        seed: of the start states.
        steps: commands that a sample holds, `STEP` apart.
        disturbed: share of the demonstrations that begin in the midst of somebody else's attempt.
        disturbance: standard deviation of where that attempt aims [m].
    """

    tasks: tuple[str, ...]
    seed: int
    steps: int
    disturbed: float
    disturbance: float


def prepare_demonstrations(folder: Path, count: int, options: DemonstrationOptions, *, workers: int = 1) -> list[Path]:
    """Shards with the samples of demonstrations, made once and kept.

    Args:
        folder: of these demonstrations alone.
        count: how many are tried; those that fail teach nothing and are left out.
        options: of the demonstrations.
        workers: processes.

    Raises:
        InvalidDataset: the folder holds demonstrations of other options.
        MissingDependency: the simulator is not installed.
    """
    _claim(folder, options)
    parts = [range(start, min(start + STARTS_PER_SHARD, count)) for start in range(0, count, STARTS_PER_SHARD)]
    paths = {part: folder / f"demonstrations_{part[0]:06d}_{len(part):02d}.safetensors" for part in parts}
    missing = {path.name: (part, path) for part, path in paths.items() if not path.exists()}
    jobs = run_jobs(partial(_prepare, options), missing, workers=workers)
    for _ in tqdm(jobs, total=len(missing), desc="demonstrations", unit="shard", disable=not missing):
        pass
    return list(paths.values())


def _claim(folder: Path, options: DemonstrationOptions) -> None:
    """Note the options in the folder, or see that they are those noted there."""
    text = json.dumps(asdict(options), indent=1) + "\n"
    path = folder / OPTIONS
    if not path.exists():
        write_whole(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise InvalidDataset(f"'{folder}' holds demonstrations of other options; name another folder or remove it")


def _prepare(options: DemonstrationOptions, job: tuple[Sequence[int], Path]) -> None:
    numbers, path = job
    robot = RobotModel(panda_description())
    samples = [sample for number in numbers for sample in demonstrate(number, robot, options)]
    if not samples:
        raise InvalidDataset(f"all demonstrations of the starts {list(numbers)} failed")
    write_shard(path, {name: np.stack([sample[name] for sample in samples]) for name in samples[0]})


def demonstrate(number: int, robot: RobotModel, options: DemonstrationOptions) -> list[Arrays]:
    """Samples of the demonstration at one start; none if it failed."""
    kind = options.tasks[number % len(options.tasks)]
    rng = np.random.default_rng((options.seed, number))
    with simulated_start(kind, number, StartOptions(seed=options.seed, shadows=False)) as (start, simulator):
        follower = follower_of(robot, kind, start.task, start.scene)
        world = SimulatedWorld(simulator)
        cameras = tuple(start.observation.views)
        if rng.random() < options.disturbed:
            attempt = _plan(start, simulator, Skill(aim_noise=options.disturbance))
            for look in range(round(float(rng.uniform(0.1, 0.9)) * attempt.times[-1] / LOOK)):
                follower.see(world.observe(cameras))
                world.follow(_from(attempt, look * LOOK), LOOK)
        motion = _plan(start, simulator, Skill())
        samples = []
        for look in range(round(motion.times[-1] / LOOK) + LOOKS_AFTER):
            rest = _from(motion, look * LOOK)
            samples.append(_sample(follower.see(world.observe(cameras)), robot, rest, options.steps))
            world.follow(rest, LOOK)
        return samples if start.task.succeeded(start.scene, world.state()) else []


def _plan(start: Start, simulator: Simulator, skill: Skill) -> RobotTrajectory:
    scene = at_present(start.scene, simulator.state())
    return plan_motion(
        skill, start.task, scene, simulator.kinematics(), simulator.commanded_positions(), seed=start.scene.seed
    )


def _from(motion: RobotTrajectory, elapsed: float) -> RobotTrajectory:
    """What is left of a motion; its last point where nothing is."""
    times = np.append(elapsed, motion.times[motion.times > elapsed + STEP / 10])
    times = times if len(times) > 1 else np.array([elapsed, elapsed + STEP])
    return RobotTrajectory(joint_names=motion.joint_names, times=times - elapsed, positions=motion.at(times))


def _sample(situation: Situation, robot: RobotModel, rest: RobotTrajectory, steps: int) -> Arrays:
    commanded = rest.at(STEP * np.arange(1.0, steps + 1))
    names, gripper = robot.kinematics.joint_names, robot.gripper
    assert gripper is not None
    positions = commanded[:, [rest.joint_names.index(name) for name in names]]
    poses = GripperPose.of(Tool.of_gripper(robot).pose(positions))
    openness = [gripper.openness(dict(zip(names, row, strict=True))) for row in positions]
    told = {field.name: np.array(getattr(situation, field.name), np.float32) for field in fields(Situation)}
    return told | {
        "position": poses.position.astype(np.float32),
        "turned": poses.closing.astype(np.float32),
        "closes": (np.array(openness) < 0.5).astype(np.float32),
    }


class ImitationSamples:
    """All samples of a preparation, in memory: mirrored, and with points and fingers that are a little off.

    Args:
        paths: of its shards.
        augment: False for samples as they are.
        gripper_noise: standard deviation of where free fingers are said to be, while what they do next stays [m].
    """

    def __init__(self, paths: Sequence[Path], *, augment: bool, gripper_noise: float) -> None:
        shards = [Shard(path) for path in paths]
        self._arrays = {name: np.concatenate([shard.array(name) for shard in shards]) for name in shards[0].names}
        self._augment, self._gripper_noise = augment, gripper_noise

    def __len__(self) -> int:
        return len(self._arrays["task"])

    def sample(self, index: int, rng: np.random.Generator) -> Sample:
        """Inputs of `ImitationNetwork`, and ``actions`` [T, 6], what was commanded, as `Chunks.actions` say it but 1
        for closed fingers and 0 for open ones."""
        row = {name: array[index].astype(np.float64) for name, array in self._arrays.items()}
        situation = _situation(row)
        if self._augment:
            situation = self._noisy(situation, rng)
            if rng.random() < 0.5:
                situation = mirrored(situation)
                row["position"], row["turned"] = row["position"] * MIRROR, -row["turned"]
        angle = 2 * (row["turned"] - situation.heading)
        actions = np.concatenate(
            [
                in_frame(situation, row["position"]) / SCALE,
                np.stack([np.cos(angle), np.sin(angle), row["closes"]], axis=1),
            ],
            axis=1,
        )
        return {**network_inputs(situation), "actions": actions.astype(np.float32)}

    def _noisy(self, situation: Situation, rng: np.random.Generator) -> Situation:
        """With noise; the fingers stay where they are when they hold or push something."""
        points = situation.points + rng.normal(0.0, 0.002, situation.points.shape).astype(np.float32)
        centre = situation.centre + rng.normal(0.0, 0.003, 2)
        if situation.closed:
            return replace(situation, points=points, centre=centre)
        return replace(
            situation,
            points=points,
            centre=centre,
            gripper=situation.gripper + rng.normal(0.0, self._gripper_noise, 3),
            closing=situation.closing + rng.normal(0.0, 0.1),
        )


def mirrored(situation: Situation) -> Situation:
    """The same on the other side of the robot."""
    flat = MIRROR[:2]
    return replace(
        situation,
        points=situation.points * MIRROR.astype(np.float32),
        centre=situation.centre * flat,
        start=situation.start * flat,
        goal=situation.goal * flat,
        heading=-situation.heading,
        gripper=situation.gripper * MIRROR,
        closing=-situation.closing,
        eye=situation.eye * MIRROR,
    )


def _situation(row: Arrays) -> Situation:
    return Situation(
        task=int(row["task"]),
        points=row["points"].astype(np.float32),
        others=int(row["others"]),
        centre=row["centre"],
        seen=bool(row["seen"]),
        start=row["start"],
        goal=row["goal"],
        heading=float(row["heading"]),
        gripper=row["gripper"],
        closing=float(row["closing"]),
        closed=bool(row["closed"]),
        eye=row["eye"],
    )
