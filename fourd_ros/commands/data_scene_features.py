"""``fourd data scene-features``: what a language head learns to say of each pixel."""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from fourd_ros.errors import AlreadyExists, InvalidDataset
from fourd_ros.strict_json import read_object
from fourd_ros.whole_file import is_vacant, whole_folder

if TYPE_CHECKING:
    from fourd_ros.scene_language.feature_files import MaskFeatures
    from fourd_ros.scene_language.text_encoder import TextEncoder
    from fourd_ros.scene_language.text_search import ModelTexts

    Vectors = NDArray[np.float32]

SUMMARY = "features of masks, of a text-image model or of texts, as the few numbers that a language head learns"
EXAMPLES = [
    "fourd data scene-features americano/clip_features americano/clip_features-all_dim3 --codec models/autoencoder",
    "fourd data scene-features kitchen/masks kitchen/word_features --texts kitchen/texts.json",
    "fourd data scene-features kitchen/masks kitchen/features --texts kitchen/texts.json --codec models/autoencoder",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Features or masks, and what makes codes of them."""
    parser.add_argument(
        "source", type=Path, metavar="FEATURES", help="folder of NAME_s.npy and (without --texts) NAME_f.npy"
    )
    parser.add_argument("out", type=Path, metavar="FOLDER", help="new, in the same layout")
    parser.add_argument(
        "--codec", metavar="MODEL", help="folder of the autoencoder; without it features stay as long as they are"
    )
    parser.add_argument(
        "--texts",
        type=Path,
        metavar="FILE",
        help='{"texts": ["red mug", ...]}: numbers of NAME_s.npy are places in this list',
    )
    parser.add_argument("--clip", metavar="FOLDER", help="of --texts: CLIP that embeds them (default: word vectors)")
    parser.add_argument("--device", default="cpu", help="to compute on (default cpu)")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Write the features of all frames, or of none."""
    from fourd_ros.scene_language.feature_files import feature_frames, write_features
    from fourd_ros.scene_language.text_search import TEXTS_FILE

    if args.codec is None and args.texts is None:
        raise InvalidDataset(
            "nothing is to be done: give --codec to make codes of features, or --texts to make features"
        )
    if args.clip is not None and args.texts is None:
        raise InvalidDataset("--clip embeds texts; give them with --texts")
    if not is_vacant(args.out):
        raise AlreadyExists(f"'{args.out}' is there already; name another folder")
    frames = feature_frames(args.source)
    told, features = _source(args)
    coded = _codec(args)
    with whole_folder(args.out) as folder:
        for frame in tqdm(frames, unit="frame", disable=args.json or None):
            found = features(frame)
            write_features(folder, frame, replace(found, vectors=coded(found.vectors)))
        if told is not None:
            (folder / TEXTS_FILE).write_bytes(told.content)
    done = {"folder": str(args.out), "frames": len(frames), "encoder": told.encoder if told else None}
    print(json.dumps(done) if args.json else f"{args.out}: {len(frames)} frames")
    return 0


def _source(args: argparse.Namespace) -> tuple["ModelTexts | None", Callable[[str], "MaskFeatures"]]:
    """What is known of texts, and the features of a frame by its name."""
    from fourd_ros.model_io.folder import find_model
    from fourd_ros.scene_language.feature_files import MaskFeatures, read_features, read_rows, texts_beside
    from fourd_ros.scene_language.text_search import ModelTexts

    codec = [] if args.codec is None else [find_model(args.codec)]
    if args.texts is None:
        return texts_beside([args.source, *codec]), lambda frame: read_features(args.source, frame)
    texts, encoder = _texts(args.texts), _encoder(args)
    known = texts_beside(codec)
    if known is not None and known.encoder != encoder.name:
        raise InvalidDataset(f"texts by '{encoder.name}'; the autoencoder was trained with '{known.encoder}'")
    vectors = encoder.encode(texts)
    told = ModelTexts(encoder=encoder.name, texts=tuple(sorted(set(texts))))
    return told, lambda frame: MaskFeatures(vectors=vectors, rows=read_rows(args.source, frame, vectors=len(vectors)))


def _codec(args: argparse.Namespace) -> Callable[["Vectors"], "Vectors"]:
    """Codes [n, c] of features [n, C]; themselves without a codec."""
    if args.codec is None:
        return lambda vectors: vectors
    import torch

    from fourd_ros.model_io.folder import find_model
    from fourd_ros.model_io.loading import load_component
    from fourd_ros.scene_language.conversion import CODEC

    codec = load_component(
        find_model(args.codec), CODEC, allow_noncommercial=args.allow_noncommercial, device=args.device
    ).eval()
    length = codec.sizes.encoder[0]

    def coded(vectors: "Vectors") -> "Vectors":
        if vectors.shape[1] != length:
            raise InvalidDataset(f"features of {vectors.shape[1]} numbers; the autoencoder takes {length}")
        with torch.inference_mode():
            codes: Vectors = codec.encode(torch.from_numpy(vectors).to(args.device)).cpu().numpy()
        return codes

    return coded


def _encoder(args: argparse.Namespace) -> "TextEncoder":
    from fourd_ros.scene_language.clip_text import ClipText
    from fourd_ros.scene_language.word_vectors import WordVectors

    return WordVectors() if args.clip is None else ClipText(args.clip, device=args.device)


def _texts(path: Path) -> list[str]:
    found = read_object(path, error=InvalidDataset).get("texts")
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise InvalidDataset(f'\'{path}\' has no list of texts; needed is {{"texts": ["red mug", ...]}}')
    return found
