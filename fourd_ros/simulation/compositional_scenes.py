"""Scenes of solids filmed by one fixed camera, with everything known about them.

All is in the cube of `fourd_ros.data.compositional_shards`: the scene is turned so that its camera stands on +z and
looks at the origin, and scaled so that it fills most of the cube over all its frames.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.compositional_shards import (
    CAMERA_DISTANCE,
    GRID,
    VERTICAL_FOV,
    CompositionalArrays,
    CompositionalFacts,
    SolidFacts,
    occupancy_grid,
)
from fourd_ros.errors import InvalidParameter
from fourd_ros.geometry.transforms import from_parts, to_quaternion
from fourd_ros.simulation.appearance import Appearance, sample_surface
from fourd_ros.simulation.articulated_model import add_studio, sample_studio
from fourd_ros.simulation.compositional_splits import kinds_of, layout_of
from fourd_ros.simulation.model import SHAPES, add_material, to_wxyz
from fourd_ros.simulation.rendering import Renderer
from fourd_ros.simulation.solid_kinds import ARTICULATED_KINDS, sample_solid
from fourd_ros.simulation.solid_motion import openings, stand_apart, toss
from fourd_ros.simulation.solids import Solid, bounds, depth_in, surface_of

FloatArray = NDArray[np.float64]

MOST_SOLIDS, MOST_FRAMES = 5, 64

_ELEVATION = (-0.1, 1.0)
_EXTENT = (1.5, 1.95)
_SIZES = (0.5, 1.0)
_MARGIN = 0.03
_NEAR_SURFACE = (0.01, 0.04)
_EVEN_SHARE = 0.3
_TABLE_HALF = 30.0


@dataclass(frozen=True, kw_only=True)
class CompositionalOptions:
    """How scenes are filmed.

    Args:
        size: width and height of pictures [px].
        samples: rays a pixel along each axis.
        frames: of scenes in which something moves.
        points: on the surface of each solid.
        queries: around it.
        occupancy: keep which cells of a grid are filled, for measuring.

    Raises:
        InvalidParameter: out of range.
    """

    size: int = 112
    samples: int = 2
    frames: int = 8
    points: int = 2048
    queries: int = 3072
    occupancy: bool = False

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("size", self.size, 14, 1024),
            ("samples", self.samples, 1, 4),
            ("frames", self.frames, 2, MOST_FRAMES),
            ("points", self.points, 1, 300_000),
            ("queries", self.queries, 1, 300_000),
        ):
            if not least <= value <= most:
                raise InvalidParameter(f"{name} {value} of compositional scenes; needed is {least} to {most}")


@dataclass(frozen=True, kw_only=True)
class _Course:
    """Solids and where their pieces are over time.

    Args:
        solids: in their own frames.
        motions: solid -> world of every piece, by frame and solid, each [pieces, 4, 4].
        moving: which ones were meant to move.
        T_cube_world: where the table lies, its plane z = 0, shape [4, 4].
    """

    solids: Sequence[Solid]
    motions: Sequence[Sequence[FloatArray]]
    moving: Sequence[bool]
    T_cube_world: FloatArray = field(default_factory=lambda: np.eye(4))


def film_scene(seed: int, split: str, options: CompositionalOptions) -> tuple[CompositionalFacts, CompositionalArrays]:
    """The scene of a seed (see `compositional_seeds`); the same arguments give the same one.

    Raises:
        InvalidDataset: there is no such split.
        MissingDependency: no OpenGL library is installed.
    """
    rng = np.random.default_rng((seed, 9))
    layout = layout_of(seed)
    frames = options.frames if layout in ("moving", "clip") else 1
    behaviour, course = _course(layout, kinds_of(split), frames, rng)
    course = _in_cube(course, rng)
    surfaces = [
        surface_of(solid, motions, options.points, rng)
        for solid, motions in zip(course.solids, course.motions[0], strict=True)
    ]
    rgb, numbers, depth = _film(course, options, rng)
    pieces = max(len(solid.pieces) for solid in course.solids)
    motions = np.zeros((frames, len(course.solids), pieces, 3, 4), np.float32)
    for frame, row in enumerate(course.motions):
        for index, placed in enumerate(row):
            motions[frame, index, : len(placed)] = placed[:, :3]
    arrays = CompositionalArrays(
        rgb=rgb,
        numbers=numbers,
        depth=depth,
        visible=np.zeros((frames, len(course.solids)), np.float32),
        surface=np.stack([points for points, _ in surfaces]).astype(np.float16),
        pieces=np.stack([owners for _, owners in surfaces]),
        motions=motions,
        queries=np.stack(
            [_queries(course, index, surface, owner, options, rng) for index, (surface, owner) in enumerate(surfaces)]
        ),
        grid=_grids(course) if options.occupancy else np.zeros((0, len(course.solids), GRID**3 // 8), np.uint8),
    )
    arrays.visible[:] = _visible(arrays)
    facts = CompositionalFacts(
        name=f"{seed:010d}",
        layout=layout,
        behaviour=behaviour,
        solids=tuple(
            SolidFacts(kind=solid.kind, moves=bool(moves))
            for solid, moves in zip(course.solids, course.moving, strict=True)
        ),
    )
    return facts, arrays


def _course(layout: str, kinds: Sequence[str], frames: int, rng: np.random.Generator) -> tuple[str, _Course]:
    count = 1 if layout in ("single", "moving") else int(rng.integers(2, MOST_SOLIDS + 1 if layout == "scene" else 4))
    solids = [sample_solid(str(rng.choice(kinds)), rng).scaled(float(rng.uniform(*_SIZES))) for _ in range(count)]
    poses = stand_apart(solids, rng)
    shut = [solid.motions([0.0] * len(solid.hinges)) for solid in solids]
    moving = [bool(index == 0) for index in range(count)]
    if layout in ("single", "scene"):
        if layout == "single" and rng.random() < 0.4:  # as it lies on the table after a fall, seen from below at times
            poses[0, :3, :3] = _turned(rng)
        shown = [_opened(solid, 1, rng)[0] for solid in solids]
        return "still", _Course(solids=solids, motions=[_placed(poses, shown)], moving=[False] * count)
    if solids[0].kind in ARTICULATED_KINDS:
        course = _opened(solids[0], frames, rng)
        motions = [_placed(poses, [course[frame], *shut[1:]]) for frame in range(frames)]
        return "opening", _Course(solids=solids, motions=motions, moving=moving)
    behaviour = str(rng.choice(["pushed", "tumbling"]))
    tossed = toss(solids, poses, moving, behaviour, frames, rng)
    return behaviour, _Course(solids=solids, motions=[_placed(row, shut) for row in tossed], moving=moving)


def _turned(rng: np.random.Generator) -> FloatArray:
    """A rotation drawn evenly (QR of a normal matrix), shape [3, 3]."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.linalg.det(q)
    return np.asarray(q)


