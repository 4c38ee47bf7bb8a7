"""Steps launched by Python against steps replayed from a graph, in one run: see benchmarks/gpu.sh.

A step is `Trainer.advance`, as every command makes it, on pictures made by the program. ms: of a step, over all that
fit in a second or two, the device waited for at the end. images/s, busy, kernels: of captured steps. busy: the sum of
the times of kernels and copies of a step, by torch.profiler; idle: 1 - busy / ms, where ms is that without the
profiler. GiB: the most that tensors took after the first step. Rows `_compiled`: what is captured is compiled code
(`--compile auto`), what is launched is not; the seconds are those of the first four steps, most of which are compiling.
"""

import argparse
import gc
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

import genotypes
from genotypes.files import write_text
from nas.network import build, to_device
from nas.options import from_dict, to_dict
from nas.run import open_device, seeded
from nas.search import SearchConfig, open_search
from nas.search.sandwich import Sandwich
from nas.search.training import search_trainer
from nas.task import AugmentConfig, fast_scores
from nas.training import Trainer
from retrain import Recipe
from retrain.recipe import load_recipe
from retrain.train import TrainConfig, open_training
from retrain.train.training import training_of

HERE = Path(__file__).resolve().parent
GIB = 2**30
STEPS = 100_000  # of a schedule that no row comes to the end of


@dataclass(frozen=True)
class Case:
    """What a row trains, and what is asked of captured against plain. expect: seconds that the row takes on an H100."""

    what: str
    make: Callable[["Bench", str], Trainer]
    images: int
    bar: str = ""
    expect: float = 8.0


@dataclass
class Bench:
    device: torch.device
    tiny: bool
    brought: Path | None
    began: float = field(default_factory=time.perf_counter)
    work: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="sod-nas-gpu-")))

    @property
    def spent(self) -> float:
        return time.perf_counter() - self.began

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


# ---------------------------------------------------------------------------------------------------- what is trained


def search_of(
    strategy: str,
    channels: int,
    size: int,
    *,
    batch: int = 16,
    precision: str = "fp32",
    compile: str = "off",
    **options: Any,
):
    """A search of MobileNetV2's FusionCells, its architecture moving from the first step on."""

    def make(bench: Bench, capture: str) -> Trainer:
        cfg = search_config(bench, strategy, channels, size, batch, precision, capture, options)
        cfg = replace(cfg, compile="off" if capture == "off" else compile)
        return search_trainer(cfg, open_search(cfg))[2]

    return make


def search_config(
    bench: Bench, strategy: str, channels: int, size: int, batch: int, precision: str, capture: str, options: Any
) -> SearchConfig:
    space: dict[str, Any] = {"name": "fusion_cells", "backbone": "mobilenet_v2", "channels": channels}
    if bench.tiny:
        space |= {"backbone": "tiny", "channels": 4, "operations": ["skip_connect", "conv_3x3"]}
        size, batch = 32, 2
    return from_dict(
        SearchConfig(),
        {
            "space": space,
            "strategy": {"name": strategy, **options},
            "data": f"synthetic:{4 * batch}",
            "size": size,
            "steps": STEPS,
            "warmup_steps": 0,
            "batch_size": batch,
            "precision": precision,
            "capture": capture,
            "device": str(bench.device),
        },
    )


def sandwich(bench: Bench, capture: str) -> Trainer:
    """Whole networks: the largest, the smallest and two random ones that stay for twenty steps."""
    space = {"name": "compact"} | ({"backbone": "tiny"} if bench.tiny else {"backbone": "mobilenet_v2"})
    values = to_dict(search_config(bench, "sandwich", 16, 192, 16, "fp32", capture, {"redraw": 20, "alone": 0.0}))
    cfg = from_dict(SearchConfig(), values | {"space": space, "size": 64 if bench.tiny else 192})
    setup = open_search(cfg)
    task = Sandwich(setup.net, setup.space, setup.weights, cfg.loss, cfg.strategy, steps=STEPS)  # type: ignore[arg-type]
    return Trainer(task, cfg.optim, STEPS, capture=cfg.capture)


