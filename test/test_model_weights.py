"""Weights: read tensor by tensor, loaded strictly or not at all, written in shards."""

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from model_rig import SHARD_BYTES, TinyNetwork, assert_same_weights, tiny_network
from safetensors.torch import load_file, save_file
from torch import nn

from fourd_ros.errors import CorruptModel, InvalidModel, WeightMismatch
from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.safetensors_file import read_header, read_tensor, write_tensors
from fourd_ros.model_io.weights import WeightFiles, load_weights, named_weights, save_weights

INDEX = "diffusion_pytorch_model.safetensors.index.json"
TYPES = (
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "complex64", "bool"),
    *("int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8"),
)


def every_type() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    tensors = {name: (torch.rand(3, 5) * 100).to(getattr(torch, name)) for name in TYPES}
    return tensors | {"scalar": torch.tensor(2.5), "none": torch.zeros(0, 4), "grün": torch.ones(1)}


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype
        assert tensor.shape == other[name].shape
        assert tensor.reshape(-1).view(torch.uint8).equal(other[name].reshape(-1).view(torch.uint8)), name


def test_the_reference_library_reads_what_is_written_here(tmp_path: Path) -> None:
    write_tensors(every_type(), tmp_path / "a.safetensors")
    assert_equal(load_file(tmp_path / "a.safetensors"), every_type())
    written = read_header(tmp_path / "a.safetensors").values()
    assert all(entry.offset % getattr(torch, entry.dtype).itemsize == 0 for entry in written)


def test_what_the_reference_library_writes_is_read_here(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(every_type(), path, metadata={"format": "pt", "more": "words"})
    header = read_header(path)
    assert {name: (entry.dtype, entry.shape) for name, entry in header.items()} == {
        name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)) for name, tensor in every_type().items()
    }
    assert_equal({name: read_tensor(path, entry) for name, entry in header.items()}, every_type())


def test_tensors_that_are_views_are_written_as_they_look(tmp_path: Path) -> None:
    whole = torch.arange(12.0).reshape(3, 4)
    write_tensors({"column": whole[:, 1], "turned": whole.T}, tmp_path / "a.safetensors")
    found = load_file(tmp_path / "a.safetensors")
    assert torch.equal(found["column"], whole[:, 1])
    assert torch.equal(found["turned"], whole.T)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from fourd_ros.errors import MissingDependency
from fourd_ros.model_io.folder import ModelFolder
from fourd_ros.model_io.weights import WeightFiles
files = WeightFiles(sys.argv[1])
print([(name, files.shape(name), files.dtype(name)) for name in files.names])
try:
    files.read(files.names[0])
except MissingDependency as error:
    print(error)
