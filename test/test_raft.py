"""RAFT: its checkpoint, its formulas, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from texture import texture

from fourd_ros.errors import InvalidImage, InvalidParameter, LicenceRefused, WeightMismatch
from fourd_ros.model_io.conversion import convert
from fourd_ros.reconstruction.tracking.flow import find_flow
from fourd_ros.reconstruction.tracking.raft import MAX_PIXELS, Raft
from fourd_ros.reconstruction.tracking.raft_conversion import CONVERTER
from fourd_ros.reconstruction.tracking.raft_network import RaftNetwork, _correlations, _enlarged, _looked_up


@pytest.fixture(scope="module")
def network() -> RaftNetwork:
    torch.manual_seed(0)
    return RaftNetwork().eval()


def published(network: RaftNetwork) -> dict[str, torch.Tensor]:
    """Weights as in raft-things.pth: of a data-parallel network, with some of them under a second name."""
    weights = {f"module.{name}": tensor for name, tensor in network.state_dict().items()}
    again = {
        name.replace("downsample.1", "norm3"): tensor for name, tensor in weights.items() if "downsample.1" in name
    }
    return weights | again


def test_published_checkpoint_becomes_a_flow(tmp_path: Path, network: RaftNetwork) -> None:
    torch.save(published(network), tmp_path / "raft-things.pth")
    convert(CONVERTER, tmp_path / "raft-things.pth", tmp_path / "raft")
    with pytest.raises(LicenceRefused):
        find_flow("raft", model=tmp_path / "raft")
    flow = find_flow("raft", model=tmp_path / "raft", allow_noncommercial=True)
    first, second = texture(60, 100), texture(60, 100, seed=1)
    found = flow(first, second)
    assert found.shape == (60, 100, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found, Raft(network)(first, second), atol=1e-5)


def test_other_checkpoints_are_refused(tmp_path: Path, network: RaftNetwork) -> None:
    weights = published(network)
    del weights["module.update_block.mask.2.weight"]
    weights["module.more"] = torch.zeros(3)
    torch.save(weights, tmp_path / "other.pth")
    with pytest.raises(WeightMismatch, match=r"mask\.2\.weight"):
        convert(CONVERTER, tmp_path / "other.pth", tmp_path / "raft")
    assert not (tmp_path / "raft").exists()


def test_names_of_weights_are_those_of_the_paper_s_code(network: RaftNetwork) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes["fnet.layer2.0.downsample.0.weight"] == (96, 64, 1, 1)
    assert shapes["cnet.layer3.1.norm2.running_var"] == (128,)
    assert shapes["update_block.encoder.convc1.weight"] == (256, 324, 1, 1)
    assert shapes["update_block.gru.convq2.weight"] == (128, 384, 5, 1)
    assert shapes["update_block.flow_head.conv2.weight"] == (2, 256, 3, 3)
    assert shapes["update_block.mask.2.weight"] == (576, 256, 1, 1)
    assert "fnet.norm1.weight" not in shapes, "norms of features have no weights"
    assert sum(parameter.numel() for parameter in network.parameters()) == 5_257_536


def test_correlations_are_looked_up_where_the_flow_leads() -> None:
    torch.manual_seed(1)
    first, second = torch.randn(2, 1, 256, 16, 20)
    pyramid = _correlations(first, second)
    assert [tuple(level.shape[2:]) for level in pyramid] == [(16, 20), (8, 10), (4, 5), (2, 2)]
    places = torch.zeros(1, 2, 16, 20)
    places[:, 0], places[:, 1] = 9, 6
    found = _looked_up(pyramid, places)
    assert found.shape == (1, 4 * 81, 16, 20)
    for dx, dy in ((0, 0), (3, -2), (-4, 4)):
        direct = (first[0, :, 5, 7] * second[0, :, 6 + dy, 9 + dx]).sum() / 16
        assert found[0, (dx + 4) * 9 + dy + 4, 5, 7] == pytest.approx(direct.item(), abs=1e-5)
    mean = torch.stack([first[0, :, 5, 7] @ second[0, :, y, x] for y in (6, 7) for x in (8, 9)]).mean() / 16
    half = torch.full_like(places, 6)
    half[:, 0] = 8
    assert _looked_up(pyramid, half)[0, 81 + 40, 5, 7] == pytest.approx(mean.item(), abs=1e-5)


def test_enlarged_flow_is_a_mean_of_neighbours_in_pixels() -> None:
    flow = torch.arange(2 * 4 * 5, dtype=torch.float32).reshape(1, 2, 4, 5)
    weights = torch.full((1, 9, 8, 8, 4, 5), -50.0)
    weights[:, 4], weights[:, 5, 0, 3] = 50.0, 100.0  # everywhere the middle, at one place the right neighbour
    full = _enlarged(flow, weights.reshape(1, 576, 4, 5))
    assert full.shape == (1, 2, 32, 40)
    assert full[0, 1, 8 + 2, 16 + 5] == 8 * flow[0, 1, 1, 2]
    assert full[0, 1, 8 + 0, 16 + 3] == 8 * flow[0, 1, 1, 3]


def test_what_raft_refuses(network: RaftNetwork) -> None:
    with pytest.raises(InvalidParameter, match="fourd convert raft"):
        find_flow("raft")
    with pytest.raises(InvalidParameter, match="at least 1"):
        Raft(network, rounds=0)
    flow = Raft(network, rounds=1)
    with pytest.raises(InvalidImage, match="needed: one"):
        flow(texture(40, 40), texture(40, 48))
    wide = np.broadcast_to(np.uint8(0), (20, MAX_PIXELS, 3))
    with pytest.raises(InvalidImage, match="shrink"):
        flow(wide, wide)