def training(genotype: str, recipe: str, *, compile: str = "off", **changes: Any):
    """A genotype by a recipe."""

    def make(bench: Bench, capture: str) -> Trainer:
        chosen: Recipe = replace(load_recipe(recipe), steps=STEPS, epochs=0.0, **changes)
        name = genotype
        if bench.tiny:
            chosen, name = replace(chosen, size=32, batch_size=2, dynamic_decay=0.0), "fpn_tiny"
        cfg = TrainConfig(
            genotype=name,
            recipe=chosen,
            data=f"synthetic:{2 * chosen.batch_size}",
            held_out=0.1,
            capture=capture,  # type: ignore[arg-type]
            compile="off" if capture == "off" else compile,  # type: ignore[arg-type]
            device=str(bench.device),
        )
        return training_of(cfg, open_training(cfg))[0]

    return make


def package(name: str, size: int, batch: int, compile: str = "off") -> dict[str, Case]:
    """A network of the package by the recipe of a GPU, in both precisions; batches of one size, to be comparable."""
    suffix, expect = ("", 8.0) if compile == "off" else ("_compiled", 120.0)
    augment = AugmentConfig(flip=0.5, crop=0.3, rotate=8.0, colour=0.25)
    return {
        f"{name}_{precision}{suffix}": Case(
            f"training, {name}, {size} px, batch {batch}, {precision}{suffix.replace('_', ', ')}",
            training(
                name, "photos_gpu", compile=compile, size=size, batch_size=batch, precision=precision, augment=augment
            ),
            batch,
            expect=expect,
        )
        for precision in ("fp32", "bf16")
    }


SEARCHED = str(HERE / "searched_mobilenet_v2.yaml")
RECIPE = str(HERE / "photos_recipe.yaml")
CASES = {
    "darts_32": Case("search, darts, C = 32, 160 px, batch 16", search_of("darts", 32, 160), 32, ">= 4.5 x", 14),
    "darts_128": Case(
        "search, darts, C = 128, 320 px, batch 16", search_of("darts", 128, 320), 32, ">= 2.5 x, <= 20 GiB", 18
    ),
    "darts_128_bf16": Case(
        "the same, bf16", search_of("darts", 128, 320, precision="bf16"), 32, ">= 1.2 x as fast as without", 18
    ),
    "train_16": Case("training, searched network, 160 px, batch 16", training(SEARCHED, RECIPE), 16, ">= 7 x", 8),
    "train_64": Case("the same, batch 64", training(SEARCHED, RECIPE, batch_size=64), 64, ">= 3,000 images/s", 8),
    "train_64_bf16": Case(
        "the same, batch 64, bf16", training(SEARCHED, RECIPE, batch_size=64, precision="bf16"), 64, "", 8
    ),
    "darts_32_bf16": Case(
        "search, darts, C = 32, 160 px, bf16", search_of("darts", 32, 160, precision="bf16"), 32, "", 14
    ),
    "csnet": Case("training, csnet_l_x2, 224 px, batch 24", training("csnet_l_x2", "csnet"), 24, ">= 3 x"),
    "minet": Case(
        "training, minet_vgg16, 320 px, batch 4", training("minet_vgg16", "minet"), 4, ">= 3 x if launch-bound"
    ),
    "auto_msfnet": Case(
        "training, auto_msfnet_vgg16, 256 px, batch 16",
        training("auto_msfnet_vgg16", "auto_msfnet"),
        16,
        ">= 3 x if launch-bound",
    ),
    "gdas": Case("search, gdas, C = 32, 160 px", search_of("gdas", 32, 160), 32),
    "gdas_32": Case(
        "search, gdas, C = 32, 160 px, a path stays 32 steps", search_of("gdas", 32, 160, redraw=32), 32, ">= 3 x"
    ),
    "one_shot": Case(
        "search, one_shot, C = 32, 160 px, a path stays 16 steps",
        search_of("one_shot", 32, 160, redraw=16),
        16,
        ">= 3 x",
    ),
    "one_shot_32": Case(
        "search, one_shot, C = 32, 160 px, a path stays 32 steps",
        search_of("one_shot", 32, 160, redraw=32),
        16,
        ">= 3 x",
    ),
    "pc_darts": Case("search, pc_darts, C = 32, 160 px", search_of("pc_darts", 32, 160), 32, "", 12),
    "drnas": Case("search, drnas, C = 32, 160 px", search_of("drnas", 32, 160), 32, "", 14),
    "darts_2nd": Case("search, darts_2nd, C = 32, 160 px", search_of("darts_2nd", 32, 160), 32, "", 25),
    "sandwich": Case("search, sandwich, 192 px, members stay 20 steps", sandwich, 16, "", 15),
    **package("sod_s", 128, 64),
    **package("sod_m", 224, 32),
    **package("sod_l", 256, 32),
    "darts_32_compiled": Case(
        "search, darts, C = 32, 160 px, compiled", search_of("darts", 32, 160, compile="auto"), 32, ">= 4.5 x", 100
    ),
    "darts_128_compiled": Case(
        "search, darts, C = 128, 320 px, compiled",
        search_of("darts", 128, 320, compile="auto"),
        32,
        ">= 2.5 x, <= 20 GiB",
        100,
    ),
    "darts_128_bf16_compiled": Case(
        "the same, bf16",
        search_of("darts", 128, 320, precision="bf16", compile="auto"),
        32,
        ">= 2.5 x darts_128 launched, <= 20 GiB",
        100,
    ),
    "train_16_compiled": Case(
        "training, searched network, 160 px, batch 16, compiled",
        training(SEARCHED, RECIPE, compile="auto"),
        16,
        ">= 7 x",
        100,
    ),
    **package("sod_l", 256, 32, compile="auto"),
}


