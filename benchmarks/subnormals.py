"""What subnormal numbers cost on this processor: milliseconds with them, and with zeros in their place.

OMP_NUM_THREADS=1 python benchmarks/subnormals.py WEIGHTS ... [-o benchmarks/results/subnormals.csv]

WEIGHTS: weight files, or names of the package. CSNet's learnt widths leave such numbers: the authors' csnet_l_x2, made
with `retrain.authors`. Of each, at its size: a picture in torch, a training step (forward and backward of 4 pictures),
and the file as it is deployed in ONNX Runtime and OpenVINO. Processor time of one thread, the least of some calls, with
and without in turn.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from genotypes.files import write_csv
from nas.deploy import folding
from nas.subnormals import flush_subnormals
from retrain.predictor import Runtime, load

_TINY = torch.finfo(torch.float32).tiny


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/subnormals.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [row for name in options.weights for row in of_network(name, options.repeats)]
    write_csv(options.o, rows)


def of_network(name: str, repeats: int) -> list[dict[str, str]]:
    predictor = load(name)
    net, size = predictor.network, predictor.size
    weights = [tensor.detach() for tensor in net.state_dict().values() if tensor.is_floating_point()]
    share = sum(int(((w != 0) & (w.abs() < _TINY)).sum()) for w in weights) / sum(w.numel() for w in weights)
    pictures = torch.rand(4, 3, *size, generator=torch.Generator().manual_seed(0))

    @torch.inference_mode()
    def predict() -> None:
        net(pictures[:1])

    calls: dict[str, list[Callable[[], object]]] = {"torch": [predict, flush_subnormals()(predict)]}
    runtimes: tuple[Runtime, ...] = ("onnxruntime", "openvino")
    for runtime in runtimes:
        calls[runtime] = [deployed(name, runtime, pictures[:1], least) for least in (0, folding._VANISHED)]
    rows = [row(net.genotype.name, share, way, *least(some, repeats)) for way, some in calls.items()]
    net.train()

    def step() -> None:
        net.zero_grad()
        torch.stack([out.square().mean() for out in net(pictures)]).sum().backward()

    return [*rows, row(net.genotype.name, share, "training step", *least([step, flush_subnormals()(step)], repeats))]


def deployed(name: str, runtime: Runtime, picture: torch.Tensor, vanished: float) -> Callable[[], object]:
    """The deployed form, in which what is below `vanished` is zero; called as where this package is not."""
    before, folding._VANISHED = folding._VANISHED, vanished
    opened = load(name, runtime=runtime)
    opened.logits(picture)  # converts it
    folding._VANISHED = before
    run, array = opened._runs[opened.size], picture.numpy()
    return lambda: run(array)


def least(calls: list[Callable[[], object]], repeats: int) -> list[float]:
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, some in zip(calls, found, strict=True):
            call()
            began = time.process_time()
            call()
            some.append(1000 * (time.process_time() - began))
    return [min(some) for some in found]


def row(network: str, share: float, way: str, with_them: float, without: float) -> dict[str, str]:
    told = {"network": network, "subnormal_weights": f"{share:.4f}", "what": way}
    told |= {"ms_with": f"{with_them:.2f}", "ms_without": f"{without:.2f}", "faster": f"{with_them / without:.2f}"}
    print(*told.values(), flush=True)
    return told


if __name__ == "__main__":
    main()