"""


def test_names_shapes_and_types_need_no_torch(tmp_path: Path) -> None:
    save_weights([("b", torch.zeros(2, 3)), ("a", torch.zeros(4, dtype=torch.bfloat16))], tmp_path)
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert told[0] == "[('b', (2, 3), 'float32'), ('a', (4,), 'bfloat16')]"
    assert "pip install" in told[1] and told[1].endswith("torch")


def claim(**tensors: Any) -> bytes:
    """A file with a header that says whatever is given, and 16 bytes of data."""
    fields = ("dtype", "shape", "data_offsets")
    text = json.dumps({name: dict(zip(fields, facts, strict=False)) for name, facts in tensors.items()})
    return struct.pack("<Q", len(text)) + text.encode() + bytes(16)


WHOLE = claim(a=("F32", [4], [0, 16]))
TWICE = b'{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"a":{"dtype":"U8","shape":[8],"data_offsets":[8,16]}}'
DAMAGED = {
    "empty": b"",
    "a few bytes": b"\x01\x02\x03",
    "length beyond the file": struct.pack("<Q", 2**40) + WHOLE[8:],
    "length above all bounds": struct.pack("<Q", 2**63 + 5) + WHOLE[8:],
    "length zero": struct.pack("<Q", 0) + WHOLE[8:],
    "length too short": struct.pack("<Q", 10) + WHOLE[8:],
    "header is no text": struct.pack("<Q", 4) + b"\xff\xfe\x00\x01",
    "header is a list": struct.pack("<Q", 2) + b"[]",
    "truncated": WHOLE[:-1],
    "longer": WHOLE + b"\0",
    "hole": claim(a=("U8", [4], [0, 4]), b=("U8", [8], [8, 16])),
    "overlap": claim(a=("U8", [12], [0, 12]), b=("U8", [8], [8, 16])),
    "hole and overlap": claim(a=("U8", [8], [0, 8]), b=("U8", [8], [4, 12])),
    "the same place twice": claim(a=("U8", [16], [0, 16]), b=("U8", [16], [0, 16])),
    "backwards": claim(a=("U8", [16], [16, 0])),
    "negative": claim(a=("U8", [-16], [0, 16])),
    "size of another shape": claim(a=("F32", [5], [0, 16])),
    "product beyond all bounds": claim(a=("F32", [2**40, 2**40], [0, 16])),
    "unknown type": claim(a=("F3", [4], [0, 16])),
    "no number": claim(a=("F32", [4.0], [0, 16])),
    "truth is no number": claim(a=("U8", [True, 16], [0, 16])),
    "no offsets": claim(a=("F32", [4])),
    "a name that cannot be shown": claim(**{"a\x1b[2J": ("U8", [16], [0, 16])}),
    "half of a character": claim(**{"a\ud800": ("U8", [16], [0, 16])}),
    "a name twice": struct.pack("<Q", len(TWICE)) + TWICE + bytes(16),
}


def test_the_undamaged_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(WHOLE)
    assert WeightFiles(tmp_path).shape("a") == (4,)


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_files_are_refused_before_anything_is_allocated(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(data)
    with pytest.raises(CorruptModel, match=r"a\.safetensors"):
        WeightFiles(tmp_path)


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def as_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps(bomb, protocol=2))


def as_new_pickle(bomb: Bomb, path: Path) -> None:
    path.write_bytes(pickle.dumps(bomb, protocol=4))


def as_checkpoint(bomb: Bomb, path: Path) -> None:
    torch.save({"weight": bomb}, path)


def as_old_checkpoint(bomb: Bomb, path: Path) -> None:
    torch.save({"weight": bomb}, path, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("save", [as_pickle, as_new_pickle, as_checkpoint, as_old_checkpoint])
def test_a_pickle_that_poses_as_safetensors_is_named_and_not_run(
    tmp_path: Path, save: Callable[[Bomb, Path], None]
) -> None:
    save(Bomb(tmp_path / "exploded"), tmp_path / "model.safetensors")
    with pytest.raises(InvalidModel, match=r"pickle|PyTorch checkpoint"):
        WeightFiles(tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_a_pointer_in_place_of_the_file_tells_how_to_get_the_file(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n")
    with pytest.raises(InvalidModel, match="git lfs pull"):
        WeightFiles(tmp_path)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    save_weights(named_weights(tiny_network()), tmp_path / "sharded", max_shard_bytes=SHARD_BYTES)
    return tmp_path / "sharded"


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def edit_index(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    index = json.loads((folder / INDEX).read_text())
    change(index["weight_map"])
    (folder / INDEX).write_text(json.dumps(index))


def test_shards_hold_together_what_was_written(sharded: Path) -> None:
    assert [path.name for path in shards_of(sharded)] == [
        f"diffusion_pytorch_model-0000{number}-of-00003.safetensors" for number in (1, 2, 3)
    ]
    files = WeightFiles(sharded)
    expected = {name: tensor for name, tensor in tiny_network().state_dict().items() if name != "out.weight"}
    assert_equal({name: files.read(name) for name in files.names}, expected)
    index = json.loads((sharded / INDEX).read_text())
    assert index["metadata"]["total_size"] == files.byte_count == sum(t.nbytes for t in expected.values())
    assert [path.name for path in files.files] == [INDEX, *(path.name for path in shards_of(sharded))]


def test_the_same_weights_give_the_same_bytes(sharded: Path, tmp_path: Path) -> None:
    save_weights(named_weights(tiny_network()), tmp_path / "again", max_shard_bytes=SHARD_BYTES)
    for path in sharded.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_swapped_shards_are_one_mismatch(sharded: Path) -> None:
    first, second, _ = shards_of(sharded)
    first.rename(sharded / "aside")
    second.rename(first)
    (sharded / "aside").rename(second)
    with pytest.raises(WeightMismatch) as caught:
        WeightFiles(sharded)
    moved = load_file(first).keys() | load_file(second).keys()
    assert all(f"'{name}'" in str(caught.value) for name in moved)


def test_swapped_shards_with_an_index_to_match_do_not_fit_the_network(sharded: Path, tmp_path: Path) -> None:
    """Shards of two networks with the same file names: files agree with each other, not with the network."""
    other = nn.Sequential(*(nn.Linear(8, 8) for _ in range(3)))
    save_weights(named_weights(other), tmp_path / "other", max_shard_bytes=SHARD_BYTES)
    lost, gained = shards_of(sharded)[1], shards_of(tmp_path / "other")[1]
    names = load_file(lost).keys(), load_file(gained).keys()
    shutil.copy(gained, lost)
    edit_index(sharded, lambda weight_map: [weight_map.pop(name) for name in names[0]])
    edit_index(sharded, lambda weight_map: weight_map.update(dict.fromkeys(names[1], lost.name)))
    with pytest.raises(WeightMismatch) as caught:
        load_weights(tiny_network(), WeightFiles(sharded))
    assert all(f"missing: {name}" in str(caught.value) for name in names[0] - {"middle.weight"})
    assert all(f"unexpected: {name}" in str(caught.value) for name in names[1])


def test_a_missing_shard_is_named(sharded: Path) -> None:
    shards_of(sharded)[1].unlink()
    with pytest.raises(InvalidModel, match=r"lacks the shard 'diffusion_pytorch_model-00002-of-00003\.safetensors'"):
        WeightFiles(sharded)


def test_an_index_that_lists_too_much_or_too_little_is_refused(sharded: Path) -> None:
    first = shards_of(sharded)[0].name
    edit_index(sharded, lambda weight_map: weight_map.pop("norm.bias"))
    edit_index(sharded, lambda weight_map: weight_map.update(ghost=first))
    with pytest.raises(WeightMismatch, match=r"(?s)'norm\.bias'.*the index says 'nothing'.*'ghost' is in no shard"):
        WeightFiles(sharded)


def test_a_tensor_in_two_shards_is_refused(sharded: Path) -> None:
    first, second, _ = shards_of(sharded)
    both = load_file(second) | {name: tensor for name, tensor in load_file(first).items() if name == "middle.bias"}
    save_file(both, second)
    with pytest.raises(WeightMismatch, match=r"'middle\.bias' is in both"):
        WeightFiles(sharded)


@pytest.mark.parametrize("shard", ["../secret.safetensors", "/etc/passwd", "weights.bin"])
def test_an_index_names_files_beside_it(sharded: Path, shard: str) -> None:
    edit_index(sharded, lambda weight_map: weight_map.update({"norm.bias": shard}))
    with pytest.raises(InvalidModel, match=r"needed is the name of a \.safetensors file beside it"):
        WeightFiles(sharded)


@pytest.mark.parametrize("index", ["{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "", "{"])
def test_a_broken_index_is_refused(sharded: Path, index: str) -> None:
    (sharded / INDEX).write_text(index)
    with pytest.raises(InvalidModel, match=INDEX):
        WeightFiles(sharded)


def test_several_sets_of_weights_are_refused_unless_one_is_named(tmp_path: Path) -> None:
    for name in ("model.safetensors", "model.fp16.safetensors"):
        save_file({"a": torch.zeros(2)}, tmp_path / name)
    with pytest.raises(InvalidModel, match="several sets of weights"):
        WeightFiles(tmp_path)
    assert WeightFiles(tmp_path / "model.safetensors").names == ("a",)


def test_a_folder_without_weights_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"holds no weights; needed is one \.safetensors file"):
        WeightFiles(tmp_path)


def test_a_sharded_network_comes_back_bit_for_bit(sharded: Path) -> None:
    with parameters_on_meta():
        network = TinyNetwork(width=8)
    load_weights(network, WeightFiles(sharded))
    assert_same_weights(network, tiny_network())
    assert not any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers()))
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_every_difference_is_in_one_error_and_nothing_is_loaded(tmp_path: Path) -> None:
    tensors = dict(named_weights(tiny_network(seed=1)))
    tensors["renamed.bias"] = tensors.pop("last.bias")
    tensors["norm.weight"] = torch.zeros(9)
    tensors["norm.num_batches_tracked"] = torch.zeros(())
    save_file(tensors, tmp_path / "model.safetensors")
    network = tiny_network()
    with pytest.raises(WeightMismatch) as caught:
        load_weights(network, WeightFiles(tmp_path))
    assert str(caught.value).splitlines()[1:] == [
        "  missing: last.bias [8]",
        "  unexpected: renamed.bias [8]",
        "  shape: norm.weight is [9], needed [8]",
        "  type: norm.num_batches_tracked is float32, needed int64",
    ]
    assert_same_weights(network, tiny_network())


def test_tied_weights_are_stored_once_and_tied_again(sharded: Path) -> None:
    assert "middle.weight" in WeightFiles(sharded)
    assert "out.weight" not in WeightFiles(sharded)
    with parameters_on_meta():
        network = TinyNetwork(width=8)
    load_weights(network, WeightFiles(sharded))
    assert network.out.weight is network.middle.weight


@pytest.mark.parametrize("stored", [("middle.weight",), ("out.weight",), ("middle.weight", "out.weight")])
def test_any_name_of_tied_weights_will_do(tmp_path: Path, stored: tuple[str, ...]) -> None:
    source = tiny_network(seed=1)
    tensors = dict(named_weights(source))
    weight = tensors.pop("middle.weight")
    save_file(tensors | {name: weight.clone() for name in stored}, tmp_path / "model.safetensors")
    network = tiny_network()
    load_weights(network, WeightFiles(tmp_path))
    assert_same_weights(network, source)
    assert network.out.weight is network.middle.weight


def test_tied_weights_with_different_values_are_refused(tmp_path: Path) -> None:
    tensors = dict(named_weights(tiny_network()))
    save_file(tensors | {"out.weight": tensors["middle.weight"] + 1}, tmp_path / "model.safetensors")
    with pytest.raises(WeightMismatch, match=r"tied: middle\.weight = out\.weight have different values"):
        load_weights(tiny_network(), WeightFiles(tmp_path))


def test_a_buffer_that_nobody_computed_is_refused(sharded: Path) -> None:
    network = tiny_network()
    network.angles = network.angles.to("meta")
    with pytest.raises(InvalidModel, match=r"\['angles'\] have no values"):
        load_weights(network, WeightFiles(sharded))


@pytest.mark.parametrize("stored", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_as_it_is_stored_or_as_asked_for(tmp_path: Path, stored: torch.dtype) -> None:
    save_weights(named_weights(tiny_network().to(stored)), tmp_path)
    as_stored, asked = tiny_network(seed=1), tiny_network(seed=1)
    load_weights(as_stored, WeightFiles(tmp_path))
    load_weights(asked, WeightFiles(tmp_path), dtype=torch.float32)
    assert {parameter.dtype for parameter in as_stored.parameters()} == {stored}
    assert {parameter.dtype for parameter in asked.parameters()} == {torch.float32}
    assert asked.norm.num_batches_tracked.dtype == as_stored.norm.num_batches_tracked.dtype == torch.int64
    assert as_stored.angles.dtype == torch.float32
    assert torch.equal(asked.middle.weight, tiny_network().to(stored).middle.weight.float())


class KeepsNorm(TinyNetwork):
    _keep_in_fp32_modules = ("norm",)


def test_what_a_network_keeps_in_float32_stays_there(sharded: Path) -> None:
    network = KeepsNorm(width=8)
    load_weights(network, WeightFiles(sharded), dtype=torch.bfloat16)
    assert network.middle.weight.dtype == torch.bfloat16
    assert network.norm.weight.dtype == network.norm.running_mean.dtype == torch.float32


def test_frozen_parameters_stay_frozen(sharded: Path) -> None:
    network = tiny_network()
    network.last.requires_grad_(False)
    load_weights(network, WeightFiles(sharded))
    assert not network.last.weight.requires_grad
    assert network.middle.weight.requires_grad


def test_only_the_thread_that_asks_builds_without_memory() -> None:
    built: list[nn.Linear] = []
    with parameters_on_meta():
        thread = threading.Thread(target=lambda: built.append(nn.Linear(2, 2)))
        thread.start()
        thread.join()
        mine = nn.Linear(2, 2)
    assert mine.weight.is_meta
    assert not built[0].weight.is_meta
    assert not nn.Linear(2, 2).weight.is_meta


def test_parameters_shared_before_they_are_registered_stay_shared() -> None:
    with parameters_on_meta():
        shared = nn.Parameter(torch.zeros(2, 2))
        one, other = nn.Linear(2, 2), nn.Linear(2, 2)
        one.weight, other.weight = shared, shared
    assert one.weight is other.weight


@pytest.mark.parametrize("apart", [True, False])
def test_a_name_comes_once(tmp_path: Path, apart: bool) -> None:
    tensors = [("a", torch.zeros(100)), *([("b", torch.zeros(100))] * apart), ("a", torch.zeros(100))]
    with pytest.raises(InvalidModel, match=r"'a'.*given twice"):
        save_weights(tensors, tmp_path, max_shard_bytes=400 if apart else 4000)
    assert list(tmp_path.iterdir()) == []


def test_weights_are_not_written_beside_others(sharded: Path) -> None:
    before = sorted(sharded.iterdir())
    with pytest.raises(InvalidModel, match="holds weights already"):
        save_weights(named_weights(tiny_network()), sharded)
    assert sorted(sharded.iterdir()) == before


MEMORY = """
import sys
from pathlib import Path
import torch
from torch import nn
from fourd_ros.model_io.meta_device import parameters_on_meta
from fourd_ros.model_io.weights import WeightFiles, load_weights, save_weights