# -------------------------------------------------------------------------------------------------- how it is measured


@dataclass(frozen=True)
class Timing:
    ms: float
    busy: float  # ms; NaN where there is no GPU
    kernels: int
    gib: float
    replayed: int
    steps: int
    reason: str


def timed(bench: Bench, case: Case, capture: str, seconds: float) -> Timing:
    trainer = case.make(bench, capture)
    began = time.perf_counter()
    for done in range(4):  # two as they are (the second compiles), one captured, one replayed
        trainer.advance()
        if done == 0 and bench.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(bench.device)
    bench.wait()
    begun = time.perf_counter() - began
    began = time.perf_counter()
    for done in itertools.count(1):
        trainer.advance()
        if done == 2:  # so that as many follow as fit; launching ahead is part of what is measured
            bench.wait()
            each = (time.perf_counter() - began) / 2
            first, began = trainer.step, time.perf_counter()
            last = first + max(3, min(200, int(seconds / each)))
        if done > 2 and trainer.step >= last:
            break
    bench.wait()
    ms = 1000 * (time.perf_counter() - began) / (trainer.step - first)
    trainer.check()  # a loss that is not finite is no timing
    busy, kernels = device_time(bench, trainer, 20 if capture != "off" and ms < 30 else 3)
    gib = torch.cuda.max_memory_allocated(bench.device) / GIB if bench.device.type == "cuda" else float("nan")
    reasons = [trainer.capture.reason, trainer.compiled.reason and f"not compiled: {trainer.compiled.reason}"]
    if trainer.compiled.on:
        reasons.append(f"{trainer.compiled.summary()}; {begun:.0f} s for the first four")
    reason = "; ".join(filter(None, reasons)).replace("|", "/")
    timing = Timing(ms, busy, kernels, gib, trainer.capture.replayed, trainer.step, reason)
    del trainer
    gc.collect()
    return timing


def device_time(bench: Bench, trainer: Trainer, steps: int) -> tuple[float, int]:
    """(ms of kernels and copies of a step, how many of them)."""
    if bench.device.type != "cuda":
        return float("nan"), 0
    with profile(activities=[ProfilerActivity.CUDA]) as recorded:
        for _ in range(steps):
            trainer.advance()
        bench.wait()
    device = torch.autograd.DeviceType.CUDA
    # What torch marks on the device's timeline (an optimiser's step) is no work of its own.
    found = [
        event.duration_ns()
        for event in recorded.profiler.kineto_results.events()
        if event.device_type() == device and not event.name().startswith(("Optimizer.", "ProfilerStep"))
    ]
    return sum(found) / 1e6 / steps, round(len(found) / steps)


