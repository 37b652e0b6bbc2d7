"""Published checkpoints of scene language become model folders, or are refused with a reason."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from scene_rig import CHANNELS, LANGUAGE, SIZES, clips, lively

from fourd_ros.errors import InvalidCheckpoint, InvalidModel, LicenceRefused, WeightMismatch
from fourd_ros.model_io.conversion import convert
from fourd_ros.model_io.converters import find_converter
from fourd_ros.model_io.loading import load_component, load_model
from fourd_ros.scene_language.conversion import CODEC, GEOMETRY
from fourd_ros.scene_language.conversion import LANGUAGE as LANGUAGE_PART
from fourd_ros.scene_language.feature_codec import FeatureCodec
from fourd_ros.scene_language.geometry_network import GeometryNetwork
from fourd_ros.scene_language.language_head import LanguageHead
from fourd_ros.scene_language.model import SceneLanguage
from fourd_ros.scene_language.sizes import CodecSizes, LanguageSizes

PUBLISHED = (4, 11, 17, 23)
DEEP = replace(
    SIZES,
    depth=24,
    dpt_layers=PUBLISHED,
    vit_heads=2,
    camera_iterations=4,
    track_levels=7,
    track_radius=4,
    track_heads=8,
)
HEAD = replace(LANGUAGE, dpt_layers=PUBLISHED)


@pytest.fixture(scope="module")
def parts() -> dict[str, Any]:
    return {
        "streamvggt": lively(GeometryNetwork(DEEP)),
        "langvggt": lively(LanguageHead(HEAD)),
        "langsplat_autoencoder": lively(FeatureCodec(CodecSizes(encoder=(16, 8, 3), decoder=(3, 8, 16)))),
    }


@pytest.fixture(scope="module")
def folders(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All three, converted from files as their authors write them."""
    place = tmp_path_factory.mktemp("converted")
    files = {
        "streamvggt": parts["streamvggt"].state_dict(),
        "langvggt": {
            "epoch": 100,
            "model_state_dict": parts["langvggt"].state_dict(),
            "optimizer_state_dict": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2)}}},
            "scaler": {"scale": 65536.0},
            "loss": torch.tensor(0.3),
            "args": Namespace(mode="gt", cos=True),
        },
        "langsplat_autoencoder": parts["langsplat_autoencoder"].state_dict(),
    }
    for system, content in files.items():
        torch.save(content, place / f"{system}.pth")
        convert(find_converter(system), place / f"{system}.pth", place / system)
    return {system: place / system for system in files}


@pytest.mark.parametrize(
    ("system", "component"),
    [("streamvggt", GEOMETRY), ("langvggt", LANGUAGE_PART), ("langsplat_autoencoder", CODEC)],
)
def test_every_weight_has_its_place(
    parts: dict[str, Any], folders: dict[str, Path], system: str, component: str
) -> None:
    with pytest.raises(LicenceRefused, match="is non-commercial"):
        load_component(folders[system], component)
    loaded = load_component(folders[system], component, allow_noncommercial=True)
    assert loaded.sizes == parts[system].sizes
    state = loaded.state_dict()
    assert state.keys() == parts[system].state_dict().keys()
    assert all(torch.equal(state[name], tensor) for name, tensor in parts[system].state_dict().items())


def test_parts_become_one_model(parts: dict[str, Any], folders: dict[str, Path]) -> None:
    model = SceneLanguage.from_folders(
        folders["streamvggt"],
        language=folders["langvggt"],
        codec=folders["langsplat_autoencoder"],
        allow_noncommercial=True,
    )
    frame = model.stream(points=True).step(clips(1, 1)[:, 0])
    assert model.language is not None and model.codec is not None
    with torch.no_grad():
        maps = model.language(frame.tokens)
        features = model.codec.decode(maps.features.movedim(3, -1))
    assert features.shape == (1, 1, 3, 42, 56, 16) and frame.points is not None
    alone = load_model(folders["streamvggt"], allow_noncommercial=True)
    assert alone.language is None and alone.geometry.sizes == DEEP
    with pytest.raises(InvalidModel, match="needs a component 'geometry'"):
        load_model(folders["langvggt"], allow_noncommercial=True)


def test_parts_that_do_not_fit_are_refused(parts: dict[str, Any]) -> None:
    geometry, codec = parts["streamvggt"], parts["langsplat_autoencoder"]
    other = LanguageHead(LanguageSizes(dim_in=24, features=8, hidden_dim=4, dpt_channels=CHANNELS))
    with pytest.raises(InvalidModel, match="24 channels"):
        SceneLanguage(geometry, language=other)
    shallow = LanguageHead(LANGUAGE)
    with pytest.raises(InvalidModel, match="from the layers"):
        SceneLanguage(geometry, language=shallow)
    wide = LanguageHead(replace(HEAD, lang_dim=6))
    with pytest.raises(InvalidModel, match="the head gives 6"):
        SceneLanguage(geometry, language=wide, codec=codec)


def test_a_checkpoint_without_tracks_is_converted(parts: dict[str, Any], tmp_path: Path) -> None:
    state = {
        f"module.{name}": tensor
        for name, tensor in parts["streamvggt"].state_dict().items()
        if not name.startswith("track_head.")
    }
    torch.save(state, tmp_path / "tracks.pth")
    convert(find_converter("streamvggt"), tmp_path / "tracks.pth", tmp_path / "model")
    loaded = load_component(tmp_path / "model", GEOMETRY, allow_noncommercial=True)
    assert loaded.track_head is None and loaded.point_head is not None


def test_what_is_missing_too_much_or_something_else_is_named(parts: dict[str, Any], tmp_path: Path) -> None:
    def converted(system: str, state: dict[str, Any]) -> None:
        torch.save(state, tmp_path / "given.pth")
        convert(find_converter(system), tmp_path / "given.pth", tmp_path / "model")

    state = parts["streamvggt"].state_dict()
    for changed, named in (
        ({name: one for name, one in state.items() if name != "camera_head.trunk_norm.bias"}, "trunk_norm.bias"),
        ({**state, "gaussian_head.weight": torch.zeros(2)}, "gaussian_head.weight"),
    ):
        with pytest.raises(WeightMismatch, match=named):
            converted("streamvggt", changed)
    shallow = {name: one for name, one in state.items() if ".global_blocks.23." not in name}
    with pytest.raises(InvalidCheckpoint, match="23 layers"):
        converted("streamvggt", shallow)
    for system, named in (
        ("streamvggt", "no StreamVGGT"),
        ("langvggt", "no head of 4DLangVGGT"),
        ("langsplat_autoencoder", "no autoencoder"),
    ):
        with pytest.raises(InvalidCheckpoint, match=named):
            converted(system, {"weight": torch.zeros(2, 2)})
    assert not (tmp_path / "model").exists()
