"""What docs/extending.md promises of each of its sections: CHECKS[section](the names its python blocks left)."""

import contextlib
import csv
import io
import math
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import torch

import genotypes
import nas
from genotypes import Genotype, UserError
from nas.command import run_command
from nas.search.__main__ import main as search_main
from nas.strategies import strategy_config
from nas.task import get_loss
from nas.visualize import draw
from search_spaces.operations import build_operation


def whole(genotype: Genotype, *, size: tuple[int, int] = (61, 83)) -> nas.Network:
    """The genotype reads back the same, draws, and its network runs and learns at an odd size."""
    text = genotypes.dumps(genotype)
    assert genotypes.loads(text) == genotype and genotypes.dumps(genotypes.loads(text)) == text
    (path,) = draw(genotype, "whole.svg", engine="matplotlib")
    ElementTree.parse(path)
    net = nas.build(genotype).train()
    outputs = net(torch.rand(2, 3, *size))
    assert [tuple(y.shape) for y in outputs] == [(2, 1, *size)] * len(genotype.outputs)
    sum(y.square().mean() for y in outputs).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    return net


def fails(*argv: str) -> str:
    """What the search says to a user's mistake."""
    stderr = io.StringIO()
    with contextlib.redirect_stderr(stderr):
        assert run_command(search_main, list(argv)) == 2
    return stderr.getvalue()


def operation(names: dict) -> None:
    assert "dw_conv_7x7" in Path("runs/operation/space.yaml").read_text()
    assert "plugin" not in Path("runs/operation/config.yaml").read_text()
    assert "my_operations.py" in Path("runs/operation/environment.json").read_text()
    assert Path("cells.svg").is_file() and genotypes.load("runs/operation/genotype.yaml").is_decided
    net = whole(names["everywhere"])
    assert "cells.fuse8.edges.p_n1.op.1.weight" in net.state_dict()
    assert [tuple(y.shape) for y in names["logits"]] == [(1, 1, 64, 96)] * 3
    x = torch.randn(1, 8, 5, 7)
    assert build_operation("dw_conv_7x7", 8, 8)(x).shape == x.shape
    try:
        build_operation("dw_conv_7x7", 8, 16)
    except UserError:
        pass
    else:
        raise AssertionError('widths="same" was not enforced')


def template(names: dict) -> None:
    space = genotypes.load("dense.yaml")
    assert list(space.open_edges()) == ["mix.f16_f8", "mix.f16_f4", "mix.f8_f4"]
    found = genotypes.load("runs/template/genotype.yaml")
    assert found.is_decided and set(found.graph) == set(space.graph)
    assert Path("dense.svg").is_file()
    whole(space.decide(dict.fromkeys(space.open_edges(), "conv_3x3")))
    closed = Path("dense.yaml").read_text().replace("  candidates: [none, skip_connect, conv_3x3]\n", "")
    assert genotypes.loads(closed) == space.decide(dict.fromkeys(space.open_edges(), "skip_connect"))
    for spoilt, message in (("  post: 3\n", "expected a name, not 3"), ("  colour: red\n", "unknown key 'colour'")):
        try:
            genotypes.loads(closed.replace("reduce.f4]\n", f"reduce.f4]\n{spoilt}"))
        except UserError as error:
            assert message in str(error), error
        else:
            raise AssertionError(f"accepted {spoilt}")


def backbone(names: dict) -> None:
    found, net, again = names["found"], names["net"], names["again"]
    assert found.backbone.name == "plain16" and dict(found.backbone.options) == {"activation": "silu"}
    ours, theirs = net.backbone.state_dict(), again.backbone.state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[key], theirs[key]) for key in ours)
    whole(found)
    shallow = nas.build(genotypes.loads(genotypes.dumps(_shallow())))
    assert list(shallow.backbone.stages) == ["s4", "s8"]
    nas.build(shallow.genotype, weights="plain16.pth")  # holds deeper layers: they are skipped
    torch.save({"stem.weight": ours["stem.weight"]}, "part.pth")
    try:
        nas.build(found, weights="part.pth")
    except UserError as error:
        assert "stem.bias" in str(error) and "a state dict that you saved from it" in str(error)
    else:
        raise AssertionError("a file without some of the keys was loaded")


