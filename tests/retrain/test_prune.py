"""Pruning by vanished norm scales: what is dropped, what its constants become, and the form of what is left."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import genotypes
import nas
from genotypes import Cell, Genotype, UserError
from nas.command import run_command
from nas.console import main as console
from nas.cost import count
from nas.task import Batches
from retrain import load, save
from retrain.prune import narrow_blocks, prune_channels, pruning
from retrain.prune.__main__ import main
from search_spaces.csnet import csnet_of_widths

STAGES = [[[4, 4]], [[4, 0], [5, 3]], [[6, 4], [7]], [[9, 0], [8]], [[9, 3], [10]]]
DILATED = [[2, 1, 0, 0, 1], [1, 0, 0, 0, 1], [0, 0, 3, 0, 0]]
THIN = csnet_of_widths(STAGES, [4, 5, 6], DILATED, 7, name="thin")

ALL = ("mix", "local", "out", "fuse", "multi")


def _net(genotype: Genotype = THIN) -> nas.Network:
    """Random weights, scales and statistics; in eval mode."""
    generator = torch.Generator().manual_seed(0)
    net = nas.build(genotype).eval()
    with torch.no_grad():
        for key, value in net.state_dict().items():
            if value.is_floating_point():
                positive = value.ndim == 1 and not key.endswith("running_mean")
                fill = torch.rand if positive else torch.randn
                value.copy_(fill(value.shape, generator=generator) * 0.4 + (0.3 if positive else 0))
    return net


def _picture(size: int = 64) -> torch.Tensor:
    return torch.randn(2, 3, size, size + 32, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _vanish(net: nas.Network, kinds: tuple[str, ...] = ALL, *, shifts: bool) -> int:
    """Take away the scales (and shifts) of some channels in the nodes of these kinds; how many channels that are."""
    generator, count = torch.Generator().manual_seed(0), 0
    for cell, module in net.cells.items():
        for name, post in module.nodes.items():
            if cell == "head":
                continue
            if cell == "fusion" or "mix" in name:  # local and out of a branch follow its mix and lose the same channels
                gone = torch.rand(len(post.norm.weight), generator=generator) < 0.3
                gone[0] = False
                count += int(gone.sum())
            if any(kind in name for kind in kinds):
                post.norm.weight[gone] = 0
                if not shifts:
                    post.norm.bias[gone] = 0
    return count


def test_channels_without_scale_and_shift_are_not_missed():
    net, x = _net(), _picture()
    gone = _vanish(net, shifts=False)
    pruned = prune_channels(net)
    assert sum(pruned.before.values()) - sum(pruned.after.values()) == gone > 20
    assert pruned.net.genotype.cells[1].params["widths"] == ((4, 0), (3, 1))
    expected = net(x)[0]
    assert expected.std() > 1e-3
    torch.testing.assert_close(pruned.net(x)[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kinds", [("out",), ("mix", "local", "out")])
def test_what_a_channel_without_scale_sends_on_moves_into_the_norms(kinds):
    # Without 3x3 convolutions behind the octave blocks there are no borders at which a constant is not constant.
    block = {"name": "stage0", "template": "octave_block", "inputs": {"x0": "image"}, "widths": [6, 5], "kernel": 3}
    inputs = {"x0": "stage0.out0", "x1": "stage0.out1"}
    stage = {"name": "stage1", "template": "octave_stage", "inputs": inputs, "widths": [[6, 5], [7]]}
    head = {"name": "head", "template": "head", "inputs": ["stage1.out0"], "kernel": 1}
    cells = [block | {"stride": 1}, stage | {"stride": 1}, head]
    genotype = Genotype(name="flat", cells=tuple(map(Cell.from_dict, cells)), outputs=("head.logits",))
    net, x = _net(genotype), _picture()
    assert _vanish(net, kinds, shifts=True) > 5
    pruned = prune_channels(net)
    assert sum(pruned.after.values()) < sum(pruned.before.values())
    torch.testing.assert_close(pruned.net(x)[0], net(x)[0], rtol=0, atol=1e-5)
    _vanish(net, kinds, shifts=False)  # the shifts did count: without them it is another network
    assert (pruned.net(x)[0] - net(x)[0]).abs().max() > 1e-3


@pytest.mark.parametrize("kinds", [("mix",), ("local",), ("out",), ("fuse",), ("multi",), ALL])
@torch.no_grad()
def test_each_constant_takes_its_way_through_norms_slopes_and_kernels(kinds):
    """Kernels of which the centre alone counts see no border: all is exact."""
    net, x = _net(), _picture()
    for key, value in net.state_dict().items():
        if value.ndim == 4 and value.shape[-1] == 3:
            value *= torch.tensor([0.0, 1.0, 0.0]).outer(torch.tensor([0.0, 1.0, 0.0]))
        elif key.endswith(("norm.bias", "norm.weight")):
            value[1::2] *= -1
    _vanish(net, kinds, shifts=True)
    for node in {"fuse", "multi"}.intersection(kinds):  # a branch, and of another those of one dilation
        net.cells["fusion"].nodes[f"{node}1"].norm.weight.zero_()
        net.cells["fusion"].nodes["multi0"].norm.weight[2:3] = 0
    net.train()
    pruned = prune_channels(net)
    assert all(module.training for module in net.modules())  # the network given is left as it is
    net.eval()
    assert sum(pruned.after.values()) < sum(pruned.before.values())
    torch.testing.assert_close(pruned.net(x)[0], net(x)[0], rtol=0, atol=1e-5)
    if "fuse" in kinds:
        fusion = next(cell for cell in pruned.net.genotype.cells if cell.name == "fusion")
        assert fusion.params["fuse"][1] == 0 and fusion.params["dilated"][1] == (0,) * 5


@pytest.mark.parametrize("op", ["conv2d_1x1_bias", "conv2d_1x1"])
@torch.no_grad()
def test_a_constant_goes_to_a_bias_where_there_is_no_norm_and_nowhere_along_an_edge_of_none(op):
    edges = [{"name": "e", "source": "a", "op": op}, {"name": "f", "source": "a", "op": "none"}]
    logits = {"name": "logits", "stride": 1, "width": 1, "edges": edges}
    inputs = {"x0": "image"}
    cells = [
        {"name": "stage0", "template": "octave_block", "inputs": inputs, "widths": [6], "kernel": 1, "stride": 1},
        {"name": "head", "template": "graph", "inputs": {"a": "stage0.out0"}, "nodes": [logits]},
    ]
    net = _net(Genotype(name="bare", cells=tuple(map(Cell.from_dict, cells)), outputs=("head.logits",)))
    x = _picture()
    torch.testing.assert_close(prune_channels(net).net(x)[0], net(x)[0])
    net.cells["stage0"].nodes["out0"].norm.weight[2] = 0
    if op == "conv2d_1x1":
        with pytest.raises(UserError, match=r"head\.logits reads channels that vanished, but has no norm and no bias"):
            prune_channels(net)
    else:
        torch.testing.assert_close(prune_channels(net).net(x)[0], net(x)[0])


def test_a_depthwise_scale_that_vanished_takes_its_channel_along():
    net = _net()
    with torch.no_grad():
        net.cells["stage1"].nodes["b1_local1"].norm.weight[2] = 1e-30
    assert prune_channels(net).after["stage1.widths.1.1"] == 2
    with torch.no_grad():
        net.cells["stage1"].nodes["b1_local1"].norm.weight[2] = 1e-10
    assert prune_channels(net).after["stage1.widths.1.1"] == 3
    assert prune_channels(net, 1e-6).after["stage1.widths.1.1"] == 2


def test_a_branch_may_vanish_whole():
    net, x = _net(), _picture()
    with torch.no_grad():
        for cell, names in (("stage0", ("mix1", "local1", "out1")), ("stage1", ("b1_mix1", "b1_local1", "out1"))):
            for name in names:
                for value in net.cells[cell].nodes[name].norm.parameters():
                    value.zero_()
        for value in net.cells["fusion"].nodes["multi2"].norm.parameters():
            value.zero_()
    pruned = prune_channels(net)
    cells = {cell.name: cell for cell in pruned.net.genotype.cells}
    assert cells["stage0"].params["widths"] == (4, 0) and dict(cells["stage1"].inputs) == {"x0": "stage0.out0"}
    assert cells["stage1"].params["widths"][1] == (5, 0) and dict(cells["stage2"].inputs) == {"x0": "stage1.out0"}
    # What only a dropped branch read is of no use either.
    assert cells["fusion"].params["fuse"] == (4, 5, 0) and cells["fusion"].params["dilated"][2] == (0,) * 5
    torch.testing.assert_close(pruned.net(x)[0], net(x)[0], rtol=0, atol=1e-5)


def test_what_comes_out_has_the_form_of_the_authors_pruned_networks():
    # The authors' own widths, reached from csnet_x2 by dropping channels.
    target, net = genotypes.load("csnet_l_x2"), nas.build(genotypes.load("csnet_x2"))
    wanted = {key: len(value) for key, value in nas.build(target).state_dict().items() if key.endswith("norm.weight")}
    dilated = {cell.name: cell for cell in target.cells}["fusion"].params["dilated"]
    with torch.no_grad():
        for key, scale in net.named_parameters():
            if not key.endswith("norm.weight"):
                continue
            if "multi" in key:
                branch = int(key.split("multi")[1][0])
                parts = scale.split([edge.width for edge in net.genotype.graph.incoming(f"fusion.multi{branch}")])
                for part, width in zip(parts, dilated[branch], strict=True):
                    part[width:] = 0
            else:
                scale[wanted[key] :] = 0
    pruned = prune_channels(net).net.genotype
    assert pruned == target and pruned.name == "csnet_x2_pruned" and "csnet_x2" in pruned.description


def test_nothing_left_is_an_error():
    net = _net()
    torch.nn.init.zeros_(net.cells["stage3"].nodes["out0"].norm.weight)
    with pytest.raises(UserError, match=r"every channel of stage3\.widths\.\d has vanished"):
        prune_channels(net)
    net = _net()
    torch.nn.init.zeros_(net.cells["fusion"].nodes["out"].norm.weight)
    with pytest.raises(UserError, match=r"every channel of .* has vanished, so no network is left"):
        prune_channels(net)
    fusion = {"name": "fusion", "template": "cross_stage_fusion", "inputs": ["s4", "s8"], "channels": 4}
    fusion |= {"fuse": [4, 4], "dilated": [[1, 1, 1, 1, 0]] * 2}
    head = Cell.from_dict({"name": "head", "template": "head", "inputs": ["fusion.out"]})
    for post, told in (("bn_prelu", r"every channel of head\.logits"), ("prelu", r"fusion\.\w+ has no batch norm")):
        net = _net(SMALL.replace(name="fused", backbone=TWO, cells=(Cell.from_dict(fusion | {"post": post}), head)))
        if post == "bn_prelu":
            torch.nn.init.zeros_(net.cells["fusion"].nodes["out"].norm.weight)
        with pytest.raises(UserError, match=told):
            prune_channels(net)
    with pytest.raises(UserError, match=r"fpn_tiny has no cell of octave_block, octave_stage.*another.* budget"):
        prune_channels(nas.build(genotypes.load("fpn_tiny")))


SMALL = Genotype(  # six blocks: 32 (never narrower), 96, 144 (may be absent), 144, 192 and 192 (may be absent)
    name="small",
    input=genotypes.Input(size=(32, 32)),
    backbone=genotypes.Backbone(name="mobilenet_v2", taps=("s8",)),
    cells=(Cell.from_dict({"name": "head", "template": "head", "inputs": ["s8"]}),),
    outputs=("head.logits",),
)
TWO = genotypes.Backbone(name="tiny", taps=("s4", "s8"))
HIDDEN = (32, 96, 144, 144, 192, 192)


def _macs(genotype: Genotype) -> float:
    return float(count(genotype).macs)


def _judge(prices: dict[int, float]):
    """By widths alone: what it costs to be without a block, of the block's missing channels their share."""

    def judge(net: nas.Network, turn: int) -> float:
        widths = enumerate(net.genotype.backbone.hidden)
        return sum(prices.get(block, 1.0) * (1 - width / HIDDEN[block]) for block, width in widths)

    return judge


