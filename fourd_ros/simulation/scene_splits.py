"""What the sequences of scene language show, and how their splits differ: in things, and in colours of things."""

from dataclasses import dataclass, replace

import numpy as np

from fourd_ros.errors import InvalidDataset
from fourd_ros.simulation.appearance import PALETTE, vary
from fourd_ros.simulation.objects import ObjectSpec
from fourd_ros.simulation.scene import SceneSpec
from fourd_ros.simulation.tabletop_scene import NEW_KINDS, TRAINING_KINDS, tabletop_seeds

_HELD_OUT_STEP = 5
_KINDS = (*TRAINING_KINDS, *NEW_KINDS)


@dataclass(frozen=True, kw_only=True)
class SceneSplit:
    """Sequences for one purpose.

    Args:
        tabletop: split of the tabletop data whose scenes and motions they show.
        seed: of that split, so that no scene is in two of them.
        new_combinations: things have colours that things of their category never have in training.
    """

    tabletop: str
    seed: int
    new_combinations: bool = False


SCENE_SPLITS: dict[str, SceneSplit] = {
    "train": SceneSplit(tabletop="train", seed=700),
    "validation": SceneSplit(tabletop="validation", seed=700),
    "test": SceneSplit(tabletop="test", seed=700),
    "new_things": SceneSplit(tabletop="new_shapes", seed=700),
    "new_combinations": SceneSplit(tabletop="test", seed=701, new_combinations=True),
}
"""``new_things`` has categories that are in no training sequence, ``new_combinations`` words never trained together."""


def find_scene_split(name: str) -> SceneSplit:
    """The split of that name.

    Raises:
        InvalidDataset: there is none.
    """
    if name not in SCENE_SPLITS:
        raise InvalidDataset(f"no split '{name}' of the scene sequences; there are {list(SCENE_SPLITS)}")
    return SCENE_SPLITS[name]


def scene_seeds(split: str, *, sequences: int) -> range:
    """The scene seeds of the first sequences of a split.

    Raises:
        InvalidDataset: there is no such split, or it has not so many.
    """
    found = find_scene_split(split)
    return tabletop_seeds(found.tabletop, seed=found.seed, episodes=sequences)


def is_held_out(colour: str, kind: str) -> bool:
    """Whether things of a kind never have that colour in training; of each kind two or three colours."""
    return (list(PALETTE).index(colour) + 2 * _KINDS.index(kind)) % _HELD_OUT_STEP == 0


def recoloured(scene: SceneSpec, split: SceneSplit, rng: np.random.Generator) -> SceneSpec:
    """The scene with colours of objects as the split may have them; patterns and second materials stay."""
    return replace(scene, objects=tuple(_recoloured(item, split, rng) for item in scene.objects))


def _recoloured(item: ObjectSpec, split: SceneSplit, rng: np.random.Generator) -> ObjectSpec:
    colour = item.label.split()[0]
    if is_held_out(colour, item.kind) == split.new_combinations:
        return item
    choices = [name for name in PALETTE if is_held_out(name, item.kind) == split.new_combinations]
    chosen = str(rng.choice(choices))
    main = vary(PALETTE[chosen], rng)
    share = 1.0 if sum(main) < 1.5 else 0.0
    accent = tuple(0.65 * channel + 0.35 * share for channel in main)

    before = item.parts[0].appearance
    after = replace(before, colour=main, accent=accent)  # type: ignore[arg-type]
    parts = tuple(replace(part, appearance=after) if part.appearance == before else part for part in item.parts)
    return replace(item, label=f"{chosen} {item.kind}", parts=parts)