def _opened(solid: Solid, frames: int, rng: np.random.Generator) -> list[FloatArray]:
    return (
        [solid.motions(row) for row in openings(solid, frames, rng)] if solid.hinges else [solid.motions([])] * frames
    )


def _placed(poses: FloatArray, motions: Sequence[FloatArray]) -> list[FloatArray]:
    return [pose @ motion for pose, motion in zip(poses, motions, strict=True)]


def _in_cube(course: _Course, rng: np.random.Generator) -> _Course:
    """The course as the camera sees it: turned to it, centred, scaled over all frames."""
    elevation = rng.uniform(*_ELEVATION)
    sine, cosine = float(np.sin(elevation)), float(np.cos(elevation))
    R_cube_world = np.array([[0.0, 1.0, 0.0], [-sine, 0.0, cosine], [cosine, 0.0, sine]])
    turn = from_parts(R_cube_world, np.zeros(3))
    boxes = np.array(
        [
            bounds(solid, turn @ motions)
            for row in course.motions
            for solid, motions in zip(course.solids, row, strict=True)
        ]
    )
    low, high = boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)
    factor = float(rng.uniform(*_EXTENT)) / float((high - low).max())
    slack = np.maximum(1 - _MARGIN / 2 - factor * (high - low) / 2, 0)
    shift = -factor * (low + high) / 2 + rng.uniform(-0.3, 0.3, 3) * slack

    def placed(motions: FloatArray) -> FloatArray:
        result = turn @ motions
        result[:, :3, 3] = factor * result[:, :3, 3] + shift
        return np.asarray(result)

    return _Course(
        solids=[solid.scaled(factor) for solid in course.solids],
        motions=[[placed(motions) for motions in row] for row in course.motions],
        moving=course.moving,
        T_cube_world=from_parts(R_cube_world, shift),
    )


