"""Is a latency budget kept in the deployed form? What a search is told a network takes, and what its file takes.

    OMP_NUM_THREADS=1 python benchmarks/deployed_budget.py [--runtime openvino] [-o FILE.csv]

The members are drawn from a default space of whole networks. Promised: what `MemberCost` measures of each, one by one,
while `nas.search --strategy sandwich --cost latency --runtime R` chooses. Measured: the file that `retrain.export`
writes, for any size, opened for the member's, one by one, after all promises. One thread, its processor time, the lower
quartile. Timed in turn, ten networks take .15 to .4 ms more each (4 to 24 %): each finds its weights in no cache. Rows
of other runtimes in the table are kept.
"""

import argparse
import random
import statistics
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import torch

import genotypes
from genotypes.files import read_csv, write_csv
from nas.cost.clock import milliseconds, warn_if_busy
from nas.cost.measuring import prepare
from nas.deploy import deploy, onnx_model, open_file, program, save_openvino
from nas.run import torch_threads
from nas.search.objective import MemberCost
from search_spaces import compact


def member(space: genotypes.Genotype, number: int) -> genotypes.Genotype:
    """A member drawn by its number."""
    rng = random.Random(number)
    return space.decide({choice: rng.choice(list(values)) for choice, values in space.choices().items()})


def exported(genotype: genotypes.Genotype, runtime: str, folder: Path) -> Path:
    """The file of any size that runs in this runtime."""
    net, _ = prepare(genotype, torch.device("cpu"), genotype.input.size)
    model = onnx_model(program(deploy(net)))
    path = folder / (f"{genotype.hash}.onnx" if runtime == "onnxruntime" else f"{genotype.hash}.xml")
    if runtime == "onnxruntime":
        path.write_bytes(model.SerializeToString())
    else:
        save_openvino(model, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", choices=("onnxruntime", "openvino"), default="onnxruntime")
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/deployed_budget.csv"))
    options = parser.parse_args()
    space = compact(options.backbone)
    members = [member(space, number) for number in range(options.members)]
    rows = read_csv(options.o) if options.o.exists() else []
    rows = [row for row in rows if row["runtime"] != options.runtime]
    with tempfile.TemporaryDirectory() as folder, warn_if_busy(), torch_threads(1):
        cost = MemberCost("latency", runtime=options.runtime)
        promised = [cost(genotype) for genotype in members]
        measured = []
        for genotype in members:
            size = genotype.input.size
            run = open_file(exported(genotype, options.runtime, Path(folder)), size=size)
            picture = np.random.default_rng(0).random((1, 3, *size), np.float32)
            measured.append(milliseconds({"": partial(run, picture)}, repeats=30, seconds=0.5, quantile=0.25)[""])
    errors = []
    for number, (genotype, ms) in enumerate(zip(members, measured, strict=True)):
        errors.append(promised[number] / ms - 1)
        rows.append(
            {
                "runtime": options.runtime,
                "member": str(number),
                "size": "x".join(map(str, genotype.input.size)),
                "promised_ms": f"{promised[number]:.3f}",
                "measured_ms": f"{ms:.3f}",
                "error": f"{errors[-1]:+.3f}",
            }
        )
        print(*rows[-1].values())
    print(f"worst {max(map(abs, errors)):.1%}, median {statistics.median(map(abs, errors)):.1%} of {len(errors)}")
    write_csv(options.o, rows)


if __name__ == "__main__":
    main()
