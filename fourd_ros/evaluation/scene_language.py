"""Scene language on held-out sequences, as a stream: geometry and answers, beside methods that learn nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from fourd_ros.data.scene_shards import SceneFrames, SceneShards, SceneThing
from fourd_ros.errors import InvalidDataset, InvalidModel
from fourd_ros.evaluation import scene_answers, scene_geometry
from fourd_ros.evaluation.results import Result, ResultTable
from fourd_ros.evaluation.scene_answers import THINGS, WHOLE, Answer, Limits, answer_all, judge_answers, judge_masks
from fourd_ros.evaluation.scene_geometry import SaidGeometry, judge_geometry, network_says
from fourd_ros.evaluation.scene_questions import SURROUNDINGS, Question, questions
from fourd_ros.geometry.transforms import invert
from fourd_ros.records import Pixels
from fourd_ros.scene_language.pose_encoding import decode_poses

if TYPE_CHECKING:
    from torch import Tensor

    from fourd_ros.scene_language.model import SceneLanguage
    from fourd_ros.scene_language.text_search import TextSearch

OURS = "network"
TRUTH_COLOUR, FOUND_COLOUR = (255, 255, 255), (255, 0, 200)
ENLARGED = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class JudgedSequence:
    """What was said of a sequence, and how it was judged.

    Args:
        name: of the sequence.
        geometry: metrics by method and name.
        asked: questions about it.
        answers: to them, in their order.
        things: pixels of things by frame that was asked about.
        last: the last frame that was asked about, for pictures.
        depth: said of this frame, in metres as the first depth has it, shape [H, W].
        features: of this frame, shape [levels, c, H, W].
    """

    name: str
    geometry: Mapping[str, Mapping[str, float]]
    asked: tuple[Question, ...]
    answers: tuple[Answer, ...]
    things: Mapping[int, NDArray[np.bool_]]
    last: SceneFrames
    depth: NDArray[np.floating]
    features: "Tensor"


def judge_sequences(
    model: "SceneLanguage", search: "TextSearch", shards: SceneShards, *, median: float, asked: int
) -> Iterator[JudgedSequence]:
    """Stream every sequence through the model, ask, and judge.

    Args:
        model: with depth and language.
        search: of the model.
        shards: sequences that it was not trained on.
        median: depth of the training sequences [m], for `scene_geometry.baselines`.
        asked: frames of a sequence that are asked about, evenly over it; the first is not, unless it is the only one.

    Raises:
        InvalidModel: no language head, codec or depth head.
        InvalidDataset: pictures whose sides are not whole patches.
    """
    labels = [thing.label for index in range(len(shards)) for thing in _things(shards, index)]
    methods = scene_geometry.baselines(median)
    for index in range(len(shards)):
        facts, frames = shards.facts(index), shards.frames(index)
        count = len(frames.rgb)
        chosen = sorted(set(np.linspace(0, count - 1, asked + 1).round().astype(int)[1:].tolist()))
        said, features = _stream(model, frames, chosen)
        about = tuple(questions(facts, frames, asked=chosen, labels=labels))
        by_frame = {frame: [one for one in about if one.frame == frame] for frame in chosen}
        answers = [one for frame in chosen for one in answer_all(search, features[frame], by_frame[frame])]
        assert said.depth is not None
        yield JudgedSequence(
            name=facts.name,
            geometry={
                OURS: judge_geometry(said, frames),
                **{name: judge_geometry(method(frames), frames) for name, method in methods.items()},
            },
            asked=about,
            answers=tuple(answers),
            things={frame: ~np.isin(frames.numbers[frame], (0, *SURROUNDINGS)) for frame in chosen},
            last=shards.frames(index, chosen[-1:]),
            depth=said.depth[chosen[-1]] * said.metres,
            features=features[chosen[-1]],
        )


def geometry_table(judged: Sequence[JudgedSequence], *, title: str) -> ResultTable:
    """Depth and path of all methods, a sequence a unit."""
    results = [
        Result(unit=one.name, method=method, metric=metric, value=value)
        for one in judged
        for method, values in one.geometry.items()
        for metric, value in values.items()
    ]
    return ResultTable.from_results(
        results, title=title, metrics=scene_geometry.METRICS, baseline=scene_geometry.STILL, unit_name="sequence"
    )


def words_table(judged: Sequence[JudgedSequence], limits: Limits, *, title: str) -> ResultTable:
    """Answers within these limits beside masks that know no words, a sequence a unit."""
    results = []
    for one in judged:
        everywhere = {frame: np.ones_like(mask) for frame, mask in one.things.items()}
        methods = {
            OURS: judge_answers(one.answers, limits),
            THINGS: judge_masks(one.asked, dict(one.things)),
            WHOLE: judge_masks(one.asked, everywhere),
        }
        results += [
            Result(unit=one.name, method=method, metric=metric, value=value)
            for method, values in methods.items()
            for metric, value in values.items()
        ]
    return ResultTable.from_results(
        results, title=title, metrics=scene_answers.METRICS, baseline=THINGS, unit_name="sequence"
    )


def picture(one: JudgedSequence, search: "TextSearch") -> tuple[str, Pixels]:
    """The text of the first label that is there (or anything that is), and side by side: the frame, its depth as it is
    said and as it is (near is bright), and the frame with the pixels that were found and the outline of the truth."""
    rgb, true_depth = one.last.rgb[0], one.last.depth[0]
    shown = [rgb, *(_grey(depth, true_depth) for depth in (one.depth, true_depth))]
    there = [ask for ask in one.asked if ask.mask is not None and ask.frame == max(one.things)]
    there.sort(key=lambda ask: ask.kind != "label")
    text = there[0].text if there else ""
    if there:
        assert there[0].mask is not None
        found = search.search(one.features, [text]).masks[0].cpu().numpy()
        marked = rgb.copy()
        marked[found] = (0.5 * marked[found] + 0.5 * np.array(FOUND_COLOUR)).astype(np.uint8)
        outlines, _ = cv2.findContours(there[0].mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(marked, outlines, -1, TRUTH_COLOUR, 1)
        shown.append(marked)
    row = np.concatenate(shown, axis=1)
    return text, np.repeat(np.repeat(row, ENLARGED, axis=0), ENLARGED, axis=1)


def _stream(
    model: "SceneLanguage", frames: SceneFrames, chosen: Sequence[int]
) -> tuple[SaidGeometry, dict[int, "Tensor"]]:
    """Geometry of all frames, and language features [levels, c, H, W] of the chosen ones."""
    import torch

    if model.language is None or model.geometry.depth_head is None:
        raise InvalidModel("the model has no language or no depth head, so it cannot be judged")
    patch, sides = model.geometry.sizes.patch_size, frames.rgb.shape[1:3]
    if any(side % patch for side in sides):
        raise InvalidDataset(f"pictures of {sides[1]} x {sides[0]}; needed are sides of whole patches of {patch} px")
    device = next(model.geometry.parameters()).device
    stream, depth, poses, features = model.stream(), [], [], {}
    for number, rgb in enumerate(frames.rgb):
        frame = stream.step(torch.from_numpy(rgb).to(device).permute(2, 0, 1)[None].float() / 255)
        assert frame.depth is not None
        depth.append(frame.depth[0].float().cpu().numpy())
        poses.append(frame.pose[0].double().cpu().numpy())
        if number in chosen:
            with torch.inference_mode():
                features[number] = model.language(frame.tokens).features[0, 0]
    T_camera_world = decode_poses(np.stack(poses))
    return network_says(np.stack(depth), T_camera_world[0] @ invert(T_camera_world), frames), features


def _things(shards: SceneShards, index: int) -> list[SceneThing]:
    return [thing for thing in shards.facts(index).things if thing.number not in SURROUNDINGS]


def _grey(depth: NDArray[np.floating], truth: NDArray[np.floating]) -> Pixels:
    near = float(np.nanmin(truth))
    with np.errstate(invalid="ignore", divide="ignore"):
        shade = np.nan_to_num(np.clip(near / depth, 0, 1))
    return np.repeat((255 * shade).astype(np.uint8)[..., None], 3, axis=-1)
