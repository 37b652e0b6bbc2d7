"""The card of a model: what it is for, how good it is, whose terms apply, and the hash of every file.

``fourd.json`` holds it for programs and carries a checksum of itself; ``README.md`` shows it to people.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path, PurePosixPath
from typing import Any

from fourd_ros.errors import CorruptModel, InvalidModel, LicenceRefused
from fourd_ros.strict_json import read_object, to_bytes
from fourd_ros.whole_file import whole_file

CARD = "fourd.json"
README = "README.md"
FORMAT = 1
CHECKSUM = "checksum"

# Those that model hubs know by name; any other is "other" with a name.
_HUB_LICENCES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0"),
    *("cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
)
_SHA256 = re.compile("[0-9a-f]{64}")
_NON_COMMERCIAL = re.compile(r"\bnc\b|non-?commercial", re.IGNORECASE)

MetricValue = float | tuple[float, float, float]
"""A value, or a value with the ends of its confidence interval."""


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """What a file must be.

    Args:
        size: in bytes.
        sha256: of its content, in hexadecimal.
    """

    size: int
    sha256: str

    def __post_init__(self) -> None:
        if type(self.size) is not int or self.size < 0:
            raise InvalidModel(f"the size of a file is {self.size!r}, needed a number of bytes")
        if not (isinstance(self.sha256, str) and _SHA256.fullmatch(self.sha256)):
            raise InvalidModel(f"{self.sha256!r} is no sha256; needed 64 hexadecimal digits")


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known about a model.

    Args:
        name: of the model, as its folder is called.
        system: what it belongs to, such as ``depth_completion``.
        purpose: what it does, in a sentence or two.
        licence: SPDX identifier, or the name of the terms.
        non_commercial: whether the terms, its own or upstream ones, forbid commercial use.
        upstream_terms: of weights and data it was made from, one a line; it inherits them.
        data: what it was trained on.
        limits: what it does badly or was never tried on.
        metrics: on held-out data: by method (the model and its baselines), then by name with its unit.
        metrics_command: what regenerates them.
        files: size and hash by path in the folder; filled in by `write_model`.

    Raises:
        InvalidModel: a name, system, purpose or licence is missing; a non-commercial licence that is not marked as
            such; a metric that is not finite; a path that leads outside.
    """

    name: str
    system: str
    purpose: str
    licence: str
    non_commercial: bool = False
    upstream_terms: tuple[str, ...] = ()
    data: str = ""
    limits: str = ""
    metrics: Mapping[str, Mapping[str, MetricValue]] = field(default_factory=dict)
    metrics_command: str = ""
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    def __post_init__(self) -> None:
        empty = [name for name in ("name", "system", "purpose", "licence") if not getattr(self, name).strip()]
        if empty:
            raise InvalidModel(f"the card of a model needs {', '.join(empty)}")
        if _NON_COMMERCIAL.search(self.licence) and not self.non_commercial:
            raise InvalidModel(f"'{self.licence}' is a non-commercial licence; set non_commercial")
        for method, values in self.metrics.items():
            for name, value in values.items():
                if not all(math.isfinite(number) for number in _numbers(value)):
                    raise InvalidModel(f"the metric '{name}' of '{method}' is {value}; needed finite numbers")
        for path in self.files:
            check_relative(path)


def check_relative(path: str) -> None:
    """Refuse what is not a plain path below the folder, in its one spelling.

    Raises:
        InvalidModel: absolute, with ``..``, empty, spelled in a way that another path is spelled too, or with
            characters that cannot be shown.
    """
    pure = PurePosixPath(path)
    if (
        pure.is_absolute()
        or ".." in pure.parts
        or not pure.parts
        or str(pure) != path
        or "\\" in path
        or not path.isprintable()
    ):
        raise InvalidModel(f"{path!r} is no path inside a model folder")


def check_licence(card: ModelCard, *, allow_noncommercial: bool) -> None:
    """The gate before weights are read.

    Raises:
        LicenceRefused: the model is non-commercial and that was not allowed.
    """
    if card.non_commercial and not allow_noncommercial:
        terms = "".join(f"\n  - {line}" for line in card.upstream_terms)
        raise LicenceRefused(
            f"'{card.name}' is non-commercial; licence: {card.licence}; upstream terms: {terms or 'none'}\n"
            "if these terms allow your use, say so: allow_noncommercial=True in Python, allow_noncommercial: true for "
            "a node, --allow-noncommercial on the command line"
        )


def read_card(folder: Path) -> ModelCard:
    """The card in ``fourd.json`` of a folder.

    Raises:
        InvalidModel: there is none, or it lacks or misspells something.
        CorruptModel: it is not as it was written.
    """
    path = folder / CARD
    if not path.is_file():
        raise InvalidModel(
            f"'{folder}' has no {CARD}, so neither its licence nor its integrity is known; if you know where it is "
            f"from, 'fourd model adopt {folder}' writes one; original checkpoints go through 'fourd convert'"
        )
    found = read_object(path, error=InvalidModel)
    if found.get("format") != FORMAT:
        raise InvalidModel(f"'{path}' has format {found.get('format')!r}, this version reads {FORMAT}")
    if found.pop(CHECKSUM, None) != _checksum(found):
        raise CorruptModel(f"'{path}' was changed after it was written; fetch it again ('write_card' makes a new one)")
    del found["format"]
    return _card(found, path)


