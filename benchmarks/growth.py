"""What a long run gathers: resident memory, live tensors and open files over thousands of tiny steps.

    OMP_NUM_THREADS=1 python benchmarks/growth.py --steps 2000

Prints them for each tenth of a training and of a search; what is the same after the fifth tenth and after the last
does not grow with the steps. The four files that a search has open after its first picture of the cells are
matplotlib's fonts: it keeps each open that it has used.
"""

import argparse
import gc
import os
import tempfile
from pathlib import Path

import torch

from nas.options import from_dict
from nas.run import RunFolder
from nas.search import SearchConfig, search
from nas.training import LISTENERS, Listener, Trainer
from retrain import Recipe
from retrain.train import TrainConfig, train


class Watch(Listener):
    """rows: (step, MB resident, tensors, open files) after each `every` steps."""

    def __init__(self, every: int) -> None:
        self.every, self.rows = every, list[tuple[int, float, int, int]]()

    def step(self, trainer: Trainer) -> None:
        if trainer.step % self.every == 0:
            gc.collect()
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            # By exact type, since isinstance wakes lazy modules; parameters are Tensors of their own class.
            tensors = sum(type(x) in (torch.Tensor, torch.nn.Parameter) for x in gc.get_objects())
            files = len(os.listdir("/proc/self/fd"))
            self.rows.append((trainer.step, pages * os.sysconf("SC_PAGE_SIZE") / 1e6, tensors, files))


def watched(kind: str, steps: int, folder: Path, *, counts: int = 10) -> list[tuple[int, float, int, int]]:
    """What a tiny training (evaluated twice as often) or search (as often) of so many steps holds, counted so often."""
    _watches.append(Watch(steps // counts))
    run = RunFolder.open(str(folder / kind), kind, "")
    if kind == "train":
        recipe = Recipe(size=32, batch_size=2, steps=steps)
        shared = {
            "data": "synthetic:12",
            "evaluate_every": max(1, steps // (2 * counts)),
            "workers": 0,
            "quick_scores": True,
        }
        train(TrainConfig(genotype="fpn_tiny", recipe=recipe, **shared), run)
    else:
        space = {"name": "fusion_cells", "channels": 8, "operations": ["skip_connect", "conv2d_1x1"]}
        sizes = {"data": "synthetic:24", "size": 32, "steps": steps, "warmup_steps": 1, "batch_size": 2}
        shared = {"space": space, "evaluate_every": max(1, steps // counts), "rivals": 0, "worth_seconds": 0}
        shared |= {"guard": {"on": False}}  # never a reason to stop; no eigenvalues are measured either
        search(from_dict(SearchConfig(), sizes | shared), run)
    return _watches[-1].rows


_watches: list[Watch] = []


@LISTENERS.register("watch", summary="what a run holds")
def _watch(run: RunFolder) -> Watch:
    return _watches[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--kind", choices=("train", "search"), nargs="+", default=["train", "search"])
    args = parser.parse_args()
    print("run,step,resident_MB,tensors,files")
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.kind:
            for step, resident, tensors, files in watched(kind, args.steps, Path(folder)):
                print(f"{kind},{step},{resident:.0f},{tensors},{files}")


if __name__ == "__main__":
    main()
