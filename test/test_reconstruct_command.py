"""``fourd reconstruct`` on exact scenes: what it finds and writes, what it says it cannot do, and how it goes on."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bag_rig import IMAGE, NS, START_NS, make_header
from chat_rig import Asked, endpoint, says
from marks_rig import asked_numbers, looks_and_says, shown_pictures
from moving_scene import SceneOptions, moving_scene
from numpy.typing import NDArray

from fourd_ros.chat_endpoint import ChatEndpoint
from fourd_ros.cli import main
from fourd_ros.data.bags import BagWriter
from fourd_ros.data.video import FORMATS, encode
from fourd_ros.errors import CannotReconstruct, InvalidCamera, InvalidClip, InvalidParameter, InvalidResults
from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.evaluation.reconstruction_results import read_disparities, read_poses
from fourd_ros.geometry.transforms import apply, invert
from fourd_ros.reconstruction.clips.clip import Clip
from fourd_ros.reconstruction.clips.clip_extras import read_calibration, with_depth, with_masks
from fourd_ros.reconstruction.clips.clip_reader import ClipOptions
from fourd_ros.reconstruction.clips.picture_files import write_picture
from fourd_ros.reconstruction.mapping.object_files import read_objects, twists
from fourd_ros.reconstruction.masks.mask_files import find_masks, is_segmented, read_labels, read_masks
from fourd_ros.reconstruction.motion.motion_file import read_motion
from fourd_ros.reconstruction.motion.still_camera import motion_of_still_camera, still_tracks
from fourd_ros.reconstruction.motion.tracks import Tracks
from fourd_ros.reconstruction.naming.named_objects import Naming, Question
from fourd_ros.reconstruction.naming.object_namer import ObjectNamer
from fourd_ros.reconstruction.naming.scene_answer_file import answer_path, read_answer
from fourd_ros.reconstruction.official.scene_files import SUFFIX, read_depth, read_fused
from fourd_ros.reconstruction.pipeline import point_stages, reconstruct
from fourd_ros.reconstruction.pipeline.scene_result import read_result
from fourd_ros.reconstruction.pipeline.stages import Done, StageLog
from fourd_ros.reconstruction.tracking.cotracker_files import find_cotracker, read_cotracker, write_cotracker
from fourd_ros.viewer.live_viewer import LiveViewer
from fourd_ros.viewer.point_scene import SceneOptions as ShownOptions
from fourd_ros.viewer.scene_file import read_scene

FRAMES = 9
Scene = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return moving_scene(3, SceneOptions(frames=FRAMES))


def write_folder(folder: Path, scene: Scene, *, frames: int = FRAMES) -> Path:
    for frame, rgb in enumerate(scene["rgb"][:frames]):
        write_picture(folder / "rgb" / f"{frame:05d}.png", rgb)
    (folder / "unidepth").mkdir()
    np.save(folder / "unidepth/depth.npy", scene["depth"][:frames, None])
    np.save(folder / "K.npy", scene["K"])
    return folder


@pytest.fixture(scope="module")
def done(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scene with depth, reconstructed."""
    root = tmp_path_factory.mktemp("done")
    source = write_folder(root / "room", scene)
    assert main(["reconstruct", str(source), "--out", str(root / "out"), "--json"]) == 0
    return root / "out"


# What is found.


def test_path_is_near_the_truth(done: Path, scene: Scene) -> None:
    poses = read_poses(done / "dynamicBA/base")
    assert pose_scores(poses, scene["c2w"]).ate < 0.01
    result = read_result(done)
    assert result["metric"] and not result["path"]["still"] and result["rms"] < 0.3
    assert result["camera"]["fx"] == scene["K"][0, 0]  # a calibration is kept


