"""Short manipulation episodes for the compact world model: one camera, 3.2 s around a contact, 20 Hz commands.

Physics comes first and is kept as plain numbers; then a window is chosen and only its frames are drawn.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.episode import Episode, EpisodeView
from fourd_ros.errors import InvalidEpisode
from fourd_ros.records import RobotTrajectory
from fourd_ros.robot.panda import panda_description
from fourd_ros.robot.trajectory_follower import TrajectoryFollower
from fourd_ros.simulation.controller import JOINTS, Waypoint, gripper_rotation, plan
from fourd_ros.simulation.manipulation import BEHAVIOURS
from fourd_ros.simulation.model import FINGER_JOINT, ROBOT_ROOT
from fourd_ros.simulation.motion import Chance, Motion
from fourd_ros.simulation.noisy_depth import through_sensor
from fourd_ros.simulation.recording import SOURCE, START_NS, describe_objects
from fourd_ros.simulation.scene import SceneSpec, redraw_unseen
from fourd_ros.simulation.simulator import Simulator
from fourd_ros.simulation.tabletop_scene import CAMERA, find_split, suits, tabletop_scene

FloatArray = NDArray[np.float64]

RATE = 5.0
STEPS = 16
SUBSTEP = 0.05
SUBSTEPS = round(1 / RATE / SUBSTEP)

_TICKS = 4
_SETTLE = 0.2
_WINDOW = STEPS * SUBSTEPS
_LONGEST, _REST = 9.0, 1.5
_IK_ITERATIONS = 200
_START_ATTEMPTS, _START_RISE = 8, 0.03
_SCENE_ATTEMPTS = 20
_STIRRED, _TURNED = 0.003, 0.1
_AROUND_CONTACT, _AFTER_CONTACT = 0.7, 0.15
_LEAD, _DELAY, _AT_ONCE = (0.0, 1.5), (0.3, 1.3), 0.5


@dataclass(frozen=True, kw_only=True)
class TabletopOptions:
    """How episodes are drawn.

    Args:
        size: width and height of the pictures [pixels].
        shadows: cast shadows.
    """

    size: int = 128
    shadows: bool = True


def record_tabletop(seed: int, split: str, *, options: TabletopOptions = TabletopOptions()) -> Episode:
    """The episode of a scene seed (see `tabletop_seeds`) as `split` shows it.

    ``actions`` holds the commanded positions of the substeps that begin at each frame, which `commanded_motion` reads.

    Raises:
        InvalidDataset: there is no such split.
        MissingDependency: no OpenGL library is installed.
    """
    drawn = _draw(seed, split)
    with Simulator(drawn.scene, width=options.size, height=options.size, shadows=options.shadows) as simulator:
        track, first = _carry_out(simulator, drawn)
        episode = _episode(simulator, track, first, seed=seed, drawn=drawn)
    return through_sensor(episode, seed=seed) if find_split(split).noisy_depth else episode


@dataclass(frozen=True, kw_only=True)
class WatchedMotion:
    """A whole motion of the robot among things, with pictures of some instants; times are multiples of `SUBSTEP`.

    Args:
        joint_names: columns of `commanded` and `measured`.
        commanded: positions of the joints [rad | m], shape [S, J].
        measured: the same as they were, shape [S, J].
        object_poses: ``T_world_object``, shape [S, N, 4, 4].
        instants: rows at which the camera looked, shape [P].
        view: what it saw then, P frames.
    """

    joint_names: tuple[str, ...]
    commanded: FloatArray
    measured: FloatArray
    object_poses: FloatArray
    instants: NDArray[np.intp]
    view: EpisodeView


def watch_tabletop(
    seed: int, split: str, *, after: Sequence[int], options: TabletopOptions = TabletopOptions()
) -> WatchedMotion:
    """The motion that the episode of a scene seed is a window of; a fraction of the cost of that episode.

    Args:
        seed: of the scene, see `tabletop_seeds`.
        split: it belongs to; depth is the true one, also where episodes of the split are measured by a camera.
        after: when the camera looks, in substeps from the begin of the episode.
        options: how pictures are drawn.

    Raises:
        InvalidDataset: there is no such split.
        MissingDependency: no OpenGL library is installed.
    """
    drawn = _draw(seed, split)
    with Simulator(drawn.scene, width=options.size, height=options.size, shadows=options.shadows) as simulator:
        track, first = _carry_out(simulator, drawn)
        instants = first + np.array(after, np.intp)
        columns = [simulator.model.joint(name).qposadr[0] for name in JOINTS]
        return WatchedMotion(
            joint_names=JOINTS,
            commanded=track.commanded,
            measured=track.positions[:, columns],
            object_poses=track.poses,
            instants=instants,
            view=_view(simulator, track.positions[instants]),
        )


@dataclass(frozen=True, kw_only=True)
class Performance:
    """A motion that was carried out, with the simulator that it can be shown in again; times are in substeps.

    Args:
        behaviour: what was meant to happen.
        simulator: of the scene; open as long as the block lasts.
        positions: of the whole model, shape [S, nq].
        object_poses: ``T_world_object``, shape [S, N, 4, 4].
        first: substep with which the episode begins; `STEPS` * `SUBSTEPS` more follow at least.
    """

    behaviour: str
    simulator: Simulator
    positions: FloatArray
    object_poses: FloatArray
    first: int


@contextmanager
def perform_tabletop(
    seed: int, split: str, *, dress: Callable[[SceneSpec], SceneSpec], width: int, height: int, shadows: bool = True
) -> Iterator[Performance]:
    """Carry out the motion of a scene seed in a scene that looks otherwise.

    Args:
        seed: of the scene, see `tabletop_seeds`.
        split: it belongs to.
        dress: gives the scene other colours, lamps or cameras; nothing that moves otherwise.
        width: of pictures [px].
        height: of pictures [px].
        shadows: cast shadows.

    Raises:
        InvalidDataset: there is no such split.
    """
    drawn = _draw(seed, split)
    drawn = replace(drawn, scene=dress(drawn.scene))
    with Simulator(drawn.scene, width=width, height=height, shadows=shadows) as simulator:
        track, first = _carry_out(simulator, drawn)
        yield Performance(
            behaviour=drawn.behaviour,
            simulator=simulator,
            positions=track.positions,
            object_poses=track.poses,
            first=first,
        )


def act_otherwise(
    seed: int, split: str, commanded: RobotTrajectory, *, unseen: np.random.Generator | None = None
) -> FloatArray:
    """What happens to the objects of an episode when the robot is commanded otherwise from its first frame on.

    Args:
        seed: of the episode.
        split: it belongs to.
        commanded: the other motion, time 0 = the first frame.
        unseen: draws densities and frictions anew, which no camera shows; None keeps those of the episode.

    Returns:
        ``T_world_object`` at the frames of the episode, shape [T, N, 4, 4].
    """
    drawn = _draw(seed, split)
    with Simulator(drawn.scene) as simulator:
        track, first = _carry_out(simulator, drawn)
        if unseen is None:
            return _go_on(simulator, track.positions[first], track.velocities[first], commanded)
    with Simulator(redraw_unseen(drawn.scene, unseen)) as simulator:
        return _go_on(simulator, track.positions[first], track.velocities[first], commanded)


def _go_on(
    simulator: Simulator, positions: FloatArray, velocities: FloatArray, commanded: RobotTrajectory
) -> FloatArray:
    simulator.data.qpos[:], simulator.data.qvel[:] = positions, velocities
    mujoco.mj_forward(simulator.model, simulator.data)
    return _follow(simulator, commanded.at(_instants(_WINDOW + 1))).poses[::SUBSTEPS]


def commanded_motion(episode: Episode) -> RobotTrajectory:
    """The commanded motion of a tabletop episode at 20 Hz, from its first frame on.

    Raises:
        InvalidEpisode: its actions are not the substeps of commanded joints.
    """
    if episode.action_names != action_names(episode.joint_names):
        raise InvalidEpisode(
            f"actions of '{episode.name}' are not commanded positions every {SUBSTEP} s; "
            "'fourd data tabletop' records such episodes"
        )
    rows = episode.actions.reshape(-1, len(episode.joint_names))
    return RobotTrajectory(joint_names=episode.joint_names, times=_instants(len(rows)), positions=rows)


def episode_name(seed: int) -> str:
    """What the tabletop episode of a scene seed is called."""
    return f"tabletop_{seed:010d}"


def action_names(joints: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of ``actions``: joints of the first substep, then of the next."""
    return tuple(f"{joint}+{step * SUBSTEP:.2f}" for step in range(SUBSTEPS) for joint in joints)


