"""Loading: the licence first, then every byte, then every name and shape; nothing that a file names is run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_rig import TinyModel, TinyNetwork, assert_same_weights, tiny_card, tiny_network, write_single, write_tiny
from safetensors.torch import load_file, save_file

from fourd_ros.errors import CorruptModel, InvalidModel, LicenceRefused, UnknownModel, WeightMismatch
from fourd_ros.model_io import registry
from fourd_ros.model_io.folder import INDEX, adopt_model, write_model
from fourd_ros.model_io.loading import load_component, load_model

WEIGHTS = "network/diffusion_pytorch_model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_single(tmp_path / "tiny").path


def edit(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file of a folder and adopt the result, so that only its meaning is wrong."""
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))
    adopt_model(folder, tiny_card(), overwrite=True)


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    adopt_model(folder, tiny_card(), overwrite=True)


def test_what_was_written_computes_the_same(folder: Path) -> None:
    model = load_model(folder)
    assert isinstance(model, TinyModel)
    assert model.card.name == "tiny"
    assert not model.network.training
    assert_same_weights(model.network, tiny_network())
    values = torch.rand(3, 8)
    assert torch.equal(model.network(values), tiny_network()(values))


def test_weights_become_what_is_asked_for(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "half", network=tiny_network().bfloat16()).path
    stored = load_model(folder).network
    asked = load_model(folder, dtype=torch.float32).network
    assert stored.last.weight.dtype == torch.bfloat16
    assert asked.last.weight.dtype == torch.float32
    assert torch.equal(asked.last.weight, stored.last.weight.float())


def test_all_of_a_network_goes_to_the_device_asked_for(folder: Path) -> None:
    network = load_model(folder, device="meta").network
    assert all(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))


@pytest.mark.parametrize("load", [load_model, lambda folder, **options: load_component(folder, "network", **options)])
def test_non_commercial_weights_need_consent(tmp_path: Path, load: Callable[..., Any]) -> None:
    terms = {"non_commercial": True, "licence": "CC-BY-NC-4.0", "upstream_terms": ("StreamVGGT: no commercial use",)}
    folder = write_tiny(tmp_path / "tiny", **terms).path
    with pytest.raises(LicenceRefused) as caught:
        load(folder)
    told = str(caught.value)
    assert "CC-BY-NC-4.0" in told
    assert "StreamVGGT: no commercial use" in told
    assert "allow_noncommercial=True" in told
    assert load(folder, allow_noncommercial=True) is not None


def test_the_licence_comes_before_the_weights(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny", non_commercial=True).path
    for path in folder.glob("network/*"):
        path.unlink()
    with pytest.raises(LicenceRefused):
        load_model(folder)


def test_a_renamed_key_is_told_with_its_network(folder: Path) -> None:
    edit_weights(folder, lambda tensors: tensors.update({"last.gain": tensors.pop("last.weight")}))
    with pytest.raises(WeightMismatch) as caught:
        load_model(folder)
    assert "TinyNetwork; 2 differ" in str(caught.value)
    assert "missing: last.weight [8, 8]" in str(caught.value)
    assert "unexpected: last.gain [8, 8]" in str(caught.value)


def test_a_network_of_another_size_does_not_fit(folder: Path) -> None:
    edit(folder, "network/config.json", lambda config: config.update(width=9))
    with pytest.raises(WeightMismatch, match=r"shape: middle\.weight is \[8, 8\], needed \[9, 9\]"):
        load_model(folder)


def test_swapped_shards_are_found_with_and_without_hashes(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny").path
    first, second, _ = sorted(folder.glob("network/*.safetensors"))
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)
    with pytest.raises(CorruptModel) as caught:
        load_model(folder)
    assert first.name in str(caught.value)
    assert second.name in str(caught.value)
    with pytest.raises(WeightMismatch, match="contradict each other"):
        load_model(folder, verify=False)


@pytest.mark.parametrize("load", [load_model, lambda folder: load_component(folder, "network")])
@pytest.mark.parametrize("name", [INDEX, "network/config.json", WEIGHTS])
def test_a_byte_that_changes_no_meaning_is_found_too(folder: Path, load: Callable[..., Any], name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]) if name == WEIGHTS else data + b" ")
    with pytest.raises(CorruptModel, match=rf"'{name}' has another"):
        load(folder)


def test_without_hashes_a_flipped_bit_passes_and_a_truncated_file_does_not(folder: Path) -> None:
    path = folder / WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptModel, match=WEIGHTS):
        load_model(folder)
    load_model(folder, verify=False)
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptModel, match="is damaged"):
        load_model(folder, verify=False)


def test_a_checkpoint_under_the_name_of_weights_is_refused(folder: Path) -> None:
    torch.save(tiny_network().state_dict(), folder / WEIGHTS)
    with pytest.raises(CorruptModel, match="another size"):
        load_model(folder)
    with pytest.raises(InvalidModel, match="PyTorch checkpoint"):
        load_model(folder, verify=False)


def test_files_that_no_component_reads_do_not_stop_it(tmp_path: Path) -> None:
    folder = write_tiny(tmp_path / "tiny").path
    (folder / "README.md").write_text("in other words")
    (folder / "extra" / "notes.txt").unlink()
    load_model(folder)