def step_row(bench: Bench, name: str) -> list[str]:
    case = CASES[name]
    seconds = 0.2 if bench.tiny else 1.5
    plain = timed(bench, case, "off", seconds)
    captured = timed(bench, case, "auto", seconds)
    numbers = [plain.ms, captured.ms, plain.ms / captured.ms, 1000 * case.images / captured.ms, captured.busy]
    idle = [100 * (1 - one.busy / one.ms) for one in (plain, captured)]
    replayed = f"{captured.replayed} of {captured.steps}" + (f" ({captured.reason})" if captured.reason else "")
    cells = [shown(number) for number in (*numbers, captured.kernels, *idle, plain.gib, captured.gib)]
    return [name, case.what, *cells, replayed, case.bar]


def shown(number: float) -> str:
    """Three digits; nothing of what a CPU does not tell."""
    if not number or number != number:
        return "-"
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


STEP_HEAD = (
    "row|a step|launched, ms|captured, ms|ratio|images/s|busy, ms|kernels and copies|idle, launched, %|"
    "idle, captured, %|GiB, launched|GiB, captured|replayed|bar"
)


# ---------------------------------------------------------------------------------------------------- other rows


def device_row(bench: Bench) -> list[str]:
    """What it runs on."""
    lines = [f"torch {torch.__version__}, Python {sys.version.split()[0]}, device {bench.device}"]
    if bench.device.type == "cuda":
        p = torch.cuda.get_device_properties(bench.device)
        lines.append(
            f"{p.name}, {p.total_memory / GIB:.0f} GiB, {p.multi_processor_count} multiprocessors, "
            f"CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}"
        )
        for dtype in (torch.float32, torch.bfloat16):
            lines.append(
                f"measured peak {peak(bench, dtype):.0f} TFLOP/s {'tf32' if dtype == torch.float32 else 'bf16'}"
            )
    return lines


def peak(bench: Bench, dtype: torch.dtype) -> float:
    """TFLOP/s of a matrix product of 8192 x 8192."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    a, b = (torch.randn(8192, 8192, device=bench.device, dtype=dtype) for _ in range(2))
    for _ in range(3):
        a @ b
    bench.wait()
    began = time.perf_counter()
    for _ in range(10):
        a @ b
    bench.wait()
    torch.backends.cuda.matmul.allow_tf32 = before
    return 10 * 2 * 8192**3 / (time.perf_counter() - began) / 1e12


def distance(mine: torch.Tensor, other: torch.Tensor) -> float:
    mine, other = mine.detach().double().cpu(), other.detach().double().cpu()
    return float((mine - other).norm() / other.norm().clamp_min(1e-30))


@contextmanager
def exact() -> Iterator[None]:
    """float32 without tf32, which rounds to ten bits."""
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


@exact()
def zoo_row(bench: Bench) -> list[str]:
    """Every network of the zoo, its maps on the device against the CPU's; fp32 without tf32."""
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    found = {}
    for name in genotypes.names()[: 2 if bench.tiny else None]:
        with seeded(0):
            net = build(genotypes.load(name)).eval()
        with torch.no_grad():
            there = net(x)[0]
            found[name] = distance(to_device(net, bench.device)(x.to(bench.device))[0], there)
    worst = max(found, key=found.__getitem__)
    return [f"{len(found)} networks of the zoo, device against CPU: at most {found[worst]:.1e} ({worst})"]


