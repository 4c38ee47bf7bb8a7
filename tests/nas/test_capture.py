"""Steps captured and replayed: to the bits of steps that run as they are. A recorded graph stands in for a GPU's."""

import warnings
from dataclasses import replace

import pytest
import torch
from recorded_graph import RecordedGraph
from tiny_search import config
from torch import nn

import genotypes
from genotypes import UserError, UserNote
from nas.network import build
from nas.options import from_dict
from nas.run import RunFolder
from nas.run.graphs import GRAPHS, capturable
from nas.search import SearchConfig, open_search
from nas.search.sandwich import Sandwich
from nas.search.training import search_trainer
from nas.task import AugmentConfig, LossConfig, augmentation
from nas.training import Capture, Change, Number, OptimConfig, OptimGroup, Trainer, make_optimizer, run_in
from retrain import Recipe
from retrain.train import TrainConfig, open_training
from retrain.train.training import training_of
from search_spaces import compact, fusion_cells

STEPS = 20
HARD = {
    "augment": AugmentConfig(crop=0.2, rotate=10.0, colour=0.2, scales=(1.0, 1.5)),
    "loss": LossConfig(terms={"bce": 1.0, "iou": 1.0, "cel": 1.0, "boundary": 0.5}),
}


@pytest.fixture(autouse=True)
def graphs_on_the_cpu(monkeypatch):
    monkeypatch.setitem(GRAPHS, "cpu", RecordedGraph)


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A file with a cell of two inputs: a step of it is as deep as any, and soon done."""
    path = tmp_path_factory.mktemp("space") / "two_taps.yaml"
    genotypes.save(fusion_cells("tiny", 4, ("skip_connect", "conv_3x3"), taps=("s16", "s8")), path)
    return str(path)


def a_search(space, strategy, capture, steps=STEPS, **changes):
    """Its trainer, and the strategy. The architecture moves from the fifth step on."""
    cfg = config(strategy=strategy, space={"name": space}, capture=capture, steps=steps, warmup_steps=4, **changes)
    setup = open_search(cfg)
    if setup.objective:
        setup = replace(setup, objective=replace(setup.objective, budget=0.5 * setup.objective.usual))
    found, _, trainer = search_trainer(cfg, setup)
    return trainer, found


def a_training(capture, genotype="fpn_tiny", **changes):
    recipe = Recipe(**{"size": 32, "batch_size": 2, "steps": STEPS, "ema": 0.9} | changes)  # three outputs
    cfg = TrainConfig(genotype=genotype, data="synthetic:20", recipe=recipe, capture=capture)
    return training_of(cfg, open_training(cfg))[0]


def after(trainer, steps=STEPS):
    """Everything that a trainer remembers after so many steps, as a flat list of tensors and numbers."""
    while trainer.step < steps:
        trainer.advance()
    trainer.check()
    return flat(trainer.state_dict())


def test_photographs_at_their_own_sizes_are_not_captured_and_one_line_says_so():
    with pytest.warns(
        UserNote, match="steps are not captured, but run as they are: each photograph has a size of its own"
    ):
        trainer = a_training("auto", native=True, passes=2, norms="eval")
    after(trainer, steps=3)
    assert (trainer.capture.plain, trainer.capture.replayed) == (3, 0)
    with pytest.raises(UserError, match=r"--capture on: with recipe\.native each photograph has a size of its own"):
        a_training("on", native=True, passes=2)


def flat(state):
    if isinstance(state, dict):
        return [leaf for value in state.values() for leaf in flat(value)]
    if isinstance(state, list | tuple):
        return [leaf for value in state for leaf in flat(value)]
    return [state]


def same(one, other):
    assert len(one) == len(other)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    "strategy, options, changes",
    [
        ("darts", {}, {"cost": "macs", "steps": 14}),
        ("darts", {}, {"precision": "bf16", "architecture_every": 2}),
        ("darts_2nd", {}, {"steps": 14}),
        ("pc_darts", {"partial": 2}, {**HARD, "steps": 24}),
        ("drnas", {}, {"cost": "params", "steps": 14}),
        ("drnas", {"progressive": True, "partial": 2}, {}),
    ],
)
def test_a_search_is_replayed_to_the_same_bits(space, strategy, options, changes):
    plain, _ = a_search(space, strategy, "off", options=options, **changes)
    captured, _ = a_search(space, strategy, "on", options=options, **changes)
    steps = plain.steps
    assert same(after(plain, steps), after(captured, steps))
    assert captured.capture.replayed >= 10 and plain.capture.replayed == 0


def test_a_search_that_mixes_widths_is_replayed_to_the_same_bits(tmp_path):
    opened = {"sizes": (32,), "taps": ("s8", "s4"), "open_blocks": 2, "leave_out": "none"}
    path = tmp_path / "space.yaml"
    genotypes.save(compact("mobilenet_v2", (4, 8), ("skip_connect", "conv_3x3"), **opened), path)
    plain, captured = (a_search(str(path), "darts", how, 14, cost="macs")[0] for how in ("off", "on"))
    assert same(after(plain, 14), after(captured, 14))
    assert captured.capture.replayed >= 10
    # No other kernels run for another width, so what stays of a path are its operations.
    strategy = a_search(str(path), "gdas", "off", options={"redraw": 5}, cost="macs")[1]
    strategy.prepare(0)
    assert [len(edges) for edges in strategy.fixed(0)] == [len(strategy.net.open_edges)] * 2


@pytest.mark.parametrize(
    "strategy, redraw, seed, graphs, replayed",
    [
        # Four paths, two of them alike: two steps of the first run as they are, and one of each other.
        ("one_shot", 5, 0, 3, 16),
        # Seven, the last with the fifth's candidates, but other noise. The second stays while alpha begins to move.
        ("gdas", 3, 2, 6, 12),
        ("gdas", 5, 0, 4, 15),
    ],
)
def test_a_path_that_stays_for_some_steps_is_captured(space, strategy, redraw, seed, graphs, replayed):
    plain, _ = a_search(space, strategy, "off", options={"redraw": redraw}, seed=seed)
    captured, _ = a_search(space, strategy, "on", options={"redraw": redraw}, seed=seed)
    assert same(after(plain, 20), after(captured, 20))
    assert (captured.capture.graphs, captured.capture.replayed) == (graphs, replayed)


def test_a_search_interrupted_while_a_path_stays_goes_on_to_the_same_bits(space, tmp_path):
    """By then alpha, fast here, would decide for another path."""
    options = {"redraw": 8, "lr": 1.0}
    whole = after(a_search(space, "gdas", "on", options=options)[0])
    run = RunFolder.open(str(tmp_path / "run"), "search", "")
    first, found = a_search(space, "gdas", "on", options=options)
    after(first, 13)
    assert found._draw(found.alpha.detach(), 13, "architecture").active != found._kept["architecture"].active
    run.save(first.state_dict())
    second, _ = a_search(space, "gdas", "on", options=options)
    second.resume(run)
    assert second.step == 13 and same(whole, after(second))


@pytest.mark.parametrize("strategy", ["gdas", "one_shot"])
def test_paths_that_differ_in_each_step_are_not_captured(space, strategy):
    trainer, _ = a_search(space, strategy, "on", steps=10)
    after(trainer, 10)
    assert trainer.capture.summary() == "0 steps replayed from 0 graphs, 10 run as they are"


@pytest.mark.parametrize(
    "changes",
    [
        HARD,
        {"precision": "bf16", "freeze_backbone_norms": True},
        {"precision": "fp16", "passes": 2, "batch_size": 4},
        {"precision": "fp16", "optim": OptimConfig(name="sgd", lr=0.05, clip=0.5)},
        {"optim": OptimConfig(name="sgd", lr=0.05, clip=0.5, schedule="steps", milestones=(0.5, 0.8))},
        {"optim": OptimConfig(name="adam", groups=(OptimGroup(match="cells", lr=2.0),)), "ema": 0.0},
        {"passes": 2, "batch_size": 4},  # gradients that add up, in one graph
    ],
)
def test_a_training_is_replayed_to_the_same_bits(changes):
    captured = a_training("on", steps=14, **changes)
    assert same(after(a_training("off", steps=14, **changes), 14), after(captured, 14))
    assert captured.capture.replayed >= 10


def test_dynamic_decay_is_replayed_to_the_same_bits():
    changes = {"genotype": "csnet_l_x2", "dynamic_decay": 0.1, "steps": 6}
    captured = a_training("on", **changes)
    assert same(after(a_training("off", **changes), 6), after(captured, 6)) and captured.capture.replayed == 4


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, precision):
    changes = {**HARD, "precision": precision}
    whole = after(a_training("on", **changes))
    run = RunFolder.open(str(tmp_path / "run"), "train", "")
    first = a_training("on", **changes)
    after(first, 11)
    assert first.capture.replayed  # it is stopped between replays
    run.save(first.state_dict())
    second = a_training("on", **changes)
    second.resume(run)
    assert second.step == 11 and same(whole, after(second))


# ---------------------------------------------------------------------------------------------------- the known traps


def test_all_passes_of_a_step_are_one_graph(space):
    """Separately captured backward passes that add up gradients can spoil them: pytorch issue 181723."""
    trainer, _ = a_search(space, "darts_2nd", "on", steps=12)
    after(trainer, 12)
    assert trainer.capture.graphs == 2  # one before the architecture moves, one after


def test_a_parameter_that_is_first_used_after_a_capture_moves(space):
    trainer, found = a_search(space, "darts", "on")
    after(trainer, 4)
    replayed, before = trainer.capture.replayed, found.alpha.detach().clone()
    assert replayed and not found.optimizer.state
    after(trainer, 7)
    moved = found.alpha.detach().clone()
    after(trainer, 8)
    assert trainer.capture.replayed == replayed + 3
    assert not torch.equal(before, moved) and not torch.equal(found.alpha, moved)


def test_no_step_moves_norm_statistics_twice():
    trainer = a_training("on")
    after(trainer)
    norms = [part for part in trainer.net.modules() if isinstance(part, nn.BatchNorm2d)]
    assert {int(norm.num_batches_tracked) for norm in norms} == {STEPS}


class Drift(Change):
    """Adds a number to a weight: the host's, or one that is told to the device."""

    def __init__(self, net, told):
        self.weight, self.number = next(net.parameters()), Number(torch.device("cpu"))
        self.told = told

    def prepare(self, trainer):
        self.number.set(trainer.step / 1000)

    @torch.no_grad()
    def after(self, trainer):
        self.weight += self.number.value if self.told else trainer.step / 1000


