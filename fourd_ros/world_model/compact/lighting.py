"""Where the light comes from, found from the shadow that the robot casts, and which points are in shadow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, from_parts, invert
from fourd_ros.records import FloatArray, Mask, ObjectMotion
from fourd_ros.robot.model import RobotModel
from fourd_ros.world_model.observed_surface import ObservedSurface
from fourd_ros.world_model.scene import Scene

Floats = NDArray[np.floating]

OPENING = np.deg2rad(60.0)
"""Of the picture that a lamp has of the robot and what is around it."""

COARSE, FINE = 48, 160
"""Width and height of that picture while lamps are compared, and afterwards [pixels]."""

DISTANCE = 2.0
"""Of the first lamps that are compared, from the middle of what the robot can reach [m]."""

TILTS = np.deg2rad([4, 12, 20, 28, 36, 46, 56])
"""From straight above."""

REFINEMENTS = (0.09, 0.04)
"""Finer steps around the best lamp, as parts of its distance."""

REACH = 0.9
"""Shadows are looked for this near to the robot's root [m]."""

LEVEL = 0.03
"""And on what is this near to the level of most points there [m]."""

SAMPLES = 1000
"""Points at which lamps are compared."""

LEAST_AGREEMENT = 0.25
"""Correlation of shadow and darkness below which no lamp is believed."""

BIAS = 0.03
"""What is behind something by less than this is not in its shadow: it may be the thing itself [m]."""


@dataclass(frozen=True, kw_only=True)
class Lamp:
    """A point that light comes from.

    Args:
        T_robot_lamp: optical frame of a camera in its place that looks at the workspace, in the robot's root.
        agreement: correlation of the shadow that it casts with darkness, 0..1.
    """

    T_robot_lamp: FloatArray
    agreement: float


def find_lamp(robot: RobotModel, scene: Scene, view: str) -> Lamp | None:
    """The lamp whose shadow of the robot explains best what is dark.

    Args:
        robot: the robot.
        scene: what was observed.
        view: the camera whose picture is looked at.

    Returns:
        None if no lamp explains it well.
    """
    points, darkness = _ground(scene, view)
    if len(points) < SAMPLES // 10:
        return None
    middle = np.median(points, axis=0)
    lamps = middle + _directions()
    best = _agreements(robot, scene, lamps, middle, points, darkness)
    for step in REFINEMENTS:
        centre = lamps[int(best.argmax())]
        lamps = centre + _around() * step * np.linalg.norm(centre - middle)
        best = _agreements(robot, scene, lamps, middle, points, darkness)
    chosen = int(best.argmax())
    if best[chosen] < LEAST_AGREEMENT:
        return None
    return Lamp(T_robot_lamp=_looking(lamps[chosen : chosen + 1], middle)[0], agreement=float(best[chosen]))


@cache
def _directions() -> FloatArray:
    """Places of lamps around the origin, shape [N, 3]."""
    places = [
        DISTANCE * np.array([np.sin(tilt) * np.cos(turn), np.sin(tilt) * np.sin(turn), np.cos(tilt)])
        for ring, tilt in enumerate(TILTS)
        for turn in np.linspace(0, 2 * np.pi, 3 + 4 * ring, endpoint=False)
    ]
    return np.array(places)


@cache
def _around() -> FloatArray:
    """Steps to all sides, shape [27, 3]."""
    return np.stack(np.meshgrid([-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0]), axis=-1).reshape(-1, 3)


def _camera(size: int) -> PinholeCamera:
    focal = size / 2 / np.tan(OPENING / 2)
    centre = (size - 1) / 2
    return PinholeCamera(width=size, height=size, K=np.array([[focal, 0, centre], [0, focal, centre], [0, 0, 1]]))


def _looking(places: FloatArray, target: FloatArray) -> FloatArray:
    """Optical frames at places [N, 3] above a target that look at it, shape [N, 4, 4]."""
    forward = target - places
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    down = np.cross(forward, (1.0, 0.0, 0.0))
    down /= np.linalg.norm(down, axis=-1, keepdims=True)
    return from_parts(np.stack([np.cross(down, forward), down, forward], axis=-1), places)


