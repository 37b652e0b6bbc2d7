"""Items of PartDrag-4D: the input views of a state, drags, and the views of another state of the same sequence.

Layout and rules: PartRM 2025 (arXiv 2503.19913), sections 2, 3 and 8 of the specification this was written from. The
same items come from folders of files (`PartDrag4DDataset`) and from shards (`PackedPartDataset`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.articulated_shards import ArticulatedShards
from fourd_ros.data.gaussian_database import GaussianDatabase
from fourd_ros.data.partdrag4d_augmentation import distort, draw_distortion, draw_jitter, shake
from fourd_ros.data.partdrag4d_cameras import (
    CAM_RADIUS,
    INPUT_VIEWS,
    clamp,
    normalise_points,
    normalise_poses,
    project,
    raw_poses,
)
from fourd_ros.data.partdrag4d_drags import (
    DragOptions,
    Drags,
    Indices,
    dragged_point,
    moving_points,
    padded,
    propagate,
    read_indices,
    read_propagated,
    training_drags,
)
from fourd_ros.data.partdrag4d_folder import Pair, PartDrag4DFolder, StateName
from fourd_ros.data.partdrag4d_images import Views, load_views, normalise_colours, on_white, resize, windowed
from fourd_ros.data.point_ply import read_points
from fourd_ros.errors import InvalidDataset

Floats = NDArray[np.float32]

AUGMENTED = 0.5
"""Probability of each augmentation."""


@dataclass(frozen=True, kw_only=True)
class ItemOptions:
    """What items are made of.

    Args:
        input_size: of the pictures that networks see [pixels].
        window: the part of pictures that they see: left, top and side as shares.
        output_size: of those that they are compared with [pixels].
        cam_radius: distance of view 0 from the origin of the world.
        imagenet: normalise colours as networks of PartDrag-4D expect; those of Objaverse do not.
        augment: distort pictures and shake cameras of views 1 to 3 in training.
        drags: how drags are chosen.
    """

    input_size: int = 256
    window: tuple[float, float, float] = (0.0, 0.0, 1.0)
    output_size: int = 256
    cam_radius: float = CAM_RADIUS
    imagenet: bool = True
    augment: bool = False
    drags: DragOptions = field(default_factory=DragOptions)


@dataclass(frozen=True, kw_only=True, eq=False)
class PartItem:
    """One item; V views of the target, N drags, P points.

    Args:
        source: name of the state that is seen.
        target: name of the state that it is dragged into.
        images: of the input views, shape [4, 3, S, S].
        input_poses: normalised OpenGL poses of their rays, shape [4, 4, 4].
        drags: in pixels of the grid of 512 x 512.
        target_images: before white, 0..1, shape [V, 3, s, s].
        target_masks: alpha, 0..1, shape [V, 1, s, s].
        target_poses: normalised OpenGL poses, shape [V, 4, 4].
        source_images: all views of the source, like `target_images`; only in evaluation.
        points_before: points on the surface in the world of `input_poses`, shape [P, 3].
        points_after: the same points in the target state.
        gaussians: of the target state, activated values, shape [G, 14]; None without a database.
        dragged: the point that the user's drag takes hold of, an index of the points; only in evaluation.
        missing: views of the source that could not be read.
    """

    source: str
    target: str
    images: Floats
    input_poses: Floats
    drags: Drags
    target_images: Floats
    target_masks: Floats
    target_poses: Floats
    points_before: Floats
    points_after: Floats
    source_images: Floats | None = None
    gaussians: Floats | None = None
    dragged: int | None = None
    missing: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class StateData:
    """What is read of a state.

    Args:
        name: of the state.
        views: its pictures and cameras.
        points: z-up, shape [P, 3].
        visible: indices of those that view 0 sees; None where nobody knows.
    """

    name: str
    views: Views
    points: NDArray[np.floating]
    visible: Indices | None


def training_item(
    source: StateData,
    target: StateData,
    rng: np.random.Generator,
    options: ItemOptions,
    *,
    gaussians: Floats | None = None,
) -> PartItem:
    """An item with drags of several moving points.

    Raises:
        InvalidDataset: nothing moves between the states, or their points differ in number.
    """
    cameras = source.views.raw_poses[:INPUT_VIEWS]
    drags = training_drags(source.points, target.points, cameras, rng, visible=source.visible, options=options.drags)
    return _item(source, target, drags, options, rng if options.augment else None, gaussians=gaussians)


def evaluation_item(
    source: StateData,
    target: StateData,
    rng: np.random.Generator,
    options: ItemOptions,
    *,
    propagated: Indices | None = None,
    gaussians: Floats | None = None,
) -> PartItem:
    """An item with one drag that is propagated over its part.

    Args:
        source: the state that is seen.
        target: the state to come.
        rng: draws the point that is dragged.
        options: of the item.
        propagated: pixels of the part as (row, column); without them, visible points that move stand for what a
            perfect segmentation would find, and so they do where every view has drags of its own.
        gaussians: of the target state.

    Raises:
        InvalidDataset: nothing moves between the states, or their points differ in number.
    """
    compat, count = options.drags.official_compat, options.drags.count
    point = dragged_point(source.points, target.points, rng, visible=source.visible, official_compat=compat)
    cameras = source.views.raw_poses[:INPUT_VIEWS]
    before, after = source.points[[point]], target.points[[point]]
    if options.drags.per_view:
        starts = source.points[padded(_seen_part(source, target, rng), rng, count=count)]
        drags = Drags.of_points(starts, starts + (after - before), cameras, per_view=True)
    else:
        drag = (clamp(project(before, cameras[0]))[0], clamp(project(after, cameras[0]))[0])
        pixels = _pixels_of_part(source, target, rng) if propagated is None else propagated
        drags = propagate(drag, padded(pixels, rng, count=count), official_compat=compat)
    return _item(source, target, drags, options, None, gaussians=gaussians, with_source=True, dragged=point)


def _seen_part(source: StateData, target: StateData, rng: np.random.Generator) -> Indices:
    """Points that move, those that are seen if there are any, in random order."""
    moving = moving_points(source.points, target.points)
    seen = moving if source.visible is None else np.intersect1d(moving, source.visible)
    return rng.permutation(seen if len(seen) else moving)


def _pixels_of_part(source: StateData, target: StateData, rng: np.random.Generator) -> Indices:
    """Their pixels in view 0 as (row, column), rounded down."""
    chosen = _seen_part(source, target, rng)
    pixels = clamp(project(source.points[chosen], source.views.raw_poses[0]))
    return pixels[:, ::-1].astype(np.int64)


def _item(
    source: StateData,
    target: StateData,
    drags: Drags,
    options: ItemOptions,
    augmented_by: np.random.Generator | None,
    *,
    gaussians: Floats | None,
    with_source: bool = False,
    dragged: int | None = None,
) -> PartItem:
    poses = normalise_poses(source.views.raw_poses, cam_radius=options.cam_radius)
    images = windowed(on_white(source.views.rgba[:INPUT_VIEWS])[:, :3], options.window, options.input_size)
    input_poses = poses[:INPUT_VIEWS]
    if augmented_by is not None:
        images, input_poses = _augmented(images, input_poses, augmented_by)
    outputs = resize(on_white(target.views.rgba), options.output_size)
    first = source.views.raw_poses[0]
    return PartItem(
        source=source.name,
        target=target.name,
        images=normalise_colours(images) if options.imagenet else images,
        input_poses=input_poses,
        drags=drags,
        target_images=outputs[:, :3],
        target_masks=outputs[:, 3:],
        target_poses=normalise_poses(
            target.views.raw_poses, cam_radius=options.cam_radius, first=target.views.first_pose
        ),
        points_before=normalise_points(source.points, first, cam_radius=options.cam_radius),
        points_after=normalise_points(target.points, first, cam_radius=options.cam_radius),
        source_images=resize(on_white(source.views.rgba)[:, :3], options.output_size) if with_source else None,
        gaussians=gaussians,
        dragged=dragged,
        missing=source.views.missing,
    )


def _augmented(images: Floats, poses: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Views 1 to 3 distorted in some items, their rays turned in others."""
    others = INPUT_VIEWS - 1
    if rng.random() < AUGMENTED:
        images = np.concatenate([images[:1], distort(images[1:], draw_distortion(rng, others))])
    if rng.random() < AUGMENTED:
        poses = np.concatenate([poses[:1], shake(poses[1:], draw_jitter(rng, others))])
    return images, poses


