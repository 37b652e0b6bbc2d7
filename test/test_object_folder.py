"""Objects of a prepared video in a folder: its layout, going on after a stop, what is refused."""

import json
from pathlib import Path
from typing import Any

import filmed_rig
import numpy as np
import pytest
import trimesh
from filmed_rig import CAMERA, film

from fourd_ros.cli import main
from fourd_ros.compositional.model import CompositionalObjects
from fourd_ros.compositional.object_folder import ClipChoice, reconstruct_folder
from fourd_ros.compositional.options import MotionOptions, SceneOptions
from fourd_ros.compositional.placed_objects import FilmOptions
from fourd_ros.compositional.prepared_clip import PreparedClip, read_prepared
from fourd_ros.compositional.segmentation.given_masks import GivenMasks
from fourd_ros.compositional.video_preparation import PreparationOptions, SourceClip, prepare_video
from fourd_ros.errors import AlreadyExists, InvalidClip

QUICK = FilmOptions(
    resolution=32, max_faces=60, scene=SceneOptions(steps=1, guidance=1), motion=MotionOptions(steps=1, guidance=1)
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedClip:
    folder = tmp_path_factory.mktemp("prepared") / "clip"
    rgb, numbers, depth = film(3)
    source = SourceClip(
        name="balls", indices=[0, 1, 2], stamps_ns=[0, 5 * 10**8, 10**9], rgb=rgb, depth=depth, camera=CAMERA
    )
    masks = GivenMasks(moving=np.where(numbers == 1, 1, 0), static=np.where(numbers == 2, 2, 0), labels={1: "red ball"})
    options = PreparationOptions(size=56, pictures="png")
    prepare_video(source, folder, segmenter=masks, options=options, recipe={})
    return read_prepared(folder)


def made(folder: Path, clip: PreparedClip, *, choice: ClipChoice | None = None, **changed: Any) -> dict[str, Any]:
    wanted = choice or ClipChoice(frames=(0, 1, 2))
    return reconstruct_folder(
        changed.pop("model", None) or filmed_rig.model(),
        clip,
        folder,
        choice=wanted,
        options=QUICK,
        recipe=changed.pop("recipe", {"one": 1}),
        **changed,
    )


def test_the_folder_has_the_layout_of_the_original(prepared: PreparedClip, tmp_path: Path) -> None:
    facts = made(tmp_path / "out", prepared)
    files = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert files == {
        *(f"scene/{name}.glb" for name in ("scene_000", "scene_001", "scene", "scene_all")),
        *(f"dynamic/object_001/frame_{frame:03d}.glb" for frame in range(3)),
        *(f"dynamic/dynamic_scene_frame_{frame:03d}.glb" for frame in range(3)),
        "animation.glb",
        "placement.json",
        "reconstruction.json",
    }
    assert len(trimesh.load_scene(tmp_path / "out" / "scene" / "scene_all.glb").geometry) == 2
    assert facts["times"] == [0.0, 0.5, 1.0] and facts["static"] == 1
    assert facts["objects"][0] == {"number": 1, "label": "red ball", "moves": True}
    placement = json.loads((tmp_path / "out" / "placement.json").read_text())
    assert placement["source"] == "depth" and np.array(placement["T_camera_cube"]).shape == (4, 4)


def test_a_run_that_was_stopped_goes_on_and_one_that_is_whole_is_left(
    prepared: PreparedClip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def stop(what: str, done: int, steps: int) -> None:
        if what == "meshes" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "out", prepared, progress=stop)
    assert not (tmp_path / "out" / "reconstruction.json").exists()
    with pytest.raises(AlreadyExists, match="other one"):
        made(tmp_path / "out", prepared, recipe={"one": 2})

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr(CompositionalObjects, "latents", never)
    facts = made(tmp_path / "out", prepared, progress=lambda what, done, steps: seen.append(steps))
    assert set(seen) == {5}, "one at rest, one at the reference, three frames"
    assert not (tmp_path / "out" / "work").exists()
    monkeypatch.setattr("fourd_ros.compositional.object_folder.extract_surface", never)
    assert made(tmp_path / "out", prepared) == facts


def test_the_network_may_find_objects_at_rest_itself_and_the_reference_may_be_another_frame(
    prepared: PreparedClip, tmp_path: Path
) -> None:
    choice = ClipChoice(frames=(0,), reference=2, static=2)
    facts = made(tmp_path / "out", prepared, choice=choice)
    assert facts["reference"] == "000002" and facts["frames"] == ["000000"]
    assert (tmp_path / "out" / "scene" / "scene_002.glb").is_file()
    none = made(tmp_path / "none", prepared, choice=ClipChoice(frames=(0, 1), static=0))
    assert none["static"] == 0 and (tmp_path / "none" / "scene" / "scene_000.glb").is_file()
    assert not (tmp_path / "none" / "scene" / "scene.glb").exists()


def test_folders_of_others_and_frames_that_are_not_there_are_refused(prepared: PreparedClip, tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(AlreadyExists, match="not empty"):
        made(tmp_path, prepared)
    with pytest.raises(InvalidClip, match="which has 3"):
        made(tmp_path / "out", prepared, choice=ClipChoice(frames=(0, 7)))


def test_the_command(
    prepared: PreparedClip, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = filmed_rig.write(tmp_path / "model")
    words = ["reconstruct-objects", str(prepared.folder), "--out", str(tmp_path / "out"), "--model", str(model)]
    quick = ["--steps", "1", "--guidance", "1", "--resolution", "32", "--max-faces", "60", "--end", "2"]
    assert main([*words, *quick, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["frames"] == ["000000", "000001"] and facts["model"] == "balls"
    assert main([*words, *quick]) == 0
    assert "1 objects at rest, moving ones [1]" in capsys.readouterr().out
    assert main([*words, *quick, "--seed", "3"]) == 1
    assert "other options" in capsys.readouterr().err
    assert main([*words, "--start", "9"]) == 1
    assert "choose no frame" in capsys.readouterr().err
