"""MuJoCo model of an articulated object, and points on its surface."""

from collections.abc import Sequence
from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulation import SLIDES
from fourd_ros.data.partdrag4d_cameras import FOCAL_PER_HALF
from fourd_ros.geometry.transforms import to_quaternion
from fourd_ros.simulation.appearance import Appearance
from fourd_ros.simulation.articulated import ArticulatedObject, MovingPart, scaled_part
from fourd_ros.simulation.model import SHAPES, add_material, to_wxyz
from fourd_ros.simulation.part_surfaces import area, points_on
from fourd_ros.simulation.parts import Part, Vector

FloatArray = NDArray[np.float64]

BODY_ID = 1
"""Of the segmentation; part k on a joint has ``k + 2``, what is not the object 0."""

DENSITY = 300.0
_NEAR, _FAR = 0.05, 12.0
_SHADOW_MAP = 64  # made for every model though nothing casts shadows; MuJoCo's own size would cost 0.1 s
_FOV = float(np.rad2deg(2 * np.arctan(1 / FOCAL_PER_HALF)))


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Light around an object.

    Args:
        ambient: from everywhere, 0..1.
        key: brightness of the lamp at (5, 5, 5), where the original has its only one.
        fill: brightness of a second lamp.
        fill_position: of it.
    """

    ambient: float = 0.5
    key: float = 0.45
    fill: float = 0.15
    fill_position: Vector = (4.0, -4.0, 3.0)


def sample_studio(rng: np.random.Generator) -> Studio:
    """Light that differs a little from object to object."""
    angle = float(rng.uniform(-np.pi, np.pi))
    return Studio(
        ambient=float(rng.uniform(0.42, 0.58)),
        key=float(rng.uniform(0.35, 0.5)),
        fill=float(rng.uniform(0.08, 0.25)),
        fill_position=(5 * float(np.cos(angle)), 5 * float(np.sin(angle)), float(rng.uniform(1.0, 4.0))),
    )


def build_spec(
    item: ArticulatedObject,
    *,
    scale: float = 1.0,
    offset: Sequence[float] = (0.0, 0.0, 0.0),
    cameras: FloatArray | None = None,
    studio: Studio | None = None,
) -> mujoco.MjSpec:
    """An object as a model that can be compiled or written as MJCF.

    Args:
        item: the object.
        scale: of all lengths.
        offset: of the object's frame in the world.
        cameras: poses in the axes of OpenGL, shape [V, 4, 4].
        studio: the light; the default one where there is none.
    """
    spec = mujoco.MjSpec()
    spec.modelname = f"{item.kind}_{item.name}"
    add_studio(spec, studio or Studio())
    body = spec.worldbody.add_body(name="body", pos=list(offset))
    materials: dict[Appearance, str] = {}
    _add_shapes(spec, body, "body", item.body, scale, np.zeros(3), materials)
    for part in item.moving:
        _add_moving(spec, body, part, scale, materials)
    add_cameras(spec, np.zeros((0, 4, 4)) if cameras is None else cameras)
    return spec


def add_cameras(spec: mujoco.MjSpec, poses: FloatArray) -> None:
    """Cameras of PartDrag-4D at poses in the axes of OpenGL, shape [V, 4, 4]."""
    for index, pose in enumerate(poses):
        quaternion = np.roll(to_quaternion(pose)[1], 1)
        spec.worldbody.add_camera(name=f"{index:03d}", pos=pose[:3, 3], quat=quaternion, fovy=_FOV)


def add_studio(spec: mujoco.MjSpec, studio: Studio) -> None:
    """Light of a studio, and how such models are drawn."""
    spec.stat.extent = 1.0
    spec.stat.center = (0.0, 0.0, 0.0)
    visual = spec.visual
    visual.map.znear, visual.map.zfar = _NEAR, _FAR
    visual.quality.offsamples = 0
    visual.quality.shadowsize = _SHADOW_MAP
    visual.headlight.active = 1
    visual.headlight.ambient = [studio.ambient] * 3
    visual.headlight.diffuse = [0.1] * 3
    visual.headlight.specular = [0.0] * 3
    for name, place, brightness in (("key", (5.0, 5.0, 5.0), studio.key), ("fill", studio.fill_position, studio.fill)):
        direction = -np.asarray(place) / np.linalg.norm(place)
        spec.worldbody.add_light(
            name=name,
            pos=place,
            dir=direction,
            diffuse=[brightness] * 3,
            specular=[0.2 * brightness] * 3,
            castshadow=False,
            cutoff=60.0,
        )


def _add_moving(
    spec: mujoco.MjSpec, body: mujoco.MjsBody, part: MovingPart, scale: float, materials: dict[Appearance, str]
) -> None:
    hinge, origin = part.hinge, np.asarray(part.hinge.origin)
    slides = hinge.type == SLIDES
    moving = body.add_body(name=part.name, pos=scale * origin)
    # A range in the compiler's degrees, which leaves lengths alone.
    moving.add_joint(
        name=f"{part.name}_joint",
        type=mujoco.mjtJoint.mjJNT_SLIDE if slides else mujoco.mjtJoint.mjJNT_HINGE,
        axis=hinge.direction,
        limited=True,
        range=(0.0, scale * hinge.upper if slides else hinge.upper),
        damping=1.0,
    )
    _add_shapes(spec, moving, part.name, part.shapes, scale, origin, materials)
    spec.add_exclude(bodyname1="body", bodyname2=part.name)


def _add_shapes(
    spec: mujoco.MjSpec,
    body: mujoco.MjsBody,
    name: str,
    shapes: Sequence[Part],
    scale: float,
    origin: FloatArray,
    materials: dict[Appearance, str],
) -> None:
    for index, part in enumerate(shapes):
        x, y, z = (scale * (np.asarray(part.position) - origin)).tolist()
        placed = scaled_part(part, scale, (x, y, z))
        if placed.appearance not in materials:
            materials[placed.appearance] = add_material(spec, f"look_{len(materials)}", placed.appearance)
        body.add_geom(
            name=f"{name}_{index}",
            type=SHAPES[placed.shape],
            size=[*placed.size, 0.0, 0.0][:3],
            pos=placed.position,
            quat=to_wxyz(placed.rotation),
            material=materials[placed.appearance],
            density=DENSITY,
        )


def part_ids(model: mujoco.MjModel) -> NDArray[np.uint8]:
    """Segmentation id of every body of a compiled model: 0 the world, `BODY_ID` and on."""
    return np.arange(model.nbody, dtype=np.uint8)


def joint_positions(item: ArticulatedObject, motions: Sequence[tuple[int, float]], *, scale: float) -> FloatArray:
    """Positions of all joints [rad | length], shape [joints], where some stand at a share 0..1 of their range."""
    positions = np.zeros(len(item.moving))
    for joint, share in motions:
        hinge = item.moving[joint].hinge
        positions[joint] = share * (scale * hinge.upper if hinge.type == SLIDES else np.deg2rad(hinge.upper))
    return positions


def surface_points(
    item: ArticulatedObject, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Points drawn evenly on the surface of the closed object, and which part each belongs to.

    Returns:
        Points in the object's frame, shape [count, 3], and labels, shape [count]: k for the part on joint k, and the
        number of joints for the body.
    """
    shapes = [(shape, index) for index, part in enumerate(item.moving) for shape in part.shapes]
    shapes += [(shape, len(item.moving)) for shape in item.body]
    areas = np.array([area(shape) for shape, _ in shapes])
    counts = rng.multinomial(count, areas / areas.sum())
    points = [points_on(shape, n, rng)[0] for (shape, _), n in zip(shapes, counts, strict=True)]
    labels = np.repeat([label for _, label in shapes], counts)
    return np.concatenate(points).astype(np.float32), labels.astype(np.int32)
