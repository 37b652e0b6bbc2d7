"""How much of objects that nobody has trained on is right, beside what depth and masks show without any network.

All lengths are in the cube [-1, 1]^3 of `fourd_ros.data.compositional_shards`, whose camera is known. Every method gets
the same picture, masks, depth and camera, and answers in that cube; nothing is fitted to the truth.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fourd_ros.compositional.clip_window import ClipWindow
from fourd_ros.compositional.filmed_scene import FilmedScene
from fourd_ros.compositional.placed_cube import R_CAMERA_CUBE
from fourd_ros.compositional.placed_objects import FilmOptions, place_shapes
from fourd_ros.compositional.segmentation.segmenter import SegmentedObject
from fourd_ros.compositional.surface_mesh import SurfaceMesh, sampled
from fourd_ros.data.compositional_shards import (
    CAMERA_DISTANCE,
    GRID,
    VERTICAL_FOV,
    CompositionalArrays,
    CompositionalShards,
    occupancy_grid,
)
from fourd_ros.errors import InvalidDataset
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.point_metrics import cloud_distances
from fourd_ros.evaluation.results import Result, ResultTable
from fourd_ros.evaluation.shape_metrics import SHAPE_CHAMFER, SHAPE_F_SCORE, THRESHOLD
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.geometry.transforms import apply, from_parts, invert

if TYPE_CHECKING:
    from fourd_ros.compositional.model import CompositionalObjects

FloatArray = NDArray[np.float64]
Filled = NDArray[np.bool_]

NETWORK, PLACED = "network", "network, placed by depth"
VISIBLE, HULL, BOX = "visible points", "their convex hull", "their bounding box"
SAMPLES = 2000

LATTICE_IOU = Metric(
    name="lattice_iou",
    title="IoU",
    higher_is_better=True,
    source="of the points of the lattice of pitch 2 / 64 that lie within",
)
METRICS = (SHAPE_CHAMFER, SHAPE_F_SCORE, LATTICE_IOU)

T_CUBE_CAMERA: FloatArray = invert(from_parts(R_CAMERA_CUBE, np.array([0.0, 0.0, CAMERA_DISTANCE])))


@dataclass(frozen=True, kw_only=True, eq=False)
class Solid:
    """What is said of one object, or what is true.

    Args:
        surface: points on it, shape [N, 3]; none where nothing is said.
        filled: which points of `occupancy_grid` lie within, shape [64, 64, 64].
        mesh: for pictures; None where there is none.
    """

    surface: FloatArray
    filled: Filled
    mesh: SurfaceMesh | None = None

    @classmethod
    def of_mesh(cls, mesh: SurfaceMesh) -> "Solid":
        """Points drawn from a closed surface, and what it encloses."""
        if mesh.is_empty:
            return cls(surface=np.zeros((0, 3)), filled=np.zeros((GRID,) * 3, bool), mesh=mesh)
        return cls(surface=sampled(mesh, SAMPLES, rng=np.random.default_rng(0))[0], filled=_within(mesh), mesh=mesh)


@dataclass(frozen=True, kw_only=True, eq=False)
class ObjectCase:
    """One scene that was held out.

    Args:
        name: of the scene.
        film: what its camera has seen.
        judged: object (its place in the film) and frame, with the truth.
    """

    name: str
    film: FilmedScene
    judged: Mapping[tuple[int, int], Solid]


Answer = Mapping[tuple[int, int], Solid]
Method = Callable[[ObjectCase], Answer]


def cases(shards: CompositionalShards, *, layout: str, scenes: int) -> Iterator[ObjectCase]:
    """The first scenes of a layout; objects are judged in the first frame, those that move in the last one too.

    Raises:
        InvalidDataset: they were made without grids of what is filled.
    """
    found = 0
    for index in range(len(shards)):
        facts = shards.facts(index)
        if facts.layout != layout or found == scenes:
            continue
        arrays = shards.arrays(index)
        if not len(arrays.grid):
            raise InvalidDataset(f"'{shards.folder}' has no grids of what is filled; make it with --occupancy")
        found += 1
        moves = [solid.moves for solid in facts.solids]
        last = len(arrays.rgb) - 1
        judged = {
            (solid, frame): _truth(arrays, solid, frame)
            for solid, moving in enumerate(moves)
            for frame in ((0, last) if moving and last else (0,))
        }
        yield ObjectCase(name=facts.name, film=film_of(arrays, moves), judged=judged)


def _truth(arrays: CompositionalArrays, solid: int, frame: int) -> Solid:
    return Solid(
        surface=arrays.points(frame, solid)[:SAMPLES, :3].astype(np.float64),
        filled=arrays.occupancy(frame > 0, solid),
    )


def film_of(arrays: CompositionalArrays, moves: Sequence[bool]) -> FilmedScene:
    """What the camera of a generated scene has seen.

    Args:
        arrays: of the scene.
        moves: whether each of its solids does.
    """
    size = arrays.numbers.shape[1]
    focal, middle = size / 2 / np.tan(VERTICAL_FOV / 2), (size - 1) / 2
    camera = PinholeCamera(width=size, height=size, K=np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]]))
    return FilmedScene(
        rgb=np.array(arrays.rgb),
        objects=tuple(
            SegmentedObject(number=solid + 1, label="", moves=moving, masks=np.array(arrays.numbers == solid + 1))
            for solid, moving in enumerate(moves)
        ),
        depth=np.array(arrays.depth),
        camera=camera,
    )


class _Network:
    """The model as a user asks it; the last scene is remembered, since two methods ask for it."""

    def __init__(self, model: "CompositionalObjects", options: FilmOptions) -> None:
        self._model, self._options = model, options
        self._last: tuple[ObjectCase, dict[int, Sequence[SurfaceMesh]], FloatArray] | None = None

    def as_it_says(self, case: ObjectCase) -> Answer:
        """Shapes where the model puts them in its cube."""
        return self._answer(case, np.eye(4))

    def placed(self, case: ObjectCase) -> Answer:
        """Its cube placed by depth, as nodes and commands do."""
        return self._answer(case, self._made(case)[1])

    def _answer(self, case: ObjectCase, T_cube_answer: FloatArray) -> Answer:
        meshes, _ = self._made(case)
        moves = [one.moves for one in case.film.objects]
        return {
            (place, frame): Solid.of_mesh(meshes[place + 1][frame if moves[place] else 0].carried(T_cube_answer))
            for place, frame in case.judged
        }

    def _made(self, case: ObjectCase) -> tuple[dict[int, Sequence[SurfaceMesh]], FloatArray]:
        """Meshes by number, and where depth puts the cube."""
        if self._last is None or self._last[0] is not case:
            self._last = (case, *self._make(case.film))
        return self._last[1:]

    def _make(self, film: FilmedScene) -> tuple[dict[int, Sequence[SurfaceMesh]], FloatArray]:
        window = ClipWindow.whole(*film.rgb.shape[1:3])
        clip = film.object_clip(window, side=self._model.images.side)
        reference = clip.best_frame
        made = self._model.reconstruct(
            clip,
            self._options.object_options(static_objects=len(film.static)),
            reference=reference,
            resolution=self._options.resolution,
        )
        meshes: dict[int, Sequence[SurfaceMesh]] = dict(made.moving)
        meshes |= {one.number: (mesh,) for one, mesh in zip(film.static, made.at_rest, strict=True)}
        shapes = [(one, meshes[one.number]) for one in film.objects]
        placement = place_shapes(film, shapes, reference=reference, window=window)
        placed = placement.source != "identity"
        return meshes, T_CUBE_CAMERA @ placement.T_camera_cube if placed else np.eye(4)


def networks(model: "CompositionalObjects", options: FilmOptions) -> dict[str, Method]:
    """The model's own cube, and the cube placed by depth; by name."""
    asked = _Network(model, options)
    return {NETWORK: asked.as_it_says, PLACED: asked.placed}


