"""Start states: scenes of the simulator at rest, with a task in each, held out from everything that was trained."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fourd_ros.errors import TooLarge
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.records import Observation, View
from fourd_ros.simulation.cameras import CameraSpec
from fourd_ros.simulation.scene import SceneSpec, at_present, sample_scene
from fourd_ros.simulation.tabletop_scene import CAMERA, SHOULDER_CAMERAS, TRAINING_KINDS, CameraRegion
from fourd_ros.simulation.tasks import Task, sample_task, task_kind

if TYPE_CHECKING:
    from fourd_ros.simulation.simulator import Simulator

FIRST_SEED = 1_500_000_000
"""Scenes of evaluations count up from here; no data set of this package reaches it."""

STARTS = 100_000
"""Most start states of one seed."""

SEEDS = 5000
"""Start states of so many seeds are disjoint."""

SETTLE = 0.3
"""Things come to rest for so long before an episode [s]."""

SEEN_PIXELS = 15
"""A camera that shows less of what a task is about is put elsewhere."""

CAMERA_ATTEMPTS = 12
"""How often; then the best of these places is taken."""


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """What start states are drawn from.

    Args:
        kinds: of objects, as far as a task can be done with them.
        width: of the images [px].
        height: of the images [px].
        shadows: are cast in them.
        seed: of the draw.
    """

    kinds: tuple[str, ...] = TRAINING_KINDS
    width: int = 128
    height: int = 128
    shadows: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.seed < SEEDS:
            raise TooLarge(f"seed {self.seed} of start states; needed is 0..{SEEDS - 1}")


@dataclass(frozen=True, kw_only=True)
class Start:
    """A scene at rest and a task in it.

    Args:
        number: of the start, from 0.
        kind: of the task.
        task: the task.
        scene: where everything truly is.
        observation: what the robot sees.
        sha256: of the scene and the task.
    """

    number: int
    kind: str
    task: Task
    scene: SceneSpec
    observation: Observation
    sha256: str


@contextmanager
def simulated_start(kind: str, number: int, options: StartOptions) -> "Iterator[tuple[Start, Simulator]]":
    """A start and the simulator that stands there.

    Args:
        kind: of the task.
        number: of the start.
        options: what it is drawn from.

    Raises:
        UnknownTask: there is no such task, or none of the kinds is fit for it.
        TooLarge: there are no more starts of that seed.
        MissingDependency: the simulator is not installed.
    """
    from fourd_ros.simulation.simulator import Simulator

    if not 0 <= number < STARTS:
        raise TooLarge(f"start {number}; needed is 0..{STARTS - 1}")
    seed = FIRST_SEED + options.seed * STARTS + number
    spec = _scene(kind, seed, options)
    with Simulator(spec, width=options.width, height=options.height, shadows=options.shadows) as simulator:
        settle(simulator)
        task = sample_task(kind, at_present(spec, simulator.state()), seed=seed)
        camera = _best_camera(simulator, body_of(task, spec))
        simulator.reset(replace(spec, cameras=(replace(camera, name=CAMERA),)))
        settle(simulator)
        scene = at_present(simulator.spec, simulator.state())
        told = json.dumps([asdict(scene), type(task).__name__, asdict(task)], sort_keys=True)
        yield (
            Start(
                number=number,
                kind=kind,
                task=task,
                scene=scene,
                observation=observe(simulator, simulator.camera_names),
                sha256=hashlib.sha256(told.encode()).hexdigest(),
            ),
            simulator,
        )


def settle(simulator: "Simulator") -> None:
    """Bring a simulator back to the start of its scene."""
    simulator.reset()
    simulator.step(SETTLE)


def observe(simulator: "Simulator", cameras: Sequence[str]) -> Observation:
    """What the robot measures now, and sees with some of its cameras."""
    views = {}
    for name in cameras:
        picture, camera = simulator.render(name), simulator.camera(name)
        views[name] = View(
            camera=camera,
            T_world_camera=simulator.camera_pose(name),
            rgb=picture.rgb,
            points=points_from_depth(picture.depth, camera),
            mounted_on=simulator.camera_spec(name).mounted_on,
        )
    return Observation(
        stamp_ns=round(simulator.time * 1e9),
        frame="world",
        views=views,
        joint_positions=simulator.joint_positions(),
    )


def _scene(kind: str, seed: int, options: StartOptions) -> SceneSpec:
    """One in which the task can be done, with cameras at several places that world models are trained in."""
    wanted = task_kind(kind).options
    fit = tuple(tuple(name for name in kinds if name in options.kinds) for kinds in wanted.required_kinds)
    needed = replace(wanted, kinds=options.kinds, required_kinds=fit, cameras=())
    region, rng = SHOULDER_CAMERAS if wanted.fixture else CameraRegion(), np.random.default_rng((seed, 5))
    cameras = [replace(region.draw(rng), name=f"{CAMERA}_{number}") for number in range(CAMERA_ATTEMPTS)]
    return replace(sample_scene(seed, needed), cameras=tuple(cameras))


def body_of(task: Task, spec: SceneSpec) -> str:
    """What has to be seen to do a task: an object, or the part of a fixture that moves."""
    moving = {fixture.name: fixture.moving_name for fixture in spec.fixtures}
    return moving.get(task.target, task.target)


def _best_camera(simulator: "Simulator", body: str) -> CameraSpec:
    """The first camera that shows enough of a body, or the one that shows most of it."""
    number = simulator.object_names.index(body) + 1
    best, most = simulator.camera_spec(simulator.camera_names[0]), -1
    for name in simulator.camera_names:
        shown = int((simulator.render(name).segmentation == number).sum())
        if shown > most:
            best, most = simulator.camera_spec(name), shown
        if most >= SEEN_PIXELS:
            break
    return best
