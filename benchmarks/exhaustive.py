"""Trains every network of the benchmark's space and packs the results into the table of `nas.benchmark`.

    python benchmarks/exhaustive.py train --out runs/table              # resumable; --workers 4 --worker 0: a quarter
    python benchmarks/exhaustive.py latency --out runs/table            # when the machine is quiet
    python benchmarks/exhaustive.py pack --out runs/table --to nas/benchmark/fusion.npz

With `--teacher SEED` a hidden network of the space draws the masks, and trainings start from the planted supernet
(`nas.benchmark.planted`). That table is loaded with `nas.benchmark.load(FILE)`.
One row a training is appended to `worker-I.csv`, so that a killed run loses at most the training under way.
"""

import argparse
import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import torch

from genotypes import Genotype, UserError
from genotypes.files import write_text
from nas.benchmark import TableProtocol, TableTrainer, members, planted_photographs, planted_supernet, space
from nas.cost import count, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("train", "latency", "pack"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the rows")
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each genotype")
    parser.add_argument("--teacher", type=int, help="plant an optimum: the teacher's seed")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the work")
    parser.add_argument("--worker", type=int, default=0, help="which of them this is")
    parser.add_argument("--to", type=Path, help="pack: the file to write")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    open_folder(args.out, args.teacher)
    try:
        {"train": train, "latency": latency, "pack": pack}[args.command](args)
    except UserError as error:
        parser.error(str(error))


def every_genotype() -> list[Genotype]:
    """Every network of the space, in the table's order."""
    return [space().decide(choices) for choices in members(space())]


def open_folder(out: Path, teacher: int | None) -> None:
    """Rows of another space or protocol must not mix with ours."""
    told = {"space": space().hash, "teacher": teacher, "protocol": dataclasses.asdict(TableProtocol())}
    path = out / "protocol.json"
    if not path.exists():
        write_text(path, json.dumps(told, indent=1) + "\n")
    elif json.loads(path.read_text()) != told:
        raise SystemExit(f"{path}: this folder was made with another space, teacher or protocol; give a new --out")


def read_rows(out: Path) -> dict[tuple[int, int], list[float]]:
    """(genotype, seed) -> seconds, then the curves of loss, maxF and MAE. A row cut short by a kill is left out."""
    length, rows = 3 + 3 * TableProtocol().points, {}
    for path in sorted(out.glob("worker-*.csv")):
        with path.open(newline="") as file:
            for row in csv.reader(file):
                if len(row) == length + 1 and row[-1] == "end":
                    rows[int(row[0]), int(row[1])] = [float(value) for value in row[2:-1]]
    return rows


def train(args: argparse.Namespace) -> None:
    """All genotypes with seed 0, then all with seed 1, ...: a table exists early."""
    protocol = TableProtocol()
    if args.teacher is None:
        trainer = TableTrainer(protocol)
    else:
        planted = planted_photographs(args.teacher, protocol)
        trainer = TableTrainer(protocol, planted, start=planted_supernet(args.teacher))
    genotypes, done = every_genotype(), read_rows(args.out)
    todo = [(i, seed) for seed in range(args.seeds) for i in range(len(genotypes))]
    todo = [pair for pair in todo[args.worker :: args.workers] if pair not in done]
    with (args.out / f"worker-{args.worker}.csv").open("a", newline="") as file:
        file.write("\n")  # ends a row that a kill cut short
        for at, (i, seed) in enumerate(todo):
            result = trainer(genotypes[i], seed)
            numbers = [f"{value:.6g}" for value in (result.seconds, *result.loss, *result.maxF, *result.MAE)]
            file.write(",".join([str(i), str(seed), *numbers, "end"]) + "\n")
            file.flush()
            print(f"{at + 1}/{len(todo)} genotype {i} seed {seed} loss {result.loss[-1]:.4f}", flush=True)


def latency(args: argparse.Namespace) -> None:
    """Milliseconds of one picture on one core. Rounds go over all genotypes, so that a busy moment spoils no one's."""
    genotypes = every_genotype()
    rounds = [[measure(g, repeats=10, memory=False).latency_ms for g in genotypes] for _ in range(5)]
    np.save(args.out / "latency.npy", np.median(rounds, axis=0), allow_pickle=False)


def pack(args: argparse.Namespace) -> None:
    """One compressed file of the seeds that all genotypes have been trained with."""
    protocol = TableProtocol()
    genotypes, rows = every_genotype(), read_rows(args.out)
    seeds = [s for s in range(args.seeds) if all((i, s) in rows for i in range(len(genotypes)))]
    if not seeds or args.to is None:
        raise UserError(
            f"{args.out}: {len(rows)} trainings, no seed is complete; train on" if not seeds else "give --to"
        )
    table = np.array([[rows[i, s] for s in seeds] for i in range(len(genotypes))], np.float32)
    curves = table[:, :, 1:].reshape(len(genotypes), len(seeds), 3, protocol.points)
    costs = [count(g, (protocol.size, protocol.size)) for g in genotypes]
    measured = args.out / "latency.npy"
    latency_ms = np.load(measured, allow_pickle=False) if measured.exists() else np.full(len(genotypes), np.nan)
    np.savez_compressed(
        args.to,
        loss=curves[:, :, 0],
        maxF=curves[:, :, 1],
        MAE=curves[:, :, 2],
        seconds=table[:, :, 0],
        params=np.array([cost.params for cost in costs], np.int32),
        macs=np.array([cost.macs for cost in costs], np.int32),
        latency_ms=latency_ms.astype(np.float32),
        seeds=np.array(seeds, np.int32),
        about=np.array((args.out / "protocol.json").read_text()),
    )
    print(f"{args.to}: {len(genotypes)} genotypes x {len(seeds)} seeds, {args.to.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