@dataclass(frozen=True, kw_only=True)
class _Track:
    """Everything about a motion, every `SUBSTEP`: commanded [S, J], positions [S, nq], velocities [S, nv] of the
    model, poses [S, N, 4, 4] of the things."""

    commanded: FloatArray
    positions: FloatArray
    velocities: FloatArray
    poses: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Drawn:
    """What the episode of a seed consists of, and what its window is drawn from."""

    behaviour: str
    scene: SceneSpec
    motion: Motion
    noise: float
    whatever_comes: bool
    rng: np.random.Generator


def _draw(seed: int, split: str) -> _Drawn:
    rng = np.random.default_rng((seed, 4))
    wanted = find_split(split)
    shares = wanted.shares or {name: behaviour.share for name, behaviour in BEHAVIOURS.items()}
    name = str(rng.choice(list(shares), p=list(shares.values())))
    behaviour = BEHAVIOURS[name]
    for _ in range(_SCENE_ATTEMPTS):
        scene = tabletop_scene(int(rng.integers(2**62)), wanted, behaviour, rng)
        if suits(scene, behaviour):
            break
    noise = float(rng.choice(wanted.aim_noises or behaviour.aim_noises))
    motion = behaviour.draw(Chance(scene=scene, rng=rng, aim_noise=noise))
    return _Drawn(
        behaviour=name, scene=scene, motion=motion, noise=noise, whatever_comes=wanted.whatever_comes, rng=rng
    )


