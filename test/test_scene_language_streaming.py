"""Streams of frames: the same as whole clips, in memory that does not grow, whatever comes."""

import pytest
import torch
from scene_rig import SIZES, TOKENS, clips, small_geometry
from torch import Tensor

from fourd_ros.errors import InvalidImage, InvalidModel, InvalidParameter
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.geometry_stream import GeometryStream
from fourd_ros.scene_language.key_redundancy import layer_budgets, least_redundant
from fourd_ros.scene_language.token_cache import (
    BudgetCache,
    CachePolicy,
    KeepAll,
    KeepBudget,
    KeepWindow,
    LayerCache,
)


class ListedCache:
    """What a window should be, the slow way: frames in a list, joined and trimmed every time."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._frames: list[tuple[Tensor, Tensor]] = []
        self.byte_count = self.tokens = 0

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        self._frames.append((keys, values))
        seen = tuple(torch.cat(part, dim=2) for part in zip(*self._frames, strict=True))
        while len(self._frames) > self._first + self._last:
            del self._frames[self._first]
        return seen[0], seen[1]

    def settle(self) -> None:
        pass


class ListedWindow(CachePolicy):
    """`KeepWindow` with `ListedCache`."""

    def __init__(self, frames: int, anchor: bool) -> None:
        self._frames, self._anchor = frames, anchor

    def token_cache(self, layer: int) -> LayerCache:
        return ListedCache(int(self._anchor), self._frames)

    def camera_cache(self, *, entries: int) -> LayerCache:
        return ListedCache(entries * self._anchor, entries * (self._frames + 1) - 1)


@pytest.fixture(scope="module")
def network() -> GeometryNetwork:
    return small_geometry()


def streamed(network: GeometryNetwork, images: Tensor, policy: CachePolicy, *, official: bool = False) -> list[Tensor]:
    """Tokens, poses, depth and points of all frames."""
    stream = GeometryStream(network, policy=policy, points=True, official_compat=official)
    frames = [stream.step(frame) for frame in images.unbind(1)]
    depth, points = ([getattr(frame, name) for frame in frames] for name in ("depth", "points"))
    return [
        torch.cat([frame.tokens.layers[2] for frame in frames], dim=1),
        *(torch.stack(part, dim=1) for part in ([frame.pose for frame in frames], depth, points)),
    ]


@torch.no_grad()
def at_once(network: GeometryNetwork, images: Tensor) -> list[Tensor]:
    """Tokens and poses of whole clips."""
    tokens = network(images)
    assert network.camera_head is not None
    return [tokens.layers[2], network.camera_head(tokens.camera)[-1]]


@pytest.mark.parametrize("policy", [KeepAll(), KeepWindow(frames=8), KeepBudget(tokens=8 * TOKENS)])
def test_a_stream_says_what_a_whole_clip_says(network: GeometryNetwork, policy: CachePolicy) -> None:
    """As long as nothing is forgotten; two streams at once."""
    images = clips(2, 7)
    for ours, wanted in zip(streamed(network, images, policy), at_once(network, images), strict=False):
        torch.testing.assert_close(ours, wanted, rtol=0, atol=2e-5)


def test_cameras_of_the_original_differ(network: GeometryNetwork) -> None:
    images = clips(1, 4)
    ours, official = (streamed(network, images, KeepAll(), official=flag)[1] for flag in (False, True))
    assert (ours - official).abs().max() > 1e-3


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("anchor", [False, True])
def test_a_window_is_what_joining_and_trimming_gives(network: GeometryNetwork, anchor: bool, official: bool) -> None:
    images = clips(2, 7)
    policies = KeepWindow(frames=2, anchor=anchor), ListedWindow(2, anchor)
    ours, wanted = (streamed(network, images, policy, official=official) for policy in policies)
    for one, other in zip(ours, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    everything = streamed(network, images, KeepAll(), official=official)
    assert (ours[0][:, -1] - everything[0][:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("policy", [KeepWindow(frames=2), KeepBudget(tokens=3 * TOKENS + 4)])
def test_memory_is_taken_once(network: GeometryNetwork, policy: CachePolicy, official: bool) -> None:
    stream = GeometryStream(network, policy=policy, official_compat=official)
    taken = set()
    for frame in clips(1, 9).unbind(1):
        stream.step(frame)
        taken.add(stream.byte_count)
        assert stream.token_caches[0].tokens <= 3 * TOKENS + 4
    assert len(taken) == 1 and stream.frames == 9
    channels = SIZES.embed_dim * 4 * 2  # keys and values, four bytes each
    frames = 4 if isinstance(policy, KeepWindow) else 4 + 4 / TOKENS
    cameras = 22 if isinstance(policy, KeepBudget) else 4
    entries = SIZES.camera_iterations * SIZES.camera_depth * cameras * 2 * channels
    assert taken == {SIZES.depth * int(frames * TOKENS) * channels + entries}


def test_everything_needs_ever_more_memory_but_seldom_new_one(network: GeometryNetwork) -> None:
    stream = GeometryStream(network, policy=KeepAll())
    taken = []
    for frame in clips(1, 12).unbind(1):
        stream.step(frame)
        taken.append(stream.byte_count)
    assert stream.token_caches[0].tokens == 12 * TOKENS
    assert 3 <= len(set(taken)) <= 5


def test_a_budget_keeps_the_first_frame_and_pairs_of_what_was_there() -> None:
    torch.manual_seed(0)
    cache, frame, budget = BudgetCache(budget=25), 10, 25
    given = torch.randn(2, 6, 2, 3, frame, 4)  # keys and values of six frames, batch 2, three heads
    for number in range(6):
        keys, values = cache.append(given[0, number], given[1, number])
        assert torch.equal(keys[:, :, :frame], given[0, 0]) and torch.equal(values[:, :, :frame], given[1, 0])
        assert torch.equal(keys[:, :, -frame:], given[0, number])
        cache.settle()
        assert cache.tokens == min(budget, (number + 1) * frame)
    assert keys.shape == (2, 3, budget + frame, 4)
    all_keys, all_values = (part.permute(1, 2, 0, 3, 4).flatten(2, 3) for part in given)
    matches = (keys[..., None, :] == all_keys[:, :, None]).all(-1)
    assert (matches.sum(-1) == 1).all(), "every key is one that was given"
    place = matches.float().argmax(-1)[..., None].expand(-1, -1, -1, 4)
    assert torch.equal(all_values.gather(2, place), values)
    assert 0 < float(cache.redundancy) < 1


def test_what_others_say_goes_first() -> None:
    keys = torch.tensor([[[[1.0, 0.1], [0, 5], [2, 0], [1, 0], [-3, 0]]]])
    kept, agreement = least_redundant(keys, 2)
    assert kept.tolist() == [[[1, 4]]]
    unit = keys / keys.norm(dim=-1, keepdim=True)
    assert float(agreement) == pytest.approx(float((unit @ unit.mean(2, keepdim=True).mT).mean()))
    budgets = layer_budgets([0.9, 0.1, 0.5], 1000)
    assert budgets[1] > budgets[2] > budgets[0] and 997 <= sum(budgets) <= 1000


def test_every_layer_may_have_a_budget_of_its_own(network: GeometryNetwork) -> None:
    stream = GeometryStream(network, policy=KeepBudget(tokens=(20, 30, 40)))
    for frame in clips(1, 5).unbind(1):
        stream.step(frame)
    assert [cache.tokens for cache in stream.token_caches] == [20, 30, 40]
    with pytest.raises(InvalidParameter, match="one for every layer"):
        GeometryStream(network, policy=KeepBudget(tokens=(20, 30)))


@pytest.mark.parametrize("policy", [KeepAll(), KeepWindow(frames=2), KeepBudget(tokens=40)])
def test_another_resolution_is_refused_and_the_stream_begins_anew(
    network: GeometryNetwork, policy: CachePolicy
) -> None:
    images, stream = clips(1, 2), GeometryStream(network, policy=policy)
    begun = stream.step(images[:, 0]).pose
    for wrong in (clips(1, 1, height=56)[:, 0], clips(2, 1)[:, 0], torch.zeros(1, 4, 42, 56)):
        stream.step(images[:, 1])
        with pytest.raises(InvalidImage):
            stream.step(wrong)
        assert stream.frames == 0 and stream.byte_count == 0
        torch.testing.assert_close(stream.step(images[:, 0]).pose, begun)


def test_what_a_stream_remembers_is_as_exact_as_what_it_computes(network: GeometryNetwork) -> None:
    images = clips(1, 6)
    exact = streamed(network, images, KeepWindow(frames=2))[0]
    with torch.autocast("cpu", torch.bfloat16):
        stream = GeometryStream(network, policy=KeepWindow(frames=2))
        near = torch.cat([stream.step(frame).tokens.layers[2] for frame in images.unbind(1)], dim=1)
    whole = GeometryStream(network, policy=KeepWindow(frames=2))
    whole.step(images[:, 0])
    assert stream.byte_count == whole.byte_count // 2
    assert (near.float() - exact).abs().mean() < 0.05 * exact.abs().mean()


def test_weights_of_half_the_size_make_streams_of_half_the_size() -> None:
    half = small_geometry().bfloat16()
    stream = GeometryStream(half, points=True)
    poses = torch.stack([stream.step(frame).pose for frame in clips(1, 3).unbind(1)])
    assert poses.dtype == torch.bfloat16 and poses.isfinite().all()
    exact = streamed(small_geometry(), clips(1, 3), KeepWindow())[1]
    assert (poses[:, 0].float() - exact[0]).abs().mean() < 0.1 * exact.abs().mean()


@pytest.mark.parametrize("policy", [KeepWindow(), KeepBudget()])
def test_the_published_network_remembers_less_than_a_gigabyte(policy: CachePolicy) -> None:
    """Of images of 518 x 392 pixels, in half precision, by one of its 24 layers."""
    keys = torch.zeros(1, 16, 1 + 4 + 37 * 28, 64, dtype=torch.bfloat16)
    cache = policy.token_cache(0)
    cache.append(keys, keys)
    assert 0.9e9 < 24 * cache.byte_count < 1e9


def test_what_cannot_be_is_refused(network: GeometryNetwork) -> None:
    for made, named in (
        (lambda: KeepWindow(frames=0), "0 frames"),
        (lambda: KeepBudget(tokens=0), "0 tokens"),
        (lambda: KeepBudget(tokens=()), "at least 1"),
    ):
        with pytest.raises(InvalidParameter, match=named):
            made()
    stream = GeometryStream(network, policy=KeepBudget(tokens=TOKENS))
    with pytest.raises(InvalidParameter, match="more than one frame"):
        stream.step(clips(1, 1)[:, 0])
    blind = GeometryNetwork.from_config({**SIZES.config, "heads": ["depth"]})
    with pytest.raises(InvalidModel, match="no camera head"):
        GeometryStream(blind)


def test_heads_that_are_not_there_say_nothing() -> None:
    bare = GeometryNetwork.from_config({**SIZES.config, "heads": ["camera"]}).eval()
    frame = GeometryStream(bare, points=True).step(clips(1, 1)[:, 0])
    assert frame.depth is None and frame.points is None and frame.pose.shape == (1, 9)
