"""Sequences of a moving camera around a table on which the robot moves things, with everything known about them."""

from dataclasses import dataclass, replace
from functools import partial

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.scene_shards import FLOOR, ROBOT, STATES, TABLE, WALL, SceneFacts, SceneFrames, SceneThing
from fourd_ros.errors import InvalidParameter
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, look_at, to_quaternion
from fourd_ros.simulation.appearance import Colour
from fourd_ros.simulation.cameras import CameraSpec, to_mujoco
from fourd_ros.simulation.rendering import Image
from fourd_ros.simulation.scene import SceneSpec, TableSpec
from fourd_ros.simulation.scene_splits import SceneSplit, find_scene_split, recoloured
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tabletop import STEPS, SUBSTEP, SUBSTEPS, Performance, perform_tabletop

FloatArray = NDArray[np.float64]

CAMERA = "moving"
MAX_FRAMES = STEPS + 1
RATE = 1 / (SUBSTEP * SUBSTEPS)
EVERYWHERE = (("table", TABLE), ("floor", FLOOR), ("wall", WALL), ("robot", ROBOT))

_FINGERS = ("panda_leftfinger", "panda_rightfinger")
_HIDDEN_GROUP = 5
_OPEN_SHARE = 0.15
_MOVED, _TURNED = 0.002, 0.05  # in a substep [m, rad]
_ROBOT_MOVED = 0.01
_FLAT, _UNDER_TABLE, _FLOOR_BELOW = 0.006, -0.05, -0.7
_COLOURED_LAMPS = 0.5
_AZIMUTH, _SWEEP, _ELEVATION, _RISE = 1.8, 0.7, (0.35, 1.1), 0.25
_DISTANCE, _APPROACH, _TARGET_SHIFT, _TARGET_OFF = (0.42, 0.95), 0.2, 0.1, 0.15
_VERTICAL_FOV, _SHAKE = (0.6, 1.2), 0.006


@dataclass(frozen=True, kw_only=True)
class SequenceOptions:
    """How sequences are filmed.

    Args:
        width: of pictures [px].
        height: of pictures [px].
        frames: of a sequence, `RATE` a second.
        shadows: cast shadows.

    Raises:
        InvalidParameter: more frames than a motion surely has, or fewer than two.
    """

    width: int = 140
    height: int = 112
    frames: int = 16
    shadows: bool = True

    def __post_init__(self) -> None:
        if not 2 <= self.frames <= MAX_FRAMES:
            raise InvalidParameter(f"{self.frames} frames of a sequence; needed are 2 to {MAX_FRAMES}")


def film_sequence(seed: int, split: str, options: SequenceOptions) -> tuple[SceneFacts, SceneFrames]:
    """The sequence of a scene seed (see `scene_seeds`); the same arguments give the same one.

    Raises:
        InvalidDataset: there is no such split.
        MissingDependency: no OpenGL library is installed.
    """
    return _film(seed, split, options, fixed=False, robot=True)


def film_fixed(
    seed: int, split: str, options: SequenceOptions, *, robot: bool = True
) -> tuple[SceneFacts, SceneFrames]:
    """As `film_sequence`, from a camera that stays where it begins.

    Args:
        seed: of the scene.
        split: it belongs to.
        options: how it is filmed.
        robot: False leaves the robot out of the pictures; what it carries moves as if by itself.
    """
    return _film(seed, split, options, fixed=True, robot=robot)


def _film(
    seed: int, split: str, options: SequenceOptions, *, fixed: bool, robot: bool
) -> tuple[SceneFacts, SceneFrames]:
    wanted = find_scene_split(split)
    rng = np.random.default_rng((seed, 5))
    fov = float(rng.uniform(*_VERTICAL_FOV))
    with perform_tabletop(
        seed,
        wanted.tabletop,
        dress=partial(_dressed, split=wanted, fov=fov, rng=rng),
        width=options.width,
        height=options.height,
        shadows=options.shadows,
    ) as performance:
        if not robot:
            _hide_robot(performance.simulator)
        things = _things(performance.simulator)
        path = _camera_path(rng, options.frames, about=_somewhere(performance, rng))
        if fixed:
            path = np.repeat(path[:1], options.frames, axis=0)
        facts = SceneFacts(name=f"{seed:010d}", behaviour=performance.behaviour, rate=RATE, things=things)
        return facts, _frames(performance, path)


def _dressed(scene: SceneSpec, *, split: SceneSplit, fov: float, rng: np.random.Generator) -> SceneSpec:
    """Other colours of things, at times of lamps, and the camera that moves."""
    rows = tuple(tuple(float(value) for value in row) for row in np.eye(4))
    camera = CameraSpec(name=CAMERA, T_mount_camera=rows, vertical_fov=fov)
    lights = scene.lights
    if rng.random() < _COLOURED_LAMPS:
        lights = tuple(replace(light, colour=_lamp_colour(rng)) for light in lights)
    ambient = float(scene.ambient * rng.uniform(0.6, 1.3))
    return replace(recoloured(scene, split, rng), cameras=(camera,), lights=lights, ambient=ambient)


def _lamp_colour(rng: np.random.Generator) -> Colour:
    red, green, blue = (float(channel) for channel in rng.uniform(0.7, 1.0, 3))
    return red, green, blue


def _somewhere(performance: Performance, rng: np.random.Generator) -> FloatArray:
    """Where one of the things is when it begins, shape [3]."""
    poses = performance.object_poses[performance.first]
    return np.asarray(poses[rng.integers(len(poses)), :3, 3])


