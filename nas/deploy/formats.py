"""The deployed form as a file: ONNX, a `torch.export` program, OpenVINO's IR; and as a function, in each runtime.

onnxruntime runs the ONNX file, OpenVINO its own, torch the graph or the program.
"""

import importlib
import threading
import warnings
from collections.abc import Callable, Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import fx
from torch.export import ExportedProgram

from genotypes import UserError
from nas.deploy.capture import errors_alone, one_at_a_time, program
from nas.subnormals import keep_flushing

if TYPE_CHECKING:
    import onnx

__all__ = [
    "INPUT",
    "OUTPUT",
    "RUNTIMES",
    "Run",
    "bf16_here",
    "check_runtime",
    "need",
    "onnx_model",
    "open_file",
    "open_graph",
    "open_model",
    "open_module",
    "save_openvino",
]

INPUT, OUTPUT = "picture", "probability"
RUNTIMES = ("torch", "onnxruntime", "openvino")
# Package -> the extra of this one that brings it.
_EXTRAS = {"onnx": "export", "onnxscript": "export", "onnxruntime": "export", "openvino": "openvino"}
_EXTRAS |= {"starlette": "serve", "uvicorn": "serve"}
_AXES = {0: "batch", 2: "height", 3: "width"}

Run = Callable[..., np.ndarray]  # of a network: float32 [B, 3, H, W] -> float32 [B, 1, H, W]


def need(package: str) -> Any:
    """A module of a package that is an extra of this one; UserError, naming the extra, where it is absent."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        name = package.partition(".")[0]
        raise UserError(f"this needs {name} ({error}): pip install 'sod-nas[{_EXTRAS[name]}]'") from None


@one_at_a_time()
def onnx_model(exported: ExportedProgram, facts: Mapping[str, str] | None = None) -> "onnx.ModelProto":
    """A program as ONNX, with input "picture", output "probability", and free axes called batch, height and width.

    facts: written into the file's metadata.
    """
    need("onnxscript")
    # It tells of packages that are not installed and of functions that will change.
    with errors_alone("torch.onnx"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converted = torch.onnx.export(exported, dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False)
    assert converted is not None  # None is the older exporter's answer
    model = converted.model_proto
    # What the exporter notes of every node (lines of this machine's files) is nobody's business.
    del model.graph.value_info[:]
    for node in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del node.metadata_props[:]
        node.ClearField("doc_string")
    del model.graph.metadata_props[:]
    for value in (*model.graph.input, *model.graph.output):
        for axis, name in _AXES.items():
            side = value.type.tensor_type.shape.dim[axis]
            if side.dim_param:
                side.dim_param = name
    model.producer_name, model.producer_version = "sod-nas", ""
    for key, text in (facts or {}).items():
        model.metadata_props.add(key=key, value=text)
    return model


def save_openvino(model: "onnx.ModelProto", path: Path) -> None:
    """The ONNX model as OpenVINO's IR: `path` (.xml) and the weights beside it (.bin), 32-bit floats.

    Raises OSError where they cannot be written.
    """
    ov = need("openvino")
    read = _core().read_model(model.SerializeToString())
    try:
        ov.save_model(read, path, compress_to_fp16=False)
    except RuntimeError as error:  # its own words say neither which file nor why
        raise OSError(f"OpenVINO cannot write it ({str(error).splitlines()[-1]}); is the disk full?") from None


def open_file(
    path: Path,
    *,
    threads: int = 1,
    size: tuple[int, int] | None = None,
    precision: str = "fp32",
    runtime: str | None = None,
) -> Run:
    """A file as a function: .onnx in onnxruntime (or the runtime openvino), .xml in OpenVINO, .pt2 in torch.

    size: (H, W) that will be fed one picture at a time, for what a runtime prepares for one size. precision: bf16 only
    in OpenVINO. Raises UserError where the runtime is not installed.
    """
    if path.suffix == ".onnx" and runtime != "openvino":
        return _onnxruntime(str(path), threads, size)
    if path.suffix in (".onnx", ".xml"):
        return _openvino(path, threads, size, precision)
    return open_module(torch.export.load(path).module())


def open_graph(graph: fx.GraphModule, runtime: str, *, size: tuple[int, int]) -> Run:
    """A graph that was deployed for one (H, W) `size`, as a function of a runtime: of one thread, but torch's.

    Raises UserError where `check_runtime` does.
    """
    check_runtime(runtime)
    if runtime == "torch":
        graph.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
        return open_module(graph)
    return open_model(onnx_model(program(graph, size)), runtime)


def open_model(model: "onnx.ModelProto | bytes", runtime: str, *, threads: int = 1, precision: str = "fp32") -> Run:
    """An ONNX model, or its file's bytes, as a function of onnxruntime or openvino; UserError: see `check_runtime`."""
    check_runtime(runtime, precision)
    written = model if isinstance(model, bytes) else model.SerializeToString()
    if runtime == "onnxruntime":
        return _onnxruntime(written, threads, None)
    return _openvino(written, threads, None, precision)


def check_runtime(runtime: str, precision: str = "fp32") -> None:
    """UserError for a runtime that is unknown, not installed, or does not compute in this precision."""
    if runtime not in RUNTIMES:
        raise UserError(f"unknown runtime {runtime!r}; there are: {', '.join(RUNTIMES)}")
    if runtime != "torch":
        need(runtime)
        if find_spec("onnxscript") is None:  # half a second to import, for whoever converts
            need("onnxscript")
    if runtime == "onnxruntime" and precision != "fp32":
        raise UserError(f"onnxruntime computes in fp32, not in {precision}: use the runtime torch or openvino")


def bf16_here() -> bool:
    """Whether OpenVINO computes in bf16 on this processor."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def open_module(module: torch.nn.Module) -> Run:
    """A module in evaluation mode as a function, computed by torch."""

    def run(pictures: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return module(torch.from_numpy(pictures).contiguous(memory_format=torch.channels_last)).numpy()

    return run


def _onnxruntime(model: str | bytes, threads: int, size: tuple[int, int] | None) -> Run:
    ort = need("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    for axis, side in zip(("batch", "height", "width"), (1, *size) if size else (), strict=False):
        options.add_free_dimension_override_by_name(axis, side)
    with keep_flushing():
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)))[0]


@cache
def _core() -> Any:
    """OpenVINO's Core, one for all of the process.

    Its processor plugin lends the thread a stack for signals and takes it back at the end. Where several come and go,
    one that is freed stays in place, and the next Ctrl-C ends the process.
    """
    return need("openvino").Core()


def _openvino(model: Path | bytes, threads: int, size: tuple[int, int] | None, precision: str) -> Run:
    core = _core()
    read = core.read_model(model)
    if size is not None:
        read.reshape([1, 3, *size])
    hints = {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else precision}
    compiled = core.compile_model(read, "CPU", hints | {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1})
    turn = threading.Lock()  # it computes for one thread at a time, and raises where another calls it meanwhile

    def run(*inputs: np.ndarray) -> np.ndarray:
        with turn:
            return compiled(inputs)[0]

    return run
