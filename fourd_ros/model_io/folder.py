"""Model folders: the layout of diffusers (``model_index.json`` and a sub-folder a component) with a card.

Reading needs no torch. A folder never leads outside itself: links that do are refused.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.errors import CorruptModel, InvalidModel, PathNotAllowed, UnknownModel
from fourd_ros.model_io.card import (
    CARD,
    README,
    FileRecord,
    ModelCard,
    card_text,
    check_relative,
    read_card,
    write_card,
)
from fourd_ros.model_io.components import Component, describe_network, save_self_reading
from fourd_ros.model_io.progress import with_progress
from fourd_ros.model_io.weights import MAX_SHARD_BYTES, STEM, WeightFiles, save_weights
from fourd_ros.model_io.writing import writing
from fourd_ros.resources import find_resource
from fourd_ros.strict_json import read_object, to_bytes
from fourd_ros.whole_file import whole_folder, write_whole

if TYPE_CHECKING:
    from torch import nn

INDEX = "model_index.json"
CONFIG = "config.json"
SHIPPED = "models"

_CLASS_NAME = "_class_name"
_COMPONENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_STEMS = {"transformers": "model"}
"""Beginning of the names of weight files where it is not the usual one."""


class ModelFolder:
    """A model folder for reading.

    Args:
        path: the folder.

    Attributes:
        path: the folder.
        model_class: name of the class that its components make up.
        components: library and class name of each component.

    Raises:
        InvalidModel: there is no such folder, or its ``model_index.json`` is missing or malformed.
        PathNotAllowed: a link in it leads outside.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not (self.path / INDEX).is_file():
            raise InvalidModel(f"'{self.path}' is no model folder: it has no {INDEX}")
        _refuse_links_outside(self.path)
        index = read_object(self.path / INDEX, error=InvalidModel)
        if not isinstance(index.get(_CLASS_NAME), str):
            raise InvalidModel(f"'{self.path / INDEX}' has no '{_CLASS_NAME}'")
        self.model_class: str = index[_CLASS_NAME]
        self.components: dict[str, tuple[str, str]] = dict(_components(index))

    @cached_property
    def card(self) -> ModelCard:
        """What ``fourd.json`` says; raises InvalidModel where there is none."""
        return read_card(self.path)

    @cached_property
    def sha256(self) -> str:
        """One hash for all files but the README, which says nothing to a program."""
        lines = (f"{record.sha256} {path}\n" for path, record in sorted(self.card.files.items()) if path != README)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def file(self, relative: str) -> Path:
        """A file of the folder.

        Raises:
            InvalidModel: it is not there, or its name leads outside.
        """
        check_relative(relative)
        path = self.path / relative
        if not path.is_file():
            raise InvalidModel(f"'{self.path}' has no '{relative}'")
        return path

    def component(self, name: str) -> Path:
        """The sub-folder of a component.

        Raises:
            InvalidModel: there is no such component.
        """
        if name not in self.components:
            raise InvalidModel(f"'{self.path}' has no component '{name}'; it has {sorted(self.components)}")
        path = self.path / name
        if not path.is_dir():
            raise InvalidModel(f"'{self.path}' lacks the sub-folder of its component '{name}'")
        return path

    def config(self, name: str) -> dict[str, Any]:
        """The configuration of a network: ``config.json`` of a component without the names that begin with ``_``.

        Raises:
            InvalidModel: it is missing, malformed, or of another class than ``model_index.json`` says.
        """
        path = self.component(name) / CONFIG
        found = read_object(path, error=InvalidModel)
        wanted = self.components[name][1]
        if found.get(_CLASS_NAME, wanted) != wanted:
            raise InvalidModel(f"'{path}' is of {found[_CLASS_NAME]!r}, '{INDEX}' says '{wanted}'")
        return {key: value for key, value in found.items() if not key.startswith("_")}

    def weights(self, name: str) -> WeightFiles:
        """The weights of a component."""
        return WeightFiles(self.component(name))

    def problems(self, *below: str) -> list[str]:
        """Every way in which files differ from those that were written; hashes all of them.

        Args:
            below: only these files and folders; everything without.
        """
        listed = {path: record for path, record in self.card.files.items() if _is_below(path, below)}
        found = {path for path in _files(self.path) if path != CARD and _is_below(path, below)}
        problems = [f"{path!r} is missing" for path in sorted(listed.keys() - found)]
        problems += [f"{path!r} is not listed in {CARD}" for path in sorted(found - listed.keys())]
        for path in with_progress(sorted(listed.keys() & found), task="checking", unit="file"):
            try:
                actual = _record(self.path / path, expected_size=listed[path].size)
            except OSError as error:
                problems.append(f"{path!r} cannot be read: {error.strerror}")
                continue
            if actual != listed[path]:
                what = "size" if actual.size != listed[path].size else "content"
                problems.append(f"{path!r} has another {what} than {CARD} says")
        return problems

    def check(self, *below: str) -> None:
        """Refuse a folder with `problems`.

        Raises:
            CorruptModel: naming all of them.
        """
        problems = self.problems(*below)
        if problems:
            lines = "".join(f"\n  {problem}" for problem in problems)
            raise CorruptModel(f"'{self.path}' is not as it was written; fetch it again:{lines}")


