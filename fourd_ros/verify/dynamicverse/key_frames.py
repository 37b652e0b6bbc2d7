"""Motion statistics, the choice of key frames, and what is reported of them."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fourd_ros.reconstruction.clips.key_frame_files import describe_key_frames, key_frame_names
from fourd_ros.reconstruction.clips.key_frames import (
    GAP,
    METRIC,
    STATISTICS,
    motion_statistics,
    select_key_frames,
    select_share,
)
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.dynamicverse.folder import EXACT, SYSTEM, Computed, compare_all
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

FLOWS = "keyframes.npz"
_INPUTS = "flows case_num case_gap case_metric ratio ratio_gap"
_STATISTICS = Tolerance(rtol=1e-5, atol=1e-7)
_NAMES = "file_names_for_ratio_"


@check(SYSTEM, FLOWS)
def choice(_: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """From the flow, and from the statistics of the original, so that a rounding decides nothing."""
    given, length = vectors["stats"], vectors["selected"].shape[1]
    cases = zip(vectors["case_num"], vectors["case_gap"], vectors["case_metric"], strict=True)
    shares = zip(vectors["ratio"], vectors["ratio_gap"], strict=True)
    scores = given[:, STATISTICS.index(METRIC)]
    chosen = [select_key_frames(given[:, k], count=int(count), gap=int(gap)) for count, gap, k in cases]
    of_shares = [select_share(scores, share=float(share), gap=int(gap)) for share, gap in shares]
    computed: Computed = {
        "stats": (motion_statistics(vectors["flows"]), _STATISTICS),
        "selected": (_padded(chosen, length), EXACT),
        "ratio_selected": (_padded(of_shares, vectors["ratio_selected"].shape[1]), EXACT),
    }
    compare_all(vectors, compare, computed, inputs=_INPUTS)


@check(SYSTEM, "keyframe_names.json")
def names(folder: VectorFolder, vectors: dict[str, Any], compare: Comparison) -> None:
    """Of the same flow, with the gap that the command of the original has."""
    given = folder.load(FLOWS)
    statistics, scores = motion_statistics(given["flows"]), given["stats"][:, STATISTICS.index(METRIC)]
    report = vectors["result_dict_example"]
    for key, expected in vectors.items():
        if key.startswith(_NAMES):
            chosen = _of_share(scores, float(key.removeprefix(_NAMES)))
            compare(key, key_frame_names(report["scene_name"], chosen), expected=expected, tolerance=EXACT)
    share = report["target_sample_ratio"]
    ours = describe_key_frames(report["scene_name"], statistics, _of_share(scores, share), share=share)
    summary, wanted = ours.pop("motion_scores_summary"), report["motion_scores_summary"]
    for name, value in ours.items():
        compare(f"result_dict_example/{name}", value, expected=report[name], tolerance=EXACT)
    for name, value in summary.items():
        compare(f"motion_scores_summary/{name}", value, expected=wanted[name], tolerance=_STATISTICS)
    told = [sorted(one) for one in (ours, summary)]
    theirs = [sorted(report.keys() - {"motion_scores_summary"}), sorted(wanted)]
    compare("names", repr(told), expected=repr(theirs), tolerance=EXACT)


def _of_share(scores: NDArray[np.float64], share: float) -> list[int]:
    return [int(frame) for frame in select_share(scores, share=share, gap=GAP)]


def _padded(rows: list[NDArray[np.int64]], length: int) -> NDArray[np.int64]:
    padded = np.full((len(rows), length), -1, np.int64)
    for row, frames in zip(padded, rows, strict=True):
        row[: len(frames)] = frames
    return padded
