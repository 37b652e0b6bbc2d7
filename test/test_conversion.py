"""From published checkpoints to model folders."""

import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy_system
import wide_system
from safetensors.torch import save_file

from fourd_ros.cli import main
from fourd_ros.errors import (
    InvalidCheckpoint,
    InvalidConfig,
    InvalidModel,
    MissingDependency,
    TooLarge,
    UnknownSystem,
    UnsafeCheckpoint,
    WeightMismatch,
)
from fourd_ros.model_io import checkpoint_files
from fourd_ros.model_io.conversion import REPORT, convert
from fourd_ros.model_io.conversion_plan import open_checkpoint
from fourd_ros.model_io.conversion_rules import Converter, Drop, Rule
from fourd_ros.model_io.converters import CONVERTERS, find_converter
from fourd_ros.model_io.folder import ModelFolder, shipped_model
from fourd_ros.model_io.loading import load_model
from fourd_ros.model_io.registry import MODELS, NETWORKS

LAYOUTS = ("safetensors", "sharded safetensors", "pt", "legacy pth", "sharded bin", "nested ckpt")
DOCS = Path(__file__).resolve().parent.parent / "docs" / "conversion.md"


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS, "Toy", "toy_system:Toy")
    monkeypatch.setitem(NETWORKS, "ToyNetwork", "toy_system:ToyNetwork")
    monkeypatch.setitem(CONVERTERS, "toy", "toy_system:CONVERTER")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return toy_system.save_as("safetensors", toy_system.weights(), tmp_path / "source")


