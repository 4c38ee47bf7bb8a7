"""Is there anything to find in a space? Random members, trained briefly and alike, beside uniform scaling.

`python -m nas.benchmark.gate` answers three questions before a search is paid for:

- R: how far members of one cost lie apart, over how far two seeds of one member do. About 1: chance is as good.
- What do members cost against uniform scaling (`nas.search.uniform_scaling`) at an equal score, in multiply-adds and in
  milliseconds of the deployed form? Where none is cheaper, the space is no better than a smaller picture and a narrower
  decoder.
- Which choice explains how much of what is left?
"""

import sys
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from genotypes import Genotype, UserError
from genotypes.errors import check_least, check_most
from genotypes.files import json_text
from nas.benchmark.judging import COSTS, GateReport, Trained, draw_gate, judge, read_members, write_members
from nas.command import Command, run_command
from nas.cost import count, latencies
from nas.cost.clock import warn_if_busy
from nas.cost.measuring import prepare
from nas.network import Network, build, to_device
from nas.network.weights import backbone_content
from nas.options import owner, to_yaml
from nas.report import report_at_the_end
from nas.run import RunFolder, check_free, open_device, progress_bar, seeded
from nas.run.sizes import LARGEST_BATCH, check_side
from nas.search.members import score_network
from nas.search.uniform_scaling import scaled_line
from nas.strategies import member_choices
from nas.task import (
    AugmentConfig,
    Batch,
    Batches,
    LossConfig,
    PhotoOptions,
    PhotoSet,
    Samples,
    at_size,
    evenly,
    hold_out,
)
from nas.training import DIVERGED_SCORES, Diverged, HeldOut, OptimConfig, Supervised, Trainer, fit
from search_spaces.spaces import SPACES, Space, space_named

__all__ = ["GateConfig", "member_trainer", "run_gate", "time_members", "train_member", "train_members"]


Train = Callable[[Genotype, int], Mapping[str, float]]  # (member, seed) -> loss, maxF and MAE_raw


