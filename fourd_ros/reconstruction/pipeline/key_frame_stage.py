"""The stage that looks for motion in the pictures: flow from frame to frame, and the key frames that it singles out."""

import time
from pathlib import Path

import numpy as np

from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.key_frame_files import (
    describe_key_frames,
    strongest_pairs,
    write_key_frames,
    write_summary,
)
from fourd_ros.reconstruction.clips.key_frames import METRIC, SHARE, STATISTICS, motion_statistics, select_share
from fourd_ros.reconstruction.official.scene_files import write_flow
from fourd_ros.reconstruction.pipeline.stages import Done, Progress
from fourd_ros.reconstruction.tracking.flow import Flow

__all__ = ["pick_key_frames"]


def pick_key_frames(clip: Clip, folder: Path, flow: Flow, flow_name: str, tell: Progress) -> Done:
    """Write flow, in half precision, into ``dynamicBA/flow`` and key frames into ``key_frames/<scene>``.

    Args:
        clip: at least two frames.
        folder: of the scene.
        flow: from one frame to another.
        flow_name: what it is called.
        tell: told the share that is done.
    """
    began, pairs = time.perf_counter(), clip.frames - 1
    statistics = np.zeros((pairs, len(STATISTICS)))
    for pair in range(pairs):
        field = flow(clip.rgb[pair], clip.rgb[pair + 1])
        statistics[pair] = motion_statistics(field)
        write_flow(folder / "dynamicBA", pair, pair + 1, field.astype(np.float16))
        tell((pair + 1) / pairs)
    chosen = [int(frame) for frame in select_share(statistics[:, STATISTICS.index(METRIC)])]
    result = write_key_frames(
        folder / "key_frames",
        describe_key_frames(clip.name, statistics, chosen, share=SHARE),
        rgb=clip.rgb,
        statistics=statistics,
        flows={pair: flow(clip.rgb[pair], clip.rgb[pair + 1]) for pair in strongest_pairs(statistics)},
        seconds=time.perf_counter() - began,
    )
    write_summary(folder / "key_frames", [result], dataset_root=str(folder), flow=flow_name)
    return Done(facts={"key_frames": chosen, "mean_flow": float(statistics[:, STATISTICS.index("mean")].mean())})
