"""``fourd prepare-video``: a video with masks of its objects, ready for ``fourd`` to reconstruct them."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.commands.arguments import non_negative_int, positive_int

if TYPE_CHECKING:
    from fourd_ros.compositional.segmentation.segmenter import Segmenter
    from fourd_ros.reconstruction.clips.clip import Clip

EXAMPLES = [
    "fourd prepare-video demo/bag --camera front --out out/front",
    "fourd prepare-video walk.mp4 --out out/walk --masks walk_masks --static-masks room_masks",
    'fourd prepare-video walk.mp4 --out out/walk --sam2 sam2-hiera-tiny --detector dino-tiny --moving "a dog."',
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, its frames, who finds the objects, and the format."""
    parser.add_argument("source", type=Path, metavar="VIDEO|FOLDER|BAG", help="of a camera that stands still")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the clip; run again to go on")
    frames = parser.add_argument_group("frames")
    frames.add_argument("--start", type=non_negative_int, default=0, metavar="N", help="first frame (default 0)")
    frames.add_argument("--end", type=non_negative_int, metavar="N", help="last frame, itself included")
    frames.add_argument("--stride", type=positive_int, default=1, metavar="N", help="every Nth frame (default 1)")
    frames.add_argument("--max-frames", type=positive_int, default=300, metavar="N", help="at most (default 300)")
    frames.add_argument("--camera", default="", help="of a bag: namespace or image topic (default: one with depth)")
    frames.add_argument("--depth", type=Path, metavar="PATH", help="depth.npy [m], or a folder of .npy [m] or PNG [mm]")
    frames.add_argument("--calibration", type=Path, metavar="FILE", help="K.npy, or YAML of camera_calibration")
    objects = parser.add_argument_group("objects; without masks or SAM 2, what stands on a plane or moves is found")
    objects.add_argument("--masks", type=Path, metavar="PATH", help="of moving objects, a picture or .npy a frame")
    objects.add_argument("--static-masks", type=Path, metavar="PATH", help="of objects at rest, likewise")
    objects.add_argument("--mask-topic", default="", metavar="TOPIC", help="of a bag: images of numbers, all moving")
    objects.add_argument("--sam2", type=Path, metavar="DIR", help="folder of a SAM 2 video model of transformers")
    objects.add_argument("--detector", type=Path, metavar="DIR", help="folder of a Grounding DINO model, for --sam2")
    objects.add_argument("--moving", default="", metavar="TEXT", help='what moves, for --sam2: "a man. a ball."')
    objects.add_argument("--static", default="", metavar="TEXT", help="what stands still, for --sam2")
    objects.add_argument("--device", default="cpu", help="of torch, for --sam2")
    written = parser.add_argument_group("format")
    written.add_argument("--size", type=positive_int, default=768, metavar="PX", help="side of frames (default 768)")
    written.add_argument("--lossless", action="store_true", help="frames as PNG instead of JPEG")
    written.add_argument("--not-centred", action="store_true", help="leave everything where it is in the picture")
    parser.add_argument("--json", action="store_true", help="print preparation.json, no progress bars")


def run(args: argparse.Namespace) -> int:
    """Prepare the clip."""
    from fourd_ros.compositional.video_preparation import PreparationOptions, SourceClip, prepare_video

    clip = _clip(args)
    segmenter, recipe = _segmenter(args, clip)
    source = SourceClip(
        name=clip.name,
        indices=[args.start + args.stride * number for number in range(clip.frames)],
        stamps_ns=clip.stamps_ns.tolist(),
        rgb=clip.rgb,
        depth=clip.depth,
        camera=clip.camera,
    )
    options = PreparationOptions(
        size=args.size, pictures="png" if args.lossless else "jpg", centred=not args.not_centred
    )
    with _progress(hidden=args.json) as progress:
        facts = prepare_video(source, args.out, segmenter=segmenter, options=options, recipe=recipe, progress=progress)
    print(json.dumps(facts) if args.json else _summary(args.out, facts))
    return 0


