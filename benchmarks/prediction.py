"""What a map costs: networks in every runtime, side by side on one thread; and PNG levels.

python benchmarks/prediction.py NETWORK[@SIDE] ... [-o benchmarks/results/prediction.csv]
python benchmarks/prediction.py --png DIR

A network is a name of the package, a weight file, or a genotype file (random weights), at its size or another (@160).
All are timed in one process, with our allocator as in every command, in turn, by processor time: the shortest of
--repeats. torch: the network as it was trained, a picture at a time and in batches of 4 and 8; onnxruntime and
openvino: `--runtime` of retrain.predict, which feeds them one by one. What they are compared with is torch as it
comes, a picture at a time: in a process of its own, with the system's allocator, before and after. --png: the maps and
cut-outs that sod_s makes of six photographs of a folder, written at each level of compression.
"""

import argparse
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

import genotypes
import nas
from genotypes.files import write_csv
from nas.allocator import keep_freed_memory
from nas.cost import count
from nas.cost.clock import OtherPrograms, milliseconds
from nas.deploy import bf16_here
from nas.run import seeded
from nas.task import read_image
from nas.task.folders import pictures_in
from retrain.predictor import Predictor, cutout, load

_SEARCHED, _PLAIN = (f"benchmarks/{kind}_efficientnet_lite1.yaml" for kind in ("searched", "plain"))
# What docs/performance.md and README show; and CSNet-L-x2, whose weight file is named beside them.
_NETWORKS = ["sod_s", "sod_m", "sod_l", "sod_l@160", "sod_l@192", "sod_l@224", _SEARCHED, _PLAIN]
_NETWORKS += ["benchmarks/searched_mobilenet_v2.yaml"]


def opened(name: str, runtime: str = "torch", precision: str = "fp32") -> Predictor:
    name, _, side = name.partition("@")
    size = int(side) if side else None
    if not name.endswith((".yaml", ".yml")):
        return load(name, size=size, runtime=runtime, precision=precision)
    with seeded(0):
        return Predictor(nas.build(genotypes.load(name)), size=size, runtime=runtime, precision=precision)


def call(predictor: Predictor, batch: int) -> Callable[[], object]:
    pictures = torch.rand(batch, 3, *predictor.size, generator=torch.Generator().manual_seed(0))
    return lambda: predictor.probabilities(pictures)


def plain_times(names: list[str], repeats: int) -> list[float]:
    """Milliseconds of a picture with torch as it comes, of each network; in a process of its own."""
    command = [sys.executable, __file__, "--plain", "--repeats", str(repeats), *names]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_plain(names: list[str], repeats: int) -> None:
    times = milliseconds({name: call(opened(name), 1) for name in names}, repeats=repeats)
    print(json.dumps([times[name] for name in names]))


def time_networks(names: list[str], repeats: int, out: Path) -> None:
    others = OtherPrograms()
    before = plain_times(names, repeats)
    keep_freed_memory()
    calls: dict[tuple[str, str, int], Callable[[], object]] = {}
    networks = {}
    for name in names:
        networks[name] = eager = opened(name)
        calls |= {(name, "torch", batch): call(eager, batch) for batch in (1, 4, 8)}
        for runtime in ("onnxruntime", "openvino"):
            calls[name, runtime, 1] = call(opened(name, runtime), 1)
        if bf16_here():
            calls[name, "openvino, bf16", 1] = call(opened(name, "openvino", "bf16"), 1)
    times = milliseconds({str(key): run for key, run in calls.items()}, repeats=repeats)
    plain = dict(zip(names, map(min, before, plain_times(names, repeats)), strict=True))
    busy = others.busy() or ""
    rows = []
    for name, net in networks.items():
        found = {("torch as it comes", 1): plain[name]}
        found |= {key[1:]: times[str(key)] / key[2] for key in calls if key[0] == name}
        for (runtime, batch), ms in found.items():
            row = {
                "network": net.genotype.name,
                "size": "x".join(map(str, net.size)),
                "MMACs": f"{count(net.genotype, net.size).macs / 1e6:.1f}",
                "runtime": runtime,
                "batch": batch,
                "ms": f"{ms:.2f}",
                "faster": f"{plain[name] / ms:.2f}",
                "busy": busy,
            }
            print(*row.values(), flush=True)
            rows.append(row)
    write_csv(out, rows)


def time_png(folder: Path, repeats: int = 3) -> None:
    files = pictures_in(folder)[0]
    photos = [read_image(file) for file in files[:: max(1, len(files) // 6)][:6]]
    maps = load("sod_s").maps(photos)
    for kind, made in (("map", maps), ("cut-out", [cutout(*pair) for pair in zip(photos, maps, strict=True)])):
        for level in (1, 2, 3, 4, 6, 9):
            seconds, size = [], 0
            for _ in range(repeats):
                start, size = time.process_time(), 0
                for pixels in made:
                    file = io.BytesIO()
                    Image.fromarray(pixels).save(file, format="PNG", compress_level=level)
                    size += file.tell()
                seconds.append(time.process_time() - start)
            print(f"{kind}, level {level}: {1000 * min(seconds) / len(made):.1f} ms, {size // len(made)} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=_NETWORKS)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--png", type=Path)
    parser.add_argument("-o", type=Path, default=Path("benchmarks/results/prediction.csv"))
    parser.add_argument("--plain", action="store_true", help="torch as it comes alone: milliseconds as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.png:
        time_png(options.png)
    elif options.plain:
        print_plain(options.networks, options.repeats)
    else:
        time_networks(options.networks, options.repeats, options.o)


if __name__ == "__main__":
    main()
