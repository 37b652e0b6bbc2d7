"""Key frames of clips and of streams, and the files they go to."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from fourd_ros.errors import InvalidImage, InvalidParameter
from fourd_ros.reconstruction.clips.key_frame_files import (
    describe_key_frames,
    key_frame_names,
    strongest_pairs,
    write_key_frames,
    write_summary,
)
from fourd_ros.reconstruction.clips.key_frames import (
    STATISTICS,
    LiveKeyFrames,
    motion_statistics,
    select_key_frames,
    select_share,
)
from fourd_ros.reconstruction.clips.picture_files import write_picture
from fourd_ros.reconstruction.tracking.flow_picture import flow_picture


def test_statistics_of_a_known_flow() -> None:
    flow = np.zeros((2, 1, 5, 2))
    flow[0, 0, :, 0], flow[0, 0, :, 1] = [0, 3, 6, 9, 12], [0, 4, 8, 12, 16]
    found = motion_statistics(flow)
    np.testing.assert_allclose(found[0], [10, 10, 15, 18, 19, 20])
    np.testing.assert_array_equal(found[1], 0)
    np.testing.assert_array_equal(motion_statistics(flow[0]), found[0])
    flow[1, 0, 0] = np.nan
    assert np.isnan(motion_statistics(flow)[1]).all()


def test_the_greedy_choice_takes_the_earlier_of_equals_and_keeps_the_gap() -> None:
    scores = np.array([1.0, 5, 5, 4, 3, 5])
    np.testing.assert_array_equal(select_key_frames(scores, count=3, gap=2), [1, 3, 5])
    np.testing.assert_array_equal(select_key_frames(scores, count=2, gap=1), [1, 2])
    np.testing.assert_array_equal(select_key_frames(scores, count=9, gap=4), [1, 5])


def test_unknown_scores_are_never_chosen() -> None:
    scores = np.array([np.nan, 1, np.nan, np.nan, 2])
    np.testing.assert_array_equal(select_key_frames(scores, count=5, gap=1), [1, 4])


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_by_brute_force(seed: int) -> None:
    """Every frame left out is either too weak or too near to a stronger one."""
    scores = np.random.default_rng(seed).integers(0, 6, 40).astype(float)
    chosen = select_key_frames(scores, count=8, gap=3)
    assert (np.diff(chosen) >= 3).all()
    weakest = scores[chosen].min()
    for frame in set(range(40)) - set(chosen.tolist()):
        near = [other for other in chosen if abs(other - frame) < 3 and scores[other] >= scores[frame]]
        assert near or scores[frame] <= weakest


def test_a_gap_without_room_shrinks() -> None:
    scores = np.arange(29.0)
    chosen = select_share(scores, share=0.5, gap=10)
    assert np.diff(chosen).min() == 1 and len(chosen) == 15
    assert np.diff(select_share(scores, share=0.1, gap=10)).min() >= 10
    np.testing.assert_array_equal(select_share(np.zeros(1), share=0.01, gap=3), [0])
    assert len(select_share(np.zeros(0))) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: select_key_frames(np.zeros(3), count=0, gap=1),
        lambda: select_key_frames(np.zeros(3), count=1, gap=0),
        lambda: select_share(np.zeros(3), share=0),
        lambda: select_share(np.zeros(3), share=float("nan")),
        lambda: select_share(np.zeros(3), gap=0),
        lambda: LiveKeyFrames(share=1.5),
        lambda: LiveKeyFrames(gap=0),
        lambda: LiveKeyFrames(history=0),
    ],
)
def test_options_that_make_no_sense(wrong) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InvalidParameter):
        wrong()


def test_a_stream_keeps_gap_and_share() -> None:
    scores = np.random.default_rng(0).exponential(size=3000)
    live = LiveKeyFrames(share=0.2, gap=3)
    chosen = np.array([frame for frame, score in enumerate(scores) if live.offer(score)])
    assert (np.diff(chosen) >= 3).all()
    assert 0.1 < len(chosen) / len(scores) < 0.2
    assert scores[chosen].mean() > 2 * scores.mean()


def test_a_stream_follows_what_is_usual() -> None:
    """After the camera gets faster, what was much before no longer is; after it gets slower, less is enough."""
    live = LiveKeyFrames(share=0.1, gap=1, history=50)
    generator = np.random.default_rng(1)
    for level in (1.0, 10.0, 0.1):
        for score in level * generator.uniform(0.5, 1, 200):
            live.offer(score)
        assert live.offer(level) and not live.offer(0.5 * level)


def test_a_jump_of_the_clock_forgets() -> None:
    live = LiveKeyFrames(share=0.5, gap=5)
    assert live.offer(100.0) and not live.offer(200.0)
    live.clear()
    assert live.offer(1.0)
    assert not LiveKeyFrames(gap=1).offer(float("nan"))


def test_names() -> None:
    assert key_frame_names("s1", [2, 1234]) == [
        "s1_high_motion_000_frame_0002.png",
        "s1_high_motion_001_frame_1234.png",
    ]


def test_files_of_a_scene(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rgb = generator.integers(0, 255, (9, 12, 16, 3), np.uint8)
    flows = generator.normal(size=(8, 12, 16, 2)) * np.arange(1, 9)[:, None, None, None]
    statistics = motion_statistics(flows)
    chosen = select_share(statistics[:, STATISTICS.index("mean")], share=0.3, gap=3)
    described = describe_key_frames("desk", statistics, chosen.tolist(), share=0.3)
    shown = strongest_pairs(statistics, metric="mean")
    assert shown == [7, 6, 5]
    result = write_key_frames(
        tmp_path,
        described,
        rgb=rgb,
        statistics=statistics,
        flows={pair: flows[pair] for pair in shown},
        metric="mean",
        seconds=0.5,
    )
    write_summary(tmp_path, [result, result], dataset_root="videos", flow="dis")
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    pictures = {f"desk/rgb/{name}" for name in key_frame_names("desk", chosen.tolist())}
    flow = {f"desk/flow_vis_top_{rank}_frames_{pair}_{pair + 1}.png" for rank, pair in enumerate(shown, start=1)}
    others = {"processing_summary.json", "desk/keyframe_info.json", "desk/motion_analysis.png"}
    assert written == pictures | flow | others
    for name, frame in zip(sorted(pictures), chosen, strict=True):
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / name))[..., ::-1], rgb[frame])
    info = json.loads((tmp_path / "desk" / "keyframe_info.json").read_text())
    assert info["selected_frames"] == chosen.tolist() and info["motion_scores"][3]["max"] == statistics[3, 5]
    assert info["motion_scores_summary"]["max_motion"] == statistics[:, 3].max()
    assert info["motion_scores_summary"]["avg_motion"] == pytest.approx(statistics[:, 0].mean())
    summary = json.loads((tmp_path / "processing_summary.json").read_text())
    assert summary["processed_scenes"] == 2 and summary["average_time_per_scene_seconds"] == 0.5
    assert cv2.imread(str(tmp_path / "desk" / "motion_analysis.png")) is not None


def test_a_clip_of_one_frame(tmp_path: Path) -> None:
    described = describe_key_frames("one", np.zeros((0, 6)), [], share=0.3)
    assert described["total_frames"] == 1 and described["motion_scores_summary"]["max_motion"] == 0
    rgb = np.zeros((1, 4, 4, 3), np.uint8)
    write_key_frames(tmp_path, described, rgb=rgb, statistics=np.zeros((0, 6)), flows={}, seconds=0.0)
    assert (tmp_path / "one" / "keyframe_info.json").exists()


def test_flow_has_a_colour_for_each_direction() -> None:
    flow = np.zeros((1, 6, 2))
    flow[0, 1:5] = [(2, 0), (0, 2), (-2, 0), (0, -2)]
    flow[0, 5] = np.nan
    picture = flow_picture(flow)[0]
    np.testing.assert_array_equal(picture[0], [255, 255, 255])
    np.testing.assert_array_equal(picture[5], [0, 0, 0])
    assert len(np.unique(picture[1:5], axis=0)) == 4
    assert (flow_picture(np.zeros((2, 2, 2))) == 255).all()


def test_pictures_that_no_format_takes(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage):
        write_picture(tmp_path / "a.png", np.zeros((0, 0, 3), np.uint8))
    assert not list(tmp_path.iterdir())