def test_blocks_that_matter_least_are_narrowed_first_until_the_budget_is_kept():
    net, rounds = _net(SMALL), []
    before = {key: value.clone() for key, value in net.state_dict().items()}
    budget = _macs(SMALL) - 120_000
    small = narrow_blocks(net, budget, _judge({3: 0.0}), _macs, report=lambda genotype, _: rounds.append(genotype))
    assert _macs(small.genotype) <= budget < _macs(rounds[-2]) and rounds[0].backbone.hidden == HIDDEN
    changed = {block for block, width in enumerate(small.genotype.backbone.hidden) if width != HIDDEN[block]}
    assert changed == {3} and len(rounds) > 2
    assert net.genotype == SMALL
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_block_may_go_at_once_though_half_of_it_is_dear():
    def judge(net: nas.Network, turn: int) -> float:
        width = net.genotype.backbone.hidden[4]
        return _judge({4: 0.0})(net, turn) + {0: -1.0, 192: 0.0}.get(width, 5.0)

    small = narrow_blocks(_net(SMALL), _macs(SMALL) - 1, judge, _macs)
    assert small.genotype.backbone.hidden == (32, 96, 144, 144, 0, 192)


def test_a_round_goes_half_of_the_way_and_no_step_of_it_widens_what_another_narrowed():
    def judge(net: nas.Network, turn: int) -> float:
        width = net.genotype.backbone.hidden[4]
        return _judge({4: 0.0})(net, turn) + {0: -2.0, 144: -0.1, 192: 0.0}.get(width, 5.0)

    rounds = []
    narrow_blocks(_net(SMALL), _macs(SMALL) - 1e6, judge, _macs, report=lambda genotype, _: rounds.append(genotype))
    first = rounds[1].backbone.hidden
    assert first[4] == 0 and len([width for width, whole in zip(first, HIDDEN, strict=True) if width < whole]) > 1
    assert _macs(SMALL) - _macs(rounds[1]) <= 5e5


