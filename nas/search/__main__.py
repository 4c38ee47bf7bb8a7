"""`python -m nas.search`."""

import re
import sys
from collections import Counter
from collections.abc import Sequence

from genotypes import Genotype
from genotypes.errors import plural
from genotypes.files import quoted
from nas.command import Command, as_started, run_command
from nas.cost import COST_KINDS
from nas.options import to_yaml
from nas.run import RunFolder, check_free, deadline
from nas.run.distributed import joined
from nas.search import SearchConfig
from nas.task.folders import is_synthetic

COMMAND = Command(
    config=SearchConfig,
    name="nas.search",
    description="Search a fusion network for salient object detection; the result is RUN/genotype.yaml.",
    examples="""\
  python -m nas.search                                     two minutes, on pictures that it makes itself
  python -m nas.search --data DUTS=DUTS-TR --backbone efficientnet_lite1 --backbone_weights package --size 96
  python -m nas.search --strategy gdas --cost latency --budget 4.0    the result takes 4 ms at most, here
  python -m nas.search --strategy gdas --strategy.probes 2 --space minet --space.channels 32
  python -m nas.search --config runs/a/config.yaml --out runs/b       the same search again""",
    first="data space space.backbone backbone_weights strategy size steps cost budget device seed out",
    resume=True,
)


_SAID_BY = {True: "when it was tried", False: "by the table of its candidates"}
_SCORED_BY = {True: "with the supernet's weights (not retrained)", False: "after a short training"}


def main(argv: Sequence[str] | None = None) -> None:
    cfg, resume = COMMAND.parse(argv)
    until = deadline(cfg.minutes)
    check_free(cfg.out, resume=resume)
    from nas.search import open_search, search  # Optuna and matplotlib: a second, which no refusal need wait

    setup = open_search(cfg, folder=cfg.out if resume else None)
    run = RunFolder.open(cfg.out, "search", to_yaml(cfg), resume=resume, until=until)
    result = search(cfg, run, setup=setup)
    opened = setup.space.open_edges()
    operations = Counter(op for edge, op in result.genotype.graph.operations().items() if edge in opened)
    counted = ", ".join(f"{n} {op}" for op, n in operations.most_common())
    print(f"found   {result.genotype.name}" + (f": {counted}" if counted else ""))
    if sizes := _sizes(setup.space, result.genotype):
        print(f"sizes   {sizes}")
    if result.stopped:
        print(f"stopped {result.stopped}")
    if result.scores:
        shown = ", ".join(f"{key} {value:.4f}" for key, value in result.scores.items())
        print(f"scored  {shown} on the held-out part, {_SCORED_BY[result.inherited]}")
    if result.rivals:
        r = result.rivals
        spread = f"loss {min(r.losses):.4f} to {max(r.losses):.4f}, mean {r.mean:.4f}"
        count = plural(len(r.losses), "genotype")
        print(f"random  {count} so scored: {spread}; the result beats {r.better:.0%} of them")
    budget = f", budget {cfg.budget:,.10g}" if cfg.budget is not None else ""
    if result.cost is not None:
        unit, size = COST_KINDS[cfg.cost or "macs"], " x ".join(map(str, result.genotype.input.size))
        said = f" {_SAID_BY[cfg.whole_networks]}" if result.timed else ""
        digits = ",.4g" if result.timed else ",.10g"
        print(f"costs   {result.cost:{digits}} {unit}{said}{budget} (at {size})")
    if result.timed is not None:
        print(f"timed   {result.timed}{budget}")
    if cfg.whole_networks:
        best = "nothing so cheap" if result.line_loss is None else f"loss {result.line_loss:.4f} for at most this cost"
        best += ", which is what was found" if result.line_loss == result.scores["loss"] else ""
        print(f"beside  uniform scaling, so scored: {best} (all of it: {result.path / 'line.csv'})")
    if result.front:
        front = result.path / "front"
        print(f"front   {plural(len(result.front), 'genotype')} in {front} (drawn: {front}.svg)")
    if result.ran:
        print(f"ran     {result.ran}")
    print(f"saved   {result.path / 'genotype.yaml'} (drawn: {result.path / 'cells.svg'})")
    print(f"page    {result.path / 'report.html'}")
    print(as_started(f"next    python -m retrain.train --genotype {quoted(result.path)}"))
    if cfg.warmup_is_short:
        print(
            f"note    {cfg.warmup} of the {cfg.steps} steps were a warm-up, without architecture steps: --warmup_steps"
        )
    if is_synthetic(cfg.data):
        print("note    searched on pictures that the program makes: for photographs, give --data NAME=DIR")


def _sizes(space: Genotype, found: Genotype) -> str:
    """What was found of choices that are no edges: a list's numbers together, 0 for a block that is left out."""
    told: dict[str, list[str]] = {}
    for choice, candidate in space.chosen(found).items():
        if choice not in space.open_edges():
            told.setdefault(re.sub(r"\.\d+$", "", choice), []).append(str(candidate))
    return ", ".join(f"{name} {' '.join(values)}" for name, values in told.items())


if __name__ == "__main__":
    sys.exit(run_command(main, joined=joined))
