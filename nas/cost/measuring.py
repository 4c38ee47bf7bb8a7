"""Latency and peak memory of a genotype's network on this machine."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import genotypes
from genotypes import Genotype, UserError
from genotypes.plugins import load_plugin
from nas.cost.clock import milliseconds, read_clock, timings
from nas.cost.counting import BY, check_decided, parts
from nas.network import Network, build, to_device
from nas.run import open_device, seeded, torch_threads
from nas.run.sizes import parse_size

__all__ = ["Measurement", "latencies", "measure", "prepare", "explain_too_little_memory"]

_CHILD = "import sys; from nas.cost.measuring import _print_peak_memory; _print_peak_memory(sys.argv[1:])"
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One image through the network, in evaluation and inference mode, 32-bit floats, channels last.

    latency_ms: median of `repeats` forward passes after warm-up, the device synchronised after each; spread_ms: from
    the first to the third quartile. threads: of torch on the CPU. peak_memory: bytes of weights and forward pass
    together: on the CPU resident memory, on a GPU what torch allocated; None where it was not measured.
    parts_ms: where a breakdown was asked for, median milliseconds of each part by its name.
    """

    device: str
    threads: int
    size: tuple[int, int]
    repeats: int
    latency_ms: float
    spread_ms: float
    peak_memory: int | None
    parts_ms: Mapping[str, float] = field(default_factory=dict)


def measure(
    genotype: Genotype,
    *,
    device: str | torch.device = "cpu",
    size: tuple[int, int] | None = None,
    repeats: int = 20,
    by: str | None = None,
    memory: bool = True,
) -> Measurement:
    """Measure a decided genotype's network with random weights on one image of (H, W) `size` (None: its own).

    by: "cell" or "edge" also times the parts, in passes of their own: synchronising around every part slows a GPU.
    "cell.(rest)" is then what a cell does outside its edges and post steps (resize, sum, concatenate), "(outputs)"
    what the network does outside its cells. memory: on the CPU this starts a process, which knows the operations
    of plugins but none that a notebook registered: give False there.

    Raises UserError for an open genotype, a size below 32, an absent device, and where memory does not suffice.
    """
    check_decided(genotype)
    size = parse_size(size) or genotype.input.size
    if repeats < 1:
        raise UserError(f"repeats {repeats}: expected 1 or more")
    if by is not None and by not in BY:
        raise UserError(f"unknown breakdown {by!r}; there are: {', '.join(BY)}")
    device = open_device(str(device))
    peak = None
    if memory and device.type == "cpu":
        peak = _cpu_peak_memory(genotype, size, torch.get_num_threads())
    with explain_too_little_memory(genotype, size), torch.inference_mode():
        watch = memory and device.type == "cuda"
        before = torch.cuda.memory_allocated(device) if watch else 0
        net, x = prepare(genotype, device, size)
        if watch:
            torch.cuda.reset_peak_memory_stats(device)
        times = _times(net, x, repeats)
        if watch:
            peak = torch.cuda.max_memory_allocated(device) - before
        parts_ms = _parts_ms(net, x, repeats, by) if by else {}
    return Measurement(
        device=_device_name(device),
        threads=torch.get_num_threads(),
        size=size,
        repeats=repeats,
        latency_ms=median(times),
        spread_ms=float(np.subtract(*np.percentile(times, (75, 25)))),
        peak_memory=peak,
        parts_ms=parts_ms,
    )


def latencies(
    networks: Mapping[str, tuple[Network, tuple[int, int]]],
    *,
    repeats: int = 10,
    seconds: float = 0.0,
    quantile: float = 0.0,
    runtime: str | None = None,
) -> dict[str, float]:
    """Milliseconds of one image of (H, W) through each network, in turn.

    The networks are in evaluation mode. repeats, seconds, quantile: see `nas.cost.clock.milliseconds`. runtime: one of
    `nas.deploy.RUNTIMES`, in which the deployed form of networks on the CPU is timed, on one thread; None: the networks
    as they are, on one device, with torch's threads. Raises UserError for a runtime that is not installed, and for a
    network that cannot be deployed.
    """
    if runtime is not None:
        with torch_threads(1):
            deployed = {label: _deployed(net, size, runtime) for label, (net, size) in networks.items()}
            return milliseconds(deployed, repeats=repeats, seconds=seconds, quantile=quantile)

    calls: dict[str, Callable[[], object]] = {}
    device = torch.device("cpu")
    for label, (net, size) in networks.items():
        device = next(net.parameters()).device
        calls[label] = partial(net, torch.zeros(1, 3, *size, device=device).to(memory_format=torch.channels_last))
    threads = torch.get_num_threads()
    with torch.inference_mode():
        return milliseconds(calls, repeats=repeats, seconds=seconds, device=device, threads=threads, quantile=quantile)


