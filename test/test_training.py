"""The training loop, its parts, and what it leaves behind."""

import copy
import importlib
import json
import math
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from regression_task import CurveNetwork, RegressionConfig, RegressionTask

from fourd_ros.cli import main
from fourd_ros.errors import InvalidCheckpoint, InvalidConfig, TrainingFailed, UnknownModel
from fourd_ros.scene_language.language_objective import learning_rate as rate_of_epoch
from fourd_ros.training.checkpoint import Checkpoint, CheckpointFolder, read_tensors
from fourd_ros.training.config import TrainingConfig
from fourd_ros.training.ema import AveragedWeights
from fourd_ros.training.learner import Learner, learning_rate
from fourd_ros.training.loop import train
from fourd_ros.training.processes import make_accelerator
from fourd_ros.training.run_folder import RunFolder, environment, newest_run, next_run
from fourd_ros.training.sampler import GlobalBatches, Place, make_loader, micro_batches, share_of
from fourd_ros.training.settings import read_config
from fourd_ros.training.task import Validation
from fourd_ros.training.tasks import TASKS, load_task

SHORT = ("training.steps=20", "training.batch_size=8", "training.log_every=4", "training.validate_every=8",
         "training.checkpoint_every=10", "training.device=cpu")  # fmt: skip

Go = Callable[..., RunFolder]


@pytest.fixture
def go(tmp_path: Path) -> Go:
    """``go(*overrides, task=RegressionTask)``: a short run in a folder of its own."""

    def start(*overrides: str, task: type[RegressionTask] = RegressionTask) -> RunFolder:
        run = RunFolder(next_run("regression", runs=tmp_path))
        train(task(read_config(RegressionConfig, None, [*SHORT, *overrides])), run.path, bar=False)
        return run

    return start


def rows(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [row for row in found if row["kind"] == kind]


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return read_tensors(run.checkpoints / "step_00000020" / "network.safetensors")


def assert_close(one: RunFolder, other: RunFolder, tolerance: float = 1e-6) -> None:
    for first, second in zip(rows(one, "train"), rows(other, "train"), strict=True):
        assert first["loss"] == pytest.approx(second["loss"], abs=tolerance)
    for name, tensor in weights(one).items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, weights(other)[name], atol=tolerance, rtol=0)


