"""Images a second of a training in two processes of one thread, and in one of two, beside one process of one thread.

    python benchmarks/two_processes.py [GENOTYPE,SIZE,BATCH ...] [-o benchmarks/results/two_processes.csv]

BATCH is the whole one. One and two processes train in turn (`--rounds`), each started by torchrun; whole batches are
alike, so both compute the same. Of each the fastest `--steps` steps in a row count, since other programs only ever
slow. wall: images a second by the clock on the wall; it needs two free cores, for a step waits for the slower process,
and `busy` says whether they were. processor: the seconds of processor time that one process takes, over those that
each of two takes: what two free cores would give, waiting for one another left out. threads: images a second of one
process of two threads, over those of one thread.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from genotypes.files import write_csv
from nas.cost.clock import OtherPrograms

_TRAININGS = ["fpn_mobilenet_v2,160,32", "fpn_mobilenet_v2,160,128", "sod_s,120,32"]
_WARM_UP = 2
_WINDOWS = 3  # of `--steps` steps in each round


def work(genotype: str, size: int, batch: int, steps: int, out: Path) -> None:
    """In each process: seconds of each step by both clocks; the first writes them, the larger of the processes'."""
    import torch
    import torch.distributed as dist

    from nas.allocator import keep_freed_memory
    from nas.run.distributed import is_first, joined
    from retrain import Recipe
    from retrain.train import TrainConfig, open_training
    from retrain.train.training import training_of

    keep_freed_memory()  # as every command does
    with joined():
        recipe = Recipe(size=size, batch_size=batch, steps=_WARM_UP + steps * _WINDOWS)
        cfg = TrainConfig(genotype=genotype, data="synthetic:64", recipe=recipe)
        trainer, _ = training_of(cfg, open_training(cfg))
        times = []
        for _ in range(trainer.steps):
            began, used = time.perf_counter(), time.process_time()
            trainer.advance()
            trainer.check()
            times.append((time.perf_counter() - began, time.process_time() - used))
        slower = torch.tensor(times, dtype=torch.float64)
        dist.all_reduce(slower, dist.ReduceOp.MAX)
        if is_first():
            out.write_text(json.dumps(slower[_WARM_UP:].T.tolist()))


def round_of(
    genotype: str, size: int, batch: int, steps: int, processes: int, threads: int, folder: Path
) -> tuple[float, float, str]:
    """Seconds of the fastest `steps` steps of a training by either clock, and whether others were busy."""
    out = folder / "times.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command += [__file__, "--work", genotype, str(size), str(batch), str(steps), str(out)]
    others = OtherPrograms()
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)})
    wall, processor = (
        min(sum(times[start : start + steps]) for start in range(len(times) - steps + 1))
        for times in json.loads(out.read_text())
    )
    return wall, processor, others.busy() or ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trainings", nargs="*", default=_TRAININGS)
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/two_processes.csv"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--work", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        genotype, size, batch, steps, out = options.work
        work(genotype, int(size), int(batch), int(steps), Path(out))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for training in options.trainings:
            name, size, batch = (int(word) if word.isdigit() else word for word in training.split(","))
            found: dict[tuple[int, int], list[tuple[float, float, str]]] = {(1, 1): [], (2, 1): [], (1, 2): []}
            for _ in range(options.rounds):
                for (processes, threads), rounds in found.items():
                    rounds.append(round_of(name, size, batch, options.steps, processes, threads, Path(folder)))
            (wall, busy), (wall2, busy2), (threaded, _) = (
                min((w, b) for w, _, b in rounds) for rounds in found.values()
            )
            one, two, _ = (min(p for _, p, _ in rounds) for rounds in found.values())
            rows.append(
                {
                    "genotype": name,
                    "size": size,
                    "batch": batch,
                    "one": f"{batch * options.steps / wall:.2f}",
                    "two": f"{batch * options.steps / wall2:.2f}",
                    "wall": f"{wall / wall2:.2f}",
                    "processor": f"{one / two:.2f}",
                    "threads": f"{wall / threaded:.2f}",
                    "busy": busy2 or busy,
                }
            )
            print(*rows[-1].values(), flush=True)
    write_csv(options.o, rows)


if __name__ == "__main__":
    main()
