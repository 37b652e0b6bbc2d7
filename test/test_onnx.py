"""Export to ONNX beside torch, and sessions that say how they run."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from fourd_ros import cli
from fourd_ros.errors import ExportMismatch, InvalidInput, InvalidModel, MissingDependency
from fourd_ros.model_io.folder import shipped_model
from fourd_ros.model_io.onnx_export import OnnxSignature, export_onnx
from fourd_ros.model_io.onnx_session import OnnxSession


class Mixture(torch.nn.Module):
    """A convolution, a resampling and a matrix product; two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.normal = torch.nn.BatchNorm2d(8)
        self.head = torch.nn.Linear(8, 8)
        self.tail = torch.nn.Linear(8, 1)

    def forward(self, rgb: torch.Tensor, depth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.nn.functional.silu(self.normal(self.shared(rgb)))
        small = torch.nn.functional.avg_pool2d(features, 2)
        features = features + torch.nn.functional.interpolate(small, scale_factor=2, mode="nearest")
        mixed = torch.relu(self.head(features.permute(0, 2, 3, 1)))
        return depth + self.tail(mixed).permute(0, 3, 1, 2), features


class Moody(torch.nn.Module):
    """Computes something else the second time."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.rand_like(x)


def images(batch: int, height: int, width: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(height)
    return {"rgb": torch.rand(batch, 3, height, width), "depth": torch.rand(batch, 1, height, width)}


AXES = {0: "batch", 2: "height", 3: "width"}
SIGNATURE = OnnxSignature(
    inputs=images(2, 16, 24),
    outputs=("filled", "features"),
    sizes={"rgb": AXES, "depth": AXES},
    others=(images(1, 32, 8),),
)


@pytest.fixture(scope="module")
def network() -> Mixture:
    torch.manual_seed(0)
    return Mixture()


@pytest.fixture(scope="module")
def exported(network: Mixture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "mixture.onnx"
    network.train()
    export = export_onnx(network, SIGNATURE, path)
    assert network.training
    assert list(path.parent.iterdir()) == [path]
    assert max(export.deviations.values()) < 1e-5
    assert export.file_bytes == path.stat().st_size and not export.int8
    return path


def test_a_session_agrees_with_torch_at_sizes_it_was_not_exported_with(network: Mixture, exported: Path) -> None:
    inputs = images(3, 48, 40)
    outputs = OnnxSession(exported, threads=1).run(**{name: value.numpy() for name, value in inputs.items()})
    with torch.inference_mode():
        expected = network.eval()(**inputs)
    assert list(outputs) == ["filled", "features"]
    for value, wanted in zip(outputs.values(), expected, strict=True):
        np.testing.assert_allclose(value, wanted.numpy(), atol=1e-5)


def test_the_file_does_not_tell_where_it_was_made(exported: Path) -> None:
    data = exported.read_bytes()
    assert b"site-packages" not in data and str(Path(__file__).parent).encode() not in data


def test_a_network_that_onnx_does_not_repeat_is_refused(tmp_path: Path) -> None:
    signature = OnnxSignature(inputs={"x": torch.zeros(1, 4)}, outputs=("y",))
    with pytest.raises(ExportMismatch, match="'y'"):
        export_onnx(Moody(), signature, tmp_path / "moody.onnx")
    assert list(tmp_path.iterdir()) == []


class Undecided(torch.nn.Module):
    """What it computes depends on values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else 2 * x


def test_a_network_that_torch_cannot_export_is_named(tmp_path: Path) -> None:
    signature = OnnxSignature(inputs={"x": torch.zeros(1, 4)}, outputs=("y",))
    with pytest.raises(ExportMismatch, match="cannot export Undecided"):
        export_onnx(Undecided(), signature, tmp_path / "undecided.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_version_of_operators_that_cannot_be_had_is_refused(tmp_path: Path) -> None:
    signature = OnnxSignature(inputs={"input": torch.zeros(4)}, outputs=("y",))
    with pytest.raises(ExportMismatch, match="version 99 cannot be had"):
        export_onnx(torch.nn.ReLU(), signature, tmp_path / "relu.onnx", opset=99)


@pytest.mark.parametrize("calibrated", [False, True])
def test_int8_is_smaller_or_coarser_and_says_by_how_much(
    network: Mixture, exported: Path, tmp_path: Path, calibrated: bool
) -> None:
    batches = [{name: value.numpy() for name, value in images(2, 16, 24).items()}] if calibrated else []
    export = export_onnx(network, SIGNATURE, tmp_path / "int8.onnx", int8=True, calibration=batches)
    assert export.int8 and 1e-5 < export.deviations["filled"] < 0.1
    outputs = OnnxSession(tmp_path / "int8.onnx").run(**{k: v.numpy() for k, v in SIGNATURE.inputs.items()})
    assert np.isfinite(outputs["filled"]).all()


def test_inputs_are_checked_before_they_are_run(exported: Path) -> None:
    session = OnnxSession(exported)
    good = {name: value.numpy() for name, value in images(1, 16, 16).items()}
    with pytest.raises(InvalidInput, match=r"takes \['depth', 'rgb'\], given were \['rgb'\]"):
        session.run(rgb=good["rgb"])
    with pytest.raises(InvalidInput, match="float64"):
        session.run(**good | {"rgb": good["rgb"].astype(np.float64)})
    with pytest.raises(InvalidInput, match=r"'depth' is float32\[1, 1, 16, 8\].*'width': 16"):
        session.run(**good | {"depth": good["depth"][..., :8]})


def test_the_report_names_processor_threads_and_reason(exported: Path) -> None:
    report = OnnxSession(exported, threads=1).report
    assert report.processor in ("cuda", "cpu") and report.threads == 1 and report.processor in report.reason
    assert OnnxSession(exported, processors=("cpu",)).report.processor == "cpu"


def test_a_processor_that_is_not_there_is_named(exported: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(MissingDependency, match="onnxruntime-gpu"):
        OnnxSession(exported, processors=("cuda",))


def test_only_processors_and_threads_that_there_are(exported: Path) -> None:
    for options in ({"processors": ("tpu",)}, {"threads": 0}, {"threads": -3}):
        with pytest.raises(InvalidInput, match="there are"):
            OnnxSession(exported, **options)  # type: ignore[arg-type]


def test_broken_and_absent_files_are_typed_errors(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="no file"):
        OnnxSession(tmp_path / "absent.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported.read_bytes()[:100])
    with pytest.raises(InvalidModel, match=r"broken\.onnx"):
        OnnxSession(broken)


def test_the_command_exports_a_shipped_network(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["export", "onnx", "depth_completion", str(tmp_path), "--json"]) == 0
    export = json.loads(capsys.readouterr().out)
    assert max(export["deviations"].values()) < 1e-4 and not export["int8"]
    session = OnnxSession(export["path"])
    shipped = OnnxSession(shipped_model("depth_completion") / "network" / "model.onnx")
    assert session.inputs == shipped.inputs
    inputs = {
        name: np.full([spec if isinstance(spec, int) else 32 for spec in value.shape], 0.5, value.dtype)
        for name, value in session.inputs.items()
    }
    for name, value in session.run(**inputs).items():
        np.testing.assert_allclose(value, shipped.run(**inputs)[name], atol=1e-5)
