"""Does a search over whole networks beat uniform scaling? One supernet, some budgets, short trainings.

python benchmarks/whole_networks.py --data DUTS-TR --weights mobilenet_v2.pth --out runs/whole_networks
python benchmarks/whole_networks.py --study five_budgets ...
python benchmarks/whole_networks.py --study five_budgets --alone 0 4 ...   # these members again, by the table's steps
python benchmarks/whole_networks.py --study five_budgets --alone 0 4 --like 7 ...   # for the time of 7's steps, here
python benchmarks/whole_networks.py [--study NAME] --tables       # tables and figure again, from benchmarks/results

The first two search (NAME.yaml: a sandwich supernet on `compact`, and a study by loss and cost), time some members,
score them with the supernet's weights, and train them, all alike: whole_networks from the backbone's ImageNet weights,
five_budgets from the supernet's. Ten random members of five_budgets are trained from ImageNet's weights, too, each for
a tenth of the time that all of the search took: what the same computation finds without one. All may be stopped and
started again: what is done lies in OUT. Of the photographs that are held out some select (the study reads them), and
the others judge.
"""

import argparse
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from genotypes import Genotype
from genotypes.files import read_csv, write_csv, write_text
from nas.benchmark import kendall_tau
from nas.benchmark.gate import member_trainer, train_member
from nas.cost import count
from nas.cost.clock import warn_if_busy
from nas.network import Network, build
from nas.run import find_checkpoint, load_checkpoint, seeded
from nas.search import __main__ as search
from nas.search.config import SearchConfig
from nas.search.members import MemberScores
from nas.search.objective import time_network
from nas.search.sandwich import Sandwich
from nas.search.setup import SearchSetup, open_search
from nas.search.uniform_scaling import scaled_line
from nas.strategies import SandwichSearch, random_choices
from nas.task import at_size, target
from nas.training import HeldOut, Trainer

HERE = Path(__file__).parent
STEPS = 600
STUDY = 32 / 65  # of the time that the supernet's training took: the first study of five budgets took 32 and 65 minutes
INHERITED, ALONE = "inherited", "alone"


@dataclass(frozen=True, kw_only=True)
class Study:
    """budgets: sides in px; each is what uniform scaling costs there, with the widest decoder. cost: macs or ms.

    line: sides of the points of uniform scaling. random: members that take .8 to 1 of the smallest budget, or (near
    False) any. seeds: trainings of a member of each kind. further: they go on from the supernet's weights. alone: the
    first so many random members share what the search took.
    """

    budgets: tuple[int, ...]
    line: tuple[int, ...]
    cost: str
    random: int = 16
    near: bool = True
    seeds: Mapping[str, int]
    further: bool = False
    alone: int = 0


STUDIES = {
    "whole_networks": Study(
        budgets=(64, 96), line=(64, 80, 96), cost="macs", seeds={"line": 3, "found": 3, "random": 2}
    ),
    "five_budgets": Study(
        budgets=(64, 96, 128, 160, 192),
        line=(64, 96, 128, 160, 192),
        cost="ms",
        near=False,
        seeds={"line": 3, "found": 3, "random": 1},
        further=True,
        alone=10,
    ),
}
LOOKS = {  # colours and markers that are told apart without colours, too
    "line": ("uniform scaling", "#0072b2", "^"),
    "found": ("found", "#d55e00", "*"),
    "random": ("random", "#7a8594", "o"),
}


@dataclass(frozen=True)
class Chosen:
    """A member. number: of the line its side, of what was found its budget's side, of a random one its place."""

    kind: str
    number: int
    choices: dict[str, Any]
    genotype: Genotype


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--study", choices=STUDIES, default="whole_networks")
    parser.add_argument("--data", help="DUTS-TR, with DUTS-TR-Image and DUTS-TR-Mask in it")
    parser.add_argument("--weights", help="ImageNet weights of mobilenet_v2")
    parser.add_argument("--cache", help="folder that keeps decoded photographs")
    parser.add_argument("--out", type=Path, help="folder of the search and the trainings")
    parser.add_argument("--alone", type=int, nargs="+", metavar="NUMBER", help="train these random members alone again")
    parser.add_argument("--like", type=int, nargs="+", metavar="NUMBER", help="each for the mean time of these, here")
    parser.add_argument("--tables", action="store_true", help="only print the tables and draw the figure")
    given = parser.parse_args()
    study = STUDIES[given.study]
    if not given.tables:
        if not (given.data and given.weights and given.out):
            parser.error("--data, --weights and --out are needed, or --tables")
        if given.alone:
            again(given)
        else:
            run(given, study)
    rows = read_csv(results(given.study))
    table(rows, study)
    draw(rows, given.study)