def test_a_run_learns_and_leaves_everything_behind(go: Go) -> None:
    run = go("training.steps=60", "training.learning_rate=0.05", "noise=0", "dropout=0")
    losses = [row["loss"] for row in rows(run, "train")]
    assert losses[-1] < 0.3 * losses[0]
    assert [row["step"] for row in rows(run, "validation")] == [8, 16, 24, 32, 40, 48, 56, 60]
    assert set(rows(run, "train")[0]) == {"step", "kind", "loss", "gradient_norm", "absolute", "learning_rate"}
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step_00000050", "step_00000060"]
    assert RunFolder(run.path).read_config(RegressionConfig).training.steps == 60
    picture = Image.open(run.pictures / "error" / "00000060.png")
    assert picture.size == (8, 4)
    start = json.loads(run.environment.read_text())[0]
    assert start["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert "validation at step 60" in run.log.read_text()
    exported = read_tensors(run.model / "network.safetensors")
    averages = read_tensors(run.checkpoints / "step_00000060" / "average.safetensors")
    assert all(torch.equal(exported[name], averages[name]) for name in averages)
    last = rows(run, "validation")[-1]["error"]
    assert json.loads((run.model / "metrics.json").read_text()) == {"error": last}


def test_curves_and_pictures_are_in_tensorboard(go: Go) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = go()
    board = EventAccumulator(str(run.tensorboard)).Reload()
    assert {"train/loss", "train/samples_per_second", "validation/error"} <= set(board.Tags()["scalars"])
    assert board.Tags()["images"] == ["error"]
    values = [event.value for event in board.Scalars("train/loss")]
    assert values == pytest.approx([row["loss"] for row in rows(run, "train")])


def test_the_same_run_writes_the_same_bytes(go: Go) -> None:
    one, other = go(), go("training.workers=2")
    for name in ("metrics.jsonl", "model/network.safetensors", "checkpoints/step_00000020/optimizer.safetensors"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes()
    assert one.metrics.read_bytes() != go("training.seed=1").metrics.read_bytes()


def test_gradient_accumulation_changes_nothing(go: Go) -> None:
    assert_close(go("dropout=0"), go("dropout=0", "training.gradient_accumulation=4"))


def test_gradient_checkpointing_changes_nothing_but_computes_twice(go: Go) -> None:
    counts: dict[bool, int] = {}

    class Counting(RegressionTask):
        def export(self, network: torch.nn.Module, *rest: Any) -> None:
            assert isinstance(network, CurveNetwork)
            counts[network.checkpointing] = network.recomputed
            super().export(network, *rest)

    plain, checkpointed = go(task=Counting), go("training.gradient_checkpointing=true", task=Counting)
    assert counts[True] == counts[False] + 20
    assert all(torch.equal(tensor, weights(checkpointed)[name]) for name, tensor in weights(plain).items())


def test_gradient_checkpointing_needs_a_network_that_can(go: Go) -> None:
    class Plain(RegressionTask):
        def network(self) -> torch.nn.Module:
            return torch.nn.Linear(1, 1)

    with pytest.raises(InvalidConfig, match="Linear has no enable_gradient_checkpointing"):
        go("training.gradient_checkpointing=true", task=Plain)


def test_bf16_computes_in_bf16_and_keeps_float32_weights(go: Go) -> None:
    dtypes = set()

    class Watching(RegressionTask):
        def loss(self, network: Any, batch: Any) -> Any:
            dtypes.add(network.first(batch["x"]).dtype)
            return super().loss(network, batch)

    run = go("training.precision=bf16", task=Watching)
    assert dtypes == {torch.bfloat16}
    assert {tensor.dtype for tensor in weights(run).values()} == {torch.float32, torch.int64}
    exact = [row["loss"] for row in rows(go(), "train")]
    assert [row["loss"] for row in rows(run, "train")] == pytest.approx(exact, rel=0.05)
    assert [row["loss"] for row in rows(run, "train")] != exact


def test_a_step_is_that_of_a_loop_written_out() -> None:
    """Clipping, AdamW with decay of matrices only, and averages, with settings far from their defaults."""
    training = TrainingConfig(steps=5, batch_size=4, learning_rate=0.1, schedule="constant", weight_decay=0.7,
                              betas=(0.5, 0.6), gradient_clip=0.05, ema_decay=0.3, device="cpu")  # fmt: skip
    task = RegressionTask(RegressionConfig(training=training, dropout=0.0))
    learner = Learner(task, make_accelerator(training, uses_all_parameters=True))
    network = copy.deepcopy(learner.network)
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim == 1]
    adamw = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.7}, {"params": vectors, "weight_decay": 0.0}],
                              lr=0.1, betas=(0.5, 0.6), foreach=False)  # fmt: skip
    average = network.last.weight.detach().clone()
    for step in range(5):
        batch = {"x": torch.linspace(-1, 1, 4)[:, None], "y": torch.tensor([1.0, -1.0, 2.0, step])}
        learner.step(step, [batch])
        task.loss(network, batch).per_sample.mean().backward()
        assert torch.nn.utils.clip_grad_norm_(network.parameters(), 0.05) > 0.05
        adamw.step()
        adamw.zero_grad()
        decay = min(0.3, (2 + step) / (11 + step))
        average = decay * average + (1 - decay) * network.last.weight.detach()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(learner.tensors[name], parameter, atol=1e-6, rtol=0)
    torch.testing.assert_close(learner.exported_tensors["last.weight"], average, atol=1e-6, rtol=0)


