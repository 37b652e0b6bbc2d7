"""Replay a bag, ask where things are, and write a picture of the answers.

    python examples/find_things.py                                       # the shipped bag, its wrist camera
    python examples/find_things.py BAG --camera front --text "blue box"  # yours

No ROS is needed. The node itself:
``fourd bringup scene_language --set bag:=demo/bag --set camera:=wrist --set use_depth:=true --set 'texts:=[red mug]'``.
"""

import argparse
from pathlib import Path

import cv2

from fourd_ros.bridge.bag_clip import read_bag_clip
from fourd_ros.model_io.folder import find_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.reconstruction.clips.clip_reader import ClipOptions
from fourd_ros.resources import find_resource
from fourd_ros.scene_language.clip_files import picture
from fourd_ros.scene_language.clip_search import ClipAnswer, search_clip
from fourd_ros.scene_language.text_search import TextSearch

TEXTS = ("red mug", "cyan mug", "robot", "open drawer")
"""The last one is not there."""


def main() -> int:
    """Ask, print and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("bag", nargs="?", type=Path, default=find_resource("demo/bag"))
    parser.add_argument("--camera", default="wrist", help="its namespace; empty for one with depth")
    parser.add_argument("--text", action="append", help=f"may be given several times (default {', '.join(TEXTS)})")
    parser.add_argument("--model", default="scene_language_compact", help="a folder, or a shipped one")
    parser.add_argument("--stride", type=int, default=2, help="every so many frames")
    parser.add_argument("--out", type=Path, default=Path("out/found.png"), help="the picture")
    args = parser.parse_args()
    folder = find_model(args.model)
    clip = read_bag_clip(args.bag, ClipOptions(stride=args.stride), camera=args.camera)
    answer = search_clip(
        load_model(folder),
        TextSearch.from_folder(folder),
        args.text or TEXTS,
        stamps_ns=clip.stamps_ns,
        rgb=clip.rgb,
        camera=clip.camera,
        depth=clip.depth,
    )
    show(answer)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), picture(answer)[..., ::-1])
    print(f"picture: {args.out}")
    return 0


def show(answer: ClipAnswer) -> None:
    """A line for every thing."""
    unit = "m" if answer.scale.is_known else "units"
    for number, text in enumerate(answer.texts):
        frames = int(answer.masks[:, number].any(axis=(1, 2)).sum())
        print(f"{text}: in {frames} of {len(answer.frames)} frames")
        for thing in answer.things[number]:
            x, y, z = thing.last.centre
            moved = ", has moved" if thing.moved else ""
            seen = f"relevancy {thing.relevancy:.2f}, seen {thing.frames} times{moved}"
            print(f"  {seen}, at {x:.2f} {y:.2f} {z:.2f} {unit}")


if __name__ == "__main__":
    raise SystemExit(main())