def _carry_out(simulator: Simulator, drawn: _Drawn) -> tuple[_Track, int]:
    """The whole motion, and the substep at which the window begins."""
    _take_posture(simulator, drawn.motion.start)
    track = _run(simulator, drawn.motion)
    return track, _first_substep(track, drawn)


def _take_posture(simulator: Simulator, start: Waypoint) -> None:
    """Let the simulation begin with the gripper at `start`, or above it where there is no room."""
    kinematics, scene = simulator.kinematics(), simulator.spec
    ready = np.array([scene.posture[name] for name in JOINTS if name != FINGER_JOINT])
    rotation = gripper_rotation((start.yaw + np.pi / 2) % np.pi - np.pi / 2, start.pitch)
    for attempt in range(_START_ATTEMPTS):
        position = start.position + np.array([0.0, 0.0, attempt * _START_RISE])
        joints = kinematics.solve(position, rotation, ready, iterations=_IK_ITERATIONS)
        posture = dict(zip(JOINTS, [*joints.tolist(), start.finger], strict=True))
        simulator.reset(replace(scene, posture=posture))
        if not _robot_touches(simulator):
            return


def _robot_touches(simulator: Simulator) -> bool:
    """Whether the robot is in contact with anything but itself."""
    model = simulator.model
    bodies = model.geom_bodyid[simulator.data.contact.geom]
    of_robot = model.body_rootid[bodies] == model.body(ROBOT_ROOT).id
    return bool((of_robot.sum(axis=1) == 1).any())


def _run(simulator: Simulator, motion: Motion) -> _Track:
    """Carry the motion out."""
    simulator.step(_SETTLE)
    return _follow(simulator, _commanded(simulator, motion))


def _follow(simulator: Simulator, commanded: FloatArray) -> _Track:
    """Command set points [S, J], one every `SUBSTEP`."""
    follower = TrajectoryFollower(simulator.commanded_positions())
    begin = simulator.time
    times = _instants(len(commanded))
    follower.follow(RobotTrajectory(joint_names=JOINTS, times=times, positions=commanded), start=begin, now=begin)
    positions, velocities, poses = [], [], []
    for step in range(len(commanded)):
        positions.append(simulator.data.qpos.copy())
        velocities.append(simulator.data.qvel.copy())
        things = simulator.object_poses()
        poses.append([things[name] for name in simulator.object_names])
        for tick in range(1, _TICKS + 1):
            now = begin + (step + tick / _TICKS) * SUBSTEP
            simulator.command(*follower.setpoint(now))
            simulator.step(now - simulator.time)
    shape = (len(commanded), len(simulator.object_names), 4, 4)
    return _Track(
        commanded=commanded,
        positions=np.array(positions),
        velocities=np.array(velocities),
        poses=np.array(poses).reshape(shape),
    )