@pytest.mark.parametrize("told", [True, False])
def test_a_number_of_the_host_freezes_unless_it_is_a_tensor(told):
    results = []
    for capture in ("off", "on"):
        trainer = a_training(capture)
        trainer.changes = [*trainer.changes, Drift(trainer.net, told)]
        results.append(after(trainer, 8))
    assert same(*results) == told


def test_a_member_that_stays_for_some_steps_is_captured(tmp_path):
    """The largest alone is a kind, and so are random members while they stay."""
    space = tmp_path / "space.yaml"
    genotypes.save(compact("tiny", (4, 8), ("skip_connect", "conv_3x3"), taps=("s16", "s8"), sizes=(32, 64)), space)
    results = []
    for capture in ("off", "on"):
        cfg = config(
            strategy="sandwich", space={"name": str(space)}, options={"redraw": 6, "members": 1, "alone": 0.25}
        )
        setup = open_search(cfg)
        task = Sandwich(setup.net, setup.space, setup.weights, cfg.loss, cfg.strategy, steps=24)
        trainer = Trainer(task, cfg.optim, 24, capture=capture)
        results.append(after(trainer, 24))
    assert same(*results)
    assert trainer.capture.graphs == 4 and trainer.capture.replayed == 19


def test_a_step_makes_no_tensor_from_numbers():
    """On a GPU that is a copy from the host, which a graph cannot hold."""
    augmentation.channels.cache_clear()
    task = a_training("off", **HARD).task
    made = augmentation.channels.cache_info().misses
    assert made
    task.make(task.draw(0))
    assert augmentation.channels.cache_info().misses == made


