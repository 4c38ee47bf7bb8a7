"""The papers' recipes on the papers' networks: what is frozen, what is decayed, batches of one image."""

import copy

import pytest
import torch
import torch.nn.functional as F

import genotypes
import nas
from genotypes import UserError
from nas.network import check_single_image
from nas.task.losses import bce_sum
from nas.training import OptimConfig, OptimGroup, Supervised, Task, Trainer, make_optimizer, schedule, set_progress
from retrain import Recipe, load_recipe
from retrain.train import TrainConfig, open_training
from retrain.train.dynamic_decay import DynamicDecay
from retrain.train.setup import start_normal
from retrain.train.training import recipe_changes
from search_spaces.csnet import csnet_of_widths


def _trainer(net, recipe, *, train_mode=True):
    """What a step of this recipe is made of; the network in training mode as a step has it."""
    changes, _ = recipe_changes(net, recipe)
    trainer = Trainer(Supervised(net, None, recipe.loss), recipe.optim, 10, changes=changes)
    if train_mode:
        net.train()
        for change in changes:
            change.before(trainer, None)
    return trainer


def _thin():
    stages = [[[4, 4]], [[4, 0], [5, 3]], [[6, 0], [7]], [[9, 0], [8]], [[9, 3], [10]]]
    dilated = [[1, 1, 0, 0, 2], [1, 0, 0, 0, 0], [0, 0, 3, 0, 0]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nas.build(csnet_of_widths(stages, [4, 5, 6], dilated, 7, name="thin"))


def _picture(batch: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))


def test_weights_of_the_csf_head_start_as_its_authors_said():
    recipe = load_recipe("csf")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nas.build(genotypes.load("csf_res2net50"))
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        start_normal(net, recipe.init_std)
    moved = {name: p for name, p in net.named_parameters() if not torch.equal(p, before[name])}
    dilated = [f"cells.fusion.edges.multi{branch}_d{rate}.weight" for branch in range(4) for rate in (1, 2, 4, 8, 16)]
    assert moved.keys() == {*dilated, "cells.head.edges.conv.weight"}
    for name, p in moved.items():
        assert p.std().item() == pytest.approx(0.01, rel=0.1), name
    with pytest.raises(UserError, match="init_std: 'cellar' matches no parameter"):
        start_normal(net, {"cellar": 0.1})
    with pytest.raises(UserError, match="init_std are standard deviations"):
        Recipe(init_std={"cells": 0.0})


def test_the_recipe_says_how_masks_are_resized_and_weights_start():
    recipe = Recipe(size=32, batch_size=2, steps=1, masks="nearest", init_std={"cells": 0.5})
    config = TrainConfig(genotype="fpn_tiny", data="synthetic:4", recipe=recipe)
    setup = open_training(config)
    weights = [p for name, p in setup.net.named_parameters() if name.startswith("cells") and p.ndim > 1]
    assert torch.cat([p.flatten() for p in weights]).std().item() == pytest.approx(0.5, rel=0.2)


def test_csf_freezes_what_its_authors_code_froze():
    with torch.device("meta"):  # names and sizes only
        net = nas.build(genotypes.load("csf_res2net50"))
    _trainer(net, load_recipe("csf"))
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    # networks.md 4.1.
    assert sum(p.numel() for p in net.parameters() if p.requires_grad) == 33_707_781
    assert {"conv1.1.weight", "layer2.0.downsample.2.bias", "layer1.0.conv1.weight"} <= {n[9:] for n in trained}
    assert not {"bn1.weight", "layer4.2.bns.1.bias", "layer2.0.downsample.1.weight"} & {n[9:] for n in trained}
    assert not any(module.training for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d))


