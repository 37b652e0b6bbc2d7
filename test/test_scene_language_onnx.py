"""A frame of a stream whose memory goes in and comes out, in torch and in ONNX Runtime."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scene_rig import HEIGHT, LANGUAGE, SIZES, WIDTH, lively, small_geometry
from torch import Tensor

from fourd_ros.cli import main
from fourd_ros.errors import InvalidModel
from fourd_ros.model_io.card import ModelCard
from fourd_ros.model_io.folder import write_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.model_io.onnx_session import OnnxSession
from fourd_ros.scene_language.conversion import GEOMETRY
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.geometry_stream import GeometryStream
from fourd_ros.scene_language.language_head import LanguageHead
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.onnx_step import LanguageFrame, StreamStep
from fourd_ros.scene_language.token_cache import KeepWindow

WINDOW, FRAMES = 2, 6


def images(count: int, *, height: int = HEIGHT) -> Tensor:
    return torch.rand(count, 1, 3, height, WIDTH, generator=torch.Generator().manual_seed(5))


def test_a_step_with_its_memory_outside_is_the_stream() -> None:
    network = small_geometry()
    step = StreamStep(network, size=(HEIGHT, WIDTH), frames=WINDOW)
    stream = GeometryStream(network, policy=KeepWindow(frames=WINDOW))
    memory = step.memory()
    for number, image in enumerate(images(FRAMES)):
        expected = stream.step(image)
        with torch.inference_mode():
            pose, depth, confidence, layers, *after = step(image, torch.tensor([number]), **memory)
        memory = dict(zip(memory, after, strict=True))
        assert expected.depth is not None and expected.depth_confidence is not None
        for said, wanted in (
            (pose, expected.pose),
            (depth, expected.depth),
            (confidence, expected.depth_confidence),
            (layers, torch.stack([expected.tokens.layers[layer] for layer in sorted(network.layers)])),
        ):
            torch.testing.assert_close(said, wanted, atol=2e-5, rtol=2e-5)


def test_a_network_without_depth_has_no_step() -> None:
    with pytest.raises(InvalidModel, match="depth head"):
        StreamStep(GeometryNetwork(replace(SIZES, heads=("camera",))))


def test_the_language_of_a_frame_is_that_of_its_tokens() -> None:
    network = small_geometry()
    head = lively(LanguageHead(LANGUAGE))
    assert isinstance(head, LanguageHead)
    frame = GeometryStream(network).step(images(1)[0])
    part = LanguageFrame(head, special=frame.tokens.special, size=(HEIGHT, WIDTH))
    layers = torch.stack([frame.tokens.layers[layer] for layer in sorted(network.layers)])
    with torch.inference_mode():
        torch.testing.assert_close(part(layers), head(frame.tokens).features[0, 0])


def test_the_command_writes_a_file_that_goes_on_as_torch_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = replace(
        SIZES, depth=1, dpt_layers=(0, 0, 0, 0), camera_depth=1, camera_iterations=2, heads=("camera", "depth")
    )
    card = ModelCard(name="small", system="langvggt", purpose="Tests.", licence="Apache-2.0")
    folder = tmp_path / "model"
    write_model(folder, {GEOMETRY: lively(GeometryNetwork(sizes))}, card=card, model_class="SceneLanguage")
    assert main(["export", "onnx", str(folder), str(tmp_path), "--json"]) == 0
    (told,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert Path(told["path"]).name == "geometry_step.onnx" and max(told["deviations"].values()) < 1e-4

    model: SceneLanguage = load_model(folder)
    step = StreamStep(model.geometry)
    stream, session = (
        model.stream(policy=KeepWindow(frames=step.frames)),
        OnnxSession(told["path"], processors=("cpu",)),
    )
    memory = {name: zeros.numpy() for name, zeros in step.memory().items()}
    for number, image in enumerate(images(step.frames + 4, height=step.size[0])):
        expected = stream.step(image)
        said = session.run(image=image.numpy(), count=np.array([number]), **memory)
        memory = {name: said[f"{name}_after"] for name in memory}
        assert expected.depth is not None
        np.testing.assert_allclose(said["pose"], expected.pose.numpy(), atol=1e-4)
        np.testing.assert_allclose(said["depth"], expected.depth.numpy(), rtol=1e-4)
    assert main(["export", "onnx", str(folder), str(tmp_path), "--component", "geometry"]) == 1
    assert "geometry_step" in capsys.readouterr().err


def test_a_model_names_its_parts() -> None:
    head = lively(LanguageHead(LANGUAGE))
    assert isinstance(head, LanguageHead)
    assert list(SceneLanguage(small_geometry(), language=head).onnx_parts()) == ["geometry_step", "language_frame"]