def command_line(given: argparse.Namespace, folder: Path) -> list[str]:
    """Of the study's search, which begins in that folder."""
    files = ["--data", f"DUTS-TR={given.data}", "--backbone_weights", given.weights, "--out", str(folder)]
    files += ["--cache", given.cache] if given.cache else []
    return ["--config", str(HERE / f"{given.study}.yaml"), *files]


def again(given: argparse.Namespace) -> None:
    """Random members trained alone once more, without a search: for the steps that the table says, or for as many as
    take here what the table's steps of other members take in the mean."""
    cfg, _ = search.COMMAND.parse(command_line(given, given.out / "supernet"))
    setup = open_search(cfg)
    rows: list[dict[str, Any]] = [*read_csv(results(given.study))]
    drawn = {int(row["number"]): row for row in rows if row["seed"] == ALONE}
    networks = {number: setup.space.decide(chosen_in(row, setup.space)) for number, row in drawn.items()}

    def steps_like(number: int) -> int:
        times = [int(drawn[one]["steps"]) * step_seconds(networks[one], cfg, setup) for one in given.like]
        return round(float(np.mean(times)) / step_seconds(networks[number], cfg, setup))

    for number in given.alone:
        row, genotype = drawn[number], networks[number]
        if given.like:
            file = f"steps-{number}-like-{'-'.join(map(str, given.like))}.json"
            row["steps"] = kept(given.out / file, partial(steps_like, number))
        make = partial(alone, genotype, int(row["steps"]), cfg, setup)
        row |= kept(scores_file(given.out, genotype, ALONE), make)
        write_csv(results(given.study), rows)


def alone(genotype: Genotype, steps: int, cfg: SearchConfig, setup: SearchSetup) -> dict[str, Any]:
    """Its scores, trained from ImageNet's weights."""
    with seeded(0):
        net = build(genotype, cfg.backbone_weights)
    return judged(train_member(net, replace(setup.weights, seed=0, stream="train"), cfg.loss, cfg.optim, steps), setup)


def scores_file(out: Path, genotype: Genotype, how: str) -> Path:
    return out / f"scores/{genotype.hash[:12]}@{genotype.input.size[0]}-{how}.json"


def chosen_in(row: Mapping[str, str], space: Genotype) -> dict[str, Any]:
    """A member's choices, of a row of a table."""
    return {way: {str(one): one for one in some}[row[way]] for way, some in space.choices().items()}


def run(given: argparse.Namespace, study: Study) -> None:
    out, folder = given.out, given.out / "supernet"
    new, resume = command_line(given, folder), ["--out", str(folder), "--resume"]
    if not (folder / "scores.json").is_file():
        search.main(resume if (folder / "config.yaml").is_file() else new)
    cfg, _ = search.COMMAND.parse(new)
    setup = open_search(cfg)

    setup.net.load_state_dict(load_checkpoint(find_checkpoint(folder))["net"])
    inherited = MemberScores(setup.net, setup.weights, setup.held_out)

    def scores(member: Chosen, how: str) -> dict[str, Any]:
        if how == INHERITED:
            return judged(inherited.network(member.genotype), setup)
        if how == ALONE:
            return alone(member.genotype, shares[str(member.number)], cfg, setup)
        with seeded(int(how)):
            net = inherited.network(member.genotype) if study.further else build(member.genotype, cfg.backbone_weights)
        batches = replace(setup.weights, seed=int(how), stream="train")
        return judged(train_member(net, batches, cfg.loss, cfg.optim, STEPS), setup)

    members, ms = chosen(setup.space, study, folder / "trials.csv", out)
    shares = kept(out / f"shares-{digest(members)}.json", lambda: shared_steps(members, study, cfg, setup))
    rows: list[dict[str, Any]] = []
    for member, how in plan(members, study):
        found = kept(scores_file(out, member.genotype, how), partial(scores, member, how))
        cost = count(member.genotype)
        steps = {INHERITED: 0, ALONE: shares.get(str(member.number))}.get(how, STEPS)
        about = {"kind": member.kind, "number": member.number, "seed": how, "steps": steps}
        about |= {"params": cost.params, "macs": cost.macs}
        rows.append(about | {"ms": ms[f"{member.kind}-{member.number}"]} | found | member.choices)
        write_csv(results(given.study), rows)


