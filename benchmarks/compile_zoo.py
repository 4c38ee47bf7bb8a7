"""Every genotype of the zoo through torch.export and torch.compile (inductor, one graph): the same numbers as eager's.

    OMP_NUM_THREADS=1 python benchmarks/compile_zoo.py            # all, about ten minutes; or NAME...

Errors are largest absolute differences over the standard deviation of the float64 outputs, on noise of 64 x 48 pixels,
with norms that have seen noise once. Eager float32's own error stands beside, as the size of rounding. Needs a C++
compiler.
"""

import argparse
import copy
import time

import torch

import genotypes
import nas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=genotypes.names())
    args = parser.parse_args()
    print("| genotype | exported against eager | eager, float32 | compiled, float32 | seconds to compile |")
    print("|---|---|---|---|---|")
    for name in args.names:
        torch.compiler.reset()
        net = network(name)
        x = noise(1, 64, 48)
        exact = copy.deepcopy(net).double()(x.double())
        eager = net(x)
        exported = torch.export.export(net, (x,)).module()(x)
        began = time.perf_counter()
        compiled = torch.compile(net, fullgraph=True, dynamic=False)(x)
        seconds = time.perf_counter() - began
        errors = f"{error(exported, eager):.1e} | {error(eager, exact):.1e} | {error(compiled, exact):.1e}"
        print(f"| `{name}` | {errors} | {seconds:.0f} |", flush=True)


def network(name: str) -> nas.Network:
    torch.manual_seed(0)
    net = nas.build(genotypes.load(name)).train()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # the mean of what it has seen
    net(noise(4, 128, 96))
    return net.eval()


def noise(batch: int, height: int, width: int) -> torch.Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


def error(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    return max(float((a - b).abs().max() / b.std()) for a, b in zip(found, expected, strict=True))


if __name__ == "__main__":
    with torch.no_grad():
        main()
