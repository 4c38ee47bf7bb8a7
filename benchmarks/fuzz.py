"""Hostile inputs for as long as you like: genotypes, configurations, recipes, lists, pictures and weight files.

    python benchmarks/fuzz.py --minutes 10

Prints how many there were of each kind, and every fault: an error that is no UserError, more than 2 s of CPU time, or a
process of more than 1 GB.
"""

import argparse
import resource
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(_ROOT), str(_ROOT / "tests")]  # the packages first: folders of tests have their names

from hostile_inputs import kinds, run  # noqa: E402

ROUND = 200  # inputs of a kind before it is the next one's turn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--kind", help="only this one")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    end = time.monotonic() + 60 * args.minutes
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        counts = dict.fromkeys([args.kind] if args.kind else kinds(Path(folder)), 0)
        while time.monotonic() < end:
            for kind in counts:
                try:
                    counts[kind] += run(kind, Path(folder), ROUND, derandomize=False)[0]
                except Exception:
                    faults += 1
                    traceback.print_exc()
    for kind, count in counts.items():
        print(f"{count:8,} {kind}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{sum(counts.values()):8,} inputs, {faults} faults; the process took {peak:.2f} GB at most")
    sys.exit(bool(faults) or peak > 1)


if __name__ == "__main__":
    main()
