"""How scene language is judged: questions, answers, depth, paths, and the command that does it all."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from language_rig import model_folder
from numpy.typing import NDArray

from fourd_ros.cli import main
from fourd_ros.commands import evaluate_scene_language
from fourd_ros.data.scene_shards import TABLE, SceneFacts, SceneFrames, SceneShards, SceneThing, write_sequences
from fourd_ros.errors import InvalidDataset, InvalidImage, InvalidResults
from fourd_ros.evaluation.pose_metrics import pose_scores
from fourd_ros.evaluation.scene_answers import (
    PIXELS,
    SIMILARITIES,
    Answer,
    Limits,
    accuracy,
    answer_all,
    best_limits,
    judge_answers,
    judge_masks,
)
from fourd_ros.evaluation.scene_geometry import (
    ABS_REL,
    ABS_REL_METRIC,
    ATE,
    CONSTANT,
    CORNERS,
    DELTA,
    DRIFT,
    FIRST,
    RPE_ROTATION,
    STILL,
    SaidGeometry,
    baselines,
    judge_geometry,
    median_depth,
    network_says,
)
from fourd_ros.evaluation.scene_language import judge_sequences
from fourd_ros.evaluation.scene_questions import Question, questions
from fourd_ros.evaluation.two_view_path import two_view_path
from fourd_ros.geometry.transforms import from_rpy, invert
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.model_io.loading import load_model
from fourd_ros.scene_language.text_search import ModelTexts, TextSearch

FRAMES, HEIGHT, WIDTH = 5, 42, 56
MOVING, HELD = 1, 2
LABELS = ("red mug", "blue mug", "green mug", "white box", "grey can", "drawer")
NAMES = (("red mug", "white box", "drawer"), ("blue mug", "grey can", "drawer"))


def sequence(number: int) -> tuple[SceneFacts, SceneFrames]:
    """A mug that is held from frame 2 on, another thing and a few pixels of a drawer on a table; the camera moves."""
    named = [*enumerate(NAMES[number % 2], start=1), (TABLE, "table")]
    things = tuple(SceneThing(number=place, label=name, category=name.split()[-1]) for place, name in named)
    rng = np.random.default_rng(number)
    numbers = np.full((FRAMES, HEIGHT, WIDTH), TABLE, np.uint8)
    numbers[:, 5:20, 4:20], numbers[:, 20:35, 30:50], numbers[:, 40, 1:4] = 1, 2, 3
    depth = np.broadcast_to(1 + np.linspace(0, 1, HEIGHT)[:, None], numbers.shape).astype(np.float32).copy()
    depth[:, 0, 0] = np.nan
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    poses[:, 0, 3] = 0.05 * np.arange(FRAMES) ** 1.5
    states = np.zeros((FRAMES, len(things)), np.uint8)
    states[2:, 0] = MOVING | HELD
    facts = SceneFacts(name=f"{number:010d}", behaviour="test", rate=5.0, things=things)
    return facts, SceneFrames(
        rgb=rng.integers(0, 255, (*numbers.shape, 3)).astype(np.uint8),
        depth=depth,
        numbers=numbers,
        T_world_camera=poses,
        K=np.array([[50, 0, 27.5], [0, 50, 20.5], [0, 0, 1.0]]),
        states=states,
    )


@pytest.fixture
def shards(tmp_path: Path) -> SceneShards:
    write_sequences(tmp_path / "data" / "shards" / "a.safetensors", [sequence(number) for number in range(3)])
    return SceneShards(tmp_path / "data")


def asked(frame: int) -> list[Question]:
    return list(questions(*sequence(0), asked=[frame], labels=LABELS))


def test_texts_that_are_there_come_with_as_many_that_are_not() -> None:
    found = asked(3)
    for kind in ("category", "label", "colour", "state"):
        present = [one.text for one in found if one.kind == kind and one.mask is not None]
        absent = [one.text for one in found if one.kind == kind and one.mask is None]
        assert len(present) == len(absent) > 0, kind
    there = {(one.kind, one.text) for one in found if one.mask is not None}
    assert there >= {("category", "mug"), ("label", "red mug"), ("state", "held red mug"), ("surroundings", "table")}
    may_be_absent = {
        "category": {"can"},
        "label": {"blue mug", "green mug", "grey can"},
        "colour": {"blue mug", "green mug"},
        "state": {"held white box", "moving white box"},
    }
    for one in found:
        assert one.mask is not None or one.text in may_be_absent[one.kind], one


def test_masks_are_those_of_the_things() -> None:
    _, frames = sequence(0)
    for one in asked(3):
        if one.text in ("mug", "red mug", "held red mug"):
            np.testing.assert_array_equal(one.mask, frames.numbers[3] == 1)


def test_nobody_is_asked_of_few_pixels_nor_of_states_that_nothing_has() -> None:
    assert not any("drawer" in one.text for one in asked(3) if one.mask is not None)
    assert not any(one.kind == "state" for one in asked(0))


def test_questions_are_the_same_again() -> None:
    first, second = ([(one.kind, one.text) for one in asked(3)] for _ in range(2))
    assert first == second


def answer(*, kind: str = "label", present: bool, similar: int, sure_iou: float = 0.5) -> Answer:
    """So many pixels reach every similarity below 0.8, none above, whatever the relevancy."""
    pixels = np.tile(np.where(np.array(SIMILARITIES) < 0.8, similar, 0), (5, 1))
    iou = np.full((2, *pixels.shape), np.nan)
    if present:
        iou[0], iou[1] = 0.3, sure_iou
    return Answer(kind=kind, present=present, pixels=pixels, iou=iou)  # type: ignore[arg-type]


def limits(**other: Any) -> Limits:
    return replace(Limits(relevancy=0.5, similarity=0.7, pixels=8, rule="stretched"), **other)


def test_answers_are_judged_within_limits() -> None:
    answers = [answer(present=True, similar=30), answer(present=True, similar=3), answer(present=False, similar=0)]
    assert accuracy(answers, limits()) == pytest.approx(0.75)
    assert accuracy(answers, limits(pixels=2)) == 1
    assert accuracy(answers, limits(similarity=0.9)) == pytest.approx(0.5)
    judged = judge_answers(answers, limits())
    assert judged["iou_label"] == pytest.approx(0.15), "what is not found has no overlap"
    assert judge_answers(answers, limits(rule="sure"))["iou_label"] == pytest.approx(0.25)
    assert judged["present_label"] == pytest.approx(0.75) and np.isnan(judged["iou_category"])


def test_limits_are_those_that_tell_best() -> None:
    answers = [answer(present=True, similar=30, sure_iou=0.6), answer(present=False, similar=10)]
    found = best_limits(answers)
    assert found.similarity < 0.8 and found.pixels == 16 and found.rule == "sure"
    assert best_limits([answer(present=True, similar=30, sure_iou=0.1), answers[1]]).rule == "stretched"
    with pytest.raises(InvalidResults, match="no questions"):
        best_limits([answer(present=True, similar=3)])


def test_answers_of_a_search_are_its_masks(tmp_path: Path) -> None:
    search = TextSearch.from_folder(model_folder(tmp_path / "model"))
    features = torch.randn(3, search.codec.sizes.decoder[0], HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[:20] = True
    questions_asked = [Question(frame=0, kind="label", text="red mug", mask=truth)]
    (found,) = answer_all(search, features, questions_asked)
    for rule in ("stretched", "sure"):
        wanted = limits(relevancy=0.5, similarity=0.5, pixels=1, rule=rule)
        search.told = replace(
            search.told,
            gate=replace(search.told.gate, relevancy=0.5, similarity=0.5, pixels=1),
            masks=rule,
        )
        mask = search.search(features, ["red mug"]).masks[0].numpy()
        assert found.told(wanted) == mask.any()
        assert found.overlap(wanted) == pytest.approx(float((mask & truth).sum() / max(1, (mask | truth).sum())))
    assert answer_all(search, features, []) == []


def test_masks_without_words_have_an_overlap_and_no_luck() -> None:
    found = judge_masks(asked(3), {3: np.ones((HEIGHT, WIDTH), bool)})
    assert found["iou_category"] == pytest.approx(np.mean([15 * 16, 15 * 20]) / (HEIGHT * WIDTH))
    assert found["present_label"] == 0.5


def test_depth_is_judged_by_one_factor_and_in_metres_of_the_first_frame() -> None:
    _, frames = sequence(0)
    perfect = judge_geometry(network_says(frames.depth / 3, frames.T_world_camera, frames), frames)
    assert perfect[ABS_REL.name] == pytest.approx(0, abs=1e-6) and perfect[DELTA.name] == 1
    assert perfect[ABS_REL_METRIC.name] == pytest.approx(0, abs=1e-6)
    growing = frames.depth * np.linspace(1, 1.4, FRAMES)[:, None, None]
    told = judge_geometry(network_says(growing, frames.T_world_camera, frames), frames)
    assert told[ABS_REL_METRIC.name] == pytest.approx(np.linspace(0, 0.4, FRAMES)[1:].mean(), rel=1e-3)
    assert told[ABS_REL.name] < told[ABS_REL_METRIC.name]
    assert np.isnan(judge_geometry(SaidGeometry(), frames)[ABS_REL.name])


def test_paths_are_judged_after_a_similarity_and_in_metres() -> None:
    _, frames = sequence(0)
    small = frames.T_world_camera.copy()
    small[:, :3, 3] /= 4
    told = judge_geometry(SaidGeometry(T_first_camera=small, metres=3.0), frames)
    assert told[ATE.name] == pytest.approx(0, abs=1e-9) and told[RPE_ROTATION.name] == pytest.approx(0, abs=1e-6)
    travelled = frames.T_world_camera[1:, 0, 3]
    assert told[DRIFT.name] == pytest.approx(np.sqrt(np.mean((travelled / 4) ** 2)))
    still = judge_geometry(SaidGeometry(T_first_camera=np.tile(np.eye(4), (FRAMES, 1, 1))), frames)
    positions = frames.T_world_camera[:, 0, 3]
    assert still[ATE.name] == pytest.approx(positions.std()) and np.isnan(still[DRIFT.name])


def test_baselines_say_what_they_are_called(shards: SceneShards) -> None:
    frames = shards.frames(0)
    methods = baselines(2.0)
    constant, first, still = (methods[name](frames) for name in (CONSTANT, FIRST, STILL))
    assert constant.depth is not None and (constant.depth == 2).all() and constant.metres == 1
    assert first.depth is not None
    np.testing.assert_array_equal(first.depth[3], frames.depth[0])
    assert judge_geometry(still, frames)[DRIFT.name] > 0
    assert methods[CORNERS](frames).T_first_camera is not None
    assert median_depth(shards, sequences=2) == pytest.approx(1.5, abs=0.02)


def wall_seen_from(poses: NDArray[np.float64], K: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Pictures of a painted room corner: a wall behind and a nearer one at the left, from cameras that look at it."""
    rng = np.random.default_rng(0)
    noise = cv2.resize(rng.integers(40, 255, (48, 60)).astype(np.uint8), (800, 640), interpolation=cv2.INTER_LINEAR)
    pictures = []
    for pose in poses:
        picture = np.zeros((112, 140), np.uint8)
        for distance, left, right in ((3.0, 100, 800), (2.0, 0, 420)):
            wall = np.zeros_like(noise)
            wall[:, left:right] = noise[:, left:right]
            to_wall = np.array([[0.01, 0, -4], [0, 0.01, -3.2], [0, 0, distance]])
            R, t = invert(pose)[:3, :3], invert(pose)[:3, 3:]
            homography = K @ (R @ to_wall + t @ np.array([[0, 0, 1.0]]))
            seen = cv2.warpPerspective(wall, homography, (140, 112), flags=cv2.INTER_AREA)
            picture = np.where(seen > 0, seen, picture)
        pictures.append(np.repeat(picture[..., None], 3, axis=-1))
    return np.stack(pictures)


