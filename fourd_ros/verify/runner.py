"""Runs the checks of a system over a whole folder of vectors."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fourd_ros.verify.checks import Check, find_check, load_system
from fourd_ros.verify.comparison import Comparison, Verdict
from fourd_ros.verify.manifest import NAME, Manifest, covers
from fourd_ros.verify.vectors import VectorFolder

_DOCUMENTS = (".md", ".keep")  # they describe or hold the folder, nothing in them can be compared


@dataclass(frozen=True, kw_only=True)
class Row:
    """What became of one file.

    Args:
        file: path in the folder, or a pattern of the manifest that no file matches.
        verdicts: tensors compared; none of a file that other checks read.
        described: tensors that the manifest describes.
        problem: why it fails even if no tensor is outside its tolerance.
    """

    file: str
    verdicts: tuple[Verdict, ...] = field(default=())
    described: int = 0
    problem: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem and all(verdict.ok for verdict in self.verdicts)

    @property
    def worst(self) -> Verdict | None:
        """The tensor to look at: a failed one first, then the largest error."""
        return max(self.verdicts, key=lambda verdict: (not verdict.ok, verdict.error), default=None)


Progress = Callable[[list[str]], Iterable[str]]


def verify(system: str, root: Path, *, progress: Progress = iter) -> list[Row]:
    """A row for every file that has a check, and for everything that is missing or not covered.

    A file without a check of its own is covered when a check reads it.

    Args:
        system: name the checks are registered under.
        root: folder with MANIFEST.json.
        progress: wraps the files that are gone through.

    Raises:
        UnknownSystem: no checks under that name.
        InvalidManifest: MANIFEST.json is missing or unreadable.
    """
    load_system(system)
    manifest, folder = Manifest(root), VectorFolder(root)
    files = [file for file in folder.files() if file != NAME and not file.endswith(_DOCUMENTS)]
    checked = {file: found for file in files if (found := find_check(system, file)) is not None}
    rows = [_run(checked[file], file, folder, manifest) for file in progress(list(checked))]
    read = frozenset(folder.read)
    rows += [_input(file, folder, manifest, read=file in read) for file in files if file not in checked]
    return rows + list(_missing(manifest, files))


def _missing(manifest: Manifest, files: list[str]) -> Iterator[Row]:
    for pattern in manifest.patterns:
        if not any(covers(pattern, file) for file in files):
            yield Row(file=pattern, problem="named in the manifest, not in the folder")


def _input(file: str, folder: VectorFolder, manifest: Manifest, *, read: bool) -> Row:
    """Of a file without a check of its own."""
    described = len(manifest.tensor_names(file))
    problem = _lacking(file, folder.load(file), manifest) if read else "no check, and no check reads it"
    return Row(file=file, described=described, problem=problem)


def _lacking(file: str, content: Any, manifest: Manifest) -> str:
    """What is wrong with a file of tensors that lacks some that the manifest lists for this very file."""
    lacking = sorted(manifest.listed(file) - content.keys()) if isinstance(content, dict) else []
    return f"named in the manifest, not in the file: {', '.join(lacking)}" if lacking else ""


def _run(run: Check, file: str, folder: VectorFolder, manifest: Manifest) -> Row:
    described = len(manifest.tensor_names(file))
    verdicts: tuple[Verdict, ...] = ()
    problem = ""
    try:
        vectors = folder.load(file)
        compare = Comparison(file, vectors, manifest)
        try:
            run(folder, vectors, compare)
        finally:
            verdicts = tuple(compare.verdicts)
        problem = _lacking(file, vectors, manifest) if verdicts else "the check compared nothing"
    except Exception as error:  # a check may fail in any way; the other files still get their turn
        problem = f"{type(error).__name__}: {error}"
    return Row(file=file, verdicts=verdicts, described=described, problem=problem)
