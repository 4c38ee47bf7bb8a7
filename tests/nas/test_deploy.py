"""The deployed form: the same numbers with less to compute, for any size, in every runtime."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import genotypes
import nas
from genotypes import Input, UserError
from nas.deploy import (
    INPUT,
    OUTPUT,
    PictureNetwork,
    deploy,
    onnx_model,
    open_file,
    open_graph,
    open_model,
    program,
    save_openvino,
)
from nas.deploy.capture import capture
from nas.deploy.folding import fold
from search_spaces import fusion_cells
from search_spaces.steps import avg_pool, max_pool

ATEN = torch.ops.aten
SIZES = ((32, 45), (97, 131), (64, 96))


def _lived_in(net: nn.Module) -> nn.Module:
    """Norms as after a training: a fresh one does next to nothing, and would hide a mistake in folding it."""
    generator = torch.Generator().manual_seed(0)
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.copy_(0.2 * torch.randn(norm.num_features, generator=generator))
            norm.running_var.copy_(0.5 + torch.rand(norm.num_features, generator=generator))
            if norm.affine:
                norm.weight.data = 0.5 + torch.rand(norm.num_features, generator=generator)
                norm.bias.data = 0.2 * torch.randn(norm.num_features, generator=generator)
    return net.eval()


def _network(name: str) -> nas.Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _lived_in(nas.build(genotypes.load(name)))


def _picture(batch: int, size: tuple[int, int]) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


def _targets(graph: torch.fx.GraphModule) -> list:
    return [node.target for node in graph.graph.nodes if node.op == "call_function"]


@pytest.fixture(scope="module")
def tiny() -> nas.Network:
    return _network("fpn_tiny")


@pytest.fixture(scope="module")
def tiny_graph(tiny: nas.Network) -> torch.fx.GraphModule:
    return deploy(tiny)


@pytest.fixture(scope="module")
def tiny_program(tiny_graph: torch.fx.GraphModule) -> torch.export.ExportedProgram:
    return program(tiny_graph)


@pytest.fixture(scope="module")
def fixed_graph(tiny: nas.Network) -> torch.fx.GraphModule:
    return deploy(tiny, size=(64, 96))


def _close(found: torch.Tensor | np.ndarray, expected: torch.Tensor) -> None:
    torch.testing.assert_close(torch.as_tensor(found), expected, rtol=0, atol=1e-5)


@pytest.mark.exports
@torch.no_grad()
def test_any_size_and_batch_without_norms(tiny, tiny_graph):
    assert ATEN.batch_norm.default not in _targets(tiny_graph)
    for batch, size in ((1, SIZES[0]), (3, SIZES[1]), (2, SIZES[2])):
        x = _picture(batch, size)
        mean, std = (
            torch.tensor(values).view(3, 1, 1) for values in (tiny.genotype.input.mean, tiny.genotype.input.std)
        )
        _close(tiny_graph(x), tiny((x - mean) / std)[0].sigmoid())


# One of each structure, at one size: seconds instead of a minute (benchmarks/export_zoo.py does the rest).
@pytest.mark.parametrize(
    "name", ["csnet_x1", "fpn_mobilenet_v2", pytest.param("csf_res2net50", marks=pytest.mark.slow)]
)
@torch.no_grad()
def test_norms_fold_through_sums_concatenations_and_resizes(name):
    net = _network(name)
    graph, x = deploy(net, size=(64, 96)), _picture(1, (64, 96))
    assert ATEN.batch_norm.default not in _targets(graph)
    _close(graph(x), PictureNetwork(net)(x))
    assert net.training is False and "scale" not in dict(net.named_buffers())


def test_the_network_is_left_as_it_is(tiny):
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    inplace = [module.inplace for module in tiny.modules() if hasattr(module, "inplace")]
    deploy(tiny, size=(32, 32))
    assert inplace == [module.inplace for module in tiny.modules() if hasattr(module, "inplace")]
    for key, value in tiny.state_dict().items():
        assert torch.equal(value, before[key]), key


@torch.no_grad()
def test_what_is_normalised_already_is_not_normalised_again(tiny):
    own = tiny.genotype.input
    other = Input(size=(32, 48), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    x = _picture(1, (32, 48))
    for fed in (replace(own, size=(32, 48)), other):
        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (fed.mean, fed.std))
        _close(deploy(tiny, size=(32, 48), fed=fed)((x - mean) / std), PictureNetwork(tiny)(x))


@torch.no_grad()
@pytest.mark.parametrize("size", [None, (32, 48), (96, 160)])
def test_what_was_resized_is_resized_to_what_the_network_is_meant_for(tiny, size):
    x = _picture(1, (64, 100))
    deployed = deploy(tiny, size=size, fed=Input(size=(64, 100), mean=(0.0,) * 3, std=(1.0,) * 3))
    sides = size or tiny.genotype.input.size
    small = F.interpolate(x, size=sides, mode="bilinear", antialias=True, align_corners=False)
    assert deployed(x).shape[2:] == sides
    _close(deployed(x), PictureNetwork(tiny)(small))


class _Case(nn.Module):
    """A branch for each rule of folding; `kind` chooses."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(3, 8, 1)
        self.wide, self.deep = nn.Conv2d(8, 64, 1), nn.Conv2d(3, 3, 3, padding=1, groups=3)
        self.norm, self.norms = nn.BatchNorm2d(8, eps=0.1), nn.BatchNorm2d(16)
        self.narrow, self.one, self.each = nn.Conv2d(8, 4, 1), nn.Conv2d(3, 1, 1), nn.Conv2d(8, 8, 1, groups=8)
        self.last = nn.Conv2d(8, 1, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = self.first(x), self.second(x)
        statistics = self.norm.running_mean, self.norm.running_var
        return {
            "sum": lambda: self.norm(a + F.interpolate(F.avg_pool2d(b, 2), size=x.shape[-2:])),
            "cat": lambda: self.norms(torch.cat([a, b], dim=1)),
            "shared": lambda: self.norm(a) + a,
            "twice": lambda: self.norm(a + a),
            "alpha": lambda: self.norm(torch.add(a, b, alpha=2)),
            "broadcast": lambda: self.norm(a + self.one(x)),
            "cat twice": lambda: self.norms(torch.cat([a, a], dim=1)),
            "padded": lambda: self.norm(F.avg_pool2d(a, 2, padding=1)),
            "divisor": lambda: self.norm(F.avg_pool2d(a, 2, divisor_override=3)),
            "pool": lambda: self.norm(F.max_pool2d(a, 2)),
            "chain": lambda: self.narrow(self.first(x)),
            "widening": lambda: self.wide(a),
            "padded chain": lambda: F.conv2d(a, self.narrow.weight, padding=1),
            "strided chain": lambda: F.conv2d(a, self.narrow.weight, stride=2),
            "grouped chain": lambda: self.each(a),
            "biased chain": lambda: self.narrow(b),
            "kernel chain": lambda: self.last(a),
            "shared chain": lambda: self.narrow(a) + a[:, :4],
            "depthwise": lambda: self.one(self.deep(x)),
            "plain": lambda: F.batch_norm(a, *statistics),
            "training": lambda: F.batch_norm(a, *statistics, training=True),
            "mean": lambda: F.batch_norm(a, statistics[0] * 2, statistics[1]),
            "half a sum": lambda: self.norm(a + b.relu()),
            "half a cat": lambda: self.norms(torch.cat([a, b.relu()], dim=1)),
            "rows": lambda: self.norm(torch.cat([a, b], dim=2)),
            "pooled": lambda: self.norm(F.avg_pool2d(a.relu(), 2)),
            "weight": lambda: self.norm(F.conv2d(x, self.first.weight * 2, padding=1)),
            "weight chain": lambda: self.narrow(F.conv2d(x, self.first.weight * 2, padding=1)),
            "mix chain": lambda: F.conv2d(a, self.narrow.weight * 2),
            "outer bias chain": lambda: F.conv2d(a, self.narrow.weight, self.narrow.bias * 2),
            "scale": lambda: F.batch_norm(a, *statistics, self.norm.weight * 2, self.norm.bias),
            "bias": lambda: self.norm(F.conv2d(x, self.first.weight, self.norm.bias * 2, padding=1)),
            "bias chain": lambda: self.narrow(F.conv2d(x, self.first.weight, self.norm.bias * 2, padding=1)),
        }[self.kind]()


@pytest.mark.parametrize(
    ("kind", "norms", "convolutions"),
    [
        ("sum", 0, 2),
        ("cat", 0, 2),
        ("shared", 1, 1),  # the convolution is read twice: with the norm in it, the other reader would be wrong
        ("twice", 1, 1),
        ("alpha", 1, 2),
        ("broadcast", 1, 2),  # its one channel is each of the eight
        ("cat twice", 1, 1),
        ("padded", 1, 1),  # at the rim zeros count, which have no shift
        ("divisor", 1, 1),
        ("pool", 1, 1),  # a negative scale turns the largest into the smallest
        ("chain", 0, 1),
        ("widening", 0, 2),  # 3x3 to 8 and 1x1 to 64 are cheaper as two
        ("padded chain", 0, 2),
        ("strided chain", 0, 2),
        ("grouped chain", 0, 2),
        ("biased chain", 0, 1),
        ("kernel chain", 0, 2),
        ("shared chain", 0, 2),
        ("depthwise", 0, 2),
        ("plain", 0, 1),
        ("training", 1, 1),
        ("mean", 1, 1),
        ("half a sum", 1, 2),
        ("half a cat", 1, 2),
        ("rows", 1, 2),
        ("pooled", 1, 1),
        ("weight", 1, 1),
        ("weight chain", 0, 2),
        ("mix chain", 0, 2),
        ("outer bias chain", 0, 2),
        ("scale", 1, 1),  # what is computed was taken for what is left out
        ("bias", 1, 1),
        ("bias chain", 0, 2),
    ],
)
@torch.no_grad()
def test_what_folds_and_what_does_not(kind, norms, convolutions):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = _lived_in(_Case(kind))
    graph, x = capture(module, (12, 14)), _picture(1, (12, 14))
    fold(graph)
    targets = _targets(graph)
    assert targets.count(ATEN.batch_norm.default) == norms
    assert targets.count(ATEN.conv2d.default) == convolutions
    _close(graph(x), module(x))
    held = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}
    assert held == {node.target for node in graph.graph.nodes if node.op == "get_attr" and node.users}