def test_moving_box_is_found(done: Path, scene: Scene) -> None:
    (one,) = read_objects(done / "dynamicBA/base")
    truth = scene["obj2w"][0]
    known = np.flatnonzero(np.isfinite(one.T_world_object).all(axis=(1, 2)))
    assert len(known) >= FRAMES - 2
    T = one.T_world_object[known]
    there = apply(truth[known] @ invert(truth[known[0]]), np.broadcast_to(T[0, :3, 3], (len(known), 1, 3)))[:, 0]
    way = np.linalg.norm(there[-1] - there[0])
    assert way > 0.5 and np.sqrt(np.square(T[:, :3, 3] - there).sum(axis=1).mean()) < 0.12 * way
    assert len(one.points) > 50 and np.isfinite(one.twist[known]).all()
    masks = read_masks(done / "qwen/Annotations", frames=FRAMES, width=160, height=120) > 0
    box = scene["label"] > 0
    assert (masks & box).sum() > 0.65 * (masks | box).sum()


def test_everything_is_where_the_original_has_it(done: Path) -> None:
    bundle = done / "dynamicBA/base"
    names = ["rgb/00000.png", "unidepth/depth.npy", "unidepth/intrinsics.npy", "index.html", "result.json"]
    names += ["key_frames/processing_summary.json", "key_frames/room/keyframe_info.json", "dynamicBA/fused_4d.npz"]
    names += ["dynamicBA/depth/0000.npy", "dynamicBA/flow/0000_0001.npz", f"dynamicBA/base/0000{SUFFIX}.npz"]
    names += [f"dynamicBA/base/depth_maps{SUFFIX}/0000_geometric.png", "dynamicBA/base/timer.txt"]
    assert [name for name in names if not (done / name).is_file()] == []
    assert is_segmented(done) and find_masks(done) == done / "qwen/Annotations"
    assert len(list((done / "key_frames/room/rgb").glob("*.png"))) == len(read_result(done)["key_frames"]) > 0
    tracks = find_cotracker(done)
    assert tracks is not None and read_cotracker(tracks).frames == FRAMES
    assert len(list(read_disparities(bundle))) == FRAMES
    (name,) = read_labels(done).values()
    assert read_answer(answer_path(done, "room")).objects == (name,)
    with np.load(tracks.with_name("filtered_results.npz")) as filtered:
        assert set(np.unique(filtered["labels"])) == {0, 1, 3}


def test_depth_and_fused_points_read_back(done: Path, scene: Scene) -> None:
    depth = read_depth(done / "dynamicBA", FRAMES)
    assert np.median(np.abs(depth / scene["depth"] - 1)) < 0.01
    fused = read_fused(done / f"dynamicBA/base/fused_4d{SUFFIX}.npz")
    still = scene["label"][0] == 0
    assert len(fused.static_points) > 0.7 * still.sum() * FRAMES
    assert set(np.unique(fused.moving_instance)) == {1}
    motion = read_motion(done / "dynamicBA/base/motion.npz")
    assert np.array_equal(fused.T_world_camera, motion.T_world_camera)


def test_page_shows_and_tells(done: Path) -> None:
    page = (done / "index.html").read_text()
    assert len(page) < 5_000_000
    assert page.count("<figure>") == 9 and page.count("data:image/png") == 2  # frames and flows; charts in both schemes
    for words in ("What could not be done", "In space", "Objects that move", "Figures", "Stages", "focal length"):
        assert words in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_viewer_shows_map_path_and_objects(done: Path) -> None:
    shown = read_scene(done, ShownOptions(max_points=20_000))
    assert len(shown.times) == FRAMES and shown.colourings == ("rgb", "label")
    assert 0 < len(shown.still[0].points) <= 10_000
    assert len(shown.ways) == 2 and len(shown.ways[0].places) == FRAMES
    with LiveViewer(shown, port=0) as viewer:
        viewer.controls.still["static map"].value = False
        viewer.show(3)


def test_viewer_refuses_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InvalidResults, match="result"):
        read_scene(tmp_path)


# Going on.


def markers(folder: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in (folder / "stages").glob("*.json")}


