"""What a scene consists of, drawn from a seed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.robot.panda import PANDA_READY
from fourd_ros.simulation.appearance import Appearance, Colour, sample_surface
from fourd_ros.simulation.cameras import CAMERA_NAMES, CameraSpec, sample_camera
from fourd_ros.simulation.fixtures import FixtureKind, FixtureSpec, sample_fixture
from fourd_ros.simulation.objects import DENSITY, FRICTION, OBJECT_KINDS, ObjectSpec, sample_object
from fourd_ros.simulation.parts import Vector

FloatArray = NDArray[np.float64]

WORKSPACE = ((0.34, 0.60), (-0.30, 0.30))
TABLE_FRICTION = (0.4, 0.9)
_CLEARANCE = 0.025
_PLACEMENT_ATTEMPTS = 2000


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """What may be in a scene.

    Args:
        objects: least and greatest number of free objects.
        kinds: which kinds of objects may appear (keys of `OBJECT_KINDS` or `BLOCK_KINDS`).
        required_kinds: kinds of the first objects, one set of choices an object.
        fixture: drawer, lid, or None for no fixture.
        fixture_opened: True when it stands open at the start.
        cameras: names of the cameras.
        camera_spread: how far cameras stray from their usual places, 0..1.
    """

    objects: tuple[int, int] = (1, 4)
    kinds: tuple[str, ...] = tuple(OBJECT_KINDS)
    required_kinds: tuple[tuple[str, ...], ...] = ()
    fixture: FixtureKind | None = None
    fixture_opened: bool = False
    cameras: tuple[str, ...] = CAMERA_NAMES
    camera_spread: float = 1.0


@dataclass(frozen=True, kw_only=True)
class LightSpec:
    """A lamp.

    Args:
        position: in the world [m].
        direction: of its beam.
        brightness: of the diffuse part, 0..1.
        shadow: True when it casts shadows.
        colour: of its light, RGB in 0..1.
    """

    position: Vector
    direction: Vector
    brightness: float
    shadow: bool
    colour: Colour = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """The table; its top is the plane z = 0 of the world, the robot stands on it.

    Args:
        centre: of the top, x and y [m].
        size: x and y extents [m].
        friction: sliding friction coefficient.
        appearance: of its surface.
    """

    centre: tuple[float, float]
    size: tuple[float, float]
    friction: float
    appearance: Appearance


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """Everything needed to build one scene; the world frame is the robot's root link.

    Args:
        seed: it was drawn from.
        objects: free objects.
        fixtures: articulated things.
        table: the table.
        floor: look of the floor.
        wall: look of the walls.
        lights: lamps.
        ambient: brightness everywhere, 0..1.
        cameras: the cameras.
        posture: joint positions of the robot at the start [rad | m].
    """

    seed: int
    objects: tuple[ObjectSpec, ...]
    table: TableSpec
    floor: Appearance
    wall: Appearance
    lights: tuple[LightSpec, ...]
    ambient: float
    cameras: tuple[CameraSpec, ...]
    fixtures: tuple[FixtureSpec, ...] = ()
    posture: dict[str, float] = field(default_factory=lambda: dict(PANDA_READY))


@dataclass(frozen=True, kw_only=True)
class SceneState:
    """Where everything is.

    Args:
        objects: ``T_world_object`` of every object and fixture part by name, each [4, 4].
        fixture_joints: position by joint name [m | rad].
        gripper: ``T_world_grasp``, pose of the point between the finger tips, [4, 4].
    """

    objects: Mapping[str, FloatArray]
    fixture_joints: Mapping[str, float]
    gripper: FloatArray


def sample_scene(seed: int, options: SceneOptions = SceneOptions()) -> SceneSpec:
    """The scene of `seed`; the same seed and options give the same scene."""
    rng = np.random.default_rng((seed, 1))
    fixtures = () if options.fixture is None else (_fixture(rng, options),)
    return SceneSpec(
        seed=seed,
        objects=_place(rng, _draw_objects(rng, options), fixtures),
        fixtures=fixtures,
        table=TableSpec(
            centre=(0.40, 0.0),
            size=(float(rng.uniform(1.2, 1.5)), float(rng.uniform(1.3, 1.7))),
            friction=float(rng.uniform(*TABLE_FRICTION)),
            appearance=sample_surface(rng),
        ),
        floor=sample_surface(rng),
        wall=sample_surface(rng),
        lights=_sample_lights(rng),
        ambient=float(rng.uniform(0.3, 0.5)),
        cameras=tuple(sample_camera(rng, name=name, spread=options.camera_spread) for name in options.cameras),
        posture=_sample_posture(rng),
    )


def _fixture(rng: np.random.Generator, options: SceneOptions) -> FixtureSpec:
    assert options.fixture is not None
    return sample_fixture(rng, kind=options.fixture, opened=options.fixture_opened)


def _draw_objects(rng: np.random.Generator, options: SceneOptions) -> list[ObjectSpec]:
    low, high = options.objects
    count = max(int(rng.integers(low, high + 1)), len(options.required_kinds))
    objects = []
    for index in range(count):
        required = index < len(options.required_kinds)
        choices = options.required_kinds[index] if required else options.kinds
        objects.append(sample_object(rng, name=f"object_{index + 1}", kind=str(rng.choice(list(choices)))))
    return objects


def _place(
    rng: np.random.Generator, objects: Sequence[ObjectSpec], fixtures: Sequence[FixtureSpec]
) -> tuple[ObjectSpec, ...]:
    """Objects at random places of the workspace that keep apart; one that finds no room is left out."""
    taken = [(*fixture.position[:2], fixture.radius) for fixture in fixtures]
    placed = []
    for item in objects:
        for _ in range(_PLACEMENT_ATTEMPTS):
            x, y = (float(rng.uniform(*bounds)) for bounds in WORKSPACE)
            if all(np.hypot(x - ox, y - oy) > item.radius + radius + _CLEARANCE for ox, oy, radius in taken):
                placed.append(item.at(x, y, float(rng.uniform(-np.pi, np.pi))))
                taken.append((x, y, item.radius))
                break
    return tuple(placed)


def _sample_lights(rng: np.random.Generator) -> tuple[LightSpec, ...]:
    def lamp(brightness: tuple[float, float], *, shadow: bool) -> LightSpec:
        position = np.array([0.4, 0.0, 2.2]) + rng.uniform(-1, 1, 3) * (0.8, 1.0, 0.4)
        direction = np.array([0.45, 0.0, 0.0]) - position
        x, y, z = direction / np.linalg.norm(direction)
        return LightSpec(
            position=(float(position[0]), float(position[1]), float(position[2])),
            direction=(float(x), float(y), float(z)),
            brightness=float(rng.uniform(*brightness)),
            shadow=shadow,
        )

    return (lamp((0.5, 0.8), shadow=True), lamp((0.15, 0.35), shadow=False))


def _sample_posture(rng: np.random.Generator) -> dict[str, float]:
    arm = {name: value for name, value in PANDA_READY.items() if "finger" not in name}
    shaken = {name: value + float(rng.uniform(-0.08, 0.08)) for name, value in arm.items()}
    return {**shaken, "panda_finger_joint1": PANDA_READY["panda_finger_joint1"]}


def redraw_unseen(spec: SceneSpec, rng: np.random.Generator) -> SceneSpec:
    """A scene that looks the same to every camera: densities and sliding frictions are drawn anew."""
    objects = tuple(
        replace(item, density=float(rng.uniform(*DENSITY)), friction=float(rng.uniform(*FRICTION)))
        for item in spec.objects
    )
    return replace(spec, objects=objects, table=replace(spec.table, friction=float(rng.uniform(*TABLE_FRICTION))))


def at_present(spec: SceneSpec, state: SceneState) -> SceneSpec:
    """`spec` with objects and fixtures where they are now, as far as position and heading can say it."""

    def moved(item: ObjectSpec) -> ObjectSpec:
        pose = state.objects[item.name]
        x, y, z = (float(value) for value in pose[:3, 3])
        return replace(item, position=(x, y, z), yaw=float(np.arctan2(pose[1, 0], pose[0, 0])))

    return replace(
        spec,
        objects=tuple(moved(item) for item in spec.objects),
        fixtures=tuple(replace(item, opening=state.fixture_joints[item.joint_name]) for item in spec.fixtures),
    )
