"""``fourd view``: the points of a file, a server that a browser finds them at, recordings, and files that are none."""

import re
import signal
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import viser
import zstandard
from rollout_rig import STEPS, assert_same, make_rollout, make_saved, make_truth
from websockets.sync.client import connect

from fourd_ros.cli import main
from fourd_ros.data.viser_npz import CENTRE, SCALE, content_of_videos, content_of_view, reproject, save_content
from fourd_ros.errors import InvalidParameter, InvalidRollout, MissingCamera
from fourd_ros.geometry.transforms import apply
from fourd_ros.viewer.film_scene import T_SCENE_OPTICAL, scene_of_content
from fourd_ros.viewer.live_viewer import BESIDE, HIDDEN, IN_PLACE, LiveViewer
from fourd_ros.viewer.point_colours import by_label, by_observed, by_sigma
from fourd_ros.viewer.point_scene import PointScene, SceneOptions, scene_of_rollout
from fourd_ros.viewer.scene_file import read_scene
from fourd_ros.world_model.rollout_file import save_rollout

FILMS = Path(__file__).parent / "golden" / "kinema4d" / "aux" / "viser"


@pytest.fixture
def rollout_file(tmp_path: Path) -> Path:
    saved = make_saved()
    save_rollout(saved.rollout, tmp_path / "rollout.npz", truth=saved.truth)
    return tmp_path / "rollout.npz"


# What is shown.


def test_points_of_a_rollout_stand_in_the_world() -> None:
    saved = make_saved()
    scene = scene_of_rollout(saved)
    assert [(camera.view, camera.true) for camera in scene.cameras] == [
        ("front", False),
        ("wrist/colour", False),
        ("front", True),
    ]
    assert scene.rate == 4.0 and scene.colourings == ("rgb", "sigma", "label", "observed") and scene.has_truth
    for camera in scene.cameras[:2]:
        view = saved.rollout.views[camera.view]
        for step, frame in enumerate(camera.frames):
            known = np.isfinite(view.points[step]).all(axis=-1)
            expected = apply(view.T_world_camera[step], view.points[step][known].astype(np.float64))
            assert frame is not None
            np.testing.assert_allclose(frame.points, expected, atol=1e-6)
            np.testing.assert_array_equal(frame.colours["rgb"], view.rgb[step][known])
            np.testing.assert_array_equal(frame.T_scene_camera, view.T_world_camera[step])
            np.testing.assert_array_equal(frame.image, view.rgb[step])


def test_truth_is_shown_where_it_is_known() -> None:
    truth = make_truth()  # of the start and the steps 1, 2 and 4
    true = scene_of_rollout(make_saved()).cameras[2]
    assert [frame is not None for frame in true.frames] == [True, True, False, True]
    assert true.frames[3] is not None
    np.testing.assert_array_equal(true.frames[3].image, truth[3].views["front"].rgb)
    beside = scene_of_rollout(make_saved()).beside
    assert beside[2] == 0 and np.linalg.norm(beside) > 0.3
    assert not scene_of_rollout(replace(make_saved(), truth=truth[:1])).has_truth


def test_views_frames_and_points_are_chosen() -> None:
    options = SceneOptions(views=("front",), max_points=80, time_stride=2)
    scene = scene_of_rollout(make_saved(), options)
    assert scene.views == ("front",) and scene.times.tolist() == [0.25, 0.75]
    assert [len(frame.points) for _, frame in scene.known()] == [20, 20, 20]
    with pytest.raises(MissingCamera, match=r"\['side'\] asked for; the rollout has \['front', 'wrist/colour'\]"):
        scene_of_rollout(make_saved(), SceneOptions(views=("side",)))
    with pytest.raises(InvalidParameter, match="max_points is 0"):
        SceneOptions(max_points=0)


def test_colours_tell_what_is_known_about_points() -> None:
    rgb = np.full((5, 3), 140, np.uint8)
    sure, unsure, lost, beyond, unknown = by_sigma(rgb, np.array([0, 0.025, 0.05, 9, np.nan], np.float32)).astype(int)
    assert sure[2] > sure[0] and lost[0] > lost[2] and unsure[1] > lost[1]
    assert (lost == beyond).all() and len(set(unknown)) == 1
    colours = by_label(rgb, np.array([0, 1, 2, 16, 17], np.uint32))
    assert len({tuple(colour) for colour in colours}) == 5
    seen, unseen = by_observed(rgb[:2], np.array([True, False]))
    assert (seen == 140).all() and (unseen != 140).any()


