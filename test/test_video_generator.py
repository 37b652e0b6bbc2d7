"""The video generator of the compact world model."""

import numpy as np
import pytest
import torch

from fourd_ros.errors import InvalidModel
from fourd_ros.world_model.compact.clips import MEASURED, ROBOT
from fourd_ros.world_model.compact.generator_network import VideoGeneratorNetwork

SMALL = {"size": 16, "steps": 4, "patch": (2, 4), "width": 24, "heads": 2, "layers": "st", "expansion": 2}


@pytest.fixture
def network() -> VideoGeneratorNetwork:
    torch.manual_seed(0)
    return VideoGeneratorNetwork(**SMALL)


def stirred(network: VideoGeneratorNetwork) -> VideoGeneratorNetwork:
    """With other weights than zero everywhere."""
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def inputs(network: VideoGeneratorNetwork, batch: int) -> dict[str, torch.Tensor]:
    examples = {len(example["time"]): example for example in network.onnx_signature().examples}
    return dict(examples[batch])


def test_without_training_the_guidance_is_not_changed(network):
    prediction = network(**inputs(network, 2))
    assert prediction.change.shape == (2, 4, 4, 16, 16) and prediction.gains.shape == (2, 4, 3, 16, 16)
    assert not prediction.change.any() and not prediction.gains.any()


def test_robot_and_measured_depth_are_never_changed(network):
    given = inputs(network, 2)
    change = stirred(network)(**given).change
    robot = given["guidance"][:, :, ROBOT].bool()
    measured = given["guidance"][:, :, MEASURED].bool()
    assert not change.movedim(2, -1)[robot].any() and not change[:, :, 3][measured].any()
    assert change[:, :, 3][~measured & ~robot].all() and change[:, :, 0][~robot].all()


def test_every_frame_sees_the_first_one_and_every_other(network):
    stirred(network)
    given = inputs(network, 1)
    given["guidance"][:, :, ROBOT] = 0
    before = network(**given).change
    for name, place in (("first", (0, 0, 8, 8)), ("guidance", (0, 0, 0, 8, 8)), ("flow", (0, 3, 0, 1, 1))):
        other = {key: value.clone() for key, value in given.items()}
        other[name][place] += 1
        difference = (network(**other).change - before).abs().amax(dim=(0, 2, 3, 4))
        assert (difference > 1e-7).all(), name


def test_patches_are_put_back_where_they_were_cut(network):
    video = torch.rand(2, 4, 7, 16, 16)
    np.testing.assert_array_equal(network._images(network._patches(video, 2)), video)


def test_a_config_makes_the_same_network(network):
    again = VideoGeneratorNetwork.from_config(network.config)
    again.load_state_dict(network.state_dict())
    given = inputs(network, 1)
    np.testing.assert_array_equal(again(**given).change.detach(), network(**given).change.detach())


def test_frames_that_patches_do_not_fill_are_refused():
    with pytest.raises(InvalidModel, match="16 x 16 pixels in patches of 3"):
        VideoGeneratorNetwork(**{**SMALL, "patch": (3, 4)})
