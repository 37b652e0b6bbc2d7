"""Scenes that 4D LangSplat annotated: what is read, what is asked, how it is scored."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from language_rig import model_folder
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from fourd_ros.cli import main
from fourd_ros.errors import InvalidDataset
from fourd_ros.evaluation.language_queries import ask, read_query_scene, score
from fourd_ros.scene_language.linear_codec import linear_codec
from fourd_ros.scene_language.text_search import ModelTexts, TextSearch

WORDS = ("mug", "open mug", "hand", "object", "table")
FRAMES, HEIGHT, WIDTH = 6, 45, 60
SEEN = (42, 56)
"""Of pictures that is whole patches."""

MUG = (slice(11, 31), slice(12, 42))
TRUE = (3, 5)


class OneHot:
    """Every word has a direction of its own; an open mug is between a mug and what only open mugs have."""

    name, dimension = "one hot", len(WORDS)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = np.eye(len(WORDS), dtype=np.float32)
        vectors[1] += vectors[0]
        return np.stack([vectors[WORDS.index(text)] / np.linalg.norm(vectors[WORDS.index(text)]) for text in texts])


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A mug that is open from frame 3 to 5; masks of frames 1, 2, 4 and 5."""
    root = tmp_path / "americano"
    (root / "rgb" / "2x").mkdir(parents=True)
    (root / "annotations" / "train").mkdir(parents=True)
    for number in range(1, FRAMES + 1):
        picture = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
        Image.fromarray(picture).save(root / "rgb" / "2x" / f"{number:06d}.png")
    (rows, columns), chosen = MUG, (1, 2, 4, 5)
    box = [columns.start, rows.start, columns.stop - 1, rows.start, columns.stop - 1, rows.stop - 1]
    polygon = [*box, columns.start, rows.stop - 1]
    images = [
        {"id": frame, "file_name": f"{frame + 1:06d}_png.jpg", "height": HEIGHT, "width": WIDTH} for frame in chosen
    ]
    annotations = [{"image_id": frame, "category_id": 7, "segmentation": [polygon]} for frame in chosen]
    coco = {"images": images, "categories": [{"id": 7, "name": "mug"}], "annotations": annotations}
    (root / "annotations" / "train" / "_annotations.coco.json").write_text(json.dumps(coco))
    (root / "annotations" / "video_annotations.json").write_text(json.dumps({"mug": {"open mug": [TRUE]}}))
    return root


def search() -> TextSearch:
    codec = linear_codec(np.eye(len(WORDS)), numbers=len(WORDS))
    return TextSearch(codec, OneHot(), ModelTexts(encoder="one hot", negatives=("object",)))


def features(found: TextSearch) -> Iterator[Tensor]:
    """A mug where it is, open when it is."""
    (rows, columns), (above, left) = MUG, ((HEIGHT - SEEN[0]) // 2, (WIDTH - SEEN[1]) // 2)
    table, mug, opened = found.codec.encode(torch.from_numpy(OneHot().encode(["table", "mug", "open mug"])))
    for frame in range(FRAMES):
        codes = table.expand(3, *SEEN, -1).clone()
        inside = opened if TRUE[0] <= frame <= TRUE[1] else mug
        codes[:, rows.start - above : rows.stop - above, columns.start - left : columns.stop - left] = inside
        yield torch.movedim(codes, -1, 1)


def test_a_scene_is_read_with_its_prompts(scene: Path) -> None:
    found = read_query_scene(scene, layout="hypernerf")
    assert len(found.pictures) == FRAMES and [frame.frame for frame in found.masks] == [1, 2, 4, 5]
    assert found.prompts == ["mug", "open mug"] and found.timed == {"open mug": "mug"}


def test_scenes_of_another_layout_or_fewer_pictures_are_refused(scene: Path) -> None:
    with pytest.raises(InvalidDataset, match="cam00"):
        read_query_scene(scene, layout="neu3d")
    (scene / "rgb" / "2x" / "000006.png").unlink()
    with pytest.raises(InvalidDataset, match="frames"):
        read_query_scene(scene, layout="hypernerf")


def test_what_is_seen_is_scored_by_kind_of_prompt(scene: Path) -> None:
    found, texts = read_query_scene(scene, layout="hypernerf"), search()
    table = score(found, ask(found, texts, features(texts)), method="ours", title="americano")
    values = {(row.unit, row.metric): row.value for row in table.results()}
    assert values["mug", "iou"] > 0.85 and values["mug", "pixel_accuracy"] > 0.95
    assert values["open mug", "frame_accuracy"] == 1 and values["open mug", "video_iou"] > 0.85
    assert np.isnan([values["mug", "video_iou"], values["open mug", "iou"]]).all()


def test_a_prompt_that_is_told_at_the_wrong_time_is_scored_so(scene: Path) -> None:
    found, texts = read_query_scene(scene, layout="hypernerf"), search()
    backwards = iter(list(features(texts))[::-1])
    table = score(found, ask(found, texts, backwards), method="ours", title="americano")
    values = {(row.unit, row.metric): row.value for row in table.results()}
    assert values["open mug", "frame_accuracy"] == 0 and values["open mug", "video_iou"] == 0


def test_answers_of_too_few_frames_are_refused(scene: Path) -> None:
    found = read_query_scene(scene, layout="hypernerf")
    with pytest.raises(InvalidDataset, match="0 frames"):
        score(found, [], method="ours", title="americano")


def test_the_command_streams_and_scores(scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "language-queries", str(scene), "--model", str(model_folder(tmp_path / "model")), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"mIoU", "mAcc", "Acc", "vIoU"} and all(0 <= value <= 1 for value in told.values())
