"""The video generator of the compact world model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fourd_ros.errors import InvalidInput, InvalidModel
from fourd_ros.geometry.camera import PinholeCamera
from fourd_ros.geometry.transforms import apply, look_at
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import shipped_model, write_model
from fourd_ros.model_io.onnx_export import export_onnx
from fourd_ros.records import RolloutView, View
from fourd_ros.world_model.compact.clips import MEASURED, ROBOT, SHADED
from fourd_ros.world_model.compact.generator import COMPONENT, ONNX_FILE, VideoGenerator, torch_network
from fourd_ros.world_model.compact.generator_network import VideoGeneratorNetwork
from fourd_ros.world_model.compact.lighting import Lamp, Shade

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


CAMERA = PinholeCamera(width=32, height=24, K=np.array([[30.0, 0, 15.5], [0, 30, 11.5], [0, 0, 1]]))
STEPS = 6
NO_SHADE = Shade(lamp=None, before=np.full((1, 1, 1), np.inf), after=np.full((STEPS, 1, 1), np.inf))


@pytest.fixture(scope="module")
def first() -> View:
    rng = np.random.default_rng(0)
    depth = np.linspace(1.0, 1.5, 32)[None] + np.zeros((24, 1))
    return View(
        camera=CAMERA,
        T_world_camera=look_at((0.0, 0.0, 1.0), (0.8, 0.0, 0.0)),
        rgb=rng.integers(40, 200, (24, 32, 3), np.uint8),
        points=(CAMERA.rays() * depth[..., None]).astype(np.float32),
    )


@pytest.fixture(scope="module")
def guidance(first: View) -> RolloutView:
    """The first view with a hole that nothing is known about, one without depth, and a robot."""
    rgb, points = (np.repeat(array[None], STEPS, axis=0) for array in (first.rgb, first.points))
    observed, robot = np.ones((STEPS, 24, 32), bool), np.zeros((STEPS, 24, 32), bool)
    observed[:, 4:12, 6:14] = False
    points[:, 4:12, 6:14] = points[:, 16:20, 20:26] = np.nan
    robot[:, :10, 24:30] = True
    return RolloutView(
        camera=CAMERA,
        T_world_camera=np.repeat(first.T_world_camera[None], STEPS, axis=0),
        rgb=rgb,
        points=points,
        sigma=np.where(observed, 0.01, np.nan).astype(np.float32),
        robot_mask=robot,
        observed_mask=observed,
        labels=observed.astype(np.uint32),
    )


def generator_of(network: VideoGeneratorNetwork) -> VideoGenerator:
    return VideoGenerator(torch_network(network.eval()), size=network.size, steps=network.steps)


def test_without_training_known_pixels_stay_and_holes_are_filled(network, first, guidance):
    (video,) = generator_of(network).generate([guidance], first, [NO_SHADE], seeds=[None])
    seen, measured = guidance.observed_mask, np.isfinite(guidance.points[..., 2])
    np.testing.assert_array_equal(video.rgb[seen], guidance.rgb[seen])
    np.testing.assert_array_equal(video.points[measured], guidance.points[measured])
    assert np.isfinite(video.points).all()
    depth = video.points[~measured & ~guidance.robot_mask][:, 2]
    assert depth.min() >= 1.0 and depth.max() <= 1.5
    rays = np.broadcast_to(CAMERA.rays(), video.points.shape)
    np.testing.assert_allclose(video.points / video.points[..., 2:], rays, atol=1e-6)
    for name in ("sigma", "labels", "observed_mask", "robot_mask"):
        np.testing.assert_array_equal(getattr(video, name), getattr(guidance, name))


def test_whatever_the_network_says_robot_and_known_points_are_exact(network, first, guidance):
    (video,) = generator_of(stirred(network)).generate([guidance], first, [NO_SHADE], seeds=[3], steps=3)
    robot, measured = guidance.robot_mask, np.isfinite(guidance.points[..., 2])
    np.testing.assert_array_equal(video.rgb[robot], guidance.rgb[robot])
    np.testing.assert_array_equal(video.points[measured], guidance.points[measured])
    assert (video.rgb[~robot] != guidance.rgb[~robot]).mean() > 0.5


def test_videos_of_a_batch_do_not_mix_and_seeds_decide(network, first, guidance):
    generator = generator_of(stirred(network))
    darker = replace(guidance, rgb=guidance.rgb // 2)
    alone = [
        generator.generate([video], first, [NO_SHADE], seeds=[seed])[0].rgb
        for video, seed in ((guidance, 1), (guidance, 2), (darker, None))
    ]
    together = generator.generate([guidance, guidance, darker], first, [NO_SHADE] * 3, seeds=[1, 2, None])
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one.astype(int) - other.rgb).max() <= 1
    assert (alone[0] != alone[1]).any()


def test_the_flow_ends_where_it_is_predicted_to(first, guidance):
    times = []

    def network(inputs):
        times.extend(inputs["time"].tolist())
        end = np.full_like(inputs["flow"], 0.2)
        return {"change": end, "gains": np.zeros((1, 4, 3, 16, 16), np.float32)}

    generator = VideoGenerator(network, size=16, steps=4)
    (video,) = generator.generate([guidance], first, [NO_SHADE], seeds=[5], steps=4)
    assert times == [0.0, 0.25, 0.5, 0.75] * 2
    free = guidance.observed_mask & ~guidance.robot_mask
    np.testing.assert_array_equal(video.rgb[free], np.rint(guidance.rgb[free] + 0.2 * 255 / 2))


def test_shadows_are_as_sharp_as_they_are_known(first, guidance):
    """A gain in new shadows darkens the shaded pixels of the image, not the blocks of the network."""

    def network(inputs):
        gains = np.zeros((1, 4, 3, 16, 16), np.float32)
        gains[:, :, 1] = -0.5
        shaded = inputs["guidance"][:, :, SHADED : SHADED + 1]
        free = 1 - inputs["guidance"][:, :, ROBOT : ROBOT + 1]
        change = -0.5 * shaded * free * (inputs["guidance"][:, :, :3] + 1)
        return {"change": np.concatenate([change, change[:, :, :1] * 0], axis=2).astype(np.float32), "gains": gains}

    lamp = Lamp(T_robot_lamp=look_at((0.8, 0.0, 3.0), (0.8, 0.01, 0.0)), agreement=1.0)
    after = np.full((STEPS, 161, 161), np.inf)
    after[:, :, :80] = 0.5  # something near the lamp hides one half of the room from it
    shade = Shade(lamp=lamp, before=np.full((1, 161, 161), np.inf), after=after)
    (video,) = VideoGenerator(network, size=16, steps=4).generate([guidance], first, [shade], seeds=[None])
    points = apply(first.T_world_camera, guidance.points.astype(np.float64)).reshape(STEPS, -1, 3)
    shaded = shade.changes(points)[0].reshape(STEPS, 24, 32)
    free = guidance.observed_mask & ~guidance.robot_mask & np.isfinite(guidance.points[..., 2])
    assert 0.2 < shaded[free].mean() < 0.8
    expected = np.where(shaded[..., None], np.rint(guidance.rgb * 0.5), guidance.rgb)
    assert np.abs(video.rgb[free].astype(int) - expected[free]).max() <= 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("generator")
    torch.manual_seed(0)
    network = stirred(VideoGeneratorNetwork(**SMALL))
    export_onnx(network, network.onnx_signature(), place / "model.onnx")
    card = ModelCard(name="generator", system="test", purpose="test", licence="Apache-2.0", data="none", limits="none")
    write_model(
        place / "model",
        {COMPONENT: network},
        card=card,
        model_class="VideoGenerator",
        extra={ONNX_FILE: place / "model.onnx"},
    )
    return place / "model"


def test_onnx_and_torch_agree(folder, first, guidance):
    one, other = (
        VideoGenerator.from_folder(folder, runtime=runtime).generate(
            [guidance] * 3, first, [NO_SHADE] * 3, seeds=[None, 0, 1], steps=2
        )
        for runtime in ("onnx", "torch")
    )
    for left, right in zip(one, other, strict=True):
        np.testing.assert_allclose(left.points, right.points, atol=1e-3)
        assert np.abs(left.rgb.astype(int) - right.rgb).max() <= 1


def test_what_cannot_be_asked_is_refused(folder, network, first, guidance):
    with pytest.raises(InvalidInput, match="runtime 'tensorrt'"):
        VideoGenerator.from_folder(folder, runtime="tensorrt")
    with pytest.raises(InvalidModel, match="needed is 'generator'"):
        VideoGenerator.from_folder(shipped_model("depth_completion"))
    with pytest.raises(InvalidInput, match="one seed a video"):
        generator_of(network).generate([guidance], first, [NO_SHADE], seeds=[])