def _camera_path(rng: np.random.Generator, frames: int, *, about: FloatArray) -> FloatArray:
    """``T_world_camera`` [F, 4, 4] of a camera that sweeps around a place."""

    def course(begin: float, change: float) -> FloatArray:
        """From `begin` on by up to `change`, with a slow swing."""
        share, swing = rng.uniform(-1, 1, 2)
        along = np.linspace(0, 1, frames)
        return np.asarray(begin + change * (share * along + 0.3 * swing * np.sin(np.pi * along)))

    azimuth = course(rng.uniform(-_AZIMUTH, _AZIMUTH), _SWEEP)
    elevation = course(rng.uniform(*_ELEVATION), _RISE).clip(*_ELEVATION)
    distance = course(rng.uniform(*_DISTANCE), _APPROACH).clip(*_DISTANCE)
    middle = about + rng.uniform(-_TARGET_OFF, _TARGET_OFF, 3) * (1, 1, 0.5)
    target = np.stack([course(one, _TARGET_SHIFT) for one in middle], axis=1)
    away = np.stack(
        [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)], axis=1
    )
    eyes = target + distance[:, None] * away + rng.normal(0, _SHAKE, (frames, 3))
    return np.stack([look_at(eye, seen, (0, 0, 1)) for eye, seen in zip(eyes, target, strict=True)])


def _things(simulator: Simulator) -> tuple[SceneThing, ...]:
    """Objects, parts of fixtures, and what is in every scene."""
    spec = simulator.spec
    labels = [item.label for item in spec.objects]
    for fixture in spec.fixtures:
        labels += [fixture.label, fixture.kind]
    numbered = [*((label, number) for number, label in enumerate(labels, start=1)), *EVERYWHERE]
    return tuple(SceneThing(number=number, label=label, category=label.split()[-1]) for label, number in numbered)


def _hide_robot(simulator: Simulator) -> None:
    """Put its geometry into a group that is not drawn."""
    model = simulator.model
    root = model.body_rootid[model.body(_FINGERS[0]).id]
    model.geom_group[model.body_rootid[model.geom_bodyid] == root] = _HIDDEN_GROUP


def _frames(performance: Performance, path: FloatArray) -> SceneFrames:
    simulator = performance.simulator
    camera_id = simulator.model.camera(CAMERA).id
    camera = simulator.camera(CAMERA)
    taken: list[tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]]] = []
    for frame, T_world_camera in enumerate(path):
        row = performance.first + frame * SUBSTEPS
        T_world_mujoco = to_mujoco(T_world_camera)
        position, rotation = to_quaternion(T_world_mujoco)
        simulator.model.cam_pos[camera_id], simulator.model.cam_quat[camera_id] = position, np.roll(rotation, 1)
        simulator.data.qpos[:] = performance.positions[row]
        mujoco.mj_fwdPosition(simulator.model, simulator.data)
        picture = simulator.render(CAMERA)
        numbers = _numbered(picture, simulator.spec.table, camera, T_world_camera)
        taken.append((picture.rgb, picture.depth, numbers, _states(performance, row)))
    rgb, depth, numbers_of, states = (np.stack(arrays) for arrays in zip(*taken, strict=True))
    return SceneFrames(rgb=rgb, depth=depth, numbers=numbers_of, T_world_camera=path, K=camera.K, states=states)


def _numbered(picture: Image, table: TableSpec, camera: PinholeCamera, T_world_camera: FloatArray) -> NDArray[np.uint8]:
    """The segmentation with table, floor and walls told apart by where they are."""
    points = apply(T_world_camera, points_from_depth(picture.depth, camera))
    on_table = (np.abs(points[..., :2] - table.centre) < np.array(table.size) / 2 + _FLAT).all(axis=-1)
    height, scene = points[..., 2], (picture.segmentation == 0) & np.isfinite(picture.depth)
    numbers = picture.segmentation.copy()
    numbers[scene] = WALL
    with np.errstate(invalid="ignore"):
        numbers[scene & (height < _FLOOR_BELOW)] = FLOOR
        numbers[scene & (height > _UNDER_TABLE) & (height < _FLAT) & on_table] = TABLE
    return numbers


def _states(performance: Performance, row: int) -> NDArray[np.uint8]:
    """Bits of every thing when the simulator stands at a substep."""
    simulator, poses = performance.simulator, performance.object_poses
    spec, bit = simulator.spec, {word: 1 << place for place, word in enumerate(STATES)}
    before, now = poses[max(row - 1, 0)], poses[row]
    shifted = np.linalg.norm(now[:, :3, 3] - before[:, :3, 3], axis=-1) > _MOVED
    turned = np.abs(now[:, :3, :3] - before[:, :3, :3]).max(axis=(1, 2)) > _TURNED
    moves = shifted | turned
    bits = [bit["moving"] * bool(one) for one in moves]
    for index, name in enumerate(simulator.object_names[: len(spec.objects)]):
        bits[index] |= bit["held"] * _is_held(simulator, name)
    for number, fixture in enumerate(spec.fixtures):
        opening = simulator.data.joint(fixture.joint_name).qpos[0]
        bits[len(spec.objects) + 2 * number + 1] |= bit["open" if opening > _OPEN_SHARE * fixture.travel else "closed"]
    columns = [simulator.model.joint(name).qposadr[0] for name in simulator.joint_names]
    joints = performance.positions[[max(row - 1, 0), row]][:, columns]
    robot = bit["moving"] * bool(np.abs(joints[1] - joints[0]).max() > _ROBOT_MOVED)
    return np.array([*bits, *([0] * (len(EVERYWHERE) - 1)), robot], np.uint8)


def _is_held(simulator: Simulator, name: str) -> bool:
    """Whether both fingers touch it."""
    model = simulator.model
    pairs = model.geom_bodyid[simulator.data.contact.geom]
    body = model.body(name).id
    touching = {int(one) for pair in pairs if body in pair for one in pair}
    return all(model.body(finger).id in touching for finger in _FINGERS)