def test_fp16_is_refused_without_a_gpu(go: Go) -> None:
    with pytest.raises(InvalidConfig, match="fp16, which needs a GPU"):
        go("training.precision=fp16")


def test_adapters_alone_are_trained_and_merged(go: Go) -> None:
    run = go("training.lora.target_modules=[second]", "training.lora.rank=2", "training.lora.alpha=6",
             "training.learning_rate=0.1", "training.ema_decay=null")  # fmt: skip
    trained = {name for name in weights(run) if name != "calls"}
    assert trained == {f"second.lora_{side}.default.weight" for side in "AB"}
    untrained = read_tensors(go("training.learning_rate=1e-30").model / "network.safetensors")
    exported = read_tensors(run.model / "network.safetensors")
    assert exported.keys() == untrained.keys()
    for name in ("first.weight", "first.bias", "second.bias", "last.weight"):
        assert torch.equal(exported[name], untrained[name])
    update = weights(run)["second.lora_B.default.weight"] @ weights(run)["second.lora_A.default.weight"]
    torch.testing.assert_close(exported["second.weight"], untrained["second.weight"] + 3 * update)
    assert update.abs().max() > 0.01


def test_adapters_need_layers_of_that_name(go: Go, tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match=r"layers are \['first', 'second', 'last'\]"):
        go("training.lora.target_modules=[third]")
    assert not RunFolder(newest_run("regression", runs=tmp_path)).config.exists()  # a run that can be begun


def test_frozen_parameters_are_neither_trained_nor_saved(go: Go) -> None:
    class HalfFrozen(RegressionTask):
        def network(self) -> torch.nn.Module:
            network = super().network()
            network.first.requires_grad_(False)
            return network

    assert set(weights(go(task=HalfFrozen))) == {"second.weight", "second.bias", "last.weight", "last.bias", "calls"}


def test_adapters_of_a_half_precision_network_are_float32(go: Go) -> None:
    class Half(RegressionTask):
        def network(self) -> torch.nn.Module:
            return super().network().bfloat16()

        def validate(self, network: torch.nn.Module) -> Validation:
            return Validation(metrics={"error": 0.0})

    run = go("training.lora.target_modules=[second]", "training.precision=bf16", task=Half)
    dtypes = {name: tensor.dtype for name, tensor in weights(run).items() if "lora" in name}
    assert len(dtypes) == 2 and set(dtypes.values()) == {torch.float32}
    assert read_tensors(run.model / "network.safetensors")["second.weight"].dtype == torch.bfloat16


def test_a_network_in_evaluation_mode_is_trained_all_the_same(go: Go) -> None:
    class Loaded(RegressionTask):
        def network(self) -> torch.nn.Module:
            return super().network().eval()

    assert go(task=Loaded).metrics.read_bytes() == go().metrics.read_bytes()


def test_parameters_without_a_gradient_have_to_be_announced(go: Go) -> None:
    class Idle(RegressionTask):
        def network(self) -> torch.nn.Module:
            network = super().network()
            network.idle = torch.nn.Linear(1, 1)
            return network

    with pytest.raises(InvalidConfig, match=r"does not depend on \['idle.weight', 'idle.bias'\]"):
        go(task=Idle)

    class Announced(Idle):
        uses_all_parameters = False

    assert "idle.weight" in weights(go(task=Announced))