@torch.no_grad()
def test_the_hidden_channels_of_the_smallest_scales_go():
    net, x = _net(SMALL), torch.randn(2, 3, 32, 32, dtype=torch.double, generator=torch.Generator().manual_seed(1))
    (_, second, _) = [module for module in net.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)][-3:]
    gone = torch.randperm(192, generator=torch.Generator().manual_seed(2))[:48]
    second.weight[gone] = 0
    second.bias[gone] = 0
    small = narrow_blocks(net, _macs(SMALL) - 1, _judge({5: 0.0}), _macs)
    assert small.genotype.backbone.hidden == (32, 96, 144, 144, 192, 144)
    torch.testing.assert_close(small.double().eval()(x)[0], net.double()(x)[0])


def test_what_cannot_be_narrowed_is_refused():
    with pytest.raises(UserError, match=r"thin has no backbone with blocks that can be narrowed; .* without a budget"):
        narrow_blocks(_net(), 1, lambda net, turn: 0.0, _macs)
    with pytest.raises(UserError, match="fpn_tiny has no backbone with blocks that can be narrowed"):
        narrow_blocks(nas.build(genotypes.load("fpn_tiny")), 1, lambda net, turn: 0.0, _macs)
    narrowest = genotypes.Backbone(name="mobilenet_v2", taps=("s8",), widths=(32, 24, 0, 32, 0, 0))
    least = _macs(SMALL.replace(backbone=narrowest))
    with pytest.raises(UserError, match=f"budget 10: as narrow as can be, small costs {least:,.0f}$"):
        narrow_blocks(_net(SMALL), 10, lambda net, turn: 0.0, _macs)