def test_corners_tell_the_path_in_a_room_that_stands_still() -> None:
    K = np.array([[120, 0, 69.5], [0, 120, 55.5], [0, 0, 1.0]])
    poses = np.stack([from_rpy((0.08 * k, 0.004 * k * k, 0.03 * k), (0, 0.01 * k, 0.005 * k)) for k in range(7)])
    found = two_view_path(wall_seen_from(poses, K), K)
    np.testing.assert_array_equal(found[0], np.eye(4))
    scores, standing = pose_scores(found, poses), poses[:, :3, 3].std(axis=0)
    assert scores.ate < 0.1 * np.linalg.norm(standing) and scores.rpe_rotation < 0.5


def test_a_path_of_pictures_that_show_nothing_stands_still() -> None:
    grey = np.full((4, 60, 80, 3), 128, np.uint8)
    np.testing.assert_array_equal(two_view_path(grey, np.eye(3)), np.tile(np.eye(4), (4, 1, 1)))
    with pytest.raises(InvalidImage, match="uint8"):
        two_view_path(grey.astype(np.float32), np.eye(3))


def test_pictures_of_no_whole_patches_are_refused(tmp_path: Path) -> None:
    facts, frames = sequence(0)
    narrow = replace(frames, rgb=frames.rgb[:, :40], depth=frames.depth[:, :40], numbers=frames.numbers[:, :40])
    write_sequences(tmp_path / "narrow" / "shards" / "a.safetensors", [(facts, narrow)])
    folder = model_folder(tmp_path / "model")
    judged = judge_sequences(
        load_model(folder), TextSearch.from_folder(folder), SceneShards(tmp_path / "narrow"), median=1.0, asked=1
    )
    with pytest.raises(InvalidDataset, match="whole patches"):
        next(judged)


