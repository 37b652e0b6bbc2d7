"""Heads of scene language whose vectors are too large to be kept: their formulas, once more and slowly."""

import pytest
import torch
from scene_rig import SIZES, clips, small_geometry, small_language
from torch import Tensor
from torch.nn import functional

from fourd_ros.errors import InvalidImage
from fourd_ros.scene_language.attention import Mlp
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.language_head import GRANULARITIES
from fourd_ros.scene_language.track_head import Tracker, TrackHead, _flow_waves
from fourd_ros.scene_language.track_transformer import CrossBlock

State = dict[str, Tensor]


def convolved(state: State, name: str, maps: Tensor) -> Tensor:
    """Twice: convolution, statistics of a training, rectifier."""
    for number in (0, 3):
        maps = functional.conv2d(maps, state[f"{name}.{number}.weight"], state[f"{name}.{number}.bias"], padding=1)
        norm = f"{name}.{number + 1}"
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + 1e-5).sqrt()
        shift = state[f"{norm}.bias"] - scale * state[f"{norm}.running_mean"]
        maps = (maps * scale[:, None, None] + shift[:, None, None]).clamp(min=0)
    return maps


def decoded(state: State, encoder: str, decoder: str, maps: Tensor) -> Tensor:
    """A U-Net of four levels, from the names of its weights."""
    levels = [convolved(state, f"{encoder}.down1", maps)]
    for level in (1, 2, 3):
        pool = f"{encoder}.pool{level}"
        half = functional.conv2d(levels[-1], state[f"{pool}.weight"], state[f"{pool}.bias"], stride=2)
        levels.append(convolved(state, f"{encoder}.down{level + 1}", half))
    made = levels[3]
    for step in (1, 2, 3):
        up, finer = f"{decoder}.up{step}", levels[3 - step]
        larger = functional.conv_transpose2d(made, state[f"{up}.weight"], state[f"{up}.bias"], stride=2)
        larger = functional.interpolate(larger, size=finer.shape[-2:], mode="bilinear", align_corners=False)
        made = convolved(state, f"{decoder}.conv{step}", torch.cat([larger, finer], dim=1))
    last = f"{decoder}.final_conv"
    return functional.conv2d(made, state[f"{last}.weight"], state[f"{last}.bias"], padding=1)


