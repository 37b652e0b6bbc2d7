"""``fourd reconstruct-objects``: complete shapes of the objects of a prepared video, as GLB files."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fourd_ros.commands.arguments import non_negative_float, non_negative_int, positive_float, positive_int

if TYPE_CHECKING:
    from fourd_ros.compositional.object_folder import ClipChoice
    from fourd_ros.compositional.placed_objects import FilmOptions

EXAMPLES = [
    "fourd prepare-video demo/objects --out out/prepared && fourd reconstruct-objects out/prepared --out out/objects",
    "fourd reconstruct-objects teaser --out out/teaser --model models/com4d --fill 0 --static 4 --stride 2 --steps 50 "
    "--guidance 7 --resolution 512 --max-faces 0",
]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The video, the model, and how objects are made."""
    parser.add_argument("source", type=Path, metavar="FOLDER", help="of 'fourd prepare-video', or of the same layout")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the results; run again to go on")
    parser.add_argument("--model", default="compositional_compact", help="folder, or name of a shipped model")
    parser.add_argument("--allow-noncommercial", action="store_true", help="accept weights with such terms")
    parser.add_argument("--device", default="cpu", help="of torch (default cpu)")
    frames = parser.add_argument_group("frames")
    frames.add_argument("--start", type=non_negative_int, default=0, metavar="N", help="first frame (default 0)")
    frames.add_argument("--end", type=non_negative_int, metavar="N", help="last frame, itself excluded (default all)")
    frames.add_argument("--stride", type=positive_int, default=1, metavar="N", help="every Nth frame (default 1)")
    frames.add_argument(
        "--reference", type=non_negative_int, metavar="N", help="frame of the objects at rest (default the best one)"
    )
    frames.add_argument(
        "--static",
        type=non_negative_int,
        metavar="N",
        help="objects at rest that the network finds by itself (default: those of masks_static/, by their masks)",
    )
    how = parser.add_argument_group("how objects are made")
    how.add_argument("--steps", type=positive_int, default=12, help="of the flow (default 12; the original has 50)")
    how.add_argument("--guidance", type=non_negative_float, default=2.0, help="default 2; the original has 7")
    how.add_argument("--scene-mixed", type=non_negative_int, help="steps of the scene that mix (default all)")
    how.add_argument("--motion-mixed", type=non_negative_int, help="steps of motion that mix (default 42 %% of them)")
    how.add_argument("--block", type=positive_int, default=8, help="frames at once (default 8)")
    how.add_argument("--memory", type=positive_int, default=12, help="frames at once with known ones (default 12)")
    how.add_argument("--tokens", type=positive_int, help="of each object (default: as the model is used to)")
    how.add_argument("--seed", type=non_negative_int, default=0, help="of the noise (default 0)")
    how.add_argument(
        "--fill",
        type=non_negative_float,
        default=0.6,
        help="share of the picture that the objects take (default 0.6); 0 shows the whole frame, as the original",
    )
    how.add_argument("--official-compat", action="store_true", help="with the mistakes of the original")
    how.add_argument("--resolution", type=positive_int, default=128, help="of meshes (default 128)")
    how.add_argument("--max-faces", type=non_negative_int, default=0, help="of a mesh (default 0: all)")
    how.add_argument("--object-size", type=positive_float, help="largest extent of every object [m], where no depth is")
    parser.add_argument("--json", action="store_true", help="print reconstruction.json, no progress bars")


def run(args: argparse.Namespace) -> int:
    """Reconstruct, and say what came of it."""
    from fourd_ros.compositional.model import CompositionalObjects
    from fourd_ros.compositional.object_folder import reconstruct_folder
    from fourd_ros.compositional.prepared_clip import read_prepared
    from fourd_ros.model_io.folder import ModelFolder, find_model

    source = read_prepared(args.source)
    options, choice = _options(args), _choice(args, len(source.frames))
    folder = find_model(args.model)
    recipe = {
        "source": str(args.source),
        "model": ModelFolder(folder).card.name,
        "weights": ModelFolder(folder).sha256,
        "choice": asdict(choice),
        "options": asdict(options),
        "official_compat": args.official_compat,
    }
    model = CompositionalObjects.from_folder(folder, allow_noncommercial=args.allow_noncommercial, device=args.device)
    with _progress(hidden=args.json) as progress:
        facts = reconstruct_folder(
            model,
            source,
            args.out,
            choice=choice,
            options=options,
            recipe=recipe,
            official_compat=args.official_compat,
            progress=progress,
        )
    print(json.dumps(facts) if args.json else _summary(args.out, facts))
    return 0


def _choice(args: argparse.Namespace, frames: int) -> "ClipChoice":
    from fourd_ros.compositional.object_folder import ClipChoice
    from fourd_ros.errors import InvalidParameter

    end = frames if args.end is None else min(args.end, frames)
    chosen = tuple(range(args.start, end, args.stride))
    if not chosen:
        raise InvalidParameter(f"--start {args.start} and --end {end} choose no frame; the video has {frames}")
    return ClipChoice(frames=chosen, reference=args.reference, static=args.static)


def _options(args: argparse.Namespace) -> "FilmOptions":
    from fourd_ros.compositional.options import MotionOptions, SceneOptions
    from fourd_ros.compositional.placed_objects import MIXED_SHARE, FilmOptions

    steps = args.steps
    mixed = round(MIXED_SHARE * steps) if args.motion_mixed is None else args.motion_mixed
    return FilmOptions(
        fill=args.fill or None,
        resolution=args.resolution,
        max_faces=args.max_faces,
        object_size=args.object_size,
        tokens=args.tokens,
        seed=args.seed,
        scene=SceneOptions(
            steps=steps, mixed_steps=steps if args.scene_mixed is None else args.scene_mixed, guidance=args.guidance
        ),
        motion=MotionOptions(
            steps=steps, mix_cutoff=mixed - 1, block=args.block, memory=args.memory, guidance=args.guidance
        ),
    )


@contextmanager
def _progress(*, hidden: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage."""
    from tqdm import tqdm

    bars: dict[str, Any] = {}

    def tell(what: str, done: int, steps: int) -> None:
        if what not in bars:
            bars[what] = tqdm(total=steps, desc=what, disable=hidden or None)
        bars[what].update(done - bars[what].n)

    try:
        yield tell
    finally:
        for bar in bars.values():
            bar.close()


def _summary(folder: Path, facts: dict[str, Any]) -> str:
    placement = json.loads((folder / "placement.json").read_text())
    residual = "" if placement["residual"] is None else f", {100 * placement['residual']:.1f} cm off in the median"
    moving = [one["number"] for one in facts["objects"] if one["moves"]]
    return "\n".join(
        [
            f"{folder}: {len(facts['frames'])} frames, {facts['static']} objects at rest, moving ones {moving}",
            f"placed before the camera by {placement['source']}{residual}: placement.json",
            "look at animation.glb in any viewer of glTF",
        ]
    )
