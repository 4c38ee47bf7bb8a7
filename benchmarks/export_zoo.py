"""Every genotype of the zoo, exported: how far each file is from the network, and how much faster.

python benchmarks/export_zoo.py [NAME ...] [-o benchmarks/results/export_zoo.csv]    # other genotypes' rows are kept

Weights are random, norms and slopes as after a training, and the head is scaled so that probabilities lie from .05 to
.95: where they are nearly constant, or 0 and 1, every file would agree. `retrain.export` itself checks and times: three
sizes (the genotype's own, 97 x 131, 32 x 45) in batches of 1 and 3, one thread, processor time, the shortest of ten in
turn.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import nn

import genotypes
import nas
from genotypes.files import read_csv, write_csv
from nas.run import seeded
from retrain.export import export

_LARGEST = 3.0  # of the logits: probabilities from .05 to .95


@torch.no_grad()
def network(name: str) -> nas.Network:
    """The network with weights that make its output worth comparing."""
    generator = torch.Generator().manual_seed(0)
    with seeded(0):
        net = nas.build(genotypes.load(name)).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.copy_(0.2 * torch.randn(module.num_features, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(module.num_features, generator=generator))
        if isinstance(module, nn.PReLU):  # OpenVINO treats slopes that are all alike otherwise, and faster
            module.weight.copy_(0.5 * torch.rand(module.num_parameters, generator=generator))
    cell, _, node = net.genotype.outputs[0].rpartition(".")
    largest = float(net(torch.randn(1, 3, 96, 96, generator=generator))[0].abs().max())
    for edge in net.genotype.graph[f"{cell}.{node}"].edges:
        for parameter in net.cells[cell].edges[edge.name].parameters():
            parameter.mul_(_LARGEST / largest)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", default=sorted(genotypes.names()))
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/export_zoo.csv"))
    parser.add_argument("--formats", nargs="+", default=["onnx", "openvino"])
    options = parser.parse_args()
    for name in options.names:
        with tempfile.TemporaryDirectory() as folder:
            made = export(network(name), Path(folder), formats=options.formats)
        eager = made.rows[0].ms
        rows = read_csv(options.o) if options.o.exists() else []
        rows = [row for row in rows if row["genotype"] != name]
        for row in made.rows[1:]:
            rows.append(
                {
                    "genotype": name,
                    "size": "x".join(map(str, made.size)),
                    "file": row.name,
                    "runtime": row.runtime,
                    "difference": f"{row.difference:.1e}",
                    "eager_ms": f"{eager:.2f}",
                    "ms": f"{row.ms:.2f}",
                    "faster": f"{eager / row.ms:.2f}",
                    "busy": made.busy or "",
                }
            )
            print(*rows[-1].values(), flush=True)
        write_csv(options.o, sorted(rows, key=lambda row: row["genotype"]))  # what is measured is not lost


if __name__ == "__main__":
    main()
