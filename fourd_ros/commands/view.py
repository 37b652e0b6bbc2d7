"""``fourd view``: rollouts, reconstructed scenes and files of Kinema4D's viewer as points in a browser."""

import argparse
import os
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from fourd_ros.commands.arguments import non_negative_int, positive_float, positive_int
from fourd_ros.errors import MissingDependency
from fourd_ros.machine import pip_install

EXAMPLES = [
    "fourd view rollout.npz",
    "fourd view rollout.npz --views front --port 0 --no-browser",
    "fourd view rollout.npz --record rollout.html",
    "fourd view kinema4d.npz --reprojection",
    "fourd view out/walk    # what fourd reconstruct made",
]

_DISPLAYS = ("DISPLAY", "WAYLAND_DISPLAY")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What is shown, and to whom."""
    parser.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a rollout, the folder of a reconstruction, or an npz of Kinema4D's viewer",
    )
    parser.add_argument("--views", nargs="+", default=[], metavar="NAME", help="cameras of a rollout (default: all)")
    parser.add_argument(
        "--reprojection",
        action="store_true",
        help="of a file of Kinema4D: z as depth before its camera, as in the original, not the predicted x, y, z",
    )
    parser.add_argument(
        "--max-points",
        type=positive_int,
        default=5_000_000,
        metavar="N",
        help="of all cameras and times together (default %(default)d)",
    )
    parser.add_argument("--time-stride", type=positive_int, default=1, metavar="N", help="only every Nth frame")
    parser.add_argument("--point-size", type=positive_float, metavar="M", help="of a point (default: one that fits)")
    parser.add_argument("--frame-rate", type=positive_float, metavar="HZ", help="at first (default: its own pace)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument("--port", type=non_negative_int, default=8080, help="0 for a free one (default 8080)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write a recording instead: .viser, or .html, which stands alone"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C, or write a recording."""
    from fourd_ros.viewer.point_scene import SceneOptions
    from fourd_ros.viewer.scene_file import read_scene

    live = _live_viewer()
    if args.record is not None:
        live.check_recording(args.record)
    options = SceneOptions(
        views=tuple(args.views),
        max_points=args.max_points,
        time_stride=args.time_stride,
        reprojection=args.reprojection,
    )
    scene = read_scene(args.file, options)
    look = {"point_size": args.point_size, "rate": args.frame_rate}
    if args.record is not None:
        with live.LiveViewer(scene, port=0, **look) as viewer:
            viewer.record(args.record)
        print(f"{args.record}: {scene.title}, {len(scene.times)} frames")
        return 0
    with live.LiveViewer(scene, host=args.host, port=args.port, **look) as viewer:
        print(f"{scene.title}: {viewer.url}; Ctrl-C ends it", flush=True)
        if not args.no_browser and any(os.environ.get(name) for name in _DISPLAYS):
            webbrowser.open(viewer.url)
        with suppress(KeyboardInterrupt):
            viewer.run(threading.Event())
    return 0


def _live_viewer() -> ModuleType:
    try:
        import viser  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"looking at points needs viser: {pip_install('viser')}") from error
    from fourd_ros.viewer import live_viewer

    return live_viewer
