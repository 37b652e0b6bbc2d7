"""What a model says about the objects that move in a video (section 3 of the specification).

It is asked for ``{"dynamic": [name, ...], "reasoning": {name: sentence, ...}}`` and nothing else; models add words,
fences and thoughts all the same.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fourd_ros.errors import InvalidMessage

MAX_OBJECTS = 64
"""Of one answer; what is named after them is left out."""

MAX_NAME, MAX_REASON = 100, 1000
"""Letters that are kept."""

_MAX_TRIES = 2000
"""Places in an answer where an object may begin."""

_QUOTED = 200
_TWO_DEEP = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}")
_STRING_OR_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])')


@dataclass(frozen=True, kw_only=True)
class SceneAnswer:
    """The objects that move.

    Args:
        objects: names, an adjective and a noun each; the same name twice means two objects.
        reasons: a sentence about the look of an object, by name, where there is one.
        numbers: of the objects, in their order, where the model was shown numbers.
        unnamed: numbers that the model was shown and gave no name, or none that is clear.
    """

    objects: tuple[str, ...]
    reasons: Mapping[str, str]
    numbers: tuple[int, ...] = ()
    unnamed: tuple[int, ...] = ()


def parse_answer(text: str) -> SceneAnswer:
    """What an answer says, whatever stands around it.

    Raises:
        InvalidMessage: no object of the schema is in it.
    """
    said = find_json(text)
    if not is_valid(said):
        raise InvalidMessage(
            f'the answer holds no {{"dynamic": [names], "reasoning": {{name: sentence}}}}: {text[:_QUOTED]!r}'
        )
    return plain_answer(said)


def is_valid(said: Any) -> bool:
    """Whether both names are there, a list and an object; their contents are not looked at."""
    return isinstance(said, dict) and isinstance(said.get("dynamic"), list) and isinstance(said.get("reasoning"), dict)


def find_json(text: str, *, valid: Callable[[Any], bool] = is_valid, official_compat: bool = False) -> Any:
    """The JSON value in an answer.

    Of several objects the last one that is valid counts, since thoughts and examples come before the answer. Braces
    in strings do no harm, nor do commas before a closing bracket.

    Args:
        text: the answer.
        valid: tells answers from other objects.
        official_compat: as DynamicVerse has it: the whole text, else the first group of braces that is JSON, found by
            a pattern that knows two levels and no strings.

    Returns:
        Where no object is valid, whatever JSON the whole text is, else None; for DynamicVerse an empty answer, which it
        takes to be valid, with the text in ``raw_response``.
    """
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        whole = None
    if official_compat:
        return _official(text) if whole is None and text.strip() != "null" else whole
    if valid(whole):
        return whole
    for written in (text, _STRING_OR_COMMA.sub(lambda match: match[1] or "", text)):
        answers = [value for value in _objects(written) if valid(value)]
        if answers:
            return answers[-1]
    return whole


def plain_answer(said: Mapping[str, Any]) -> SceneAnswer:
    """The answer in a valid object: texts alone, each one line of bounded length."""
    names = [plain_line(name, MAX_NAME) for name in said["dynamic"] if isinstance(name, str)]
    objects = tuple(name for name in names if name)[:MAX_OBJECTS]
    reasons = {
        plain_line(name, MAX_NAME): plain_line(reason, MAX_REASON)
        for name, reason in said["reasoning"].items()
        if isinstance(reason, str)
    }
    return SceneAnswer(objects=objects, reasons={name: reasons[name] for name in objects if name in reasons})


def plain_line(text: str, longest: int) -> str:
    """One line of whole characters, of bounded length."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:longest]


def _official(text: str) -> Any:
    for group in _TWO_DEEP.finditer(text):
        try:
            return json.loads(group[0])
        except (ValueError, RecursionError):
            continue
    return {"dynamic": [], "reasoning": {}, "raw_response": text}


def _objects(text: str) -> Iterator[Any]:
    """Outermost objects in a text, in their order."""
    decoder, place = json.JSONDecoder(), 0
    for _ in range(_MAX_TRIES):
        place = text.find("{", place)
        if place < 0:
            return
        try:
            value, place = decoder.raw_decode(text, place)
            yield value
        except (ValueError, RecursionError):
            place += 1