def test_what_is_done_is_not_done_again(
    done: Path, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = shutil.copytree(done, tmp_path / "out")
    source = write_folder(tmp_path / "room", scene)
    before = markers(out)
    command = ["reconstruct", str(source), "--out", str(out), "--json"]
    assert main(command) == 0 and markers(out) == before
    capsys.readouterr()

    shutil.rmtree(out / "dynamicBA/depth")  # what is gone is made again, with what rests on it and nothing else

    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(point_stages, "map_of_depth", interrupted)
        (out / "dynamicBA/fused_4d.npz").unlink()
        assert main(command) == 130
    after = markers(out)
    assert "points" not in after and {name for name in after if after[name] != before[name]} == {"depth"}
    assert main(command) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [name for name in stages if stages[name]["fresh"]] == ["points"]


def test_a_changed_option_redoes_what_depends_on_it(tmp_path: Path) -> None:
    def fresh(option: int) -> list[str]:
        log = StageLog(tmp_path)
        for name, value, after in (("a", 0, []), ("b", option, ["a"]), ("c", 0, ["b"]), ("d", 0, ["a"])):
            log.run(name, lambda tell: Done(), inputs={"option": value}, after=after, files=[])
        return [name for name, stage in log.stages.items() if stage.fresh]

    assert fresh(1) == ["a", "b", "c", "d"]
    assert fresh(1) == []
    assert fresh(2) == ["b", "c"]


def test_stages_that_failed_for_now_are_tried_again(tmp_path: Path) -> None:
    tried = []

    def work(tell: Any) -> Done:
        tried.append(1)
        return Done(again=len(tried) < 2, caveats=("not now",))

    for _ in range(3):
        log = StageLog(tmp_path)
        log.run("ask", work, inputs={}, files=[])
    assert len(tried) == 2 and log.caveats == ["not now"]
    (tmp_path / "stages/ask.json").write_text("{")
    log.run("ask", work, inputs={}, files=[])
    assert len(tried) == 3  # a damaged marker is none


# Other sources.


def test_video_without_depth(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "film.mp4"
    encode(scene["rgb"], film, rate=15.0, video=FORMATS["faithful"])
    assert main(["reconstruct", str(film), "--out", str(tmp_path / "out"), "--focal", "150"]) == 0
    said = capsys.readouterr().out
    assert "no depth was given" in said and "units" in said
    result = read_result(tmp_path / "out")
    assert not result["metric"] and abs(result["camera"]["fx"] / scene["K"][0, 0] - 1) < 0.02  # a guess is refined
    scores = pose_scores(read_poses(tmp_path / "out/dynamicBA/base"), scene["c2w"])
    assert scores.ate < 0.02  # after a similarity: the unit of length is not known
    depth = read_depth(tmp_path / "out/dynamicBA", FRAMES)
    assert 0 < np.isfinite(depth).mean() < 0.2  # only at tracks
    assert len(read_scene(tmp_path / "out").still[0].points) > 100


def write_bag(path: Path, rgb: NDArray[np.uint8], depth: NDArray[np.floating], K: NDArray[np.float64]) -> Path:
    """Colour, calibration and depth of one camera at 10 Hz."""
    with BagWriter(path) as bag:
        types, (height, width) = bag.types, rgb.shape[1:3]

        def picture(pixels: NDArray[Any], encoding: str, stamp_ns: int) -> Any:
            data = np.ascontiguousarray(pixels).view(np.uint8).ravel()
            header = make_header(types, stamp_ns, "head_optical")
            size = {"height": height, "width": width, "step": len(data) // height, "is_bigendian": 0}
            return types[IMAGE](header=header, encoding=encoding, data=data, **size)

        region = types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
        info = types["sensor_msgs/msg/CameraInfo"](
            header=make_header(types, START_NS, "head_optical"),
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=np.zeros(5),
            k=K.ravel(),
            r=np.eye(3).ravel(),
            p=np.zeros(12),
            binning_x=0,
            binning_y=0,
            roi=region,
        )
        bag.write("/head/camera_info", "sensor_msgs/msg/CameraInfo", info, START_NS)
        for frame in range(len(rgb)):
            stamp_ns = START_NS + frame * NS // 10
            millimetres = np.rint(depth[frame] * 1000).astype(np.uint16)
            bag.write("/head/image", IMAGE, picture(rgb[frame], "rgb8", stamp_ns), stamp_ns)
            bag.write("/head/depth", IMAGE, picture(millimetres, "16UC1", stamp_ns), stamp_ns)
    return path


def before_a_still_camera(scene: Scene, frames: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The first frame, before which a piece of the last one goes to the right by 3 pixels a frame."""
    rgb, depth = (np.repeat(scene[name][:1], frames, axis=0) for name in ("rgb", "depth"))
    for frame in range(frames):
        there = np.s_[frame, 40:80, 20 + 3 * frame : 60 + 3 * frame]
        rgb[there], depth[there] = scene["rgb"][-1, 60:100, 60:100], 1.5
    return rgb, depth


def test_bag_of_a_camera_that_stands_still(scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frames = 8
    bag = write_bag(tmp_path / "bag", *before_a_still_camera(scene, frames), scene["K"])
    assert main(["reconstruct", str(bag), "--out", str(tmp_path / "out")]) == 0
    assert "stands still" in capsys.readouterr().out
    result = read_result(tmp_path / "out")
    assert result["stamps_ns"][:2] == [START_NS, START_NS + NS // 10]
    assert np.array_equal(read_poses(tmp_path / "out/dynamicBA/base"), np.tile(np.eye(4), (frames, 1, 1)))
    (one,) = result["objects"]
    speed = 3 * 1.5 / scene["K"][0, 0] * 10  # pixels a frame at 1.5 m, ten frames a second
    assert abs(one["speed"] / speed - 1) < 0.05 and one["frames"] >= frames - 2


def test_tracks_tell_whether_the_camera_stands_still() -> None:
    rng = np.random.default_rng(1)
    places = rng.uniform((0, 0), (159, 119), (200, 2))
    positions = np.repeat(places[None], 10, axis=0) + rng.normal(0, 0.05, (10, 200, 2))
    positions[:, :60, 0] = np.clip(positions[:, :60, 0] + 2 * np.arange(10)[:, None], 0, 159)
    tracks = Tracks(
        positions=positions.clip(0, (159, 119)),
        visible=np.ones((10, 200), bool),
        born=np.zeros(200, np.int64),
        width=160,
        height=120,
    )
    still = still_tracks(tracks)
    assert still is not None and not still[:50].any() and still[60:].all()
    motion = motion_of_still_camera(tracks, still, camera=None, depth=None)
    assert not motion.metric and np.isnan(motion.points).all() and len(motion.caveats) == 2
    corner = replace(tracks, positions=np.where(still[:, None], tracks.positions / 4, tracks.positions))
    assert still_tracks(corner) is None  # what stays covers a corner alone: something is fixed to the camera
    assert still_tracks(tracks.of(np.zeros(0, np.int64))) is None


def test_given_masks_tracks_and_names_are_used(scene: Scene, done: Path, tmp_path: Path) -> None:
    tracks = find_cotracker(done)
    assert tracks is not None
    names = tmp_path / "given/segmentation/instance_labels.json"
    names.parent.mkdir(parents=True)
    names.write_text('{"1": "flying box"}')
    masks = tmp_path / "given/qwen/Annotations"
    masks.mkdir(parents=True)
    for frame, label in enumerate(scene["label"]):
        np.save(masks / f"{frame:05d}.npy", label)
    source = write_folder(tmp_path / "room", scene)
    words = ["--masks", str(masks), "--tracks", str(tracks), "--depth", str(source / "unidepth"), "--json"]
    words += ["--calibration", str(source / "K.npy")]
    assert main(["reconstruct", str(source / "rgb"), "--out", str(tmp_path / "out"), *words]) == 0
    result = read_result(tmp_path / "out")
    assert result["scene"] == "room" and [one["name"] for one in result["objects"]] == ["flying box"]
    assert result["camera"]["fx"] == scene["K"][0, 0]
    kept = read_masks(tmp_path / "out/qwen/Annotations", frames=FRAMES, width=160, height=120)
    assert np.array_equal(kept, scene["label"])


def test_pictures_in_the_folder_of_the_scene_stay(scene: Scene, tmp_path: Path) -> None:
    source = write_folder(tmp_path / "room", scene, frames=5)
    before = {path: path.stat().st_mtime_ns for path in (source / "rgb").iterdir()}
    calibration = ["--calibration", str(source / "K.npy"), "--json"]
    assert main(["reconstruct", str(source / "rgb"), "--out", str(source), *calibration]) == 0
    assert {path: path.stat().st_mtime_ns for path in (source / "rgb").iterdir()} == before
    assert read_poses(source / "dynamicBA/base").shape == (5, 4, 4)


def named_by(
    url: str, folder: Path, clip: Clip, masks: NDArray[np.int32], given: dict[int, str] | None = None
) -> tuple[Done, StageLog]:
    namer = ObjectNamer(ChatEndpoint(url=url, model="clever", pause=0.0))
    log = StageLog(folder)
    log.run("flow", lambda tell: Done(facts={"key_frames": [0, 2]}), inputs={}, files=[])
    log.run("objects", lambda tell: Done(), inputs={}, files=[])
    naming = Naming(log, Question(namer=namer, about=url), given or {})
    naming.ask(clip, masks)
    naming.wait()
    return naming.write(clip, masks), log


def test_a_model_is_asked_and_its_failure_told(scene: Scene, tmp_path: Path) -> None:
    answer = json.dumps({"dynamic": ["tumbling crate"], "reasoning": {"tumbling crate": "It is striped."}})
    clip = Clip(name="c", rgb=scene["rgb"][:3], stamps_ns=np.arange(3) * NS)
    masks = scene["label"][:3].astype(np.int32)
    with endpoint(says("no idea", status=400), says(answer)) as (url, asked):
        done, log = named_by(url, tmp_path, clip, masks)
        assert done.facts["names"]["1"].endswith("object") and "no names of a model" in log.caveats[0]
        for _ in range(2):  # the second time it has answered
            done, log = named_by(url, tmp_path, clip, masks)
            assert done.facts["names"] == {"1": "tumbling crate"} and not log.caveats
        assert len(asked.bodies) == 2 and read_labels(tmp_path) == {1: "tumbling crate"}
    assert read_answer(answer_path(tmp_path, "c")).reasons == {"tumbling crate": "It is striped."}


def test_names_get_to_the_objects_that_a_model_sees(scene: Scene, tmp_path: Path) -> None:
    clip = Clip(name="c", rgb=scene["rgb"][:3], stamps_ns=np.arange(3) * NS)
    masks = scene["label"][:3].astype(np.int32)
    masks[1, 3:20, 3:20] = 4  # in no key frame
    rows, columns = np.nonzero(masks[1] == 1)
    where = {"flying box": (columns.mean() / 160, rows.mean() / 120), "left corner": (11 / 160, 11 / 120)}
    asked = Asked()
    with endpoint(looks_and_says(asked, lambda picture: where), asked=asked) as (url, _):
        done, _ = named_by(url, tmp_path, clip, masks, given={4: "dull patch"})
    assert len(asked.bodies) == 1 and len(shown_pictures(asked.bodies[0])) == 3
    assert done.facts["names"] == {"1": "flying box", "4": "left corner"} and not done.caveats
    assert read_labels(tmp_path) == {1: "flying box", 4: "left corner"}
    said = json.loads(answer_path(tmp_path, "c").read_text())
    assert said["dynamic"] == ["flying box", "left corner"] and said["reasoning"]["left corner"] == "It is left corner."


@pytest.mark.parametrize(
    ("dynamic", "named", "caveat"),
    [
        (["4: far thing"], {"4": "far thing"}, "no clear name to 1 of 2 objects (1)"),
        (["1: odd one", "4: odd one", "4: far thing"], {}, "no names of a model"),
        (["odd one"], {}, "1 names for 2 numbers"),
    ],
)
def test_objects_that_the_model_does_not_name_keep_their_names(
    scene: Scene, tmp_path: Path, dynamic: list[str], named: dict[str, str], caveat: str
) -> None:
    clip = Clip(name="c", rgb=scene["rgb"][:3], stamps_ns=np.arange(3) * NS)
    masks = scene["label"][:3].astype(np.int32)
    masks[:, 3:20, 3:20] = 4
    with endpoint(says(json.dumps({"dynamic": dynamic, "reasoning": {}}))) as (url, _):
        done, log = named_by(url, tmp_path, clip, masks, given={1: "known box"})
    assert caveat in " ".join([*log.caveats, *done.caveats])
    names = done.facts["names"]
    assert names["1"] == "known box" and ("object" in names["4"] or names["4"] == named["4"])
    said = read_answer(answer_path(tmp_path, "c"))
    assert said.objects == tuple(names.values()) and "% of the image" in said.reasons["known box"]


def test_a_scene_that_is_done_gets_names_of_a_model_later(
    done: Path, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "*")
    out, source = shutil.copytree(done, tmp_path / "out"), write_folder(tmp_path / "room", scene)
    answer = json.dumps({"dynamic": {"1": "tumbling crate"}, "reasoning": {"1": "Striped."}})
    with endpoint(says(answer)) as (url, asked):
        fresh = []
        for _ in range(2):
            assert main(["reconstruct", str(source), "--out", str(out), "--json", "--vlm-url", url]) == 0
            result = json.loads(capsys.readouterr().out)
            fresh.append([name for name, stage in result["stages"].items() if stage["fresh"]])
            assert [one["name"] for one in result["objects"]] == ["tumbling crate"] and not result["caveats"]
    assert fresh == [["question", "names", "points"], []] and len(asked.bodies) == 1
    assert asked_numbers(asked.bodies[0]) == [1] and read_labels(out) == {1: "tumbling crate"}
    assert read_answer(answer_path(out, "room")).reasons == {"tumbling crate": "Striped."}


def test_without_objects_the_model_is_asked_what_moves(scene: Scene, tmp_path: Path) -> None:
    clip = Clip(name="c", rgb=scene["rgb"][:3], stamps_ns=np.arange(3) * NS)
    with endpoint(says('{"dynamic": ["grey ghost"], "reasoning": {}}')) as (url, asked):
        done, _ = named_by(url, tmp_path, clip, np.zeros((3, 120, 160), np.int32))
    assert asked_numbers(asked.bodies[0]) == [] and done.facts["names"] == {}
    assert read_answer(answer_path(tmp_path, "c")).objects == ("grey ghost",)


# What cannot be done.


def test_a_clip_that_tells_nothing_leaves_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (4, 60, 80, 3), np.uint8)
    for frame, rgb in enumerate(noise):
        write_picture(tmp_path / "noise" / f"{frame}.png", rgb)
    assert main(["reconstruct", str(tmp_path / "noise"), "--out", str(tmp_path / "out")]) == 1
    assert "fourd reconstruct:" in capsys.readouterr().err
    result = read_result(tmp_path / "out")
    assert result["failure"] and "path" not in result and set(result["stages"]) == {"frames", "flow", "tracks"}
    assert "could not be found" in (tmp_path / "out/index.html").read_text()
    with pytest.raises(InvalidResults, match="nothing was reconstructed"):
        read_scene(tmp_path / "out")


def test_one_frame_is_no_path(scene: Scene, tmp_path: Path) -> None:
    clip = Clip(name="one", rgb=scene["rgb"][:1], stamps_ns=np.zeros(1, np.int64))
    with pytest.raises(CannotReconstruct, match="two frames"):
        reconstruct.reconstruct(clip, tmp_path)
    assert (tmp_path / "rgb/00000.png").is_file() and read_result(tmp_path)["failure"]
    log = (tmp_path / "processing_log_one.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d - (INFO|WARNING|ERROR) - ", line) for line in log)
    assert log[0].endswith("frames: begins") and "two frames" in log[-1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--out", "{source}"], "the source"),
        (["--out", "{root}/out", "--camera", "head"], "of bags"),
        (["--out", "{root}/out", "--depth", "{root}/none"], "0 frames"),
        (["--out", "{root}/out", "--masks", "{root}/none"], "0 frames"),
        (["--out", "{root}/out", "--tracks", "{root}/none.npz"], "no file"),
        (["--out", "{root}/out", "--calibration", "{root}/none.yaml"], "cannot be read"),
        (["--out", "{root}/out", "--flow", "psychic"], "not registered"),
        (["--out", "{root}/out", "--vlm-model", "clever"], "--vlm-url"),
        (["--out", "{root}/out", "--start", "99"], "no frames"),
        (["--out", "{root}/out", "--tracks", "{root}/short.npz"], "the tracks are of"),
    ],
)
def test_bad_inputs_are_told(
    more: list[str], message: str, scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_folder(tmp_path / "room", scene, frames=3)
    short = Tracks(
        positions=np.zeros((2, 4, 2)), visible=np.ones((2, 4), bool), born=np.zeros(4, np.int64), width=9, height=9
    )
    write_cotracker(short, tmp_path, interval=1, grid=2).rename(tmp_path / "short.npz")
    words = [word.format(source=source, root=tmp_path) for word in more]
    assert main(["reconstruct", str(source), *words]) == 1
    assert message in capsys.readouterr().err


def test_the_official_schedule_needs_depth(scene: Scene, tmp_path: Path) -> None:
    clip = Clip(name="c", rgb=scene["rgb"][:2], stamps_ns=np.arange(2))
    with pytest.raises(InvalidParameter, match="needs depth"):
        reconstruct.reconstruct(clip, tmp_path, options=reconstruct.PipelineOptions(schedule="official"))
    assert not list(tmp_path.iterdir())


def test_calibration_files(tmp_path: Path) -> None:
    matrix = [500.0, 0, 320, 0, 501, 240, 0, 0, 1]
    said = {
        "image_width": 640,
        "image_height": 480,
        "camera_matrix": {"rows": 3, "cols": 3, "data": matrix},
        "distortion_model": "plumb_bob",
        "distortion_coefficients": {"rows": 1, "cols": 5, "data": [0.1, 0, 0, 0, 0]},
    }
    path = tmp_path / "camera.yaml"
    path.write_text(json.dumps(said))  # JSON is YAML
    camera = read_calibration(path, width=1, height=1)
    assert (camera.width, camera.height, camera.K[1, 1]) == (640, 480, 501) and camera.distorted
    for wrong in ("[1, 2]", "camera_matrix: {data: [1, 2]}", "a: [", '"image_width"'):
        path.write_text(wrong)
        with pytest.raises(InvalidCamera, match="no calibration"):
            read_calibration(path, width=640, height=480)


def test_depth_and_masks_of_all_frames_or_of_those_chosen(tmp_path: Path) -> None:
    clip = Clip(name="c", rgb=np.zeros((2, 12, 16, 3), np.uint8), stamps_ns=np.arange(2))
    options = ClipOptions(start=1, stride=2, max_frames=2)
    for frame in range(4):
        write_picture(tmp_path / "mm" / f"{frame}.png", np.full((24, 32), 1000 * frame, np.uint16))
        np.save(tmp_path / f"{frame}.npy", np.full((24, 32), frame, np.uint8))
    depth = with_depth(clip, tmp_path / "mm", options).depth
    assert depth is not None and depth.shape == (2, 12, 16) and depth[:, 0, 0].tolist() == [1, 3]
    masks = with_masks(clip, tmp_path, options, width=32, height=24).masks
    assert masks is not None and masks.shape == (2, 12, 16) and masks[:, 0, 0].tolist() == [1, 3]
    with pytest.raises(InvalidClip, match="of 4 frames"):
        with_depth(clip, tmp_path / "mm", ClipOptions(start=3))
    write_picture(tmp_path / "mm/0.png", np.zeros((24, 32, 3), np.uint8))
    with pytest.raises(InvalidClip, match="16-bit"):
        with_depth(clip, tmp_path / "mm", ClipOptions(max_frames=2))


def test_velocities() -> None:
    T = np.tile(np.eye(4), (5, 1, 1))
    T[:, 0, 3] = 0.2 * np.arange(5)
    T[3] = np.nan
    found = twists(T, np.arange(5) * NS // 10)
    assert np.allclose(found[:3], [2, 0, 0, 0, 0, 0]) and np.isnan(found[3:]).all()