def problems_of(converter: Converter, source: Path) -> str:
    """What stands in the way, as `convert` says it; nothing is written."""
    target = source.parent / "never"
    with pytest.raises(WeightMismatch) as caught:
        convert(converter, source, target)
    assert not target.exists()
    return str(caught.value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_same_model_comes_out_of_every_layout(layout: str, tmp_path: Path) -> None:
    given = toy_system.weights()
    path = toy_system.save_as(layout, given, tmp_path / "source")
    convert(toy_system.CONVERTER, path, tmp_path / "made")
    network = load_model(tmp_path / "made").network
    assert torch.equal(network.embedding.weight, given["tokens.weight"])
    assert network.head.weight is network.embedding.weight
    for layer in range(toy_system.LAYERS):
        joined = torch.cat([given[f"blocks.{layer}.{part}"] for part in "qkv"])
        assert torch.equal(network.qkv[layer].weight, joined)
    assert torch.equal(network.gate.weight, given["mlp.weight"].T[: toy_system.WIDTH])
    assert torch.equal(network.up.weight, given["mlp.weight"].T[toy_system.WIDTH :])
    assert torch.equal(network.steps, given["steps"])
    assert torch.equal(network.table, torch.arange(5.0))


def test_a_header_length_that_looks_like_a_pickle(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for padding in range(0, 256, 8):
        save_file(toy_system.weights(), path, metadata={"note": "x" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    convert(toy_system.CONVERTER, path, tmp_path / "made")


def test_every_tensor_and_value_is_accounted_for(tmp_path: Path) -> None:
    given = toy_system.weights()
    path = toy_system.save_as("nested ckpt", given, tmp_path / "source")
    conversion = convert(toy_system.CONVERTER, path, tmp_path / "made")
    report = json.loads((tmp_path / "made" / REPORT).read_text())
    assert report.pop("sha256").keys() == {"last.ckpt"}
    assert report == conversion.report()
    assert len(report["found"]) == 2 * len(given) + 1
    used = [source["name"] for step in report["mapped"] for source in step["sources"]]
    assert sorted(used) == sorted(given)
    assert {one["reason"] for one in report["unused"]} == {"averaged weights", "state of the optimiser"}
    assert len(used) + len(report["unused"]) == len(report["found"])
    assert report["others"] == [{"file": "last.ckpt", "name": "epoch", "type": "int"}]
    made = {target["name"] for step in report["mapped"] for target in step["targets"]}
    assert made == toy_system.ToyNetwork().state_dict().keys() - {"head.weight"}


def test_floating_weights_get_the_type_asked_for(source: Path, tmp_path: Path) -> None:
    convert(toy_system.CONVERTER, source, tmp_path / "made", dtype="bf16")
    weights = ModelFolder(tmp_path / "made").weights("network")
    types = {name: weights.dtype(name) for name in weights.names}
    assert {types.pop("norm.weight"), types.pop("norm.bias")} == {"float32"}  # the network wants it so
    assert types.pop("steps") == "int64"
    assert set(types.values()) == {"bfloat16"}
    assert torch.equal(weights.read("gate.bias"), toy_system.weights()["mlp.bias"].bfloat16())


def test_everything_that_does_not_fit_is_in_one_error(tmp_path: Path) -> None:
    given = toy_system.weights()
    del given["norm.bias"], given["blocks.1.k"]
    given["adapter.weight"] = torch.zeros(3)
    given["mlp.bias"] = torch.zeros(7)
    given["steps"] = given["steps"].double()
    path = toy_system.save_as("safetensors", given, tmp_path)
    message = problems_of(toy_system.CONVERTER, path)
    for expected in (
        "unknown: 'model.safetensors: adapter.weight' [3]",
        r"blocks.1.v' came without what matches ['blocks\\.(\\d+)\\.k']",
        "shape: 'network/gate.bias' would be [7], needed [6]",
        "type: 'network/steps' would be float64, needed int64",
        "missing: 'network/norm.bias' [6]",
        "missing: 'network/qkv.1.weight' [18, 6]",
    ):
        assert expected in message, message


def test_rules_that_contradict_the_network_are_named(source: Path) -> None:
    rules = toy_system.RULES
    astray = replace(toy_system.CONVERTER, rules=(Rule("network", "steps", "paces"), *rules))
    assert "unexpected: no network has 'network/paces'" in problems_of(astray, source)
    twice = replace(toy_system.CONVERTER, rules=(Rule("network", "steps", ("steps", "steps")), *rules))
    assert "twice: 'network/steps' has another source already" in problems_of(twice, source)
    impossible = Rule("network", "steps", "steps", transform=lambda steps: steps.reshape(3, 3))
    assert "cannot be transformed" in problems_of(replace(toy_system.CONVERTER, rules=(impossible, *rules)), source)
    too_many = Rule("network", "steps", "steps", transform=lambda steps: steps.chunk(2))
    assert "became 2 tensors" in problems_of(replace(toy_system.CONVERTER, rules=(too_many, *rules)), source)


def test_the_same_weights_in_two_files_need_a_decision(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    toy_system.save_as("safetensors", toy_system.weights(), folder)
    toy_system.save_as("pt", toy_system.weights(), folder)
    assert "twice: 'model.safetensors: tokens.weight' and 'model.pt" in problems_of(toy_system.CONVERTER, folder)
    decided = (Drop(".*", "the same as the safetensors", file="*.pt"), *toy_system.RULES)
    convert(replace(toy_system.CONVERTER, rules=decided), folder, tmp_path / "made")
    skipping = replace(toy_system.CONVERTER, skipped_files={"*.pt": "the same as the safetensors"})
    assert convert(skipping, folder, tmp_path / "also").skipped == {"model.pt": "the same as the safetensors"}


def test_skipped_files_are_not_even_opened(tmp_path: Path) -> None:
    folder = toy_system.save_as("sharded bin", toy_system.weights(), tmp_path / "source")
    (folder / "training_args.bin").write_bytes(b"anything")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "unfinished.bin").write_bytes(b"anything")
    conversion = convert(toy_system.CONVERTER, folder, tmp_path / "made")
    assert conversion.skipped == {"training_args.bin": "options of the training"}


def test_a_missing_or_exchanged_shard_is_noticed(tmp_path: Path) -> None:
    folder = toy_system.save_as("sharded safetensors", toy_system.weights(), tmp_path / "source")
    first, second = sorted(folder.glob("*.safetensors"))
    kept = first.read_bytes(), second.read_bytes()
    first.write_bytes(kept[1])
    second.write_bytes(kept[0])
    with pytest.raises(InvalidCheckpoint, match="exchanged"):
        convert(toy_system.CONVERTER, folder, tmp_path / "made")
    first.write_bytes(kept[0])
    second.unlink()
    with pytest.raises(InvalidCheckpoint, match="a file is missing"):
        convert(toy_system.CONVERTER, folder, tmp_path / "made")


class Payload:
    """A pickle of it creates a file when it is loaded without care."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def write_malicious(kind: str, payload: Payload, path: Path) -> None:
    content = {"tokens.weight": torch.zeros(3), "extra": payload}
    if kind == "plain pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain pickle"])
def test_a_malicious_pickle_is_named_and_not_run(kind: str, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    cases = (
        ("model.pt", Payload(os.mkdir, str(traces)), "posix.mkdir; nothing was run"),
        ("model.bin", Payload(open, str(traces), "w"), r"io\.open; nothing was run"),
        ("model.safetensors", Payload(os.mkdir, str(traces)), "a pickle; nothing was run"),
    )
    for name, payload, said in cases:
        write_malicious(kind, payload, tmp_path / name)
        with pytest.raises(UnsafeCheckpoint, match=said):
            convert(toy_system.CONVERTER, tmp_path / name, tmp_path / "made")
        assert not traces.exists()
        assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_not_even_an_allowed_type_runs(kind: str, tmp_path: Path) -> None:
    traces = tmp_path / "traces"
    write_malicious(kind, Payload(open, str(traces), "w"), tmp_path / "model.pt")
    allowing = replace(toy_system.CONVERTER, allowed_types=("_io.open", "io.open"))
    with open_checkpoint(allowing, tmp_path / "model.pt") as checkpoint:
        assert checkpoint.others == {("model.pt", "extra"): "Inert"}
        assert [tensor.name for tensor in checkpoint.tensors] == ["tokens.weight"]
    assert not traces.exists()


def test_containers_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_files, "MAX_ENTRIES", 10_000)
    endless: list[Any] = []
    endless.append(endless)
    wide: list[Any] = [torch.zeros(1)]
    for _ in range(40):
        wide = [wide, wide]
    for content in (endless, wide):
        torch.save({"x": content}, tmp_path / "model.pt")
        with pytest.raises(InvalidCheckpoint, match="never end"):
            convert(toy_system.CONVERTER, tmp_path / "model.pt", tmp_path / "made")


def _pickled_numbers(_: Path) -> bytes:
    return pickle.dumps({"weights": [1, 2, 3]})


def _claims_to_be_huge(_: Path) -> bytes:
    return b"\x80\x04\x8d" + (1 << 62).to_bytes(8, "little") + b"text"


def _truncated(layout: str) -> Callable[[Path], bytes]:
    def make(folder: Path) -> bytes:
        data = toy_system.save_as(layout, toy_system.weights(), folder).read_bytes()
        return data[: len(data) * 2 // 3]

    return make


def _flipped(folder: Path) -> bytes:
    data = bytearray(toy_system.save_as("pt", toy_system.weights(), folder).read_bytes())
    position = data.index(toy_system.weights()["tokens.weight"].numpy().tobytes())
    data[position + 3] ^= 0x10
    return bytes(data)


def _wheel(folder: Path) -> bytes:
    import zipfile

    with zipfile.ZipFile(folder / "some.whl", "w") as archive:
        archive.writestr("weights/model.pth", b"...")
    return (folder / "some.whl").read_bytes()


def _packed_anew(folder: Path) -> bytes:
    import zipfile

    path = toy_system.save_as("pt", toy_system.weights(), folder)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(folder / "packed.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for record in whole.infolist():
            packed.writestr(record.filename, whole.read(record))
    return (folder / "packed.pt").read_bytes()


def _program(folder: Path) -> bytes:
    torch.jit.save(torch.jit.script(torch.nn.ReLU()), folder / "program.pt")
    return (folder / "program.pt").read_bytes()


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("model.safetensors", lambda _: b"", "is empty"),
        ("model.safetensors", lambda _: b"\n<!DOCTYPE html><html>Please log in</html>" + b" " * 100, "web page"),
        (
            "model.safetensors",
            lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
            "git lfs pull",
        ),
        ("model.safetensors", lambda _: b'{"error": "Repository not found"}', "JSON text"),
        ("model.safetensors", lambda _: b"\x1f\x8b\x08" + bytes(50), "gzip"),
        ("model.safetensors", lambda _: b"plainly nothing of the kind", "neither safetensors nor"),
        ("model.pt", _pickled_numbers, "torch.save did not write"),
        ("model.pt", _claims_to_be_huge, "torch.save did not write"),
        ("model.safetensors", _truncated("safetensors"), "end|truncated"),
        ("model.pt", _truncated("pt"), "truncated or damaged"),
        ("model.pt", _truncated("legacy pth"), "damaged"),
        ("model.pt", _flipped, "CRC"),
        ("model.pt", _wheel, "torch.save did not write"),
        ("model.pt", _packed_anew, "compression"),
        ("model.pt", _program, "TorchScript"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_what_is_no_checkpoint_is_said_so(name: str, make: Callable[[Path], bytes], said: str, tmp_path: Path) -> None:
    (tmp_path / "made_from").mkdir()
    (tmp_path / name).write_bytes(make(tmp_path / "made_from"))
    with pytest.raises(InvalidCheckpoint, match=said):
        convert(toy_system.CONVERTER, tmp_path / name, tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_pickles_need_a_torch_that_reads_them_safely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toy_system.save_as("pt", toy_system.weights(), tmp_path)
    monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
    with pytest.raises(MissingDependency, match=r"torch 2\.5\.1\+cpu cannot read safely; needed is torch 2\.6"):
        convert(toy_system.CONVERTER, path, tmp_path / "made")


def test_what_must_be_read_as_a_whole_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toy_system.save_as("legacy pth", toy_system.weights(), tmp_path)
    monkeypatch.setattr(checkpoint_files, "MAX_LEGACY_BYTES", path.stat().st_size - 1)
    with pytest.raises(InvalidCheckpoint, match="save it again"):
        convert(toy_system.CONVERTER, path, tmp_path / "made")


def test_the_structure_around_the_tensors_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toy_system.save_as("pt", toy_system.weights(), tmp_path)
    monkeypatch.setattr(checkpoint_files, "MAX_PICKLE_BYTES", 100)
    with pytest.raises(InvalidCheckpoint, match="allowed are 100"):
        convert(toy_system.CONVERTER, path, tmp_path / "made")


def test_nothing_to_read(tmp_path: Path) -> None:
    cases = {"nowhere": "no file or folder", ".": r"looked for \*\.safetensors", "model.index.json": "name the folder"}
    for name, said in cases.items():
        with pytest.raises(InvalidCheckpoint, match=said):
            convert(toy_system.CONVERTER, tmp_path / name, tmp_path / "made")


def test_an_interrupted_conversion_leaves_nothing_and_can_be_repeated(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "made"
    halfway = source.stat().st_size + 100

    def interrupt(done: int, total: int) -> None:
        if done > halfway:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(toy_system.CONVERTER, source, target, progress=interrupt)
    assert list(target.parent.iterdir()) == []
    convert(toy_system.CONVERTER, source, target)
    assert load_model(target)


@pytest.mark.parametrize("layout", ["safetensors", "sharded bin"])
def test_progress_reaches_its_end(layout: str, tmp_path: Path) -> None:
    source = toy_system.save_as(layout, toy_system.weights(), tmp_path / "source")
    seen: list[tuple[int, int]] = []
    convert(toy_system.CONVERTER, source, tmp_path / "made", progress=lambda *step: seen.append(step))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1] > 0


def test_what_is_there_stays_unless_asked(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "made"
    convert(toy_system.CONVERTER, source, target)
    other = toy_system.save_as("pt", toy_system.weights(seed=1), tmp_path / "other")
    with pytest.raises(InvalidModel, match="exists already"):
        convert(toy_system.CONVERTER, tmp_path / "not even looked at", target)
    assert torch.equal(load_model(target).network.gate.bias, toy_system.weights()["mlp.bias"])
    convert(toy_system.CONVERTER, other, target, overwrite=True)
    assert torch.equal(load_model(target).network.gate.bias, toy_system.weights(seed=1)["mlp.bias"])


def test_a_full_disk_is_noticed_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 100})()
    monkeypatch.setattr("fourd_ros.model_io.conversion.shutil.disk_usage", lambda _: usage)
    with pytest.raises(TooLarge, match="another disk"):
        convert(toy_system.CONVERTER, source, tmp_path / "new" / "made")
    assert not (tmp_path / "new").exists()


def test_values_beyond_the_type_asked_for(tmp_path: Path) -> None:
    given = toy_system.weights()
    given["mlp.bias"][2] = -1e5
    path = toy_system.save_as("pt", given, tmp_path)
    with pytest.raises(InvalidConfig, match=r"'gate\.bias' has values up to 1e\+05.*bf16"):
        convert(toy_system.CONVERTER, path, tmp_path / "made", dtype="fp16")
    assert not (tmp_path / "made").exists()
    convert(toy_system.CONVERTER, path, tmp_path / "made", dtype="bf16")


def test_types_that_safetensors_lacks_are_told_before_anything_is_read(tmp_path: Path) -> None:
    given = toy_system.weights()
    given["mlp.bias"] = torch.ones(6).to(torch.float8_e4m3fnuz)
    path = toy_system.save_as("pt", given, tmp_path)
    assert "would be float8_e4m3fnuz, which safetensors cannot hold" in problems_of(toy_system.CONVERTER, path)
    convert(toy_system.CONVERTER, path, tmp_path / "made", dtype="bf16")
    assert torch.equal(load_model(tmp_path / "made").network.gate.bias, torch.ones(6, dtype=torch.bfloat16))


def test_names_that_cannot_be_shown(tmp_path: Path) -> None:
    for name in ("ema.\x1b[2J", "ema.\udc80"):
        path = toy_system.save_as("pt", toy_system.weights() | {name: torch.zeros(1)}, tmp_path / "source")
        with pytest.raises(InvalidCheckpoint, match="cannot be shown"):
            convert(toy_system.CONVERTER, path, tmp_path / "made")
    torch.save({"state_dict": toy_system.weights(), "words": {"\n": 1, "\udc80": 2}}, path)
    converted = convert(toy_system.CONVERTER, path, tmp_path / "made")
    assert sorted(name for _, name in converted.others) == [r"'words.\n'", r"'words.\udc80'"]


def test_unknown_names(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfig, match="bf16, fp16, fp32"):
        convert(toy_system.CONVERTER, source, tmp_path / "made", dtype="fp8")
    with pytest.raises(UnknownSystem, match="lpips"):
        find_converter("nobody")
    for name, said in (
        ("toy_system:RULES", "needed a Converter"),
        ("toy_system:nothing", "cannot be imported"),
        ("nowhere:CONVERTER", "no module"),
    ):
        with pytest.raises(UnknownSystem, match=said):
            find_converter(name)
        monkeypatch.setitem(CONVERTERS, "wrong", name)
        with pytest.raises(UnknownSystem, match=said):
            find_converter("wrong")


def test_memory_does_not_grow_with_the_checkpoint(tmp_path: Path) -> None:
    """160 MB become 80 MB through shards of 8 MB; the peak of all memory counts, mapped files included."""
    found = subprocess.run(
        [sys.executable, wide_system.__file__, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.split()
    growth = dict(zip(found[::2], map(int, found[1::2]), strict=True))
    assert growth.keys() == {"safetensors", "pt"}
    assert max(growth.values()) < 70, growth
    shards = sorted((tmp_path / "pt.20" / "network").glob("*.safetensors"))
    assert len(shards) == 10
    assert sum(path.stat().st_size for path in shards) > 80 << 20


def original_names(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The shipped LPIPS under the names of its origin."""
    renamed = {"stages.0.0": "slice1.0", "stages.1.2": "slice2.5", "stages.2.2": "slice3.9"}
    renamed |= {"stages.3.0": "slice4.11", "stages.4.0": "slice5.13"}
    state = network.state_dict()
    tensors = {f"lin{k}.model.1.weight": state.pop(f"weights.{k}")[None, :, None, None] for k in range(5)}
    tensors |= {f"net.{renamed[name[:10]]}{name[10:]}": tensor for name, tensor in state.items()}
    for name, channels in (("slice1.1", 64), ("slice2.4", 64), ("slice3.8", 192)):
        tensors[f"net.{name}.filt"] = torch.ones(channels, 1, 3, 3)
    return tensors | {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "scaling_layer.scale": torch.ones(1, 3, 1, 1)}


def test_the_command_makes_the_shipped_lpips_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = shipped_model("lpips_alex")
    tensors = original_names(load_model(shipped)._network)
    path, target = tmp_path / "alex_shift_tolerant.pth", tmp_path / "made"
    torch.save(tensors, path, _use_new_zipfile_serialization=False)
    assert main(["convert", "lpips", str(path), str(target), "--dtype", "fp16", "--dry-run"]) == 0
    assert "20 tensors found, 15 used, 5 left out, 0 problems" in capsys.readouterr().out
    assert not target.exists()
    assert main(["convert", "lpips", str(path), str(target), "--dtype", "fp16"]) == 0
    assert "BSD-2-Clause" in capsys.readouterr().out
    weights = Path("network", "diffusion_pytorch_model.safetensors")
    assert (target / weights).read_bytes() == (shipped / weights).read_bytes()
    assert (target / "LICENSE.txt").read_text() == (shipped / "LICENSE.txt").read_text()
    assert json.loads((shipped / REPORT).read_text())["mapped"] == json.loads((target / REPORT).read_text())["mapped"]


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = toy_system.weights() | {"novel": torch.zeros(2)}
    path, target = toy_system.save_as("pt", given, tmp_path), tmp_path / "made"
    assert main(["convert", "toy", str(path), str(target), "--dry-run", "--json"]) == 1
    assert "novel" in json.loads(capsys.readouterr().out)["problems"][0]
    assert main(["convert", "toy", str(path), str(target)]) == 1
    assert "unknown: 'model.pt: novel' [2]" in capsys.readouterr().err
    assert not target.exists()


def test_the_example_of_the_documentation_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A system of one's own: registered, converted by the command, loaded."""
    found = re.findall(r"^```python\n# (\S+)\n(.*?)^```", DOCS.read_text(), re.DOTALL | re.MULTILINE)
    for name, text in found:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    for registry, name in ((MODELS, "Slippage"), (NETWORKS, "SlipNetwork")):
        monkeypatch.setitem(registry, name, "to be registered by the example")
    generator = torch.Generator().manual_seed(0)
    layers = {"fc1": (16, 4), "fc2": (1, 16)}
    state = {f"net.{name}.weight": torch.randn(shape, generator=generator) for name, shape in layers.items()}
    state |= {f"net.{name}.bias": torch.randn(shape[0], generator=generator) for name, shape in layers.items()}
    torch.save({"state_dict": state, "optimizer": {"lr": torch.tensor(0.1)}}, tmp_path / "slip.ckpt")
    command = ["convert", "my_robot.slip:CONVERTER", str(tmp_path / "slip.ckpt"), str(tmp_path / "slip"), "--json"]
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["unused"][0]["reason"] == "state of the optimiser"
    model = load_model(tmp_path / "slip")
    forces = torch.randn(5, 4, generator=generator)
    hidden = torch.tanh(forces @ state["net.fc1.weight"].T + state["net.fc1.bias"])
    expected = torch.sigmoid(hidden @ state["net.fc2.weight"].T + state["net.fc2.bias"])[:, 0]
    assert torch.allclose(torch.from_numpy(model.probability(forces.numpy())), expected, atol=1e-6)
