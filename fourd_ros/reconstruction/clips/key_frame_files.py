"""Key frames in files, as DynamicVerse writes them (section 2.4 of the specification).

``<root>/<scene>/rgb/<scene>_high_motion_<rank>_frame_<index>.png``, pictures of the strongest flow,
``motion_analysis.png``, and ``keyframe_info.json`` with the statistics of every pair, which its README promises.
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.clips.key_frames import METRIC, STATISTICS, FloatArray
from fourd_ros.reconstruction.clips.picture_files import write_picture
from fourd_ros.reconstruction.tracking.flow_picture import flow_picture
from fourd_ros.whole_file import whole_file, write_whole

SHOWN_FLOWS = 3


def key_frame_names(scene: str, chosen: Sequence[int]) -> list[str]:
    """File names of key frames, in their order."""
    return [f"{scene}_high_motion_{rank:03d}_frame_{frame:04d}.png" for rank, frame in enumerate(chosen)]


def describe_key_frames(scene: str, statistics: FloatArray, chosen: Sequence[int], *, share: float) -> dict[str, Any]:
    """What the original reports of a scene; `avg_motion` and `max_motion` do not depend on the metric that decides.

    Args:
        scene: its name.
        statistics: of every pair, shape [F - 1, 6].
        chosen: key frames, ascending.
        share: of the frames that was asked for.
    """
    frames = len(statistics) + 1
    column = dict(zip(STATISTICS, statistics.T, strict=True))
    summary = {
        "total_pairs": len(statistics),
        "avg_motion": float(column["mean"].mean()) if len(statistics) else 0.0,
        "max_motion": float(column["percentile_90"].max(initial=0.0)),
    }
    return {
        "scene_name": scene,
        "total_frames": frames,
        "selected_frames": [int(frame) for frame in chosen],
        "target_sample_ratio": share,
        "actual_sample_ratio": len(chosen) / frames,
        "selected_frame_count": len(chosen),
        "motion_scores_summary": summary,
    }


def strongest_pairs(statistics: FloatArray, *, metric: str = METRIC) -> list[int]:
    """The pairs whose flow is shown, strongest first."""
    order = np.argsort(-statistics[:, STATISTICS.index(metric)], kind="stable")
    return [int(pair) for pair in order[:SHOWN_FLOWS]]


def write_key_frames(
    root: Path,
    description: Mapping[str, Any],
    *,
    rgb: NDArray[np.uint8],
    statistics: FloatArray,
    flows: Mapping[int, NDArray[np.floating[Any]]],
    metric: str = METRIC,
    seconds: float,
) -> dict[str, Any]:
    """Write all files of a scene; `processing_summary.json` waits for the others.

    Args:
        root: ``key_frames/<dataset>``.
        description: as `describe_key_frames` gives it.
        rgb: the frames, shape [F, H, W, 3].
        statistics: of every pair, shape [F - 1, 6].
        flows: of some pairs, the strongest first, each of shape [H, W, 2].
        metric: that decided.
        seconds: that it took.

    Returns:
        The description with the time, as `write_summary` wants it.
    """
    scene, chosen = description["scene_name"], description["selected_frames"]
    folder = root / scene
    for name, frame in zip(key_frame_names(scene, chosen), chosen, strict=True):
        write_picture(folder / "rgb" / name, rgb[frame])
    for rank, (pair, flow) in enumerate(flows.items(), start=1):
        write_picture(folder / f"flow_vis_top_{rank}_frames_{pair}_{pair + 1}.png", flow_picture(flow))
    with whole_file(folder / "motion_analysis.png") as file:
        file.write(_chart(statistics, chosen, metric))
    result = {**description, "processing_time_seconds": seconds}
    pairs = [
        {"from_frame": pair, "to_frame": pair + 1, **dict(zip(STATISTICS, row, strict=True))}
        for pair, row in enumerate(statistics.tolist())
    ]
    _write_json(folder / "keyframe_info.json", {**result, "selection_metric": metric, "motion_scores": pairs})
    return result


def write_summary(root: Path, results: Sequence[Mapping[str, Any]], *, dataset_root: str, flow: str) -> None:
    """``processing_summary.json`` of all scenes.

    Args:
        root: ``key_frames/<dataset>``.
        results: of `write_key_frames`.
        dataset_root: where the frames came from.
        flow: name of the flow model.
    """
    total = sum(result["processing_time_seconds"] for result in results)
    summary = {
        "dataset_root": dataset_root,
        "output_root": str(root),
        "flow_model_type": flow,
        "processed_scenes": len(results),
        "total_processing_time_seconds": total,
        "average_time_per_scene_seconds": total / len(results) if results else 0.0,
        "results": [dict(result) for result in results],
    }
    _write_json(root / "processing_summary.json", summary)


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    write_whole(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _chart(statistics: FloatArray, chosen: Sequence[int], metric: str) -> bytes:
    """What moves from frame to frame, and where the key frames are, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots()
    for name in dict.fromkeys(("mean", metric, "max")):
        axes.plot(statistics[:, STATISTICS.index(name)], label=name)
    axes.plot(chosen, statistics[list(chosen), STATISTICS.index(metric)], "o", label="key frames")
    axes.set(xlabel="frame", ylabel="length of the flow [px]")
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
