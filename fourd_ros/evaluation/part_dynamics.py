"""How well the motion of parts is foretold on objects that no training has seen, beside methods that learn nothing.

Lengths are in half diagonals of the closed object, whose frame has z up and its middle at the origin.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from fourd_ros.data.articulated_shards import ArticulatedShards, PackedObject
from fourd_ros.data.partdrag4d_cameras import (
    INPUT_VIEWS,
    OBJECT_SCALE,
    TRUE_FOV,
    from_world,
    raw_poses,
)
from fourd_ros.data.partdrag4d_images import on_white
from fourd_ros.evaluation.image_metrics import psnr
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.perceptual import lpips
from fourd_ros.evaluation.results import Result, ResultTable
from fourd_ros.geometry.pointmap import points_from_depth
from fourd_ros.part_dynamics.drags import SpaceDrags
from fourd_ros.part_dynamics.gaussians import Gaussians
from fourd_ros.part_dynamics.joint_fit import Joint, JointType, fit_joint
from fourd_ros.part_dynamics.model import SHOWN, PartDynamics
from fourd_ros.part_dynamics.object_scan import ScanOptions
from fourd_ros.part_dynamics.question import PartQuestion, QuestionOptions
from fourd_ros.part_dynamics.rasterise import render
from fourd_ros.part_dynamics.splat_camera import SplatCamera, square_pinhole
from fourd_ros.records import View

FloatArray = NDArray[np.float64]
Pictures = NDArray[np.float32]
Seen = Literal["cameras", "drawn"]

OURS, COPY, NEAR = "network", "nothing moves", "what is near moves"
RADII = (0.1, 0.2, 0.3, 0.45, 0.6, 0.9, 1.3)
"""Tried for what is near [half diagonals]."""

MARGIN = 0.02
"""Of the region around the closed object [half diagonals]."""

REACH = 4.0
"""Farther than any point of an object [half diagonals]."""

SHOWN_VIEWS = 4
"""Views of the target that pictures are compared in."""

PART = Metric(
    name="part", title="error on the part", scale=100.0, unit="%", source="mean distance of its points from the truth"
)
REST = Metric(
    name="rest", title="error elsewhere", scale=100.0, unit="%", source="mean distance that still points are moved"
)
SHARE = Metric(
    name="share",
    title="error on the part over its motion",
    decimals=2,
    source="mean distance of its points from the truth over the mean distance that they go",
)
KIND = Metric(
    name="kind",
    title="right kind of joint",
    scale=100.0,
    unit="%",
    higher_is_better=True,
    average="share",
    source="revolute or prismatic, as the true motion is best explained",
)
AXIS = Metric(
    name="axis", title="axis off", unit="deg", scale=float(np.rad2deg(1)), average="median", source="of right kinds"
)
PSNR = Metric(name="psnr", title="PSNR", unit="dB", higher_is_better=True, source="of all pixels, before white")
LPIPS = Metric(name="lpips", title="LPIPS", source="shift-tolerant AlexNet")
METRICS = (PART, REST, SHARE, KIND, AXIS, PSNR, LPIPS)


@dataclass(frozen=True, kw_only=True, eq=False)
class PartCase:
    """One pull at one object, with the truth.

    Args:
        name: of the object.
        kind: of the object.
        state: that is seen, an index.
        before: points of its surface, shape [P, 3].
        after: the same points after the pull, shape [P, 3].
        drag: at a visible point of the part.
        source: pictures of what is seen from some sides, on white, shape [V, S, S, 3].
        target: of what comes out, the same.
        raw: raw poses of these sides, shape [V, 4, 4].
    """

    name: str
    kind: str
    state: int
    before: FloatArray
    after: FloatArray
    drag: SpaceDrags
    source: Pictures
    target: Pictures
    raw: FloatArray

    @property
    def moves(self) -> NDArray[np.bool_]:
        """Which points do, shape [P]."""
        return np.asarray(np.linalg.norm(self.after - self.before, axis=1) > 1e-5)

    @property
    def joint(self) -> Joint:
        """That explains the true motion."""
        moves = self.moves
        return fit_joint(self.before[moves], self.after[moves])


def cases(shards: ArticulatedShards, *, pulls: int, seed: int = 0) -> Iterator[PartCase]:
    """So many pulls at every object, between states that are drawn; the same for the same seed."""
    for name in shards.names:
        item = shards.object(name)
        rng = np.random.default_rng((int(name), seed))
        runs = [run for run in item.facts.sequences if len(run) > 1]
        for _ in range(pulls):
            source, target = rng.permutation(runs[rng.integers(len(runs))])[:2].tolist()
            yield _case(item, source, target, rng)


def _case(item: PackedObject, source: int, target: int, rng: np.random.Generator) -> PartCase:
    before, after = (item.points(state).astype(np.float64) for state in (source, target))
    moving = np.linalg.norm(after - before, axis=1) > 1e-5
    seen = moving & item.visible(source)
    dragged = int(rng.choice(np.flatnonzero(seen if seen.any() else moving)))
    shown = np.linspace(0, len(item.facts.views) - 1, SHOWN_VIEWS + 1).round().astype(int)[:-1].tolist()
    pictures = [np.moveaxis(on_white(item.images(state, shown))[:, :3], 1, -1) for state in (source, target)]
    return PartCase(
        name=item.name,
        kind=item.facts.kind,
        state=source,
        before=before,
        after=after,
        drag=SpaceDrags(start=before[[dragged]], displacement=after[[dragged]] - before[[dragged]]),
        source=pictures[0],
        target=pictures[1],
        raw=raw_poses(item.poses[shown]),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Foretold:
    """What a method says of a case.

    Args:
        displacement: of the true points, shape [P, 3].
        joint: None where none is said.
        pictures: of what comes out, on white, shape [V, S, S, 3].
    """

    displacement: FloatArray
    joint: Joint | None
    pictures: Pictures


Method = Callable[[PartCase], Foretold]


def nothing_moves(case: PartCase) -> Foretold:
    """The input, with its true points and pictures."""
    return Foretold(displacement=np.zeros_like(case.before), joint=None, pictures=case.source)


def near_moves(radius: float) -> Method:
    """Points this near to where the drag begins go as far as it does; pictures stay as they are."""

    def foretell(case: PartCase) -> Foretold:
        near = np.linalg.norm(case.before - case.drag.start[0], axis=1) < radius
        displacement = np.where(near[:, None], case.drag.displacement[0], 0.0)
        joint = fit_joint(case.before[near], case.before[near] + case.drag.displacement[0]) if near.sum() > 3 else None
        return Foretold(displacement=displacement, joint=joint, pictures=case.source)

    return foretell


def best_radius(found: Sequence[PartCase]) -> float:
    """Of `near_moves`, by the sum of its errors on the part and elsewhere; to be asked of other objects than it is
    judged on."""
    return min(RADII, key=lambda radius: sum(map(_sum_of_errors, found, map(near_moves(radius), found))))


def _sum_of_errors(case: PartCase, foretold: Foretold) -> float:
    errors = _errors(case, foretold.displacement)
    return errors[PART.name] + errors[REST.name]


def network(model: PartDynamics, shards: ArticulatedShards, *, seen: Seen) -> Method:
    """The model, as a user asks it: one drag, and four pictures, or one with depth from which four are drawn."""

    def foretell(case: PartCase) -> Foretold:
        item = shards.object(case.name)
        views = views_of(item, case.state, count=INPUT_VIEWS if seen == "cameras" else 1, with_depth=seen == "drawn")
        low, high = item.rest_points.min(axis=0) - MARGIN, item.rest_points.max(axis=0) + MARGIN
        region = (*low.tolist(), *high.tolist()) if seen == "cameras" else (*[-REACH] * 3, *[REACH] * 3)
        scan = ScanOptions(region=region, start_gap=REACH)
        question = PartQuestion(model, views, case.drag, options=QuestionOptions(views=seen, scan=scan))
        *_, motion = question.answer()
        return Foretold(
            displacement=_at_points(case.before, motion.before, motion.displacement),
            joint=motion.joint,
            pictures=_pictures(motion.after, case),
        )

    return foretell


def views_of(item: PackedObject, state: int, *, count: int, with_depth: bool) -> dict[str, View]:
    """What the first cameras see, in the frame of the object."""
    chosen = list(range(count))
    images, raw = item.images(state, chosen), raw_poses(item.poses[chosen])
    camera = square_pinhole(fovy=TRUE_FOV, size=item.facts.size)
    views = {}
    for number in chosen:
        pose = np.array(raw[number])
        pose[:3, 3] = from_world(pose[:3, 3])
        depth = np.full(images.shape[1:3], np.nan, np.float32)
        if with_depth:
            solid = images[number, ..., 3] > 127
            depth = np.where(solid, item.depth(state, [number])[0] / OBJECT_SCALE, np.nan).astype(np.float32)
        white = np.moveaxis(on_white(images[[number]])[0, :3], 0, -1)
        views[f"view_{number}"] = View(
            camera=camera,
            T_world_camera=pose,
            rgb=(white * 255).round().astype(np.uint8),
            points=points_from_depth(depth, camera),
        )
    return views


def _at_points(points: FloatArray, before: Gaussians, displacement: NDArray[np.float32]) -> FloatArray:
    """The displacement of points, that of the nearest Gaussian of the surface; shape [P, 3]."""
    shown = before.opacities > SHOWN
    if not shown.any():
        return np.zeros_like(points)
    _, nearest = KDTree(before.positions[shown]).query(points)
    return np.asarray(displacement[shown][nearest], np.float64)


def _pictures(gaussians: Gaussians, case: PartCase) -> Pictures:
    size = case.target.shape[1]
    cameras = []
    for raw in case.raw:
        pose = np.array(raw)
        pose[:3, 3] = from_world(pose[:3, 3])
        cameras.append(SplatCamera(camera=square_pinhole(fovy=TRUE_FOV, size=size), T_world_camera=pose))
    return render(gaussians, cameras).rgb


def evaluate(found: Iterable[PartCase], methods: Mapping[str, Method], *, title: str) -> ResultTable:
    """Every metric of every method; objects are the units, and their pulls are averaged.

    Raises:
        InvalidResults: there are no cases.
    """
    values: dict[tuple[str, str, str], list[float]] = {}
    for case in found:
        for name, method in methods.items():
            for metric, value in judge(case, method(case)).items():
                values.setdefault((case.name, name, metric), []).append(value)
    results = [
        Result(unit=unit, method=method, metric=metric, value=_mean(of_pulls))
        for (unit, method, metric), of_pulls in values.items()
    ]
    return ResultTable.from_results(results, title=title, metrics=METRICS, baseline=COPY, unit_name="object")


def judge(case: PartCase, foretold: Foretold) -> dict[str, float]:
    """All metrics by name; NaN where a method says nothing."""
    truth, said = case.joint, foretold.joint
    right = said is not None and said.kind is truth.kind and truth.kind is not JointType.UNKNOWN
    angle = np.nan
    if said is not None and right:
        angle = float(np.arccos(np.clip(abs(said.axis @ truth.axis), 0, 1)))
    return {
        **_errors(case, foretold.displacement),
        KIND.name: float(right) if said is not None else np.nan,
        AXIS.name: angle,
        PSNR.name: float(np.mean(psnr(foretold.pictures, case.target, data_range=1.0))),
        LPIPS.name: float(np.mean(lpips(foretold.pictures, case.target))),
    }


def _errors(case: PartCase, displacement: FloatArray) -> dict[str, float]:
    away = np.linalg.norm(case.before + displacement - case.after, axis=1)
    moves, still = case.moves, ~case.moves
    travel = float(np.linalg.norm(case.after - case.before, axis=1)[moves].mean())
    part = float(away[moves].mean())
    return {
        PART.name: part,
        REST.name: float(away[still].mean()) if still.any() else np.nan,
        SHARE.name: part / travel,
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else np.nan