def _commanded(simulator: Simulator, motion: Motion) -> FloatArray:
    """Set points every `SUBSTEP` of the motion and a rest, for a window at least, shape [S, J]."""
    start = simulator.commanded_positions()
    least = _WINDOW + SUBSTEPS
    if not motion.waypoints:
        return np.repeat(np.array([[start[name] for name in JOINTS]]), least, axis=0)
    trajectory = plan(simulator.kinematics(), motion.waypoints, start)
    length = min(float(trajectory.times[-1]), _LONGEST)
    steps = max(int(np.ceil((length + _REST) / SUBSTEP)), least)
    return trajectory.at(_instants(steps))


def _instants(substeps: int) -> FloatArray:
    """When each substep begins [s], shape [substeps]."""
    return np.arange(substeps, dtype=np.float64) * SUBSTEP


def _first_substep(track: _Track, drawn: _Drawn) -> int:
    """Where the window begins: mostly some time before the first thing is stirred."""
    rng = drawn.rng
    if drawn.whatever_comes:
        return int(rng.uniform(0.0, _AT_ONCE) / SUBSTEP)
    last = len(track.commanded) - _WINDOW - SUBSTEPS
    stirred = _stirred(track.poses)
    kind = rng.random()
    anywhere = int(rng.integers(last + 1))
    if not stirred.any():
        return anywhere
    contact = int(np.argmax(stirred))
    if kind < _AROUND_CONTACT:
        return int(np.clip(contact - rng.uniform(*_LEAD) / SUBSTEP, 0, last))
    if kind < _AROUND_CONTACT + _AFTER_CONTACT:
        return int(np.clip(contact + rng.uniform(*_DELAY) / SUBSTEP, 0, last))
    return anywhere


def _stirred(poses: FloatArray) -> NDArray[np.bool_]:
    """At which substeps something is not where it was at first, shape [S]."""
    change = np.abs(poses - poses[:1])
    shifted = (change[..., :3, 3] > _STIRRED).any(axis=(1, 2))
    turned = (change[..., :3, :3] > _TURNED).any(axis=(1, 2, 3))
    return np.asarray(shifted | turned)


def _episode(simulator: Simulator, track: _Track, first: int, *, seed: int, drawn: _Drawn) -> Episode:
    frames = first + np.arange(STEPS + 1) * SUBSTEPS
    actions = track.commanded[frames[:, None] + np.arange(SUBSTEPS)].reshape(STEPS + 1, -1)
    columns = [simulator.model.joint(name).qposadr[0] for name in JOINTS]
    rates = [simulator.model.joint(name).dofadr[0] for name in JOINTS]
    labels, sizes = describe_objects(simulator.spec)
    names = simulator.object_names
    return Episode(
        name=episode_name(seed),
        source=SOURCE,
        start_ns=START_NS,
        robot_description=_robot_text(),
        seed=seed,
        tasks=(drawn.behaviour,),
        instructions=(drawn.motion.instruction,),
        policy=f"aim_noise_{1000 * drawn.noise:g}mm",
        rate=RATE,
        times=np.arange(STEPS + 1) / RATE,
        joint_names=JOINTS,
        action_names=action_names(JOINTS),
        actions=actions,
        commanded=track.commanded[frames],
        measured=track.positions[frames][:, columns],
        velocities=track.velocities[frames][:, rates],
        object_names=names,
        object_labels=labels,
        object_sizes=np.array(sizes, np.float64).reshape(len(names), 3),
        object_poses=track.poses[frames],
        views={CAMERA: _view(simulator, track.positions[frames])},
    )


@cache
def _robot_text() -> str:
    return panda_description().text


def _view(simulator: Simulator, positions: FloatArray) -> EpisodeView:
    """What the camera sees when the model stands at each of `positions` [T, nq]."""
    pictures = []
    for row in positions:
        simulator.data.qpos[:] = row
        mujoco.mj_kinematics(simulator.model, simulator.data)
        mujoco.mj_camlight(simulator.model, simulator.data)
        pictures.append(simulator.render(CAMERA))
    pose = simulator.camera_pose(CAMERA)
    return EpisodeView(
        camera=simulator.camera(CAMERA),
        mounted_on="",
        T_mount_camera=pose,
        T_world_camera=np.repeat(pose[None], len(positions), axis=0),
        rgb=np.stack([picture.rgb for picture in pictures]),
        depth=np.stack([picture.depth for picture in pictures]),
        segmentation=np.stack([picture.segmentation for picture in pictures]),
    )
