"""Preparation of frames, and the token files that the original makes of them."""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fourd_ros.scene_language.frames import Mode, PreparedFrames, prepare_frames, read_image
from fourd_ros.scene_language.official_tokens import read_official_tokens
from fourd_ros.scene_language.token_cache import KeepWindow
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.langvggt.folder import EXACT, SYSTEM, meanings, numpy_of, settings, torch_of
from fourd_ros.verify.langvggt.geometry import step_by_step
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

PICTURES, FRAMES = "png", "rgb_2x"
_RETURNED = re.compile(r"returned \(\w+,\s*\w+\)\s*=\s*\((\d+),\s*(\d+)\)")
_STEP = re.compile(r"\[::(\d+), ::(\d+)\]")
_FOLDERS = 2


@check(SYSTEM, "preprocess.safetensors")
def preprocess(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """Single images and several of different sizes, in every mode."""
    texts = meanings(folder, compare.file)
    pictures = sorted(folder.path(PICTURES).iterdir())
    for name in vectors:
        which, mode = name.split(".")
        chosen = [pictures[int(digit)] for digit in which.removeprefix("batch")] if "batch" in which else None
        made = _prepared(chosen or [path for path in pictures if path.stem == which], cast(Mode, mode))
        step = _STEP.search(texts[name])
        rows, columns = (int(number) for number in step.groups()) if step else (1, 1)
        compare(name, np.rint(made.pixels * 255).astype(np.uint8)[..., ::rows, ::columns], tolerance=EXACT)
        if returned := _RETURNED.search(texts[name]):
            wanted = [int(number) for number in returned.groups()]
            compare(f"{name}: width and height", [made.width, made.height], expected=wanted, tolerance=EXACT)


@check(SYSTEM, "streamvggt_token/*.npy")
def token_files(folder: VectorFolder, _: Path, compare: Comparison) -> None:
    """All layers of one frame of a stream with the window of the original."""
    stored, special = read_official_tokens(folder.path(compare.file))
    made, first_patch = _streamed(folder)
    layers = made[Path(compare.file).stem]
    compare("layers and first patch", [len(layers), first_patch], expected=[len(stored), special], tolerance=EXACT)
    for number, (ours, theirs) in enumerate(zip(layers, stored, strict=True)):
        bound = Tolerance(atol=5e-5 * float(np.abs(theirs).max()), rtol=1e-4)
        compare(f"layer {number}", ours, expected=theirs, tolerance=bound)


@lru_cache(maxsize=_FOLDERS)
def _streamed(folder: VectorFolder) -> tuple[dict[str, list[NDArray[Any]]], int]:
    """Tokens of every layer by frame."""
    paths = sorted(folder.path(FRAMES).iterdir())
    images = torch_of(_prepared(paths, "original").pixels)
    frames, _ = step_by_step(folder, images[None], KeepWindow(frames=settings(folder)["max_num"], anchor=False))
    named = {
        path.stem: [numpy_of(tokens) for tokens in frame.layers.values()]
        for path, frame in zip(paths, frames, strict=True)
    }
    return named, frames[0].special


def _prepared(paths: list[Path], mode: Mode) -> PreparedFrames:
    return prepare_frames([read_image(path) for path in paths], mode=mode, official_compat=True)