def _clip(args: argparse.Namespace) -> "Clip":
    from fourd_ros.errors import InvalidParameter
    from fourd_ros.reconstruction.clips.clip_extras import read_calibration, with_depth
    from fourd_ros.reconstruction.clips.clip_reader import ClipOptions

    count = args.max_frames
    if args.end is not None:
        if args.end < args.start:
            raise InvalidParameter(f"--end {args.end} is before --start {args.start}")
        count = min(count, (args.end - args.start) // args.stride + 1)
    options = ClipOptions(start=args.start, stride=args.stride, max_frames=count, max_side=max(args.size, 16))
    clip = _read(args, options)
    if args.calibration:
        unshrunk = _read(args, replace(options, max_frames=1, max_side=8192))
        camera = read_calibration(args.calibration, width=unshrunk.width, height=unshrunk.height)
        clip = replace(clip, camera=camera.scaled(clip.width, clip.height))
    return with_depth(clip, args.depth, options) if args.depth else clip


def _read(args: argparse.Namespace, options: Any) -> "Clip":
    from fourd_ros.errors import InvalidParameter

    if args.source.suffix in (".mcap", ".db3") or (args.source / "metadata.yaml").is_file():
        from fourd_ros.bridge.bag_clip import read_bag_clip

        return read_bag_clip(args.source, options, camera=args.camera, masks=args.mask_topic)
    from fourd_ros.reconstruction.clips.clip_reader import read_clip

    if args.camera or args.mask_topic:
        raise InvalidParameter(f"--camera and --mask-topic are of bags; '{args.source}' is none")
    return read_clip(args.source, options)


def _segmenter(args: argparse.Namespace, clip: "Clip") -> tuple["Segmenter", dict[str, Any]]:
    """Who finds the objects, and what of it decides about the result."""
    from fourd_ros.compositional.segmentation.segmenter import make_segmenter
    from fourd_ros.errors import InvalidParameter

    given = args.masks or args.static_masks or args.mask_topic
    if given and args.sam2:
        raise InvalidParameter("masks are given and --sam2 would find others; needed is one of both")
    if not args.sam2 and (args.detector or args.moving or args.static):
        raise InvalidParameter("--detector, --moving and --static are for --sam2 DIR")
    if given:
        return _given(args, clip)
    if args.sam2:
        if not args.detector:
            raise InvalidParameter("--sam2 needs --detector DIR, a Grounding DINO that finds what --moving names")
        options = {
            "model": str(args.sam2),
            "detector": str(args.detector),
            "moving": args.moving,
            "static": args.static,
        }
        return make_segmenter("sam2", {**options, "device": args.device}), {"segmenter": "sam2", **options}
    return make_segmenter("background", {}), {"segmenter": "background"}


def _given(args: argparse.Namespace, clip: "Clip") -> tuple["Segmenter", dict[str, Any]]:
    from fourd_ros.compositional.segmentation.given_masks import GivenMasks
    from fourd_ros.errors import InvalidParameter
    from fourd_ros.reconstruction.clips.clip_reader import ClipOptions

    if args.masks and args.mask_topic:
        raise InvalidParameter("--masks and --mask-topic are both of moving objects; needed is one of them")
    options = ClipOptions(
        start=args.start, stride=args.stride, max_frames=clip.frames, max_side=max(clip.width, clip.height)
    )
    read = {
        kind: None if path is None else _masks_of(args, path, clip, options)
        for kind, path in (("moving", args.masks), ("static", args.static_masks))
    }
    moving = clip.masks if args.mask_topic else read["moving"]
    recipe = {
        "segmenter": "given",
        "moving": str(args.masks or args.mask_topic),
        "static": str(args.static_masks or ""),
    }
    return GivenMasks(moving=moving, static=read["static"]), recipe


def _masks_of(args: argparse.Namespace, path: Path, clip: "Clip", options: Any) -> Any:
    """Masks from a folder, of the frames before they were shrunk."""
    from fourd_ros.reconstruction.clips.clip_extras import with_masks

    unshrunk = _read(args, replace(options, max_frames=1, max_side=8192))
    return with_masks(clip, path, options, width=unshrunk.width, height=unshrunk.height).masks


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[str, float], None]]:
    """A bar for each stage."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def tell(stage: str, share: float) -> None:
        if stage not in bars:
            layout = "{desc:<9} {percentage:3.0f}% {bar} {elapsed}"
            bars[stage] = tqdm(total=1.0, desc=stage, bar_format=layout, disable=hidden or None)
        bars[stage].update(max(0.0, share - bars[stage].n))

    try:
        yield tell
    finally:
        for bar in bars.values():
            bar.close()


def _summary(folder: Path, facts: dict[str, Any]) -> str:
    frames = len(facts["indices"])
    lines = [f"{folder}: {frames} frames of {facts['size']} x {facts['size']} pixels"]
    for kind in ("moving", "static"):
        for number in facts[kind]:
            lines.append(f"object {number}: {kind}, seen in {facts['frames_seen'][str(number)]} frames")
    return "\n".join(lines)
