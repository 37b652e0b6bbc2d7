"""Networks from torch to ONNX, compared with the original before they are believed."""

import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fourd_ros.errors import ExportMismatch, MissingDependency
from fourd_ros.machine import pip_install
from fourd_ros.model_io.onnx_session import Array, OnnxSession
from fourd_ros.model_io.writing import writing

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]

OPSET = 18
TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class OnnxSignature:
    """How a network is called; one that may be exported returns its own from ``onnx_signature()``.

    Args:
        inputs: an example of every argument of ``forward``, by its name.
        outputs: names of what it returns, in order.
        sizes: names of axes of any size, by input and axis; axes of one name have one size.
        others: further examples, of other sizes where there are axes of any size.
    """

    inputs: Tensors
    outputs: tuple[str, ...]
    sizes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    others: Sequence[Tensors] = ()

    @property
    def examples(self) -> tuple[Tensors, ...]:
        """All examples."""
        return (self.inputs, *self.others)


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """A written network.

    Args:
        path: the file.
        file_bytes: its size.
        int8: whether weights were quantised.
        deviations: by output, the largest difference from torch over all examples, relative to the largest value
            that torch gave there.
    """

    path: Path
    file_bytes: int
    int8: bool
    deviations: Mapping[str, float]


def export_onnx(
    network: "torch.nn.Module",
    signature: OnnxSignature,
    path: Path | str,
    *,
    opset: int = OPSET,
    tolerance: float = TOLERANCE,
    int8: bool = False,
    calibration: Iterable[Mapping[str, Array]] = (),
) -> OnnxExport:
    """Write `network` to one ONNX file, whole or not at all.

    What was written runs in onnxruntime on every example of the signature beside torch.

    Args:
        network: in fp32; it is exported in evaluation mode.
        signature: how it is called.
        path: the file, replaced if it is there.
        opset: version of the ONNX operators.
        tolerance: largest deviation allowed of an fp32 export, relative to the largest value of an output.
        int8: quantise weights to 8 bits; the deviation is reported, not bounded.
        calibration: inputs from which the ranges of activations are learned, so that convolutions run in 8 bits too;
            without, only matrix products do.

    Raises:
        ExportMismatch: torch cannot export it, not with that opset, or the file computes something else than torch.
        InvalidInput: the network takes other inputs than the examples.
        InvalidModel: the file cannot be run, or `path` cannot be written.
        MissingDependency: onnx or onnxruntime is not installed.
    """
    path = Path(path)
    with writing(path), _scratch(path) as folder, _evaluating(network):
        plain = Path(folder, "plain.onnx")
        _write(network, signature, plain, opset)
        deviations = _deviations(network, signature, plain)
        _require(deviations, tolerance, path)
        chosen = plain
        if int8:
            chosen = _quantise(plain, Path(folder, "int8.onnx"), tuple(calibration))
            deviations = _deviations(network, signature, chosen)
        os.replace(chosen, path)
    return OnnxExport(path=path, file_bytes=path.stat().st_size, int8=int8, deviations=deviations)


@contextmanager
def _scratch(path: Path) -> Iterator[str]:
    """A folder beside `path`, gone at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        yield folder


@contextmanager
def _evaluating(network: "torch.nn.Module") -> Iterator[None]:
    was_training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(was_training)


def _write(network: "torch.nn.Module", signature: OnnxSignature, path: Path, opset: int) -> None:
    import torch

    onnx = _onnx()
    shapes = {name: dict(signature.sizes.get(name, {})) or None for name in signature.inputs}
    with _quiet():
        try:
            program: Any = torch.onnx.export(
                network,
                (),
                kwargs=dict(signature.inputs),
                input_names=list(signature.inputs),
                output_names=list(signature.outputs),
                dynamic_shapes=shapes if signature.sizes else None,
                opset_version=opset,
                dynamo=True,
                verbose=False,
            )
        except Exception as error:  # the exporter wraps whatever went wrong, which alone tells something
            reason = str(error.__cause__ or error).strip()
            raise ExportMismatch(f"torch cannot export {type(network).__name__}: {reason}") from error
    model = program.model_proto
    _check_opset(model, opset)
    _forget_origin(model)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def _check_opset(model: Any, wanted: int) -> None:
    """The exporter keeps its own version, without an error, where it cannot translate."""
    found = next(entry.version for entry in model.opset_import if not entry.domain)
    if found != wanted:
        raise ExportMismatch(f"the operators of version {wanted} cannot be had, only those of {found}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about its own insides; what matters is compared afterwards."""
    levels = {logger: logger.level for logger in map(logging.getLogger, ("torch.onnx", "onnxscript"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


def _onnx() -> Any:
    try:
        import onnx
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f"ONNX export needs onnx ({error}): {pip_install('onnx', 'onnxscript')}") from error
    return onnx


def _forget_origin(model: Any) -> None:
    """Remove the source lines and paths that the exporter notes at every node."""
    for holder in (model, model.graph, *model.functions, *model.graph.node, *model.graph.value_info):
        del holder.metadata_props[:]
        holder.doc_string = ""


def _deviations(network: "torch.nn.Module", signature: OnnxSignature, path: Path) -> dict[str, float]:
    session = OnnxSession(path, processors=("cpu",))
    worst = dict.fromkeys(signature.outputs, 0.0)
    for example in signature.examples:
        expected = _run_torch(network, example)
        given = session.run(**{name: tensor.numpy() for name, tensor in example.items()})
        for name, value in zip(signature.outputs, expected, strict=True):
            scale = max(float(np.abs(value).max(initial=0.0)), float(np.finfo(np.float32).tiny))
            deviation = float(np.abs(given[name] - value).max(initial=0.0)) / scale
            worst[name] = max(worst[name], deviation if np.isfinite(deviation) else np.inf)
    return worst


def _run_torch(network: "torch.nn.Module", inputs: Tensors) -> list[Array]:
    import torch

    with torch.inference_mode():
        values = network(**inputs)
    return [value.numpy() for value in (values if isinstance(values, tuple) else (values,))]


def _require(deviations: Mapping[str, float], tolerance: float, path: Path) -> None:
    wrong = {name: f"{value:.2g}" for name, value in deviations.items() if value > tolerance}
    if wrong:
        raise ExportMismatch(
            f"'{path}' was not written: outputs differ from torch by {wrong}, allowed is {tolerance:g}"
        )


def _quantise(source: Path, target: Path, calibration: Sequence[Mapping[str, Array]]) -> Path:
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)  # it knows fewer operators
    if calibration:
        reader = _Calibration(calibration)
        quantization.quantize_static(str(prepared), str(target), reader, per_channel=True)
    else:
        quantization.quantize_dynamic(str(prepared), str(target), op_types_to_quantize=["MatMul", "Gemm"])
    return target


class _Calibration:
    """What onnxruntime reads its calibration data from."""

    def __init__(self, batches: Iterable[Mapping[str, Array]]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else dict(batch)
