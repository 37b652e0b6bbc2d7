"""``fourd find`` and the picture of the example, on small random networks that say something everywhere."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from language_rig import HEIGHT, WIDTH, camera, model_folder, picture, small_model

from fourd_ros.cli import main
from fourd_ros.errors import InvalidModel, InvalidText
from fourd_ros.model_io.loading import load_model
from fourd_ros.scene_language.clip_files import summary, write_answer
from fourd_ros.scene_language.clip_search import search_clip
from fourd_ros.scene_language.found_picture import found_picture, with_legend
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.presence import PresenceGate
from fourd_ros.scene_language.text_search import TextSearch

FRAMES = 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    there = tmp_path_factory.mktemp("pictures")
    for number in range(FRAMES):
        cv2.imwrite(str(there / f"{number:03d}.png"), picture(number)[..., ::-1])
    return there


def find(pictures: Path, folder: Path, out: Path, *more: str, texts: tuple[str, ...] = ("red mug", "table")) -> int:
    asked = [word for text in texts for word in ("--text", text)]
    return main(["find", str(pictures), "--model", str(folder), "--out", str(out), *asked, *more])


def test_what_is_found_is_written_whole(
    pictures: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert find(pictures, folder, out, "--threshold", "1e-6", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "result.json").read_text())
    assert told["frames"] == FRAMES and not told["metric"]
    for number, one in enumerate(told["texts"]):
        name = f"{number:02d}_{one['text'].replace(' ', '_')}"
        masks = sorted((out / "masks" / name).iterdir())
        assert [int(path.stem) for path in masks] == one["frames"] and one["found"]
        mask = cv2.imread(str(masks[0]), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (HEIGHT, WIDTH) and mask.any() and set(np.unique(mask)) <= {0, 255}
        header, _, body = (out / "clouds" / f"{name}.ply").read_bytes().partition(b"end_header\n")
        count = int(header.split(b"element vertex ")[1].split(b"\n")[0])
        assert count > 0 and len(body) == 15 * count
    assert cv2.imread(str(out / "found.png")).shape[0] > 360
    assert find(pictures, folder, out, "--json") == 1 and "overwrite" in capsys.readouterr().err


def test_what_is_not_there_is_said(
    pictures: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert find(pictures, folder, out, "--threshold", "0.999999") == 0
    assert "red mug: not found" in capsys.readouterr().out
    assert not (out / "masks").exists() and not (out / "clouds").exists()
    assert find(pictures, folder, out, "--threshold", "1e-6", "--overwrite", "--max-frames", "2") == 0
    assert json.loads((out / "result.json").read_text())["frames"] == 2


def test_texts_that_are_none_and_places_that_are_taken_are_refused(
    pictures: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find(pictures, folder, tmp_path / "out", texts=("",)) == 1
    assert find(pictures, folder, tmp_path / "out", texts=("mug " * 2500,)) == 1
    assert "10000 characters" in capsys.readouterr().err
    assert find(pictures, folder, tmp_path / "out", "--camera", "front") == 1
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "letter.txt").write_text("dear")
    assert find(pictures, folder, tmp_path / "taken", "--overwrite") == 1
    assert (tmp_path / "taken" / "letter.txt").read_text() == "dear" and not (tmp_path / "out").exists()


def test_depth_makes_it_metric_and_things_lie_where_the_depth_says(folder: Path, tmp_path: Path) -> None:
    rgb = np.stack([picture(number) for number in range(3)])
    answer = search_clip(
        load_model(folder),
        TextSearch.from_folder(folder),
        ["table"],
        stamps_ns=np.arange(3),
        rgb=rgb,
        camera=camera(),
        depth=np.full((3, HEIGHT, WIDTH), 2.0, np.float32),
        gate=PresenceGate(relevancy=1e-6),
    )
    told = summary(answer)
    assert told["metric"] and told["metres_from"] == "depth"
    assert answer.masks.shape == answer.relevancy.shape == (3, 1, 42, 56)
    assert all(frame.features is None for frame in answer.frames)
    (things,) = answer.things
    assert things and things[0].last.frame is answer.frames[-1]
    centre = answer.frames[-1].T_world_camera[:3, 3] * answer.scale.metres
    assert 1.5 < np.median(np.linalg.norm(things[0].last.points - centre, axis=1)) < 3.5
    write_answer(answer, tmp_path / "out")


def test_a_model_without_language_and_empty_texts_are_refused(folder: Path) -> None:
    search, rgb = TextSearch.from_folder(folder), np.stack([picture(0)])
    with pytest.raises(InvalidModel, match="language head"):
        search_clip(SceneLanguage(small_model().geometry), search, ["mug"], stamps_ns=np.arange(1), rgb=rgb)
    with pytest.raises(InvalidText, match="empty"):
        search_clip(small_model(), search, ["  "], stamps_ns=np.arange(1), rgb=rgb)


def test_a_picture_has_every_text_in_its_colour() -> None:
    rgb = np.zeros((40, 200, 3), np.uint8)
    masks = np.zeros((2, 40, 200), bool)
    masks[0, :10, :10] = masks[1, 20:30, 20:30] = True
    shown = found_picture(rgb, masks)
    assert not shown[15, 15].any() and shown[5, 5].argmax() == 0 and shown[25, 25].argmax() == 2
    below = with_legend(shown, ["red mug", "caf\xe9"], [True, False])
    assert below.shape[1:] == (200, 3) and below.shape[0] > 70 and (below[41:] < 255).any()
