"""``index.html`` of a reconstructed scene: pictures, camera path, map, objects, figures and what could not be done."""

import html
import io
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.evaluation.charts import DARK, DPI, LIGHT, WIDTH, Palette
from fourd_ros.evaluation.table import Table
from fourd_ros.reconstruction.mapping.object_files import ObjectCloud, read_objects
from fourd_ros.reconstruction.mapping.voxel_map import MapPoints, VoxelMap, VoxelMapOptions
from fourd_ros.reconstruction.motion.motion_file import read_motion
from fourd_ros.reconstruction.motion.scene_motion import SceneMotion
from fourd_ros.reconstruction.pipeline.scene_result import read_result
from fourd_ros.viewer.blocks import chart_html, data_address, facts_html, list_html, table_html
from fourd_ros.viewer.report_page import report_html
from fourd_ros.whole_file import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["PAGE", "read_map", "write_page"]

PAGE = "index.html"
SHOWN_FRAMES = 6
PICTURE_WIDTH, JPEG_QUALITY = 320, 80
DRAWN_POINTS = 6000
"""Of the map in each chart."""

MOST_TIMES = 20
"""A voxel seen more often counts as seen so often, in the chart."""

_AHEAD = 0.06
"""Length of the strokes that show where the camera looks, in widths of the chart."""

TOP, SIDE = (0, 2), (2, 1)
"""Axes of the world (the first camera: x right, y down, z ahead) that the charts show, across and up."""


def write_page(folder: Path) -> Path:
    """Write the page of a scene from what is in its folder.

    Args:
        folder: of the scene.

    Returns:
        The page.

    Raises:
        InvalidResults: there is no ``result.json``, or a damaged file.
    """
    result = read_result(folder)
    sections = [_caveats(result), _pictures(folder, result)]
    if "path" in result:
        sections += [_space(folder, result), _objects(result), _figures(result)]
    sections.append(_stages(result))
    page = report_html(title=f"{result['scene']}, reconstructed", notes=[_lead(result)], body="\n".join(sections))
    write_whole(folder / PAGE, page)
    return folder / PAGE


def read_map(path: Path, *, voxel_size: float) -> MapPoints:
    """The static map of a scene.

    Args:
        path: of ``static_map.npz``.
        voxel_size: that it has.

    Raises:
        InvalidCloud: no such file, or a damaged one.
    """
    voxels = VoxelMap(VoxelMapOptions(voxel_size=voxel_size))
    voxels.load(path)
    return voxels.points()


def _lead(result: dict[str, Any]) -> str:
    frames = f"{result['frames']} frames of {result['width']} x {result['height']} pixels"
    if "path" not in result:
        return f"{frames}. The camera path could not be found: {result['failure']}"
    path, unit = result["path"], _unit(result)
    camera = "The camera stands still." if path["still"] else f"The camera goes {path['length']:.3g} {unit}."
    count = len(result["objects"])
    return f"{frames}. {camera} {count} moving {'object' if count == 1 else 'objects'}."


def _unit(result: dict[str, Any]) -> str:
    return "m" if result["metric"] else "units"


def _section(title: str, *parts: str) -> str:
    return "\n".join((f"<section>\n<h2>{html.escape(title)}</h2>", *parts, "</section>"))


def _caveats(result: dict[str, Any]) -> str:
    return _section("What could not be done", list_html(result["caveats"] or ["nothing was left out"]))


def _pictures(folder: Path, result: dict[str, Any]) -> str:
    """Frames, the same with masks, and the strongest flow."""
    frames = result["frames"]
    chosen = sorted({int(k) for k in np.linspace(0, frames - 1, min(SHOWN_FRAMES, frames))})
    overlays = folder / "segmentation/frames/overlay"
    drawn = [(f"frame {k}, masks of what moves", overlays / f"frame_{k:05d}.jpg") for k in chosen]
    if not drawn[0][1].is_file():
        files = sorted(path for path in (folder / "rgb").glob("*") if path.is_file())
        drawn = [(f"frame {k}", files[k]) for k in chosen if k < len(files)]
    flows = sorted((folder / "key_frames" / result["scene"]).glob("flow_vis_top_*.png"))
    drawn += [(f"optical flow, {' to '.join(path.stem.split('_')[-2:])}", path) for path in flows]
    keys = ", ".join(map(str, result["key_frames"])) or "none"
    figures = "\n".join(_figure(caption, path) for caption, path in drawn)
    note = f"<p>Key frames, where most moves: {keys}.</p>"
    return _section("Pictures", note, f'<div class="pictures">\n{figures}\n</div>')