@torch.no_grad()
def test_language_and_colours_come_from_two_encoders() -> None:
    """At a size that is odd on the way: 42 rows are 21, 10 and 5."""
    head, generator = small_language(), torch.Generator().manual_seed(4)
    for name, buffer in head.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    tokens, state = small_geometry()(clips(1, 2)), head.state_dict()
    made, shared = head(tokens), head.feature_extractor(tokens)[0]
    for number, name in enumerate(GRANULARITIES):
        wanted = decoded(state, "lang_encoder", f"lang_decoder_{name}", shared)
        torch.testing.assert_close(made.features[0, :, number], wanted, rtol=1e-4, atol=1e-5)
    colours = decoded(state, "rgb_encoder", "rgb_decoder.0", shared).sigmoid()
    torch.testing.assert_close(made.colours[0], colours, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def tracks() -> TrackHead:
    head = small_geometry().track_head
    assert head is not None
    return head


@torch.no_grad()
def test_correlations_are_read_around_a_point_x_slowly(tracks: TrackHead) -> None:
    torch.manual_seed(0)
    maps, features = torch.randn(1, 2, 8, 10, 12), torch.randn(1, 2, 1, 8)
    places = torch.tensor([5.0, 4.0]).expand(1, 2, 1, 2)
    tracker: Tracker = tracks.tracker
    found = tracker._correlations(places, features, tracker._pyramid(maps))
    assert found.shape == (1, 2, 1, 2 * 9)
    coarse = functional.avg_pool2d(maps[0], 2)
    for frame in range(2):
        for x in (-1, 0, 1):
            for y in (-1, 0, 1):
                index = (x + 1) * 3 + y + 1
                fine = features[0, frame, 0] @ maps[0, frame, :, 4 + y, 5 + x] / 8**0.5
                assert found[0, frame, 0, index].item() == pytest.approx(fine.item(), abs=1e-5)
                pair = [features[0, frame, 0] @ coarse[frame, :, 2 + y, column + x] / 8**0.5 for column in (2, 3)]
                assert found[0, frame, 0, 9 + index].item() == pytest.approx(sum(pair).item() / 2, abs=1e-5)
    outside = tracker._correlations(places + 100, features, tracker._pyramid(maps))
    assert (outside == 0).all()


def test_flow_is_told_by_sines_and_cosines_by_turns() -> None:
    made = _flow_waves(torch.tensor([0.3, -0.7]), 8)
    frequencies = (0.0, 2 * 1000 / 4)
    wanted = [
        part(torch.tensor(axis * f)) for axis in (0.3, -0.7) for f in frequencies for part in (torch.sin, torch.cos)
    ]
    torch.testing.assert_close(made, torch.stack(wanted))


@torch.no_grad()
def test_where_a_track_begins_is_read_from_a_map_of_waves(tracks: TrackHead) -> None:
    height, width, channels = 6, 9, 28
    quarter = channels // 4
    omega = 10000.0 ** (-torch.arange(quarter, dtype=torch.float64) / quarter)
    y, x = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    angles = [axis[..., None] * omega for axis in (x, y)]
    waves = torch.cat([part for angle in angles for part in (angle.sin(), angle.cos())], dim=-1).float()
    begin = torch.tensor([[[2.0, 3.0], [1.25, 4.5], [7.9, 0.1], [20.0, -3.0]]])
    grid = (2 * begin / torch.tensor([width - 1, height - 1]) - 1)[:, None]
    wanted = functional.grid_sample(waves.permute(2, 0, 1)[None], grid, align_corners=True, padding_mode="border")[
        0, :, 0
    ].T
    torch.testing.assert_close(tracks.tracker._place(begin, (height, width))[0], wanted, rtol=0, atol=1e-5)


@torch.no_grad()
def test_tracks_begin_where_they_are_asked_for_and_do_not_know_each_other_s_order(tracks: TrackHead) -> None:
    tokens = small_geometry()(clips(2, 3))
    queries = torch.tensor([[[3.0, 4.0], [30.0, 20.5], [55.0, 41.0]]]).expand(2, -1, -1)
    made = tracks(tokens, queries)
    assert made.places.shape == (SIZES.track_iterations, 2, 3, 3, 2)
    torch.testing.assert_close(made.places[:, :, 0], queries.expand(SIZES.track_iterations, -1, -1, -1))
    assert (made.places[-1, :, 1] - queries).abs().max() > 1e-3
    assert ((made.visible > 0) & (made.visible < 1)).all() and made.confidence.shape == (2, 3, 3)
    turned = tracks(tokens, queries.flip(1))
    # Waves of the flow are so short that rounding grows from one iteration to the next.
    torch.testing.assert_close(turned.places[0].flip(2), made.places[0], rtol=0, atol=1e-3)


@torch.no_grad()
def test_frames_that_are_too_small_for_tracks_are_named() -> None:
    network = GeometryNetwork.from_config({**SIZES.config, "track_levels": 6}).eval()
    assert network.track_head is not None
    with pytest.raises(InvalidImage, match="tracks need 64"):
        network.track_head(network(clips(1, 1, height=69, width=70)), torch.zeros(1, 1, 2))


@torch.no_grad()
def test_the_shortcut_of_a_track_block_begins_after_the_norm() -> None:
    torch.manual_seed(0)
    block = CrossBlock(8, 2)
    for part in (block.cross_attn.out_proj.weight, block.cross_attn.out_proj.bias, block.mlp.fc2.weight):
        torch.nn.init.zeros_(part)
    torch.nn.init.zeros_(block.mlp.fc2.bias)
    tokens = 5 * torch.randn(1, 3, 8) + 2
    assert isinstance(block.mlp, Mlp)
    torch.testing.assert_close(block(tokens, torch.randn(1, 4, 8)), functional.layer_norm(tokens, (8,)))