def results(study: str) -> Path:
    return HERE / "results" / f"{study}.csv"


def plan(members: Sequence[Chosen], study: Study) -> list[tuple[Chosen, str]]:
    """What is scored, in this order: with the supernet's weights, trained with a seed, trained alone."""
    seeds = range(max(study.seeds.values()))
    trained = [(member, str(seed)) for seed in seeds for member in members if seed < study.seeds[member.kind]]
    return [*((member, INHERITED) for member in members), *trained, *((m, ALONE) for m in sharing(members, study))]


def sharing(members: Sequence[Chosen], study: Study) -> list[Chosen]:
    return [member for member in members if member.kind == "random"][: study.alone]


def seconds(trainer: Trainer, steps: range) -> float:
    """Of a step, timed here and now; the first, which takes longer, is not one of them."""
    trainer.advance()
    began = trainer.clock()
    for trainer.step in steps:
        trainer.advance()
    return (trainer.clock() - began) / len(steps)


def step_seconds(genotype: Genotype, cfg: SearchConfig, setup: SearchSetup) -> float:
    """Of a step in which a member is trained by itself."""
    batches = replace(setup.weights, stream="train")
    return seconds(member_trainer(build(genotype), batches, cfg.loss, cfg.optim, STEPS), range(8))


def shared_steps(members: Sequence[Chosen], study: Study, cfg: SearchConfig, setup: SearchSetup) -> dict[str, int]:
    """Steps that take a random member its share of the search's time: the supernet's training, the study, and one
    training of what was found at each budget. Steps are timed here and now, the study is `STUDY` of the training."""
    if not study.alone:
        return {}
    assert isinstance(cfg.strategy, SandwichSearch.Config)
    batches = replace(setup.weights, stream="train")
    supernet = Sandwich(deepcopy(setup.net), setup.space, batches, cfg.loss, cfg.strategy, steps=cfg.steps)
    steps = range(0, cfg.steps, cfg.steps // 40)  # from all of the training: not all take as long
    total = cfg.steps * seconds(Trainer(supernet, cfg.optim, cfg.steps), steps) * (1 + STUDY)
    total += STEPS * sum(step_seconds(member.genotype, cfg, setup) for member in members if member.kind == "found")
    print(f"the search takes {total / 60:.0f} minutes of such steps")
    return {
        str(m.number): round(total / study.alone / step_seconds(m.genotype, cfg, setup))
        for m in sharing(members, study)
    }


def kept(file: Path, make: Callable[[], Any]) -> Any:
    """What the file holds, or else what is made now and kept there."""
    if not file.is_file():
        write_text(file, json.dumps(make()))
    return json.loads(file.read_text())


def digest(members: Iterable[Chosen]) -> str:
    """Of who they are: what a file keeps belongs to these members, whatever the search finds next."""
    text = " ".join(f"{member.kind}-{member.number}-{member.genotype.identity}" for member in members)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def chosen(space: Genotype, study: Study, trials: Path, out: Path) -> tuple[list[Chosen], dict[str, float]]:
    """The line's points, what the study found at each budget, random members, and the milliseconds of all."""
    points = scaled_line(space)
    widest = max(point["decoder.channels"] for point in points)
    sides = {p["input.size"]: p for p in points if p["decoder.channels"] == widest and p["input.size"] in study.line}
    at = {side: Chosen("line", side, point, space.decide(point)) for side, point in sides.items()}
    line = list(at.values())

    def ms_of(some: list[Chosen]) -> dict[str, float]:
        return kept(out / f"ms-{digest(some)}.json", lambda: times(some))

    rows = [row for row in read_csv(trials) if row["state"] == "complete"]
    rows.sort(key=lambda row: float(row["loss"]))
    tried = [chosen_in(row, space) for row in rows]
    if study.cost == "macs":
        spent = [float(row["macs"]) for row in rows]
        budgets = {side: float(count(at[side].genotype).macs) for side in study.budgets}
    else:  # the best that seemed to keep a budget, or nearly, are timed again, in turn with the line
        rough = ms_of(line)
        some = {}
        for side in study.budgets:
            within = [n for n, row in enumerate(rows) if float(row["latency"]) <= 1.1 * rough[f"line-{side}"]]
            some |= {n: Chosen("tried", n, tried[n], space.decide(tried[n])) for n in within[:12]}
        ms = ms_of([*line, *some.values()])
        spent = [ms.get(f"tried-{n}", math.inf) for n in range(len(rows))]
        budgets = {side: ms[f"line-{side}"] for side in study.budgets}
    members = list(line)
    for side, budget in budgets.items():
        best = tried[next(n for n, cost in enumerate(spent) if cost <= budget)]
        members.append(Chosen("found", side, best, space.decide(best)))
    number = drawn = 0
    least = count(at[min(study.budgets)].genotype).macs
    while drawn < study.random:
        choices = dict(random_choices(space.choices(), number, space.reaches_image))
        if not study.near or 0.8 <= count(space.decide(choices)).macs / least <= 1:
            members.append(Chosen("random", drawn, choices, space.decide(choices)))
            drawn += 1
        number += 1
    return members, ms_of(members)


def times(members: Iterable[Chosen]) -> dict[str, float]:
    """Milliseconds of the deployed form in ONNX Runtime, one photograph, one thread: each as the study times it, alone
    for half a second; three times in turn, of which the least counts."""
    members = list(members)
    found: dict[str, list[float]] = {f"{member.kind}-{member.number}": [] for member in members}
    with warn_if_busy():
        for _ in range(3):
            for member in members:
                ms = time_network(member.genotype, "cpu", "onnxruntime")
                found[f"{member.kind}-{member.number}"].append(ms)
    return {name: min(some) for name, some in found.items()}


@torch.no_grad()
def judged(net: Network, setup: SearchSetup) -> dict[str, Any]:
    """Scores on the half that selects and on the half that judges, and each photograph's MAE in the latter."""
    net.eval()
    size, judges = net.genotype.input.size, judging(setup)

    def forward(x: Tensor) -> list[Tensor]:
        return [at_size(logits, (x.shape[-2], x.shape[-1])) for logits in net(at_size(x, size))]

    scores: dict[str, Any] = {}
    for name, half in (("selecting", setup.held_out), ("judging", judges)):
        scores |= {f"{name}_{key}": value for key, value in half.score(forward).items()}
    errors: list[float] = []
    for part in judges.samples.rows.split(judges.chunk):
        x, masks = judges.samples.inputs(part)
        maps = forward(x)[0].sigmoid()
        errors += (maps - target(masks)).abs().mean((1, 2, 3)).tolist()
    return scores | {"errors": " ".join(f"{error:.4f}" for error in errors)}


def judging(setup: SearchSetup) -> HeldOut:
    """The photographs that neither the supernet nor the study reads: the part that is held out, less what selects."""
    rows = torch.arange(len(setup.photos))
    read = torch.cat([setup.weights.samples.rows, setup.held_out.samples.rows])
    return replace(setup.held_out, samples=replace(setup.held_out.samples, rows=rows[~torch.isin(rows, read)]))


def scored(rows: Iterable[dict[str, str]], kind: str, number: int | str, how: str = "trained") -> list[dict[str, str]]:
    """A member's rows: inherited (one), trained (one a seed), or alone (one)."""
    mine = [row for row in rows if (row["kind"], row["number"]) == (kind, str(number))]
    return [row for row in mine if (row["seed"] if row["seed"] in (INHERITED, ALONE) else "trained") == how]


def mean(rows: Iterable[dict[str, str]], column: str) -> float:
    return float(np.mean([float(row[column]) for row in rows]))


def table(rows: list[dict[str, str]], study: Study) -> None:
    print("| | MMACs | ms | inherited MAE | maxF | seeds | trained MAE | maxF |\n" + "|---" * 8 + "|")
    for first in (row for row in rows if row["seed"] == INHERITED):
        cells = [f"{first['kind']} {first['number']}", f"{float(first['macs']) / 1e6:.1f}", f"{float(first['ms']):.2f}"]
        trained = scored(rows, first["kind"], first["number"])
        for some in ([first], trained):
            cells += [str(len(some))] if some is trained else []
            cells += [f"{mean(some, f'judging_{name}'):.4f}" if some else "" for name in ("MAE_raw", "maxF")]
        print("| " + " | ".join(cells) + " |")
    for how in ("inherited", "trained"):
        for side in study.budgets:
            beside_the_line(rows, study, side, how)
    chance(rows, study)
    best_of_equal_time(rows, study)
    ranks(rows, study)


def beside_the_line(rows: list[dict[str, str]], study: Study, side: int, how: str) -> None:
    """What was found within a budget less the line's point there, and what the line takes at an equal MAE."""
    found, line = ({row["seed"]: row for row in scored(rows, kind, side, how)} for kind in ("found", "line"))
    seeds = sorted(found.keys() & line.keys())
    if not seeds:
        return
    errors = [
        np.array([[float(one) for one in row[seed]["errors"].split()] for seed in seeds]) for row in (found, line)
    ]
    difference = errors[0] - errors[1]
    print(
        f"\n{how}, {side} px: found less the line {difference.mean():+.4f} MAE, standard error "
        f"{bootstrap(difference):.4f} ({'' if how == 'inherited' else f'seeds {len(seeds)}, '}"
        f"photographs {difference.shape[1]})"
    )
    MAE = mean(found.values(), "judging_MAE_raw")
    for cost in ("macs", "ms"):
        dear, beyond = cost_at(rows, "line", study.line, how, cost, MAE)
        print(f"  at equal MAE the line takes {dear / mean(found.values(), cost):.2f}x its {cost}{beyond}")


def cost_at(
    rows: list[dict[str, str]], kind: str, numbers: Iterable[int], how: str, cost: str, MAE: float
) -> tuple[float, str]:
    """What members of a kind take for this MAE, between their points; in words that they end before it."""
    points = sorted((mean(some, "judging_MAE_raw"), some) for one in numbers if (some := scored(rows, kind, one, how)))
    dear = [np.log(mean(some, cost)) for _, some in points]
    beyond = " or more: it has no such MAE" if points[0][0] > MAE else " or less" if points[-1][0] < MAE else ""
    return float(np.exp(np.interp(MAE, [at for at, _ in points], dear))), beyond


def chance(rows: list[dict[str, str]], study: Study) -> None:
    """How far random members of one budget lie apart, over how far seeds of one do; which of them beat the line."""
    if not study.near:
        beside_random(rows, study)
        return
    keys = dict.fromkeys((row["kind"], row["number"]) for row in rows)
    errors = {key: [float(row["judging_MAE_raw"]) for row in scored(rows, *key)] for key in keys}
    seeds = float(np.sqrt(np.mean([np.var(some, ddof=1) for some in errors.values() if len(some) > 1])))
    drawn = {number: some for (kind, number), some in errors.items() if kind == "random"}
    line, found = (float(np.mean(errors[kind, str(study.budgets[0])])) for kind in ("line", "found"))
    print(
        f"\n{len(drawn)} random members: MAE {np.mean([some[0] for some in drawn.values()]):.4f} (first seed); "
        f"the line {line:.4f}, found {found:.4f}; seeds of one member lie {seeds:.4f} apart"
    )
    for seed in range(study.seeds["random"]):
        MAE = {number: some[seed] for number, some in drawn.items() if len(some) > seed}
        if len(MAE) < 3:
            continue
        ranked = sorted(MAE.values())
        some = ranked[: len(ranked) - len(ranked) // 3]
        winners = [number for number, one in MAE.items() if line - one > 2 * seeds]
        spreads = [np.std(part, ddof=1) / seeds for part in (ranked, some)]
        print(
            f"  seed {seed}: best {ranked[0]:.4f}, R = {spreads[0]:.1f}, without the worst third {spreads[1]:.1f}; "
            f"beat the line by twice the seeds' spread: {', '.join(winners) or 'none'}"
        )
    first = [row for kind, number in keys if kind == "random" for row in scored(rows, kind, number)[:1]]
    best = min(first[:10], key=lambda row: float(row["selecting_MAE_raw"]))
    print(
        f"  best of the first ten by the half that selects: {best['number']}, MAE {float(best['judging_MAE_raw']):.4f}"
    )


def beside_random(rows: list[dict[str, str]], study: Study) -> None:
    """What random members take, with the supernet's weights, over what the found ones take at their MAE."""
    drawn = [row for row in rows if (row["kind"], row["seed"]) == ("random", INHERITED)]
    for kind, numbers in (("found", study.budgets), ("line", study.line)):
        ratios = []
        for row in drawn:
            dear, beyond = cost_at(rows, kind, numbers, "inherited", "ms", float(row["judging_MAE_raw"]))
            ratios += [] if beyond else [float(row["ms"]) / dear]
        if ratios:
            print(
                f"\n{len(ratios)} of {len(drawn)} random members within the range of {kind}: at equal MAE they take "
                f"{min(ratios):.2f}x to {max(ratios):.2f}x its ms, mean {np.mean(ratios):.2f}x"
            )


def best_of_equal_time(rows: list[dict[str, str]], study: Study) -> None:
    """What was found at each budget, less the best random member within it of those that share the search's time."""
    alone = [row for row in rows if row["seed"] == ALONE]
    for side in study.budgets if alone else ():
        budget = mean(scored(rows, "line", side, INHERITED), "ms")
        within = [row for row in alone if float(row["ms"]) <= budget]
        if not within:
            print(f"\n{side} px: none of {len(alone)} random members keeps {budget:.2f} ms")
            continue
        best = min(within, key=lambda row: float(row["selecting_MAE_raw"]))
        found = np.array([[float(one) for one in row["errors"].split()] for row in scored(rows, "found", side)])
        difference = found - np.array([float(one) for one in best["errors"].split()])
        print(
            f"\n{side} px: found less the best of {len(within)} random members that were trained alone, number "
            f"{best['number']}, {float(best['ms']):.2f} ms, MAE {float(best['judging_MAE_raw']):.4f}: "
            f"{difference.mean():+.4f}, standard error {bootstrap(difference):.4f}"
        )


def ranks(rows: list[dict[str, str]], study: Study) -> None:
    """Do inherited scores rank members as trained ones do? By the first seed, that all have."""
    pairs = [(row, scored(rows, row["kind"], row["number"], "inherited")[0]) for row in rows if row["seed"] == "0"]
    budget = mean(scored(rows, "line", study.budgets[0], "inherited"), "macs")
    near = [pair for pair in pairs if 0.8 <= float(pair[0]["macs"]) / budget <= 1.2]
    for name, some in (("all", pairs), (f"within 20 % of the budget of {study.budgets[0]} px", near)):
        if len(some) > 2:
            tau = kendall_tau(*([float(pair[n]["judging_MAE_raw"]) for pair in some] for n in (0, 1)))
            lost = mean([a for a, _ in some], "judging_maxF") - mean([b for _, b in some], "judging_maxF")
            print(f"\n{len(some)} members, {name}: tau {tau:.2f} of inherited and trained MAE; maxF lost {lost:.4f}")


def bootstrap(differences: np.ndarray, repeats: int = 10_000) -> float:
    """Standard error of the mean of paired differences [seeds, photographs], both drawn with replacement."""
    rng = np.random.default_rng(0)
    seeds, photographs = differences.shape
    means = [
        differences[rng.integers(seeds, size=seeds)][:, rng.integers(photographs, size=photographs)].mean()
        for _ in range(repeats)
    ]
    return float(np.std(means))


def draw(rows: list[dict[str, str]], study: str) -> None:
    """MAE against milliseconds, trained and with the supernet's weights."""
    matplotlib.rcParams.update({"svg.hashsalt": "whole networks", "font.size": 9})
    figure = Figure(figsize=(10 if any(row["seed"] != INHERITED for row in rows) else 6, 4), layout="constrained")
    hows = ("inherited", "trained") if any(row["seed"] != INHERITED for row in rows) else ("inherited",)
    panels = zip(figure.subplots(1, len(hows), sharey=True, squeeze=False)[0], hows, strict=True)
    titles = {"inherited": "with the supernet's weights", "trained": f"trained, {STEPS} steps"}
    for axes, how in panels:
        for kind, (label, colour, marker) in LOOKS.items():
            numbers = dict.fromkeys(row["number"] for row in rows if row["kind"] == kind)
            some = [found for number in numbers if (found := scored(rows, kind, number, how))]
            axes.plot(
                [mean(one, "ms") for one in some],
                [mean(one, "judging_MAE_raw") for one in some],
                color=colour,
                marker=marker,
                markersize=11 if marker == "*" else 6,
                linestyle="-" if kind == "line" else "none",
                label=label if some else None,
            )
        axes.set(xlabel="milliseconds, ONNX Runtime, one thread", title=titles[how])
        axes.grid(color="#e4e7eb", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.legend(frameon=False)
    figure.axes[0].set_ylabel("MAE on the half that judges")
    figure.savefig(HERE.parent / "docs" / "images" / f"{study}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