def _figure(caption: str, path: Path) -> str:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        return ""
    height, width = image.shape[:2]
    if width > PICTURE_WIDTH:
        size = PICTURE_WIDTH, round(height * PICTURE_WIDTH / width)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()
    text = html.escape(caption)
    return (
        f'<figure><img src="{data_address(data, "image/jpeg")}" alt="{text}"><figcaption>{text}</figcaption></figure>'
    )


def _space(folder: Path, result: dict[str, Any]) -> str:
    """Path and map from above and from the side, and how often the map was seen."""
    bundle = folder / "dynamicBA" / result["experiment"]
    motion, objects = read_motion(bundle / "motion.npz"), read_objects(bundle)
    seen = read_map(bundle / "static_map.npz", voxel_size=result["map"]["voxel_size"])
    unit = _unit(result)
    charts = {
        scheme: _draw(motion, objects, seen, unit, palette) for scheme, palette in (("light", LIGHT), ("dark", DARK))
    }
    return _section(
        "In space",
        "<p>The world is the first camera: x to its right, y down, z ahead. Strokes show where the camera looks; the "
        "coloured lines are the paths of objects, with their numbers where they were first seen. On the right, how "
        "often the voxels of the static map were seen.</p>",
        chart_html(
            charts,
            alternative="Map, camera path and objects from above and from the side, and how often the map was seen",
        ),
    )


def _draw(motion: SceneMotion, objects: Sequence[ObjectCloud], seen: MapPoints, unit: str, palette: Palette) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * WIDTH, 0.4 * WIDTH), layout="constrained", facecolor=palette.paper)
    above, side, coverage = figure.subplots(1, 3, width_ratios=(1, 1, 0.6))
    for axes, pair, title, names in ((above, TOP, "from above", "xz"), (side, SIDE, "from the side", "zy")):
        _styled(axes, palette, title, *(f"{name} [{unit}]" for name in names))
        _draw_view(axes, pair, motion, objects, seen, palette)
    side.invert_yaxis()
    _styled(coverage, palette, "coverage", f"times seen ({MOST_TIMES}: or more)", "voxels")
    times = np.minimum(np.rint(seen.confidence), MOST_TIMES).astype(np.int64)
    counts = np.bincount(times, minlength=MOST_TIMES + 1)
    coverage.bar(np.arange(len(counts)), counts, color=palette.methods[0])
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=0.75 * DPI, metadata={"Software": None})
    return data.getvalue()


