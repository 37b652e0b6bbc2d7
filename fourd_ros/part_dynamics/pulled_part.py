"""The motion of a part as one rigid piece that goes where it is pulled.

A network that is not sure predicts a mean of what may happen, which is too little motion in about the right direction.
How far the pulled points go is known, though: of the prediction only the part and the kind of motion are needed.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fourd_ros.part_dynamics.drags import SpaceDrags
from fourd_ros.part_dynamics.gaussians import POSITION, Gaussians
from fourd_ros.part_dynamics.joint_fit import ROUNDS, Joint, JointType, kind_confidence, trust
from fourd_ros.part_dynamics.model import PartMotion

FloatArray = NDArray[np.float64]

LEAST_POINTS = 8
DRAG_WEIGHT = 10.0
"""Of the drags against all points of the part together, where a turn is fitted to both."""

MOST_MISSED = 0.5
"""Share of the drags that a turn may leave; else it is none."""

BETTER = 0.87
"""A turn has to leave less than this of what a shift leaves, since it can bend to more."""

LEAST_TURN = np.deg2rad(5.0)
"""A smaller turn is a shift."""

LEAST_RATE = 1e-4
"""Of a predicted turn [rad], below which it has no axis."""


def as_pulled(motion: PartMotion, drags: SpaceDrags) -> PartMotion:
    """The same with a rigid part that goes as far as the drags say, about the joint that the prediction shows.

    All else stays where it is. Nothing changes where nothing is predicted to move.

    Args:
        motion: a prediction.
        drags: that were predicted for, in its frame.
    """
    moving = motion.moving
    if moving.sum() < LEAST_POINTS or not drags.displacement.any():
        return motion
    points = motion.before.positions[moving].astype(np.float64)
    field = _Field(
        points=points,
        displacement=motion.displacement[moving].astype(np.float64),
        weights=motion.before.opacities[moving].astype(np.float64),
    )
    joint = _pulled_joint(field, drags)
    values = motion.after.values.copy()
    values[:, POSITION] = motion.before.positions
    values[moving, POSITION] = joint.moved(points)
    after = Gaussians(values=values)
    displacement = after.positions - motion.before.positions
    return replace(motion, after=after, displacement=displacement, joint=joint)


@dataclass(frozen=True, kw_only=True)
class _Field:
    """How N points of a part are predicted to move [m]: points and displacements [N, 3], weights [N]."""

    points: FloatArray
    displacement: FloatArray
    weights: FloatArray

    def away(self, joint: Joint) -> float:
        """Root of the mean squared distance of the predicted points from where a joint moves them."""
        left = joint.moved(self.points) - self.points - self.displacement
        return float(np.sqrt(np.average((left**2).sum(axis=1), weights=self.weights)))


def _pulled_joint(field: _Field, drags: SpaceDrags) -> Joint:
    shift, turn = _shift(field, drags), _turn(field, drags)
    is_turn = turn is not None and turn.residual < BETTER * shift.residual
    chosen, other = (turn, shift) if is_turn else (shift, turn)
    assert chosen is not None
    confidence = kind_confidence(chosen, other, field.points, field.points + field.displacement)
    return replace(chosen, confidence=confidence, residual=field.away(chosen))


def _shift(field: _Field, drags: SpaceDrags) -> Joint:
    """Along the mean drag; its residual is what no amount of that leaves less of."""
    pull = drags.displacement.mean(axis=0)
    amount = float(np.linalg.norm(pull))
    axis = pull / amount if amount > 0 else np.array([1.0, 0.0, 0.0])
    weights = field.weights
    for _ in range(ROUNDS):
        along = np.average(field.displacement @ axis, weights=weights)
        away = np.linalg.norm(field.displacement - along * axis, axis=1)
        weights = field.weights * trust(away, field.weights)
    middle = np.average(field.points, axis=0, weights=weights)
    return Joint(
        kind=JointType.PRISMATIC,
        origin=middle,
        axis=axis,
        amount=amount,
        residual=float(np.average(away, weights=field.weights)),
        confidence=0.0,
    )


def _turn(field: _Field, drags: SpaceDrags) -> Joint | None:
    """About the axis of the twist that fits field and drags; None where these do not turn about it.

    The chords of a turn are a twist of their middles (Cayley), so these are where the last round found them.
    """
    weights, chords = field.weights, field.displacement
    for _ in range(ROUNDS):
        middles = field.points + chords / 2
        centre, spin, velocity = _twist(middles, field.displacement, weights, drags)
        away = np.linalg.norm(np.cross(spin, middles - centre) + velocity - field.displacement, axis=1)
        weights = field.weights * trust(away, field.weights)
        rate = float(np.linalg.norm(spin))
        if rate < LEAST_RATE:
            return None
        axis = spin / rate
        origin = centre + np.cross(axis, velocity) / rate
        angle = _angle(drags, origin, axis)
        joint = Joint(
            kind=JointType.REVOLUTE,
            origin=origin,
            axis=axis if angle >= 0 else -axis,
            amount=abs(angle),
            residual=float(np.average(away, weights=field.weights)),
            confidence=0.0,
        )
        chords = joint.moved(field.points) - field.points
    missed = joint.moved(drags.start) - drags.start - drags.displacement
    fits = np.linalg.norm(missed) < MOST_MISSED * np.linalg.norm(drags.displacement)
    return joint if fits and joint.amount > LEAST_TURN else None


def _twist(
    points: FloatArray, displacement: FloatArray, weights: FloatArray, drags: SpaceDrags
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Least squares of ``spin x (p - centre) + velocity`` against displacements, and against a share of the drags that
    is found too, since the displacements may be too short.

    Returns:
        centre, spin [rad] and velocity [m], each [3].
    """
    centre = np.average(points, axis=0, weights=weights)
    told = np.sqrt(weights / weights.sum())[:, None, None]
    asked = np.sqrt(DRAG_WEIGHT / len(drags))
    seen = np.concatenate([_lever(points - centre), np.zeros((len(points), 3, 1))], axis=2) * told
    pulled_from = drags.start + drags.displacement / 2
    pulled = np.concatenate([_lever(pulled_from - centre), -drags.displacement[..., None]], axis=2) * asked
    target = np.concatenate([(displacement[..., None] * told).ravel(), np.zeros(3 * len(drags))])
    found = np.linalg.lstsq(np.concatenate([seen, pulled]).reshape(-1, 7), target, rcond=None)[0]
    return centre, found[:3], found[3:6]


def _lever(arms: FloatArray) -> FloatArray:
    """What spin and velocity do to points at arms [N, 3], shape [N, 3, 6]."""
    x, y, z = arms.T
    none = np.zeros_like(x)
    spin = np.stack(
        [np.stack([none, z, -y], axis=1), np.stack([-z, none, x], axis=1), np.stack([y, -x, none], axis=1)], axis=1
    )
    return np.concatenate([spin, np.tile(np.eye(3), (len(arms), 1, 1))], axis=2)


def _angle(drags: SpaceDrags, origin: FloatArray, axis: FloatArray) -> float:
    """The turn that brings starts of drags nearest to their ends [rad]."""
    arms = [points - origin for points in (drags.start, drags.start + drags.displacement)]
    before, after = (arm - np.outer(arm @ axis, axis) for arm in arms)
    return float(np.arctan2((np.cross(before, after) @ axis).sum(), (before * after).sum()))
