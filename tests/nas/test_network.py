"""The builder: any genotype, decided or open, and what must hold of the networks it makes."""

import re

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import genotypes
import nas
from genotypes import BACKBONES, OPERATIONS, RESAMPLINGS, Input, UserError
from nas.network import inherit, norm_statistics_frozen, norms_counted_at_once, reestimate_norms
from nas.network.edge import OpenEdge
from nas.network.weights import save_weights
from nas.strategies import random_choices
from search_spaces import fpn, fusion_cells


def build(genotype, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nas.build(genotype)


@pytest.fixture(scope="module")
def space():
    return fusion_cells("tiny", 8, ("none", "skip_connect", "sep_conv_3x3", "channel_attention"))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("make", [fpn, fusion_cells])
def test_every_backbone_gives_logits_of_the_inputs_size(backbone, make):
    if make is fusion_cells:
        space = make(backbone, 8, ("skip_connect", "conv_3x3"))
        genotype = space.decide(random_choices(space.open_edges(), 0))
    else:
        genotype = make(backbone, 8)
    net = build(genotype).eval()
    with torch.no_grad():
        outputs = net(torch.randn(1, 3, 97, 131))
    assert [tuple(y.shape) for y in outputs] == [(1, 1, 97, 131)] * len(genotype.outputs)
    assert all(torch.isfinite(y).all() for y in outputs)


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 96), (97, 131)])
@pytest.mark.parametrize("wiring", ["code", "figure7"])
def test_every_parameter_of_a_supernet_learns_at_any_size(size, wiring):
    space = fusion_cells("tiny", 8, ("none", "skip_connect", "sep_conv_3x3", "channel_attention"), wiring=wiring)
    net = build(space).train()
    weights = net.uniform_weights(torch.zeros(1)).requires_grad_()
    sum(y.square().mean() for y in net(torch.randn(2, 3, *size), weights)).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    learnt = weights.grad != 0
    none = [candidates.index("none") for candidates in net.open_edges.values()]
    assert not learnt[range(len(none)), none].any()  # `none` gives zeros: its weight acts only through the softmax
    assert learnt.sum() == learnt.numel() - len(none)


def test_weights_of_a_backbone_that_is_not_there_are_refused():
    with pytest.raises(UserError, match=r"csnet_x1 has no backbone that could take weights from absent\.pth"):
        nas.build(genotypes.load("csnet_x1"), "absent.pth")


def test_a_trained_network_lends_its_backbone_to_one_that_sees_alike(space, tmp_path):
    lender = build(fpn("tiny", 8))
    save_weights(tmp_path / "fpn.safetensors", lender.state_dict(), lender.genotype)
    borrower = nas.build(space, tmp_path / "fpn.safetensors").backbone
    assert all(torch.equal(value, lender.backbone.state_dict()[key]) for key, value in borrower.state_dict().items())
    other = space.replace(input=Input(mean=(0.5, 0.5, 0.5), size=(64, 64)))
    with pytest.raises(UserError, match=r"fpn.safetensors .* mean \[0.48, 0.46, 0.41\]; .* has \[0.5, 0.5, 0.5\]"):
        nas.build(other, tmp_path / "fpn.safetensors")
    save_file(lender.backbone.state_dict(), tmp_path / "published.safetensors")  # says nothing of pictures
    nas.build(other, tmp_path / "published.safetensors")


def test_state_dict_keys_are_a_contract(space):
    choices = {edge: "skip_connect" for edge in space.open_edges()}
    choices |= {"fuse8.p_n1": "sep_conv_3x3", "fuse4.outer_f4": "none"}
    keys = {key for key in build(space.decide(choices)).state_dict() if key.startswith("cells.fuse")}
    stats = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    expected = {f"cells.fuse8.edges.p_n1.op.{layer}.weight" for layer in (1, 2)}
    expected |= {f"cells.fuse8.edges.p_n1.op.3.{leaf}" for leaf in stats}
    for cell in ("fuse16", "fuse8", "fuse4"):
        expected |= {f"cells.{cell}.edges.conv.{leaf}" for leaf in ("weight", "bias")}
        expected |= {f"cells.{cell}.nodes.out.norm.{leaf}" for leaf in stats}
    assert keys == expected
    assert "cells.fuse8.edges.p_n1.ops.channel_attention.conv1.weight" in build(space).state_dict()


