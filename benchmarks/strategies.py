"""Searches the benchmark's space with every strategy and looks up, in a table of all its members, what each has found.

    python benchmarks/strategies.py --seeds 10 --out runs/strategies
    python benchmarks/strategies.py --seeds 10 --out runs/planted --teacher 2 --table planted
    python benchmarks/strategies.py --strategies darts gdas --seeds 2 --set strategy.lr=0.03 --out runs/lr

A search sees the table's training photographs only: 45 % for the weights, 45 % for the architecture, 10 % held out. The
table's scores come from other photographs. One row a search is appended to ranks.csv; a killed run goes on.

rank: of what was found among all members, 1 is best. rival_rank: of the one random genotype with the same seed.
tau: Kendall's, between the trained supernet's shared-weights loss and the table's loss, over all members (the first
--tau_seeds seeds). gap: loss of the found genotype with shared weights less the mixture's before it was derived.
"""

import argparse
import csv
import dataclasses
import tempfile
import time
from pathlib import Path
from statistics import mean, median

import torch
import yaml

import nas.benchmark
from genotypes.files import read_csv
from nas.run import RunFolder, quiet
from nas.search import SearchConfig, open_search, search
from nas.search.scoring import score_genotype
from nas.strategies import STRATEGIES, random_choices, strategy_config
from nas.task import AugmentConfig
from nas.training import OptimConfig
from nas.trials import TrialsConfig
from search_spaces.spaces import space_named

FIELDS = ("strategy", "seed", "rank", "rival_rank", "loss", "regret", "shared_loss", "gap", "tau", "seconds")
FIELDS += ("genotype",)
LEARNERS = tuple(name for name in sorted(STRATEGIES) if name not in ("random", "optuna"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", nargs="+", default=LEARNERS, choices=sorted(STRATEGIES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--tau_seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=320, help="weight steps of a search")
    parser.add_argument("--teacher", type=int, help="plant an optimum: the teacher's seed")
    parser.add_argument("--table", default="fusion", help="where to look up: fusion, planted, or a file")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other options of the search")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = nas.benchmark.load(args.table)
    if table.teacher != args.teacher:
        parser.error(f"the table's masks are of teacher {table.teacher}, not {args.teacher}")
    args.out.mkdir(parents=True, exist_ok=True)
    rows = args.out / "ranks.csv"
    done = {(row["strategy"], int(row["seed"])) for row in (read_csv(rows) if rows.exists() else ())}
    photos = photographs(args.teacher)
    for seed in range(args.seeds):  # seed by seed, so that an early end leaves a fair comparison
        for strategy in args.strategies:
            if (strategy, seed) in done:
                continue
            cfg = configure(strategy, seed, args)
            row = one(cfg, photos, table, teacher=args.teacher, tau=seed < args.tau_seeds)
            append(rows, row)
            print({key: row[key] for key in FIELDS[:-1]}, flush=True)
    summarise(read_csv(rows))


def summarise(rows: list[dict[str, str]]) -> None:
    """Prints the table of docs/strategies.md."""
    print("| strategy | searches | median rank | ranks | mean regret | tau | gap | CPU s a search |")
    print("|---|---|---|---|---|---|---|---|")
    for strategy in dict.fromkeys(row["strategy"] for row in rows):
        ours = [row for row in rows if row["strategy"] == strategy]
        ranks = sorted(int(row["rank"]) for row in ours)
        regret, gap, seconds = (mean(float(row[key]) for row in ours) for key in ("regret", "gap", "seconds"))
        taus = ", ".join(f"{float(row['tau']):.2f}" for row in ours if row["tau"])
        print(
            f"| {strategy} | {len(ours)} | {median(ranks):g} | {', '.join(map(str, ranks))} | {regret:.4f} | {taus} "
            f"| {gap:+.3f} | {seconds:.0f} |"
        )
    rivals = {row["seed"]: int(row["rival_rank"]) for row in rows}
    print(f"| random genotype | {len(rivals)} | {median(rivals.values()):g} | {min(rivals.values())} to ", end="")
    print(f"{max(rivals.values())} | | | | 0 |")


def photographs(teacher: int | None):
    """The table's training photographs."""
    protocol = nas.benchmark.TableProtocol()
    if teacher is None:
        return nas.benchmark.photographs(protocol)[0]
    return nas.benchmark.planted_photographs(teacher, protocol)[0]


def configure(strategy: str, seed: int, args: argparse.Namespace) -> SearchConfig:
    protocol, kind = nas.benchmark.TableProtocol(), strategy_config(strategy)
    cfg = SearchConfig(
        space=space_named(str(Path(nas.benchmark.__file__).with_name("space.yaml"))),
        strategy=replace(kind, ["lr"], 0.03) if hasattr(kind, "lr") else kind,
        size=protocol.size,
        batch_size=protocol.batch_size,
        steps=args.steps,
        warmup_steps=args.steps // 4,
        evaluate_every=args.steps // 8,
        optim=OptimConfig(lr=protocol.lr),
        augment=AugmentConfig(flip=0.5, crop=0.0),
        trials=TrialsConfig(count=60),
        rivals=0,
        held_out_limit=1000,
        seed=seed,
    )
    for text in args.set:
        key, _, value = text.partition("=")
        cfg = replace(cfg, key.split("."), yaml.safe_load(value))
    return cfg


def replace(cfg, keys, value):
    """A copy of nested frozen dataclasses with one field changed."""
    inner = value if len(keys) == 1 else replace(getattr(cfg, keys[0]), keys[1:], value)
    return dataclasses.replace(cfg, **{keys[0]: inner})


def one(cfg: SearchConfig, photos, table, *, teacher: int | None, tau: bool) -> dict:
    """Search, and look up what was found."""
    setup = open_search(cfg, photos=photos)
    if teacher is not None:  # as the table's trainings started; pc_darts has too few channels and starts at random
        start = nas.benchmark.planted_supernet(teacher).state_dict()
        with torch.no_grad():
            for name, value in setup.net.state_dict().items():
                if name in start and start[name].shape == value.shape:
                    value.copy_(start[name])
    began = time.process_time()
    with tempfile.TemporaryDirectory() as folder, quiet():
        run = RunFolder.open(folder, "search", "")
        result = search(cfg, run, setup=setup)
        seconds = time.process_time() - began
        mixture = run.history[-1]["held_out_loss"] if run.history else float("nan")
    edges = table.space.open_edges()
    operations = result.genotype.graph.operations()
    found = {edge: operations[edge] for edge in edges}
    agreement = ""
    if tau:
        predicted = [(i, score_genotype(setup.net, table.choices(i), setup)["loss"]) for i in range(len(table))]
        agreement = round(nas.benchmark.rank_agreement(table, predicted), 4)
    shared = result.scores.get("loss", float("nan"))
    return {
        "strategy": cfg.strategy.name,
        "seed": cfg.seed,
        "rank": table.rank(found),
        "rival_rank": table.rank(random_choices(edges, 1000 + cfg.seed)),
        "loss": round(table.query(found).loss, 5),
        "regret": round(table.regret(found), 5),
        "shared_loss": round(shared, 5),
        "gap": round(shared - mixture, 5),
        "tau": agreement,
        "seconds": round(seconds, 1),
        "genotype": " ".join(found.values()),
    }


def append(path: Path, row: dict) -> None:
    new = not path.exists()
    with open(path, "a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerow(row)


if __name__ == "__main__":
    main()