def _ground(scene: Scene, view: str) -> tuple[FloatArray, FloatArray]:
    """Points of the level around the robot, in its root, shape [N, 3], and how dark they are, shape [N]."""
    seen = scene.observation.views[view]
    T_robot_camera = invert(scene.observation.T_world_robot) @ seen.T_world_camera
    free = np.isfinite(seen.points[..., 2]) & ~scene.robot[view]
    points = apply(T_robot_camera, seen.points[free].astype(np.float64))
    near = np.hypot(points[:, 0], points[:, 1]) < REACH
    points, colour = points[near], seen.rgb[free][near]
    level = np.abs(points[:, 2] - np.median(points[:, 2])) < LEVEL
    stride = max(1, int(level.sum()) // SAMPLES)
    brightness = colour[level][::stride].sum(axis=1) + 10.0
    return points[level][::stride], -np.log(brightness)


def _agreements(
    robot: RobotModel, scene: Scene, lamps: FloatArray, middle: FloatArray, points: FloatArray, darkness: FloatArray
) -> FloatArray:
    """Correlation of shadow and darkness for every lamp, shape [N]."""
    camera = _camera(COARSE)
    T_robot_lamp = _looking(lamps, middle)
    poses = {link: np.broadcast_to(pose, (len(lamps), 4, 4)) for link, pose in scene.link_poses.items()}
    mask = robot.renderer.render(poses, camera, T_robot_lamp, colour=False).mask
    rows, columns = _pixels(camera, T_robot_lamp, points)
    mask = np.pad(mask, ((0, 0), (0, 1), (0, 1)))
    shadow = mask[np.arange(len(lamps))[:, None], rows, columns].astype(np.float64)
    shadow -= shadow.mean(axis=1, keepdims=True)
    darkness = darkness - darkness.mean()
    spread = np.linalg.norm(shadow, axis=1) * np.linalg.norm(darkness)
    return (shadow @ darkness) / np.maximum(spread, 1e-9)


def _pixels(camera: PinholeCamera, T_robot_lamp: FloatArray, points: Floats) -> tuple[NDArray[np.intp], ...]:
    """Rows and columns of points [*, N, 3] in the pictures of lamps [*, 4, 4], which have a border of one more pixel;
    those outside lie there."""
    places = np.rint(camera.project(apply(invert(T_robot_lamp), points)))
    rows, columns = (
        np.where((place >= 0) & (place < length), place, length).astype(np.intp)
        for place, length in ((places[..., 1], camera.height), (places[..., 0], camera.width))
    )
    return rows, columns


@dataclass(frozen=True, kw_only=True)
class Shade:
    """What lies in the shadow of the robot and of things that move, at first and later.

    Args:
        lamp: where the light comes from; None: nothing lies in a shadow that is known of.
        before: depth, seen from the lamp, of what casts shadows at first, infinite beside it, shape [1, F + 1, F + 1].
        after: the same at every step, shape [T, F + 1, F + 1].
    """

    lamp: Lamp | None
    before: Floats
    after: Floats

    @classmethod
    def of(
        cls,
        lamp: Lamp | None,
        robot: RobotModel,
        scene: Scene,
        positions: FloatArray,
        objects: Sequence[ObjectMotion],
    ) -> "Shade":
        """Shadows of a future.

        Args:
            lamp: from `find_lamp`.
            robot: the robot.
            scene: what was observed.
            positions: commanded, of all actuated joints [rad | m], shape [T, J].
            objects: motions of things over the same steps.
        """
        if lamp is None:
            return cls(lamp=None, before=np.full((1, 1, 1), np.inf), after=np.full((len(positions), 1, 1), np.inf))
        first = {link: pose[None] for link, pose in scene.link_poses.items()}
        later = robot.kinematics.link_poses(positions)
        surfaces = [scene.surface_of(item.pixels) for item in objects]
        still = [(surface, np.eye(4)[None]) for surface in surfaces]
        moved = [(surface, item.motion) for surface, item in zip(surfaces, objects, strict=True)]
        T_world_robot = scene.observation.T_world_robot
        return cls(
            lamp=lamp,
            before=_shadow_map(lamp, robot, first, still, T_world_robot),
            after=_shadow_map(lamp, robot, later, moved, T_world_robot),
        )

    def at(self, frames: NDArray[np.intp]) -> "Shade":
        """The same at chosen steps."""
        return replace(self, after=self.after[frames])

    def changes(self, points: Floats) -> tuple[Mask, Mask]:
        """Which points lie in shadow now but did not at first, and the other way round.

        Args:
            points: of every step, in the robot's root [m], NaN where unknown, shape [T, N, 3].

        Returns:
            Two masks, False where the point is unknown, shape [T, N].
        """
        if self.lamp is None:
            return np.zeros(points.shape[:2], bool), np.zeros(points.shape[:2], bool)
        rows, columns = _pixels(_camera(FINE), self.lamp.T_robot_lamp, points)
        T_lamp_robot = invert(self.lamp.T_robot_lamp)
        depth = points @ T_lamp_robot[2, :3].astype(points.dtype) + points.dtype.type(T_lamp_robot[2, 3] - BIAS)
        before = depth > self.before[0][rows, columns]
        after = depth > self.after[np.arange(len(points))[:, None], rows, columns]
        return after & ~before, before & ~after


def _shadow_map(
    lamp: Lamp,
    robot: RobotModel,
    link_poses: Mapping[str, FloatArray],
    things: Iterable[tuple[ObservedSurface, FloatArray]],
    T_world_robot: FloatArray,
) -> Floats:
    """Depth, seen from the lamp, of the robot and of surfaces with their motions, infinite beside them,
    shape [T, FINE + 1, FINE + 1]."""
    camera = _camera(FINE)
    rendering = robot.renderer.render(link_poses, camera, lamp.T_robot_lamp, colour=False)
    depth = np.where(rendering.mask, rendering.points[..., 2], np.float32(np.inf))
    for surface, motion in things:
        T_surface_lamp = invert(motion) @ T_world_robot @ lamp.T_robot_lamp
        for seen in surface.look(camera, T_surface_lamp, steps=np.ones(len(depth), bool)):
            place = depth[seen.step][seen.window]
            place[seen.mask] = np.minimum(place[seen.mask], seen.points[:, 2])
    return np.pad(depth, ((0, 0), (0, 1), (0, 1)), constant_values=np.inf)