def test_one_image_is_a_batch_with_norms_in_eval_mode():
    net = nas.build(genotypes.load("fpn_tiny"))
    check_single_image(net, 64)
    recipe = Recipe(norms="eval", frozen=(r"backbone\.features\.0",), batch_size=1, ema=0.0)
    trainer = _trainer(net, recipe)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    sum(y.square().mean() for y in net(_picture(1, 65))).backward()
    trainer.optimizer.step()
    changed = {key for key, value in net.state_dict().items() if not torch.equal(value, before[key])}
    trained = {name for name, p in net.named_parameters() if p.requires_grad}
    assert changed == trained < set(dict(net.named_parameters()))  # no statistics among them


def test_a_norm_in_eval_mode_does_not_see_the_batch():
    net = nas.build(genotypes.load("fpn_tiny"))
    _trainer(net, Recipe(norms="eval", ema=0.0))
    x = _picture(3)
    alone, together = net(x[:1])[0], net(x)[0][:1]
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-5)
    _trainer(net, Recipe(ema=0.0))
    assert (net(x[:1])[0] - net(x)[0][:1]).abs().max() > 1e-3


def test_dynamic_decay_is_the_gradient_of_its_formula():
    net, x = _thin(), _picture()
    reference = copy.deepcopy(net).train()
    loss = reference(x)[0].square().mean()
    # lambda / 2 * sum_c S_c scale_c^2 (papers.md 4), from what the cells return.
    features = {"image": x}
    for name, cell in reference.cells.items():
        found = cell(features)
        features |= found
        if name.startswith("stage"):
            for key, value in found.items():
                scale = reference.get_submodule(f"cells.{name}.nodes.{key.partition('.')[2]}").norm.weight
                pooled = value.detach().mean((2, 3)).abs().mean(0)
                loss = loss + 3.0 / 2 * (pooled * scale**2).sum()
    loss.backward()

    decay = DynamicDecay(net.train(), 3.0)
    net(x)[0].square().mean().backward()
    plain = net.cells["fusion"].nodes["out"].norm.weight.grad.clone()
    decay.gradients(None)  # of a trainer it needs nothing
    for (name, p), q in zip(net.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-7, msg=name)
    assert torch.equal(plain, net.cells["fusion"].nodes["out"].norm.weight.grad)  # the head is left alone


class _NothingToLearn(Task):
    """What moves is decay."""

    def __init__(self, net):
        self.net = net

    def draw(self, step):
        return _picture()

    def make(self, drawn):
        return drawn

    def loss(self, batch):
        return self.net(batch)[0].mean() * 0


def test_dynamic_decay_takes_part_in_every_step_of_a_training():
    scales = []
    for strength in (0.0, 3.0):
        net = _thin()
        optim = OptimConfig(name="sgd", lr=0.1, momentum=0.0, weight_decay=0.0, warmup=0.0)
        changes, _ = recipe_changes(net, Recipe(ema=0.0, dynamic_decay=strength))
        trainer = Trainer(_NothingToLearn(net), optim, 2, changes=changes)
        for _ in range(2):
            trainer.advance()
        scales.append(net.cells["stage1"].nodes["out0"].norm.weight.detach())
    assert torch.equal(scales[0], torch.ones(5)) and (scales[1] < 1).all()
    with pytest.raises(UserError, match="dynamic_decay needs cells of octave_block or octave_stage; fpn_tiny has none"):
        recipe_changes(nas.build(genotypes.load("fpn_tiny")), Recipe(dynamic_decay=1.0))


