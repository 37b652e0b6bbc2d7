"""Patches found again in other frames, to a fraction of a pixel: shift, turn, scale, shear and exposure."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Alignment", "Patches", "Warps", "identity_warps", "prepared"]

Floats = NDArray[np.float32]

RADIUS = 4
"""A patch has 2 x RADIUS + 1 pixels a side."""

ROUNDS = 8
CONVERGED = 0.01
"""A patch that moves by less in a round is done [px]."""

STIFFNESS = 0.02
"""What shape resists with, as a share of what shifts it; patches without corners would shear freely otherwise."""

MOST_SHIFT, MOST_BEND = 2.0, 0.3
"""What a patch may do in a round: go by [px], change its shape by [1]; where nothing is like it, it would jump away."""

BLUR = 0.4
"""Of pictures before they are sampled, since interpolation between pixels is a blur of its own [px]."""

LEAST_CONTRAST = 1.0
"""Standard deviation of a patch below which it has nothing to hold on to [grey levels]."""

_MOST_CHANGE = np.array([[MOST_BEND, MOST_BEND, MOST_SHIFT]] * 2, np.float32)
_MOST_ROWS = 16384
"""Of a map that OpenCV samples by."""

Warps = Floats
"""Affine maps from offsets within a patch to pixels of a frame, (A | centre), shape [N, 2, 3]."""


def prepared(rgb: NDArray[np.uint8]) -> Floats:
    """A picture as patches are sampled from it, shape [H, W, 3], float32."""
    import cv2

    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(rgb), (0, 0), BLUR), np.float32)


def identity_warps(places: NDArray[np.floating]) -> Warps:
    """Patches as they were taken, at pixels (x, y), shape [N, 2]."""
    warps = np.zeros((len(places), 2, 3), np.float32)
    warps[:, 0, 0] = warps[:, 1, 1] = 1
    warps[..., 2] = places
    return warps


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """Where patches were found.

    Args:
        warps: as `Warps`.
        likeness: normalised cross correlation with the patch as it was taken, -1 to 1, shape [N].
    """

    warps: Warps
    likeness: Floats


@dataclass(frozen=True, kw_only=True)
class Patches:
    """N patches, ready to be found again.

    Args:
        values: without their mean, of unit length, shape [N, M].
        steps: what a difference of values changes in a warp, shape [N, 6, M].
    """

    values: Floats
    steps: Floats

    @staticmethod
    def taken(picture: Floats, places: NDArray[np.floating]) -> "Patches":
        """Patches around pixels (x, y), shape [N, 2], of a `prepared` picture."""
        warps = identity_warps(places)
        values, contrast = _normalised(_sampled(picture, warps, _OFFSETS))
        right, left, below, above = (
            _sampled(picture, warps, _OFFSETS + shift)
            for shift in np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
        )
        along_x, along_y = (right - left) / np.float32(2), (below - above) / np.float32(2)
        x, y = _OFFSETS[:, 0, None], _OFFSETS[:, 1, None]
        slopes = np.stack([along_x * x, along_x * y, along_x, along_y * x, along_y * y, along_y], axis=1)
        return Patches(values=values, steps=_steps(slopes, values, contrast))

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Patches":
        """Those that `chosen` names."""
        return Patches(values=self.values[chosen], steps=self.steps[chosen])

    def joined(self, others: "Patches") -> "Patches":
        """These and then `others`."""
        return Patches(
            values=np.concatenate([self.values, others.values]), steps=np.concatenate([self.steps, others.steps])
        )

    def __len__(self) -> int:
        """Number of patches N."""
        return len(self.values)

    def found(self, picture: Floats, start: Warps) -> Alignment:
        """Look for the patches near `start`.

        Args:
            picture: `prepared`.
            start: within about two pixels of where they are.

        Source: inverse compositional Gauss-Newton, Baker and Matthews 2004; without mean and of unit length, the
        difference of patches is blind to gain and offset (Evangelidis and Psarakis 2008).
        """
        warps = np.array(start, np.float32)
        moving, steps = np.arange(len(warps)), self.steps
        for _ in range(ROUNDS):
            values, length = _weighted(_sampled(picture, warps[moving], _OFFSETS))
            # Steps are blind to the mean of each channel and to the patch itself.
            change = (steps @ (values / length[:, None])[..., None]).reshape(-1, 2, 3)
            change = np.minimum(np.maximum(change, -_MOST_CHANGE), _MOST_CHANGE)
            warps[moving] = _without(warps[moving], change)
            far = np.abs(change[..., 2]).max(axis=1) > CONVERGED
            if not far.any():
                break
            if not far.all():
                moving, steps = moving[far], steps[far]
        values, contrast = _normalised(_sampled(picture, warps, _OFFSETS))
        likeness = np.einsum("nm,nm->n", values, self.values)
        return Alignment(warps=warps, likeness=np.where(contrast < LEAST_CONTRAST, np.float32(0), likeness))


def _offsets() -> Floats:
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    return np.stack([x, y], axis=-1).reshape(-1, 2).astype(np.float32)


_OFFSETS = _offsets()
_NEIGHBOURS = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
_WEIGHTS = np.exp(-((_OFFSETS**2).sum(axis=1)) / (RADIUS**2)).astype(np.float32)
"""The middle of a patch counts more than its rim, where other surfaces begin."""

_ROOTS = np.repeat(np.sqrt(_WEIGHTS / _WEIGHTS.sum()), 3)
_MEANS = _ROOTS[:, None] * np.tile(np.eye(3, dtype=np.float32), (len(_WEIGHTS), 1))
"""What weighted values are multiplied by for the mean of each channel, shape [M, 3]; its columns have unit length."""


def _sampled(picture: Floats, warps: Warps, offsets: Floats) -> Floats:
    """Values at the pixels of patches, shape [N, pixels, 3]; the border of the picture is repeated."""
    import cv2

    x, y = (warps[:, axis, :2] @ offsets.T + warps[:, axis, 2:] for axis in (0, 1))
    values = np.empty((len(warps), len(offsets), picture.shape[2]), np.float32)
    for begin in range(0, len(warps), _MOST_ROWS):
        part = slice(begin, begin + _MOST_ROWS)
        cv2.remap(picture, x[part], y[part], cv2.INTER_LINEAR, values[part], borderMode=cv2.BORDER_REPLICATE)
    return values


def _weighted(values: Floats) -> tuple[Floats, Floats]:
    """Weighted values, shape [N, M], and their length without the mean of each channel [N], at least 1e-6."""
    flat = values.reshape(len(values), _ROOTS.size) * _ROOTS
    means = flat @ _MEANS
    square = np.einsum("nm,nm->n", flat, flat) - np.einsum("nc,nc->n", means, means)
    return flat, np.sqrt(np.maximum(square, 1e-12))


def _normalised(values: Floats) -> tuple[Floats, Floats]:
    """Weighted values without the mean of each channel and of unit length, shape [N, M], and their contrast [N]."""
    flat, _ = _weighted(values)
    flat -= (flat @ _MEANS) @ _MEANS.T
    length = np.sqrt(np.einsum("nm,nm->n", flat, flat))
    return flat / np.maximum(length, 1e-6)[:, None], length


def _steps(slopes: Floats, values: Floats, contrast: Floats) -> Floats:
    """Inverse of the Jacobian of normalised values by the six numbers of a warp.

    Args:
        slopes: of the values, shape [N, 6, pixels, 3].
        values: normalised, shape [N, M].
        contrast: length before it was made one, shape [N].
    """
    count = len(values)
    share = (_WEIGHTS / _WEIGHTS.sum())[:, None]
    centred = (slopes - (slopes * share).sum(axis=2, keepdims=True)) * np.sqrt(share)
    jacobian = centred.reshape(count, 6, values.shape[1]) / np.maximum(contrast, LEAST_CONTRAST)[:, None, None]
    jacobian -= (jacobian @ values[..., None]) * values[:, None]
    normal = jacobian @ jacobian.transpose(0, 2, 1)
    pull = (normal[:, 2, 2] + normal[:, 5, 5]) / 2
    shape = np.array([1, 1, 0, 1, 1, 0], np.float32) * (STIFFNESS * RADIUS**2) + 1e-4
    normal += (pull[:, None] * shape + 1e-9)[:, :, None] * np.eye(6, dtype=np.float32)
    return np.asarray(np.linalg.solve(normal, jacobian), np.float32)


def _without(warps: Warps, change: Floats) -> Warps:
    """Warps after the inverse of a small affine change of the patch."""
    a, b, c, d = change[:, 0, 0] + 1, change[:, 0, 1], change[:, 1, 0], change[:, 1, 1] + 1
    adjoint = np.stack([d, -b, -c, a], axis=1).reshape(-1, 2, 2)
    inverse = adjoint / (a * d - b * c)[:, None, None]
    shape = warps[..., :2] @ inverse
    centre = warps[..., 2] - (shape @ change[..., 2:])[..., 0]
    return np.concatenate([shape, centre[..., None]], axis=-1)