def _deployed(net: Network, size: tuple[int, int], runtime: str) -> Callable[[], object]:
    from nas.deploy import deploy, open_graph  # brings torch.export and sympy: a second

    run = open_graph(deploy(net, size=size), runtime, size=size)
    return partial(run, np.full((1, 3, *size), 0.5, np.float32))


def prepare(genotype: Genotype, device: torch.device, size: tuple[int, int]) -> tuple[Network, torch.Tensor]:
    """The network, as `retrain.predict` runs it but with random weights, and an input [1, 3, H, W]."""
    with seeded(0):
        net = to_device(build(genotype).eval(), device)
    x = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    return net, x.to(device, memory_format=torch.channels_last)


def _times(net: Network, x: torch.Tensor, repeats: int) -> list[float]:
    """Milliseconds of each of `repeats` forward passes, by the wall's clock: of what a user waits for."""
    return timings([lambda: lambda: net(x)], repeats=repeats, device=x.device)[:, 0].tolist()


def _parts_ms(net: Network, x: torch.Tensor, repeats: int, by: str) -> dict[str, float]:
    """Median milliseconds by part, with what is left of each cell and of the network."""
    timed = {part.name: part for part in parts(net, by) if part.module is not None}
    cells = {f"{part.name}.(rest)": part for part in parts(net, "cell") if part.kind == "cell"} if by == "edge" else {}
    marks: dict[str, list[float]] = {name: [] for name in (*timed, *cells)}
    handles = []
    for name, part in (timed | cells).items():
        assert part.module is not None
        handles += _clock(part.module, marks[name], x.device)
    try:
        totals = _times(net, x, repeats)
    finally:
        for handle in handles:
            handle.remove()
    ms = {name: 1000 * median(values[-repeats:]) for name, values in marks.items()}
    whole = sum(ms[name] for name, part in (timed | cells).items() if part.kind in ("backbone", "cell"))
    for name, cell in cells.items():
        inside = sum(ms[other] for other, part in timed.items() if part.cell == cell.cell)
        ms[name] = max(0.0, ms[name] - inside)
    return ms | {"(outputs)": max(0.0, median(totals) - whole)}


def _clock(module: nn.Module, seconds: list[float], device: torch.device) -> list:
    """Hooks that append the seconds of every call of the module."""
    begun = []

    def begin(*_: object) -> None:
        begun.append(read_clock(device))

    def end(*_: object) -> None:
        seconds.append(read_clock(device) - begun.pop())

    return [module.register_forward_pre_hook(begin), module.register_forward_hook(end)]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)


@contextlib.contextmanager
def explain_too_little_memory(genotype: Genotype, size: tuple[int, int]) -> Iterator[None]:
    """Inside, running out of memory is a UserError that names the genotype and the size."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:  # torch has no class of its own for the CPU's memory
        if not isinstance(error, MemoryError) and not any(words in str(error) for words in _NO_MEMORY):
            raise
        raise UserError(f"{genotype.name} at {size[0]} x {size[1]}: there is not enough memory for it here") from None


def _cpu_peak_memory(genotype: Genotype, size: tuple[int, int], threads: int) -> int | None:
    """Bytes of resident memory that weights and one forward pass add to Python and torch; None without /proc.

    A process of its own, since this one holds memory of what it did before, which a forward pass would reuse unseen;
    it runs the plugins that this one has run. Raises UserError where it fails, for instance for want of memory.
    """
    if not Path("/proc/self/status").is_file():
        return None
    plugins = [str(module.__file__) for name, module in sys.modules.items() if name.startswith("_plugin_")]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, *map(str, (*size, threads)), *plugins],
        input=genotypes.dumps(genotype),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed, as happens when memory runs out"])[-1]
        if "allocate memory" in reason:
            reason = "there is not enough of it here"
        raise UserError(f"{genotype.name} at {size[0]} x {size[1]}: memory could not be measured: {reason}")
    return int(done.stdout)


def _print_peak_memory(argv: Sequence[str]) -> None:
    """The child process: prints the bytes. argv: HEIGHT WIDTH THREADS [PLUGIN ...]; stdin: the genotype."""
    height, width, threads = map(int, argv[:3])
    for file in argv[3:]:
        load_plugin(file)
    torch.set_num_threads(threads)
    F.conv2d(torch.zeros(1, 8, 32, 32), torch.zeros(8, 8, 3, 3))  # loads what torch loads with its first convolution
    genotype = genotypes.loads(sys.stdin.read())
    before = _status_bytes("VmRSS")
    with torch.inference_mode():
        net, x = prepare(genotype, torch.device("cpu"), (height, width))
        with contextlib.suppress(OSError):  # where the mark cannot be reset, it includes the building of the network
            Path("/proc/self/clear_refs").write_text("5")
        net(x)
    print(_status_bytes("VmHWM") - before)


def _status_bytes(key: str) -> int:
    """VmRSS: resident now. VmHWM: most ever, of this program alone (getrusage's would include the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(key)).split()[1]) * 1024
