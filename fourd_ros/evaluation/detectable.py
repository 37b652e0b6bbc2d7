"""How large a difference of two success rates must be for so many start states to show it."""

from math import sqrt
from statistics import NormalDist


def detectable_unpaired(starts: int, *, rate: float = 0.5, confidence: float = 0.95, power: float = 0.8) -> float:
    """Smallest difference of the success rates of two policies that a test on different start states finds.

    Two-sided z test with pooled variance, no continuity correction (Fleiss, Levin and Paik 2003, section 4.2).

    Args:
        starts: start states of each policy.
        rate: mean of both rates; 0.5 is the worst case.
        confidence: 1 - probability of a difference found where there is none.
        power: probability that the difference is found.

    Returns:
        Between 0 and 1; NaN where not even the largest difference around that mean rate is found.

    Raises:
        ValueError: no starts, or a probability out of range.
    """
    _check("rate", rate)
    return _smallest(
        starts,
        variance=2 * rate * (1 - rate),
        lost=0.5,
        largest=2 * min(rate, 1 - rate),
        confidence=confidence,
        power=power,
    )


def detectable_paired(starts: int, *, discordance: float, confidence: float = 0.95, power: float = 0.8) -> float:
    """Smallest difference of the success rates of two policies that a test on the same start states finds.

    Two-sided McNemar test (Miettinen 1968, Biometrics 24, 339-352; Connor 1987, Biometrics 43, 207-211).

    Args:
        starts: start states, each tried by both policies.
        discordance: share of the starts at which exactly one of both succeeds; NaN unknown.
        confidence: 1 - probability of a difference found where there is none.
        power: probability that the difference is found.

    Returns:
        Between 0 and 1; NaN where `discordance` is, or not even the largest difference, which is `discordance`, is
        found.

    Raises:
        ValueError: no starts, or a probability out of range.
    """
    _check("discordance", discordance)
    return _smallest(starts, variance=discordance, lost=1.0, largest=discordance, confidence=confidence, power=power)


def _smallest(starts: int, *, variance: float, lost: float, largest: float, confidence: float, power: float) -> float:
    """The d that solves ``d sqrt(n) = z_a sqrt(V) + z_b sqrt(V - lost d^2)``.

    V is the variance of one start's difference if the rates are equal; ``lost d^2`` is what it loses if they differ.
    """
    if starts < 1:
        raise ValueError(f"{starts} start states; needed at least one")
    if not (0 < confidence < 1 and 0.5 <= power < 1):
        raise ValueError(f"confidence {confidence}, power {power}; needed 0 < confidence < 1 and 0.5 <= power < 1")
    z_a, z_b = NormalDist().inv_cdf(0.5 + confidence / 2), NormalDist().inv_cdf(power)
    a, square = z_a * sqrt(variance), starts + lost * z_b**2
    root = a**2 * starts - square * (a**2 - z_b**2 * variance)
    smallest = (a * sqrt(starts) + sqrt(max(root, 0.0))) / square
    return smallest if root >= 0 and smallest <= largest else float("nan")


def _check(name: str, value: float) -> None:
    if value < 0 or value > 1:
        raise ValueError(f"{name} {value}; needed a value between 0 and 1")
