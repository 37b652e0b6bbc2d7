"""Dense flow."""

from pathlib import Path

import numpy as np
import pytest
from texture import shifted, texture

from fourd_ros.errors import InvalidImage, InvalidParameter
from fourd_ros.reconstruction.flow import FLOWS, dis, farneback, find_flow

NETWORKS = {"raft"}


@pytest.mark.parametrize("name", sorted(set(FLOWS) - NETWORKS))
def test_every_flow_finds_a_shift(name: str) -> None:
    first = texture(120, 160)
    flow = find_flow(name)(first, shifted(first, 2.5, -1.25))
    assert flow.shape == (120, 160, 2) and flow.dtype == np.float32
    assert np.abs(np.median(flow[20:-20, 20:-20], axis=(0, 1)) - (2.5, -1.25)).max() < 0.25


def test_better_presets_are_nearer() -> None:
    first = texture(120, 160)
    second = shifted(first, 3.3, 1.7)
    errors = [
        np.linalg.norm(dis(preset=preset)(first, second) - (3.3, 1.7), axis=-1)[20:-20, 20:-20].mean()
        for preset in ("medium", "ultrafast")
    ]
    assert errors[0] < errors[1]


def test_still_pictures_have_no_flow() -> None:
    picture = texture(60, 80)
    assert not dis()(picture, picture).any()
    assert np.median(np.abs(farneback(picture, picture))) < 0.01


@pytest.mark.parametrize(
    "second", [np.zeros((50, 80, 3), np.uint8), np.zeros((60, 80), np.uint8), np.zeros((60, 80, 3), np.float32)]
)
def test_what_is_no_pair_of_pictures_is_refused(second: np.ndarray) -> None:
    with pytest.raises(InvalidImage):
        dis()(texture(60, 80), second)


def test_pictures_of_a_few_pixels_are_refused() -> None:
    with pytest.raises(InvalidImage, match="at least 12 pixels"):
        farneback(np.zeros((4, 80, 3), np.uint8), np.zeros((4, 80, 3), np.uint8))


def test_unknown_flows_and_models_without_use_are_refused() -> None:
    with pytest.raises(InvalidParameter, match="'farneback'"):
        find_flow("lucas")
    with pytest.raises(InvalidParameter, match="no network"):
        find_flow("dis", model=Path("weights"))
    with pytest.raises(InvalidParameter, match="medium"):
        dis(preset="slow")


def test_flow_of_a_user() -> None:
    flow = find_flow(f"{__name__}:_still")
    assert not flow(texture(20, 20), texture(20, 20)).any()


def _still(model: Path | None):
    return lambda first, second: np.zeros((*first.shape[:2], 2), np.float32)