def _film(
    course: _Course, options: CompositionalOptions, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    """Colour, numbers and depth of all frames; a table is in the colours of scenes of several solids."""
    spec = mujoco.MjSpec()
    add_studio(spec, sample_studio(rng))
    spec.worldbody.add_camera(name="camera", pos=[0.0, 0.0, CAMERA_DISTANCE], fovy=float(np.rad2deg(VERTICAL_FOV)))
    if len(course.solids) > 1:
        _add_table(spec, course.T_cube_world, rng)
    ids = [0]
    materials: dict[Appearance, str] = {}
    for index, solid in enumerate(course.solids):
        for number, piece in enumerate(solid.pieces):
            body = spec.worldbody.add_body(name=f"{index}_{number}", mocap=True)
            ids.append(index + 1)
            for part in piece:
                if part.appearance not in materials:
                    materials[part.appearance] = add_material(spec, f"look_{len(materials)}", part.appearance)
                body.add_geom(
                    type=SHAPES[part.shape],
                    size=[*part.size, 0.0, 0.0][:3],
                    pos=part.position,
                    quat=to_wxyz(part.rotation),
                    material=materials[part.appearance],
                    contype=0,
                    conaffinity=0,
                )
    model = spec.compile()
    data = mujoco.MjData(model)
    fine = options.size * options.samples
    taken = []
    renderer = Renderer(model, part_ids=np.array(ids, np.uint8), width=fine, height=fine, shadows=False)
    try:
        for row in course.motions:
            positions, rotations = to_quaternion(np.concatenate(row))
            data.mocap_pos[:], data.mocap_quat[:] = positions, np.roll(rotations, 1, axis=-1)
            mujoco.mj_kinematics(model, data)
            mujoco.mj_camlight(model, data)
            taken.append(_shrunk(renderer, data, options))
    finally:
        renderer.close()
    rgb, numbers, depth = (np.stack(arrays) for arrays in zip(*taken, strict=True))
    return rgb, numbers, np.where(numbers > 0, depth, np.nan).astype(np.float32)


def _shrunk(
    renderer: Renderer, data: mujoco.MjData, options: CompositionalOptions
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    picture = renderer.render(data, 0)
    colour = cv2.resize(picture.rgb, (options.size, options.size), interpolation=cv2.INTER_AREA)
    step = slice(options.samples // 2, None, options.samples)
    return np.asarray(colour, np.uint8), picture.segmentation[step, step], picture.depth[step, step]


def _add_table(spec: mujoco.MjSpec, T_cube_world: FloatArray, rng: np.random.Generator) -> None:
    look = sample_surface(rng)
    position, rotation = to_quaternion(T_cube_world)
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[_TABLE_HALF, _TABLE_HALF, 0.1],
        pos=position.tolist(),
        quat=np.roll(rotation, 1).tolist(),
        material=add_material(spec, "table", replace(look, scale=0.2 * look.scale)),
    )


def _visible(arrays: CompositionalArrays) -> NDArray[np.float32]:
    """Share of the pixels onto which the surface of each solid falls that show it, shape [F, N]."""
    frames, size, _ = arrays.numbers.shape
    focal = size / 2 / np.tan(VERTICAL_FOV / 2)
    shares = np.zeros((frames, len(arrays.surface)), np.float32)
    for frame in range(frames):
        for index in range(len(arrays.surface)):
            points = arrays.points(frame, index)[:, :3]
            ahead = CAMERA_DISTANCE - points[:, 2:]
            pixels = points[:, :2] * (1.0, -1.0) / ahead * focal + (size - 1) / 2
            columns, rows = np.unique(np.rint(pixels).astype(int), axis=0).clip(0, size - 1).T
            shares[frame, index] = (arrays.numbers[frame, rows, columns] == index + 1).mean()
    return shares


def _queries(
    course: _Course,
    index: int,
    surface: NDArray[np.float32],
    owner: NDArray[np.uint8],
    options: CompositionalOptions,
    rng: np.random.Generator,
) -> NDArray[np.float16]:
    """Points near the surface of a solid in the first frame, some evenly in its box, and how deep they lie."""
    motions = course.motions[0][index][owner]
    points = np.einsum("pij,pj->pi", motions[:, :3, :3], surface[:, :3]) + motions[:, :3, 3]
    even = round(_EVEN_SHARE * options.queries)
    near = options.queries - even
    spread = rng.choice(_NEAR_SURFACE, (near, 1))
    low, high = points.min(axis=0), points.max(axis=0)
    reach = 0.25 * float((high - low).max())
    # Rounded first, so that the depth is that of the points that are kept.
    kept = np.concatenate(
        [
            points[rng.integers(len(points), size=near)] + spread * rng.normal(size=(near, 3)),
            rng.uniform(low - reach, high + reach, (even, 3)),
        ]
    ).astype(np.float16)
    depth = depth_in(course.solids[index], course.motions[0][index], kept.astype(np.float32))
    return np.concatenate([kept, depth[:, None].astype(np.float16)], axis=1)


def _grids(course: _Course) -> NDArray[np.uint8]:
    """Which points of `occupancy_grid` the solids fill in the first and last frame; see `CompositionalArrays`."""
    grid = occupancy_grid()
    packed = []
    for row in (course.motions[0], course.motions[-1]):
        for solid, motions in zip(course.solids, row, strict=True):
            low, high = bounds(solid, motions)
            inside = ((grid >= low) & (grid <= high)).all(axis=-1)
            inside[inside] = depth_in(solid, motions, grid[inside]) > 0
            packed.append(np.packbits(inside))
    return np.stack(packed).reshape(2, len(course.solids), -1)