def visible_points(case: ObjectCase) -> Answer:
    """What depth shows within the masks; a point of the lattice is filled where a visible one is nearest to it."""
    answer = {}
    for key in case.judged:
        points = _seen(case, *key)
        filled = np.zeros((GRID,) * 3, bool)
        places = np.rint((points + 1) * (GRID / 2)).astype(int)
        inside = ((places >= 0) & (places < GRID)).all(axis=1)
        filled[tuple(places[inside].T)] = True
        answer[key] = Solid(surface=points, filled=filled)
    return answer


def convex_hull(case: ObjectCase) -> Answer:
    """The convex hull of what depth shows within the masks."""
    return {key: Solid.of_mesh(_hull(_seen(case, *key))) for key in case.judged}


def bounding_box(case: ObjectCase) -> Answer:
    """The box along the axes of the cube around what depth shows within the masks."""
    return {key: Solid.of_mesh(_box(_seen(case, *key))) for key in case.judged}


BASELINES: dict[str, Method] = {VISIBLE: visible_points, HULL: convex_hull, BOX: bounding_box}


def _seen(case: ObjectCase, place: int, frame: int) -> FloatArray:
    """Visible points of an object in the cube, shape [N, 3]."""
    film = case.film
    assert film.camera is not None and film.depth is not None
    points = points_from_depth(film.depth[frame], film.camera)
    known = film.objects[place].mask(frame) & np.isfinite(points).all(axis=-1)
    return np.asarray(apply(T_CUBE_CAMERA, points[known].astype(np.float64)))


