"""Running a policy in a scene and keeping everything about it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.errors import MissingCamera, TooLarge, UnknownTask
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.panda import panda_description
from fourd_ros.robot.trajectory_follower import TrajectoryFollower
from fourd_ros.simulation.acting import act
from fourd_ros.simulation.cameras import CAMERA_NAMES
from fourd_ros.simulation.controller import JOINTS
from fourd_ros.simulation.parts import Vector
from fourd_ros.simulation.policies import find_policy
from fourd_ros.simulation.rendering import Image
from fourd_ros.simulation.scene import SceneOptions, SceneSpec, at_present, sample_scene
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tasks import Task, sample_task, task_kind

FloatArray = NDArray[np.float64]

SOURCE = "simulation"
START_NS = 1_700_000_000_000_000_000
"""Stamp of the first frame of every recording [ns]."""

TASK_SEPARATOR = "+"
MAX_SIDE, MAX_RATE, MAX_DURATION = 2048, 250.0, 600.0
CONTROL_PERIOD = 0.02
_SETTLE = 0.3
_REST = 0.4


@dataclass(frozen=True, kw_only=True)
class RecordingOptions:
    """What episodes of one data set have in common.

    Args:
        tasks: what may be done; ``a+b`` does a, then b in the same scene.
        policies: who may do it.
        cameras: names of the cameras.
        width: columns of the pictures.
        height: rows of the pictures.
        rate: frames a second [Hz].
        max_duration: longest episode [s].
        shadows: cast shadows in the pictures.
        camera_spread: how far cameras stray from their usual places, 0..1.

    Raises:
        UnknownTask: there is no such task or policy.
        MissingCamera: there is no such camera.
        TooLarge: more pixels or frames than the bounds of this module.
    """

    tasks: tuple[str, ...]
    policies: tuple[str, ...]
    cameras: tuple[str, ...]
    width: int = 128
    height: int = 128
    rate: float = 10.0
    max_duration: float = 30.0
    shadows: bool = True
    camera_spread: float = 1.0

    def __post_init__(self) -> None:
        if not (self.tasks and self.policies):
            raise UnknownTask("name at least one task and one policy")
        for names in self.tasks:
            scene_options(names.split(TASK_SEPARATOR), cameras=self.cameras)
        for policy in self.policies:
            find_policy(policy)
        unknown = set(self.cameras) - set(CAMERA_NAMES)
        if unknown or not self.cameras:
            raise MissingCamera(f"cameras {list(self.cameras)}; needed are some of {list(CAMERA_NAMES)}")
        if max(self.width, self.height) > MAX_SIDE:
            raise TooLarge(f"pictures of {self.width} x {self.height}; allowed are {MAX_SIDE} x {MAX_SIDE}")
        if not (0 < self.rate <= MAX_RATE and 0 < self.max_duration <= MAX_DURATION):
            raise TooLarge(
                f"{self.rate} frames a second for {self.max_duration} s; "
                f"allowed are up to {MAX_RATE} frames a second for up to {MAX_DURATION} s"
            )


def episode_name(seed: int) -> str:
    """What the episode of `seed` is called."""
    return f"episode_{seed:06d}"


def record_episode(seed: int, options: RecordingOptions) -> Episode:
    """The episode of `seed`: scene, task, policy and motion are drawn from it.

    Raises:
        UnknownTask: there is no such task or policy.
        MissingDependency: no OpenGL library is installed.
    """
    rng = np.random.default_rng((seed, 0))
    tasks = options.tasks[rng.integers(len(options.tasks))].split(TASK_SEPARATOR)
    policy = options.policies[rng.integers(len(options.policies))]
    spec = sample_scene(seed, scene_options(tasks, cameras=options.cameras, camera_spread=options.camera_spread))
    with Simulator(spec, width=options.width, height=options.height, shadows=options.shadows) as simulator:
        return record(simulator, tasks, policy=policy, seed=seed, rate=options.rate, max_duration=options.max_duration)


def scene_options(tasks: Sequence[str], *, cameras: tuple[str, ...], camera_spread: float = 1.0) -> SceneOptions:
    """A scene in which all of `tasks` can be done one after the other.

    Raises:
        UnknownTask: there is no such task, or two of them need different fixtures.
    """
    kinds = [task_kind(name).options for name in tasks]
    fixtures = [kind for kind in kinds if kind.fixture is not None]
    if len({kind.fixture for kind in fixtures}) > 1:
        raise UnknownTask(f"a scene has one fixture, and {list(tasks)} need {[kind.fixture for kind in fixtures]}")
    return replace(
        fixtures[0] if fixtures else kinds[0],
        objects=(max(kind.objects[0] for kind in kinds), min(kind.objects[1] for kind in kinds)),
        required_kinds=tuple(choices for kind in kinds for choices in kind.required_kinds),
        cameras=cameras,
        camera_spread=camera_spread,
    )


def record(
    simulator: Simulator,
    tasks: Sequence[str],
    *,
    policy: str,
    seed: int,
    rate: float,
    max_duration: float,
) -> Episode:
    """Let `policy` do `tasks` one after the other and keep a frame every ``1 / rate`` seconds.

    Raises:
        UnknownTask: there is no such task or policy, or the scene lacks what a task needs.
    """
    simulator.reset()
    simulator.step(_SETTLE)
    recorder = _Recorder(simulator, rate=rate, max_duration=max_duration)
    done: list[Task] = []
    succeeded = True
    for index, name in enumerate(tasks):
        scene = at_present(simulator.spec, simulator.state())
        task = sample_task(name, scene, seed=seed + index, exclude={earlier.target for earlier in done})
        recorder.run(act(find_policy(policy), task, simulator, seed=seed + index))
        succeeded &= task.succeeded(scene, simulator.state())
        done.append(task)
    return recorder.episode(
        seed=seed,
        tasks=tuple(tasks),
        instructions=tuple(task.instruction for task in done),
        policy=policy,
        success=succeeded,
    )


class _Recorder:
    """Follows trajectories in a simulator and collects frames at equal intervals."""

    def __init__(self, simulator: Simulator, *, rate: float, max_duration: float) -> None:
        self._simulator = simulator
        self._rate = rate
        self._limit = simulator.time + max_duration
        self._follower = TrajectoryFollower(simulator.commanded_positions())
        self._ticks = max(1, round(1 / rate / CONTROL_PERIOD))
        self._motion: list[tuple[FloatArray, FloatArray, FloatArray]] = []
        self._objects: list[list[FloatArray]] = []
        self._pictures: dict[str, list[Image]] = {name: [] for name in simulator.camera_names}
        self._camera_poses: dict[str, list[FloatArray]] = {name: [] for name in simulator.camera_names}

    def run(self, trajectory: RobotTrajectory) -> None:
        """Follow `trajectory` to its end and rest, or until the episode is as long as it may be."""
        now = self._simulator.time
        self._follower.follow(trajectory, start=now, now=now)
        end = min(self._follower.end + _REST, self._limit)
        while self._simulator.time < end:
            self._capture()
            self._advance()

    def _advance(self) -> None:
        tick = 1 / self._rate / self._ticks
        for _ in range(self._ticks):
            self._simulator.command(*self._follower.setpoint(self._simulator.time + tick))
            self._simulator.step(tick)

    def _capture(self) -> None:
        simulator = self._simulator
        commanded, _ = self._follower.setpoint(simulator.time)
        motion = (commanded, simulator.joint_positions(), simulator.joint_velocities())
        self._motion.append(tuple(np.array([kind[name] for name in JOINTS]) for kind in motion))  # type: ignore[arg-type]
        poses = simulator.object_poses()
        self._objects.append([poses[name] for name in simulator.object_names])
        for name, pictures in self._pictures.items():
            pictures.append(simulator.render(name))
            self._camera_poses[name].append(simulator.camera_pose(name))

    def episode(
        self, *, seed: int, tasks: tuple[str, ...], instructions: tuple[str, ...], policy: str, success: bool
    ) -> Episode:
        """Everything so far, with a last frame of how it ended."""
        self._capture()
        steps = len(self._motion)
        commanded, measured, velocities = (np.stack(rows) for rows in zip(*self._motion, strict=True))
        spec, names = self._simulator.spec, self._simulator.object_names
        labels, sizes = describe_objects(spec)
        return Episode(
            name=episode_name(seed),
            source=SOURCE,
            start_ns=START_NS,
            robot_description=panda_description().text,
            seed=seed,
            tasks=tasks,
            instructions=instructions,
            policy=policy,
            success=success,
            rate=self._rate,
            times=np.arange(steps) / self._rate,
            joint_names=JOINTS,
            commanded=commanded,
            measured=measured,
            velocities=velocities,
            object_names=names,
            object_labels=labels,
            object_sizes=np.array(sizes, np.float64).reshape(len(names), 3),
            object_poses=np.array(self._objects, np.float64).reshape(steps, len(names), 4, 4),
            views={name: self._view(name) for name in self._pictures},
        )

    def _view(self, name: str) -> EpisodeView:
        spec, pictures = self._simulator.camera_spec(name), self._pictures[name]
        return EpisodeView(
            camera=self._simulator.camera(name),
            mounted_on=spec.mounted_on,
            T_mount_camera=spec.pose,
            T_world_camera=np.stack(self._camera_poses[name]),
            rgb=np.stack([picture.rgb for picture in pictures]),
            depth=np.stack([picture.depth for picture in pictures]),
            segmentation=np.stack([picture.segmentation for picture in pictures]),
        )


def describe_objects(spec: SceneSpec) -> tuple[tuple[str, ...], list[Vector]]:
    """Labels and sizes in the order of ``Simulator.object_names``."""
    described = [(item.label, item.size) for item in spec.objects]
    for fixture in spec.fixtures:
        described += [(fixture.label, fixture.size), (fixture.kind, fixture.moving_size)]
    return tuple(label for label, _ in described), [size for _, size in described]
