"""The part network against the vectors of the original, its checkpoints, and the parts that no vector reaches."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from fourd_ros.errors import InvalidCheckpoint, InvalidModel, WeightMismatch
from fourd_ros.model_io.conversion import convert
from fourd_ros.model_io.loading import load_component
from fourd_ros.part_dynamics.conversion import COMPONENT, CONVERTER, LGM_CONVERTER
from fourd_ros.part_dynamics.drag_maps import DragMaps, fourier_features
from fourd_ros.part_dynamics.network import PartNetwork, PartNetworkConfig, network_input
from fourd_ros.part_dynamics.rays import optical_from_opengl, orbit_pose, pluecker_rays
from fourd_ros.verify.runner import verify

GOLDEN = Path(__file__).parent / "golden" / "partrm"
TINY = PartNetworkConfig(
    input_size=32,
    down_channels=(32, 32, 64),
    down_attention=(False, False, True),
    up_channels=(64, 32),
    up_attention=(True, False),
)


@pytest.fixture(scope="module")
def tiny() -> PartNetwork:
    torch.manual_seed(0)
    return PartNetwork(TINY).eval()


def test_every_vector_of_the_original_is_met() -> None:
    rows = verify("partrm", GOLDEN)
    wrong = [f"{row.file}: {row.problem or row.worst}" for row in rows if not row.ok]
    assert not wrong
    assert sum(len(row.verdicts) for row in rows) > 250


def test_maps_are_those_of_impulses_that_are_blurred_one_by_one() -> None:
    """Batches, unequal channels, drags in one cell and at the rim."""
    torch.manual_seed(1)
    scales, channels = (32, 16, 8, 4), (32, 64, 32, 96)
    maps = DragMaps(scales, channels)
    places = torch.rand(3, 5, 2) * 511
    places[0, 1] = places[0, 0]
    places[1, 2], places[1, 3] = torch.tensor([0.0, 511.0]), torch.tensor([511.0, 0.0])
    for level, (scale, count) in enumerate(zip(scales, channels, strict=True)):
        with torch.no_grad():
            start, end = maps(level, places, places.flip(1))
        embedded = maps.linears_drags[level](fourier_features(places))
        dense = torch.zeros(3, count // 2, scale, scale)
        for view in range(3):
            for drag in range(5):
                x, y = (int(value) // (512 // scale) for value in places[view, drag])
                dense[view, :, x, y] += embedded[view, drag].detach()
        kernel = torch.exp(-(torch.arange(-2.0, 3.0) ** 2) / 2)
        kernel = torch.outer(kernel, kernel) / kernel.sum() ** 2
        padded = functional.pad(dense, (2, 2, 2, 2), mode="reflect")
        blurred = functional.conv2d(padded, kernel.expand(count // 2, 1, 5, 5), groups=count // 2)
        torch.testing.assert_close(start, blurred, rtol=0, atol=1e-5)
        torch.testing.assert_close(end.sum(), start.sum(), rtol=1e-4, atol=1e-4)


def test_every_view_has_drags_of_its_own_and_objects_do_not_mix(tiny: PartNetwork) -> None:
    images = torch.randn(2, 4, 9, 32, 32)
    start = torch.rand(2, 4, 3, 2) * 511
    end = start + 40
    with torch.no_grad():
        both = tiny(images, start, end)
        alone = tiny(images[1:], start[1:], end[1:])
        changed = start.clone()
        changed[0, 2] = 511 - changed[0, 2]
        other = tiny(images, changed, end)
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-5)
    assert not torch.allclose(both[0], other[0], atol=1e-4)
    torch.testing.assert_close(both[1], other[1], rtol=0, atol=1e-5)


def test_gaussians_are_in_their_ranges(tiny: PartNetwork) -> None:
    with torch.no_grad():
        made = tiny(10 * torch.randn(1, 4, 9, 32, 32), torch.zeros(1, 4, 1, 2), torch.zeros(1, 4, 1, 2))
    assert made.shape == (1, TINY.gaussians, 14) and TINY.splat_size == 16
    assert made[..., :3].abs().max() <= 1
    assert ((made[..., 3] >= 0) & (made[..., 3] <= 1)).all() and (made[..., 4:7] > 0).all()
    torch.testing.assert_close(made[..., 7:11].norm(dim=-1), torch.ones(1, TINY.gaussians))
    assert ((made[..., 11:] >= 0) & (made[..., 11:] <= 1)).all()


def test_rays_go_through_their_pixels() -> None:
    pose = torch.from_numpy(orbit_pose(-20, 35, 2.0)).float()
    rays = pluecker_rays(pose[None], size=8, fovy=60.0)[0]
    moment, direction = rays[:3], rays[3:]
    origin = pose[:3, 3, None, None].expand_as(direction)
    torch.testing.assert_close(torch.linalg.cross(origin, direction, dim=0), moment, rtol=0, atol=1e-6)
    looking = -pose[:3, 2]
    middle = direction[:, 3:5, 3:5].mean(dim=(1, 2))
    torch.testing.assert_close(middle / middle.norm(), looking, rtol=0, atol=1e-5)
    turned = optical_from_opengl(pose.numpy())
    np.testing.assert_allclose(turned[:3, 2], looking.numpy(), atol=1e-6)


def test_colours_are_normalised_as_the_family_wants() -> None:
    images, rays = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 6, 4, 4)
    plain, shifted = (network_input(images, rays, colours=kind) for kind in ("plain", "imagenet"))
    assert float(plain[0, 0, 0, 0]) == 0.5
    assert float(shifted[0, 0, 0, 0]) == pytest.approx((0.5 - 0.485) / 0.229, abs=1e-5)


@pytest.mark.parametrize("wrapper", ["", "state_dict.", "module."])
def test_checkpoints_are_converted_strictly(tiny: PartNetwork, wrapper: str, tmp_path: Path) -> None:
    state = {f"{wrapper.removeprefix('state_dict.')}{name}": tensor for name, tensor in tiny.state_dict().items()}
    state |= {f"{wrapper.removeprefix('state_dict.')}lpips_loss.lin0.weight": torch.zeros(1)}
    torch.save({"state_dict": state} if wrapper == "state_dict." else state, tmp_path / "partdrag4d.ckpt")
    convert(CONVERTER, tmp_path / "partdrag4d.ckpt", tmp_path / "model")
    loaded = load_component(tmp_path / "model", COMPONENT, allow_noncommercial=True)
    assert loaded.settings.down_channels == TINY.down_channels
    assert loaded.settings.up_attention == TINY.up_attention
    assert (loaded.settings.colours, loaded.settings.cam_radius) == ("imagenet", 2.4)
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    del state[next(iter(name for name in state if "mid_block" in name))]
    torch.save(state, tmp_path / "broken.ckpt")
    with pytest.raises(WeightMismatch, match="mid_block"):
        convert(CONVERTER, tmp_path / "broken.ckpt", tmp_path / "other")


def test_a_static_network_takes_no_drags(tmp_path: Path) -> None:
    weights = GOLDEN / "static_net" / "weights.safetensors"
    convert(LGM_CONVERTER, weights, tmp_path / "model")
    loaded = load_component(tmp_path / "model", COMPONENT, allow_noncommercial=True)
    given, wanted = (load_file(GOLDEN / "static_net" / f"{name}.safetensors") for name in ("inputs", "outputs"))
    assert not loaded.settings.drags
    with torch.no_grad():
        torch.testing.assert_close(loaded(given["input"]), wanted["gaussians"], rtol=1e-4, atol=2e-4)
    torch.save({"something": torch.zeros(3)}, tmp_path / "else.ckpt")
    with pytest.raises(InvalidCheckpoint, match="no U-Net of PartRM"):
        convert(CONVERTER, tmp_path / "else.ckpt", tmp_path / "other")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"up_channels": (32, 32)}, "mirrored"),
        ({"down_channels": (32, 33, 64), "up_channels": (64, 33)}, "multiples of 32"),
        ({"input_size": 96}, "divide 512"),
        ({"colours": "grey"}, "colours 'grey'"),
        ({"size": 3}, "size"),
    ],
)
def test_networks_that_cannot_be_are_named(changed: dict[str, object], named: str) -> None:
    with pytest.raises(InvalidModel, match=named):
        PartNetwork.from_config({**json.loads(json.dumps(PartNetwork(TINY).config)), **changed})
