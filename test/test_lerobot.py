"""Data sets become LeRobotDataset v3.0 folders and come back: exactly, resumably, and whatever the folder claims."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_rig import JOINTS, differences, made_dataset, made_episode, psnr
from numpy.typing import NDArray

from fourd_ros.cli import main
from fourd_ros.data.depth_steps import to_metres, to_steps
from fourd_ros.data.episode_dataset import EpisodeDataset
from fourd_ros.data.lerobot_foreign import ForeignOptions, read_calibration
from fourd_ros.data.lerobot_info import LeRobotFolder
from fourd_ros.data.lerobot_layout import place
from fourd_ros.data.lerobot_plan import LeRobotOptions, plan_conversion
from fourd_ros.data.lerobot_reader import plan_reading, read
from fourd_ros.data.lerobot_statistics import statistics_of, together
from fourd_ros.data.lerobot_writer import convert
from fourd_ros.data.packed_images import pack_depth, pack_labels, unpack
from fourd_ros.data.video import FORMATS, decode, encode
from fourd_ros.errors import (
    InvalidCamera,
    InvalidDataset,
    InvalidImage,
    InvalidParameter,
    MissingCamera,
    PathNotAllowed,
)

LOSSLESS = FORMATS["lossless"]
EPISODES, FRAMES = 5, 12
TWO_EPISODES_A_FILE = 2 * FRAMES * 32 * 24 * LOSSLESS.bytes_per_pixel / 1024**2
DATA, FILM = "data/chunk-000/file-000.parquet", "videos/observation.images.front/chunk-000/file-000.mp4"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_dataset(tmp_path_factory.mktemp("data") / "made", map(made_episode, range(EPISODES)))


@pytest.fixture(scope="module")
def options() -> LeRobotOptions:
    return LeRobotOptions(video=LOSSLESS, video_file_mb=TWO_EPISODES_A_FILE, files_per_chunk=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, dataset: Path, options: LeRobotOptions) -> Path:
    folder = tmp_path_factory.mktemp("lerobot") / "made"
    convert(plan_conversion(dataset, folder, options))
    return folder


@pytest.fixture
def copy(tmp_path: Path, written: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "copy"))


@pytest.fixture
def foreign(copy: Path) -> Path:
    """The same as others would have written it."""
    shutil.rmtree(copy / "meta/fourd")
    return copy


def _change_info(folder: Path, **changes: object) -> None:
    path = folder / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _read(folder: Path, target: Path, **options: object) -> None:
    read(plan_reading(folder, target, ForeignOptions(**options)))


def test_numbers_images_and_facts_come_back_bit_for_bit(dataset: Path, written: Path, tmp_path: Path) -> None:
    _read(written, tmp_path / "back")
    assert differences(dataset, tmp_path / "back") == []


def test_two_processes_write_the_same(dataset: Path, written: Path, options: LeRobotOptions, tmp_path: Path) -> None:
    convert(plan_conversion(dataset, tmp_path / "two", options), workers=2)
    files = sorted(path.relative_to(written) for path in written.rglob("*.*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.*") if path.is_file()
    )
    assert [file for file in files if (written / file).read_bytes() != (tmp_path / "two" / file).read_bytes()] == []


def test_the_folder_says_where_everything_is(written: Path) -> None:
    info = json.loads((written / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 12.5
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (5, 60, 2)
    assert info["features"]["observation.state"]["names"] == list(JOINTS)
    assert info["features"]["observation.images.arm.wrist"]["shape"] == [16, 16, 3]
    assert "observation.depth.arm.wrist" not in info["features"]
    rows = pq.ParquetFile(written / "meta/episodes/chunk-000/file-001.parquet").read().to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(24, 36), (36, 48)]
    key = "videos/observation.images.front"
    assert [row[f"{key}/from_timestamp"] for row in rows] == [0.0, FRAMES / 12.5]
    assert (written / "data/chunk-001/file-000.parquet").exists()
    frames = pq.ParquetFile(written / DATA).read()
    assert frames["frame_index"].to_pylist() == [*range(FRAMES)] * 2
    assert frames["timestamp"].to_pylist()[FRAMES - 1] == np.float32((FRAMES - 1) / 12.5)


def test_statistics_are_those_of_all_frames(dataset: Path, written: Path) -> None:
    found = json.loads((written / "meta/stats.json").read_text())
    episodes = list(EpisodeDataset(dataset))
    actions = np.concatenate([episode.actions for episode in episodes])
    for name, function in {"min": np.min, "max": np.max, "mean": np.mean, "std": np.std}.items():
        np.testing.assert_allclose(found["action"][name], function(actions, axis=0), rtol=1e-12)
    colours = np.concatenate([episode.views["front"].rgb for episode in episodes]) / 255
    statistics = found["observation.images.front"]
    np.testing.assert_allclose(np.ravel(statistics["mean"]), colours.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(np.ravel(statistics["std"]), colours.std(axis=(0, 1, 2)), rtol=1e-9)
    assert np.shape(statistics["q50"]) == (3, 1, 1) and statistics["count"] == [60]
    depth = np.concatenate([episode.views["front"].depth for episode in episodes])
    np.testing.assert_allclose(np.ravel(found["observation.depth.front"]["max"]), np.nanmax(depth), rtol=1e-6)
    np.testing.assert_allclose(np.ravel(found["observation.depth.front"]["mean"]), np.nanmean(depth), rtol=1e-4)
    known = found["observation.velocity"]
    np.testing.assert_allclose(known["min"], np.nanmin(np.concatenate([e.velocities for e in episodes]), axis=0))


def test_what_is_never_known_has_no_statistics() -> None:
    values = np.full((4, 2), np.nan)
    assert statistics_of(values) is None
    values[0] = 1.0
    merged = together([{"a": statistics_of(values)}, {"a": statistics_of(np.full((2, 2), 4.0))}])
    np.testing.assert_allclose(merged["a"]["mean"], [2.0, 2.0])
    np.testing.assert_allclose(merged["a"]["std"], np.full(2, np.std([1, 1, 1, 1, 4, 4])))


def test_every_depth_survives_its_image() -> None:
    steps = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    read_back = unpack(pack_depth(to_metres(steps)), size=(256, 256), mode="F")
    np.testing.assert_array_equal(to_steps(read_back), steps)


@pytest.mark.parametrize(("data", "mode"), [(pack_labels(np.zeros((4, 4), np.uint8)), "F"), (b"GIF89a", "RGB")])
def test_other_images_are_refused(data: bytes, mode: str) -> None:
    with pytest.raises(InvalidImage, match="image"):
        unpack(data, size=(4, 4), mode=mode)


def test_images_of_another_size_are_refused_before_they_are_decoded() -> None:
    with pytest.raises(InvalidImage, match="4 x 4, needed 8 x 8"):
        unpack(pack_labels(np.zeros((4, 4), np.uint8)), size=(8, 8), mode="L")


def test_films_of_the_simulator_are_visually_lossless(tmp_path: Path) -> None:
    simulation = pytest.importorskip("fourd_ros.simulation.recording")
    recorded = simulation.RecordingOptions(
        tasks=("push",), policies=("expert",), cameras=("front", "wrist"), width=64, height=64, max_duration=1.0
    )
    dataset = made_dataset(tmp_path / "simulated", [simulation.record_episode(3, recorded)])
    convert(plan_conversion(dataset, tmp_path / "lerobot"))
    _read(tmp_path / "lerobot", tmp_path / "back")
    (before,), (after,) = EpisodeDataset(dataset), EpisodeDataset(tmp_path / "back")
    name = before.name
    assert differences(dataset, tmp_path / "back") == [f"{name}/front/rgb", f"{name}/wrist/rgb"]
    assert all(psnr(before.views[camera].rgb, after.views[camera].rgb) > 40 for camera in before.views)


@pytest.mark.parametrize("video", ["compatible", "small"])
def test_every_format_gives_films_that_can_be_read(video: str, tmp_path: Path) -> None:
    pictures = made_episode(1).views["front"].rgb
    pictures[:] = np.linspace(0, 255, pictures.shape[2], dtype=np.uint8)[:, None]
    encode(iter(pictures), tmp_path / "film.mp4", rate=29.97, video=FORMATS[video])
    found = np.stack([*decode(tmp_path / "film.mp4", size=(32, 24), rate=29.97)])
    assert found.shape == pictures.shape and psnr(pictures, found) > 30
    (sixth, *_) = decode(tmp_path / "film.mp4", size=(32, 24), rate=29.97, start=6 / 29.97)
    np.testing.assert_array_equal(sixth, found[6])


def test_quality_is_a_number_that_the_format_has() -> None:
    assert FORMATS["faithful"].with_crf(20).crf == 20
    with pytest.raises(InvalidParameter, match="lossless"):
        LOSSLESS.with_crf(20)


DYING = """
import os, signal, sys
from pathlib import Path
from fourd_ros.data import lerobot_plan, lerobot_reader, lerobot_writer
from fourd_ros.data.video import FORMATS

