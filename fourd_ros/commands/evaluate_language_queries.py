"""``fourd evaluate language-queries``: texts in scenes that 4D LangSplat annotated."""

import argparse
import json
from pathlib import Path

SUMMARY = "texts in annotated scenes of HyperNeRF or Neu3D: mIoU, mAcc, Acc and vIoU of 4D LangSplat"
EXAMPLES = [
    "fourd evaluate language-queries americano --model models/americano --clip models/clip-vit-b-16",
    "fourd evaluate language-queries coffee_martini --layout neu3d --model scene_language_compact --json",
]

LAYOUTS = ("hypernerf", "neu3d")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The scene, and the model that is asked."""
    parser.add_argument("scene", type=Path, help="folder with pictures and annotations")
    parser.add_argument("--layout", choices=LAYOUTS, default="hypernerf", help="of it (default hypernerf)")
    parser.add_argument("--model", default="scene_language_compact", help="folder or shipped name, with texts.json")
    parser.add_argument("--clip", type=Path, metavar="FOLDER", help="of the CLIP that the model was trained towards")
    parser.add_argument("--device", default="cpu", help="to compute on (default cpu)")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a report there")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument("--json", action="store_true", help="print the means as JSON; no progress bar")


def run(args: argparse.Namespace) -> int:
    """Ask all prompts of all frames, and score."""
    from tqdm import tqdm

    from fourd_ros.evaluation.language_queries import ask, language_features, read_query_scene, score
    from fourd_ros.evaluation.report import report_markdown, write_report
    from fourd_ros.model_io.folder import find_model
    from fourd_ros.model_io.loading import load_model
    from fourd_ros.scene_language.text_search import TextSearch

    scene = read_query_scene(args.scene, layout=args.layout)
    folder = find_model(args.model)
    options = {"allow_noncommercial": args.allow_noncommercial, "device": args.device}
    encoder = None
    if args.clip is not None:
        from fourd_ros.scene_language.clip_text import ClipText

        encoder = ClipText(args.clip, device=args.device)
    search = TextSearch.from_folder(folder, encoder=encoder, **options)
    frames = language_features(load_model(folder, **options), scene.pictures)
    bar = tqdm(frames, total=len(scene.pictures), unit="frame", disable=args.json or None)
    table = score(scene, ask(scene, search, iter(bar)), method=Path(args.model).name, title=args.scene.name)
    if args.json:
        means = {aggregate.metric.label: float(aggregate.mean.estimate) for aggregate in table.aggregate().values()}
        print(json.dumps({name: value if value == value else None for name, value in means.items()}))
    else:
        print(report_markdown([table]))
    if args.out is not None:
        write_report(args.out, title=f"Texts in {args.scene.name}", tables=[table])
    return 0
