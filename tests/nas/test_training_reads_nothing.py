"""A step reads no tensor's value: on a GPU each read would wait for the device, and none can be captured in a graph."""

from dataclasses import replace

import pytest
import torch
from tiny_search import config
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import genotypes
from nas.search import SearchConfig, open_search
from nas.search.sandwich import Sandwich
from nas.search.training import search_trainer
from nas.strategies import SandwichSearch
from nas.task import AugmentConfig, LossConfig
from nas.training import Trainer
from retrain import Recipe
from retrain.train import TrainConfig, open_training
from retrain.train.training import training_of
from search_spaces.spaces import SPACES

_READS = (torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.numpy, torch.Tensor.cpu, torch.Tensor.__bool__)
_READS += (torch.Tensor.__float__, torch.Tensor.__int__, torch.Tensor.__index__, torch.Tensor.__array__)
_TAGS = (torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape)


class ReadError(AssertionError):
    pass


class NoMethodReads(TorchFunctionMode):
    """On the CPU some methods read memory without an operator."""

    def __init__(self, allowed=(), counters=set):
        super().__init__()
        self.allowed, self.used, self.counters = allowed, set(), counters

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func in _READS and args[0].data_ptr() not in self.counters():
            if func.__name__ not in self.allowed:
                raise ReadError(func.__name__)
            self.used.add(func.__name__)
        return func(*args, **kwargs or {})


class NoOperatorReads(TorchDispatchMode):
    """Operators whose result, or its shape, depends on values; but for counters that lie in the host's memory."""

    def __init__(self, counters=set):
        super().__init__()
        self.counters = counters

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        reads = any(tag in func.tags for tag in _TAGS)
        if func is torch.ops.aten.index.Tensor:  # by a mask it reads, by numbers it does not
            reads = any(index is not None and index.dtype == torch.bool for index in args[1])
        if reads and args[0].data_ptr() not in self.counters():
            raise ReadError(str(func))
        return func(*args, **kwargs or {})


def take_a_step(trainer: Trainer, optimizers=(), allowed=()) -> set[str]:
    """What the host decides, then `update` under both modes; the allowed reads that were made."""
    trainer.advance()  # optimisers make their state in the first step
    step = trainer.step
    update = trainer.update

    def counters():
        """Adam that is not capturable keeps its step counts in the host's memory, wherever the parameters are."""
        states = [state for o in (trainer.optimizer, *optimizers) for state in o.state.values()]
        return {state["step"].data_ptr() for state in states if "step" in state}

    def watched(drawn):
        with NoMethodReads(allowed, counters) as methods, NoOperatorReads(counters):
            update(drawn)
        used.update(methods.used)

    used: set[str] = set()
    trainer.update = watched
    trainer.advance()
    assert trainer.step == step + 1
    trainer.check()
    return used


HARD = {
    "augment": AugmentConfig(crop=0.2, rotate=10.0, colour=0.2, scales=(1.0, 1.5)),
    "loss": LossConfig(terms={"bce": 1.0, "iou": 1.0, "cel": 1.0, "boundary": 0.5}),
}
# Which modules run is the host's to know, so the paths that gdas draws from alpha are told to it: within the step,
# unless they stay for some.
ALLOWED = {"gdas": {"tolist"}}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    "strategy, options",
    [
        *((name, {}) for name in ("darts", "darts_2nd", "pc_darts", "gdas", "drnas", "one_shot")),
        *((name, {"redraw": 5}) for name in ("gdas", "one_shot")),
    ],
)
def test_a_search_step(strategy, options, precision):
    cfg = config(strategy=strategy, options=options, warmup_steps=0, cost="macs", precision=precision, **HARD)
    setup = open_search(cfg)
    setup = replace(setup, objective=replace(setup.objective, budget=2 * setup.objective.usual))
    strategy_, _, trainer = search_trainer(cfg, setup)
    own = [strategy_.optimizer] if hasattr(strategy_, "optimizer") else []
    allowed = set() if options else ALLOWED.get(strategy, set())
    assert take_a_step(trainer, own, allowed) == allowed


@pytest.mark.parametrize("strategy", ["darts", "drnas"])
def test_a_step_that_mixes_widths(strategy):
    space = SPACES["compact"].make(channels=(4, 8), sizes=(32,), leave_out="none", open_blocks=2)
    cfg = replace(config(strategy=strategy, warmup_steps=0, cost="macs", budget=1e9, **HARD), space=space)
    found, _, trainer = search_trainer(cfg, open_search(cfg))
    take_a_step(trainer, [found.optimizer])


