"""ONNX networks at run time: which processor runs them, with how many threads, and why."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fourd_ros.errors import InvalidInput, InvalidModel, MissingDependency
from fourd_ros.machine import pip_install

Processor = Literal["cuda", "cpu"]
Array = NDArray[Any]

PROVIDERS: dict[Processor, str] = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
PREFERENCE: tuple[Processor, ...] = ("cuda", "cpu")

MAX_THREADS = 4
"""More cores than this make networks of the shipped size slower, not faster."""

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(bool)": np.bool_,
}


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """What a network takes or gives under one name.

    Args:
        shape: sizes; a name where any size will do.
        dtype: of the elements.
    """

    shape: tuple[int | str, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, kw_only=True)
class SessionReport:
    """How a network is run.

    Args:
        processor: what runs it.
        threads: CPU threads inside one operator.
        reason: why this processor, for the log.
    """

    processor: Processor
    threads: int
    reason: str


class OnnxSession:
    """A network in an ONNX file, ready to run; safe to call from several threads.

    Idle threads sleep instead of spinning, so that the other core stays free for the rest of the robot.

    Args:
        path: the file.
        processors: in the order of preference; all that there are by default.
        threads: inside one operator; by default the cores this process may use, at most `MAX_THREADS`.

    Attributes:
        inputs: what `run` needs, by name.
        outputs: what `run` returns, by name.
        report: the processor chosen, and why.

    Raises:
        InvalidInput: a processor or number of threads that there is not.
        InvalidModel: there is no such file, it is no ONNX network, or it takes or gives types that are not known here.
        MissingDependency: onnxruntime is not installed, or has none of the processors.
    """

    def __init__(
        self, path: Path | str, *, processors: Sequence[Processor] = PREFERENCE, threads: int | None = None
    ) -> None:
        if not set(processors) <= set(PROVIDERS) or (threads is not None and threads < 1):
            raise InvalidInput(
                f"processors {list(processors)} and {threads} threads; there are {list(PROVIDERS)} and 1, 2 ..."
            )
        runtime = _runtime()
        self._session, self.report = _open(runtime, Path(path), tuple(processors), threads or _usable_threads())
        self.inputs = {value.name: _spec(value) for value in self._session.get_inputs()}
        self.outputs = {value.name: _spec(value) for value in self._session.get_outputs()}

    def run(self, **inputs: Array) -> dict[str, Array]:
        """Compute every output.

        Args:
            inputs: C-contiguous or not, of the type and sizes in `self.inputs`.

        Raises:
            InvalidInput: a name, type or size is not what the network takes.
        """
        _check(self.inputs, inputs)
        values = self._session.run(None, {name: np.ascontiguousarray(array) for name, array in inputs.items()})
        return dict(zip(self.outputs, values, strict=True))


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        hint = f"{pip_install('onnxruntime')} (onnxruntime-gpu for an NVIDIA GPU)"
        raise MissingDependency(f"ONNX networks need onnxruntime ({error}): {hint}") from error
    return onnxruntime


def _usable_threads() -> int:
    return min(len(os.sched_getaffinity(0)), MAX_THREADS)


def _open(runtime: Any, path: Path, wanted: tuple[Processor, ...], threads: int) -> tuple[Any, SessionReport]:
    if not path.is_file():
        raise InvalidModel(f"there is no file '{path}'; 'fourd export onnx' writes networks")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    there = runtime.get_available_providers()
    passed: list[str] = []
    for processor in wanted:
        if PROVIDERS[processor] not in there:
            passed.append(f"this onnxruntime has no {processor}")
            continue
        session = _session(runtime, path, options, PROVIDERS[processor])
        # onnxruntime falls back to the CPU by itself when a library of the GPU is missing.
        if session.get_providers()[0] == PROVIDERS[processor]:
            reason = "; ".join([*passed, f"{processor} is the first of {', '.join(wanted)} that works"])
            return session, SessionReport(processor=processor, threads=threads, reason=reason)
        passed.append(f"{processor} could not be started")
    raise MissingDependency(
        f"no network can run on {' or '.join(wanted)}: {'; '.join(passed)}; name another processor, "
        f"or for an NVIDIA GPU replace onnxruntime: {pip_install('onnxruntime-gpu')}"
    )


def _session(runtime: Any, path: Path, options: Any, provider: str) -> Any:
    try:
        return runtime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise InvalidModel(f"'{path}' is no ONNX network that can run here: {error}") from error


def _spec(value: Any) -> TensorSpec:
    if value.type not in _DTYPES:
        raise InvalidModel(f"'{value.name}' of an ONNX network is {value.type}; known are {list(_DTYPES)}")
    shape = tuple(size if isinstance(size, int) else str(size) for size in value.shape)
    return TensorSpec(shape=shape, dtype=np.dtype(_DTYPES[value.type]))


def _check(specs: Mapping[str, TensorSpec], inputs: Mapping[str, Array]) -> None:
    if set(inputs) != set(specs):
        raise InvalidInput(f"the network takes {sorted(specs)}, given were {sorted(inputs)}")
    sizes: dict[str, int] = {}  # what each named size is, the same in all inputs
    for name, array in inputs.items():
        spec = specs[name]
        if array.dtype != spec.dtype or not _fits(array.shape, spec.shape, sizes):
            named = f" with {sizes}" if sizes else ""
            raise InvalidInput(
                f"'{name}' is {array.dtype}{list(array.shape)}, needed {spec.dtype}{list(spec.shape)}{named}"
            )


def _fits(shape: tuple[int, ...], wanted: tuple[int | str, ...], sizes: dict[str, int]) -> bool:
    if len(shape) != len(wanted):
        return False
    pairs = zip(shape, wanted, strict=True)
    return all(size == (sizes.setdefault(want, size) if isinstance(want, str) else want) for size, want in pairs)
