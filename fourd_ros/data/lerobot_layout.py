"""Where the files of a LeRobotDataset v3.0 folder are; what a folder says about that is confined to the folder.

The layout is that of the package ``lerobot`` (https://github.com/huggingface/lerobot): many episodes to a file.
``meta/fourd`` is ours: what LeRobot has no place for. LeRobot itself does not look there.
"""

import re
from pathlib import Path
from string import Formatter

from fourd_ros.errors import InvalidDataset, PathNotAllowed

VERSION = "v3.0"

_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"

INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES = f"meta/episodes/{_FILE}.parquet"
DATA = f"data/{_FILE}.parquet"
FILMS = f"videos/{{video_key}}/{_FILE}.mp4"
EXTRAS = f"meta/fourd/{_FILE}.parquet"
CONVERSION = "meta/fourd/conversion.json"

_FIELDS = {
    "chunk_index": re.compile(r"0?[0-9]?d?"),
    "file_index": re.compile(r"0?[0-9]?d?"),
    "video_key": re.compile(""),
}
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=@-]{0,199}")


def place(folder: Path, template: str, *, chunk: int, file: int, key: str = "") -> Path:
    """The file that a template of ``info.json`` means.

    Args:
        folder: of the data set.
        template: with ``{chunk_index}``, ``{file_index}`` and ``{video_key}``.
        chunk: number of the chunk.
        file: number of the file in it.
        key: feature with the film.

    Raises:
        InvalidDataset: the template has other fields, or the key cannot name a folder.
        PathNotAllowed: the file would lie outside the folder.
    """
    _check_template(template)
    if key:
        check_key(key)
    path = folder / template.format(chunk_index=chunk, file_index=file, video_key=key)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise PathNotAllowed(
            f"'{path}' leads out of '{folder}'; if a cache keeps links there, copy the data set with 'cp -rL'"
        )
    return path


def check_key(key: str) -> None:
    """Names of features become folders.

    Raises:
        InvalidDataset: this one cannot.
    """
    if not _KEY.fullmatch(key):
        raise InvalidDataset(f"a feature is called '{key[:200]}'; a name has letters, digits and _.+=@-, up to 200")


def _check_template(template: str) -> None:
    """Only plain fields of moderate width: a format can otherwise reach into objects or ask for any memory."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise InvalidDataset(f"the path '{template}' cannot be read: {error}") from error
    for _, field, form, conversion in parts:
        if field is not None and (field not in _FIELDS or conversion or not _FIELDS[field].fullmatch(form or "")):
            raise InvalidDataset(f"the path '{template}' has a field other than {', '.join(_FIELDS)}")
