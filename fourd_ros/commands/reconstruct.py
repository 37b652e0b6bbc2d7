"""``fourd reconstruct``: camera path, static map and moving objects of a video, a folder of pictures or a bag."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.commands.arguments import non_negative_int, positive_float, positive_int
from fourd_ros.reconstruction.naming.naming_endpoint import KEY, naming_endpoint

if TYPE_CHECKING:
    from fourd_ros.reconstruction.clips.clip import Clip
    from fourd_ros.reconstruction.clips.clip_reader import ClipOptions
    from fourd_ros.reconstruction.motion.tracks import Tracks
    from fourd_ros.reconstruction.naming.named_objects import Question

EXAMPLES = [
    "fourd reconstruct walk.mp4 --out out/walk",
    "fourd reconstruct demo/bag --camera wrist --out out/wrist --view",
    "fourd reconstruct scene/rgb --out scene --depth scene/unidepth --calibration K.npy --masks scene/qwen/Annotations",
    "fourd reconstruct walk.mp4 --out out/walk --focal 1100 --stride 3 --max-frames 200",
    "fourd reconstruct walk.mp4 --out out/walk --vlm-url http://127.0.0.1:22002/v1 --vlm-model Qwen2.5-VL-72B",
]

LARGEST = 8192
"""Side of a frame that is looked at unshrunk [px]."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The source, what is known of it, and how it is reconstructed."""
    parser.add_argument("source", type=Path, metavar="VIDEO|FOLDER|BAG", help="video, pictures, scene folder or bag")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder of the scene; run again to go on"
    )
    parser.add_argument("--name", help="of the scene in file names (default: that of the source)")
    frames = parser.add_argument_group("frames")
    frames.add_argument("--start", type=non_negative_int, default=0, metavar="N", help="first frame (default 0)")
    frames.add_argument("--stride", type=positive_int, default=1, metavar="N", help="every Nth frame (default 1)")
    frames.add_argument("--max-frames", type=positive_int, default=150, metavar="N", help="at most (default 150)")
    frames.add_argument("--max-side", type=positive_int, default=640, metavar="PX", help="shrink to (default 640)")
    known = parser.add_argument_group("what is known")
    known.add_argument("--camera", default="", help="of a bag: namespace or image topic (default: one with depth)")
    known.add_argument("--mask-topic", default="", metavar="TOPIC", help="of a bag: images of object numbers")
    lens = known.add_mutually_exclusive_group()
    lens.add_argument("--focal", type=positive_float, metavar="PX", help="about, of the unshrunk frames; is refined")
    lens.add_argument("--calibration", type=Path, metavar="FILE", help="K.npy, or YAML of camera_calibration; is kept")
    depth = known.add_mutually_exclusive_group()
    depth.add_argument("--depth", type=Path, metavar="PATH", help="depth.npy [m], or a folder of .npy [m] or PNG [mm]")
    depth.add_argument("--depth-source", default="", metavar="NAME", help="scene_language, or module:function")
    known.add_argument("--masks", type=Path, metavar="PATH", help="of moving objects, a picture or .npy a frame")
    known.add_argument("--tracks", type=Path, metavar="FILE", help="results.npz of CoTracker3 for the same frames")
    method = parser.add_argument_group("method")
    method.add_argument("--flow", default="dis", help="dis, dis_fast, farneback, a network, or module:function")
    method.add_argument("--flow-model", type=Path, metavar="FOLDER", help="converted checkpoint, for a network")
    method.add_argument(
        "--schedule",
        choices=("second_order", "official"),
        default="second_order",
        help="the solver; `official` is DynamicVerse's, slow, for comparisons, and needs depth everywhere",
    )
    method.add_argument("--device", default="cpu", help="of the adjustment: cpu (NumPy), or one of torch, as cuda")
    method.add_argument("--vlm-url", metavar="URL", help="endpoint (OpenAI-compatible) of a model that names objects")
    method.add_argument("--vlm-model", default="", metavar="NAME", help=f"its name there; a key comes from ${KEY}")
    parser.add_argument("--view", action="store_true", help="then open the scene in a browser, as `fourd view DIR`")
    parser.add_argument("--json", action="store_true", help="print result.json, no progress bars")