@pytest.mark.parametrize(("ours", "pool"), [(avg_pool, F.avg_pool2d), (max_pool, F.max_pool2d)])
@pytest.mark.parametrize("k", [2, 4])
def test_pools_that_round_down_leave_a_pixel(ours, pool, k):
    for height in range(1, 10):
        for width in range(1, 10):
            x = _picture(2, (height, width))
            expected = pool(x, (min(k, height), min(k, width)))
            torch.testing.assert_close(ours(x, (0, 0), factor=k), expected, rtol=0, atol=0 if k == 2 else 1e-7)


class _Halved(nn.Module):
    """A feature of stride 32, halved again after what makes the tracer take it for more than a pixel."""

    def __init__(self, pool) -> None:
        super().__init__()
        self.pool = pool
        self.coarse, self.mix = nn.Sequential(*(nn.Conv2d(3, 3, 3, 2, 1) for _ in range(5))), nn.Conv2d(3, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.coarse(x)
        half = self.mix(self.pool(x, (0, 0), factor=2))
        return self.pool(x + F.interpolate(half, size=x.shape[2:]), (0, 0), factor=4)


@pytest.mark.exports
@pytest.mark.parametrize("pool", [avg_pool, max_pool])
@torch.no_grad()
def test_a_feature_of_one_pixel_is_halved_in_graphs_and_files_of_free_sizes(pool):
    module = _Halved(pool).eval()
    runs: dict[str, Callable[..., torch.Tensor | np.ndarray]] = {"torch": capture(module)}
    model = onnx_model(program(module)) if find_spec("onnxscript") else None
    for runtime in ("onnxruntime", "openvino"):
        if find_spec(runtime) and model:
            run = open_model(model, runtime)
            runs[runtime] = lambda x, run=run: run(x.numpy())
    for size in (*SIZES, (32, 32), (33, 65), (128, 255)):
        x = _picture(2, size)
        for run in runs.values():
            _close(run(x), module(x))


@torch.no_grad()
def test_a_program_without_a_terminal_converts(monkeypatch):
    monkeypatch.setattr("sys.stderr", None)
    assert program(nn.Conv2d(3, 1, 1), (32, 32)).graph.nodes


@torch.no_grad()
def test_an_old_torch_is_told(tiny, monkeypatch):
    monkeypatch.setattr(torch, "__version__", "2.8.0")
    with pytest.raises(UserError, match=r"any size needs torch 2.9 to be exported; here is 2.8.0"):
        program(tiny)


@pytest.mark.exports
def test_a_program_takes_every_size_and_says_which_it_does_not(tiny_program, tiny_graph, tmp_path):
    torch.export.save(tiny_program, tmp_path / "model.pt2")
    loaded = torch.export.load(tmp_path / "model.pt2")
    assert loaded.example_inputs is None
    with ZipFile(tmp_path / "model.pt2") as file:
        assert not any(str(Path(__file__).parents[2]).encode() in file.read(name) for name in file.namelist())
    module = loaded.module()
    for batch, size in ((1, (32, 32)), (3, (97, 131)), (1, (64, 64)), (2, (33, 95))):
        x = _picture(batch, size)
        assert torch.equal(module(x), tiny_graph(x))
    for size in ((16, 64), (64, 16)):
        with pytest.raises(Exception, match="32"):
            module(_picture(1, size))


@pytest.mark.exports
def test_onnx_and_its_metadata(tiny, tiny_program, tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs the extra `export`")
    pytest.importorskip("onnxruntime", reason="needs the extra `export`")
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    model = onnx_model(tiny_program, {"genotype_hash": tiny.genotype.hash})
    onnx.checker.check_model(model)
    onnx.save(model, tmp_path / "model.onnx")
    ((picture,), (probability,)) = model.graph.input, model.graph.output
    assert (picture.name, probability.name) == (INPUT, OUTPUT)
    for value, channels in ((picture, 3), (probability, 1)):
        axes = [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        assert axes == ["batch", channels, "height", "width"]
    assert {prop.key: prop.value for prop in model.metadata_props} == {"genotype_hash": tiny.genotype.hash}
    assert str(Path(__file__).parents[2]).encode() not in model.SerializeToString()
    run, fixed = open_file(tmp_path / "model.onnx"), open_file(tmp_path / "model.onnx", size=(64, 96))
    with torch.no_grad():
        for size in SIZES:
            for batch in (1, 3):
                x = _picture(batch, size)
                _close(run(x.numpy()), PictureNetwork(tiny)(x))
        x = _picture(1, (64, 96))
        _close(fixed(x.numpy()), PictureNetwork(tiny)(x))


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime", "openvino"])
@torch.no_grad()
def test_every_runtime_runs_the_graph(tiny, fixed_graph, runtime, tmp_path):
    if runtime != "torch":
        pytest.importorskip(runtime, reason=f"needs {runtime}")
        pytest.importorskip("onnxscript", reason="needs the extra `export`")
    x = _picture(1, (64, 96))
    run = open_graph(fixed_graph, runtime, size=(64, 96))
    _close(run(x.numpy()), PictureNetwork(tiny)(x))
    if runtime == "openvino":
        save_openvino(onnx_model(program(fixed_graph, (64, 96))), tmp_path / "model.xml")
        _close(open_file(tmp_path / "model.xml")(x.numpy()), PictureNetwork(tiny)(x))


_SIGNAL_AFTER_OPENVINO = """
import gc, os, signal, sys
from pathlib import Path
import numpy as np, openvino as ov, openvino.opset13 as op
from nas.deploy import open_file

file = Path(sys.argv[1])
picture = op.parameter([1, 3, 32, 32], np.float32)
ov.save_model(ov.Model([op.relu(picture)], [picture]), file)
first, second = open_file(file), open_file(file)
for run in (first, second):
    run(np.zeros((1, 3, 32, 32), np.float32))
del first, run
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(7))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_after_openvino_is_handled(tmp_path):
    pytest.importorskip("openvino", reason="needs the extra `openvino`")
    words = [sys.executable, "-c", _SIGNAL_AFTER_OPENVINO, str(tmp_path / "model.xml")]
    assert subprocess.run(words, cwd=Path(__file__).parents[2]).returncode == 7  # not -SIGSEGV


@pytest.mark.exports
def test_an_unknown_runtime_is_told(tiny_graph):
    with pytest.raises(UserError, match=r"'tflite'.*torch, onnxruntime, openvino"):
        open_graph(tiny_graph, "tflite", size=(64, 64))


class _Branching(nn.Module):
    """Stands for a network with a plugin's operation that looks at values, or at sizes."""

    genotype = genotypes.load("fpn_tiny")

    def __init__(self, at: str) -> None:
        super().__init__()
        self.conv, self.at = nn.Conv2d(3, 1, 3, padding=1), at

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        y = self.conv(x)
        doubled = y.sum() > 0 if self.at == "values" else y.shape[2] > 80
        return [2 * y if doubled else y]


def test_a_supernet_is_not_deployed():
    with pytest.raises(UserError, match="fusion_cells_tiny cannot be deployed: it has open choices"):
        deploy(nas.build(fusion_cells("tiny", 4)))


@pytest.mark.exports
@pytest.mark.parametrize("at, told", [("values", "data-dependent"), ("sizes", "at 32 x 45 the graph differs by")])
def test_what_is_no_one_graph_is_told_in_words(at, told, capfd):
    with pytest.raises(UserError, match=f"fpn_tiny cannot be deployed: .*{told}"):
        deploy(_Branching(at))
    assert capfd.readouterr().err == ""  # torch prints the graph, hundreds of lines of a whole network's