def test_a_one_hot_mixture_is_the_decided_network(space):
    supernet = build(space).eval()
    choices = random_choices(space.open_edges(), 3)
    weights = torch.zeros_like(supernet.uniform_weights(torch.zeros(1)))
    for row, (edge, candidates) in enumerate(space.open_edges().items()):
        weights[row, candidates.index(choices[edge])] = 1.0
    net = inherit(supernet, space.decide(choices)).eval()
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(net(x), supernet(x, weights), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_open_weights_mix_linearly(space):
    """An open edge inside a network is the weighted sum of its candidates' outputs."""
    supernet = build(space).eval()
    edge = supernet.cells["fuse8"].edges["outer_f32"]
    x, weights = torch.randn(2, 8, 5, 7), torch.tensor([0.4, 0.3, 0.2, 0.1])
    by_hand = 0.3 * x + 0.2 * edge.ops["sep_conv_3x3"](x) + 0.1 * edge.ops["channel_attention"](x)
    torch.testing.assert_close(edge(x, weights), by_hand)


def test_a_cell_computes_what_the_paper_says(space):
    """N_1 = S_1 + op(P), N_k = S_k + op(N_k-1) + op(S_k), out = ReLU(BN(conv(sum N))): networks.md, 1.4."""
    net = build(space.decide(random_choices(space.open_edges(), 5))).eval()
    cell = net.cells["fuse8"]
    sizes = {"f32": (3, 4), "f16": (6, 8), "f8": (12, 16), "f4": (24, 32)}
    features = {f"reduce.{name}": torch.randn(1, 8, *size) for name, size in sizes.items()}
    features["fuse16.out"] = torch.randn(1, 8, 6, 8)
    ops = {edge.split(".")[1]: op for edge, op in random_choices(space.open_edges(), 5).items() if "fuse8" in edge}

    def op(name, x):
        return torch.zeros_like(x) if ops[name] == "none" else cell.edges[name](x)

    def up(x):
        return F.interpolate(x, size=(12, 16), mode="bilinear", align_corners=False)

    with torch.no_grad():
        s = [up(op(f"outer_{name}", features[f"reduce.{name}"])) for name in sizes]
        n = [s[0] + op("p_n1", up(features["fuse16.out"]))]
        for k, name in ((2, "f16"), (3, "f8"), (4, "f4")):
            n.append(s[k - 1] + op(f"n{k - 1}_n{k}", n[-1]) + op(f"{name}_n{k}", s[k - 1]))
        expected = cell.nodes["out"](cell.edges["conv"](sum(n)))
        torch.testing.assert_close(cell(features)["fuse8.out"], expected)


def test_a_node_without_terms_is_zero_and_goes_on():
    nodes = """
    - name: empty
      stride: 4
      width: 16
      edges: [{name: a, source: s4, op: none}]
      post: bn_relu
    - {name: logits, stride: 4, width: 1, edges: [{name: b, source: empty, op: conv2d_1x1_bias}]}
    - {name: other, stride: 4, width: 1, edges: [{name: d, source: s4, op: conv2d_1x1}]}
"""
    text = f"""
format: 1
name: empty
backbone: {{name: tiny, taps: [s4]}}
cells:
- name: c
  template: graph
  inputs: [s4]
  nodes:{nodes}
outputs: [c.logits, c.other]
"""
    net = build(genotypes.loads(text)).eval()
    net.cells["c"].nodes["empty"].norm.bias.data.fill_(2.0)
    conv = net.cells["c"].edges["b"]
    y = net(torch.randn(1, 3, 32, 32))[0]
    expected = 2.0 * conv.weight.sum() + conv.bias[0]
    torch.testing.assert_close(y, expected.detach().expand_as(y))


@pytest.mark.parametrize("rule, expected", [("floor_half", (16, 23)), ("ceil_half", (17, 24))])
def test_odd_sizes_follow_the_rule_that_the_genotype_says(rule, expected):
    text = f"""
format: 1
name: sizes
cells:
- name: c
  template: graph
  inputs: [image]
  nodes:
  - name: half
    stride: 2
    width: 3
    size: {{{rule}: image}}
    edges: [{{name: a, source: image, op: skip_connect, pre: [bilinear]}}]
  - {{name: logits, stride: 2, width: 1, edges: [{{name: b, source: half, op: conv2d_1x1}}]}}
outputs: [c.logits]
"""
    net = build(genotypes.loads(text))
    features = net.cells["c"]({"image": torch.randn(1, 3, 33, 47)})
    assert tuple(features["c.half"].shape[-2:]) == expected
    assert net.genotype.graph["c.half"].size.apply(1, 1) == (1, 1)  # never nothing


@pytest.mark.parametrize("where", ["cell", "node", "edge"])
@pytest.mark.parametrize(
    ("name", "problem"),
    [("half", "a method of torch's modules"), ("in", "a word of Python's own"), ("\N{MICRO SIGN}", "spelt otherwise")],
)
def test_what_has_weights_is_called_as_an_attribute_can_be(where, name, problem):
    """Its weights are found by attribute where a loss is a function of them, and in the code of captured graphs.

    A training ended in a traceback; a network that was trained could not be exported.
    """
    names = {"cell": "c", "node": "a", "edge": "e"} | {where: name}
    node = {"name": names["node"], "stride": 1, "width": 1, "post": "bn_relu"}
    node["edges"] = [{"name": names["edge"], "source": "image", "op": "conv2d_1x1"}]
    cell = {"name": names["cell"], "template": "graph", "inputs": ["image"], "nodes": [node]}
    outputs = [f"{names['cell']}.{names['node']}"]
    genotype = genotypes.Genotype.from_dict({"format": 1, "name": "n", "cells": [cell], "outputs": outputs})
    with pytest.raises(UserError, match=f"'{name}' is {problem}"):
        nas.build(genotype)


@pytest.mark.parametrize(
    ("edge", "delivered"),
    [
        ("source: s8, op: conv2d_1x1, pre: [avg2]", "32 x 2 x 2 (channels, height, width), its node takes 32 x 2 x 3"),
        ("source: s16, op: test_narrow", "1 x 2 x 3"),
        ("source: s16, op: test_small", "32 x 1 x 2"),
    ],
)
def test_an_edge_delivers_what_its_node_takes(edge, delivered, monkeypatch):
    """Two columns for three were a traceback; one channel for 32 was added to each of them in silence."""
    monkeypatch.setattr(OPERATIONS, "_records", dict(OPERATIONS._records))
    OPERATIONS.register("test_narrow")(lambda n, _, *, affine: torch.nn.Conv2d(n, 1, 1))
    OPERATIONS.register("test_small")(lambda n, _, *, affine: torch.nn.Conv2d(n, n, 2))
    text = f"""{{format: 1, name: sizes, outputs: [net.logits], backbone: {{name: tiny, taps: [s8, s16]}}, cells: [
      {{name: net, template: graph, inputs: [s8, s16], nodes: [
        {{name: sum, stride: 16, width: 32, size: {{like: s16}}, edges: [
          {{name: a, source: s8, op: conv2d_1x1, post: [bilinear]}}, {{name: e, {edge}}}]}},
        {{name: logits, stride: 16, width: 1, edges: [
          {{name: l, source: sum, op: conv2d_1x1}}, {{name: o, source: s16, op: conv2d_1x1}}]}}]}}]}}"""
    with pytest.raises(UserError, match=re.escape(f"edge net.e delivers {delivered}")):
        build(genotypes.loads(text))(torch.zeros(2, 3, 32, 40))


@pytest.mark.parametrize("active", [None, (0,), (0, 1)])
def test_channels_that_pass_by_take_the_weight_of_the_whole_edge(active):
    """PC-DARTS: half of the channels are mixed, the others keep what the edge counts; then they take turns."""
    edge = OpenEdge(("none", "skip_connect"), 4, 4, share=2)
    x = torch.randn(2, 4, 3, 5)
    mixed = x[:, :2] * (0 if active == (0,) else 0.5)
    passed = (0.3 + 0.5) * x[:, 2:]
    expected = torch.stack([mixed[:, 0], passed[:, 0], mixed[:, 1], passed[:, 1]], dim=1)
    assert edge.carries(active)
    torch.testing.assert_close(edge(x, torch.tensor([0.3, 0.5]), active), expected)
    assert OpenEdge(("none", "conv2d_1x1"), 4, 8, share=2).share == 1  # nothing could pass by
    assert OpenEdge(("none", "skip_connect"), 6, 6, share=4).share == 2


def test_resampling_steps_are_pytorchs():
    x = torch.randn(2, 3, 7, 9)
    size = (4, 5)
    expected = {
        "bilinear": F.interpolate(x, size=size, mode="bilinear", align_corners=False),
        "nearest": F.interpolate(x, size=size, mode="nearest"),
    }
    for step, y in expected.items():
        assert torch.equal(RESAMPLINGS[step].make(x, size), y)
        assert RESAMPLINGS[step].make(x, (7, 9)) is x
    for step in RESAMPLINGS:
        assert RESAMPLINGS[step].make(x, size).shape[:2] == x.shape[:2]
    with pytest.raises(UserError, match="unknown resampling 'cubic'; known: avg2, "):
        RESAMPLINGS["cubic"]


def test_frozen_norms_remember_nothing_and_reestimated_ones_only_the_new(space):
    net = build(space).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    with norm_statistics_frozen(net):
        with norm_statistics_frozen(net):
            net(torch.randn(2, 3, 64, 64))
        net(torch.randn(2, 3, 64, 64))  # what froze inside another must not thaw it
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    net(torch.randn(2, 3, 64, 64))
    assert any(not torch.equal(value, before[key]) for key, value in net.state_dict().items())

    fixed = build(fpn("tiny", 8)).train()
    fixed(torch.randn(2, 3, 32, 32) + 9)  # what is to be forgotten
    batches = [torch.randn(2, 3, 32, 32) + k for k in range(3)]
    stem = next(module for module in fixed.modules() if isinstance(module, torch.nn.BatchNorm2d))
    seen = []
    hook = stem.register_forward_hook(lambda module, x, y: seen.append(x[0].mean((0, 2, 3))))
    reestimate_norms(fixed, batches)
    hook.remove()
    torch.testing.assert_close(stem.running_mean, torch.stack(seen).mean(0))
    assert not fixed.training and stem.momentum == 0.1


def test_a_network_exports_and_gives_the_same_numbers():
    net = build(fpn("tiny", 8)).eval()
    x = torch.randn(1, 3, 65, 97)
    exported = torch.export.export(net, (x,)).module()
    with torch.no_grad():
        for ours, theirs in zip(net(x), exported(x), strict=True):
            torch.testing.assert_close(ours, theirs)


def test_norms_count_their_batches_at_once_and_only_those_that_computed(space):
    net = build(space).train()
    x = torch.randn(2, 3, 32, 32)
    before = {name: value.clone() for name, value in net.named_buffers() if name.endswith("num_batches_tracked")}
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    norms[0].momentum = None
    with norms_counted_at_once(net):
        for seed in range(2):
            net(x, net.path(random_choices(space.open_edges(), seed)))
        assert all(
            torch.equal(value, before[name])
            for name, value in net.named_buffers()
            if value is not norms[0].num_batches_tracked and name in before
        )
    counts = {name: int(value - before[name]) for name, value in net.named_buffers() if name in before}
    theirs = build(space).train()
    for seed in range(2):
        theirs(x, theirs.path(random_choices(space.open_edges(), seed)))
    assert counts == {name: int(value) for name, value in theirs.named_buffers() if name in before}
    assert set(counts.values()) == {0, 1, 2}
