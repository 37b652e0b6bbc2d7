"""The comparisons of one file."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fourd_ros.errors import InvalidManifest, InvalidVectors
from fourd_ros.verify.manifest import Manifest
from fourd_ros.verify.tolerance import Tolerance


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One compared tensor.

    Args:
        tensor: its name.
        error: largest absolute difference, infinite where shapes differ or only one side is finite.
        tolerance: what was allowed.
        ok: whether that holds.
        note: why not, where a number does not say it.
    """

    tensor: str
    error: float
    tolerance: Tolerance
    ok: bool
    note: str = ""


class Comparison:
    """Records how far what we computed is from what the original computed: ``compare(name, actual)``.

    Attributes:
        file: whose tensors are compared.
    """

    def __init__(self, file: str, vectors: Any, manifest: Manifest) -> None:
        self.file, self._vectors, self._manifest = file, vectors, manifest
        self.verdicts: list[Verdict] = []

    def __call__(
        self, name: str, actual: ArrayLike, *, expected: ArrayLike | None = None, tolerance: Tolerance | None = None
    ) -> None:
        """Compare `actual` with the tensor `name` of the file.

        Args:
            name: tensor of the file; a name of its own where `expected` is given.
            actual: what we computed, same shape.
            expected: the reference, for files that are not tensors by name.
            tolerance: for a tensor whose manifest speaks in prose, or not at all; figures in the manifest win.

        Raises:
            InvalidVectors: the file holds no such tensor.
            InvalidManifest: no tolerance is known.
        """
        reference = np.asarray(self._reference(name) if expected is None else expected)
        self.verdicts.append(_judge(name, np.asarray(actual), reference, self._bound(name, tolerance)))

    def _reference(self, name: str) -> NDArray[Any]:
        if not isinstance(self._vectors, dict) or name not in self._vectors:
            known = sorted(self._vectors) if isinstance(self._vectors, dict) else []
            raise InvalidVectors(f"{self.file} holds no tensor '{name}'; it holds {known[:20]}")
        return np.asarray(self._vectors[name])

    def _bound(self, name: str, given: Tolerance | None) -> Tolerance:
        if given is not None and not self._manifest.states_a_number(self.file, name):
            return given
        bound = self._manifest.tolerance(self.file, name)
        if bound is None:
            raise InvalidManifest(
                f"the manifest states no tolerance for '{name}' of {self.file} that a number can be compared with; "
                "pass tolerance= in the check"
            )
        return bound


def _judge(name: str, actual: NDArray[Any], reference: NDArray[Any], bound: Tolerance) -> Verdict:
    if actual.shape != reference.shape:
        note = f"shape {list(actual.shape)}, needed {list(reference.shape)}"
        return Verdict(tensor=name, error=np.inf, tolerance=bound, ok=False, note=note)
    if reference.dtype.kind not in "biufc" or actual.dtype.kind not in "biufc":
        equal = bool(np.array_equal(actual, reference))
        return Verdict(tensor=name, error=0.0 if equal else np.inf, tolerance=Tolerance(), ok=equal)
    error = _errors(actual, reference).ravel()
    magnitude = np.abs(reference).astype(np.float64).ravel()
    ok = bound.allows(error, magnitude)
    return Verdict(tensor=name, error=float(error.max(initial=0.0)), tolerance=bound, ok=ok)


def _errors(actual: NDArray[Any], reference: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute differences; 0 where both are NaN or the same infinity, infinite where one of them alone is."""
    wide = np.complex128 if "c" in (actual.dtype.kind, reference.dtype.kind) else np.float64
    ours, theirs = actual.astype(wide), reference.astype(wide)
    with np.errstate(invalid="ignore"):
        error = np.abs(ours - theirs)
    same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    result: NDArray[np.float64] = np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))
    return result
