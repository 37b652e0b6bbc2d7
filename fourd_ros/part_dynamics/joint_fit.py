"""The joint that explains best how the points of a part have moved."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidCloud
from fourd_ros.geometry.transforms import rotation_about

FloatArray = NDArray[np.float64]

ROUNDS = 10
"""Of reweighting, in which points that do not fit lose their say."""

LEAST_POINTS = 4
LEAST_ANGLE = np.deg2rad(1.5)
BETTER = 0.75
"""A turn has to leave less than this of the residual of a shift, since it can bend to more."""

LEAST_RESIDUAL = 1e-6
"""Points are not known better [m]."""


class JointType(IntEnum):
    """Values of ``fourd_msgs/PredictPartMotion``."""

    UNKNOWN = 0
    REVOLUTE = 1
    PRISMATIC = 2


@dataclass(frozen=True, kw_only=True)
class Joint:
    """A joint and how far it has moved; everything in the frame of the points.

    Args:
        kind: of joint.
        origin: a point of the axis, the one nearest to the middle of the part [m], shape [3].
        axis: unit; the motion is positive about (right hand) or along it, shape [3].
        amount: of the motion [rad | m], not negative.
        residual: rms distance of the moved points from where this joint moves them [m].
        confidence: that the kind is right, 0 to 1.
    """

    kind: JointType
    origin: FloatArray
    axis: FloatArray
    amount: float
    residual: float
    confidence: float

    def moved(self, points: FloatArray, share: float = 1.0) -> FloatArray:
        """Points [*, 3] after a share of the motion."""
        if self.kind is JointType.REVOLUTE:
            return (points - self.origin) @ rotation_about(self.axis, share * self.amount).T + self.origin
        return points + share * self.amount * self.axis


def fit_joint(start: FloatArray, end: FloatArray, weights: FloatArray | None = None) -> Joint:
    """The joint of a part.

    Args:
        start: points of the part before [m], finite, shape [N, 3].
        end: the same points after [m], shape [N, 3].
        weights: of the points, such as opacities, shape [N].

    Returns:
        Of unknown kind, with confidence 0, where nothing has moved.

    Raises:
        InvalidCloud: fewer than four points, other shapes, or numbers that are not finite.

    Source: Kabsch 1976 for the rigid motion, weighted by residuals as in Geman and McClure 1987; its screw without
    pitch.
    """
    if start.shape != end.shape or start.ndim != 2 or start.shape[1] != 3 or len(start) < LEAST_POINTS:
        raise InvalidCloud(f"points {list(start.shape)} and {list(end.shape)}; needed are two of [N, 3], N >= 4")
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        raise InvalidCloud("points of the part are not finite")
    given = np.ones(len(start)) if weights is None else np.asarray(weights, np.float64)
    shift, turn = _fit_shift(start, end, given), _fit_turn(start, end, given)
    if shift.amount < LEAST_RESIDUAL:
        return Joint(
            kind=JointType.UNKNOWN,
            origin=shift.origin,
            axis=shift.axis,
            amount=0.0,
            residual=shift.residual,
            confidence=0.0,
        )
    is_turn = turn is not None and turn.amount > LEAST_ANGLE and turn.residual < BETTER * shift.residual
    chosen, other = (turn, shift) if is_turn else (shift, turn)
    assert chosen is not None
    return Joint(**{**vars(chosen), "confidence": kind_confidence(chosen, other, start, end)})


def _fit_shift(start: FloatArray, end: FloatArray, given: FloatArray) -> Joint:
    weights = given
    for _ in range(ROUNDS):
        moved = np.average(end - start, axis=0, weights=weights)
        away = np.linalg.norm(end - start - moved, axis=1)
        weights = given * trust(away, given)
    amount = float(np.linalg.norm(moved))
    axis = moved / amount if amount > 0 else np.array([1.0, 0.0, 0.0])
    middle = np.average(start, axis=0, weights=weights)
    return _joint(JointType.PRISMATIC, middle, axis, amount, away, weights)


def _fit_turn(start: FloatArray, end: FloatArray, given: FloatArray) -> Joint | None:
    """None where the points turn about nothing."""
    weights = given
    for _ in range(ROUNDS):
        R, t = _kabsch(start, end, weights)
        angle = float(np.arccos(np.clip((np.trace(R) - 1) / 2, -1, 1)))
        if angle < LEAST_ANGLE / 10:
            return None
        axis = _axis_of(R)
        middle = np.average(start, axis=0, weights=weights)
        across = t - axis * (axis @ t)
        origin: FloatArray = np.linalg.lstsq(np.eye(3) - R, across, rcond=1e-9)[0].astype(np.float64)
        origin = origin + axis * (axis @ (middle - origin))
        away = np.linalg.norm((start - origin) @ R.T + origin - end, axis=1)
        weights = given * trust(away, given)
    return _joint(JointType.REVOLUTE, origin, axis, angle, away, weights)


def _joint(
    kind: JointType, origin: FloatArray, axis: FloatArray, amount: float, away: FloatArray, weights: FloatArray
) -> Joint:
    residual = float(np.sqrt(np.average(away**2, weights=weights)))
    return Joint(kind=kind, origin=origin, axis=axis, amount=amount, residual=residual, confidence=0.0)


def trust(away: FloatArray, given: FloatArray) -> FloatArray:
    """Factors of weights [N] that fall with the distance [N] of a point from where it should be, in medians of it."""
    order = np.argsort(away)
    half = np.searchsorted(np.cumsum(given[order]), given.sum() / 2)
    scale = max(float(away[order[min(half, len(away) - 1)]]), LEAST_RESIDUAL)
    return np.asarray((1 + (away / (2 * scale)) ** 2) ** -2)


def _kabsch(start: FloatArray, end: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    before, after = (np.average(points, axis=0, weights=weights) for points in (start, end))
    U, _, Vt = np.linalg.svd((start - before).T * weights @ (end - after))
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(Vt.T @ U.T))])
    R = Vt.T * flip @ U.T
    return R, after - R @ before


def _axis_of(R: FloatArray) -> FloatArray:
    """Unit axis of a rotation that turns by a positive angle about it."""
    skew = np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    length = float(np.linalg.norm(skew))
    if length > 1e-6:
        return skew / length
    symmetric = (R + np.eye(3)) / 2  # half a turn
    column = symmetric[:, np.argmax(np.diag(symmetric))]
    return np.asarray(column / np.linalg.norm(column))


def kind_confidence(chosen: Joint, other: Joint | None, start: FloatArray, end: FloatArray) -> float:
    """How much less the chosen kind leaves unexplained, times how much of the motion it explains, 0 to 1.

    Args:
        chosen: with its residual [m].
        other: the best one of the other kind; None where there is none.
        start: points of the part [m], shape [N, 3].
        end: of these, shape [N, 3].
    """
    moved = float(np.sqrt(np.mean(np.sum((end - start) ** 2, axis=1))))
    explained = max(0.0, 1 - chosen.residual / max(moved, LEAST_RESIDUAL))
    if other is None:
        return explained
    rival = max(other.residual, LEAST_RESIDUAL)
    share = (
        chosen.residual / (chosen.residual + rival) if chosen.kind is JointType.REVOLUTE else _turn_share(chosen, other)
    )
    return float(np.clip(explained * (1 - share), 0, 1))


def _turn_share(shift: Joint, turn: Joint) -> float:
    """How much speaks for a turn after all where a shift was chosen: its residual is never larger, so an equal one
    says nothing, and neither does a small angle."""
    ratio = turn.residual / max(shift.residual, LEAST_RESIDUAL)
    return float(np.clip((1 - ratio) / (1 - BETTER), 0, 1) * 0.5)