class PartDrag4DDataset:
    """Items of a folder of the original's layout.

    Args:
        folder: with ``render_PartDrag4D`` and ``processed_data_partdrag4d``.
        pairs: of states, see `training_pairs` and `validation_pairs`.
        options: of the items.
        gaussians: database of the targets, for the first stage of training.
        generated: the input views 1 to 3 are those that were made of view 0 (``zero123``), in evaluation.
    """

    def __init__(
        self,
        folder: Path | str,
        pairs: Sequence[Pair],
        options: ItemOptions,
        *,
        gaussians: GaussianDatabase | None = None,
        generated: bool = False,
    ) -> None:
        self.files = PartDrag4DFolder(Path(folder))
        self.pairs, self.options = tuple(pairs), options
        self._gaussians, self._generated = gaussians, generated

    def __len__(self) -> int:
        return len(self.pairs)

    def state(self, name: StateName, *, generated: bool = False) -> StateData:
        """What there is of a state.

        Raises:
            InvalidDataset: files are missing or damaged.
        """
        files = self.files
        views = load_views(
            partial(files.picture, name),
            partial(files.camera, name),
            generated=partial(files.generated, name) if generated else None,
            official_compat=self.options.drags.official_compat,
        )
        path = files.visible(name)
        points = read_points(files.points(name))
        visible = None if path is None else read_indices(path)
        if visible is not None and len(visible) and not 0 <= visible.min() <= visible.max() < len(points):
            raise InvalidDataset(f"'{path}' names points outside 0 .. {len(points) - 1}")
        return StateData(name=name.name, views=views, points=points, visible=visible)

    def training_item(self, index: int, rng: np.random.Generator) -> PartItem:
        """The item of a pair, with drags of several points.

        Raises:
            InvalidDataset: see `state` and `training_item`.
        """
        source, target = self.pairs[index]
        return training_item(
            self.state(source), self.state(target), rng, self.options, gaussians=self._target_gaussians(target)
        )

    def evaluation_item(self, index: int, rng: np.random.Generator) -> PartItem:
        """The item of a pair, with one propagated drag.

        Raises:
            InvalidDataset: see `state` and `evaluation_item`.
        """
        source, target = self.pairs[index]
        path = self.files.propagated(source)
        return evaluation_item(
            self.state(source, generated=self._generated),
            self.state(target),
            rng,
            self.options,
            propagated=read_propagated(path) if path.exists() else None,
            gaussians=self._target_gaussians(target),
        )

    def _target_gaussians(self, target: StateName) -> Floats | None:
        return None if self._gaussians is None else self._gaussians.read(target.name)