def _draw_view(
    axes: "Axes",
    pair: tuple[int, int],
    motion: SceneMotion,
    objects: Sequence[ObjectCloud],
    seen: MapPoints,
    palette: Palette,
) -> None:
    near = np.flatnonzero(_is_near(seen.points))
    some = near[:: 1 + len(near) // DRAWN_POINTS]
    points = seen.points[some]
    across, up = points[:, pair].T
    axes.scatter(across, up, s=0.6, c=seen.rgb[some] / 255, linewidths=0, rasterized=True)
    places, ahead = motion.T_world_camera[:, :3, 3], motion.T_world_camera[:, :3, 2]
    span = float(np.ptp(np.concatenate([points, places]), axis=0).max()) or 1.0
    for frame in np.unique(np.linspace(0, len(places) - 1, 12).astype(int)):
        stroke = np.stack([places[frame], places[frame] + _AHEAD * span * ahead[frame]])
        axes.plot(*stroke[:, pair].T, color=palette.ink, linewidth=0.8)
    axes.plot(*places[:, pair].T, color=palette.ink, linewidth=1.6)
    for one, colour in zip(objects, cycle(palette.methods), strict=False):
        way = one.T_world_object[:, :3, 3]
        axes.plot(*way[:, pair].T, color=colour, linewidth=1.8)
        first = way[np.isfinite(way).all(axis=1)][:1, pair]
        for x, y in first:
            axes.annotate(str(one.number), (x, y), color=colour, fontsize=9, fontweight="bold")
    axes.set_aspect("equal", adjustable="datalim")


def _styled(axes: "Axes", palette: Palette, title: str, across: str, up: str) -> None:
    axes.set_title(title, color=palette.ink, fontsize=10)
    axes.set_xlabel(across, color=palette.quiet)
    axes.set_ylabel(up, color=palette.quiet)
    axes.set_facecolor(palette.paper)
    axes.tick_params(colors=palette.quiet, labelsize=8)
    for spine in axes.spines.values():
        spine.set_color(palette.line)


def _is_near(points: NDArray[np.floating]) -> NDArray[np.bool_]:
    """All but the farthest hundredth on every side, which would make the rest too small to see."""
    if not len(points):
        return np.zeros(0, bool)
    low, high = np.percentile(points, (1, 99), axis=0)
    return np.asarray(((points >= low) & (points <= high)).all(axis=1))


def _objects(result: dict[str, Any]) -> str:
    unit = _unit(result)
    lengths = (f"way [{unit}]", f"from start to end [{unit}]", f"median speed [{unit}/s]", f"not rigid [{unit}]")
    columns = ("object", "name", "frames", "tracks", *lengths)
    rows = tuple(
        (
            str(one["number"]),
            one["name"],
            str(one["frames"]),
            str(one["tracks"]),
            *(_number(one[key]) for key in ("way", "shift", "speed", "nonrigid")),
        )
        for one in result["objects"]
    )
    if not rows:
        return _section("Objects that move", "<p>None was found.</p>")
    return _section("Objects that move", table_html(Table(title="", columns=columns, rows=rows)))


def _figures(result: dict[str, Any]) -> str:
    camera, tracks, unit, found = result["camera"], result["tracks"], _unit(result), result["map"]
    scales, depth, path = result["depth_scales"], result["depth"], result["path"]
    facts = {
        "focal length": f"{camera['fx']:.1f}, {camera['fy']:.1f} px",
        "principal point": f"{camera['cx']:.1f}, {camera['cy']:.1f} px",
        "still points fit to": f"{_number(result['rms'])} px (root mean square)",
        "tracks": f"{tracks['all']}: {tracks['still']} still, {tracks['moving']} moving, {tracks['rejected']} rejected",
        "camera": f"{_number(path['length'])} {unit} of way, at most {_number(path['reach'])} {unit} from its start, "
        f"turns by up to {path['turn']:.1f} degrees",
        "depth times": f"{scales['least']:.3f} to {scales['most']:.3f}, median {scales['median']:.3f}",
        "solver": result["schedule"],
    }
    if depth.get("disagreement"):
        apart = ", ".join(f"{100 * value:.2f} % {name}" for name, value in depth["disagreement"].items())
        facts["depth of frames differs by"] = f"{apart}; used: {depth['used']}"
    if found:
        facts["static map"] = f"{found['voxels']} voxels of {_number(found['voxel_size'])} {unit}; " + ", ".join(
            f"{100 * share:.0f} % seen {times} times or more" for times, share in found["seen"].items()
        )
        facts["pixels explained"] = f"{100 * found['explained']:.0f} % have depth and are surely still or moving"
    return _section("Figures", facts_html(facts))


def _stages(result: dict[str, Any]) -> str:
    rows = tuple(
        (name, f"{stage['seconds']:.1f}", "now" if stage["fresh"] else "in an earlier run")
        for name, stage in result["stages"].items()
    )
    return _section("Stages", table_html(Table(title="", columns=("stage", "time [s]", "done"), rows=rows)))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
