"""How solids come to lie and move: side by side on a table, pushed, tumbling, or with their joints opening."""

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.transforms import from_quaternion, from_rpy
from fourd_ros.simulation.model import SHAPES, to_wxyz
from fourd_ros.simulation.solids import Solid, bounds

FloatArray = NDArray[np.float64]

FRAME_SECONDS = 0.09
"""Between frames, for solids whose longest side is about 1 m."""

_TIMESTEP = 0.006
_PUSH, _SPIN = (0.6, 2.2), 2.5
_DROP, _THROW, _TURN = (0.2, 1.0), 1.2, 6.0
_GAP = 1.04
_TRIES = 60


def stand_apart(solids: Sequence[Solid], rng: np.random.Generator) -> FloatArray:
    """Poses on the plane z = 0, each turned at random, with circles around their footprints that do not meet.

    Args:
        solids: with all joints at 0.
        rng: draws them.

    Returns:
        ``T_world_solid``, shape [N, 4, 4].
    """
    radii: list[float] = []
    poses: list[FloatArray] = []
    places: list[FloatArray] = []
    for solid in solids:
        low, high = bounds(solid, solid.motions([0.0] * len(solid.hinges)))
        radii.append(float(np.hypot(*np.abs([low[:2], high[:2]]).max(axis=0))))
        poses.append(from_rpy((0.0, 0.0, -low[2]), (0.0, 0.0, float(rng.uniform(-np.pi, np.pi)))))
    reach = 0.45 * sum(radii)
    for index, radius in enumerate(radii):
        place = _free_place(places, radii, radius, reach if index else 0.0, rng)
        places.append(place)
        poses[index][:2, 3] = place
    return np.stack(poses)


def _free_place(
    places: Sequence[FloatArray], radii: Sequence[float], radius: float, reach: float, rng: np.random.Generator
) -> FloatArray:
    while True:
        for _ in range(_TRIES):
            place = rng.uniform(-reach, reach, 2)
            gaps = (
                np.linalg.norm(place - other) - _GAP * (radius + one)
                for other, one in zip(places, radii[: len(places)], strict=True)
            )
            if all(gap > 0 for gap in gaps):
                return np.asarray(place)
        reach = 1.1 * reach


def toss(
    solids: Sequence[Solid],
    poses: FloatArray,
    moving: Sequence[bool],
    behaviour: str,
    frames: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Poses over time of rigid solids of which some are pushed over the table or thrown onto it; the rest may be hit.

    Args:
        solids: with all joints at 0.
        poses: at the start, ``T_world_solid`` [N, 4, 4]; what is thrown begins higher.
        moving: which ones.
        behaviour: ``pushed`` or ``tumbling``.
        frames: F.
        rng: draws the velocities.

    Returns:
        ``T_world_solid``, shape [F, N, 4, 4].
    """
    spec = mujoco.MjSpec()
    spec.option.timestep = _TIMESTEP
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[50.0, 50.0, 0.1], friction=[0.5, 0.005, 0.001])
    for index, solid in enumerate(solids):
        body = spec.worldbody.add_body(name=f"solid_{index}")
        body.add_freejoint()
        for part in (part for piece in solid.pieces for part in piece):
            body.add_geom(
                type=SHAPES[part.shape],
                size=[*part.size, 0.0, 0.0][:3],
                pos=part.position,
                quat=to_wxyz(part.rotation),
                density=300.0,
                friction=[0.5, 0.005, 0.001],
            )
    model = spec.compile()
    data = mujoco.MjData(model)
    for index, (pose, moves) in enumerate(zip(poses, moving, strict=True)):
        joint = data.joint(model.body(f"solid_{index}").jntadr[0])
        joint.qpos[:3] = pose[:3, 3]
        mujoco.mju_mat2Quat(joint.qpos[3:], pose[:3, :3].reshape(-1))
        if moves and behaviour == "pushed":
            angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(*_PUSH)
            joint.qvel[:3] = speed * np.cos(angle), speed * np.sin(angle), 0.0
            joint.qvel[5] = rng.uniform(-_SPIN, _SPIN)
        elif moves:
            joint.qpos[2] += rng.uniform(*_DROP)
            joint.qvel[:3] = rng.uniform(-_THROW, _THROW, 3)
            joint.qvel[3:] = rng.uniform(-_TURN, _TURN, 3)
    taken = []
    steps = round(FRAME_SECONDS / _TIMESTEP)
    for frame in range(frames):
        if frame:
            mujoco.mj_step(model, data, steps)
        rows = data.qpos.reshape(len(solids), 7)
        taken.append([from_quaternion(row[:3], np.roll(row[3:], -1)) for row in rows])
    return np.array(taken)


def openings(solid: Solid, frames: int, rng: np.random.Generator) -> FloatArray:
    """Shares of the ranges of all joints over time, shape [F, joints]: one or two go most of their way, smoothly."""
    joints = len(solid.hinges)
    begin = rng.uniform(0.0, 0.25, joints) * (rng.random(joints) < 0.3)
    go = rng.permutation(joints)[: int(rng.integers(1, 3))]
    end = begin.copy()
    end[go] = rng.uniform(0.6, 1.0, len(go))
    share = np.linspace(0, 1, frames)[:, None] if frames > 1 else np.zeros((1, 1))
    smooth = share * share * (3 - 2 * share)
    course: FloatArray = begin + (end - begin) * smooth
    return course[::-1].copy() if rng.random() < 0.3 else course
