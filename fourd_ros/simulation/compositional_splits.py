"""Which scenes of solids belong to which split, and what is to be seen in them."""

from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.solid_kinds import ARTICULATED_KINDS, HELD_OUT_KINDS, SIMPLE_KINDS

SPLIT_SEEDS = 10_000_000
"""Of each split."""

LAYOUTS = ("single", "scene", "moving", "clip")
"""One solid; 2 to 5 in one picture; one that moves; 2 or 3 of which the first moves."""

LAYOUT_SEEDS = SPLIT_SEEDS // len(LAYOUTS)
"""Of each layout within a split."""

TRAINED_KINDS = tuple(kind for kind in (*SIMPLE_KINDS, *ARTICULATED_KINDS) if kind not in HELD_OUT_KINDS)

SPLITS = {"train": TRAINED_KINDS, "validation": TRAINED_KINDS, "test": TRAINED_KINDS, "new_kinds": HELD_OUT_KINDS}
"""Kinds of solids of each; no two share a solid."""


def kinds_of(split: str) -> tuple[str, ...]:
    """Of solids that a split shows.

    Raises:
        InvalidDataset: there is no such split.
    """
    if split not in SPLITS:
        raise InvalidDataset(f"there is no split '{split}' of compositional scenes; there are {[*SPLITS]}")
    return SPLITS[split]


def compositional_seeds(split: str, *, scenes: dict[str, int]) -> list[int]:
    """Seeds of the first scenes of each layout.

    Args:
        split: key of `SPLITS`.
        scenes: how many by layout.

    Raises:
        InvalidDataset: there is no such split or layout, or it has not so many.
    """
    kinds_of(split)
    first = list(SPLITS).index(split) * SPLIT_SEEDS
    seeds: list[int] = []
    for layout, count in scenes.items():
        if layout not in LAYOUTS or not 0 <= count <= LAYOUT_SEEDS:
            raise InvalidDataset(
                f"{count} scenes of layout '{layout}'; there are {LAYOUT_SEEDS} of each of {[*LAYOUTS]}"
            )
        begin = first + LAYOUTS.index(layout) * LAYOUT_SEEDS
        seeds.extend(range(begin, begin + count))
    return seeds


def layout_of(seed: int) -> str:
    """What a seed is for."""
    return LAYOUTS[seed % SPLIT_SEEDS // LAYOUT_SEEDS]
