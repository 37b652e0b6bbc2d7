"""What a conversion left out, counted by reason."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Dropped:
    """Things of one kind that were left out for one reason.

    Args:
        kind: the reason in a word, named like ``FourdError.kind`` where there is such an error.
        what: was left out: ``frames``, or messages of the topic that is named.
        count: how many.
        first_ns: stamp of the first [ns].
        why: what happened to the first, and what helps.
    """

    kind: str
    what: str
    count: int
    first_ns: int
    why: str


class DropTally:
    """Counts what is left out; keeps the words of the first of each kind."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], Dropped] = {}

    def add(self, kind: str, what: str, stamp_ns: int, why: str, *, count: int = 1, about: str = "") -> None:
        """Count one more; see `Dropped`.

        Args:
            kind: the reason.
            what: was left out.
            stamp_ns: when [ns].
            why: in words.
            count: of the things that are left out.
            about: what the reason is about (a camera), counted apart from others.
        """
        key = (kind, what, about)
        before = self._found.get(key)
        self._found[key] = Dropped(
            kind=kind,
            what=what,
            count=count + (before.count if before else 0),
            first_ns=before.first_ns if before else stamp_ns,
            why=before.why if before else why,
        )

    def result(self) -> list[Dropped]:
        """Everything so far, the most frequent first."""
        return sorted(self._found.values(), key=lambda dropped: (-dropped.count, dropped.kind, dropped.what))
