"""`python -m nas.cost`: what genotypes cost, as an aligned table and as CSV."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

import genotypes
from genotypes.errors import check_least
from genotypes.files import check_file, write_csv
from nas.command import Command, aligned, run_command
from nas.cost import count, measure
from nas.cost.clock import warn_if_busy
from nas.cost.counting import Cost, check_decided
from nas.cost.measuring import Measurement
from nas.run import open_device
from nas.run.sizes import parse_size


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """What to count and measure.

    Attributes:
        genotypes: names of the zoo, files, or folders of runs (default: the whole zoo).
        out: also write the table as CSV.
        overwrite: replace a CSV that is there already.
        size: input side, or H,W (default: what each genotype says).
        by: a row for each cell, or for each edge and post step.
        device: cpu, cuda or auto.
        repeats: timed passes.
        latency: count only; neither latency nor memory.
    """

    genotypes: tuple[str, ...] = ()
    out: Path | None = None
    overwrite: bool = False
    size: tuple[int, ...] = ()
    by: Literal["cell", "edge"] | None = None
    device: str = "cpu"
    repeats: int = 20
    latency: bool = True

    def __post_init__(self) -> None:
        check_least(self, "--", repeats=1)

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        found = {} if self.latency else dict.fromkeys(("repeats", "device"), "--no_latency measures nothing")
        return found if self.out else found | {"overwrite": "it is for a CSV, which needs -o FILE"}


COMMAND = Command(
    config=CostConfig,
    name="nas.cost",
    description="What genotypes cost: parameters, multiply-adds, and on this machine latency and peak memory.",
    examples="""\
  python -m nas.cost minet_vgg16 csnet_l_x1              parameters, multiply-adds, latency, memory
  python -m nas.cost --no_latency -o zoo.csv             the whole zoo, counted only: seconds
  python -m nas.cost runs/a/genotype.yaml --size 224,320 --device cuda --repeats 100
  python -m nas.cost csnet_l_x2 --by cell                where the time goes; --by edge: in which operations""",
    notes="""
MMACs: millions of multiply-adds of convolutions and matrix products for one image, as the field counts them.
ms: median of one image in evaluation mode after warm-up, ±: from the first to the third quartile. peak MB: weights
and one forward pass, in 10^6 bytes. Torch's threads: set OMP_NUM_THREADS.""",
    first="genotypes size by latency repeats device out overwrite",
    positional="genotypes",
)


Row = Mapping[str, str | int | float]

# Column of a row -> its heading and how to show it; columns that are not here are for the CSV alone.
_SHOWN: dict[str, tuple[str, Callable[[Any], str]]] = {
    "genotype": ("genotype", str),
    "size": ("size", str),
    "part": ("part", str),
    "what": ("what", str),
    "params": ("params", "{:,}".format),
    "backbone_params": ("backbone", "{:,}".format),
    "cell_params": ("cells", "{:,}".format),
    "macs": ("MMACs", lambda macs: f"{macs / 1e6:,.1f}"),
    "macs_share": ("MACs %", "{:.1%}".format),
    "latency_ms": ("ms", "{:,.1f}".format),
    "spread_ms": ("± ms", "{:,.1f}".format),
    "latency_share": ("ms %", "{:.1%}".format),
    "peak_memory": ("peak MB", lambda size: f"{size / 1e6:,.1f}"),
}
_LEFT = ("genotype", "size", "part", "what")


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    size = parse_size(options.size)
    if options.out is not None:
        check_file(options.out, suffix=".csv", overwrite=options.overwrite)
    chosen = [genotypes.load(name) for name in options.genotypes or genotypes.names()]
    for genotype in chosen:  # before minutes of measuring, not after
        check_decided(genotype)
    device = open_device(options.device)
    timed = options.latency
    rows: list[Row] = []
    measured = None
    settings: dict[str, Any] = {"device": device, "size": size, "repeats": options.repeats, "by": options.by}
    with warn_if_busy() if timed else nullcontext():
        for genotype in tqdm(chosen, desc="measure", unit="net", disable=not timed or len(chosen) == 1):
            cost = count(genotype, size)
            if timed:
                measured = measure(genotype, memory=options.by is None, **settings)
            rows += _part_rows(cost, measured, options.by) if options.by else [_network_row(cost, measured)]
            if options.out is not None:  # what is measured is not lost, whatever comes
                write_csv(options.out, rows)
    print(_to_text(rows))
    if measured is not None:
        print(
            f"\n{measured.device}, CPU threads {measured.threads}, torch {torch.__version__}, repeats {options.repeats}"
        )
    if options.out is not None:
        print(f"saved   {options.out}")


def _network_row(cost: Cost, measured: Measurement | None) -> Row:
    """A network in one row."""
    row: dict[str, str | int | float] = {
        "genotype": cost.name,
        "size": f"{cost.size[0]}x{cost.size[1]}",
        "params": cost.params,
        "backbone_params": cost.backbone_params,
        "cell_params": cost.cell_params,
        "macs": cost.macs,
    }
    if measured is not None:
        row |= {
            "latency_ms": round(measured.latency_ms, 3),
            "spread_ms": round(measured.spread_ms, 3),
            "peak_memory": "" if measured.peak_memory is None else measured.peak_memory,
            "device": measured.device,
            "threads": measured.threads,
            "repeats": measured.repeats,
        }
    return row


def _part_rows(cost: Cost, measured: Measurement | None, by: str) -> list[Row]:
    """A network by its parts; what was timed and has no parameters of its own (resizes, sums) comes last."""
    rows: list[Row] = []
    known = {part.name: (part.what, part.params, part.macs) for part in getattr(cost, f"by_{by}")}
    times = {} if measured is None else measured.parts_ms
    whole = sum(times.values())
    for name in [*known, *(name for name in times if name not in known)]:
        what, params, macs = known.get(name, ("resize, combine", 0, 0))
        row: dict[str, str | int | float] = {
            "genotype": cost.name,
            "size": f"{cost.size[0]}x{cost.size[1]}",
            "part": name,
            "what": what,
            "params": params,
            "macs": macs,
            "macs_share": round(macs / max(1, cost.macs), 4),
        }
        if times:
            ms = times.get(name, 0.0)
            row |= {"latency_ms": round(ms, 3), "latency_share": round(ms / whole, 4)}
        rows.append(row)
    return rows


def _to_text(rows: Sequence[Row]) -> str:
    """An aligned table of the rows, which all have the same columns."""
    columns = [column for column in _SHOWN if column in rows[0]]
    lines = [[_SHOWN[column][0] for column in columns]]
    lines += [[_SHOWN[c][1](row[c]) if row[c] != "" else "-" for c in columns] for row in rows]
    return aligned(lines, right=[i for i, column in enumerate(columns) if column not in _LEFT])


if __name__ == "__main__":
    sys.exit(run_command(main))