done = 0.0
def dying(frames):
    global done
    done += frames
    if done > 30:
        os.kill(os.getpid(), signal.SIGKILL)

verb, source, target, size = sys.argv[1:]
options = lerobot_plan.LeRobotOptions(video=FORMATS["lossless"], video_file_mb=float(size), files_per_chunk=2)
if verb == "write":
    lerobot_writer.convert(lerobot_plan.plan_conversion(Path(source), Path(target), options), progress=dying)
else:
    lerobot_reader.read(lerobot_reader.plan_reading(Path(source), Path(target)), progress=dying)
"""


def _killed(verb: str, source: Path, target: Path) -> None:
    command = [sys.executable, "-c", DYING, verb, str(source), str(target), str(TWO_EPISODES_A_FILE)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL


def test_a_killed_conversion_goes_on(dataset: Path, written: Path, options: LeRobotOptions, tmp_path: Path) -> None:
    folder = tmp_path / "lerobot"
    _killed("write", dataset, folder)
    with pytest.raises(InvalidDataset, match="unfinished"):
        LeRobotFolder(folder)
    kept = (folder / DATA).stat().st_mtime_ns
    assert convert(plan_conversion(dataset, folder, options)).episodes == 3
    assert (folder / DATA).stat().st_mtime_ns == kept
    assert not list(folder.rglob(".*.partial"))
    for path in written.rglob("*.*"):
        assert not path.is_file() or path.read_bytes() == (folder / path.relative_to(written)).read_bytes()
    assert convert(plan_conversion(dataset, folder, options)).episodes == 0


def test_a_killed_reading_goes_on(dataset: Path, written: Path, tmp_path: Path) -> None:
    back = tmp_path / "back"
    _killed("read", written, back)
    done = read(plan_reading(written, back))
    assert (done.added, done.known) == (3, 2)
    assert differences(dataset, back) == []


def test_one_folder_holds_one_conversion(dataset: Path, copy: Path, options: LeRobotOptions, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match=r"options\.without"):
        plan_conversion(dataset, copy, replace(options, without=("depth",)))
    with pytest.raises(InvalidDataset, match="other episodes"):
        plan_conversion(dataset, copy, options, episodes="*_001")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    with pytest.raises(InvalidDataset, match="something else"):
        plan_conversion(dataset, tmp_path / "other", options)


def test_episodes_of_several_kinds_are_told_apart(tmp_path: Path) -> None:
    other = made_episode(7, rate=5.0, name="slow", times=np.arange(12) / 5)
    dataset = made_dataset(tmp_path / "mixed", [made_episode(0), made_episode(1), other])
    with pytest.raises(
        InvalidDataset, match=r"(?s)2 kinds.*--episodes.*2 like 'made_000': 12.5 Hz.*1 like 'slow': 5 Hz"
    ):
        plan_conversion(dataset, tmp_path / "lerobot")
    assert plan_conversion(dataset, tmp_path / "lerobot", episodes="made_*").episodes == 2


def test_films_stay_as_short_as_float32_seconds_need(tmp_path: Path) -> None:
    views = {"front": made_episode(0, 500, rate=1.0).views["arm/wrist"]}
    episodes = [made_episode(number, 500, rate=1.0, views=views) for number in range(3)]
    plan = plan_conversion(made_dataset(tmp_path / "slow", episodes), tmp_path / "lerobot")
    assert [len(file.rows) for file in plan.files] == [2, 1]


def test_what_is_left_out_is_said(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "to-lerobot", str(dataset), str(tmp_path / "lerobot"), "--without", "depth,segmentation"]
    assert main([*command, "--jobs", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(dropped["what"], dropped["count"]) for dropped in report["dropped"]] == [
        ("depth of 'front'", 5),
        ("segmentation of 'front'", 5),
    ]
    assert report["written"] == {"episodes": 5, "frames": 60, "unknown_actions": 0}
    back = tmp_path / "back"
    assert main(["data", "from-lerobot", str(tmp_path / "lerobot"), str(back), "--jobs", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["added"] == 5
    assert EpisodeDataset(back)[0].views["front"].depth is None


def test_folders_of_others_need_a_calibration(foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingCamera, match=r"\['arm.wrist', 'front'\].*--calibration.*--fov"):
        plan_reading(foreign, tmp_path / "back")
    calibration = tmp_path / "cameras.yaml"
    calibration.write_text("front: {K: [9, 0, 5, 0, 9, 6, 0, 0, 1], T_world_camera: [1,0,0,2,0,1,0,3,0,0,1,4,0,0,0,1]}")
    reading = plan_reading(
        foreign, tmp_path / "back", ForeignOptions(calibration=read_calibration(calibration), fov=1.0)
    )
    read(reading)
    episode = EpisodeDataset(tmp_path / "back")[0]
    assert episode.views["front"].camera.K[0].tolist() == [9, 0, 5]
    assert episode.views["front"].T_world_camera[3, :3, 3].tolist() == [2, 3, 4]
    assert episode.views["arm.wrist"].camera.K[0, 0] == pytest.approx(8 / np.tan(0.5))
    assert {dropped.what for dropped in reading.dropped} == {
        *(f"feature '{key}'" for key in ("camera_pose.arm.wrist", "camera_pose.front", "commanded", "time")),
        *("feature 'observation.depth.front'", "feature 'observation.segmentation.front'", "pose of 'arm.wrist'"),
    }
    source = made_episode(0)
    assert episode.instructions == ("push it 0 times; and wait",) and episode.joint_names == JOINTS
    assert episode.action_names == ("x", "y", "z")
    np.testing.assert_array_equal(episode.actions, source.actions)
    np.testing.assert_array_equal(episode.views["front"].rgb, source.views["front"].rgb)
    assert np.isnan(episode.commanded).all()


@pytest.mark.parametrize("text", ["front: {}", "front: {fov: 60, K: [1]}", "- 1", "front: {K: [1, 2]}", "{"])
def test_calibrations_that_say_nothing_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "cameras.yaml").write_text(text)
    with pytest.raises(InvalidCamera, match="calibrations"):
        read_calibration(tmp_path / "cameras.yaml")


def test_actions_with_the_joints_names_are_commands(tmp_path: Path) -> None:
    source = made_episode(0, action_names=(), actions=np.zeros((12, 0)))
    convert(plan_conversion(made_dataset(tmp_path / "made", [source]), tmp_path / "lerobot"))
    shutil.rmtree(tmp_path / "lerobot/meta/fourd")
    _read(tmp_path / "lerobot", tmp_path / "back", fov=1.0, name="others")
    (episode,) = EpisodeDataset(tmp_path / "back")
    assert (episode.name, episode.action_names) == ("others-000000", ())
    np.testing.assert_array_equal(episode.commanded, source.commanded)


def test_older_layouts_name_the_way_out(foreign: Path, tmp_path: Path) -> None:
    _change_info(foreign, codebase_version="v2.1")
    with pytest.raises(InvalidDataset, match="convert_dataset_v21_to_v30"):
        plan_reading(foreign, tmp_path / "back")


@pytest.mark.parametrize(
    ("template", "error"),
    [
        ("../{chunk_index}/{file_index}", PathNotAllowed),
        ("/etc/{chunk_index}/{file_index}", PathNotAllowed),
        ("{chunk_index.__class__}", InvalidDataset),
        ("{chunk_index:999999999d}", InvalidDataset),
        ("{chunk_index", InvalidDataset),
        ("{episode_index}", InvalidDataset),
    ],
)
def test_paths_stay_in_the_folder(template: str, error: type[Exception], foreign: Path, tmp_path: Path) -> None:
    _change_info(foreign, data_path=template)
    with pytest.raises(error, match=r"path|leads out"):
        _read(foreign, tmp_path / "back", fov=1.0)


def test_links_out_of_the_folder_are_not_followed(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / DATA, tmp_path / "elsewhere.parquet")
    (copy / DATA).symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(PathNotAllowed, match="cp -rL"):
        place(copy, "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet", chunk=0, file=0)


@pytest.mark.parametrize("key", ["../../films", "a/b", "", "x" * 300])
def test_features_cannot_name_other_folders(key: str, foreign: Path, tmp_path: Path) -> None:
    _change_info(foreign, features={key: {"dtype": "video", "shape": [24, 32, 3], "names": None}})
    with pytest.raises(InvalidDataset, match="a feature is called"):
        plan_reading(foreign, tmp_path / "back")


@pytest.mark.parametrize("changes", [{"fps": 0}, {"fps": "many"}, {"features": []}, {"features": {"a": {"shape": 3}}}])
def test_damaged_info_is_refused(changes: dict[str, object], foreign: Path, tmp_path: Path) -> None:
    _change_info(foreign, **changes)
    with pytest.raises(InvalidDataset, match=r"info\.json"):
        plan_reading(foreign, tmp_path / "back")


@pytest.mark.parametrize(
    "file", [DATA, FILM, "meta/episodes/chunk-000/file-000.parquet", "meta/fourd/chunk-000/file-000.parquet"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_files_are_refused(file: str, damage: str, copy: Path, tmp_path: Path) -> None:
    data = (copy / file).read_bytes()
    (copy / file).unlink()
    if damage == "cut":
        (copy / file).write_bytes(data[: len(data) // 2])
    with pytest.raises(InvalidDataset, match=r"file-000|meta/fourd|meta/episodes|pictures"):
        _read(copy, tmp_path / "back")


def test_films_that_are_not_as_described_are_refused(copy: Path, tmp_path: Path) -> None:
    shutil.copy(copy / FILM.replace("front", "arm.wrist"), copy / FILM)
    with pytest.raises(InvalidDataset, match="16 x 16, needed 32 x 24"):
        _read(copy, tmp_path / "back")
    encode(iter(made_episode(0).views["front"].rgb[:5]), copy / FILM, rate=12.5, video=LOSSLESS)
    with pytest.raises(InvalidDataset, match="5 pictures of 12"):
        _read(copy, tmp_path / "back")


def test_times_that_films_do_not_have_are_refused(foreign: Path, tmp_path: Path) -> None:
    frames = pq.ParquetFile(foreign / DATA).read()
    late = pa.array(frames["timestamp"].to_numpy() * np.float32(1.1))
    pq.write_table(frames.set_column(frames.column_names.index("timestamp"), "timestamp", late), foreign / DATA)
    with pytest.raises(InvalidDataset, match=r"12\.5 Hz"):
        _read(foreign, tmp_path / "back", fov=1.0)


def test_a_film_that_lacks_pictures_is_refused(tmp_path: Path) -> None:
    encode(iter(made_episode(0).views["front"].rgb), tmp_path / "slow.mp4", rate=5.0, video=LOSSLESS)
    with pytest.raises(InvalidDataset, match=r"the picture at 0\.1.* is missing; the next is at 0\.2"):
        list(decode(tmp_path / "slow.mp4", size=(32, 24), rate=10.0))


def test_empty_places_beside_lerobots_tables_are_refused(copy: Path, tmp_path: Path) -> None:
    path = copy / "meta/fourd/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["robot_description"] = None
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(InvalidDataset, match="lacks values"):
        read(plan_reading(copy, tmp_path / "back"))


@pytest.mark.parametrize("name", FORMATS)
def test_films_leave_the_priority_of_the_process_as_it_is(tmp_path: Path, name: str) -> None:
    before = os.sched_getscheduler(0)
    during = []

    def pictures() -> Iterator[NDArray[np.uint8]]:
        for level in range(6):
            yield np.full((64, 64, 3), 40 * level, np.uint8)
            during.extend(os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task"))

    encode(pictures(), tmp_path / "film.mp4", rate=10, video=FORMATS[name])
    assert os.sched_getscheduler(0) == before
    assert os.SCHED_FIFO not in during


def test_a_flipped_bit_in_a_table_is_noticed(copy: Path, tmp_path: Path) -> None:
    path = copy / DATA
    column = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidDataset, match=r"file-000\.parquet"):
        read(plan_reading(copy, tmp_path / "back"))
