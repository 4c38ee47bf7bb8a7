"""`python -m nas.search`."""

import sys
from collections import Counter
from collections.abc import Sequence

from nas.run import RunFolder, check_free, parse_config, run_command
from nas.search import SearchConfig, open_inputs, search

_DESCRIPTION = "Search a fusion network for salient object detection; the result is RUN/genotype.yaml."
_EXAMPLES = """\
  python -m nas.search                                       two minutes, on data it makes itself
  python -m nas.search --out runs/a --steps 400 --seed 1
  python -m nas.search --out runs/a --resume                 continue an interrupted search
  python -m nas.search --backbone mobilenet_v2 --weights mobilenet_v2.pth --data DUTS=DUTS-TR --size 128
  python -m nas.search --config runs/a/config.yaml --out runs/b      the same search again
  python -m nas.search --space minet --strategy gdas                 MINet's interactions, open
  python -m nas.search --strategy gdas --steps 1000                  one sampled path a step: fast and small
  python -m nas.search --cost latency --budget 4.0                   what it finds takes 4 ms at most, on this device
  python -m nas.search --strategy one_shot --cost macs               a Pareto front of loss against multiply-adds
  python -m nas.search --strategy optuna --storage sqlite:///study.db --trials.count 200
                                                             start it on more machines: they share one study
  python -m nas.search --from runs/a --out runs/b            start from the weights of an earlier run
"""


_SCORED_BY = {True: "with the supernet's weights (not retrained)", False: "after a short training"}


def main(argv: Sequence[str] | None = None) -> None:
    cfg, text, resume = parse_config(SearchConfig, "nas.search", _DESCRIPTION, _EXAMPLES, argv)
    if cfg.out and not resume:
        check_free(cfg.out)  # again when the folder is made; here so that nobody waits for a refusal
    inputs = open_inputs(cfg, folder=cfg.out if resume else None)
    run = RunFolder.open(cfg.out, "search", text, resume=resume)
    result = search(cfg, run, inputs=inputs)
    opened = inputs.space.open_edges()
    operations = Counter(op for edge, op in result.genotype.graph.operations().items() if edge in opened)
    print(f"found   {result.genotype.name}: " + ", ".join(f"{n} {op}" for op, n in operations.most_common()))
    if result.stopped:
        print(f"stopped {result.stopped}")
    if result.scores:
        shown = ", ".join(f"{key} {value:.4f}" for key, value in result.scores.items())
        print(f"scored  {shown} on the held-out part, {_SCORED_BY[result.inherited]}")
    if result.rivals:
        r = result.rivals
        spread = f"loss {min(r.losses):.4f} to {max(r.losses):.4f}, mean {r.mean:.4f}"
        print(f"random  {len(r.losses)} genotypes so scored: {spread}; the result beats {r.better:.0%} of them")
    if result.cost is not None:
        table = inputs.objective.table
        print(f"costs   {result.cost:,.6g} {table.unit} at {table.size[0]} x {table.size[1]} ({table.kind})")
    if result.front:
        print(f"front   {len(result.front)} genotypes in {result.path / 'front'} (drawn: {result.path / 'front.svg'})")
    print(f"saved   {result.path / 'genotype.yaml'} (drawn: {result.path / 'cells.svg'})")
    print(f"next    python -m retrain.train --genotype {result.path / 'genotype.yaml'}")


if __name__ == "__main__":
    sys.exit(run_command(main))
