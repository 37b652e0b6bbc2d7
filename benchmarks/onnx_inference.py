"""Networks of the shipped models in ONNX Runtime, fp32 and 8 bits, beside torch in fp32 and bf16, a picture at a time.

All variants of a network compute the same inputs in turn, so that a busy machine slows them alike. The clock starts
with the inputs as arrays and stops with the outputs as arrays; loading and quantisation are outside. `rest` is the
processor time that an idle session takes from the rest of the robot in the second after an answer.

    python benchmarks/onnx_inference.py
    python benchmarks/onnx_inference.py --threads 1
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from measure import measure_side_by_side, report

from fourd_ros.model_io.folder import ModelFolder, shipped_model, shipped_names
from fourd_ros.model_io.loading import load_component, load_model
from fourd_ros.model_io.onnx_export import export_onnx
from fourd_ros.model_io.onnx_session import Array, OnnxSession
from fourd_ros.model_io.registry import MODELS, find_class

SIDES = (128, 256)
IDLE_SECONDS = 1.0

Inputs = Mapping[str, Array]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=40)
    parser.add_argument("--threads", type=int, help="of torch and ONNX Runtime alike (default: one a core)")
    arguments = parser.parse_args()
    threads = arguments.threads or len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, network in exportable():
            variants = Variants(network, Path(scratch), threads)
            for side in SIDES:
                rows.append(
                    {"network": name, "side": side, "threads": threads, **variants.measure(side, arguments.repeat)}
                )
    report("onnx_inference", rows)


def exportable() -> Iterator[tuple[str, torch.nn.Module]]:
    """Networks of the shipped models that tell how they are called, as ``model/component`` or ``model/part``."""
    for model in shipped_names():
        folder = shipped_model(model)
        if hasattr(find_class(MODELS, ModelFolder(folder).model_class), "onnx_parts"):
            for name, part in load_model(folder, dtype=torch.float32).onnx_parts().items():
                yield f"{model}/{name}", part
            continue
        for component in ModelFolder(folder).components:
            network = load_component(folder, component, dtype=torch.float32)
            if hasattr(network, "onnx_signature"):
                yield f"{model}/{component}", network


class Variants:
    """One network in every form."""

    def __init__(self, network: torch.nn.Module, scratch: Path, threads: int) -> None:
        self._network = network
        self._signature = network.onnx_signature()
        calibration = [{name: tensor.numpy() for name, tensor in self._signature.inputs.items()}]
        export_onnx(network, self._signature, scratch / "fp32.onnx")
        export_onnx(network, self._signature, scratch / "int8.onnx", int8=True, calibration=calibration)
        self._files = {form: scratch / f"{form}.onnx" for form in ("fp32", "int8")}
        self._sessions = {form: OnnxSession(file, threads=threads) for form, file in self._files.items()}

    def measure(self, side: int, repeat: int) -> dict[str, object]:
        """Times, sizes and deviations for square pictures."""
        inputs = self._inputs(side)
        tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
        functions: dict[str, Callable[[], object]] = {
            "torch fp32": lambda: self._torch(tensors, torch.float32),
            "torch bf16": lambda: self._torch(tensors, torch.bfloat16),
            "onnx fp32": lambda: self._sessions["fp32"].run(**inputs),
            "onnx int8": lambda: self._sessions["int8"].run(**inputs),
        }
        times = measure_side_by_side(functions, repeat=repeat)
        exact = self._sessions["fp32"].run(**inputs)
        coarse = self._sessions["int8"].run(**inputs)
        return {
            "ms": times,
            "ratio": times["onnx fp32"]["p50"] / times["torch fp32"]["p50"],
            "megabytes": {form: file.stat().st_size / 1e6 for form, file in self._files.items()},
            "int8_deviation": max(_deviation(exact[name], coarse[name]) for name in exact),
            "rest_ms": self._rest(inputs),
        }

    def _inputs(self, side: int) -> Inputs:
        """Random inputs, with `side` for the sizes that may vary but the batch."""
        generator = np.random.default_rng(side)
        return {name: self._input(name, tensor, side, generator) for name, tensor in self._signature.inputs.items()}

    def _input(self, name: str, tensor: torch.Tensor, side: int, generator: np.random.Generator) -> Array:
        if not tensor.is_floating_point():
            return tensor.numpy()
        axes = self._signature.sizes.get(name, {})
        shape = [1 if axis == 0 else side if axis in axes else size for axis, size in enumerate(tensor.shape)]
        return generator.random(shape, np.float32)

    def _torch(self, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype) -> object:
        with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return self._network(**tensors)

    def _rest(self, inputs: Inputs) -> float:
        self._sessions["fp32"].run(**inputs)
        before = time.process_time()
        time.sleep(IDLE_SECONDS)
        return (time.process_time() - before) * 1e3


def _deviation(exact: Array, coarse: Array) -> float:
    return float(np.abs(exact - coarse).max() / np.abs(exact).max())


if __name__ == "__main__":
    main()