def test_a_step_of_the_second_stage():
    cfg = config(strategy="drnas", warmup_steps=0, steps=2, options={"progressive": True, "partial": 2})
    strategy, _, trainer = search_trainer(cfg, open_search(cfg))
    trainer.advance()
    trainer.steps = 4
    take_a_step(trainer, [strategy.optimizer])
    assert strategy.pruned


@pytest.mark.parametrize("redraw", [1, 5])
def test_a_step_of_the_sandwich_rule(redraw):
    space = replace(SPACES["compact"].make(backbone="tiny"), sizes=(32, 48))
    strategy = SandwichSearch.Config(alone=0.0, redraw=redraw)
    cfg = SearchConfig(strategy=strategy, space=space, data="synthetic:20", size=48, batch_size=4, **HARD)
    setup = open_search(cfg)
    task = Sandwich(setup.net, setup.space, setup.weights, cfg.loss, strategy, steps=9, seed=0, precision="bf16")
    take_a_step(Trainer(task, cfg.optim, 9))


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_training_step(name, precision):
    recipe = Recipe(size=64, batch_size=2, steps=4, ema=0.9, precision=precision, freeze_backbone_norms=True, **HARD)
    recipe = replace(recipe, optim=replace(recipe.optim, name=name, clip=1.0))
    cfg = TrainConfig(genotype="fpn_tiny", data="synthetic:20", recipe=recipe)
    take_a_step(training_of(cfg, open_training(cfg))[0])


def test_a_training_step_that_a_network_teaches():
    hard = HARD | {"loss": replace(HARD["loss"], teacher=1.0)}
    recipe = Recipe(size=64, batch_size=2, steps=4, blend=1.0, precision="bf16", **hard)
    cfg = TrainConfig(genotype="fpn_tiny", data="synthetic:20", recipe=recipe, teacher="sod_s")
    take_a_step(training_of(cfg, open_training(cfg))[0])


def test_a_training_step_with_dynamic_decay():
    recipe = Recipe(size=64, batch_size=2, steps=4, dynamic_decay=0.1)
    cfg = TrainConfig(genotype="csnet_l_x2", data="synthetic:20", recipe=recipe)
    take_a_step(training_of(cfg, open_training(cfg))[0])


@pytest.mark.parametrize(
    "read",
    [
        lambda x: float(x.sum()),
        lambda x: x[x > 0],
        lambda x: x.tolist(),
        lambda x: x.sum().item(),
        lambda x: bool((x > 0).any()),
        lambda x: x.nonzero(),
        lambda x: torch.masked_select(x, x > 0),
        lambda x: torch.equal(x, x),
        lambda x: x.cpu(),
        lambda x: x.numpy(),
    ],
)
def test_the_modes_notice(read):
    with pytest.raises(ReadError), NoMethodReads(), NoOperatorReads():
        read(torch.ones(3))


def test_the_first_bad_step_is_named_though_nobody_looked_at_it(tmp_path):
    recipe = Recipe(size=32, batch_size=4, steps=5)
    cfg = TrainConfig(genotype="fpn_tiny", data="synthetic:20", recipe=recipe)
    trainer, _ = training_of(cfg, open_training(cfg))
    loss = trainer.task.loss
    trainer.task.loss = lambda batch: loss(batch) * (torch.inf if trainer.step == 2 else 1.0)
    for _ in range(5):
        trainer.advance()
    with pytest.raises(genotypes.UserError, match=r"step 2: the loss is inf; try a smaller --recipe\.optim\.lr"):
        trainer.check()


def test_rates_that_are_tensors_are_filled():
    parameter = torch.nn.Parameter(torch.zeros(2))
    rate = torch.tensor(0.0)
    optimizer = torch.optim.SGD([{"params": [parameter], "lr": rate, "peak": 2.0}])
    from nas.training import OptimConfig, set_progress
    from nas.training.optim import load_optimizer

    set_progress(optimizer, OptimConfig(schedule="constant", warmup=0.5), 0.25)
    assert optimizer.param_groups[0]["lr"] is rate and rate == 1.0
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = torch.tensor(3.0)
    load_optimizer(optimizer, state)
    assert optimizer.param_groups[0]["lr"] is rate and rate == 3.0
