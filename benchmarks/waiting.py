"""Two threads beside other programs: seconds of a step of a small search, by how long a thread that waits spins.

    python benchmarks/waiting.py --loops 0 1 2

Each measurement is a process of its own, since GNU's OpenMP reads its settings once; they take turns. --loops: endless
loops that run beside it. Wall time, which is what a busy core costs, and CPU time, of which spinning is a part.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time

from allocator import workload

SETTINGS = {
    "system": {},  # 300,000 turns
    "20,000 turns": {"GOMP_SPINCOUNT": "20000"},
    "5,000 turns (ours)": {"GOMP_SPINCOUNT": "5000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}
LONGEST = 15.0  # seconds; a step that takes longer is the only one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--loops", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(args.steps)
        return
    print("| loops beside | setting | wall, s a step | CPU, s a step |\n|---|---|---|---|")
    for count in args.loops:
        loops = [multiprocessing.Process(target=_loop, daemon=True) for _ in range(count)]
        for loop in loops:
            loop.start()
        found = {setting: list[tuple[float, float]]() for setting in SETTINGS}
        for _ in range(args.rounds):
            for setting, variables in SETTINGS.items():
                env = {**os.environ, "OMP_NUM_THREADS": "2", **variables}
                words = [sys.executable, __file__, "--child", "--steps", str(args.steps)]
                found[setting].append(json.loads(subprocess.check_output(words, env=env)))
        for setting, times in found.items():
            wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
            print(f"| {count} | {setting} | {wall:.2f} | {cpu:.2f} |", flush=True)
        for loop in loops:
            loop.kill()


def measure(steps: int) -> None:
    """Prints [wall, CPU] seconds a step."""
    step, _ = workload("supernet", channels=8, size=64, backbone="tiny")
    step()
    wall, cpu, done = time.perf_counter(), time.process_time(), 0
    while done < steps and time.perf_counter() - wall < LONGEST:
        step()
        done += 1
    print(json.dumps([(time.perf_counter() - wall) / done, (time.process_time() - cpu) / done]))


def _loop() -> None:
    while True:
        pass


if __name__ == "__main__":
    main()