def _shallow() -> Genotype:
    from search_spaces import fpn

    return fpn("plain16", 8, taps=("s4", "s8"))


def data_set(names: dict) -> None:
    assert len(names["pairs"]) == 12
    assert tuple(names["images"].shape) == (12, 3, 32, 32) and tuple(names["masks"].shape) == (12, 1, 32, 32)
    assert names["photos"].name == "flowers" and 0.1 < float((names["masks"] > 127).float().mean()) < 0.4
    scores = Path("runs/data/scores.json").read_text()
    assert '"all"' in scores and '"train_images": 9' in scores
    Path("renamed/images").mkdir(parents=True)
    Path("renamed/masks").mkdir()
    for pair in names["pairs"]:
        Path(f"renamed/images/{pair.name}.jpg").write_bytes(pair.image.read_bytes())
        Path(f"renamed/masks/{pair.name.upper()}.png").write_bytes(pair.mask.read_bytes())
    assert [pair.name for pair in names["find_pairs"]("renamed")] == [pair.name for pair in names["pairs"]]


def strategy(names: dict) -> None:
    found, space = (genotypes.load(f"runs/strategy/{name}.yaml") for name in ("genotype", "space"))
    assert found.is_decided and set(found.graph) == set(space.graph)
    net = nas.build(space)
    first, second = (strategy_config("marginal").build(net, seed=1, steps=1) for _ in range(2))
    weights = first.mixture(3).weights
    assert torch.equal(weights, second.mixture(3).weights) and not torch.equal(weights, first.mixture(4).weights)
    assert torch.equal(weights.sum(-1), torch.ones(len(weights)))
    for step in range(4):
        first.architecture_step(step, None, lambda path, params: path.weights[:, 1].sum(), 0.1)
    second.load_state_dict(first.state_dict())
    assert first.choices() == second.choices() and space.decide(first.choices()).is_decided


def loss(names: dict) -> None:
    assert "focal: 2.0" in Path("runs/loss/config.yaml").read_text()
    focal = get_loss("focal")
    masks = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    assert focal(torch.zeros(1, 1, 1, 2), masks).item() == pytest.approx(0.25 * math.log(2))
    assert focal(20 * (2 * masks - 1), masks) < 1e-6


def metric(names: dict) -> None:
    rows = list(csv.DictReader(Path("runs/metric/history.csv").read_text().splitlines()))
    assert rows and all(0 <= float(row["held_out_covered"]) <= 1 for row in rows)


def listener(names: dict) -> None:
    assert [line.split()[0] for line in Path("runs/listener/pace.txt").read_text().splitlines()] == ["2", "4"]


def whole_network(names: dict) -> None:
    space = names["space"]
    assert list(space.open_edges()) == ["net.look"] and space.backbone is None
    decided = genotypes.load("hourglass_dilated.yaml")
    assert decided.is_decided and Path("hourglass.png").is_file() and Path("runs/yaml/weights.safetensors").is_file()
    whole(decided)
    for options in (("--strategy", "absent"), ("--backbone", "absent"), ("--operations", "[none, absent]")):
        message = fails(*options)
        assert "'absent'" in message and "--plugin FILE" in message, message
    text = Path("hourglass.yaml").read_text()
    Path("bad.yaml").write_text(text.replace("width: 24", "width: 25"))
    line = text[: text.index("width: 24")].count("\n") + 1
    message = fails("--space", "bad.yaml", "--out", "runs/bad")
    assert f"bad.yaml:{line}: cells[0].nodes[3].width" in message and "25 channels, 8 + 16 = 24 arrive" in message, (
        message
    )


def space(names: dict) -> None:
    found, opened = (genotypes.load(f"runs/space/{name}.yaml") for name in ("genotype", "space"))
    assert found.is_decided and len(found.outputs) == 1 and opened.open_edges()
    assert "outputs: 1" in Path("runs/space/config.yaml").read_text()
    whole(found)


CHECKS = {
    "An operation": operation,
    "A cell template": template,
    "A backbone": backbone,
    "A data set": data_set,
    "A strategy": strategy,
    "A space": space,
    "A loss": loss,
    "A metric": metric,
    "A listener": listener,
    "A whole network in YAML": whole_network,
}
