"""Items as a single RGB-D camera would give them: the standard views are drawn from what one picture shows."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.partdrag4d import PackedPartDataset, PartItem, StateData, training_item
from fourd_ros.data.partdrag4d_cameras import INPUT_VIEWS, FloatArray, from_world, raw_poses, to_world
from fourd_ros.data.partdrag4d_images import Views
from fourd_ros.part_dynamics.standard_views import (
    SeenPoints,
    draw_standard_views,
    seen_by_square_camera,
    standard_cameras,
)


@dataclass(frozen=True, kw_only=True)
class PlacementErrors:
    """How far from its standard place an object is put, since who sees one side of it knows its middle badly.

    Args:
        turn: largest angle about the vertical [deg].
        scale: largest share by which it is too large or too small.
        shift: standard deviation of where it stands [its half size].
    """

    turn: float = 12.0
    scale: float = 0.1
    shift: float = 0.04


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A similarity of the space of objects: turned about the vertical, scaled, shifted."""

    turn: FloatArray
    scale: float
    shift: FloatArray

    @staticmethod
    def drawn(rng: np.random.Generator, errors: PlacementErrors) -> "Placement":
        """One within the errors."""
        angle = np.deg2rad(rng.uniform(-errors.turn, errors.turn))
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1.0]])
        scale = 1 + rng.uniform(-errors.scale, errors.scale)
        return Placement(turn=turn, scale=scale, shift=rng.normal(scale=errors.shift, size=3))

    def points(self, points: NDArray[np.floating]) -> FloatArray:
        """Moved points, shape [*, 3]."""
        moved: FloatArray = self.scale * np.asarray(points, np.float64) @ self.turn.T + self.shift
        return moved

    def cameras(self, raw: FloatArray) -> FloatArray:
        """Raw poses that show the moved object as they showed it before, shape [V, 4, 4]."""
        moved = raw.copy()
        moved[:, :3, :3] = self.turn @ raw[:, :3, :3]
        moved[:, :3, 3] = to_world(self.points(from_world(raw[:, :3, 3])))
        return moved


class ReprojectedItems:
    """Items of shards with depth, a share of which is seen by one camera alone.

    Args:
        items: pairs of states.
        share: of those, 0 to 1.
        errors: of where the object is put in them.
    """

    def __init__(self, items: PackedPartDataset, *, share: float, errors: PlacementErrors = PlacementErrors()) -> None:
        self._items, self._share, self._errors = items, share, errors

    def __len__(self) -> int:
        return len(self._items)

    def training_item(self, index: int, rng: np.random.Generator) -> PartItem:
        """The item of a pair.

        Raises:
            InvalidDataset: the shard is damaged, has no depth, or nothing moves.
        """
        if rng.random() >= self._share:
            return self._items.training_item(index, rng)
        source, target = self._items.states(index, rng)
        placement = Placement.drawn(rng, self._errors)
        seen = self._seen(index, int(rng.integers(2)), placement)
        return training_item(
            _placed(source, placement, seen),
            _placed(target, placement),
            rng,
            self._items.options,
        )

    def _seen(self, index: int, view: int, placement: Placement) -> SeenPoints:
        """What a camera sees of the source of a pair, moved."""
        name, state, _ = self._items.pairs[index]
        item = self._items.shards.object(name)
        seen = seen_by_square_camera(
            item.images(state, [view])[0], item.depth(state, [view])[0], raw_poses(item.poses[[view]])[0]
        )
        return SeenPoints(positions=placement.points(seen.positions), rgb=seen.rgb, pitch=placement.scale * seen.pitch)


def _placed(state: StateData, placement: Placement, seen: SeenPoints | None = None) -> StateData:
    """A state whose object is moved; with `seen`, before the standard cameras, which show only that."""
    points, standard = placement.points(state.points).astype(np.float32), standard_cameras()
    if seen is None:
        views = replace(state.views, raw_poses=placement.cameras(state.views.raw_poses), first_pose=standard[0])
    else:
        views = Views(
            rgba=draw_standard_views(seen, size=state.views.rgba.shape[1]),
            raw_poses=standard[:INPUT_VIEWS],
            first_pose=standard[0],
        )
    return replace(state, views=views, points=points)