def test_csnets_recipe_gives_each_parameter_the_authors_rate_and_decay():
    recipe, net = load_recipe("csnet"), nas.build(genotypes.load("csnet_x1"))
    optimizer = _trainer(net, recipe, train_mode=False).optimizer
    of = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    rates = {name: of[id(p)] for name, p in net.named_parameters()}
    assert rates.keys() == {name for name, _ in net.named_parameters()}
    for name, expected in {
        "cells.stage0.edges.local1.weight": (1e-2, 5e-7),  # depthwise
        "cells.stage2.edges.b3_out0.weight": (1e-2, 5e-7),
        "cells.fusion.edges.multi2_d16.weight": (1e-2, 5e-7),
        "cells.stage2.edges.b3_mix0_from1.weight": (1e-4, 5e-3),
        "cells.stage2.nodes.b3_mix0.norm.weight": (1e-4, 0.0),
        "cells.stage2.nodes.out0.norm.weight": (1e-4, 5e-3),
        "cells.stage2.nodes.b3_mix0.norm.bias": (1e-4, 5e-3),
        "cells.fusion.nodes.out.norm.weight": (1e-4, 5e-3),
        "cells.head.edges.conv.bias": (1e-4, 5e-3),
    }.items():
        assert rates[name] == pytest.approx(expected), name
    # Two layers a branch: 18 blocks of two branches, three of which have but one; and the head's dilated ones.
    assert sum(rate == pytest.approx((1e-2, 5e-7)) for rate in rates.values()) == 2 * (18 * 2 - 3) + 15
    assert [round(set_progress(optimizer, recipe.optim, t), 6) for t in (0, 0.66, 0.67, 0.83, 0.84)] == [
        1,
        1,
        0.1,
        0.1,
        0.01,
    ]
    assert optimizer.defaults["betas"] == (0.9, 0.99)


def test_groups_without_rules_are_cells_and_backbone_with_and_without_decay():
    net = nas.build(genotypes.load("fpn_tiny"))
    groups = make_optimizer(net, OptimConfig(lr=1.0, backbone_lr=0.1, weight_decay=0.5)).param_groups
    assert [(g["lr"], g["weight_decay"]) for g in groups] == [(1.0, 0.5), (1.0, 0.0), (0.1, 0.5), (0.1, 0.0)]
    assert sum(len(g["params"]) for g in groups) == len(list(net.parameters()))
    backbone = {id(p) for p in net.backbone.parameters()}
    for group, inside in zip(groups, (False, False, True, True), strict=True):
        assert {id(p) in backbone for p in group["params"]} == {inside}


