"""A run that was killed, interrupted or damaged goes on as if nothing had happened, byte for byte."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TIMEOUT
from regression_task import RegressionConfig, RegressionTask

from fourd_ros.cli import main
from fourd_ros.errors import InvalidConfig
from fourd_ros.training.checkpoint import read_tensors
from fourd_ros.training.loop import TrainingResult, train
from fourd_ros.training.run_folder import RunFolder
from fourd_ros.training.settings import read_config

MODEL = "regression_task:RegressionTask"
SETTINGS = ("training.steps=40", "training.batch_size=8", "training.log_every=4", "training.validate_every=15",
            "training.checkpoint_every=10", "training.keep_checkpoints=3", "training.schedule=constant",
            "training.device=cpu")  # fmt: skip

DIES_WHILE_IT_WRITES = """
import os, signal, sys
from fourd_ros.cli import main

rename = os.rename

def rename_or_die(source, target):
    if str(target).endswith("checkpoints/step_00000020"):
        os.kill(os.getpid(), signal.SIGKILL)
    rename(source, target)

os.rename = rename_or_die
main(sys.argv[1:])
"""


def begin(folder: Path, *overrides: str) -> TrainingResult:
    return train(RegressionTask(read_config(RegressionConfig, None, [*SETTINGS, *overrides])), folder, bar=False)


def go_on(folder: Path, *overrides: str, **options: Any) -> TrainingResult:
    config = RunFolder(folder).read_config(RegressionConfig, overrides)
    return train(RegressionTask(config), folder, resume=True, bar=False, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Everything that a run's result consists of, by name."""
    run = RunFolder(folder)
    files = [run.metrics]
    for part in (run.checkpoints, run.best, run.model, run.pictures):
        files += [path for path in part.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def assert_same(folder: Path, straight: Path) -> None:
    found, expected = contents(folder), contents(straight)
    assert sorted(found) == sorted(expected)
    assert [name for name in expected if found[name] != expected[name]] == []


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("training") / "straight"
    result = begin(folder)
    assert (result.step, result.interrupted) == (40, False)
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Any:
    """``start(words)``: a Python in a process group of its own, so that signals can go to all its processes."""
    started: list[subprocess.Popen[str]] = []

    def run(words: Sequence[str]) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, text=True, cwd=tmp_path, start_new_session=True
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(TIMEOUT)


def command(folder: Path, *overrides: str) -> list[str]:
    return ["train", MODEL, "--run", str(folder), "--json", "--set", *SETTINGS, *overrides]


def test_killed_while_a_checkpoint_was_written(start: Any, straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = start(["-c", DIES_WHILE_IT_WRITES, *command(folder)])
    assert process.wait(TIMEOUT) == -signal.SIGKILL
    left = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert left == [".step_00000020.partial", "step_00000010"]
    assert '"step": 20' in (folder / "metrics.jsonl").read_text()
    assert go_on(folder).step == 40
    assert_same(folder, straight)


def test_ctrl_c_to_all_processes_saves(start: Any, tmp_path: Path) -> None:
    """The data loading processes hear it too, and must not."""
    folder = tmp_path / "run"
    process = start(["-m", "fourd_ros.cli", *command(folder, "training.workers=2", "training.steps=100000")])
    rows = (json.loads(line) for line in process.stdout)
    next(row for row in rows if row["step"] >= 12)
    os.killpg(process.pid, signal.SIGINT)
    end = list(rows)[-1]
    assert process.wait(TIMEOUT) == 130
    assert end["kind"] == "end" and end["interrupted"] and end["step"] >= 12
    assert (folder / "checkpoints" / f"step_{end['step']:08d}").is_dir()
    assert end["continue"] == ["fourd", "train", MODEL, "--run", str(folder), "--resume"]
    steps = f"training.steps={end['step'] + 5}"
    assert main([*end["continue"][1:], "--json", "--set", steps]) == 0
    begin(tmp_path / "straight", steps)
    for name in ("metrics.jsonl", "model/network.safetensors"):
        assert (folder / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step(number: signal.Signals, straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    before = signal.getsignal(number)

    class Signalled(RegressionTask):
        def loss(self, *arguments: Any) -> Any:
            if self.steps_seen == 16:
                os.kill(os.getpid(), number)
            return super().loss(*arguments)

    task = Signalled(read_config(RegressionConfig, None, SETTINGS))
    result = train(task, folder, bar=False)
    assert (result.step, result.interrupted, result.metrics) == (17, True, {})
    assert signal.getsignal(number) is before
    assert not (folder / "model").exists()
    assert go_on(folder).step == 40
    assert_same(folder, straight)
    starts = json.loads((folder / "environment.json").read_text())
    assert [entry["from_step"] for entry in starts] == [0, 17]


def test_a_damaged_checkpoint_is_passed_over(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begin(folder, "training.steps=30")
    path = folder / "checkpoints" / "step_00000030" / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    rows: list[Any] = []
    assert go_on(folder, "training.steps=40", report=rows.append).step == 40
    assert rows[0]["step"] == 24
    model = "model/network.safetensors"
    assert (folder / model).read_bytes() == (straight / model).read_bytes()


def test_more_steps_are_added_to_a_finished_run(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begin(folder, "training.steps=20")
    assert go_on(folder, "training.steps=40").step == 40
    assert RunFolder(folder).read_config(RegressionConfig).training.steps == 40
    assert "changed training.steps: 20 -> 40" in (folder / "log.txt").read_text()
    model = "model/network.safetensors"
    assert (folder / model).read_bytes() == (straight / model).read_bytes()


def test_a_resumed_run_remembers_the_best_validation(tmp_path: Path) -> None:
    class GetsWorse(RegressionTask):
        larger_is_better = True  # of an error that falls

    folder = tmp_path / "run"
    for steps in (20, 40):
        config = read_config(RegressionConfig, None, [*SETTINGS, "dropout=0", f"training.steps={steps}"])
        train(GetsWorse(config), folder, resume=steps > 20, bar=False)
    assert [path.name for path in RunFolder(folder).best.iterdir()] == ["step_00000015"]


def test_a_finished_run_only_exports_again(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begin(folder)
    (folder / "model" / "metrics.json").unlink()
    rows: list[Any] = []
    assert go_on(folder, report=rows.append).metrics.keys() == {"error"}
    assert rows == []
    assert_same(folder, straight)


def test_a_run_without_checkpoints_begins_anew(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    RunFolder(folder).begin(read_config(RegressionConfig, None, SETTINGS), task=RegressionTask, step=0, processes=1)
    (folder / "metrics.jsonl").write_text('{"step": 4, "kind": "train", "loss": 1.0}\n{"step": 8, "ki')
    assert go_on(folder).step == 40
    assert_same(folder, straight)


class Convolutions(torch.nn.Module):
    """Over a picture whose pixels all have one value.

    Its weights lie in memory with the channels last, a frozen part is in evaluation mode, and each step puts a new
    tensor in the place of a buffer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(3).requires_grad_(False).eval()
        self.register_buffer("scale", torch.ones(()))
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(8, 4, 3, padding=1)
        )
        self.layers.to(memory_format=torch.channels_last)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.scale = 0.5 * (self.scale + x.std())
        return self.layers(self.norm(x[:, :, None, None].expand(-1, 3, 4, 4))).mean(dim=(1, 2, 3)) * self.scale


class ConvolutionTask(RegressionTask):
    def network(self) -> torch.nn.Module:
        return Convolutions()


def test_memory_order_modes_and_replaced_buffers_go_on_too(tmp_path: Path) -> None:
    """The optimizer goes through weights and moments side by side, so they have to lie in memory alike."""
    settings = (*SETTINGS, "training.validate_every=5")
    tasks = [ConvolutionTask(read_config(RegressionConfig, None, [*settings, f"training.steps={n}"])) for n in (10, 20)]
    train(tasks[1], tmp_path / "straight", bar=False)
    train(tasks[0], tmp_path / "run", bar=False)
    train(tasks[1], tmp_path / "run", resume=True, bar=False)
    for part in ("network", "optimizer", "average"):
        file = f"checkpoints/step_00000020/{part}.safetensors"
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "straight" / file).read_bytes()
    kept = read_tensors(tmp_path / "run" / "checkpoints/step_00000020/average.safetensors")
    assert kept["norm.num_batches_tracked"] == 0
    assert kept["scale"] != 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.learning_rate=0.5", r"cannot change training.learning_rate: 0.001 -> 0.5"),
        ("width=8", r"cannot change width: 16 -> 8"),
        ("training.batch_size=4", r"cannot change training.batch_size: 8 -> 4"),
        ("training.steps=30", r"the run has done 40 already"),
    ],
)
def test_changes_of_the_result_are_refused(override: str, message: str, straight: Path) -> None:
    before = contents(straight)
    with pytest.raises(InvalidConfig, match=message):
        go_on(straight, override)
    assert contents(straight) == before
    assert RunFolder(straight).read_config(RegressionConfig) == read_config(RegressionConfig, None, SETTINGS)


def test_there_has_to_be_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", MODEL, "--run", str(tmp_path), "--resume"]) == 1
    assert "holds no run" in capsys.readouterr().err