def test_what_keeps_the_budget_is_left_as_it_is():
    asked = []
    net = narrow_blocks(_net(SMALL), _macs(SMALL), lambda net, turn: float(asked.append(turn) or 0), _macs)
    assert net.genotype.backbone.hidden == HIDDEN and asked == [0]


def test_command_with_a_budget(tmp_path, capsys, monkeypatch):
    asked = []

    class Seen(Batches):
        def __call__(self, step):
            asked.append(step)
            return super().__call__(step)

    monkeypatch.setattr(pruning, "Batches", Seen)
    weights, out, budget = tmp_path / "w.safetensors", tmp_path / "out", 3.9 * _macs(SMALL)
    save(weights, _net(SMALL))
    data = ["--data", "synthetic:20", "--batches", "2", "--batch-size", "4", "--step_batches", "1"]
    words = ["--weights", str(weights), "-o", str(out), "--size", "64", "--budget", f"{budget:.0f}"]
    assert run_command(main, words + data) == 0
    assert "--recipe.size 64 --data synthetic:20\n" in capsys.readouterr().out
    assert asked == [0, 1, 2, 0, 1]  # each round has a batch of its own; then the statistics' two
    document = json.loads((out / "pruning.json").read_text())
    assert document["after"]["macs"] <= budget < document["before"]["macs"]
    assert document["after"]["size"] == document["before"]["size"] == [64, 64]
    assert document["after"]["held_out"]["images"] == 2
    small = load(out / "weights.safetensors").network
    assert small.genotype.name == "small_narrow" and small.genotype.input.size == (64, 64)
    assert [kept for _, kept in document["widths"].values()] == list(small.genotype.backbone.hidden)
    costs = [spent["macs"] for spent in document["rounds"]]
    assert (costs[0], costs[-1]) == tuple(document[stage]["macs"] for stage in ("before", "after"))

    # The page's command repeats it; the maps are of both networks.
    assert run_command(main, ["--config", str(out / "config.yaml"), "-o", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again/pruning.json").read_bytes() == (out / "pruning.json").read_bytes()
    with Image.open(out / "predictions.png") as strip:
        assert strip.size == (2 * 64, 4 * 64)
        _, _, before, after = np.split(np.asarray(strip), 4)
    assert (before != after).any()
    capsys.readouterr()

    # Within the budget as it is: it keeps its name and the statistics of its training.
    assert run_command(main, ["--weights", str(weights), "-o", str(tmp_path / "same"), "--budget", "1e12", *data]) == 0
    assert "within the budget as it is" in capsys.readouterr().out
    whole, same = (load(at).network for at in (weights, tmp_path / "same/weights.safetensors"))
    assert same.genotype.name == "small"
    assert all(torch.equal(value, whole.state_dict()[name]) for name, value in same.state_dict().items())

    for more, message in (
        (["--budget", "1e6"], "--budget needs --data"),
        (["--size", "64"], "--size is of the network within a --budget"),
        (["--cost", "params"], "--cost is of the network within a --budget"),
        (["--step_batches", "3"], "--step_batches is of the network within a --budget"),
        (["--budget", "1e6", "--threshold", "0.1", *data], "--threshold is for a CSNet's norm scales"),
    ):
        assert run_command(main, ["--weights", str(weights), "-o", str(tmp_path / "b"), *more]) == 2
        assert message in capsys.readouterr().err


def test_command(tmp_path, capsys):
    net = _net(THIN.replace(input=genotypes.Input(size=(32, 32))))
    _vanish(net, shifts=True)
    weights, out = tmp_path / "w.safetensors", tmp_path / "out"
    save(weights, net)
    words = ["--weights", str(weights), "-o", str(out), "--data", "synthetic:20", "--batches", "3", "--batch-size", "8"]
    assert run_command(main, words) == 0
    said = capsys.readouterr().out
    assert "channels left" in said and "scored  after   held-out (2)" in said
    made = f"--genotype {out / 'genotype.yaml'} --init {out / 'weights.safetensors'}"
    assert said.endswith(f"next    python -m retrain.train {made} --recipe.size 32 --data synthetic:20\n")
    document = json.loads((out / "pruning.json").read_text())
    small = load(out / "weights.safetensors").network
    assert small.genotype == genotypes.load(out / "genotype.yaml") and small.genotype.input.size == (32, 32)
    assert document["after"]["params"] == sum(p.numel() for p in small.parameters()) < document["before"]["params"]
    assert document["widths"]["fusion.channels"] == [7, small.genotype.graph["fusion.out"].width]
    folded = prune_channels(net).net.state_dict()  # the statistics are those of the photographs now
    key = "cells.fusion.nodes.out.norm.running_mean"
    assert not torch.allclose(small.state_dict()[key], folded[key])
    assert torch.equal(small.state_dict()["cells.head.edges.conv.weight"], folded["cells.head.edges.conv.weight"])

    genotypes_of_mine = tmp_path / "mine"
    genotypes.save(net.genotype, genotypes_of_mine / "genotype.yaml")

    for words, message in (
        (["--threshold", "2"], "--threshold is a norm scale in 0..1, not 2.0"),
        (["--batches", "0"], "--batches must be at least 1, not 0"),
        (["-o", str(tmp_path)], "holds files of something else"),
        (["--weights", str(tmp_path / "none")], "no weight file at"),
        (["--weights", str(out / "weights.safetensors")], "weights.safetensors is the network to prune"),
        (["-o", str(genotypes_of_mine)], "holds files of something else (genotype.yaml)"),
    ):
        assert run_command(main, ["--weights", str(weights), "-o", str(out), *words]) == 2
        assert message in capsys.readouterr().err


def test_a_pruning_that_is_killed_leaves_a_folder_that_the_next_one_takes(tmp_path, monkeypatch):
    """Weights were written first, and without pruning.json beside them they were taken for somebody else's."""
    net = _net(THIN.replace(input=genotypes.Input(size=(32, 32))))
    weights, out = tmp_path / "w.safetensors", tmp_path / "out"
    save(weights, net)
    words = ["--weights", str(weights), "-o", str(out)]
    replace = Path.replace

    def stop(what: Path | Genotype, place: Path) -> Path:
        if isinstance(what, Path) and what.name == "pruning.json":
            return replace(what, place)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:  # as the files are put in their places
        patch.setattr(Path, "replace", stop)
        assert run_command(main, words) == 130
    assert [path.name for path in out.iterdir()] == ["pruning.json"]
    assert run_command(main, words) == 0
    earlier = {path.name: path.read_bytes() for path in out.iterdir()}
    assert earlier.keys() == {"genotype.yaml", "weights.safetensors", "pruning.json", "config.yaml", "environment.json"}

    _vanish(net, shifts=True)
    save(weights, net)
    with monkeypatch.context() as patch:  # as they are written
        patch.setattr(genotypes, "save", stop)
        assert run_command(main, words) == 130
    assert {path.name: path.read_bytes() for path in out.iterdir()} == earlier


@pytest.mark.usefixtures("pages_made")
def test_a_pruning_leaves_a_page_and_is_listed_among_the_runs(tmp_path, capsys):
    net = _net(THIN.replace(input=genotypes.Input(size=(32, 32))))
    _vanish(net, shifts=True)
    weights, out = tmp_path / "x1" / "weights.safetensors", tmp_path / "runs" / "l_x1"
    save(weights, net)
    seen = ["--data", "synthetic:20", "--batches", "2", "--batch-size", "8"]
    for more, score in (seen, "MAE_raw"), ([], ""):
        assert run_command(main, ["--weights", str(weights), "-o", str(out), *more]) == 0
        assert f"page    {out / 'report.html'}\n" in capsys.readouterr().out
        page = (out / "report.html").read_text()
        assert ("data:image/png" in page) == bool(more)  # and of the earlier pruning nothing is left
        assert "--recipe.size 32" in page and "stage4" in page
        assert console(["runs", str(out)]) == 0
        row = capsys.readouterr().out.splitlines()[1]
        assert all(word in row for word in ("pruning", "finished", " x1", score))
