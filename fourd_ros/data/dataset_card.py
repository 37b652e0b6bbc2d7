"""``dataset.json``: what a data set is called, may be used for, and was made by."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from fourd_ros.errors import InvalidDataset
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import write_whole

CARD = "dataset.json"
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class DatasetCard:
    """About a data set.

    Args:
        name: of the data set.
        description: in a sentence or two.
        licence: under which the data may be used, empty if nobody said.
        made_by: the command or program.
    """

    name: str
    description: str = ""
    licence: str = ""
    made_by: str = ""


def write_card(folder: Path, card: DatasetCard) -> None:
    """Write ``dataset.json``, whole or not at all."""
    write_whole(folder / CARD, json.dumps({"format": FORMAT, **asdict(card)}, indent=1) + "\n")


def read_card(folder: Path) -> DatasetCard:
    """Read ``dataset.json``.

    Raises:
        InvalidDataset: it is missing or damaged, or of another format; so `folder` is no data set.
    """
    path = folder / CARD
    if not path.exists():
        raise InvalidDataset(f"'{folder}' is no data set: it has no {CARD}; 'fourd data pack' makes one")
    facts = read_object(path, error=InvalidDataset)
    if facts.get("format") != FORMAT:
        raise InvalidDataset(f"'{path}' has format {facts.get('format')}, this version reads {FORMAT}")
    card: dict[str, Any] = {field.name: facts.get(field.name) for field in fields(DatasetCard)}
    if not all(isinstance(text, str) for text in card.values()):
        raise InvalidDataset(f"'{path}' is damaged: {', '.join(card)} are texts, found {card}")
    return DatasetCard(**card)