def test_the_command_judges_and_fills_the_card(
    shards: SceneShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = model_folder(tmp_path / "model")
    reports: list[dict[str, Any]] = []
    monkeypatch.setattr("fourd_ros.evaluation.report.write_report", lambda path, **given: reports.append(given))
    monkeypatch.setattr(evaluate_scene_language, "_shards", lambda split, args: shards)
    monkeypatch.setattr(evaluate_scene_language, "TITLES", {"test": "New scenes"})
    words: Sequence[str] = ("evaluate", "scene-language", str(folder), "--sequences", "2", "--asked", "1")
    assert main([*words, "--json", "--write-card", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    network = told["means"]["test, geometry: network"]
    assert network["AbsRel"][1] <= network["AbsRel"][0] <= network["AbsRel"][2]
    assert "mIoU, labels [%]" in told["means"]["test, words: network"]
    card = ModelFolder(folder).card
    assert card.metrics["test, geometry: network"]["AbsRel"] == tuple(network["AbsRel"])
    assert card.metrics_command.startswith("fourd evaluate scene-language")
    gate = ModelTexts.from_folder(folder).gate
    assert (gate.similarity, gate.pixels) == (told["limits"]["similarity"], told["limits"]["pixels"])
    assert gate.similarity in SIMILARITIES and gate.pixels in PIXELS
    ModelFolder(folder).check()
    (report,) = reports
    assert len(report["tables"]) == 2 and "validation" in report["notes"][1]
    assert [picture.rgb.shape for picture in report["pictures"]] == [(2 * HEIGHT, 8 * WIDTH, 3)] * 2
