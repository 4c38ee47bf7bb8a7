"""What should a supernet's smaller members learn from? Arms of in-place distillation, on that of whole_networks.py.

python benchmarks/in_place.py train ARM SEED --data DUTS-TR --weights mobilenet_v2.pth --out runs/in_place
python benchmarks/in_place.py table              # from benchmarks/results/in_place.csv

Each arm trains the supernet of whole_networks.yaml, and scores the members of benchmarks/results/whole_networks.csv
with its weights on the photographs that judge there, beside what those members score trained alone (600 steps).
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from genotypes.files import read_csv, write_csv
from nas.benchmark import kendall_tau
from nas.run import RunFolder
from nas.search import __main__ as search
from nas.search.members import MemberScores
from nas.search.sandwich import Sandwich
from nas.search.setup import open_search
from nas.strategies import SandwichSearch
from nas.task import LossConfig, at_size, multi_output_loss, split
from nas.training import Progress, Trainer, fit

HERE = Path(__file__).parent
MEMBERS, FILE = HERE / "results" / "whole_networks.csv", HERE / "results" / "in_place.csv"
HARD, SOFT = {"bce": 1.0, "iou": 1.0}, {"bce": 1.0, "soft_iou": 1.0}
ARMS = {  # the largest's share in what a smaller member learns from, and the terms for its maps
    "sharpened": (1.0, HARD),
    "graded": (1.0, SOFT),
    "half_masks": (0.5, SOFT),
    "masks": (0.0, SOFT),
}


class Arm(Sandwich):
    share: float
    terms: dict[str, float]

    def taught(self, outputs: Sequence[Tensor], maps: Tensor, masks: Tensor) -> Tensor:
        cfg = LossConfig(teacher=self.share, teacher_terms=self.terms)
        own = at_size(masks[:, :1], (maps.shape[-2], maps.shape[-1]))
        return multi_output_loss(outputs, torch.cat([own, maps], 1), cfg)


def train(given: argparse.Namespace) -> None:
    name = f"{given.arm}-{given.seed}" + (f"-{given.steps}" if given.steps else "")
    out = given.out / name
    options = ["--config", str(HERE / "whole_networks.yaml"), "--data", f"DUTS-TR={given.data}"]
    options += ["--backbone_weights", given.weights, "--seed", str(given.seed), "--out", str(out)]
    options += ["--cache", given.cache] if given.cache else []
    options += ["--steps", str(given.steps)] if given.steps else []
    cfg, _ = search.COMMAND.parse(options)
    setup = open_search(cfg)
    _, judges, _ = split(len(setup.photos), (0.85, 0.075, 0.075), cfg.data_seed)  # those that judge in MEMBERS
    held_out = replace(setup.held_out, samples=replace(setup.held_out.samples, rows=judges))
    assert isinstance(cfg.strategy, SandwichSearch.Config)
    task = Arm(setup.net, setup.space, setup.weights, cfg.loss, cfg.strategy, steps=cfg.steps, seed=cfg.seed)
    task.share, task.terms = ARMS[given.arm]
    run = RunFolder.open(out, "search", "", resume=out.is_dir(), until=None)
    trainer = Trainer(task, cfg.optim, cfg.steps)
    trainer.resume(run)
    fit(
        trainer,
        lambda: {"step": trainer.step, "train_loss": trainer.totals.means()["train"]},
        at=lambda step: step % cfg.evaluate_every == 0,
        listeners=[Progress(name, {"loss": "train_loss"})],
        run=run,
    )
    scores, rows = MemberScores(setup.net, setup.weights, held_out), []
    choices = setup.space.choices()
    for member in members():
        chosen = {way: {str(one): one for one in some}[member[way]] for way, some in choices.items()}
        found = scores(setup.space.decide(chosen))
        rows.append({"arm": given.arm, "seed": given.seed, "steps": cfg.steps, "kind": member["kind"]})
        rows[-1] |= {"number": member["number"], **found}
    write_csv(out / "scores.csv", rows)


def members() -> list[dict[str, str]]:
    return [row for row in read_csv(MEMBERS) if row["seed"] == "0"]


def collect(out: Path) -> None:
    write_csv(FILE, [row for file in sorted(out.glob("*/scores.csv")) for row in read_csv(file)])


def table() -> None:
    rows = read_csv(FILE)
    trained = {(row["kind"], row["number"]): row for row in members()}
    beside = [("found", "64"), ("line", "64"), ("found", "96"), ("line", "96")]
    print("| arm | steps | seed | MAE | maxF | maxF lost | tau, all | tau, near one budget | MAE of ", end="")
    print(" | MAE of ".join(" ".join(key) for key in beside) + " |\n" + "|---" * (8 + len(beside)) + "|")
    near = {
        key for key, row in trained.items() if 0.8 <= float(row["macs"]) / float(trained["line", "64"]["macs"]) <= 1.2
    }
    for arm, steps, seed in dict.fromkeys((row["arm"], row["steps"], row["seed"]) for row in rows):
        mine = {(r["kind"], r["number"]): r for r in rows if (r["arm"], r["steps"], r["seed"]) == (arm, steps, seed)}
        maxF = np.mean([float(row["maxF"]) for row in mine.values()])
        lost = np.mean([float(trained[key]["judging_maxF"]) for key in mine]) - maxF
        taus = [
            kendall_tau([float(mine[k]["MAE_raw"]) for k in some], [float(trained[k]["judging_MAE_raw"]) for k in some])
            for some in (list(mine), sorted(near))
        ]
        MAE = np.mean([float(row["MAE_raw"]) for row in mine.values()])
        shown = [f"{MAE:.4f}", f"{maxF:.4f}", f"{lost:+.4f}", *(f"{tau:.2f}" for tau in taus)]
        shown += [f"{float(mine[key]['MAE_raw']):.4f}" for key in beside]
        print("| " + " | ".join([arm, steps, seed, *shown]) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("train")
    one.add_argument("arm", choices=ARMS)
    one.add_argument("seed", type=int)
    one.add_argument("--data", required=True)
    one.add_argument("--weights", required=True)
    one.add_argument("--cache")
    one.add_argument("--steps", type=int, help="default: those of whole_networks.yaml")
    one.add_argument("--out", type=Path, required=True)
    commands.add_parser("table").add_argument("--out", type=Path, help="gather the scores of its trainings first")
    given = parser.parse_args()
    if given.command == "train":
        train(given)
    else:
        if given.out:
            collect(given.out)
        table()


if __name__ == "__main__":
    main()
