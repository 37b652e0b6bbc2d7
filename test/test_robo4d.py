"""Folders of the layout of Robo4D-200k: written, read, interrupted, damaged; rules equal to those of the original."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from robo4d_rig import HEIGHT, RATE, SMALL, WIDTH, clips_of, make_episode, make_view, without_depth, write_dataset

from fourd_ros.cli import main
from fourd_ros.data import robo4d_writer
from fourd_ros.data.robo4d import Robo4DDataset
from fourd_ros.data.robo4d_clips import ClipOptions, MadeClip
from fourd_ros.data.robo4d_films import read_film
from fourd_ros.data.robo4d_folder import Robo4DFolder, Stream, checked_name, names_of_shard, read_list, shard_of
from fourd_ros.data.robo4d_masks import MaskOptions, make_mask, read_mask
from fourd_ros.data.robo4d_placement import Fit, Placement
from fourd_ros.data.robo4d_preparation import inference_size, resize_centre_crop
from fourd_ros.data.video import FORMATS, encode
from fourd_ros.errors import FourdError, InvalidDataset, InvalidImage, InvalidParameter, TooLarge
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.pointmap_range import (
    Convention,
    PointmapRange,
    from_bytes,
    to_bytes,
    uniform_pointmap,
    without_outliers,
)

GOLDEN = Path(__file__).parent / "golden" / "kinema4d"
OPTIONS = ClipOptions(**SMALL)
WORDS = ["--size", "48x32", "--frames", "9", "--jobs", "1"]
LOSSLESS = ["--films", "lossless"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of one, two and no clips."""
    folder = tmp_path_factory.mktemp("robo4d") / "dataset"
    write_dataset(folder, make_episode(0), make_episode(1, steps=20), make_episode(2, steps=5))
    return folder


@pytest.fixture(scope="module")
def whole(dataset: Path) -> Path:
    """A folder of clips that nothing has happened to; not to be written to."""
    folder = dataset.parent / "whole"
    assert main(["data", "to-robo4d", str(dataset), str(folder), *LOSSLESS, *WORDS]) == 0
    return folder


def write_films(folder: Path, name: str, *, frames: int = 9, size: tuple[int, int] = (32, 48)) -> Robo4DFolder:
    """Films as the original has them: without facts."""
    files, rng = Robo4DFolder(folder), np.random.default_rng(len(name))
    robot = np.zeros((frames, *size, 3), np.uint8)
    robot[:, 4:10, 6:20] = 90
    for stream in Stream:
        noise = rng.integers(1, 256, robot.shape, dtype=np.uint8)
        pictures = {Stream.ROBOT_VIDEO: robot, Stream.ROBOT_POINTMAP: np.where(robot > 0, noise, 0)}.get(stream, noise)
        encode(pictures, files.film(stream, name), rate=24, video=FORMATS["lossless"])
    return files


