"""``fourd find``: where a text is meant in a video, a folder of pictures or a bag."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.commands.arguments import confidence, non_negative_int, positive_int

if TYPE_CHECKING:
    from fourd_ros.reconstruction.clips.clip import Clip

MODEL = "scene_language_compact"

EXAMPLES = [
    'fourd find demo/bag --camera wrist --text "red mug" --text "cyan mug" --out out/found',
    'fourd find walk.mp4 --text "chair" --model models/mine --out out/chair',
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, the texts and the model."""
    parser.add_argument("source", type=Path, metavar="VIDEO|FOLDER|BAG", help="video, pictures, scene folder or bag")
    parser.add_argument("--text", action="append", required=True, metavar="TEXT", help="may be given several times")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new folder for what is found")
    parser.add_argument("--overwrite", action="store_true", help="take the place of what an earlier run left there")
    parser.add_argument("--start", type=non_negative_int, default=0, metavar="N", help="first frame (default 0)")
    parser.add_argument("--stride", type=positive_int, default=1, metavar="N", help="every Nth frame (default 1)")
    parser.add_argument("--max-frames", type=positive_int, default=150, metavar="N", help="at most (default 150)")
    parser.add_argument("--camera", default="", help="of a bag: namespace or image topic (default: one with depth)")
    parser.add_argument("--no-depth", action="store_true", help="do not look at depth, which tells metres")
    parser.add_argument("--threshold", type=confidence, default=0.0, help="of relevancy, 0..1 (default: of the model)")
    parser.add_argument(
        "--model", default="scene_language_compact", help="a folder, or a shipped one (default %(default)s)"
    )
    parser.add_argument("--clip-folder", type=Path, metavar="DIR", help="CLIP, for models that are like its embeddings")
    parser.add_argument("--allow-noncommercial", action="store_true", help="also weights with such a licence")
    parser.add_argument("--device", default="cpu", help="that computes, as torch names it (default cpu)")
    parser.add_argument("--json", action="store_true", help="print result.json, no progress bar")


def run(args: argparse.Namespace) -> int:
    """Search, write, and tell."""
    from dataclasses import replace

    from tqdm import tqdm

    from fourd_ros.errors import AlreadyExists, InvalidModel
    from fourd_ros.model_io.folder import find_model
    from fourd_ros.model_io.loading import load_model
    from fourd_ros.scene_language.clip_files import PICTURE, RESULT, write_answer
    from fourd_ros.scene_language.clip_search import search_clip
    from fourd_ros.scene_language.clip_text import ClipText
    from fourd_ros.scene_language.model import SceneLanguage
    from fourd_ros.scene_language.text_encoder import checked_texts
    from fourd_ros.scene_language.text_search import TextSearch
    from fourd_ros.whole_file import is_vacant

    if not is_vacant(args.out) and not (args.overwrite and (args.out / RESULT).is_file()):
        raise AlreadyExists(f"'{args.out}' exists; name another folder, or an earlier one of this with --overwrite")
    texts = checked_texts(args.text)
    folder = find_model(args.model)
    known: dict[str, Any] = {"allow_noncommercial": args.allow_noncommercial, "device": args.device}
    model = load_model(folder, **known)
    if not isinstance(model, SceneLanguage) or model.language is None:
        raise InvalidModel(f"'{folder}' is no scene language with a language head")
    search = TextSearch.from_folder(folder, encoder=ClipText(args.clip_folder) if args.clip_folder else None, **known)
    clip = _read(args)
    with tqdm(total=1.0, desc="frames", bar_format="{desc} {percentage:3.0f}% {bar}", disable=args.json or None) as bar:
        answer = search_clip(
            model,
            search,
            texts,
            stamps_ns=clip.stamps_ns,
            rgb=clip.rgb,
            camera=clip.camera,
            depth=None if args.no_depth else clip.depth,
            gate=replace(search.told.gate, relevancy=args.threshold) if args.threshold else None,
            progress=lambda share: bar.update(share - bar.n),
        )
    told = write_answer(answer, args.out)
    print(json.dumps(told) if args.json else _summary(told, args.out / PICTURE))
    return 0


def _read(args: argparse.Namespace) -> "Clip":
    from fourd_ros.errors import InvalidParameter
    from fourd_ros.reconstruction.clips.clip_reader import ClipOptions, read_clip

    options = ClipOptions(start=args.start, stride=args.stride, max_frames=args.max_frames)
    source: Path = args.source
    if source.suffix in (".mcap", ".db3") or (source / "metadata.yaml").is_file():
        from fourd_ros.bridge.bag_clip import read_bag_clip

        return read_bag_clip(source, options, camera=args.camera)
    if args.camera:
        raise InvalidParameter(f"--camera is of bags; '{source}' is none")
    return read_clip(source, options)


def _summary(told: dict[str, Any], picture: Path) -> str:
    """A few lines for the terminal."""
    unit = "m" if told["metric"] else "units of the network"
    lines = [f"{told['frames']} frames; lengths in {unit} ({told['metres_from']})"]
    for one in told["texts"]:
        if not one["found"]:
            lines.append(f"{one['text']}: not found")
        for thing in one["things"]:
            moved = ", moved" if thing["moved"] else ""
            lines.append(
                f"{one['text']}: relevancy {thing['relevancy']:.2f}, in {thing['frames']} frames{moved}, at "
                f"{thing['centre']}, size {thing['size']}"
            )
    return "\n".join([*lines, f"picture: {picture}"])
