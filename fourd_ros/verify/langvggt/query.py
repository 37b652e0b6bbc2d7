"""Answers to texts, and annotations that judge them."""

from typing import Any

import numpy as np
import torch

from fourd_ros.evaluation.mask_metrics import intersection_over_union
from fourd_ros.evaluation.query_annotations import read_intervals, read_masks
from fourd_ros.evaluation.query_metrics import active_frames, smoothed_similarities, temporal_scores
from fourd_ros.scene_language.relevancy import find_texts, mean_similarity, relevancy, signed
from fourd_ros.verify.checks import check
from fourd_ros.verify.comparison import Comparison
from fourd_ros.verify.langvggt.folder import EXACT, SYSTEM, codec, compare_all, facts, numpy_of, settings, torch_of
from fourd_ros.verify.tolerance import Tolerance
from fourd_ros.verify.vectors import Tensors, VectorFolder

QUERY, ANNOTATIONS = "query.safetensors", "annotations"
CLIP_CODEC, VIDEO_CODEC = "state_dict_clip_autoencoder.safetensors", "state_dict_video_autoencoder.safetensors"
MASK = "gtmask."
_SAME = Tolerance(atol=1e-9)


@check(SYSTEM, QUERY)
@torch.no_grad()
def query(folder: VectorFolder, vectors: Tensors, compare: Comparison) -> None:
    """The whole protocol for two texts, of which the image has labels."""
    clip, video = codec(folder, CLIP_CODEC), codec(folder, VIDEO_CODEC)
    codes, texts, negatives, words = (torch_of(vectors[name]) for name in ("sem_feat", "text_pos", "text_neg", "ae_in"))
    found = find_texts(codes, clip, texts=texts, negatives=negatives, threshold=settings(folder)["query"]["thresh"])
    features = clip.decode(signed(codes))
    true = np.stack([vectors["gt_label"] == number + 1 for number in range(len(texts))])
    inputs = ("sem_feat", "ae_in", "text_pos", "text_neg", "gt_label", "video_feat", "video_query")
    computed: dict[str, Any] = {
        **{name: vectors[name] for name in inputs},
        "ae_encode": clip.encode(words),
        "ae_decode": clip.decode(torch_of(vectors["ae_encode"])),
        "ae_forward": clip(words),
        "restored_l0_row": features[0, features.shape[1] // 3],
        "relevancy": relevancy(features, texts=texts, negatives=negatives),
        "relevancy_smoothed": found.relevancy,
        "level_scores": found.scores,
        "chosen_level": found.level,
        "iou": intersection_over_union(numpy_of(found.masks), true),
        "video_similarity": mean_similarity(
            torch_of(vectors["video_feat"]).float(), video, text=torch_of(vectors["video_query"]), mask=found.raw[0]
        ),
        **_annotated(folder),
    }
    for letter, mask, raw in zip("ab", found.masks, found.raw, strict=True):
        computed |= {f"mask_{letter}": mask.to(torch.uint8), f"mask_{letter}_unsmoothed": raw.to(torch.uint8)}
    compare_all(vectors, compare, computed)


@check(SYSTEM, f"{ANNOTATIONS}/train/_annotations.coco.json")
def annotations(folder: VectorFolder, _: Any, compare: Comparison) -> None:
    """Masks of labels and prompts, frames and labels."""
    ours, wanted = _annotated(folder), folder.load(QUERY)
    names = sorted(name for name in wanted if name.startswith(MASK))
    compare("names of masks", [sorted(ours) == names], expected=[True], tolerance=EXACT)
    for name in names:
        compare(name, ours[name], expected=wanted[name], tolerance=EXACT)
    stated = facts(folder).get("coco_example", {})
    places: dict[str, int] = next(
        (value for key, value in stated.items() if key.startswith("image_id_to_npy_index")), {}
    )
    frames = {str(one.image_id): one for one in read_masks(folder.path(ANNOTATIONS))}
    for image, place in places.items():
        compare(f"frame of image {image}", [frames[image].frame], expected=[place], tolerance=EXACT)
    for image, labels in stated.get("labels_per_image", {}).items():
        compare(f"labels of image {image}", [sorted(frames[image].masks) == labels], expected=[True], tolerance=EXACT)


@check(SYSTEM, f"{ANNOTATIONS}/video_annotations.json")
def intervals(folder: VectorFolder, stored: Any, compare: Comparison) -> None:
    """When prompts are true; and the example of when they are told to be."""
    ours = read_intervals(folder.path(ANNOTATIONS))
    same = {label: {name: [list(pair) for pair in pairs] for name, pairs in one.items()} for label, one in ours.items()}
    compare("intervals", [same == stored], expected=[True], tolerance=EXACT)
    example = facts(folder).get("time_sensitive_example")
    if example is not None:
        _compare_example(example, compare)


def _compare_example(example: dict[str, Any], compare: Comparison) -> None:
    rows = np.array(next(value for key, value in example.items() if key.startswith("similarity_list")))
    frames, similarities, ious = rows.T
    ranges = example["ground_truth_intervals_inclusive"]
    true = np.any([(frames >= first) & (frames <= last) for first, last in ranges], axis=0)
    taps, result = example["post_smoothing_coeff"], example["result"]
    told = active_frames(similarities, taps)
    scores = temporal_scores(told, true, ious)
    smoothed = smoothed_similarities(similarities, taps)
    compare("smoothed similarities", smoothed, expected=example["smoothed"], tolerance=_SAME)
    compare("true frames", true, expected=result["label_list"], tolerance=EXACT)
    compare("told frames", told, expected=result["predict_list"], tolerance=EXACT)
    for name, ours in (
        ("accuracy", scores.accuracy),
        ("precision", scores.precision),
        ("recall", scores.recall),
        ("average_iou", scores.video_iou),
    ):
        compare(name, [ours], expected=[result[name]], tolerance=_SAME)


def _annotated(folder: VectorFolder) -> dict[str, Any]:
    return {
        f"{MASK}{frame.image_id}.{label}": mask.astype(np.uint8)
        for frame in read_masks(folder.path(ANNOTATIONS))
        for label, mask in frame.masks.items()
    }