def test_every_validation_draws_the_same_numbers(go: Go) -> None:
    class Drawing(RegressionTask):
        def validate(self, network: torch.nn.Module) -> Validation:
            return Validation(metrics={"error": float(torch.rand(())) + float(np.random.rand())})

    assert len({row["error"] for row in rows(go(task=Drawing), "validation")}) == 1


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_networks_are_not_cut_over_processes(go: Go, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(InvalidConfig, match=f"{name}.*every process trains a whole network"):
        go()


def test_averages_follow_their_formula() -> None:
    value = torch.tensor([1.0, 2.0])
    counter = torch.tensor(0)
    average = AveragedWeights(lambda: {"value": value, "counter": counter}, decay=0.5)
    expected = value.clone()
    for step in range(1, 12):
        value += step
        counter += 1
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    torch.testing.assert_close(average.tensors["value"], expected)
    own = value.clone()
    with average.in_place():
        assert torch.equal(value, average.tensors["value"])
    assert torch.equal(value, own)
    assert average.tensors["counter"] == 11


def test_averages_of_half_precision_weights_do_not_stand_still() -> None:
    value = torch.ones(1, dtype=torch.bfloat16)
    average = AveragedWeights(lambda: {"value": value}, decay=0.999)
    value += 1
    for step in range(20_000, 20_100):
        average.update(step)
    assert average.tensors["value"].item() == pytest.approx(2 - 0.999**100)


def test_without_averages_the_weights_themselves_are_exported(go: Go) -> None:
    run = go("training.ema_decay=null")
    assert not (run.checkpoints / "step_00000020" / "average.safetensors").exists()
    exported = read_tensors(run.model / "network.safetensors")
    assert all(torch.equal(exported[name], tensor) for name, tensor in weights(run).items())


def test_the_best_weights_are_kept_and_exported_on_request(go: Go) -> None:
    class Worse(RegressionTask):
        larger_is_better = True

    run = go("training.export=best", "training.learning_rate=0.02", "dropout=0", task=Worse)
    found = rows(run, "validation")
    best = max(found, key=lambda row: row["error"])
    assert best["step"] < found[-1]["step"]
    assert [path.name for path in run.best.iterdir()] == [f"step_{best['step']:08d}"]
    assert json.loads((run.model / "metrics.json").read_text()) == {"error": best["error"]}
    kept = read_tensors(run.best / f"step_{best['step']:08d}" / "network.safetensors")
    assert torch.equal(kept["last.bias"], read_tensors(run.model / "network.safetensors")["last.bias"])


def test_a_loss_that_is_no_number_ends_the_run_at_the_last_checkpoint(go: Go, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="step 13: the loss is nan"):
        go("spoiled_step=13")
    run = RunFolder(newest_run("regression", runs=tmp_path))
    assert [path.name for path in run.checkpoints.iterdir()] == ["step_00000010"]
    assert "step 13: the loss is nan" in run.log.read_text()
    assert rows(run, "train")[-1]["step"] == 12


def test_batches_that_cannot_be_cut_are_refused(go: Go) -> None:
    with pytest.raises(InvalidConfig, match=r"'training.batch_size' is 8.*has to be a multiple of 3"):
        go("training.gradient_accumulation=3")


def test_a_loss_that_is_not_of_each_sample_is_refused(go: Go) -> None:
    class Summed(RegressionTask):
        def loss(self, network: Any, batch: Any) -> Any:
            loss = super().loss(network, batch)
            return type(loss)(per_sample=loss.per_sample.mean())

    with pytest.raises(ValueError, match=r"Summed.loss gives \[\] .* needed \[B\]"):
        go(task=Summed)


HOLDS_THE_LOCK = """
import fcntl, os, sys
file = open(sys.argv[1], "w")
fcntl.lockf(file, fcntl.LOCK_EX)
os.write(1, b"!")
sys.stdin.read()
"""


def test_a_folder_holds_one_run(go: Go, tmp_path: Path) -> None:
    run = go()
    task = RegressionTask(read_config(RegressionConfig, None, SHORT))
    with pytest.raises(InvalidConfig, match="holds a run; continue it with --resume"):
        train(task, run.path, bar=False)
    words = [sys.executable, "-c", HOLDS_THE_LOCK, run.path / ".lock"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.read(1)
        with pytest.raises(InvalidConfig, match="another process trains"):
            train(task, run.path, resume=True, bar=False)
        holder.kill()
    assert next_run("regression", runs=tmp_path).name == "2"
    with pytest.raises(InvalidConfig, match="cannot be the folder of a run"):
        train(task, run.config, bar=False)


def test_the_learning_rate() -> None:
    config = TrainingConfig(learning_rate=2.0, warmup_steps=4, steps=12, schedule="cosine")
    rates = [learning_rate(config, step) for step in range(13)]
    assert rates[:4] == [0.5, 1.0, 1.5, 2.0]
    assert rates[4:] == pytest.approx([1 + math.cos(math.pi * n / 8) for n in range(9)])
    constant = TrainingConfig(learning_rate=2.0, warmup_steps=4, steps=12, schedule="constant")
    assert learning_rate(constant, 11) == 2.0
    with pytest.raises(InvalidConfig, match="least_rate 3"):
        TrainingConfig(learning_rate=2.0, least_rate=3.0)


@pytest.mark.parametrize("schedule", ["cosine", "constant"])
def test_the_learning_rate_by_epochs_is_that_of_the_language_head(schedule: Literal["cosine", "constant"]) -> None:
    config = TrainingConfig(
        learning_rate=4e-5,
        least_rate=1e-6,
        steps=700,
        warmup_steps=140,
        rate_steps=7,
        warmup_from_zero=True,
        schedule=schedule,
    )
    least = 1e-6 if schedule == "cosine" else None
    for step in (0, 6, 7, 139, 140, 147, 356, 699):
        assert learning_rate(config, step) == pytest.approx(rate_of_epoch(step // 7, least=least), rel=1e-12)


def test_every_epoch_has_each_sample_once() -> None:
    batches = GlobalBatches(size=10, batch_size=4, seed=0)
    draws = np.concatenate([batches.indices(step) for step in range(15)])
    epochs = draws.reshape(6, 10)
    assert (np.sort(epochs, axis=1) == np.arange(10)).all()
    assert len(np.unique(epochs, axis=0)) == 6
    again = GlobalBatches(size=10, batch_size=4, seed=0)
    assert (again.indices(7) == batches.indices(7)).all()
    large = GlobalBatches(size=3, batch_size=8, seed=1).indices(2)
    assert (np.bincount(large) >= 2).all()
    with pytest.raises(InvalidConfig, match="empty"):
        GlobalBatches(size=0, batch_size=4, seed=0)


@pytest.mark.parametrize(("processes", "parts"), [(1, 1), (2, 1), (1, 4), (3, 2)])
def test_processes_and_parts_cut_the_same_batch(processes: int, parts: int) -> None:
    batches = GlobalBatches(size=50, batch_size=12, seed=0)
    found: list[Place] = []
    for process in range(processes):
        share = share_of(process=process, processes=processes, batch_size=12, parts=parts)
        for part in micro_batches(batches, share, range(3, 4)):
            assert len(part) == 12 // processes // parts
            found += part
    assert found == [Place(int(index), 3, position) for position, index in enumerate(batches.indices(3))]


def test_a_sample_depends_on_its_place_only() -> None:
    class Random:
        def __len__(self) -> int:
            return 4

        def sample(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
            return {"number": rng.random()}

    def numbers(*places: Place, seed: int = 0) -> list[float]:
        loader = make_loader(Random(), iter([list(places)]), seed=seed, workers=0, pin=False)
        return list(next(loader)["number"].tolist())

    first, second = Place(1, 2, 3), Place(1, 2, 4)
    assert numbers(first, second) == numbers(second, first)[::-1]
    several = numbers(first, second, Place(1, 3, 3)) + numbers(first, seed=1)
    assert len(set(several)) == 4


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process becomes larger than 100 kB: the write fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_earlier_checkpoints(tmp_path: Path, small_files: None) -> None:
    folder = CheckpointFolder(tmp_path)
    folder.write(Checkpoint(step=1, tensors={"network": {"a": torch.ones(3)}}, state={}), keep=1)
    with pytest.raises(TrainingFailed, match=r"step_00000002' cannot be written: File too large; make room"):
        folder.write(Checkpoint(step=2, tensors={"network": {"a": torch.ones(100_000)}}, state={}), keep=1)
    newest = folder.newest()
    assert newest is not None and newest.step == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    for name in (".step_00000003.partial", ".step_00000001.old"):
        (tmp_path / name).mkdir()
    CheckpointFolder(tmp_path).write(Checkpoint(step=2, tensors={}, state={}), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000002"]


def test_damaged_checkpoints_are_set_aside(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for step in (1, 2, 3):
        tensors = {"network": {"a": torch.full((4,), float(step))}, "optimizer": {"exp_avg/a": torch.zeros(4)}}
        folder.write(Checkpoint(step=step, tensors=tensors, state={}), keep=3)
    path = tmp_path / "step_00000003" / "network.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    (tmp_path / "step_00000002" / "optimizer.safetensors").unlink()
    newest = folder.newest()
    assert newest is not None and newest.step == 1
    assert {path.name for path in tmp_path.iterdir()} == {
        "step_00000001", "damaged_step_00000002", "damaged_step_00000003"
    }  # fmt: skip


def test_the_revision_of_a_task_of_ones_own_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_task.py").write_text("class Task: pass\n")
    git = ("git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b")
    for words in (("init", "-q"), ("add", "own_task.py"), ("commit", "-q", "-m", "first")):
        subprocess.run([*git, *words], check=True)
    revision = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    monkeypatch.syspath_prepend(str(tmp_path))
    own = importlib.import_module("own_task").Task
    assert environment(own)["git"]["task"] == {"revision": revision, "dirty": False, "difference_sha256": None}
    (tmp_path / "own_task.py").write_text("class Task: changed = True\n")
    changed = environment(own)["git"]["task"]
    assert changed["dirty"] and changed["difference_sha256"]


def test_checkpoints_hold_no_pickle(go: Go) -> None:
    files = [path for path in go().path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if "tensorboard" not in path.parts} == {
        "", ".yaml", ".json", ".jsonl", ".txt", ".png", ".safetensors"
    }  # fmt: skip


def test_a_checkpoint_of_another_network_is_refused(go: Go) -> None:
    run = go()
    state = json.loads((run.checkpoints / "step_00000020" / "state.json").read_text())
    assert state["state"]["config"]["width"] == 16

    class Other(RegressionTask):
        def network(self) -> torch.nn.Module:
            return CurveNetwork(8, 0.0)

    with pytest.raises(InvalidCheckpoint, match=r"'first.weight' is \[16, 1\], needed \[8, 1\]"):
        train(Other(read_config(RegressionConfig, None, SHORT)), run.path, resume=True, bar=False)


def test_tasks_are_found_by_name_or_by_class() -> None:
    assert load_task("regression_task:RegressionTask") is RegressionTask
    for name in ("nothing", "regression_task:Nothing", "regression_task:Curve", "no_module:Task"):
        with pytest.raises(UnknownModel, match=r"depth_completion|needed a subclass"):
            load_task(name)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "regression_task:RegressionTask", "--json", "--set", *SHORT]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines[:3]] == ["train", "train", "validation"]
    assert lines[0]["samples_per_second"] > 0
    assert lines[-1]["run"] == "out/train/RegressionTask/1"
    assert (tmp_path / lines[-1]["run"] / "model").is_dir()
    assert main(["train", "regression_task:RegressionTask", "--resume", "--set", "training.steps=24"]) == 0
    assert "step 24: error" in capsys.readouterr().out


def test_the_command_lists_and_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == TASKS
    assert main(["train", "regression_task:RegressionTask", "--settings"]) == 0
    assert "training.learning_rate" in capsys.readouterr().out
    assert main(["train", "nothing"]) == 1
    assert "depth_completion" in capsys.readouterr().err
    assert main(["train"]) == 1
    assert "no model is named" in capsys.readouterr().err