def test_a_file_of_kinema4d_shows_the_predicted_points_or_what_the_original_shows() -> None:
    content = content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4")
    (camera,) = scene_of_content(content, title="film").cameras
    predicted = content["pointmap"][2].transpose(1, 2, 0).reshape(-1, 3)
    predicted = predicted[predicted.any(axis=-1)]
    assert camera.frames[2] is not None
    np.testing.assert_allclose(camera.frames[2].points, predicted[:, [0, 2, 1]] * [1, 1, -1], atol=1e-6)
    (camera,) = scene_of_content(content, title="film", options=SceneOptions(reprojection=True)).cameras
    shown = reproject(content, 2)
    assert camera.frames[2] is not None
    np.testing.assert_allclose(camera.frames[2].points, apply(T_SCENE_OPTICAL, shown.points), atol=1e-6)
    assert (camera.fov, camera.aspect) == (shown.fov, shown.aspect)


def test_of_a_rollout_the_file_has_metres_and_both_ways_agree() -> None:
    view = make_rollout().views["front"]
    view = replace(view, camera=replace(view.camera, distortion=np.zeros(0)))
    view.points[:] = view.camera.rays() * view.points[..., 2:]
    content = content_of_view(view)
    assert {CENTRE, SCALE} <= set(content)
    (metric,) = scene_of_content(content, title="x").cameras
    (projected,) = scene_of_content(content, title="x", options=SceneOptions(reprojection=True)).cameras
    first, again = metric.frames[0], projected.frames[0]
    assert first is not None and again is not None
    np.testing.assert_array_equal(first.T_scene_camera, again.T_scene_camera)
    distances = np.linalg.norm(first.points[:, None] - again.points, axis=-1).min(axis=1)
    assert np.median(distances) < 1e-5


# The server.


def hear(viewer: LiveViewer) -> list[dict[str, Any]]:
    """What a browser is told when it comes."""
    url = viewer.url.replace("http", "ws", 1)
    messages: list[dict[str, Any]] = []
    with connect(url, subprotocols=[f"viser-v{viser.__version__}"], max_size=None) as client:  # type: ignore[list-item]
        while not any(message["type"] == "ReplayDoneMessage" for message in messages):
            data = client.recv(timeout=10)
            assert isinstance(data, bytes)
            whole, packed = (int.from_bytes(data[start : start + 8], "little") for start in (0, 8))
            plain = zstandard.ZstdDecompressor().decompress(data[16 : 16 + packed], max_output_size=whole)
            messages += msgspec.msgpack.decode(plain)["messages"]
    return messages


@pytest.fixture(scope="module")
def viewer() -> Iterator[LiveViewer]:
    with LiveViewer(scene_of_rollout(make_saved()), port=0) as viewer:
        yield viewer


def shown(viewer: LiveViewer) -> set[str]:
    """Names of the clouds that can be seen."""
    folders = ("/imagined/front", "/imagined/wrist_colour", "/truth/front")
    names = [f"{folder}/{step:04d}" for folder in folders for step in range(STEPS)]
    return {name for name in names if (node := viewer.server.scene.get_handle_by_name(name)) and node.visible}


def test_a_browser_is_served_the_page_and_the_scene(viewer: LiveViewer) -> None:
    assert viewer.server.get_host() == "127.0.0.1"
    with urllib.request.urlopen(viewer.url, timeout=10) as answer:
        assert answer.status == 200 and b"<html" in answer.read()
    nodes = {message["name"]: message for message in hear(viewer) if message["type"] == "PointCloudMessage"}
    imagined = {f"/imagined/{view}/{step:04d}" for view in ("front", "wrist_colour") for step in range(STEPS)}
    assert set(nodes) == imagined | {f"/truth/front/{step:04d}" for step in (0, 1, 3)}


def test_the_slider_shows_one_frame_and_its_cameras(viewer: LiveViewer) -> None:
    scene = viewer.scene
    viewer.show(2)
    assert shown(viewer) == {"/imagined/front/0002", "/imagined/wrist_colour/0002"}
    assert viewer.controls.time.value == "0.75 s"
    viewer.advance()
    assert shown(viewer) == {"/imagined/front/0003", "/imagined/wrist_colour/0003", "/truth/front/0003"}
    image = viewer.server.scene.get_handle_by_name("/imagined/front/camera").image  # type: ignore[union-attr]
    np.testing.assert_array_equal(image, scene.cameras[0].frames[3].image)  # type: ignore[union-attr]
    viewer.advance()
    assert viewer.controls.step.value == 0