class Reading(Change):
    @torch.no_grad()
    def after(self, trainer):
        if float(trainer.totals._sums["train"].sum()) < 0:
            raise AssertionError


def test_what_cannot_be_captured_is_named_and_runs_as_it_is():
    trainer = a_training("auto")
    trainer.changes = [*trainer.changes, Reading()]
    with pytest.warns(genotypes.UserNote) as notes:
        result = after(trainer, 8)
    assert len(notes) == 1
    message = str(notes[0].message)
    assert message.startswith(
        "steps are not captured, but run as they are: _local_scalar_dense reads a tensor's values"
    )
    assert "test_capture.py, line" in message and 'float(trainer.totals._sums["train"].sum())' in message
    assert trainer.capture.summary().startswith("0 steps replayed from 0 graphs, 8 run as they are (_local_scalar")
    assert same(result, after(a_training("off"), 8))


def test_what_cannot_be_captured_is_an_error_where_capture_is_demanded():
    trainer = a_training("on")
    trainer.changes = [*trainer.changes, Reading()]
    with pytest.raises(UserError, match="--capture on: steps cannot be captured: _local_scalar_dense reads"):
        trainer.advance()


def test_a_capture_that_fails_leaves_the_training_as_it_was(monkeypatch):
    """What only the capture itself notices, such as memory that does not suffice."""

    def fails(self, work, generators):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(RecordedGraph, "record", fails)
    trainer = a_training("auto")
    with pytest.warns(genotypes.UserNote, match="out of memory"):
        result = after(trainer, 6)
    assert trainer.capture.plain == 6 and same(result, after(a_training("off"), 6))


