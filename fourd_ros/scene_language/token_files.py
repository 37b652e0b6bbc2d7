"""Tokens of frames in files, so that a language head is trained without the large network before it.

A file is a frame: safetensors with ``layer_<n>`` [P, 2 C], float16, of the layers that the head reads, and ``special``
and ``image_size``. The original keeps all 24 layers in float32, twelve times as much.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from fourd_ros.data.episode_shards import Shard, write_shard
from fourd_ros.errors import InvalidCheckpoint, InvalidDataset, InvalidInput
from fourd_ros.scene_language.aggregator import FrameTokens
from fourd_ros.scene_language.frames import PATCH, prepare_frames, read_image
from fourd_ros.scene_language.geometry_stream import GeometryStream
from fourd_ros.scene_language.official_tokens import read_official_tokens

SUFFIX, LAYER = ".safetensors", "layer_"
SPECIAL, IMAGE_SIZE = "special", "image_size"


def write_tokens(path: Path, tokens: FrameTokens, *, layers: Collection[int]) -> None:
    """Write the tokens of one frame, whole or not at all.

    Args:
        path: of the file.
        tokens: of one frame of one stream.
        layers: to keep.

    Raises:
        InvalidInput: several frames, a layer that is missing, or values beyond those of float16.
    """
    if tokens.camera.shape[:2] != (1, 1):
        raise InvalidInput(f"tokens of {tuple(tokens.camera.shape[:2])} streams and frames; a file holds one frame")
    if missing := sorted(set(layers) - set(tokens.layers)):
        raise InvalidInput(f"no tokens of the layers {missing}; there are {sorted(tokens.layers)}")
    arrays: dict[str, NDArray[np.generic]] = {
        f"{LAYER}{layer}": _halved(tokens.layers[layer][0, 0], path) for layer in sorted(set(layers))
    }
    arrays[SPECIAL] = np.array([tokens.special], np.int32)
    arrays[IMAGE_SIZE] = np.array(tokens.image_size, np.int32)
    write_shard(path, arrays)


def read_tokens(paths: Sequence[Path]) -> FrameTokens:
    """Frames side by side, as one clip of S frames; B = 1, float32.

    Raises:
        InvalidDataset: no file, one that is damaged or none of tokens, or frames that do not fit together.
    """
    shards = [Shard(path) for path in paths]
    if not shards:
        raise InvalidDataset("no token files; needed is one at least")
    names = sorted(name for name in shards[0].names if name.startswith(LAYER))
    about = [(_numbers(shard, SPECIAL, 1), _numbers(shard, IMAGE_SIZE, 2)) for shard in shards]
    shapes = {(tuple(shard.array(name).shape), *of) for shard, of in zip(shards, about, strict=True) for name in names}
    if not names or len(shapes) != 1:
        raise InvalidDataset(f"'{paths[0]}' and {len(paths) - 1} more hold no tokens of one size: {sorted(shapes)[:3]}")
    try:
        layers = {
            int(name.removeprefix(LAYER)): torch.from_numpy(
                np.stack([shard.array(name).astype(np.float32) for shard in shards])
            )[None]
            for name in names
        }
    except ValueError as error:
        raise InvalidDataset(f"'{paths[0]}' holds no tokens: {error}") from error
    (special,), (height, width) = about[0]
    return FrameTokens(layers=layers, camera=layers[max(layers)][:, :, 0], special=special, image_size=(height, width))


def official_frame(path: Path, *, image: Path, layers: Collection[int]) -> FrameTokens:
    """Some layers of a token file of the original; its pickle is not executed, see `read_official_tokens`.

    Args:
        path: ``streamvggt_token/NNNNNN.npy``.
        image: the picture that it was made from, whose size is in no token file.
        layers: that are kept.

    Raises:
        InvalidCheckpoint: no such file, fewer layers, or tokens of a picture of another size.
        UnsafeCheckpoint: see `read_official_tokens`.
    """
    found, special = read_official_tokens(path)
    height, width = prepare_frames([read_image(image)], mode="original", official_compat=True).pixels.shape[-2:]
    count = special + (height // PATCH) * (width // PATCH)
    if max(layers) >= len(found) or any(layer.shape[:3] != (1, 1, count) for layer in found):
        raise InvalidCheckpoint(
            f"'{path}' has {len(found)} layers of {found[0].shape}; needed are layers {sorted(layers)} of [1, 1, "
            f"{count}, 2 C] for '{image}'"
        )
    kept = {layer: torch.from_numpy(found[layer].astype(np.float32)) for layer in sorted(set(layers))}
    camera = kept[max(kept)][:, :, 0]
    return FrameTokens(layers=kept, camera=camera, special=special, image_size=(height, width))


def streamed_frames(
    stream: GeometryStream, images: Sequence[Path], *, official_compat: bool = False
) -> Iterator[FrameTokens]:
    """Tokens of pictures in their order, each after the ones before; see `prepare_frames`, mode ``original``."""
    device = next(stream.network.parameters()).device
    for path in images:
        prepared = prepare_frames([read_image(path)], mode="original", official_compat=official_compat)
        yield stream.step(torch.from_numpy(prepared.pixels).to(device)).tokens


def _halved(tokens: torch.Tensor, path: Path) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        half = np.ascontiguousarray(tokens.float().cpu().numpy().astype(np.float16))
    if not np.isfinite(half).all():
        raise InvalidInput(f"tokens for '{path}' reach {float(tokens.abs().max()):g}; float16 ends at 65504")
    return half


def _numbers(shard: Shard, name: str, count: int) -> tuple[int, ...]:
    found = shard.array(name)
    if found.shape != (count,) or found.min() < 1:
        raise InvalidDataset(f"'{shard.path}' has '{name}' {found.tolist()}; needed are {count} positive numbers")
    return tuple(found.tolist())
