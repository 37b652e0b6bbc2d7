"""``dataset.json``: what a data set is called, may be used for, and was made by."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from fourd_ros.errors import InvalidDataset
from fourd_ros.whole_file import write_whole

CARD = "dataset.json"
FORMAT = 1
_MAX_BYTES = 1024**2


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
    try:
        with path.open(encoding="utf-8") as file:
            facts = json.loads(file.read(_MAX_BYTES))
        if facts["format"] != FORMAT:
            raise InvalidDataset(f"'{path}' has format {facts['format']}, this version reads {FORMAT}")
        return DatasetCard(**{field.name: str(facts[field.name]) for field in fields(DatasetCard)})
    except FileNotFoundError as error:
        raise InvalidDataset(f"'{folder}' is no data set: it has no {CARD}; 'fourd data pack' makes one") from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise InvalidDataset(f"'{path}' is damaged: {type(error).__name__}: {error}") from error