def shipped_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in find_resource(SHIPPED).glob(f"*/{CARD}"))


def shipped_model(name: str) -> Path:
    """The folder of a model that comes with the package.

    Raises:
        UnknownModel: none of that name is shipped; those that are, are listed.
        MissingResource: the package was installed without its models.
    """
    names = shipped_names()
    if name not in names:
        raise UnknownModel(f"no model '{name}' is shipped; shipped are: {', '.join(names) or 'none'}")
    return find_resource(f"{SHIPPED}/{name}")


def find_model(model: str) -> Path:
    """The folder that a user means: a path, or the name of a model that comes with the package.

    Raises:
        UnknownModel: neither is there.
        MissingResource: the package was installed without its models.
    """
    return Path(model) if os.path.exists(model) else shipped_model(model)


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse to write a model where something is, before work is done for it.

    Raises:
        InvalidModel: `path` exists and is not to be overwritten, or is no model folder.
    """
    if os.path.exists(path) and not overwrite:
        raise InvalidModel(f"'{path}' exists already; name another folder or ask to overwrite it")
    if os.path.exists(path) and not (path / INDEX).is_file():
        raise InvalidModel(f"'{path}' is no model folder, so it is not overwritten")


def write_model(
    path: Path | str,
    components: Mapping[str, "nn.Module | Component | Any"],
    *,
    card: ModelCard,
    model_class: str,
    extra: Mapping[str, bytes | Path] | None = None,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    overwrite: bool = False,
) -> ModelFolder:
    """Write a model folder, whole or not at all.

    Args:
        path: folder to create.
        components: by name: networks; `Component` where the weights come from elsewhere; schedulers, tokenizers and
            image processors of diffusers and transformers.
        card: what is known; its `files` are filled in here.
        model_class: name in `registry.MODELS` of what the components make up.
        extra: further files by their path in the folder: content, or the file to copy.
        max_shard_bytes: weights beyond this are split.
        overwrite: replace a model folder at `path`.

    Raises:
        InvalidModel: `path` exists (and is no model folder or must stay), a name is no plain name, two things have
            the same name, or a tensor cannot be stored.
        UnknownModel: a network is not registered.
    """
    with _new_folder(Path(path), overwrite=overwrite) as folder:
        index: dict[str, Any] = {_CLASS_NAME: model_class}
        for name, component in components.items():
            index[name] = list(_write_component(component, folder, name, max_shard_bytes))
        for relative, content in (extra or {}).items():
            _write_extra(content, folder, relative)
        (folder / INDEX).write_bytes(to_bytes(index))
        (folder / README).write_text(card_text(card), encoding="utf-8")
        _seal(folder, card)
    return ModelFolder(path)


def adopt_model(path: Path | str, card: ModelCard, *, overwrite: bool = False) -> ModelFolder:
    """Give a folder in diffusers' layout the card that it lacks; from then on it is known when a file changes.

    Args:
        path: the folder; its files stay as they are.
        card: what you know about it: above all its licence. Its `files` are filled in here.
        overwrite: replace a card that is there.

    Raises:
        InvalidModel: no such folder, it has a card, a name in it cannot be shown, or it cannot be written.
    """
    folder = ModelFolder(path)
    if (folder.path / CARD).exists() and not overwrite:
        raise InvalidModel(f"'{folder.path}' has a {CARD} already; ask to overwrite it")
    with writing(folder.path):
        _seal(folder.path, card)
    return ModelFolder(path)


def describe_model(path: Path | str, card: ModelCard, *, results: str = "") -> None:
    """Give a model folder another card, in ``fourd.json`` and ``README.md``; its other files stay as they are.

    Args:
        path: the folder.
        card: what is known now; its `files` are filled in here.
        results: as of `card_text`.
    """
    folder = ModelFolder(path).path
    with writing(folder):
        write_whole(folder / README, card_text(card, results=results))
        _seal(folder, card)


def _write_component(
    component: "nn.Module | Component | Any", folder: Path, name: str, max_shard_bytes: int
) -> tuple[str, str]:
    if not _COMPONENT_NAME.fullmatch(name):
        raise InvalidModel(f"'{name}' is no name for a component; needed are letters, digits and _ after a letter")
    if not isinstance(component, Component):
        if not hasattr(component, "state_dict"):
            return save_self_reading(component, folder / name)
        component = describe_network(component)
    save_weights(
        component.weights, folder / name, max_shard_bytes=max_shard_bytes, stem=_STEMS.get(component.library, STEM)
    )
    try:
        config = to_bytes({_CLASS_NAME: component.class_name, **component.config})
    except (TypeError, ValueError) as error:
        raise InvalidModel(f"the config of {component.class_name} cannot be stored as JSON: {error}") from error
    (folder / name / CONFIG).write_bytes(config)
    return component.library, component.class_name


def _write_extra(content: bytes | Path, folder: Path, relative: str) -> None:
    check_relative(relative)
    target = folder / relative
    if target.exists() or relative in (INDEX, README, CARD):
        raise InvalidModel(f"'{relative}' is a file of the model already; give the extra file another name")
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, Path):
        shutil.copyfile(content, target)
    else:
        target.write_bytes(content)


def _seal(folder: Path, card: ModelCard) -> None:
    """Write the card with the hashes of all files that are there."""
    files = {path: _record(folder / path) for path in _files(folder) if path != CARD}
    write_card(replace(card, files=files), folder)


@contextmanager
def _new_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """A folder to fill, which gets the name `path` when the block ends well and vanishes otherwise."""
    check_target(path, overwrite=overwrite)
    with writing(path), whole_folder(path) as new:
        yield new
        check_target(path, overwrite=overwrite)  # somebody else may have been quicker


def _components(index: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Components of a ``model_index.json``: pairs of library and class; pairs of null are left out by choice."""
    for name, value in index.items():
        if not isinstance(value, list) or len(value) != 2 or not all(isinstance(part, str) for part in value):
            continue
        if not _COMPONENT_NAME.fullmatch(name):
            raise InvalidModel(f"'{INDEX}' names the component '{name}'; needed are letters, digits and _")
        yield name, (value[0], value[1])


def _files(folder: Path) -> Iterator[str]:
    """Paths of all files below `folder`; hidden ones (of version control, of downloads) do not belong to the model."""
    for directory, subfolders, names in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith("."):
                yield Path(directory, name).relative_to(folder).as_posix()


def _refuse_links_outside(folder: Path) -> None:
    root = folder.resolve()
    for directory, subfolders, names in os.walk(folder):
        for path in (Path(directory, name) for name in (*subfolders, *names)):
            if path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(root):
                raise PathNotAllowed(f"'{path}' links to what lies outside of the folder; make a whole copy ('cp -rL')")


def _is_below(path: str, places: tuple[str, ...]) -> bool:
    return not places or any(path == place or path.startswith(f"{place}/") for place in places)


def _record(path: Path, *, expected_size: int | None = None) -> FileRecord:
    """Size and hash of a file; a file of another size than expected needs no hash to differ."""
    size = path.stat().st_size
    if expected_size not in (None, size):
        return FileRecord(size=size, sha256="0" * 64)
    with path.open("rb") as file:
        return FileRecord(size=size, sha256=hashlib.file_digest(file, "sha256").hexdigest())