@exact()
def strategies_row(bench: Bench) -> list[str]:
    """Three steps of every strategy, device against CPU; 20 captured against launched, beside twice launched."""
    lines = []
    small = replace(bench, tiny=True)
    on_cpu = replace(small, device=torch.device("cpu"))
    for strategy in ("darts", "darts_2nd", "pc_darts", "drnas", "gdas", "one_shot"):
        here, there = (after(search_of(strategy, 4, 32)(one, "off"), 3) for one in (small, on_cpu))
        drawn = " (draws of its own on each device)" if strategy == "drnas" else ""
        lines.append(f"{strategy}, 3 steps, device against CPU: losses {distance(here[0], there[0]):.1e}{drawn}")
    cases = {name: search_of(name, 4, 32) for name in ("darts", "darts_2nd", "pc_darts", "drnas")}
    cases |= {name: search_of(name, 4, 32, redraw=5) for name in ("gdas", "one_shot")}
    for name, make in (cases | {"training": training("fpn_tiny", RECIPE)}).items():
        captured, plain, again = (after(make(small, capture), 20) for capture in ("auto", "off", "off"))
        losses, weights = (distance(captured[i], plain[i]) for i in (0, 1))
        noise = [distance(again[i], plain[i]) for i in (0, 1)]
        lines.append(
            f"{name}, 20 steps, captured against launched: losses {losses:.1e} (twice launched: {noise[0]:.1e}), "
            f"weights {weights:.1e} ({noise[1]:.1e})"
        )
    return lines