def _hull(points: FloatArray) -> SurfaceMesh:
    """Of points; no surface where they lie in a plane or are fewer than four."""
    import trimesh
    from scipy.spatial import QhullError

    try:
        found = trimesh.convex.convex_hull(points)
    except (QhullError, ValueError, IndexError):
        return SurfaceMesh.empty()
    return SurfaceMesh(vertices=found.vertices.astype(np.float32), faces=found.faces.astype(np.int32))


def _box(points: FloatArray) -> SurfaceMesh:
    import trimesh

    if not len(points):
        return SurfaceMesh.empty()
    found = trimesh.creation.box(bounds=[points.min(axis=0), points.max(axis=0)])
    return SurfaceMesh(vertices=found.vertices.astype(np.float32), faces=found.faces.astype(np.int32))


def _within(mesh: SurfaceMesh) -> Filled:
    """Points of `occupancy_grid` within a closed surface (rays cross it an odd number of times), [64, 64, 64]."""
    import trimesh

    grid = occupancy_grid()
    low, high = mesh.bounds
    filled: Filled = ((grid >= low) & (grid <= high)).all(axis=-1)
    if filled.any():
        solid = trimesh.Trimesh(mesh.vertices.astype(np.float64), mesh.faces, process=False)
        filled[filled] = solid.contains(grid[filled].astype(np.float64))
    return filled


def judge(said: Solid, truth: Solid) -> dict[str, float]:
    """All metrics by name; no surface has no Chamfer distance, an F-score of 0 and an IoU of 0."""
    either = int((said.filled | truth.filled).sum())
    iou = float((said.filled & truth.filled).sum() / either) if either else np.nan
    if not len(said.surface):
        return {SHAPE_CHAMFER.name: np.nan, SHAPE_F_SCORE.name: 0.0, LATTICE_IOU.name: iou}
    distances = cloud_distances(said.surface, truth.surface)
    return {
        SHAPE_CHAMFER.name: distances.chamfer(combine="sum"),
        SHAPE_F_SCORE.name: distances.f_score(THRESHOLD),
        LATTICE_IOU.name: iou,
    }


def evaluate(found: Iterable[ObjectCase], methods: Mapping[str, Method], *, title: str) -> ResultTable:
    """Every metric of every method; scenes are the units, and their objects are averaged.

    Raises:
        InvalidResults: there are no cases.
    """
    results = []
    for case in found:
        for method, answer in methods.items():
            said = answer(case)
            scores = [judge(said[key], truth) for key, truth in case.judged.items()]
            for metric in METRICS:
                known = [score[metric.name] for score in scores if np.isfinite(score[metric.name])]
                value = float(np.mean(known)) if known else np.nan
                results.append(Result(unit=case.name, method=method, metric=metric.name, value=value))
    return ResultTable.from_results(results, title=title, metrics=METRICS, baseline=HULL, unit_name="scene")
