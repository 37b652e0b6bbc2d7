"""Pictures, tokens and features of scenes as training samples of a language head."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset
from fourd_ros.scene_language.feature_files import feature_frames, read_features
from fourd_ros.scene_language.frames import PATCH, Mode, prepare_frames, read_image
from fourd_ros.scene_language.token_files import SUFFIX, read_tokens

PICTURES = (".png", ".jpg", ".jpeg")
LAYER = "layer_"


@dataclass(frozen=True, kw_only=True)
class SceneFolders:
    """Where a scene has what; as in HyperNeRF's scenes by default.

    Args:
        pictures: below the folder of the scene.
        tokens: of `fourd data scene-tokens`.
        features: of `fourd data scene-features`.
    """

    pictures: str = "rgb/2x"
    tokens: str = "tokens"
    features: str = "clip_features-all_dim3"


@dataclass(frozen=True, kw_only=True)
class LanguageFrame:
    """A frame with all that is learnt from.

    Args:
        name: of the frame.
        picture: its file.
        tokens: its file.
        features: folder of its files.
    """

    name: str
    picture: Path
    tokens: Path
    features: Path


def scene_frames(scene: Path, folders: SceneFolders) -> tuple[LanguageFrame, ...]:
    """The frames of a scene that there are features of, in their order.

    Raises:
        InvalidDataset: no features, or a frame without picture or tokens.
    """
    features = scene / folders.features
    return tuple(
        LanguageFrame(
            name=name,
            picture=_existing([scene / folders.pictures / f"{name}{suffix}" for suffix in PICTURES]),
            tokens=_existing([scene / folders.tokens / f"{name}{SUFFIX}"]),
            features=features,
        )
        for name in feature_frames(features)
    )


@dataclass(frozen=True, kw_only=True)
class LanguageSamples:
    """Samples by index, all of one size.

    Args:
        frames: of all scenes.
        as_original: tokens are those of ``--as-original``, or of the original: pictures that are wider than high are
            turned by 90 degrees, and the whole picture is learnt, though tokens are of its whole patches alone. Else
            that part alone is learnt.
    """

    frames: Sequence[LanguageFrame]
    as_original: bool = False

    def __len__(self) -> int:
        return len(self.frames)

    def sample(self, index: int, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        """One frame; nothing is drawn.

        Returns:
            ``image`` 0..1 [3, H, W]; ``layer_<n>``, tokens [P, 2 C]; ``special``, how many of them are not of patches,
            and ``seen``, rows and columns that they are of [2]; ``target`` features [3, c, H, W], of small, middle and
            large masks; ``mask``, where there is one [3, 1, H, W].

        Raises:
            InvalidDataset: what the files of the frame hold does not fit together.
            InvalidImage: the picture cannot be read.
        """
        frame = self.frames[index]
        pixels = read_image(frame.picture)
        mode: Mode = "gt" if self.as_original else "original"
        image = prepare_frames([pixels], mode=mode, official_compat=self.as_original).pixels[0]
        tokens = read_tokens([frame.tokens])
        height, width = image.shape[1:]
        if tokens.image_size != (height // PATCH * PATCH, width // PATCH * PATCH):
            raise InvalidDataset(
                f"'{frame.tokens}' is of {tokens.image_size} rows and columns, '{frame.picture}' of {(height, width)}; "
                "were tokens made of it, with data.as_original as with --as-original?"
            )
        features = read_features(frame.features, frame.name)
        rows = self._placed(features.learnt_rows, pixels.shape[:2], (height, width), frame)
        known = rows >= 0
        target = np.zeros((*rows.shape, features.vectors.shape[1]), np.float32)
        target[known] = features.vectors[rows[known]]
        return {
            "image": image,
            **{f"{LAYER}{layer}": values[0, 0].numpy() for layer, values in tokens.layers.items()},
            "special": np.array(tokens.special),
            "seen": np.array(tokens.image_size),
            "target": np.ascontiguousarray(target.transpose(0, 3, 1, 2)),
            "mask": known[:, None],
        }

    def _placed(
        self, rows: NDArray[np.int32], size: tuple[int, ...], shown: tuple[int, int], frame: LanguageFrame
    ) -> NDArray[np.int32]:
        """Rows of the pixels that are learnt."""
        if rows.shape[1:] != size:
            raise InvalidDataset(
                f"features of '{frame.name}' in '{frame.features}' are of {rows.shape[1:]} pixels, the picture "
                f"of {size}"
            )
        if self.as_original and size[1] > size[0]:
            rows = np.rot90(rows, axes=(1, 2))
        top, left = ((have - want) // 2 for have, want in zip(rows.shape[1:], shown, strict=True))
        return rows[:, top : top + shown[0], left : left + shown[1]]


def _existing(paths: Sequence[Path]) -> Path:
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise InvalidDataset(f"there are features of '{paths[0].stem}', but no {' or '.join(map(str, paths))}")
    return found