@pytest.mark.parametrize(
    ("name", "kind"), [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)]
)
def test_groups_keep_their_rates_through_a_schedule(name, kind):
    net = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 2), torch.nn.PReLU(2))
    rules = OptimGroup(match="1", lr=10.0, weight_decay=0.0), OptimGroup(match=r"\d\.bias", weight_decay=2.0)
    cfg = OptimConfig(name=name, lr=0.01, momentum=0.5, weight_decay=0.25, schedule="linear", warmup=0.0, groups=rules)
    optimizer = make_optimizer(net, cfg)
    assert type(optimizer) is kind and optimizer.defaults.get("momentum", 0.5) == 0.5
    of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for progress in (0.0, 0.5, 0.25):
        set_progress(optimizer, cfg, progress)
        rates = {
            name: (of[id(p)]["lr"] / (1 - progress), of[id(p)]["weight_decay"]) for name, p in net.named_parameters()
        }
        assert rates == {
            "0.weight": pytest.approx((0.01, 0.25)),
            "0.bias": pytest.approx((0.01, 0.5)),
            "1.weight": pytest.approx((0.1, 0.0)),
            "1.bias": pytest.approx((0.1, 0.0)),  # the first that matches
            "2.weight": pytest.approx((0.01, 0.0)),  # slopes: one dimension
        }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Recipe(dynamic_decay=-1.0), "dynamic_decay"),
        (lambda: Recipe(frozen=("(",)), r"frozen: '\(' is no regular expression"),
        (lambda: OptimGroup(match="["), "no regular expression"),
        (lambda: OptimGroup(match="a", lr=-1.0), "group 'a': lr must be at least 0, not -1.0"),
        (lambda: OptimGroup(match="a", weight_decay=-1.0), "group 'a': weight_decay must be at least 0, not -1.0"),
        (lambda: OptimConfig(lr=0.0), "lr must be positive, not 0.0"),
        (lambda: OptimConfig(clip=-2.0), "clip must be at least 0, not -2.0"),
        (lambda: OptimConfig(stairs=-1), "stairs must be at least 0, not -1"),
        (lambda: OptimConfig(backbone_lr=-1.0), "backbone_lr must be at least 0, not -1.0"),
        (lambda: OptimConfig(weight_decay=-1.0), "weight_decay must be at least 0, not -1.0"),
        (lambda: OptimConfig(betas=(0.9, 1.0)), "betas"),
        (lambda: OptimConfig(name="sgd", momentum=1.0), "betas and momentum are decays in 0..1, not .* and 1.0"),
        (lambda: OptimConfig(milestones=(0.5,)), "milestones are rising shares"),
        (lambda: OptimConfig(schedule="steps"), "milestones are rising shares"),
        (lambda: OptimConfig(schedule="steps", milestones=(0.5, 0.2)), "milestones are rising shares"),
        (lambda: OptimConfig(schedule="steps", milestones=(0.5, 0.5)), "milestones are rising shares"),
        (lambda: OptimConfig(schedule="steps", milestones=(0.0, 0.5)), "milestones are rising shares"),
        (lambda: OptimConfig(schedule="steps", milestones=(0.5, 1.0)), "milestones are rising shares"),
        (lambda: OptimConfig(warmup=1.0), "warmup is a share of the steps in 0..1, not 1.0"),
        (lambda: OptimConfig(warmup=-0.1), "warmup is a share of the steps in 0..1, not -0.1"),
        (lambda: recipe_changes(_thin(), Recipe(frozen=("backbone",))), "'backbone' matches no parameter"),
        (
            lambda: make_optimizer(_thin(), OptimConfig(groups=(OptimGroup(match="stem"),))),
            "groups: 'stem' matches no parameter of this network; their names are like 'cells.stage0",
        ),
        (lambda: make_optimizer(_thin(), OptimConfig(groups=(OptimGroup(match="stage0"),))), "'stage0' matches no"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_triangle_and_stairs():
    weight = torch.nn.Parameter(torch.zeros(1, 1))
    optimizer = torch.optim.SGD([{"params": [weight], "peak": 1.0}], lr=1.0)
    f3 = load_recipe("minet_f3").optim
    assert [set_progress(optimizer, f3, k / 8) for k in range(8)] == [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25]
    minet = load_recipe("minet").optim  # 50 epochs, here of 7 steps
    rates = [set_progress(optimizer, minet, k / 350) for k in range(350)]
    assert rates == [pytest.approx((1 - k // 7 / 50) ** 0.9) for k in range(350)]
    warmed = OptimConfig(schedule="linear", warmup=0.25, stairs=2)  # the first stair was a rate of 0
    assert [set_progress(optimizer, warmed, k / 8) for k in range(8)] == pytest.approx([0, 0.5, 1, 1, *[2 / 3] * 4])
    for k in range(12, 100):  # some fell a step late, by rounding
        rate = schedule("steps", 0.1, (k / 100,))
        assert rate((k - 1) / 100) == 1 and rate(k / 100) == 0.1
    stepped = OptimConfig(schedule="steps", warmup=0.5, milestones=(0.75,))  # of the whole, warm-up included
    rates = [set_progress(optimizer, stepped, k / 8) for k in range(8)]
    assert rates == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1, 0.1, 0.1])
    cosine, constant = (schedule(name, 0.5, ()) for name in ("cosine", "constant"))
    assert [cosine(k / 8) for k in (2, 4, 5, 6, 7)] == pytest.approx([0.5, 1, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert [constant(k / 8) for k in (2, 4, 7)] == [0.5, 1, 1]
    assert load_recipe("csf").loss.terms == {"bce_sum": 1.0}
    logits, masks = torch.randn(2, 1, 5, 7), torch.ones(2, 1, 5, 7)
    assert bce_sum(logits, masks) == pytest.approx(F.softplus(-logits).sum().item() / 2, rel=1e-5)
