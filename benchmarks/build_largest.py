"""Seconds and peak memory of building the zoo's largest genotype, in a process of its own.

The bar: 5 s, and no more than twice the memory of its weights.
"""

import argparse
import os
import resource
import sys
import time

import genotypes
import nas


def _peak() -> int:
    """Largest resident memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _resident() -> int:
    """Resident memory now, in bytes; the peak where /proc does not say it."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return _peak()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="example: python benchmarks/build_largest.py csf_res2net50",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", default="minet_resnet50", help="genotype (default minet_resnet50)")
    name = parser.parse_args().name
    nas.build(genotypes.load("fpn_tiny"))  # what Python loads on the first call is not the network's
    before = _resident()
    wall, processor = time.perf_counter(), time.process_time()
    net = nas.build(genotypes.load(name))
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    weights = sum(t.nbytes for t in net.state_dict().values())
    grown = _peak() - before
    print(f"{name}: built in {wall:.2f} s, {processor:.2f} s of them on the processor")
    print(f"weights {weights / 1e6:.0f} MB; peak {grown / 1e6:.0f} MB above {before / 1e6:.0f} MB of Python and torch")
    print(f"peak of the build / weights: {grown / weights:.2f}; of the whole process: {_peak() / weights:.2f}")


if __name__ == "__main__":
    main()
