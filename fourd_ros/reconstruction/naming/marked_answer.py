"""What a model says about objects with numbers: which name belongs to which number."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fourd_ros.errors import InvalidMessage
from fourd_ros.reconstruction.naming.scene_answer import MAX_NAME, MAX_REASON, SceneAnswer, find_json, plain_line

__all__ = ["parse_marked_answer"]

_QUOTED = 200
_NUMBERED = re.compile(
    r"(?:(?:(?:object|number|mark)\s+|[#(\[]\s*)(\d{1,9})\b\s*[)\]]?\s*[:.=]?|(\d{1,9})\s*(?:[):.=](?!\d)|\s[-–—]\s))\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)


def parse_marked_answer(text: str, numbers: Sequence[int]) -> SceneAnswer:
    """The names of objects with numbers, whatever stands around them.

    Understood are names that begin with their number (``"2: red car"``), an object of names by number
    (``{"2": "red car"}``), and names in the order of the numbers where there are as many. A sentence may be given by
    number, by name, or by both. What has no letter is no name; a number with several names and a name with several
    numbers tell nothing.

    Args:
        text: the answer.
        numbers: that were asked about, ascending.

    Returns:
        The objects that got a name, with their numbers, and the numbers that got none.

    Raises:
        InvalidMessage: no object of the schema is in the answer, or none of the numbers gets a name.
    """
    said = find_json(text, valid=_is_valid)
    if not _is_valid(said):
        raise InvalidMessage(
            f'the answer holds no {{"dynamic": [names], "reasoning": {{number: sentence}}}}: {text[:_QUOTED]!r}'
        )
    names = _clear_names(_named(said["dynamic"], numbers), numbers)
    if not names:
        raise InvalidMessage(
            f"{len(said['dynamic'])} names for {len(numbers)} numbers, and none can be told to belong to a number: "
            f"{text[:_QUOTED]!r}"
        )
    return SceneAnswer(
        objects=tuple(names.values()),
        reasons=_reasons(said["reasoning"], names),
        numbers=tuple(names),
        unnamed=tuple(number for number in numbers if number not in names),
    )


def _is_valid(said: Any) -> bool:
    return (
        isinstance(said, dict)
        and isinstance(said.get("dynamic"), list | dict)
        and isinstance(said.get("reasoning"), dict)
    )


def _named(dynamic: list[Any] | dict[str, Any], numbers: Sequence[int]) -> list[tuple[int, str]]:
    """Numbers and names as they are given, also twice."""
    if isinstance(dynamic, dict):
        return [(int(key), name) for key, name in dynamic.items() if _is_number(key) and isinstance(name, str)]
    found = [_split(name) if isinstance(name, str) else (None, "") for name in dynamic]
    numbered = [(number, name) for number, name in found if number is not None]
    if numbered:
        return numbered
    if len(found) != len(numbers):
        return []
    return [(number, name) for number, (_, name) in zip(numbers, found, strict=True)]


def _split(text: str) -> tuple[int | None, str]:
    """The number that a text begins with, None for none, and the rest."""
    match = _NUMBERED.match(text.strip())
    return (int(match[1] or match[2]), match[3]) if match else (None, text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _clear_names(named: list[tuple[int, str]], numbers: Sequence[int]) -> dict[int, str]:
    """One name for a number and one number for a name, ascending."""
    plain = {(number, plain_line(name, MAX_NAME)) for number, name in named if number in set(numbers)}
    real = sorted((number, name) for number, name in plain if any(letter.isalpha() for letter in name))
    times, uses = Counter(number for number, _ in real), Counter(name.casefold() for _, name in real)
    return {number: name for number, name in real if times[number] == uses[name.casefold()] == 1}


def _reasons(reasoning: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, str]:
    """Sentences by name."""
    by_name = {name.casefold(): name for name in names.values()}
    found: dict[str, str] = {}
    for key, sentence in reasoning.items():
        if not isinstance(sentence, str):
            continue
        number, rest = (int(key), "") if _is_number(key) else _split(key)
        name = by_name.get(plain_line(rest, MAX_NAME).casefold()) if number is None else names.get(number)
        if name is not None:
            found[name] = plain_line(sentence, MAX_REASON)
    return found