class PackedPartDataset:
    """Items of a folder of shards; for training loops, in which it may be copied into other processes.

    Args:
        shards: the objects.
        options: of the items.
        target_views: of the target, drawn anew for each item of training; all by default.
        gaussians: database of the targets.
    """

    def __init__(
        self,
        shards: ArticulatedShards,
        options: ItemOptions,
        *,
        target_views: int | None = None,
        gaussians: GaussianDatabase | None = None,
    ) -> None:
        self.shards, self.options = shards, options
        self._target_views, self._gaussians = target_views, gaussians
        self.pairs = tuple(
            (name, source, target)
            for name in shards.names
            for run in shards.object(name).facts.sequences
            for source in run
            for target in run
            if source != target
        )

    def __len__(self) -> int:
        return len(self.pairs)

    @property
    def pairs_by_object(self) -> Mapping[str, tuple[int, ...]]:
        """Indices of the pairs of every object."""
        found: dict[str, list[int]] = {name: [] for name in self.shards.names}
        for index, (name, _, _) in enumerate(self.pairs):
            found[name].append(index)
        return {name: tuple(indices) for name, indices in found.items()}

    def state(self, name: str, state: int, views: Sequence[int] | None = None) -> StateData:
        """What there is of a state, from some of its views.

        Raises:
            InvalidDataset: the shard is damaged.
        """
        item = self.shards.object(name)
        poses = item.poses if views is None else item.poses[list(views)]
        return StateData(
            name=f"{name}_{item.facts.states[state].name}",
            views=Views(
                rgba=item.images(state, views), raw_poses=raw_poses(poses), first_pose=raw_poses(item.poses[0])
            ),
            points=item.points(state),
            visible=np.flatnonzero(item.visible(state)),
        )

    def training_item(self, index: int, rng: np.random.Generator) -> PartItem:
        """The item of a pair, with drags of several points; only the views that are needed are decompressed.

        Raises:
            InvalidDataset: the shard is damaged, or nothing moves.
        """
        seen, reached = self.states(index, rng)
        return training_item(seen, reached, rng, self.options, gaussians=self._target_gaussians(reached))

    def states(self, index: int, rng: np.random.Generator) -> tuple[StateData, StateData]:
        """The two states of a pair, the first with its input views, the second with views that are drawn.

        Raises:
            InvalidDataset: the shard is damaged.
        """
        name, source, target = self.pairs[index]
        total = len(self.shards.object(name).facts.views)
        chosen = None
        if self._target_views is not None and self._target_views < total:
            chosen = sorted(rng.permutation(total)[: self._target_views].tolist())
        return self.state(name, source, range(INPUT_VIEWS)), self.state(name, target, chosen)

    def evaluation_item(self, index: int, rng: np.random.Generator) -> PartItem:
        """The item of a pair, with one propagated drag and all views.

        Raises:
            InvalidDataset: the shard is damaged, or nothing moves.
        """
        name, source, target = self.pairs[index]
        reached = self.state(name, target)
        return evaluation_item(
            self.state(name, source), reached, rng, self.options, gaussians=self._target_gaussians(reached)
        )

    def _target_gaussians(self, target: StateData) -> Floats | None:
        return None if self._gaussians is None else self._gaussians.read(target.name)