def contents(folder: Path) -> dict[str, bytes]:
    """Bytes of files, and of the pictures of films."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: read_film(path).tobytes() if path.suffix == ".mp4" else path.read_bytes() for name, path in files.items()
    }


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


# Rules of the original


def test_the_plane_of_the_original_is_equal_at_its_own_size() -> None:
    plane = uniform_pointmap(480, 720)
    assert plane.sum() == pytest.approx(518399.998272) and plane[240, 360].tolist() == pytest.approx(
        [0.5006954102920723, 0.5010438413361169, 0.4989561536743216], abs=1e-12
    )


def test_one_range_holds_all_points() -> None:
    points = np.random.default_rng(0).normal(size=(2, 500, 3))
    whole = PointmapRange.of_frames(points.reshape(1, -1, 3))
    assert PointmapRange.of(points) == PointmapRange(centre=whole.centre[0], scale=whole.scale)


def test_sizes_and_shards_equal_the_original() -> None:
    manifest = json.loads((GOLDEN / "MANIFEST.json").read_text())
    for height, width, *expected in manifest["inference_resize_rule_examples_[h_in,w_in,h_out,w_out]"]:
        assert inference_size(height, width) == tuple(expected)
    assert all(shard_of(name, 32) == shard for name, shard in manifest["hash_shard_examples"].items())


@pytest.mark.parametrize(("excess", "start"), [(3, 2), (7, 4), (5, 2), (4, 2)])
def test_a_crop_goes_to_the_even_pixel_where_it_is_halfway(excess: int, start: int) -> None:
    row = np.arange(36 + excess, dtype=np.float32)
    image = np.broadcast_to(row[None, None, :, None], (1, 24, len(row), 1))
    cut = resize_centre_crop(image, (24, 36), "nearest")
    assert cut[0, 0, :, 0].tolist() == list(range(start, start + 36))


def test_shards_are_all_clips_once() -> None:
    names = [f"{number}" for number in range(100)]
    assert sorted(name for index in range(3) for name in names_of_shard(names, (index, 3))) == sorted(names)
    with pytest.raises(InvalidParameter, match="0 to 2"):
        names_of_shard(names, (3, 3))


# Ranges


def test_a_range_of_a_clip_holds_the_robot_and_most_of_the_scene() -> None:
    rng = np.random.default_rng(0)
    scene = rng.normal(size=(50, 60, 3)).astype(np.float32)
    scene[0, 0], scene[5:9] = 40.0, np.nan
    robot = np.full((3, 50, 60, 3), np.nan, np.float32)
    robot[1, 4:6, 7:9] = (0.0, 0.0, 5.0)
    limits = PointmapRange.of_clip(scene, robot)
    unit = limits.to_unit(scene)
    assert np.array_equal(np.isnan(unit), np.isnan(scene)) and unit.dtype == np.float32
    assert np.nanmin(limits.to_unit(robot)) >= 0 and np.nanmax(limits.to_unit(robot)) <= 1 + 1e-6
    assert 0.9 < (np.abs(unit[~np.isnan(unit)] - 0.5) <= 0.5).mean() < 1
    np.testing.assert_allclose(limits.to_metres(unit), scene, atol=1e-5)
    assert PointmapRange.of_clip(scene, np.full((1, 3), np.nan)).scale < limits.scale


def test_ranges_of_nothing_are_refused() -> None:
    nothing = np.full((2, 4, 3), np.nan)
    with pytest.raises(InvalidImage, match="no point is known in frame 1"):
        PointmapRange.of_frames(np.stack([np.arange(12.0).reshape(4, 3), nothing[0]]))
    with pytest.raises(InvalidImage, match="neither the scene nor the robot"):
        PointmapRange.of_clip(nothing, nothing)
    with pytest.raises(InvalidImage, match="coincide"):
        PointmapRange.of(np.ones((4, 3)))
    with pytest.raises(InvalidImage, match="of 2 frames"):
        PointmapRange(centre=np.zeros((2, 3)), scale=1.0).to_unit(np.zeros((3, 4, 3)))
    assert to_bytes(nothing).max() == 0 and to_bytes(np.array([2.0, -3.0])).tolist() == [255, 0]


# Placement


@pytest.mark.parametrize("fit", list(Fit))
@pytest.mark.parametrize("source", [(48, 64), (40, 100)])
def test_calibrations_follow_the_pictures(fit: Fit, source: tuple[int, int]) -> None:
    """What a pixel shows is where its calibration says, to a tenth of a pixel of the clip."""
    height, width = source
    K = np.array([[80.0, 0, 30.0], [0, 80.0, 20.0], [0, 0, 1]])
    camera = PinholeCamera(width=width, height=height, K=K)
    placement = Placement(source=source, target=(32, 48), fit=fit)
    slopes = np.moveaxis(camera.rays()[None, ..., :2], -1, 0)[..., None]
    shown = [placement.colour(np.repeat(np.rint(128 + 100 * slope), 3, -1).astype(np.uint8)) for slope in slopes]
    rays = placement.camera(camera).rays()
    top, left, high, wide = placement.content
    inside = (slice(top + 2, top + high - 2), slice(left + 2, left + wide - 2))
    for axis in range(2):
        expected = 128 + 100 * rays[inside][..., axis]
        slope = 100 / placement.camera(camera).K[axis, axis]
        assert np.abs(shown[axis][0][inside][..., 0] - expected).max() < 0.1 * slope + 1.01


# Conversion


def test_a_clip_is_what_the_camera_saw_and_the_robot_as_commanded(dataset: Path, whole: Path) -> None:
    clips = Robo4DDataset(whole)
    assert clips.names == ("episode_0-front-000", "episode_1-front-000", "episode_1-front-001") and len(clips) == 3
    clip = clips.clip("episode_1-front-001")
    episode = make_episode(1, steps=20)
    view, facts = episode.views["front"], clip.facts
    assert facts is not None and facts.steps == tuple(range(9, 18)) and facts.commanded == 1.0 and facts.rate == RATE
    assert facts.start_ns == episode.start_ns + 900_000_000 and facts.instructions == ("turn the arm",)
    placement = Placement(source=(HEIGHT, WIDTH), target=(32, 48), fit=Fit.LETTERBOX)
    expected = placement.colour(view.rgb[9:18])
    assert np.array_equal(clip.rgb, expected) and np.array_equal(clips.first_frame(clip.name), expected[0])
    assert view.depth is not None
    depth = placement.values(view.depth[9:18][..., None])[..., 0]
    assert clip.exact and clip.points.dtype == np.float32
    np.testing.assert_allclose(clip.points[..., 2], depth, atol=1e-4)
    assert np.isnan(clip.points[:, 8, 7]).all() and 0.9 < facts.known < 1
    # the robot: on its pixels, exactly what the mask says, and no pixel of it black
    assert np.array_equal(clip.robot_mask, np.isfinite(clip.robot_points[..., 2]))
    assert np.array_equal(clip.robot_mask, clip.robot_rgb.any(axis=-1)) and 0.01 < clip.robot_mask.mean() < 0.2
    rows, columns = np.nonzero(clip.robot_mask[0])
    pixels = facts.camera.project(clip.robot_points[0][clip.robot_mask[0]])
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=-1), atol=1e-3)
    unit = clips.clip(clip.name, unit=True)
    assert clip.range is not None
    np.testing.assert_allclose(clip.range.to_metres(unit.points), clip.points, atol=1e-5)


def test_the_robot_is_measured_where_nothing_was_commanded(dataset: Path, tmp_path: Path) -> None:
    (late,) = clips_of(write_dataset(tmp_path / "late", make_episode(0)), OPTIONS)
    nothing = np.full((9, 2), np.nan)
    (never,) = clips_of(write_dataset(tmp_path / "never", make_episode(0, commanded=nothing)), OPTIONS)
    assert isinstance(late, MadeClip) and isinstance(never, MadeClip)
    assert (late.facts.commanded, never.facts.commanded) == (pytest.approx(7 / 9), 0.0)
    same = [np.array_equal(one, other) for one, other in zip(late.robot_mask, never.robot_mask, strict=True)]
    assert same[:2] == [True, True] and not any(same[3:])


def test_films_hold_the_points_in_eight_bits(whole: Path) -> None:
    clips = Robo4DDataset(whole)
    name = clips.names[0]
    exact = clips.clip(name, unit=True)
    filmed = from_bytes(read_film(clips.files.film(Stream.POINTMAP, name)))
    known = np.isfinite(exact.points)
    np.testing.assert_allclose(filmed[known], exact.points[known].clip(0, 1), atol=1 / 255 + 1e-6)
    hole = filmed[0, 8, 7]
    assert not known[0, 8, 7].any() and np.abs(hole - filmed[0, 8, 10]).max() < 0.1  # filled from its surroundings
    robot = from_bytes(read_film(clips.files.film(Stream.ROBOT_POINTMAP, name)))
    on_robot = exact.robot_mask
    np.testing.assert_allclose(robot[on_robot], exact.robot_points[on_robot], atol=1 / 255 + 1e-6)
    assert not robot[~on_robot].any()


def test_every_option_of_cutting(dataset: Path, tmp_path: Path) -> None:
    long = write_dataset(tmp_path / "long", make_episode(0, steps=33))
    halved = [clip for clip in clips_of(long, replace(OPTIONS, rate=5.0, stride=4)) if isinstance(clip, MadeClip)]
    assert [clip.facts.steps for clip in halved] == [tuple(range(s, s + 18, 2)) for s in (0, 8, 16)]
    assert halved[0].facts.rate == 5.0
    short = write_dataset(tmp_path / "short", make_episode(0, steps=5))
    (mirrored,) = clips_of(short, replace(OPTIONS, mirror=True))
    assert isinstance(mirrored, MadeClip) and mirrored.facts.steps == (0, 1, 2, 3, 4, 4, 3, 2, 1)
    cropped, framed = (
        clips_of(write_dataset(tmp_path / fit, make_episode(0)), replace(OPTIONS, fit=fit))[0]
        for fit in (Fit.CROP, Fit.LETTERBOX)
    )
    assert isinstance(cropped, MadeClip) and isinstance(framed, MadeClip)
    assert cropped.facts.content == (0, 0, 32, 48) and framed.facts.content == (0, 2, 32, 43)
    fourdnex = replace(OPTIONS, convention=Convention.FOURDNEX)
    (frames,) = clips_of(write_dataset(tmp_path / "4dnex", make_episode(0)), fourdnex)
    assert isinstance(frames, MadeClip) and frames.facts.range.centre.shape == (9, 3)
    drawn = without_outliers(frames.points.points()[:, :, 2:45])
    np.testing.assert_allclose(frames.facts.range.centre, PointmapRange.of_frames(drawn).centre, atol=1e-6)


def test_points_of_a_moving_camera_are_in_the_frame_of_the_first_picture(tmp_path: Path) -> None:
    moving = make_episode(0, views={"front": make_view(9, moving=True)})
    (clip,) = clips_of(write_dataset(tmp_path / "moving", moving), OPTIONS)
    assert isinstance(clip, MadeClip)
    base = clip.points.robot_points()
    mask = np.isfinite(base[..., 2]).all(axis=0)  # pixels of the still base that are the robot's all along
    assert mask.any()
    poses = moving.views["front"].T_world_camera
    first = np.linalg.inv(poses[0]) @ poses[8]
    own = clip.points.robot_rays * clip.points.robot_depth[8][..., None]
    np.testing.assert_allclose(base[8][mask], own[mask] @ first[:3, :3].T + first[:3, 3], atol=1e-5)


def test_what_cannot_become_a_clip_is_left_out_with_the_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = make_view(9)
    blind_frame = np.array(view.depth)
    blind_frame[4] = np.nan
    hole = np.arange(9) / RATE
    hole[5:] += 0.3
    cases = {
        "has no depth": {"views": {"front": without_depth(view)}},
        "no depth is known in frame 4 (1 such frames)": {"views": {"front": replace(view, depth=blind_frame)}},
        "has no robot description": {"robot_description": ""},
        "has no visuals": {"robot_description": "<robot name='r'><link name='base'/></robot>"},
        "lacks joints ['turn']": {"joint_names": ("other", "another")},
        "no cameras": {"views": {}},
        "needed are 9": {"steps": 8},
        "hole around frame": {"times": hole},
    }
    episodes = [make_episode(number, **changes) for number, changes in enumerate(cases.values())]
    write_dataset(tmp_path / "dataset", *episodes, make_episode(99))
    command = ["data", "to-robo4d", str(tmp_path / "dataset"), str(tmp_path / "out"), *WORDS, "--json"]
    assert main(command) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    problems = {line["name"].split("-")[0]: line["problem"] for line in lines}
    for number, why in enumerate(cases):
        assert why in problems[f"episode_{number}"], why
    assert Robo4DDataset(tmp_path / "out").names == ("episode_99-front-000",)
    assert main([*command[:-1], "--rate", "20"]) == 1  # the options differ
    assert "made with other options: rate" in capsys.readouterr().err
    command[3] = str(tmp_path / "fast")
    assert main([*command[:-1], "--rate", "20"]) == 1
    assert "recorded at 10 Hz" in capsys.readouterr().out


def test_an_interrupted_conversion_goes_on_to_the_same_bytes(
    dataset: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["data", "to-robo4d", str(dataset), str(tmp_path / "out"), *LOSSLESS, *WORDS]
    saved = robo4d_writer.save_measured

    def interrupted(*args: Any) -> None:
        if "000" in args[-1].name and "episode_1" in args[-1].name:
            raise KeyboardInterrupt
        saved(*args)

    monkeypatch.setattr(robo4d_writer, "save_measured", interrupted)
    assert main(command) == 130
    files = Robo4DFolder(tmp_path / "out")
    assert files.names_with_facts() == {"episode_0-front-000"} and len(files.names_of(Stream.VIDEO)) == 2
    files.mask("episode_0-front-000").unlink()
    monkeypatch.undo()
    assert main(command) == 0
    assert "3 new clips, 0 were there already, 1 left out" in capsys.readouterr().out
    assert contents(tmp_path / "out") == contents(whole)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.mp4")}
    assert main([*command[:-1], "2"]) == 0
    assert "0 new clips, 3 were there already" in capsys.readouterr().out
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())


def test_other_folders_and_options_are_refused(dataset: Path, whole: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "notes.txt").touch()
    for folder, words, why in (
        (tmp_path / "taken", WORDS, "holds something else"),
        (whole, [*LOSSLESS, *WORDS, "--size", "96x64"], "height 32 (now 64), width 48 (now 96)"),
        (tmp_path / "new", [*WORDS, "--size", "50x32"], "multiples of 16"),
        (tmp_path / "new", [*WORDS, "--frames", "10"], "4 k + 1"),
        (tmp_path / "new", [*WORDS, "--episodes", "x*"], "has no episodes 'x*'"),
    ):
        assert main(["data", "to-robo4d", str(dataset), str(folder), *words]) == 1
        assert why in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


# Reading what others wrote, or damaged


def test_folders_of_the_original_have_unit_coordinates_only(tmp_path: Path) -> None:
    files = write_films(tmp_path, "123")
    files.film(Stream.VIDEO, "4").write_bytes(files.film(Stream.VIDEO, "123").read_bytes())
    clips = Robo4DDataset(tmp_path)
    assert clips.names == ("123",) and clips.left_out == {"4": ["pointmap", "mask_videos", "mask_pointmap"]}
    with pytest.raises(InvalidDataset, match=r"clips/123\.json' is missing"):
        clips.clip("123")
    clip = clips.clip("123", unit=True)
    assert clip.range is None and not clip.exact and clip.facts is None
    assert np.array_equal(np.isnan(clip.robot_points[..., 0]), ~clip.robot_mask)
    assert clip.robot_mask[:, 4:10, 6:20].all() and clip.robot_mask.sum() == 9 * 6 * 14


def test_lists_name_clips_of_the_folder(whole: Path, tmp_path: Path) -> None:
    names = read_list(whole / "train_shuffled.txt")
    assert sorted(names) == list(Robo4DDataset(whole).names) and names == read_list(whole / "train_img_shuffled.txt")
    assert (whole / "train_shuffled.txt").read_text().splitlines()[0] == f"videos/{names[0]}.mp4"
    listed = tmp_path / "list.txt"
    listed.write_text(f"videos/{names[1]}.mp4\n\n")
    assert Robo4DDataset(whole, listed=listed).names == (names[1],)
    for line in (
        "../videos/1.mp4",
        "videos/../1.mp4",
        "videos/a/1.mp4",
        "pointmap/1.mp4",
        "videos/.mp4",
        "videos/ü.mp4",
    ):
        listed.write_text(f"{line}\n")
        with pytest.raises(InvalidDataset, match=r"videos/<name>\.mp4|cannot name a clip"):
            Robo4DDataset(whole, listed=listed)
    with pytest.raises(InvalidDataset, match="is no list"):
        read_list(tmp_path / "none.txt")
    with pytest.raises(InvalidDataset, match="cannot name a clip"):
        checked_name("../x")
    with pytest.raises(InvalidDataset, match="has no films"):
        _ = Robo4DDataset(tmp_path / "empty").names


@pytest.mark.parametrize(
    "victim",
    ["videos/{}.mp4", "mask_videos/{}.mp4", "pointmap_float/{}.npz", "arm_masks_npy/{}.npy", "clips/{}.json"],
)
def test_truncated_files_are_named(whole: Path, tmp_path: Path, victim: str) -> None:
    name = "episode_0-front-000"
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    clips = Robo4DDataset(tmp_path)
    assert clips.clip(name).exact
    truncate(tmp_path / victim.format(name))
    with pytest.raises(FourdError, match=victim.format(name)):
        clips.clip(name)
    (tmp_path / "first_frames" / f"{name}.png").write_bytes(b"\x89PNG")
    with pytest.raises(InvalidDataset, match=r"front-000\.png' is no picture"):
        clips.first_frame(name)


def test_films_that_do_not_agree_or_are_too_large_are_refused(tmp_path: Path) -> None:
    files = write_films(tmp_path, "1")
    clips = Robo4DDataset(tmp_path)
    with pytest.raises(TooLarge, match="allowed are 1000"):
        clips.clip("1", unit=True, max_bytes=1000)
    write_films(tmp_path / "other", "1", frames=5)
    files.film(Stream.ROBOT_VIDEO, "1").write_bytes((tmp_path / "other" / "mask_videos" / "1.mp4").read_bytes())
    with pytest.raises(InvalidDataset, match=r"mask_videos/1\.mp4' has 5 frames of 48 x 32, .*videos/1\.mp4' 9 of"):
        clips.clip("1", unit=True)
    files.film(Stream.VIDEO, "1").unlink()
    with pytest.raises(InvalidDataset, match=r"videos/1\.mp4"):
        clips.clip("1", unit=True)


# Masks


def test_masks_are_cut_like_latents_unless_the_rule_of_the_original_is_asked_for() -> None:
    frames = np.zeros((13, 40, 72, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:, :, 0] = number
    options = MaskOptions(frames=9, height=32, width=48, threshold=5)
    assert make_mask(frames, options).shape == (9, 32, 48, 1)
    assert make_mask(frames, options)[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 1]  # frames 2 to 10
    official = make_mask(frames, replace(options, official=True))
    assert official.shape == (9, 40, 72, 1) and official[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1]
    assert len(make_mask(frames[:5], options)) == 9
    with pytest.raises(InvalidDataset, match="4 frames, there and back 8; needed are 9"):
        make_mask(frames[:4], options)
    with pytest.raises(InvalidParameter, match="0 to 254"):
        MaskOptions(threshold=255)


def test_mask_command_resumes_and_names_damaged_films(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("1", "2", "3", "4"):
        files = write_films(tmp_path, name)
    truncate(files.film(Stream.ROBOT_VIDEO, "2"))
    write_films(tmp_path / "short", "3", frames=4)
    files.film(Stream.ROBOT_VIDEO, "3").write_bytes((tmp_path / "short" / "mask_videos" / "3.mp4").read_bytes())
    files.mask("4").parent.mkdir()
    files.mask("4").write_bytes(b"\x93NUMPY half of it")
    command = ["data", "robot-masks", str(tmp_path), *WORDS]
    assert main([*command, "--json"]) == 1
    lines = {line["name"]: line for line in map(json.loads, capsys.readouterr().out.splitlines())}
    assert lines["1"]["made"] and lines["4"]["made"]
    assert "mask_videos/2.mp4" in lines["2"]["problem"] and "truncated" in lines["2"]["problem"]
    assert "mask_videos/3.mp4" in lines["3"]["problem"] and "needed are 9" in lines["3"]["problem"]
    mask = read_mask(files.mask("4"))
    assert mask.shape == (9, 32, 48, 1) and mask.sum() == 9 * 6 * 14
    assert main(command) == 1
    assert "0 new masks, 2 were there already, 2 left out" in capsys.readouterr().out
    assert main([*command, "--threshold", "9"]) == 1
    assert "threshold 0 (now 9)" in capsys.readouterr().err
    assert main(["data", "robot-masks", str(tmp_path / "none")]) == 1
    with pytest.raises(SystemExit):
        main([*command, "--shard", "3/3"])


def test_masks_of_rendered_clips_stay(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(whole)
    assert main(["data", "robot-masks", str(whole), "--jobs", "1"]) == 0
    assert "0 new masks, 3 were there already" in capsys.readouterr().out and contents(whole) == before


def test_a_killed_mask_command_leaves_whole_masks_or_none(tmp_path: Path, wait_for: Any) -> None:
    files = write_films(tmp_path, "0")
    for number in range(1, 40):
        os.link(files.film(Stream.ROBOT_VIDEO, "0"), files.film(Stream.ROBOT_VIDEO, str(number)))
    command = ["data", "robot-masks", str(tmp_path), *WORDS]
    process = subprocess.Popen([sys.executable, "-m", "fourd_ros.cli", *command], stdout=subprocess.DEVNULL)
    wait_for(lambda: files.mask("0").exists() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = list((tmp_path / "arm_masks_npy").glob("[!.]*"))
    assert there and all(read_mask(path).shape == (9, 32, 48, 1) for path in there)
    assert main(command) == 0
    assert len(list((tmp_path / "arm_masks_npy").glob("[!.]*.npy"))) == 40