def test_controls_change_what_is_seen(viewer: LiveViewer) -> None:
    controls = viewer.controls
    controls.all_frames.value, controls.every.value = True, 2
    assert {name[-4:] for name in shown(viewer)} == {"0000", "0002"}
    controls.all_frames.value = False
    controls.views["wrist/colour"].value = False
    assert shown(viewer) == {"/imagined/front/0000", "/truth/front/0000"}
    place = viewer.server.scene.get_handle_by_name("/truth")
    frustum = viewer.server.scene.get_handle_by_name("/truth/front/camera")
    assert place is not None and frustum is not None
    for where, visible, moved in ((IN_PLACE, True, False), (HIDDEN, False, False), (BESIDE, True, True)):
        controls.truth.value = where
        assert ("/truth/front/0000" in shown(viewer)) == visible == frustum.visible
        assert bool(np.any(place.position)) == (moved or where == BESIDE)
    controls.frusta.value = False
    assert not frustum.visible
    controls.frusta.value = controls.views["wrist/colour"].value = True


def test_points_are_coloured_and_sized(viewer: LiveViewer) -> None:
    imagined: Any = viewer.server.scene.get_handle_by_name("/imagined/front/0001")
    true: Any = viewer.server.scene.get_handle_by_name("/truth/front/0001")
    frame, true_frame = viewer.scene.cameras[0].frames[1], viewer.scene.cameras[2].frames[1]
    assert frame is not None and true_frame is not None
    for colouring in ("sigma", "label", "observed", "rgb"):
        viewer.controls.colouring.value = colouring
        np.testing.assert_array_equal(imagined.colors, frame.colours[colouring])
        np.testing.assert_array_equal(true.colors, true_frame.colours["rgb"])
    viewer.controls.point_size.value = 0.02
    assert imagined.point_size == true.point_size == 0.02


def test_it_plays_when_told_to(viewer: LiveViewer, wait_for: Any) -> None:
    stop = threading.Event()
    steps: list[int] = []
    viewer.show(0)
    note = viewer.controls.step.on_update(lambda event: steps.append(event.target.value))
    viewer.controls.rate.value = 60.0
    player = threading.Thread(target=viewer.run, args=(stop,))
    player.start()
    assert steps == []
    viewer.controls.playing.value = True
    wait_for(lambda: len(steps) > 2 * STEPS, "it plays")
    viewer.controls.playing.value = False
    stop.set()
    player.join(5)
    assert not player.is_alive() and steps[:5] == [1, 2, 3, 0, 1]
    viewer.controls.step.remove_update_callback(note)


def test_nothing_leaves_the_machine(viewer: LiveViewer) -> None:
    assert viewer.server.request_share_url() is None
    theme = [message for message in hear(viewer) if message["type"] == "ThemeConfigurationMessage"]
    assert theme and not theme[-1]["show_share_button"]


def test_addresses_that_cannot_be_had_are_refused_at_once() -> None:
    scene = scene_of_rollout(make_saved())
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        for address, reason in (
            ({"port": taken}, "Address already in use"),
            ({"port": 70000}, "ports go from 0 to 65535"),
            ({"port": 0, "host": "192.0.2.1"}, "Cannot assign requested address"),
        ):
            with pytest.raises(InvalidParameter, match=rf"{reason}.*choose another --port"):
                LiveViewer(scene, **address)  # type: ignore[arg-type]


# The command.


def test_the_command_serves_until_control_c(other_process: Any, wait_for: Any, rollout_file: Path) -> None:
    program = other_process("-m", "fourd_ros.cli", "view", str(rollout_file), "--port", "0", "--no-browser")
    found = wait_for(lambda: re.search(r"test, candidate 3, sample 1: (http://127\.0\.0\.1:\d+)", program.output()))
    with urllib.request.urlopen(found[1], timeout=10) as answer:
        assert answer.status == 200
    program.process.send_signal(signal.SIGINT)
    assert program.process.wait(240) == 0
    assert len(program.output().splitlines()) == 1


