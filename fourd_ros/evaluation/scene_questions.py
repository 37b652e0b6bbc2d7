"""What scene language is asked about held-out sequences: texts that are in a frame, and as many that are not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.scene_shards import FLOOR, ROBOT, STATES, TABLE, WALL, SceneFacts, SceneFrames, SceneThing

Kind = Literal["surroundings", "category", "label", "colour", "state"]
"""``surroundings``: table, floor, wall, robot. ``category``: "mug". ``label``: "red mug". ``colour``: a label too; the
absent one has a category that is there and a colour that nothing of it has. ``state``: "held red mug"."""

Mask = NDArray[np.bool_]

SURROUNDINGS = (TABLE, FLOOR, WALL, ROBOT)
ASKED_STATES = ("moving", "held")
LEAST_PIXELS = 20
"""Of what is taken to be there; of fewer pixels nobody is asked."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """A text about a frame.

    Args:
        frame: of the sequence.
        kind: of the text.
        text: what is asked for.
        mask: true pixels, shape [H, W]; None where there are none.
    """

    frame: int
    kind: Kind
    text: str
    mask: Mask | None


def questions(
    facts: SceneFacts, frames: SceneFrames, *, asked: Sequence[int], labels: Sequence[str]
) -> Iterator[Question]:
    """Questions about a sequence; the same for the same arguments.

    To every text that is there comes one of its kind that is not: a category or label of `labels` that nothing in the
    whole scene has, a label of another colour, or the state of a thing that is seen but not in this state.

    Args:
        facts: of the sequence.
        frames: of it.
        asked: frames that are asked about.
        labels: of the whole split, of which absent ones are drawn.
    """
    rng = np.random.default_rng(int(facts.name))
    for frame in asked:
        scene = _Scene(facts, frames, frame, sorted(set(labels)), rng)
        for kind, text, mask in (*scene.names(), *scene.states()):
            yield Question(frame=frame, kind=kind, text=text, mask=mask)


_Asked = tuple[Kind, str, Mask | None]


@dataclass(frozen=True)
class _Scene:
    """A frame, and what can be asked about it."""

    facts: SceneFacts
    frames: SceneFrames
    frame: int
    labels: list[str]
    rng: np.random.Generator

    def names(self) -> Iterator[_Asked]:
        """Categories and labels that are seen, and as many that the scene has not."""
        things = [thing for thing in self.facts.things if thing.number not in SURROUNDINGS]
        kept = [thing for thing in self.facts.things if thing.number in SURROUNDINGS]
        own_labels, own_categories = {thing.label for thing in things}, {thing.category for thing in things}
        for thing in kept:
            if (mask := self._mask([thing])) is not None:
                yield "surroundings", thing.label, mask
        categories = sorted({label.split()[-1] for label in self.labels} - own_categories)
        for category in sorted(own_categories):
            same = [thing for thing in things if thing.category == category]
            yield from self._with_absent("category", category, same, categories)
        others = [label for label in self.labels if label not in own_labels and " " in label]
        for label in sorted(own_labels):
            same = [thing for thing in things if thing.label == label]
            if label != same[0].category:
                yield from self._with_absent("label", label, same, others)
                recoloured = [other for other in others if other.split()[-1] == same[0].category]
                yield from self._with_absent("colour", label, same, recoloured)

    def states(self) -> Iterator[_Asked]:
        """States of seen things, and as many of seen things that are not in them."""
        for word in ASKED_STATES:
            bit = 1 << STATES.index(word)
            rows = list(zip(self.facts.things, self.frames.states[self.frame], strict=True))
            rows = [(thing, bits) for thing, bits in rows if thing.number not in SURROUNDINGS]
            true = [thing for thing, bits in rows if bits & bit and self._mask([thing]) is not None]
            marked = {thing.label for thing, bits in rows if bits & bit}
            false = [thing for thing, _ in rows if thing.label not in marked and self._mask([thing]) is not None]
            for thing in true[: len(false)]:
                yield "state", f"{word} {thing.label}", self._mask([thing])
            for place in self.rng.permutation(len(false))[: len(true)]:
                yield "state", f"{word} {false[place].label}", None

    def _with_absent(
        self, kind: Kind, text: str, things: Sequence[SceneThing], others: Sequence[str]
    ) -> Iterator[_Asked]:
        mask = self._mask(things)
        if mask is not None and others:
            yield kind, text, mask
            yield kind, others[int(self.rng.integers(len(others)))], None

    def _mask(self, things: Sequence[SceneThing]) -> Mask | None:
        """Of things together; None where hardly anything of them is seen."""
        mask = np.isin(self.frames.numbers[self.frame], [thing.number for thing in things])
        return mask if np.count_nonzero(mask) >= LEAST_PIXELS else None