def test_graphs_of_a_training_share_their_memory():
    trainer = a_training("on", **HARD)
    after(trainer)
    pools = {kind.graph.pool for kind in trainer.capture._kinds.values() if kind.graph}
    assert trainer.capture.graphs == 2 and len(pools) == 1  # two sizes of images


def test_new_parameters_need_new_graphs(space):
    trainer, found = a_search(space, "drnas", "on", options={"progressive": True, "partial": 2})
    after(trainer, 10)
    assert not found.pruned and trainer.capture._kinds
    old = trainer.capture._pool
    after(trainer, 11)
    assert found.pruned and trainer.capture._pool is not old


def test_old_kinds_go():
    released = []

    class Counting(RecordedGraph):
        def release(self):
            released.append(self)

    GRAPHS["cpu"] = Counting
    capture = Capture(torch.device("cpu"), "on")
    total = torch.zeros(())
    for size in range(1, 20):
        for _ in range(3):
            capture(lambda x: total.add_(x.sum()), torch.ones(size))
    assert total == 3 * sum(range(1, 20)) and capture.graphs == 19 and len(released) == 3
    replayed = capture.replayed
    for size in (4, 30, 4):  # the oldest kind of all, which is no longer the one that was not seen for longest
        capture(lambda x: total.add_(x.sum()), torch.ones(size))
    assert capture.replayed == replayed + 2


def test_replays_are_counted():
    trainer = a_training("on")
    after(trainer)
    assert trainer.capture.summary() == "18 steps replayed from 1 graph, 2 run as they are"


# ---------------------------------------------------------------------------------------------------- options


def test_a_device_that_captures_nothing(monkeypatch):
    monkeypatch.delitem(GRAPHS, "cpu")
    assert not capturable(torch.device("cpu")) and Capture(torch.device("cpu")).summary() is None
    with pytest.raises(UserError, match="--capture on: the device is cpu; steps are captured on: cuda"):
        Capture(torch.device("cpu"), "on")
    total = torch.zeros(())
    Capture(torch.device("cpu"), "auto")(lambda x: total.add_(x), torch.ones(()))
    assert total == 1


@pytest.mark.parametrize("value, meant", [(True, "on"), (False, "off"), ("auto", "auto")])
def test_a_file_may_say_on_and_off(value, meant):
    assert from_dict(SearchConfig(), {"capture": value}).capture == meant


# ---------------------------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("precision, dtype", [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_weights_cast_at_once_are_those_of_autocast(precision, dtype):
    net = build(genotypes.load("fpn_tiny"))
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    results = []
    for at_once in (True, False):
        net.zero_grad()
        if at_once:
            outputs = run_in(precision, net, dict(net.named_parameters()), x)
        else:
            with torch.autocast("cpu", dtype):
                outputs = net(x)
        sum(output.float().square().mean() for output in outputs).backward()
        results.append([*outputs, *(p.grad for p in net.parameters())])
    assert outputs[0].dtype == dtype and same(*results)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_weights_cast_at_once_have_no_gradient_where_a_step_leaves_them_out(precision):
    """A gradient of zeros is another thing: momentum and decay would move what no path computed."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net.forward = net[0].forward
    run_in(precision, net, dict(net.named_parameters()), torch.ones(3, 2)).sum().backward()
    assert net[0].weight.grad.any() and net[1].weight.grad is None


def test_fused_sgd_takes_gradients_that_come_later():
    module = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])
    optimizer = make_optimizer(module, OptimConfig(name="sgd", lr=0.1))
    reference = [p.detach().clone() for p in module.parameters()]
    again = torch.optim.SGD(
        [{"params": [p], "weight_decay": 1e-4 * (p.ndim > 1)} for p in reference], lr=0.1, momentum=0.9
    )
    for used in (module[:1], module, module):
        optimizer.zero_grad()
        sum(part(torch.ones(3, 2)).square().sum() for part in used).backward()
        for mine, other in zip(module.parameters(), reference, strict=True):
            other.grad = None if mine.grad is None else mine.grad.clone()
        optimizer.step()
        again.step()
    for mine, other in zip(module.parameters(), reference, strict=True):
        torch.testing.assert_close(mine.detach(), other)


@pytest.fixture(autouse=True)
def no_other_notes():
    with warnings.catch_warnings():
        warnings.simplefilter("error", genotypes.UserNote)
        yield
