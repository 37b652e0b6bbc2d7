"""Answers of scene language to questions about sequences, for all limits at once, and which limits answer best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.mask_metrics import intersection_over_union
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.scene_questions import Kind, Mask, Question

if TYPE_CHECKING:
    from torch import Tensor

    from fourd_ros.scene_language.text_search import MaskRule, TextSearch

FloatArray = NDArray[np.float64]

RELEVANCIES = (0.3, 0.4, 0.5, 0.6, 0.7)
SIMILARITIES = tuple(round(0.5 + 0.025 * step, 3) for step in range(20))
PIXELS = (1, 2, 4, 8, 16, 32, 64, 128)
"""Limits that are tried, see `PresenceGate`."""

RULES: tuple["MaskRule", ...] = ("stretched", "sure")
WHOLE, THINGS = "every text is everywhere", "every text is every thing"

_NAMED: dict[Kind, str] = {
    "surroundings": "table, robot, walls",
    "category": "categories",
    "label": "labels",
    "state": "states",
}


def _iou(kind: Kind) -> Metric:
    return Metric(
        name=f"iou_{kind}",
        title=f"mIoU, {_NAMED[kind]}",
        scale=100.0,
        unit="%",
        higher_is_better=True,
        source="of texts that are there; 0 where none is found",
    )


def _accuracy(kind: Kind, title: str, source: str) -> Metric:
    return Metric(
        name=f"present_{kind}",
        title=title,
        scale=100.0,
        unit="%",
        higher_is_better=True,
        source=f"{source}; 50 by luck",
    )


IOUS = tuple(_iou(kind) for kind in _NAMED)
ACCURACIES = (
    _accuracy("category", "there or not, categories", "as many texts that are there as categories that are not"),
    _accuracy("label", "there or not, labels", "as many labels that are there as that are not"),
    _accuracy("colour", "there or not, colour", "labels that are there, and labels of the same category in a colour"
              " that nothing of it has"),
    _accuracy("state", "there or not, states", "as many things in a state as things that are seen and not in it"),
)  # fmt: skip
METRICS = (*IOUS, *ACCURACIES)
TUNED: tuple[Kind, ...] = ("category", "label", "colour")
"""Kinds whose answers choose the limits; states are so seldom told that they would choose nothing."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of an answer.

    Args:
        relevancy: see `PresenceGate`, of `RELEVANCIES`.
        similarity: of `SIMILARITIES`.
        pixels: of `PIXELS`.
        rule: see `MaskRule`.
    """

    relevancy: float
    similarity: float
    pixels: int
    rule: Literal["stretched", "sure"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """To one question, for all limits.

    Args:
        kind: of the question.
        present: whether the text is there in truth.
        pixels: that reach the limits, by relevancy and similarity, shape [R, S].
        iou: by rule and the same, shape [2, R, S]; NaN where the text is not there.
    """

    kind: Kind
    present: bool
    pixels: NDArray[np.int64]
    iou: FloatArray

    def told(self, limits: Limits) -> bool:
        """Whether the text is said to be there."""
        return bool(self.pixels[_place(limits)] >= limits.pixels)

    def overlap(self, limits: Limits) -> float:
        """IoU of the answer, 0 where the text is not found; NaN where it is not there in truth."""
        return float(self.iou[(RULES.index(limits.rule), *_place(limits))]) * (self.told(limits) if self.present else 1)


def answer_all(search: "TextSearch", features: "Tensor", asked: Sequence[Question]) -> list[Answer]:
    """Answers to questions about one frame.

    Args:
        search: of the model.
        features: of the frame, shape [levels, c, H, W].
        asked: about it.
    """
    if not asked:
        return []
    maps = search.maps(features, [question.text for question in asked])
    relevancy, similarity, stretched = (one.cpu().numpy() for one in (maps.relevancy, maps.similarity, maps.stretched))
    return [
        _answer(question, relevancy[place], similarity[place], stretched[place]) for place, question in enumerate(asked)
    ]


def judge_answers(answers: Sequence[Answer], limits: Limits) -> dict[str, float]:
    """All `METRICS` of a sequence by name; NaN where nothing was asked."""
    found = {}
    for metric in IOUS:
        kind = metric.name.removeprefix("iou_")
        found[metric.name] = _mean([one.overlap(limits) for one in answers if one.kind == kind and one.present])
    for metric in ACCURACIES:
        found[metric.name] = accuracy([one for one in answers if metric.name == f"present_{one.kind}"], limits)
    return found


def accuracy(answers: Sequence[Answer], limits: Limits) -> float:
    """Mean of the shares of present and of absent texts that are rightly told; NaN where either is missing."""
    shares = [[one.told(limits) == present for one in answers if one.present == present] for present in (True, False)]
    return float(np.mean([np.mean(share) for share in shares])) if all(shares) else float("nan")


def judge_masks(asked: Sequence[Question], answer: dict[int, Mask]) -> dict[str, float]:
    """The IoUs of a method that gives every text of a frame one mask.

    Args:
        asked: about a sequence.
        answer: masks by frame.
    """
    found = dict.fromkeys((metric.name for metric in METRICS), float("nan"))
    for metric in IOUS:
        kind = metric.name.removeprefix("iou_")
        true = [one for one in asked if one.kind == kind and one.mask is not None]
        found[metric.name] = _mean([float(intersection_over_union(answer[one.frame], one.mask)) for one in true])  # type: ignore[arg-type]
    for metric in ACCURACIES:
        found[metric.name] = 0.5
    return found


def best_limits(answers: Sequence[Answer]) -> Limits:
    """Those that tell best what is there, and of the two rules for masks the one that overlaps more then.

    Of limits that are as good, the middle one of the similarities counts, so that little hangs on it.

    Raises:
        InvalidResults: nothing was asked of any kind in `TUNED`.
    """
    groups = [[one for one in answers if one.kind == kind] for kind in TUNED]
    scores = [_accuracies(group) for group in groups if {one.present for one in group} == {True, False}]
    if not scores:
        raise InvalidResults(f"no questions of the kinds {TUNED} to choose limits by")
    total = np.mean(scores, axis=0)
    best = np.argwhere(total >= total.max() - 1e-9)
    relevancy, similarity, pixels = best[len(best) // 2]
    limits = [
        Limits(relevancy=RELEVANCIES[relevancy], similarity=SIMILARITIES[similarity], pixels=PIXELS[pixels], rule=rule)
        for rule in ("stretched", "sure")
    ]
    present = [one for one in answers if one.present and one.kind in TUNED]
    return max(limits, key=lambda one: _mean([answer.overlap(one) for answer in present]))


def _accuracies(answers: Sequence[Answer]) -> FloatArray:
    """For all limits, shape [R, S, pixels]."""
    told = np.stack([one.pixels for one in answers])[..., None] >= np.array(PIXELS)
    present = np.array([one.present for one in answers])
    share: FloatArray = (told[present].mean(axis=0) + (~told[~present]).mean(axis=0)) / 2
    return share


def _answer(question: Question, relevancy: FloatArray, similarity: FloatArray, stretched: Mask) -> Answer:
    sure = (relevancy > np.array(RELEVANCIES)[:, None, None, None]) & (
        similarity >= np.array(SIMILARITIES)[:, None, None]
    )
    iou = np.full((len(RULES), *sure.shape[:2]), np.nan)
    if question.mask is not None:
        iou[0] = intersection_over_union(stretched, question.mask)
        iou[1] = intersection_over_union(sure, np.broadcast_to(question.mask, sure.shape))
    return Answer(
        kind=question.kind,
        present=question.mask is not None,
        pixels=np.count_nonzero(sure, axis=(-2, -1)),
        iou=iou,
    )


def _place(limits: Limits) -> tuple[int, int]:
    return RELEVANCIES.index(limits.relevancy), SIMILARITIES.index(limits.similarity)


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
