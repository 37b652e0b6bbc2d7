"""Pictures of articulated objects in many states, from the cameras of PartDrag-4D."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import mujoco
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulated_shards import ObjectArrays, ObjectFacts
from fourd_ros.data.articulation import MAIN_STATES, ObjectState, motion_to_z_up, sequences, state_motions
from fourd_ros.data.partdrag4d_cameras import (
    OBJECT_OFFSET,
    OBJECT_SCALE,
    VIEWS,
    orbit_poses,
    project,
    raw_poses,
    to_world,
    view_numbers,
)
from fourd_ros.errors import InvalidParameter
from fourd_ros.simulation.articulated import ArticulatedObject, sample_articulated
from fourd_ros.simulation.articulated_model import (
    build_spec,
    joint_positions,
    part_ids,
    sample_studio,
    surface_points,
)
from fourd_ros.simulation.rendering import Renderer

FloatArray = NDArray[np.float64]
State = TypeVar("State")

MAX_SIZE = 2048
MAX_POINTS = 200_000
_VISIBLE_WITHIN = 0.012
"""How far behind the rendered surface a point may lie and still be seen [world units]: pixels are not points."""


@dataclass(frozen=True, kw_only=True)
class ArticulatedOptions:
    """What is rendered of every object.

    Args:
        size: width and height of the pictures [pixels].
        views: how many of the 12 cameras, see `view_numbers`.
        samples: rays a pixel along each axis; 1 leaves jagged edges.
        joints: main joints, drawn at random; None for all, as the original.
        combinations: of extremes of the other joints, at most; the original has all 4.
        points: on the surface.
        depth: keep the depth.
    """

    size: int = 512
    views: int = VIEWS
    samples: int = 2
    joints: int | None = None
    combinations: int = 1
    points: int = 10_000
    depth: bool = False

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("size", self.size, 8, MAX_SIZE),
            ("size times samples", self.size * self.samples, 8, 2 * MAX_SIZE),
            ("views", self.views, 1, VIEWS),
            ("samples", self.samples, 1, 4),
            ("combinations", self.combinations, 1, 4),
            ("points", self.points, 1, MAX_POINTS),
        ):
            if not least <= value <= most:
                raise InvalidParameter(f"{name} {value} of articulated objects; needed is {least} to {most}")


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedStates:
    """Pictures of S states by V cameras.

    Args:
        rgba: shape [S, V, size, size, 4].
        depth: NaN where nothing is, shape [S, V, size, size]; None where nobody asked for it.
        first_depth: of the first camera as it was rendered, shape [S, n size, n size].
    """

    rgba: NDArray[np.uint8]
    depth: NDArray[np.float32] | None
    first_depth: NDArray[np.float32]


def render_articulated(seed: int, options: ArticulatedOptions) -> tuple[ObjectFacts, ObjectArrays]:
    """The object of a seed in its states; the same seed and options give the same arrays.

    Raises:
        InvalidDataset: the seed belongs to no split.
        MissingDependency: no OpenGL library is installed.
    """
    item = sample_articulated(seed)
    rng = np.random.default_rng((seed, 8))
    table = item.joint_table
    runs = sequences(table, rng, joints=options.joints, combinations=options.combinations)
    states = [state for run in runs for state in run]
    points, labels = surface_points(item, options.points, rng)
    views = view_numbers(options.views)
    poses = orbit_poses()[list(views)]
    motions = np.stack([_all_motions(item, state) for state in states])
    spec = build_spec(item, scale=OBJECT_SCALE, offset=OBJECT_OFFSET, cameras=poses, studio=sample_studio(rng))
    rendered = render_states(spec, states, partial(_place, item), options)
    facts = ObjectFacts(
        name=item.name,
        kind=item.kind,
        category=item.category,
        size=options.size,
        views=views,
        states=tuple(states),
        joints=table,
    )
    return facts, arrays_of(rendered, poses, points, labels, motions)


def _place(item: ArticulatedObject, data: mujoco.MjData, state: ObjectState) -> None:
    data.qpos[:] = joint_positions(item, _shares(state), scale=OBJECT_SCALE)


def arrays_of(
    rendered: RenderedStates,
    poses: FloatArray,
    points: NDArray[np.float32],
    labels: NDArray[np.int32],
    motions: FloatArray,
) -> ObjectArrays:
    """What an object is packed from; which points are visible is seen in the depth of view 0. See `ObjectArrays`."""
    by_point = motions[:, labels]
    placed = np.einsum("spij,pj->spi", by_point[..., :3, :3], points) + by_point[..., :3, 3]
    pairs = zip(placed, rendered.first_depth, strict=True)
    return ObjectArrays(
        rgba=rendered.rgba,
        poses=poses,
        points=points,
        labels=labels,
        motions=motions,
        visible=np.stack([seen_points(where, poses[0], near) for where, near in pairs]),
        depth=rendered.depth,
    )


def _all_motions(item: ArticulatedObject, state: ObjectState) -> FloatArray:
    """Closed -> state of every label, z-up, shape [J + 1, 4, 4]."""
    motions = np.tile(np.eye(4), (len(item.moving) + 1, 1, 1))
    for joint, motion in state_motions(item.joint_table, state).items():
        motions[joint] = motion_to_z_up(motion)
    return motions


def render_states(
    spec: mujoco.MjSpec,
    states: Sequence[State],
    place: Callable[[mujoco.MjData, State], None],
    options: ArticulatedOptions,
) -> RenderedStates:
    """Pictures of a model in every state from all its cameras.

    Args:
        spec: of the model.
        states: what `place` understands.
        place: brings the model into a state, up to ``mj_forward``.
        options: of the pictures.

    Raises:
        MissingDependency: no OpenGL library is installed.
    """
    model = spec.compile()
    data = mujoco.MjData(model)
    fine = options.size * options.samples
    shape = (len(states), model.ncam, options.size, options.size)
    rgba, depth = np.empty((*shape, 4), np.uint8), np.empty(shape if options.depth else (0, 0), np.float32)
    first = np.empty((len(states), fine, fine), np.float32)
    renderer = Renderer(model, part_ids=part_ids(model), width=fine, height=fine, shadows=False)
    try:
        for index, state in enumerate(states):
            place(data, state)
            mujoco.mj_forward(model, data)
            for view in range(model.ncam):
                colour, distance = renderer.render_colour_and_depth(data, view)
                rgba[index, view] = with_alpha(colour, np.isfinite(distance), options.samples)
                if options.depth:
                    depth[index, view] = distance[:: options.samples, :: options.samples]
                if view == 0:
                    first[index] = distance
    finally:
        renderer.close()
    return RenderedStates(rgba=rgba, depth=depth if options.depth else None, first_depth=first)


def _shares(state: ObjectState) -> list[tuple[int, float]]:
    main = (state.main, state.step / (MAIN_STATES - 1))
    return [main, *((joint, float(extreme)) for joint, extreme in state.others)]


def with_alpha(colour: NDArray[np.uint8], covered: NDArray[np.bool_], samples: int) -> NDArray[np.uint8]:
    """A picture of `samples` x `samples` rays a pixel as RGBA, not premultiplied, 0 where nothing is.

    Args:
        colour: shape [n H, n W, 3].
        covered: where the object is, shape [n H, n W].
        samples: n.
    """
    shown = np.where(covered[..., None], colour, 0)
    rows, columns = (length // samples for length in covered.shape)
    count, total = np.zeros((rows, columns), np.uint16), np.zeros((rows, columns, 3), np.uint16)
    for row in range(samples):
        for column in range(samples):
            count += covered[row::samples, column::samples]
            total += shown[row::samples, column::samples]
    rgba = np.zeros((rows, columns, 4), np.uint8)
    rgba[..., :3] = np.rint(total / np.maximum(count, 1)[..., None].astype(np.float32))
    rgba[..., 3] = np.rint(255 / samples**2 * count)
    return rgba


def seen_points(points: NDArray[np.floating], pose: FloatArray, depth: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which points of an object a camera sees, by what was rendered.

    Args:
        points: z-up, shape [P, 3].
        pose: Blender pose of the camera, shape [4, 4].
        depth: of its picture, NaN where nothing is, shape [size, size].

    Returns:
        Shape [P].
    """
    size = len(depth)
    # The half pixel of the original's rule makes way: pixel i covers i .. i + 1.
    pixels = np.floor(project(points, raw_poses(pose), size=size) - 0.5).astype(np.intp)
    inside = ((pixels >= 0) & (pixels < size)).all(axis=1)
    column, row = pixels.clip(0, size - 1).T
    distance = (pose[:3, 3] - to_world(points)) @ pose[:3, 2]
    with np.errstate(invalid="ignore"):
        near: NDArray[np.bool_] = inside & (distance < depth[row, column] + _VISIBLE_WITHIN)
    return near
