"""Does the latency table predict whole networks? Predicted and measured milliseconds of random genotypes, side by side.

The networks are timed in turn with the candidates: on a machine that others use too, both then see the same load. With
--apart they are timed afterwards, one by one, as `python -m nas.cost` does: for a machine that does nothing else.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

import nas.cost
from genotypes import Genotype, UserError
from genotypes.files import write_csv
from nas.command import run_command
from nas.cost.latency import machine_name, measure_latencies
from nas.cost.measuring import prepare
from nas.run import open_device
from search_spaces import fusion_cells, minet

_SPACES = {"fusion_cells": fusion_cells, "minet": minet}


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    for name in ("genotypes", "repeats"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}: expected 1 or more")
    device = open_device(options.device)
    space = _SPACES[options.space](options.backbone, options.channels)
    rows = _compare(space, device, options)
    print(f"{space.name}, {options.channels} channels, {options.size} x {options.size}")
    print(f"{machine_name(device)}, threads {torch.get_num_threads()}, torch {torch.__version__}\n")
    print("genotype  predicted ms  measured ms   error")
    for row in rows:
        predicted, measured = row["predicted_ms"], row["measured_ms"]
        print(f"{row['genotype']:8}  {predicted:12.2f}  {measured:11.2f}  {100 * row['error']:+5.1f}%")
    errors = [abs(row["error"]) for row in rows]
    print(f"\nworst {100 * max(errors):.1f}%, median {100 * median(errors):.1f}% of {len(rows)} networks")
    if options.output is not None:
        write_csv(options.output, rows)


def _compare(space: Genotype, device: torch.device, options: argparse.Namespace) -> list[dict[str, float]]:
    size = (options.size, options.size)
    rng = random.Random(options.seed)
    drawn = [{edge: rng.choice(ops) for edge, ops in space.open_edges().items()} for _ in range(options.genotypes)]
    nets = [prepare(space.decide(choices), device, size) for choices in drawn]
    calls = [lambda net=net, x=x: lambda: net(x) for net, x in nets]
    fixed, table, measured = measure_latencies(space, size, device, options.repeats, () if options.apart else calls)
    if options.apart:
        settings = {"device": device, "size": size, "repeats": options.repeats, "memory": False}
        measured = [nas.cost.measure(net.genotype, **settings).latency_ms for net, _ in tqdm(nets, desc="measure")]
    rows = []
    for number, (choices, ms) in enumerate(zip(drawn, measured, strict=True)):
        predicted = fixed + sum(table[edge][op] for edge, op in choices.items())
        row = {"genotype": number, "predicted_ms": round(predicted, 4), "measured_ms": round(ms, 4)}
        rows.append(row | {"error": round(predicted / ms - 1, 4)})
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency_table",
        description=__doc__,
        epilog="Torch's threads: set OMP_NUM_THREADS.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--space", choices=sorted(_SPACES), default="fusion_cells", help="the search space")
    parser.add_argument("--backbone", default="tiny", help="a backbone of the vocabulary")
    parser.add_argument("--channels", type=int, default=32, help="width of the cells")
    parser.add_argument("--size", type=int, default=128, help="height and width of the input")
    parser.add_argument("--genotypes", type=int, default=24, help="random genotypes to predict")
    parser.add_argument("--seed", type=int, default=0, help="of the random genotypes")
    parser.add_argument("--repeats", type=int, default=50, help="timings of each candidate and network")
    parser.add_argument("--apart", action="store_true", help="time the networks by themselves, see above")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.csv", help="also write the table as CSV")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
