"""Texts in the scenes that 4D LangSplat annotated (layouts of HyperNeRF and Neu3D), as its protocol asks them.

* mIoU: IoU of a prompt's mask with the annotated one, mean over the annotated frames of the prompt, then over prompts.
* mAcc: share of pixels that are rightly inside or outside the mask, mean as before. The tables of the papers have it,
  no published script does; this is the definition that fits their values.
* Acc: share of all frames in which a prompt that is true for a time is rightly told to be true or not; mean over them.
* vIoU: sum of the IoU of the annotated frames in which such a prompt is told and true, over the number of those in
  which it is told or true; mean over prompts. Frames without annotated masks cannot count.

Prompts that are true for a time have no part in mIoU and mAcc. Masks are not gated: the protocol knows no "not there".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidDataset, InvalidModel
from fourd_ros.evaluation.mask_metrics import intersection_over_union
from fourd_ros.evaluation.metric import Metric
from fourd_ros.evaluation.query_annotations import AnnotatedFrame, Intervals, read_intervals, read_masks
from fourd_ros.evaluation.query_metrics import ACCURACY, VIDEO_IOU, active_frames, temporal_scores
from fourd_ros.evaluation.results import Result, ResultTable

if TYPE_CHECKING:
    from torch import Tensor

    from fourd_ros.scene_language.model import SceneLanguage
    from fourd_ros.scene_language.text_search import TextSearch

FloatArray = NDArray[np.float64]
Layout = Literal["hypernerf", "neu3d"]

PICTURES: dict[str, tuple[str, int]] = {"hypernerf": ("rgb/2x", 1), "neu3d": ("cam00/images", 0)}
"""Folder of pictures below a scene, and what the first frame is called in annotations."""

ANNOTATIONS = "annotations"

MEAN_IOU = Metric(
    name="iou", title="mIoU", higher_is_better=True, source="4D LangSplat, without prompts true for a time"
)
PIXEL_ACCURACY = Metric(
    name="pixel_accuracy", title="mAcc", higher_is_better=True, source="share of pixels rightly inside or outside"
)
METRICS = (MEAN_IOU, PIXEL_ACCURACY, ACCURACY, VIDEO_IOU)


@dataclass(frozen=True, kw_only=True, eq=False)
class QueryScene:
    """An annotated scene.

    Args:
        pictures: in their order.
        masks: of the annotated frames.
        intervals: by label and prompt, in which the prompt is true.
    """

    pictures: tuple[Path, ...]
    masks: tuple[AnnotatedFrame, ...]
    intervals: Intervals

    @property
    def timed(self) -> dict[str, str]:
        """Labels of the prompts that are true for a time."""
        return {prompt: label for label, prompts in self.intervals.items() for prompt in prompts}

    @property
    def prompts(self) -> list[str]:
        """All that is asked for."""
        return sorted({prompt for frame in self.masks for prompt in frame.masks} | set(self.timed))


def read_query_scene(folder: Path, *, layout: Layout) -> QueryScene:
    """A scene of 4D LangSplat.

    Raises:
        InvalidDataset: no pictures, no annotations, or annotations of frames that are not there.
    """
    below, first = PICTURES[layout]
    pictures = tuple(sorted(path for path in (folder / below).glob("*") if path.suffix in (".png", ".jpg")))
    if not pictures:
        raise InvalidDataset(f"'{folder / below}' has no pictures, where layout '{layout}' has them")
    masks = tuple(read_masks(folder / ANNOTATIONS, first_frame=first))
    if wrong := [frame.frame for frame in masks if not 0 <= frame.frame < len(pictures)]:
        raise InvalidDataset(f"'{folder}' annotates frames {wrong[:5]} of {len(pictures)}; is it layout '{layout}'?")
    return QueryScene(pictures=pictures, masks=masks, intervals=read_intervals(folder / ANNOTATIONS))


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """What was said of a frame.

    Args:
        masks: by prompt, in the size of the annotations, shape [H, W]; only of annotated frames.
        similarity: by prompt that is true for a time, of the pixels that are most like it.
    """

    masks: Mapping[str, NDArray[np.bool_]]
    similarity: Mapping[str, float]


def ask(scene: QueryScene, search: "TextSearch", features: Iterator["Tensor"]) -> list[Asked]:
    """Ask every prompt of every frame.

    Args:
        scene: with the prompts.
        search: of the model.
        features: of the frames in their order, shape [levels, c, h, w] each.
    """
    prompts, timed = scene.prompts, scene.timed
    annotated = {frame.frame: frame for frame in scene.masks}
    said = []
    for number, one in enumerate(features):
        maps = search.maps(one, prompts)
        masks, similarity = maps.stretched.cpu().numpy(), maps.similarity.cpu().numpy()
        size = next(iter(annotated[number].masks.values())).shape if _has_masks(annotated, number) else None
        said.append(
            Asked(
                masks={} if size is None else {p: _sized(masks[k], size) for k, p in enumerate(prompts)},
                similarity={p: _mean_inside(similarity[k], masks[k]) for k, p in enumerate(prompts) if p in timed},
            )
        )
    return said


def score(scene: QueryScene, said: Sequence[Asked], *, method: str, title: str) -> ResultTable:
    """All `METRICS`, a prompt a unit; NaN where a metric does not know a prompt of that kind.

    Raises:
        InvalidDataset: not one `Asked` a frame.
    """
    if len(said) != len(scene.pictures):
        raise InvalidDataset(f"answers for {len(said)} frames of a scene that has {len(scene.pictures)}")
    results = []
    for prompt in scene.prompts:
        values = _timed(scene, said, prompt) if prompt in scene.timed else _still(scene, said, prompt)
        results += [Result(unit=prompt, method=method, metric=name, value=value) for name, value in values.items()]
    return ResultTable.from_results(results, title=title, metrics=METRICS, unit_name="prompt")


def language_features(model: "SceneLanguage", pictures: Sequence[Path]) -> Iterator["Tensor"]:
    """Of a stream of pictures, shape [levels, c, h, w] each; pictures are cut to whole patches, not turned.

    Raises:
        InvalidModel: the model has no language head.
    """
    import torch

    from fourd_ros.scene_language.token_files import streamed_frames

    if model.language is None:
        raise InvalidModel("the model has no language head, so it cannot be asked")
    for tokens in streamed_frames(model.stream(), pictures):
        with torch.inference_mode():
            yield model.language(tokens).features[0, 0]


def _still(scene: QueryScene, said: Sequence[Asked], prompt: str) -> dict[str, float]:
    pairs = [(said[frame.frame].masks[prompt], frame.masks[prompt]) for frame in scene.masks if prompt in frame.masks]
    return {
        MEAN_IOU.name: float(np.mean([float(intersection_over_union(mask, truth)) for mask, truth in pairs])),
        PIXEL_ACCURACY.name: float(np.mean([np.mean(mask == truth) for mask, truth in pairs])),
    }


def _timed(scene: QueryScene, said: Sequence[Asked], prompt: str) -> dict[str, float]:
    intervals = scene.intervals[scene.timed[prompt]][prompt]
    frames = np.arange(len(said))
    true = np.any([(frames >= first) & (frames <= last) for first, last in intervals], axis=0)
    told = active_frames(np.array([one.similarity[prompt] for one in said]))
    with_mask = [frame for frame in scene.masks if prompt in frame.masks]
    places = [frame.frame for frame in with_mask]
    ious = [float(intersection_over_union(said[frame.frame].masks[prompt], frame.masks[prompt])) for frame in with_mask]
    seen = temporal_scores(told[places], true[places], np.array(ious)).video_iou if places else float("nan")
    return {ACCURACY.name: float(np.mean(told == true)), VIDEO_IOU.name: seen}


def _has_masks(annotated: Mapping[int, AnnotatedFrame], number: int) -> bool:
    return number in annotated and bool(annotated[number].masks)


def _mean_inside(similarity: FloatArray, mask: NDArray[np.bool_]) -> float:
    """Of the pixels of the mask; of all where it is empty after the majority of neighbours."""
    return float(similarity[mask].mean() if mask.any() else similarity.mean())


def _sized(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """The mask put in the middle of an image of the annotations' size, of which whole patches were seen."""
    height, width = mask.shape
    above, left = (size[0] - height) // 2, (size[1] - width) // 2
    if above < 0 or left < 0:
        raise InvalidDataset(f"annotations of {size[1]} x {size[0]} pixels; the pictures have {width} x {height}")
    whole = np.zeros(size, bool)
    whole[above : above + height, left : left + width] = mask
    return whole
