"""Runs of several kinds killed (SIGKILL) at random moments and resumed until they end: is the result the same?

    OMP_NUM_THREADS=1 python benchmarks/kills.py --minutes 8 > benchmarks/results/kills.csv

Each kind runs once without a kill. Then, in turn, each runs again in a new folder, is killed after a random share of
the first run's CPU time, goes on with --resume, is killed again, until it ends. The folder must hold the same files as
the first one, with the same tensors, history, trials, scores and genotype to the last digit; times are left out. Prints
a table: kind, runs, kills, and runs that were equal. Ends with 1 if one was not, and then keeps its folder.
"""

import argparse
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch
from safetensors.torch import load_file

import nas.search.__main__ as search
import retrain.compare.__main__ as compare
import retrain.train.__main__ as train
from genotypes.files import read_csv
from nas.command import run_command

_SPACE = "--space.channels 4 --space.operations [none,skip_connect,channel_attention] --guard.iterations 0"
_SEARCH = f"{_SPACE} --data synthetic:24 --size 32 --steps 6 --warmup_steps 1 --batch_size 2 --evaluate_every 1"
_SEARCH += " --rivals 1 --worth_seconds 0 --trials.count 4 --trials.population 2 --score_steps 2"
_WHOLE = "--strategy sandwich --space compact --space.backbone tiny --data synthetic:24 --size 48 --steps 6"
_WHOLE += " --batch_size 2 --evaluate_every 1 --cost params --trials.count 4 --trials.population 2"
_TRAIN = "--data synthetic:24 --recipe.size 32 --recipe.batch_size 2 --evaluate_every 1 --quick_scores --workers 0"
KINDS = {  # the command, its options
    **{name: (search, f"--strategy {name} {_SEARCH}") for name in ("darts", "gdas", "one_shot", "optuna")},
    "sandwich": (search, _WHOLE),
    "train": (
        train,
        f"--genotype fpn_tiny --recipe.steps 8 --recipe.ema 0.9 --recipe.augment.scales [0.75,1,1.25] {_TRAIN}",
    ),
    "compare": (compare, f"--genotypes fpn_tiny --seeds 0 1 --recipe.steps 4 {_TRAIN}"),
}
_MEASURED = {"seconds", "train_seconds", "images_per_second", "latency_ms"}  # what no two runs share
_COMPARED = (".safetensors", ".csv", "genotype.yaml", "scores.json", "table.json")


def child(main: Callable[..., None], words: list[str], log: Path, seconds: float) -> int | None:
    """Run a command in a forked process, where all is loaded; its exit code, or None if killed after seconds of CPU."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with suppress(BaseException), log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            code = run_command(main, words)
        os._exit(code)
    clock = ~pid << 3 | 2  # the process's CPU clock, as clock_getcpuclockid(3) makes it on Linux
    try:
        while time.clock_gettime(clock) < seconds:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        raise
    os.kill(pid, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return None if code == -signal.SIGKILL else code


def run(kind: str, out: Path, draw: Callable[[], float]) -> int:
    """Run a kind to its end, each attempt at most draw() seconds long; how often it was killed."""
    command, options = KINDS[kind]
    kills = 0
    while True:
        begun = (out / "config.yaml").is_file()
        words = ["--resume", "--out", str(out)] if begun else [*options.split(), "--out", str(out)]
        log = out.with_suffix(".log")
        code = child(command.main, words, log, draw())
        if code == 0:
            return kills
        if code is not None:
            raise SystemExit(f"{kind}: exit code {code} after {kills} kills\n{log.read_text()}")
        kills += 1


def differences(first: Path, second: Path) -> list[str]:
    """Files that only one of the folders has, or that say something else in the second."""
    ours, theirs = products(first), products(second)
    shared = ours & theirs
    return sorted((ours ^ theirs) | {name for name in shared if not same(first / name, second / name)})


def products(folder: Path) -> set[str]:
    """What is in a run's folder, but TensorBoard's files, whose names hold the time."""
    names = (file.relative_to(folder) for file in folder.rglob("*") if file.is_file())
    return {str(name) for name in names if "events" not in name.parts}


def same(first: Path, second: Path) -> bool:
    if not first.name.endswith(_COMPARED):
        return True
    if first.suffix == ".safetensors":  # tensors, since the metadata's order is no fixed one
        ours, theirs = load_file(first), load_file(second)
        return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)
    if first.suffix == ".csv":
        return unmeasured(read_csv(first)) == unmeasured(read_csv(second))
    if first.suffix == ".json":
        return unmeasured(json.loads(first.read_text())) == unmeasured(json.loads(second.read_text()))
    return first.read_bytes() == second.read_bytes()


def unmeasured(value: object) -> object:
    """The same without what was measured by a clock."""
    if isinstance(value, dict):
        return {key: unmeasured(item) for key, item in value.items() if key not in _MEASURED}
    return [unmeasured(item) for item in value] if isinstance(value, list) else value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=8, help="no further run begins after so many [8]")
    parser.add_argument("--kind", choices=KINDS, nargs="+", default=list(KINDS), help="only these")
    parser.add_argument("--seed", type=int, default=0, help="of the moments [0]")
    args = parser.parse_args()
    end = time.monotonic() + 60 * args.minutes
    torch.set_num_threads(1)
    generator = random.Random(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="kills-"))
    counts, took, unequal = {kind: [0, 0, 0] for kind in args.kind}, {}, []
    for kind in args.kind:
        before = os.times().children_user + os.times().children_system
        run(kind, folder / f"{kind}-whole", lambda: math.inf)
        took[kind] = os.times().children_user + os.times().children_system - before
        print(f"{kind}: {took[kind]:.1f} s", file=sys.stderr)
    number = 0
    while time.monotonic() < end:
        kind = args.kind[number % len(args.kind)]
        out = folder / f"{kind}-{number}"
        kills = run(kind, out, lambda seconds=took[kind]: generator.uniform(0, seconds))
        differ = differences(folder / f"{kind}-whole", out)
        counts[kind] = [a + b for a, b in zip(counts[kind], (1, kills, not differ), strict=True)]
        print(f"{out.name}: {kills} kills, {'differs: ' + ', '.join(differ) if differ else 'equal'}", file=sys.stderr)
        if differ:
            unequal.append(out)
        else:
            shutil.rmtree(out)
        number += 1
    print("kind,runs,kills,equal")
    for kind, numbers in counts.items():
        print(kind, *numbers, sep=",")
    if unequal:
        sys.exit(f"other results than {folder}/KIND-whole: {', '.join(map(str, unequal))}")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