def test_recordings_are_written_whole(rollout_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("x.viser", "x.html"):
        assert main(["view", str(rollout_file), "--record", str(tmp_path / name), "--frame-rate", "2"]) == 0
        assert capsys.readouterr().out == f"{tmp_path / name}: test, candidate 3, sample 1, 4 frames\n"
    data = (tmp_path / "x.viser").read_bytes()
    plain = zstandard.ZstdDecompressor().decompress(data[8:], max_output_size=int.from_bytes(data[:8], "little"))
    contents = msgspec.msgpack.decode(plain[8 : 8 + int.from_bytes(plain[:8], "little")])
    assert contents["durationSeconds"] == STEPS / 2
    changes = [pair for pair in contents["messages"] if pair[1]["type"] == "SetSceneNodeVisibilityMessage"]
    seen = [
        (time, change["name"][-4:])
        for time, change in changes
        if change["visible"] and change["name"].startswith("/imagined/front/0")
    ]
    assert seen == [(0.0, "0000"), (0.5, "0001"), (1.0, "0002"), (1.5, "0003")]
    page = (tmp_path / "x.html").read_text()
    assert "<html" in page and "__VISER_EMBED_DATA__" in page
    assert main(["view", str(rollout_file), "--record", str(tmp_path / "x.gif")]) == 1
    assert "recordings end in .viser or .html" in capsys.readouterr().err
    assert not list(tmp_path.glob("*.partial")) and not (tmp_path / "x.gif").exists()


def test_without_viser_the_command_names_it(
    rollout_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main(["view", str(rollout_file), "--no-browser"]) == 1
    assert re.search(r"needs viser: .*pip install .*viser", capsys.readouterr().err)


def write_arrays(path: Path, **arrays: np.ndarray) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]


def test_files_that_show_nothing_are_refused(
    tmp_path: Path, rollout_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = make_rollout().views["front"]
    unknown = replace(view, points=np.full_like(view.points, np.nan))
    lost = replace(view, T_world_camera=np.full_like(view.T_world_camera, np.inf))
    film = dict(content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4"))
    save_rollout(make_rollout(views={"front": unknown}), tmp_path / "nan.npz")
    save_rollout(make_rollout(views={"front": lost}), tmp_path / "lost.npz")
    save_rollout(make_rollout(times=np.zeros(0), views={}, objects=()), tmp_path / "empty.npz")
    save_content({**film, "pointmap": np.full_like(film["pointmap"], np.nan)}, tmp_path / "film.npz")
    save_content({**film, "cam_c2w": np.full_like(film["cam_c2w"], np.nan)}, tmp_path / "poses.npz")
    write_arrays(tmp_path / "keys.npz", points=np.zeros(3))
    write_arrays(tmp_path / "lacks.npz", pointmap=np.zeros(3))
    write_arrays(tmp_path / "pickled.npz", **{**film, "video": np.array([{}], object)})
    (tmp_path / "cut.npz").write_bytes(rollout_file.read_bytes()[:-40])
    (tmp_path / "x.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    for words, message in (
        (["nan.npz"], "no point is known"),
        (["lost.npz"], "camera pose holds numbers that are not finite"),
        (["empty.npz"], "no frames"),
        (["film.npz"], "no point is known"),
        (["poses.npz", "--reprojection"], "not finite"),
        (["keys.npz"], "neither a rollout .* nor a file of Kinema4D's viewer .*; it has \\['points.npy'\\]"),
        (["lacks.npz"], "lacks .*'video'"),
        (["pickled.npz"], "pickled objects are never read"),
        (["cut.npz"], "BadZipFile"),
        (["x.pkl"], "is a pickle, which could run anything"),
        (["absent.npz"], "there is no file"),
        (["rollout.npz", "--reprojection"], "only files of Kinema4D's viewer"),
        (["rollout.npz", "--views", "side"], r"\['side'\] asked for"),
        (["film.npz", "--views", "front"], "has no views to choose from"),
    ):
        assert main(["view", str(tmp_path / words[0]), *words[1:], "--no-browser"]) == 1, words
        assert re.search(message, capsys.readouterr().err), words


def test_any_file_is_told_by_what_it_holds(tmp_path: Path, rollout_file: Path) -> None:
    content = content_of_videos(FILMS / "rgb.mp4", FILMS / "xyz.mp4")
    save_content(content, tmp_path / "film.npz")
    assert read_scene(tmp_path / "film.npz", SceneOptions(time_stride=2)).times.tolist() == [0, 2 / 24, 4 / 24]
    read: PointScene = read_scene(rollout_file)
    assert_same(read.cameras, scene_of_rollout(make_saved()).cameras)
    with pytest.raises(InvalidRollout, match="no point is known"):
        scene_of_content({**content, "pointmap": np.zeros_like(content["pointmap"])}, title="black")