def write_card(card: ModelCard, folder: Path) -> None:
    """Write ``fourd.json``, whole or not at all."""
    content: dict[str, Any] = {
        "format": FORMAT,
        **{one.name: getattr(card, one.name) for one in fields(card)},
        "upstream_terms": list(card.upstream_terms),
        "metrics": {
            method: {name: _plain(value) for name, value in values.items()} for method, values in card.metrics.items()
        },
        "files": {path: vars(record) for path, record in sorted(card.files.items())},
    }
    content[CHECKSUM] = _checksum(content)
    with whole_file(folder / CARD) as file:
        file.write(to_bytes(content))


def card_text(card: ModelCard, *, results: str = "") -> str:
    """``README.md`` of the folder: front matter as model hubs read it, then the card in words.

    Args:
        card: what is known.
        results: Markdown that says more about the metrics than the plain table that it replaces.
    """
    import yaml

    front = yaml.safe_dump(_front_matter(card), sort_keys=False, allow_unicode=True)
    parts = [f"---\n{front}---\n\n# {card.name}\n\n{card.purpose}\n"]
    parts += [f"## {title}\n\n{text}\n" for title, text in (("Data", card.data), ("Limits", card.limits)) if text]
    if card.metrics:
        again = f"\nRegenerate with:\n\n```\n{card.metrics_command}\n```\n" if card.metrics_command else ""
        parts.append(f"## Held-out metrics\n\n{results or _metrics_table(card)}\n{again}")
    parts.append(f"## Licence\n\n{_licence_text(card)}\n")
    return "\n".join(parts)


def metrics_rows(card: ModelCard) -> list[tuple[str, ...]]:
    """The metrics as a table of text: names, then a row a method."""
    names = list(dict.fromkeys(name for values in card.metrics.values() for name in values))
    rows = [
        (method, *(_metric_text(values[name]) if name in values else "" for name in names))
        for method, values in card.metrics.items()
    ]
    return [("method", *names), *rows]


def _card(found: dict[str, Any], path: Path) -> ModelCard:
    known = {one.name for one in fields(ModelCard)}
    if found.keys() != known:
        raise InvalidModel(
            f"'{path}' lacks {sorted(known - found.keys())} and has unknown {sorted(found.keys() - known)}"
        )
    try:
        for name in ("name", "system", "purpose", "licence", "data", "limits", "metrics_command"):
            _need(found[name], str, name)
        _need(found["non_commercial"], bool, "non_commercial")
        _need(found["upstream_terms"], list, "upstream_terms")
        return ModelCard(
            **found
            | {
                "upstream_terms": tuple(_need(line, str, "upstream_terms") for line in found["upstream_terms"]),
                "metrics": {
                    method: {name: _metric(value) for name, value in values.items()}
                    for method, values in found["metrics"].items()
                },
                "files": {name: FileRecord(**record) for name, record in found["files"].items()},
            }
        )
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidModel(f"'{path}' is not a model card: {error}") from error


def _need(value: Any, kind: type, name: str) -> Any:
    if type(value) is not kind:
        raise TypeError(f"{name} is {value!r}, needed {kind.__name__}")
    return value


def _metric(value: Any) -> MetricValue:
    if isinstance(value, list):
        middle, low, high = (_number(number) for number in value)
        return middle, low, high
    return _number(value)


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError(f"a metric is {value!r}, needed a number")
    return float(value)


def _plain(value: MetricValue) -> float | list[float]:
    """As JSON has it; numbers of NumPy become those of Python."""
    return [float(number) for number in value] if isinstance(value, tuple) else float(value)


def _numbers(value: MetricValue) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


def _checksum(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _front_matter(card: ModelCard) -> dict[str, Any]:
    hub_name = card.licence.lower()
    known = hub_name in _HUB_LICENCES
    licence = {"license": hub_name} if known else {"license": "other", "license_name": card.licence}
    return {**licence, "library_name": "fourd_ros", "tags": [card.system]}


def _licence_text(card: ModelCard) -> str:
    use = "Not for commercial use." if card.non_commercial else ""
    inherited = "".join(f"\n- {line}" for line in card.upstream_terms)
    return f"{card.licence}. {use}".rstrip() + (f"\n\nInherited terms:\n{inherited}" if inherited else "")


def _metrics_table(card: ModelCard) -> str:
    head, *rows = metrics_rows(card)
    rule = ("---", *("---:" for _ in head[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def _metric_text(value: MetricValue) -> str:
    middle, *interval = (f"{number:.4g}" for number in _numbers(value))
    return f"{middle} [{interval[0]}, {interval[1]}]" if interval else middle
