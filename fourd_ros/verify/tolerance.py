"""How far a tensor may be from its reference, read from the forms that manifests use."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidManifest

_NUMBER = r"((?>\d+(?:\.\d+)?(?:[eE][+-]?\d+)?))"
_PHRASES = {
    "mean": rf"(?:atol\s*{_NUMBER}\s*\w*\s*mean|{_NUMBER}\s*mean\b)",
    "rms": rf"rms\s*<=\s*{_NUMBER}",
    "rtol": rf"rtol\s*{_NUMBER}",
    "atol": rf"(?:atol|abs|max abs\s*<=|\+-)\s*{_NUMBER}(?!\s*\w*\s*mean)",
    "outlier_share": rf"{_NUMBER}\s*%",
}
_EXACT = re.compile(r"\b(exact|equal|input)\b")


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """Bounds that all have to hold.

    Args:
        atol: of every element, absolute.
        rtol: of every element, relative to the reference; added to `atol`.
        mean: of the mean absolute error.
        rms: of the root of the mean squared error.
        outlier_share: part of the elements, 0-1, that may leave `atol` and `rtol`.
        outlier_count: number of elements that may do so.
    """

    atol: float = 0.0
    rtol: float = 0.0
    mean: float | None = None
    rms: float | None = None
    outlier_share: float = 0.0
    outlier_count: int = 0

    def allows(self, error: NDArray[np.float64], reference: NDArray[np.float64]) -> bool:
        """Whether absolute errors are within the bounds.

        Args:
            error: shape [n]; infinite where only one side is finite.
            reference: shape [n], NaN where both sides are NaN (and the error zero).
        """
        if error.size == 0:
            return True
        outside = int(np.count_nonzero(error > self.atol + self.rtol * np.abs(np.nan_to_num(reference))))
        if outside > max(self.outlier_count, self.outlier_share * error.size):
            return False
        mean_holds = self.mean is None or float(error.mean()) <= self.mean
        return mean_holds and (self.rms is None or float(np.sqrt(np.square(error).mean())) <= self.rms)

    def __str__(self) -> str:
        given = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return " ".join(f"{name} {value:g}" for name, value in given if value) or "exact"


def loosest(tolerances: Iterable[Tolerance]) -> Tolerance:
    """The widest bound of each kind; a kind of mean that one of them lacks is not bounded."""
    several = list(tolerances)

    def widest(name: str) -> float | None:
        values = [getattr(tolerance, name) for tolerance in several]
        return None if None in values else max(values)

    return Tolerance(**{field.name: widest(field.name) for field in fields(Tolerance)})  # type: ignore[arg-type]


def parse(given: Any, *, default: Tolerance | None) -> Tolerance | None:
    """A tolerance as manifests write it; None where it says nothing that can be checked.

    Args:
        given: a number (absolute), a mapping (``rtol``, ``atol``, ``max_mismatching_pixels``), ``"default"``, or
            prose, of which the loosest bound of each kind counts.
        default: what ``"default"`` means in this manifest.

    Raises:
        InvalidManifest: ``"default"`` without a default, or a mapping with other keys.
    """
    if given is None:
        return None
    if isinstance(given, bool) or not isinstance(given, int | float | str | dict):
        raise InvalidManifest(f"tolerance {given!r} is neither a number, a mapping nor text")
    if isinstance(given, int | float):
        return Tolerance(atol=float(given))
    if isinstance(given, dict):
        return _from_mapping(given)
    return _from_prose(given, default)


def _from_mapping(given: dict[str, Any]) -> Tolerance:
    names = {"atol": "atol", "rtol": "rtol", "max_mismatching_pixels": "outlier_count"}
    if unknown := set(given) - set(names):
        raise InvalidManifest(f"tolerance {given} has the unknown keys {sorted(unknown)}, known are {sorted(names)}")
    return Tolerance(**{names[key]: value for key, value in given.items()})


def _from_prose(text: str, default: Tolerance | None) -> Tolerance | None:
    found: dict[str, float] = {}
    for name, pattern in _PHRASES.items():
        if values := [float(next(filter(None, match.groups()))) for match in re.finditer(pattern, text)]:
            found[name] = max(values)
    if found.keys() & {"mean", "rms"} and not found.keys() & {"atol", "rtol"}:
        found["atol"] = np.inf
    if "outlier_share" in found:
        percent = found["outlier_share"]  # "on 98% of pixels" bounds what holds, "0.5% of pixels" what does not
        found["outlier_share"] = (percent if percent < 50 else 100 - percent) / 100
    if text.startswith("default"):
        if default is None:
            raise InvalidManifest(f"tolerance {text!r}, and the manifest has no default_tolerance")
        return loosest([default, Tolerance(**found)]) if found else default  # type: ignore[arg-type]
    if found or _EXACT.search(text):
        return Tolerance(**found)  # type: ignore[arg-type]
    return None
