"""Features of masks in files: what a language head learns to say of each pixel. The layout is that of 4D LangSplat.

Of a frame ``NAME``, ``NAME_f.npy`` holds a row a mask [n, C], and ``NAME_s.npy`` the row of each pixel [levels, H, W],
-1 where there is none. Both are plain arrays; pickles are never read. ``texts.json`` may stand beside them and say
which encoder the features are like, see `ModelTexts`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.scene_language.language_head import GRANULARITIES
from fourd_ros.scene_language.text_search import TEXTS_FILE, ModelTexts
from fourd_ros.whole_file import whole_file

VECTORS, ROWS = "_f.npy", "_s.npy"
LEVELS = 1 + len(GRANULARITIES)
"""The first one, ``default``, is learnt by nobody."""

MAX_VECTOR_BYTES, MAX_ROW_BYTES = 1 << 30, 4 << 30


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskFeatures:
    """Of a frame.

    Args:
        vectors: of masks, shape [n, C].
        rows: of each pixel among them, -1 for none, shape [levels, H, W]; `LEVELS`, or 1 that counts for all.
    """

    vectors: NDArray[np.float32]
    rows: NDArray[np.int32]

    @property
    def learnt_rows(self) -> NDArray[np.int32]:
        """Those of `GRANULARITIES`, shape [3, H, W]."""
        return self.rows[1:] if len(self.rows) == LEVELS else np.repeat(self.rows, len(GRANULARITIES), axis=0)


def feature_frames(folder: Path) -> tuple[str, ...]:
    """Names of the frames that a folder has rows of, in their order.

    Raises:
        InvalidDataset: there are none.
    """
    names = tuple(sorted(path.name.removesuffix(ROWS) for path in folder.glob(f"*{ROWS}")))
    if not names:
        raise InvalidDataset(f"'{folder}' has no *{ROWS}; see 'fourd data scene-features'")
    return names


def read_features(folder: Path, frame: str) -> MaskFeatures:
    """Vectors and rows of a frame.

    Raises:
        InvalidDataset: a file is missing, damaged or of another kind, or a row is not there.
    """
    vectors = read_vectors(folder, frame)
    return MaskFeatures(vectors=vectors, rows=read_rows(folder, frame, vectors=len(vectors)))


def read_vectors(folder: Path, frame: str) -> NDArray[np.float32]:
    """Vectors of the masks of a frame, shape [n, C]; see `read_features` for the errors."""
    path = folder / f"{frame}{VECTORS}"
    found = _array(path, MAX_VECTOR_BYTES)
    if found.ndim != 2 or found.dtype.kind != "f" or not found.shape[1] or not np.isfinite(found).all():
        raise InvalidDataset(f"'{path}' is {found.dtype} {list(found.shape)}; needed are finite numbers [n, C]")
    return found.astype(np.float32)


def read_rows(folder: Path, frame: str, *, vectors: int) -> NDArray[np.int32]:
    """Rows of the pixels of a frame, shape [levels, H, W].

    Args:
        folder: of the files.
        frame: its name.
        vectors: how many there are.

    Raises:
        InvalidDataset: see `read_features`.
    """
    path = folder / f"{frame}{ROWS}"
    found = _array(path, MAX_ROW_BYTES)
    if found.ndim != 3 or found.shape[0] not in (1, LEVELS) or found.dtype.kind not in "fiu" or not found.size:
        raise InvalidDataset(
            f"'{path}' is {found.dtype} {list(found.shape)}; needed are numbers [{LEVELS}, H, W] or [1, H, W]"
        )
    if not (found >= -1).all() or not (found < vectors).all() or (found % 1).any():
        raise InvalidDataset(f"'{path}' has rows that are not there; needed are whole numbers from -1 to {vectors - 1}")
    return found.astype(np.int32)


def write_features(folder: Path, frame: str, features: MaskFeatures) -> None:
    """Write both files of a frame, each whole or not at all; rows as float32, as 4D LangSplat has them."""
    for path, array in (
        (folder / f"{frame}{VECTORS}", features.vectors),
        (folder / f"{frame}{ROWS}", features.rows.astype(np.float32)),
    ):
        with whole_file(path) as file:
            np.save(file, array, allow_pickle=False)


def texts_beside(folders: Sequence[Path]) -> ModelTexts | None:
    """What the ``texts.json`` of folders of features, or of models, say together; None where there is none.

    Raises:
        InvalidModel: one of them cannot be read.
        InvalidDataset: they name different encoders.
    """
    told = [ModelTexts.from_folder(folder) for folder in folders if (folder / TEXTS_FILE).is_file()]
    if not told:
        return None
    if len(names := {one.encoder for one in told}) > 1:
        raise InvalidDataset(f"features like {sorted(names)}; needed are those of one encoder")
    return replace(told[0], texts=tuple(sorted({text for one in told for text in one.texts})))


def _array(path: Path, max_bytes: int) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InvalidDataset(f"'{path}' is no plain array that can be read: {error}") from error
    if not isinstance(array, np.ndarray) or array.nbytes > max_bytes:
        raise InvalidDataset(f"'{path}' is no array of at most {max_bytes:,} bytes")
    return array