torch.set_num_threads(1)
MEGABYTE = 2**20
folder = Path(sys.argv[1])

def peak():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024

def made(count):
    for number in range(count):
        yield f"{number}.weight", torch.full((2 * MEGABYTE // 2, 4), number, dtype=torch.float16)

save_weights(made(2), folder / "warm_up", max_shard_bytes=16 * MEGABYTE)
WeightFiles(folder / "warm_up").read("1.weight").float().sum()
before = peak()
save_weights(made(16), folder / "model", max_shard_bytes=16 * MEGABYTE)
print(peak() - before)
with parameters_on_meta():
    network = nn.Sequential(*(nn.Linear(4, MEGABYTE, bias=False) for _ in range(16)))
before = peak()
load_weights(network, WeightFiles(folder / "model"), dtype=torch.float32)
print(peak() - before)
assert all((layer.weight == number).all() for number, layer in enumerate(network))
"""


def test_neither_writing_nor_loading_holds_a_model_twice(tmp_path: Path) -> None:
    # What is freed goes back at once, so that the peak is what is held.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    written, loaded = map(float, told.split())
    assert written < 12, "128 MiB were written in shards of 16 MiB, of which one was in memory before"
    assert 192 < loaded < 256 + 48, "256 MiB were loaded, from half of that in files"
