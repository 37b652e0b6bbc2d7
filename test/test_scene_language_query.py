"""Answers to texts, what they are judged by, and what the language head is trained for."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from fourd_ros.errors import InvalidResults
from fourd_ros.evaluation.query_metrics import active_frames, smoothed_similarities, temporal_scores
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.language_objective import LanguageObjective, learning_rate, official_optimiser
from fourd_ros.scene_language.relevancy import (
    find_texts,
    majority,
    mean_similarity,
    relevancy,
    signed,
    smoothed,
    stretched,
)
from fourd_ros.scene_language.sizes import CodecSizes


class PlainCodec(FeatureCodec):
    """Features are their own codes."""

    def __init__(self) -> None:
        super().__init__(CodecSizes(encoder=(4, 4), decoder=(4, 4)))

    def decode(self, codes: Tensor) -> Tensor:
        return normalize(codes, dim=-1)


CUP, HAND, THING, OTHER = torch.eye(4)


def scene() -> Tensor:
    """Codes of three levels, shape [3, 60, 80, 4]: a cup on the left, seen best in the middle level."""
    codes = THING.expand(3, 60, 80, 4).clone()
    for level, sharpness in enumerate((0.6, 3.0, 1.0)):
        codes[level, 10:50, 5:40] = normalize(sharpness * CUP + THING, dim=-1)
    codes[:, 30, 70] = CUP  # a speckle
    return codes


def test_a_text_is_found_at_its_level_and_an_absent_one_is_told() -> None:
    found = find_texts(scene(), PlainCodec(), texts=torch.stack([CUP, HAND]), negatives=torch.stack([THING, OTHER]))
    assert found.level[0] == 1 and found.is_present().tolist() == [True, False]
    truth = torch.zeros(60, 80, dtype=torch.bool)
    truth[10:50, 5:40] = True
    assert (found.masks[0] & truth).sum() > 0.9 * (found.masks[0] | truth).sum()
    assert found.raw[1].any(), "that there is a mask tells nothing"
    assert not found.masks[0][30, 70]
    assert found.scores.shape == (2, 3) and found.is_present(above=0.999).tolist() == [False, False]


def test_a_threshold_makes_masks_smaller() -> None:
    given = {"texts": CUP[None], "negatives": THING[None]}
    small, large = (find_texts(scene(), PlainCodec(), threshold=value, **given).masks.sum() for value in (0.9, 0.1))
    assert 0 < small < large


def test_relevancy_is_the_worst_of_pairs() -> None:
    torch.manual_seed(0)
    features, texts, negatives = (normalize(torch.randn(*shape, 6), dim=-1) for shape in ((2, 3, 4), (2,), (5,)))
    made = relevancy(features, texts=texts, negatives=negatives)
    for text in range(2):
        against = [torch.stack([features @ texts[text], features @ one], dim=-1) for one in negatives]
        pairs = torch.stack([(10 * pair).softmax(-1)[..., 0] for pair in against])
        torch.testing.assert_close(made[:, text], pairs.amin(dim=0))


def test_means_at_the_rim_count_what_is_there() -> None:
    maps = torch.zeros(1, 20, 40)
    maps[0, 0, 0] = 1
    made = smoothed(maps)
    assert made[0, 0, 0] == pytest.approx(0.5 + 0.5 / (15 * 15))
    assert made[0, 10, 14] == pytest.approx(0.5 / (20 * 29)) and made[0, 10, 15] == 0
    corner = torch.zeros(1, 20, 20, dtype=torch.bool)
    corner[0, :4, :2] = True
    assert not majority(corner)[0].any(), "8 of 16 neighbours are no majority"
    corner[0, 0, 2] = True
    assert majority(corner)[0].nonzero().tolist() == [[0, 0]]


def test_maps_are_stretched_one_by_one_and_codes_told_by_their_sign() -> None:
    maps = torch.stack([torch.linspace(0.2, 0.4, 12), torch.linspace(5, 9, 12)]).reshape(2, 3, 4)
    made = stretched(maps)
    torch.testing.assert_close(made[0], made[1])
    assert made.amin() == 0 and made.amax() == pytest.approx(1, abs=1e-6)
    assert (stretched(torch.full((1, 3, 4), 0.7)) == 0).all()
    codes = torch.tensor([0.1, 0.5, 1.0])
    torch.testing.assert_close(signed(codes), torch.tensor([-0.8, 0.0, 1.0]))
    codes[0] = 0.0
    assert torch.equal(signed(codes), codes)


def test_similarity_of_a_mask() -> None:
    codes = torch.stack([CUP, HAND, CUP, CUP]).reshape(2, 2, 4)
    mask = torch.tensor([[True, True], [False, False]])
    assert mean_similarity(codes, PlainCodec(), text=3 * CUP, mask=mask) == pytest.approx(0.5)
    assert mean_similarity(codes, PlainCodec(), text=CUP, mask=torch.zeros_like(mask)).isnan()


def test_similarities_are_smoothed_where_their_neighbours_are() -> None:
    given = np.array([1.0, 0.0, 0.0, 10.0, 0.0, 0.0])
    np.testing.assert_allclose(smoothed_similarities(given), [1, 0.1, 1, 8, 1, 0])
    five = smoothed_similarities(given, (0.1, 0.2, 0.4, 0.2, 0.1))
    np.testing.assert_allclose(five, [1, 0, 0.1 + 2, 4, 0, 0])
    np.testing.assert_allclose(smoothed_similarities(given[:2]), given[:2])
    assert active_frames(given).tolist() == [False, False, False, True, False, False]


def test_scores_of_a_prompt() -> None:
    told, true = np.array([True, True, False, False]), np.array([True, False, True, False])
    scores = temporal_scores(told, true, np.array([0.6, 1.0, 1.0, 1.0]))
    assert (scores.accuracy, scores.precision, scores.recall) == (0.5, 0.5, 0.5)
    assert scores.video_iou == pytest.approx(0.6 / 3)
    nothing = temporal_scores(np.zeros(2, bool), np.zeros(2, bool), np.zeros(2))
    assert nothing.accuracy == 1 and np.isnan([nothing.precision, nothing.recall, nothing.video_iou]).all()
    with pytest.raises(InvalidResults, match="2 told, 1 true"):
        temporal_scores(np.ones(2, bool), np.ones(1, bool), np.ones(2))
    with pytest.raises(InvalidResults):
        temporal_scores(np.ones(0, bool), np.ones(0, bool), np.ones(0))


def given_for_loss() -> dict[str, Tensor]:
    torch.manual_seed(2)
    return {
        "features": torch.randn(1, 2, 3, 3, 4, 5, dtype=torch.float64, requires_grad=True),
        "colours": torch.rand(1, 2, 3, 4, 5, dtype=torch.float64, requires_grad=True),
        "target": torch.randn(2, 3, 3, 4, 5, dtype=torch.float64),
        "mask": torch.rand(2, 3, 1, 4, 5) > 0.4,
        "images": torch.rand(1, 2, 3, 4, 5, dtype=torch.float64),
    }


def test_the_angle_is_between_features_and_not_along_rows() -> None:
    given = given_for_loss()
    angles = [
        LanguageObjective(distance=0, angle=1, colours=False, official_compat=flag)(**given) for flag in (False, True)
    ]
    made, wanted = (part * given["mask"] for part in (given["features"][0], given["target"]))
    for angle, axis in zip(angles, (2, 4), strict=True):
        lengths = made.norm(dim=axis).clamp(min=1e-8) * wanted.norm(dim=axis).clamp(min=1e-8)
        cosine = (made * wanted).sum(dim=axis) / lengths
        assert angle.item() == pytest.approx((1 - cosine.mean()).item())
    angles[0].backward()
    gradient = given["features"].grad
    assert gradient is not None and (gradient[0][~given["mask"].expand(2, 3, 3, 4, 5)] == 0).all()


def test_terms_without_weight_do_not_count() -> None:
    given = given_for_loss()
    made, wanted = (part * given["mask"] for part in (given["features"][0], given["target"]))
    distance = (made - wanted).abs().mean()
    alone = LanguageObjective(angle=0, colours=False)(**given)
    assert alone.item() == pytest.approx(0.2 * distance.item())
    error = given["colours"] - given["images"]
    both = LanguageObjective(angle=0, colour_share=0.25)(**given)
    picture = 0.25 * error.abs().mean() + 0.75 * error.square().mean()
    assert (both - alone).item() == pytest.approx(picture.item())


def test_the_schedule_of_the_published_training() -> None:
    assert [learning_rate(epoch) for epoch in (0, 10, 20, 99)] == [0, 2e-5, 4e-5, 4e-5]
    assert learning_rate(100, least=1e-6) == pytest.approx(1e-6)
    assert learning_rate(60, least=1e-6) == pytest.approx((4e-5 + 1e-6) / 2)


def test_vectors_do_not_decay() -> None:
    layer = nn.Linear(3, 2)
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    official_optimiser(layer.parameters(), rate=0.5).step()
    assert torch.equal(layer.bias, before["bias"])
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * (1 - 0.5 * 1e-4))
