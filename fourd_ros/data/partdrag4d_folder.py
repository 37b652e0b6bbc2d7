"""Where everything lies in a folder of the layout of PartDrag-4D, and what lists of states look like.

Layout: PartRM 2025 (arXiv 2503.19913), sections 8.1 and 8.6 of the specification this was written from.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np

from fourd_ros.data.articulation import MAIN_STATES
from fourd_ros.data.episode import FILE_NAME
from fourd_ros.errors import InvalidDataset
from fourd_ros.whole_file import write_whole

PROCESSED, RENDERS, LISTS = "processed_data_partdrag4d", "render_PartDrag4D", "filelist"
GAUSSIANS, PROPAGATED, GENERATED = "gs_database", "propagated_drags", "zero123"
MAX_LIST_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class StateName:
    """Which state of which object: ``<id>_<main>_<step>[_<others>]``.

    Args:
        name: as it is written.
    """

    name: str

    def __post_init__(self) -> None:
        pieces = self.name.split("_")
        sound = FILE_NAME.fullmatch(self.name) and len(pieces) in (3, 4) and all(pieces)
        if not sound or not (pieces[1].isdigit() and pieces[2].isdigit()):
            raise InvalidDataset(
                f"'{self.name[:250]}' is no state; needed is <id>_<joint>_<step>, and _<extremes> of other joints"
            )

    @property
    def object(self) -> str:
        """Id of the object."""
        return self.name.split("_")[0]

    @property
    def state(self) -> str:
        """Name of the state within its object."""
        return self.name.split("_", 1)[1]

    @property
    def step(self) -> int:
        """Within its sequence."""
        return int(self.name.split("_")[2])

    def at_step(self, step: int) -> "StateName":
        """Another state of the same sequence."""
        pieces = self.name.split("_")
        return StateName("_".join((*pieces[:2], str(step), *pieces[3:])))


@dataclass(frozen=True)
class PartDrag4DFolder:
    """Paths in such a folder; nothing is read until it is asked for.

    Args:
        root: the folder.
    """

    root: Path

    def render(self, state: StateName) -> Path:
        """Folder with the pictures and cameras of a state."""
        return self.root / RENDERS / state.name

    def picture(self, state: StateName, view: int) -> Path:
        """A picture, RGBA."""
        return self.render(state) / f"{view:03d}.png"

    def camera(self, state: StateName, view: int) -> Path:
        """Of a picture."""
        return self.render(state) / f"{view:03d}_camera.json"

    def generated(self, state: StateName, view: int) -> Path:
        """A picture that was made of view 0 and not rendered."""
        return self.root / GENERATED / state.name / f"{view:03d}_rgba.png"

    def processed(self, name: str) -> Path:
        """Folder of an object, whichever class it is of.

        Raises:
            InvalidDataset: there is none.
        """
        if name not in self._processed:
            raise InvalidDataset(f"'{self.root / PROCESSED}' has no object '{name}' in any class")
        return self._processed[name]

    def points(self, state: StateName) -> Path:
        """Points of a state."""
        return self.processed(state.object) / "motion" / f"{state.state}.ply"

    def visible(self, state: StateName) -> Path | None:
        """Indices of the points that view 0 sees, if there is such a file.

        The original writes ``<state>_visible.npy`` and reads ``<state>_cam0_visible.npy``; either will do here.
        """
        folder = self.processed(state.object) / "motion"
        for ending in ("_cam0_visible.npy", "_visible.npy"):
            if (path := folder / f"{state.state}{ending}").exists():
                return path
        return None

    def joint_table(self, name: str) -> Path:
        """Of an object."""
        return self.processed(name) / "motion.json"

    def propagated(self, state: StateName) -> Path:
        """Pixels of the part that a drag takes hold of, as (row, column)."""
        return self.root / PROPAGATED / state.name / "propagated_indices.npy"

    def gaussians(self, state: StateName) -> Path:
        """Gaussians of a state, as the original keeps them."""
        return self.root / GAUSSIANS / f"eval_gaussians_{state.name}.ply"

    def list(self, name: str) -> Path:
        """A list of states."""
        return self.root / LISTS / f"{name}.txt"

    @property
    def states(self) -> tuple[StateName, ...]:
        """That have a folder of pictures, by name."""
        folders = sorted((self.root / RENDERS).glob("[!.]*_*_*"))
        return tuple(StateName(path.name) for path in folders if path.is_dir())

    @cached_property
    def _processed(self) -> dict[str, Path]:
        found = sorted((self.root / PROCESSED).glob("[!.]*/[!.]*"))
        return {path.name: path for path in found if path.is_dir()}


def read_states(path: Path | str) -> tuple[StateName, ...]:
    """States of a list: lines that are paths of folders, of which the last part counts; ``#`` begins a comment.

    Raises:
        InvalidDataset: missing, too large, no text, or a line that ends in no state.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_LIST_BYTES:
            raise InvalidDataset(f"'{path}' has {path.stat().st_size} bytes; at most {MAX_LIST_BYTES} are read")
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidDataset(f"'{path}' is no list of states: {error}") from error
    return tuple(StateName(PurePosixPath(line).name) for line in lines if line and not line.startswith("#"))


def write_states(path: Path, states: Iterable[StateName]) -> None:
    """Write such a list, whole or not at all."""
    write_whole(path, "".join(f"{RENDERS}/{state.name}\n" for state in states))


Pair = tuple[StateName, StateName]


def training_pairs(
    folder: PartDrag4DFolder, listed: Sequence[StateName], *, with_gaussians: bool = False
) -> tuple[Pair, ...]:
    """Every listed state with every other one of its sequence that has pictures.

    Args:
        folder: of the data set.
        listed: states that are starting points.
        with_gaussians: only targets that the database of Gaussians has, as in the original.
    """
    return tuple(
        (source, target)
        for source in listed
        for target in _others(folder, source)
        if not with_gaussians or folder.gaussians(target).exists()
    )


def validation_pairs(
    folder: PartDrag4DFolder, listed: Sequence[StateName], rng: np.random.Generator
) -> tuple[Pair, ...]:
    """For every object one listed state, drawn by `rng`, with all others of its sequence."""
    by_object: dict[str, list[StateName]] = {}
    for state in listed:
        by_object.setdefault(state.object, []).append(state)
    sources = [states[int(rng.integers(len(states)))] for states in by_object.values()]
    return tuple((source, target) for source in sources for target in _others(folder, source))


def _others(folder: PartDrag4DFolder, state: StateName) -> list[StateName]:
    others = (state.at_step(step) for step in range(MAIN_STATES) if step != state.step)
    return [other for other in others if folder.render(other).is_dir()]