def run(args: argparse.Namespace) -> int:
    """Reconstruct, and write the page whatever came out."""
    from fourd_ros.errors import CannotReconstruct
    from fourd_ros.reconstruction.pipeline.reconstruct import PipelineOptions, reconstruct
    from fourd_ros.viewer.reconstruction_page import PAGE, write_page

    clip, tracks, names = _inputs(args)
    options = PipelineOptions(
        flow=args.flow,
        flow_model=args.flow_model,
        focal=_focal_mode(args, clip),
        schedule=args.schedule,
        device=args.device,
    )
    with _progress(hidden=args.json) as progress:
        try:
            result = reconstruct(
                clip,
                args.out,
                options=options,
                tracks=tracks,
                names=names,
                question=_question(args),
                caveats=_caveats(args, clip),
                write_rgb=not _in_place(args),
                progress=progress,
            )
        except CannotReconstruct:
            write_page(args.out)
            raise
    page = args.out / PAGE
    if not page.is_file() or any(stage["fresh"] for stage in result["stages"].values()):
        write_page(args.out)
    print(json.dumps(result) if args.json else _summary(result, page))
    if args.view:
        from fourd_ros.cli import main

        return main(["view", str(args.out)])
    return 0


def _inputs(args: argparse.Namespace) -> tuple["Clip", "Tracks | None", dict[int, str]]:
    """The clip with what the user adds to it, tracks, and names of the objects of its masks."""
    from fourd_ros.errors import InvalidParameter
    from fourd_ros.reconstruction.clips.clip_extras import read_calibration, with_depth, with_focal, with_masks
    from fourd_ros.reconstruction.clips.clip_reader import ClipOptions, clip_name
    from fourd_ros.reconstruction.tracking.cotracker_files import read_cotracker

    if args.source.resolve() == args.out.resolve():
        raise InvalidParameter(f"--out is the source '{args.source}' itself, whose files would be overwritten")
    options = ClipOptions(start=args.start, stride=args.stride, max_frames=args.max_frames, max_side=args.max_side)
    clip = _read(args, options)
    source = args.source.parent if args.source.name == "rgb" else args.source
    clip = replace(clip, name=clip_name(Path(args.name)) if args.name else clip_name(source))
    if args.focal or args.calibration or args.masks:
        unshrunk = _read(args, replace(options, max_frames=1, max_side=LARGEST))
        size = {"width": unshrunk.width, "height": unshrunk.height}
        if args.focal:
            clip = with_focal(clip, args.focal, width=unshrunk.width)
        if args.calibration:
            camera = read_calibration(args.calibration, **size)
            clip = replace(clip, camera=camera.scaled(clip.width, clip.height))
        if args.masks:
            clip = with_masks(clip, args.masks, options, **size)
    if args.depth:
        clip = with_depth(clip, args.depth, options)
    if args.depth_source:
        clip = _with_said_depth(clip, args.depth_source)
    tracks = read_cotracker(args.tracks) if args.tracks else None
    return clip, tracks, _given_names(args) if clip.masks is not None else {}


def _with_said_depth(clip: "Clip", source: str) -> "Clip":
    from fourd_ros.reconstruction.clips.depth_source import depth_of_clip, find_depth_source

    return replace(clip, depth=depth_of_clip(clip, find_depth_source(source)))


