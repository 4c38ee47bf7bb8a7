"""Does the guard catch a collapse, and leave a healthy search alone? Two searches that differ in their pictures only.

`few`: the supernet's weights see a handful of pictures, again and again, far too long; the architecture descends its
loss on pictures that the weights never saw. `enough`: the weights see as many pictures as the architecture. The first
is to be stopped, the second not. With `--go_on` neither is, which shows what the guard prevents; the last lines then
say when the rule, and RobustDARTS' rule without our condition on the loss, would have stopped each.

    python -m benchmarks.collapse --go_on --seeds 6 --first_seed 100

ratio: average eigenvalue of the guard's earlier window over the later one's; below 0.75, RobustDARTS stops. change: of
the held-out loss, from the earlier window's average to the later one's; below 0, we do not. trivial: share of `none`
and `skip_connect` in the genotype that would be derived.
"""

import argparse
import dataclasses
import math
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genotypes import UserError
from genotypes.files import write_csv
from nas.command import run_command
from nas.guard import GuardConfig
from nas.run import RunFolder, quiet
from nas.search import SearchConfig, search
from nas.strategies import strategy_config
from nas.training import OptimConfig
from search_spaces.spaces import FusionCells

# Pictures in all, and the shares of the weights, the architecture and the held-out part.
_PHOTOGRAPHS = {"few": ("synthetic:100", (0.08, 0.72, 0.2)), "enough": ("synthetic:400", (0.45, 0.45, 0.1))}
_LOSSES = ("train_loss", "architecture_loss", "held_out_loss")
_COLUMNS = ("step", *_LOSSES, "entropy", "eigenvalue", "ratio", "change", "trivial")


def main(argv: Sequence[str] | None = None) -> None:
    options = _parser().parse_args(argv)
    if options.seeds < 1:
        raise UserError(f"--seeds {options.seeds}: expected 1 or more")
    rows = []
    for name in _PHOTOGRAPHS:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            rows += _run(name, seed, options)
    if options.go_on:
        _judge(rows)
    if options.output is not None:
        write_csv(options.output, rows)


def configuration(name: str, seed: int, *, strategy: str = "darts", steps: int = 120, **guard: Any) -> SearchConfig:
    """The search `few` or `enough`; guard: options of GuardConfig."""
    data, fractions = _PHOTOGRAPHS[name]
    return SearchConfig(
        strategy=dataclasses.replace(strategy_config(strategy), lr=0.03),
        data=data,
        fractions=fractions,
        space=FusionCells(channels=8, operations=("none", "skip_connect", "conv_3x3", "channel_attention")),
        size=32,
        batch_size=8,
        steps=steps,
        warmup_steps=25,  # while the loss falls steeply its curvature grows in any search
        evaluate_every=5,
        rivals=0,
        optim=OptimConfig(lr=5e-3, schedule="constant"),
        guard=GuardConfig(**guard),
        seed=seed,
    )


def _run(name: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One search, shown; the rows of its history."""
    lenient = {"ratio": 1e-9, "share": 1.0} if options.go_on else {}
    cfg = configuration(name, seed, strategy=options.strategy, steps=options.steps, **lenient)
    with tempfile.TemporaryDirectory() as folder, quiet():
        run = RunFolder.open(f"{folder}/run", "search", "")
        result = search(cfg, run)
        history = run.history
    edges = sum(edge.choice for edge in result.genotype.graph.edges.values())
    rows = []
    for row in history:
        eigenvalues, losses = (_windows(history, row, key, cfg) for key in ("eigenvalue", "held_out_loss"))
        rows.append(
            {"photographs": name, "seed": seed}
            | row
            | {"ratio": eigenvalues[0] / eigenvalues[1], "change": losses[1] - losses[0]}
            | {"trivial": (row["derived_none"] + row["derived_skip_connect"]) / edges}
        )
    print(f"\n{name}, seed {seed}\n" + "  ".join(_COLUMNS))
    for row in rows:
        print("  ".join(f"{row[key]:{len(key)}.{0 if key == 'step' else 4}f}" for key in _COLUMNS))
    print(result.stopped or "not stopped", flush=True)
    return rows


def _judge(rows: list[dict[str, Any]]) -> None:
    """Prints the first step of each search at which each rule would have stopped it."""
    rules = {"the guard": lambda row: row["change"] >= 0, "RobustDARTS alone": lambda row: True}
    for rule, agrees in rules.items():
        for name in _PHOTOGRAPHS:
            stops = {row["seed"]: "-" for row in rows if row["photographs"] == name}
            for row in reversed(rows):
                if row["photographs"] == name and row["ratio"] < GuardConfig.ratio and agrees(row):
                    stops[row["seed"]] = row["step"]
            caught = sum(step != "-" for step in stops.values())
            print(f"{rule}, {name}: stopped {caught} of {len(stops)}, at steps {', '.join(map(str, stops.values()))}")


def _windows(history: list[dict[str, Any]], row: dict[str, Any], key: str, cfg: SearchConfig) -> tuple[float, float]:
    """Averages of `key` over the guard's two windows that end at `row`; NaN before there are two."""
    k = cfg.guard.window
    seen = [old[key] for old in history if cfg.warmup_steps < old["step"] <= row["step"]][-2 * k :]
    return (sum(seen[:k]) / k, sum(seen[k:]) / k) if len(seen) == 2 * k else (math.nan, math.nan)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.collapse", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--strategy", default="darts", help="a differentiable strategy (default %(default)s)")
    parser.add_argument("--steps", type=int, default=120, help="of each search (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="searches of each kind (default %(default)s)")
    parser.add_argument("--first_seed", type=int, default=0, help="(default %(default)s)")
    parser.add_argument("--go_on", action="store_true", help="watch, but never stop")
    parser.add_argument("--output", type=Path, metavar="CSV", help="the histories as a table")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