def after(trainer: Trainer, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(the losses of these steps, all weights after them)."""
    losses = []
    for _ in range(steps):
        trainer.advance()
        losses.append(trainer.totals.means()["train"])
    trainer.check()
    return torch.tensor(losses), torch.cat([p.detach().flatten().cpu() for p in trainer.net.parameters()])


def scoring_row(bench: Bench) -> list[str]:
    """The F-curve and MAE of maps, on the device."""
    n = 20 if bench.tiny else 1000
    maps = torch.rand(n, 1, 160, 160, device=bench.device)
    masks = (torch.rand(n, 1, 160, 160, device=bench.device) > 0.5).to(torch.uint8) * 255
    fast_scores(maps, masks)
    bench.wait()
    began = time.perf_counter()
    fast_scores(maps, masks)
    bench.wait()
    return [f"maxF and MAE of {n} maps of 160 px: {1000 * (time.perf_counter() - began):.1f} ms"]


def command(bench: Bench, *words: str) -> tuple[float, str]:
    """(seconds, output) of a command; RuntimeError with the end of it where it fails."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=HERE.parent)
    if done.returncode:
        raise RuntimeError(f"{words[0]} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
    return time.perf_counter() - began, done.stdout


def photos_row(bench: Bench) -> list[str]:
    """The two commands of `make photos` end to end, by the recipe of a CPU."""
    out = bench.work / "photos"
    shared = ["--cache", str(bench.work / "cache"), "--device", str(bench.device)]
    if bench.tiny:
        small = "--backbone tiny --channels 4 --export_channels 4 --size 32 --steps 4 --warmup_steps 1 --batch_size 4"
        search = ["--data", "synthetic:40", *small.split(), "--operations", "[skip_connect, conv_3x3]"]
        search += ["--rivals", "0", "--worth_seconds", "0", "--select", "1"]
        train = ["--recipe.epochs", "0", "--recipe.steps", "4", "--recipe.least_steps", "0", "--recipe.size", "32"]
        train += ["--quick_scores"]
    else:
        brought = needed(bench)
        search = ["--config", str(HERE / "photos.yaml"), "--data", f"DUTS-TR={brought / 'DUTS-TR'}"]
        train = ["--workers", "14", "--test", f"ECSSD={brought / 'ECSSD'}"]
    words = ["nas.search", *search, *shared]
    first, said = command(bench, *words, "--out", str(out / "search"))
    words = ["retrain.train", "--genotype", str(out / "search"), "--recipe", "photos_cpu", *train, *shared]
    second, more = command(bench, *words, "--out", str(out / "train"))
    kept = [line for line in (said + more).splitlines() if line.startswith(("scored", "trained", "ran "))]
    return [f"photographs: search {first:.0f} s, training {second:.0f} s, together {first + second:.0f} s", *kept]


def gate_row(bench: Bench) -> list[str]:
    """Is there anything to find: the command, with as few members as it takes."""
    words = ["--device", str(bench.device), "--out", str(bench.work / "gate")]
    if bench.tiny:
        words += ["--backbone", "tiny", "--size", "64", "--data", "synthetic:40", "--steps", "2", "--members", "3"]
        words += ["--repeats", "1", "--line", "2", "--batch_size", "2"]
    else:
        brought = needed(bench)
        words += ["--data", f"DUTS-TR={brought / 'DUTS-TR'}", "--limit", "2000", "--size", "160", "--members", "6"]
        words += ["--repeats", "2", "--line", "3", "--steps", "200"]
        words += ["--backbone_weights", str(brought / "mobilenet_v2_imagenet.pth"), "--backbone", "mobilenet_v2"]
    seconds, said = command(bench, "nas.benchmark.gate", *words)
    return [f"`nas.benchmark.gate`: {seconds:.0f} s", *said.strip().splitlines()[:4]]


def needed(bench: Bench) -> Path:
    if bench.brought is None:
        raise RuntimeError("needs --brought DIR, the folder that ../shared/gpu/bring.py packs")
    return bench.brought


# In order of worth: when time is up, what is left is not measured. The seconds that each takes on an H100.
OTHERS: dict[str, tuple[Callable[[Bench], list[str]], float]] = {
    "device": (device_row, 3),
    "zoo": (zoo_row, 12),
    "strategies": (strategies_row, 25),
    "scoring": (scoring_row, 2),
    "photos": (photos_row, 150),
    "gate": (gate_row, 45),
}
ORDER = ["device", "darts_32", "darts_128", "train_16", "train_64", "scoring", "zoo", "photos", "darts_128_bf16"]
ORDER += [name for name in (*CASES, *OTHERS) if name not in ORDER]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    parser.add_argument("--list", action="store_true", help="name the rows")
    parser.add_argument("--brought", type=Path, help="unpacked folder of ../shared/gpu/bring.py")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu.md")
    parser.add_argument("--seconds", type=float, default=240.0, help="no row begins that would not end by then")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to see that it runs: no measurement")
    args = parser.parse_args()
    if args.list:
        print(*ORDER, sep="\n")
        return
    if unknown := [row for row in args.rows if row not in ORDER]:
        parser.error(f"unknown row {unknown[0]!r}; there are: {', '.join(ORDER)}")
    bench = Bench(open_device(args.device), args.tiny, args.brought)
    try:
        failed = run_rows(bench, args.rows or ORDER, args.seconds, args.out)
    finally:
        shutil.rmtree(bench.work)
    if failed:
        sys.exit(f"rows that failed: {', '.join(failed)}")


def run_rows(bench: Bench, rows: list[str], seconds: float, out: Path) -> list[str]:
    """Each row in its turn; the report is written after each, so that what was measured is there whatever happens."""
    steps: list[list[str]] = []
    lines: list[str] = []
    failed = []
    for name in rows:
        expect = 0.0 if bench.tiny else CASES[name].expect if name in CASES else OTHERS[name][1]
        began = bench.spent
        try:
            if began + expect > seconds:
                lines.append(f"{name}: not measured, the time was up")
            elif name in CASES:
                steps.append(step_row(bench, name))
            else:
                lines += OTHERS[name][0](bench)
        except Exception as error:  # the other rows are measured all the same
            failed.append(name)
            lines.append(f"{name}: FAILED, {type(error).__name__}: {next(iter(str(error).splitlines()), '')}")
        gc.collect()
        if bench.device.type == "cuda":
            torch.cuda.empty_cache()
        print(f"[{bench.spent:5.0f} s] {name}: {bench.spent - began:.1f} s", file=sys.stderr, flush=True)
        write_text(out, report(steps, lines))  # what is measured is not lost
    print(report(steps, lines))
    return failed


def report(steps: list[list[str]], lines: list[str]) -> str:
    head = STEP_HEAD.split("|")
    table = [head, ["---"] * len(head), *steps] if steps else []
    return (
        "\n".join(
            ["| " + " | ".join(row) + " |" for row in table] + [""] * bool(table) + [f"- {line}" for line in lines]
        )
        + "\n"
    )


if __name__ == "__main__":
    main()