def test_a_stray_file_beside_the_weights_stops_it(folder: Path) -> None:
    shutil.copy(folder / WEIGHTS, folder / "network" / "model.safetensors")
    with pytest.raises(CorruptModel, match=r"'network/model\.safetensors' is not listed"):
        load_model(folder)


@pytest.mark.parametrize(
    ("component", "problem"),
    [
        (["os", "system"], "of the library 'os'; allowed are"),
        (["fourd_ros", "os.system"], r"'os\.system' is not registered"),
        (["fourd_ros", "AnotherNetwork"], r"'AnotherNetwork' is not registered.*TinyNetwork"),
    ],
)
def test_only_registered_classes_are_made(folder: Path, component: list[str], problem: str) -> None:
    edit(folder, INDEX, lambda index: index.update(network=component))
    with pytest.raises(UnknownModel, match=problem):
        load_model(folder)


def test_a_model_that_nobody_registered_lists_those_that_are(folder: Path) -> None:
    edit(folder, INDEX, lambda index: index.update(_class_name="Nobody"))
    with pytest.raises(UnknownModel, match=r"'Nobody' is not registered; there are .*TinyModel"):
        load_model(folder)
    assert isinstance(load_component(folder, "network"), TinyNetwork)


@pytest.mark.parametrize("line", ["no.such.module:Class", "model_rig:NoSuchClass", "model_rig:register", "model_rig"])
def test_a_wrong_line_in_the_registry_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setitem(registry.NETWORKS, "TinyNetwork", line)
    with pytest.raises(UnknownModel, match=f"'TinyNetwork' is '{line}'"):
        load_model(folder)


@pytest.mark.parametrize("change", [{"width": "wide"}, {"depth": 3}, {"width": -3}, {"width": 10**12}])
def test_a_configuration_that_the_network_does_not_take_is_told(folder: Path, change: dict[str, Any]) -> None:
    edit(folder, "network/config.json", lambda config: config.update(change))
    with pytest.raises(InvalidModel, match=r"TinyNetwork cannot be made of its config\.json"):
        load_model(folder)


def test_a_configuration_of_another_class_is_told(folder: Path) -> None:
    edit(folder, "network/config.json", lambda config: config.update(_class_name="OtherNetwork"))
    with pytest.raises(InvalidModel, match=r"'OtherNetwork', 'model_index\.json' says 'TinyNetwork'"):
        load_model(folder)


def test_a_component_that_is_not_there_lists_those_that_are(folder: Path) -> None:
    with pytest.raises(InvalidModel, match=r"no component 'unet'; it has \['network'\]"):
        load_component(folder, "unet")


def test_a_component_that_the_model_needs_and_the_index_lacks_is_named(folder: Path) -> None:
    edit(folder, INDEX, lambda index: index.update(network=[None, None]))
    with pytest.raises(InvalidModel, match=r"needs a component 'network'; its model_index\.json lists \[\]"):
        load_model(folder)


@pytest.mark.parametrize(
    "config",
    [{"attn_implementation": "someone/kernel"}, {"text_config": {"attn_implementation": {"": "someone/kernel@main"}}}],
)
def test_a_configuration_cannot_bring_code_of_others(folder: Path, config: dict[str, Any]) -> None:
    edit(folder, "network/config.json", lambda content: content.update(config))
    with pytest.raises(InvalidModel, match=r"code of others.*someone/kernel"):
        load_model(folder)


def test_networks_and_schedulers_of_the_libraries_come_back(tmp_path: Path) -> None:
    from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
    from transformers import UMT5Config, UMT5EncoderModel

    torch.manual_seed(0)
    transformer = WanTransformer3DModel(
        num_layers=1, num_attention_heads=2, attention_head_dim=16, ffn_dim=32, text_dim=32
    )
    sizes = {"vocab_size": 50, "d_model": 32, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    text_encoder = UMT5EncoderModel(UMT5Config(**sizes))
    folder = write_model(
        tmp_path / "video",
        {
            "transformer": transformer,
            "text_encoder": text_encoder,
            "scheduler": FlowMatchEulerDiscreteScheduler(shift=5.0),
        },
        card=tiny_card(),
        model_class="SomePipeline",
        max_shard_bytes=50_000,
    )
    assert folder.problems() == []
    loaded = load_component(folder.path, "transformer")
    assert_same_weights(loaded, transformer)
    assert loaded.rope.freqs_cos.abs().sum() > 0
    kept = load_component(folder.path, "transformer", dtype=torch.float16)
    assert kept.scale_shift_table.dtype == torch.float32
    assert kept.proj_out.weight.dtype == torch.float16
    assert_same_weights(load_component(folder.path, "text_encoder"), text_encoder)
    assert load_component(folder.path, "scheduler").config.shift == 5.0
    # What is written here, the libraries open by themselves.
    assert_same_weights(WanTransformer3DModel.from_pretrained(folder.path / "transformer"), transformer)
    assert_same_weights(UMT5EncoderModel.from_pretrained(folder.path / "text_encoder"), text_encoder)
    for name in (DiffusionPipeline.__name__, "logging", "utils.import_utils", "__version__"):
        edit(folder.path, INDEX, lambda index, name=name: index.update(scheduler=["diffusers", name]))
        with pytest.raises(UnknownModel, match=f"'{name}' is no network, scheduler"):
            load_component(folder.path, "scheduler")