def _read(args: argparse.Namespace, options: "ClipOptions") -> "Clip":
    from fourd_ros.errors import InvalidParameter

    source: Path = args.source
    if _is_bag(source):
        from fourd_ros.bridge.bag_clip import read_bag_clip

        return read_bag_clip(source, options, camera=args.camera, masks=args.mask_topic)
    from fourd_ros.reconstruction.clips.clip_reader import read_clip

    if args.camera or args.mask_topic:
        raise InvalidParameter(f"--camera and --mask-topic are of bags; '{source}' is none")
    return read_clip(source, options)


def _given_names(args: argparse.Namespace) -> dict[int, str]:
    """Of the masks' objects, where the scene that they come from has a list."""
    from fourd_ros.reconstruction.masks.mask_files import LABELS, SEGMENTATION, read_labels

    places = [args.source, *(args.masks.resolve().parents[:3] if args.masks else ())]
    return next((read_labels(place) for place in places if (place / SEGMENTATION / LABELS).is_file()), {})


def _focal_mode(args: argparse.Namespace, clip: "Clip") -> Any:
    """A calibration is kept; what was guessed, by a network or the user, is refined."""
    measured = args.calibration or _is_bag(args.source) or (args.source / "K.npy").is_file()
    return "fixed" if clip.camera is not None and measured and not args.focal else "shared"


def _is_bag(source: Path) -> bool:
    return source.suffix in (".mcap", ".db3") or (source / "metadata.yaml").is_file()


def _caveats(args: argparse.Namespace, clip: "Clip") -> tuple[str, ...]:
    caveats = []
    if clip.frames == args.max_frames:
        caveats.append(
            f"reading stopped at {args.max_frames} frames; --max-frames and --stride choose more of the source"
        )
    if args.depth_source:
        caveats.append(f"depth is what '{args.depth_source}' says; lengths may be no metres")
    return tuple(caveats)


def _in_place(args: argparse.Namespace) -> bool:
    return bool(args.source.resolve() == (args.out / "rgb").resolve())


def _question(args: argparse.Namespace) -> "Question | None":
    from fourd_ros.errors import InvalidParameter

    if not args.vlm_url:
        if args.vlm_model:
            raise InvalidParameter("--vlm-model without --vlm-url; where does the model answer?")
        return None
    from fourd_ros.reconstruction.naming.named_objects import Question
    from fourd_ros.reconstruction.naming.object_namer import ObjectNamer

    namer = ObjectNamer(naming_endpoint(args.vlm_url, args.vlm_model))
    return Question(namer=namer, about=f"{args.vlm_url} {args.vlm_model}")


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[str, float], None]]:
    """A bar for each stage."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def tell(stage: str, share: float) -> None:
        if stage not in bars:
            layout = "{desc:<9} {percentage:3.0f}% {bar} {elapsed}"
            bars[stage] = tqdm(total=1.0, desc=stage, bar_format=layout, disable=hidden or None)
        bar = bars[stage]
        bar.update(max(0.0, share - bar.n))
        if share >= 1:
            bar.close()

    try:
        yield tell
    finally:
        for bar in bars.values():
            bar.close()


def _summary(result: dict[str, Any], page: Path) -> str:
    """A few lines for the terminal."""
    unit, path, tracks = "m" if result["metric"] else "units", result["path"], result["tracks"]
    way = "stands still" if path["still"] else f"path of {path['length']:.3g} {unit}"
    lines = [
        f"{result['scene']}: {result['frames']} frames of {result['width']} x {result['height']}, "
        f"focal length {result['camera']['fx']:.1f} px",
        f"camera: {way}, turns by up to {path['turn']:.1f} degrees; still points fit to {result['rms'] or 0:.2f} px",
        f"tracks: {tracks['still']} still, {tracks['moving']} moving, {tracks['rejected']} rejected",
    ]
    lines += [
        f"object {one['number']}, {one['name']}: seen moving in {one['frames']} frames, {one['way']:.3g} {unit} of way"
        for one in result["objects"]
    ]
    lines += [f"note: {caveat}" for caveat in result["caveats"]]
    return "\n".join([*lines, f"page: {page}"])