def train_members(
    space: Genotype,
    train: Train,
    *,
    members: int,
    repeats: int,
    line: int | None,
    seed: int,
    done: Sequence[Trained] = (),
    report: Callable[[list[Trained]], None] = lambda rows: None,
) -> list[Trained]:
    """The scaled line's points and `members` random ones with seed 0; then `repeats` of these with seed 1.

    Where these are fewer, the first of them once more with seed 2, and so on: no training is done twice. A random
    member that is a point of the line, or an earlier member, as happens in a small space, has the scores of that.

    done: trainings of an earlier try, which are not repeated. report: told of all so far after each.
    """
    choices = {
        "line": scaled_line(space, line),
        "random": [member_choices(space, seed, number) for number in range(members)],
    }
    plan = [(kind, number, 0) for kind in choices for number in range(len(choices[kind]))]
    # Every other repeat is one of the line: a seed's spread may differ there.
    for repeat in range(repeats):
        kind = "line" if repeat % 2 and choices["line"] else "random"
        again, number = divmod(repeat // 2 if choices["line"] else repeat, len(choices[kind]))
        plan.append((kind, number, 1 + again))
    rows = list(done)
    finished = {(row.kind, row.number, row.seed) for row in rows}
    known: dict[Hashable, dict[int, Trained]] = {}  # genotype -> seed -> its training
    for row in rows:
        known.setdefault(space.decide(row.choices).identity, {})[row.seed] = row
    with progress_bar(total=len(plan), desc="members", unit="training") as bar:
        for kind, number, run in plan:
            if (kind, number, run) not in finished:
                chosen = choices[kind][number]
                genotype = space.decide(chosen)
                trained = known.setdefault(genotype.identity, {})
                if run not in trained:
                    cost, scores = next(iter(trained.values()), None) or count(genotype), train(genotype, run)
                    trained[run] = Trained(
                        kind=kind,
                        number=number,
                        seed=run,
                        choices=chosen,
                        size=genotype.input.size[0],
                        params=cost.params,
                        macs=cost.macs,
                        **{name: scores[name] for name in ("loss", "maxF", "MAE_raw")},
                    )
                rows.append(replace(trained[run], kind=kind, number=number, choices=chosen))
                report(rows)
            bar.update()
    return rows


def time_members(space: Genotype, rows: Sequence[Trained], runtime: str) -> list[Trained]:
    """The same with `ms`: all members in turn, each once, so that a busy minute slows all; weights do not matter."""
    genotypes = [space.decide(row.choices) for row in rows]
    networks = {
        name: (prepare(genotype, torch.device("cpu"), genotype.input.size)[0], genotype.input.size)
        for name, genotype in {str(genotype.identity): genotype for genotype in genotypes}.items()
    }
    with warn_if_busy():
        ms = latencies(networks, repeats=30, runtime=runtime)
    return [replace(row, ms=ms[str(genotype.identity)]) for row, genotype in zip(rows, genotypes, strict=True)]


@dataclass(frozen=True, kw_only=True)
class GateConfig(PhotoOptions):
    """Whether a space holds anything to find.

    Attributes:
        space: what may be chosen: compact (whole networks), or a space or genotype file whose input size or widths are
            open, too.
        size: the largest side of the pictures in pixels.
        backbone_weights: file with the backbone's pre-trained weights, or package; none: it starts at random.
        teacher: folder of another network's maps, NAME.png for each photograph: a further target of every training;
            loss.teacher is its share.
        members: random members.
        repeats: trainings that are done once more with another seed, of random members and of points in turn.
        line: points of uniform scaling, evenly spaced; 0 for all pairs of a size and a width.
        steps: of every training.
        batch_size: images a step.
        runtime: in which members are timed, as they are deployed, on one thread.
        held_out: share of the photographs that is scored and never trained on.
        held_out_limit: at most so many of them are scored.
        optim: how weights are updated.
        loss: terms and the outputs' weights.
        augment: how batches are varied.
        device: cpu, cuda, or auto.
        seed: of the random members.
        out: folder of the run; default the next free runs/gate-NNN.
    """

    space: Space = owner(space_named, lambda: SPACES, "compact", "NAME|FILE")
    size: int = 192
    backbone_weights: str | None = None
    teacher: str | None = None
    members: int = 11
    repeats: int = 4
    line: int = 6
    steps: int = 300
    batch_size: int = 16
    runtime: Literal["torch", "onnxruntime", "openvino"] = "torch"
    held_out: float = 0.15
    held_out_limit: int = 500
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    device: str = "cpu"
    seed: int = 0
    out: str | None = None

    def __post_init__(self) -> None:
        check_side(self.size)
        check_least(self, members=3, repeats=1, line=0, steps=1, batch_size=2, held_out_limit=1, data_seed=0)
        check_most(self, members=10_000, repeats=10_000, batch_size=LARGEST_BATCH)
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out is a share of the photographs in 0..1, not {self.held_out}")

    @property
    def changeable(self) -> tuple[str, ...]:
        """See `PhotoOptions`."""
        return *super().changeable, "teacher"

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        return {} if self.teacher else self.loss.without_teacher("loss.")


class _AtSize(Supervised):
    """A training at the member's own size, whatever that of the photographs."""

    def make(self, drawn: Batch) -> tuple[Tensor, Tensor]:
        x, y = super().make(drawn)
        size = self.net.genotype.input.size
        return at_size(x, size), at_size(y, size)


def open_gate(cfg: GateConfig) -> tuple[Genotype, PhotoSet, Train]:
    """The space, the photographs, and what trains members; UserError for what cannot be read: no folder is made yet."""
    from nas.deploy import check_runtime  # brings torch.export and sympy: a second

    check_runtime(cfg.runtime)
    device = open_device(cfg.device)
    space = cfg.space.build((cfg.size, cfg.size))
    points = len(scaled_line(space, cfg.line or None))
    if points < 2:  # `judge` would say so, after all trainings
        raise UserError(f"line {cfg.line}: expected 2 points of uniform scaling or more; {space.name} gives {points}")
    photos = cfg.open_photos(max(space.input.size), teacher=cfg.teacher)
    return space, photos, _trainer(cfg, space, photos.to(device), device)


def run_gate(cfg: GateConfig, run: RunFolder, space: Genotype, train: Train) -> list[GateReport]:
    """Train, time and judge: a report for each cost; members.csv, gate.json, gate.svg and the page in the run's folder.

    Goes on where it stopped; members that were timed keep their times.
    """
    file = run.path / "members.json"
    done = read_members(file, space)

    def keep(rows: list[Trained]) -> None:
        run.write_text(file.name, json_text([vars(row) for row in rows]))
        write_members(rows, run.path / "members.csv")

    rows = train_members(
        space,
        train,
        members=cfg.members,
        repeats=cfg.repeats,
        line=cfg.line or None,
        seed=cfg.seed,
        done=done,
        report=keep,
    )
    if any(row.ms is None for row in rows):
        rows = time_members(space, rows, cfg.runtime)
        keep(rows)
    reports = [judge(rows, cost) for cost in COSTS]
    run.write_text("gate.json", json_text({report.cost: vars(report) for report in reports}))
    draw_gate(rows, reports, run.path / "gate.svg", title=space.name)
    run.close()
    report_at_the_end(run.path)
    return reports


def _trainer(cfg: GateConfig, space: Genotype, photos: PhotoSet, device: torch.device) -> Train:
    rows, held_out_rows = hold_out(len(photos), cfg.held_out, cfg.data_seed, name=cfg.data)
    samples = partial(Samples, photos=photos, convention=space.input, device=device)
    judging = samples(rows=evenly(held_out_rows, cfg.held_out_limit))
    held_out = HeldOut(samples=judging, loss=cfg.loss, chunk=2 * cfg.batch_size)
    batches = partial(Batches, batch_size=cfg.batch_size, augment=cfg.augment, stream="train")

    def train(genotype: Genotype, seed: int) -> Mapping[str, float]:
        shown = batches(samples=samples(rows=rows), seed=seed)
        with seeded(seed):
            net = build(genotype, cfg.backbone_weights)
        try:
            return score_network(train_member(net, shown, cfg.loss, cfg.optim, cfg.steps), held_out)
        except Diverged:
            return DIVERGED_SCORES

    return train


def train_member(net: Network, batches: Batches, loss: LossConfig, optim: OptimConfig, steps: int) -> Network:
    """The network, trained on the batches at its genotype's size."""
    trainer = member_trainer(net, batches, loss, optim, steps)
    fit(trainer, lambda: {}, at=lambda step: False)
    return trainer.net


def member_trainer(net: Network, batches: Batches, loss: LossConfig, optim: OptimConfig, steps: int) -> Trainer:
    """What trains a member alone, at its genotype's size."""
    return Trainer(_AtSize(to_device(net, batches.samples.device), batches, loss), optim, steps)


COMMAND = Command(
    config=GateConfig,
    name="nas.benchmark.gate",
    description="Is there anything to find in a space? Random members, briefly trained, beside uniform scaling.",
    examples="""\
  python -m nas.benchmark.gate --backbone_weights mobilenet_v2.pth --data DUTS=DUTS-TR --limit 3000 --steps 600
  python -m nas.benchmark.gate --backbone efficientnet_lite0 --backbone_weights package --data DUTS=DUTS-TR
  python -m nas.benchmark.gate --space my_space.yaml --data DUTS=DUTS-TR --members 16 --line 0
  python -m nas.benchmark.gate --out runs/gate --resume              continue an interrupted one
""",
    first="space space.backbone size backbone_weights data limit members repeats line steps runtime out",
    resume=True,
)


def main(argv: Sequence[str] | None = None) -> None:
    cfg, resume = COMMAND.parse(argv)
    check_free(cfg.out, resume=resume)
    space, photos, train = open_gate(cfg)
    run = RunFolder.open(cfg.out, "gate", to_yaml(cfg), resume=resume)
    weights = backbone_content(space, cfg.backbone_weights)
    run.agree({"space": space.hash, "set of photographs": photos.fingerprint} | weights)
    run.keep_config()
    for report in run_gate(cfg, run, space, train):
        print(
            f"\nby {COSTS[report.cost]}" + (f" in {cfg.runtime}, deployed, one thread" if report.cost == "ms" else "")
        )
        print("\n".join(report.lines()))
    print(f"saved   {run.path / 'members.csv'}, {run.path / 'gate.svg'}")
    print(f"page    {run.path / 'report.html'}")


if __name__ == "__main__":
    sys.exit(run_command(main))
