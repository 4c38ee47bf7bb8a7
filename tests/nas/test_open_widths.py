"""Open widths that a supernet mixes by masks: what they compute, what they cost, and searches that decide them."""

import json

import pytest
import torch
from tiny_search import config, run_search, words
from torch import nn

import genotypes
import nas
from genotypes import UserError, UserNote
from nas.cost import count
from nas.cost.widths import WidthCosts
from nas.guard import GuardConfig
from nas.network import Member, extreme, norm_statistics_restored, supernet_genotype
from nas.network.widths import OpenWidths
from nas.search import open_search
from nas.search.__main__ import main
from nas.strategies import member_choices
from search_spaces import compact, open_csnet
from search_spaces.backbones.layers import InvertedResidual

SPACES = {
    backbone: compact(
        backbone,
        (4, 6, 8),
        ("skip_connect", "conv_3x3"),
        sizes=(32,),
        taps=("s8", "s4"),
        open_blocks=4,
        leave_out="none",
    )
    for backbone in ("mobilenet_v2", "efficientnet_lite0")
}
SPACE = SPACES["mobilenet_v2"]


@pytest.fixture(scope="module")
def some_of_csnet():
    """Open: branches of a block and of the head, which are concatenated and may be absent; three candidates each."""
    space = open_csnet(1)
    kept = ("stage4.widths.0.0", "stage4.widths.0.1", "fusion.fuse.0", "fusion.fuse.2", "fusion.dilated.1.0")
    choices = space.choices()
    largest = {choice: max(found) for choice, found in choices.items() if choice not in kept}
    assert set(kept) <= set(choices)
    few = space.decide(largest).to_dict()

    def thin(value):
        if isinstance(value, dict):
            if set(value) == {"choose"}:
                return {"choose": [value["choose"][0], value["choose"][len(value["choose"]) // 2], value["choose"][-1]]}
            return {key: thin(item) for key, item in value.items()}
        return [thin(item) for item in value] if isinstance(value, list) else value

    return genotypes.Genotype.from_dict(thin(few))


def members(space):
    yield from (extreme(space, which) for which in ("largest", "smallest"))
    yield from (member_choices(space, 0, number) for number in range(2))


def picture():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def check_members(space):
    """With all of the weight on one candidate of each choice a supernet is its member, in training and after it."""
    torch.manual_seed(0)
    supernet, x = nas.build(space, affine=True).double(), picture()
    for norm in (module for module in supernet.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.uniform_(norm.bias, 0.5, 1.5)  # of an absent part, too
    for choices in members(space):
        member = Member(supernet, space.decide(choices))
        for training in (True, False):
            supernet.train(training)
            member.net.train(training)
            with torch.no_grad(), norm_statistics_restored(supernet):
                for ours, theirs in zip(supernet(x, supernet.path(choices)), member(x), strict=True):
                    torch.testing.assert_close(ours, theirs)
    return supernet


@pytest.mark.parametrize("backbone", SPACES)
def test_decided_masks_compute_the_member(backbone):
    supernet = check_members(SPACES[backbone])
    assert set(supernet.state_dict()) == set(nas.build(supernet_genotype(SPACES[backbone]), affine=True).state_dict())


def test_branches_that_are_concatenated_or_absent_compute_the_member(some_of_csnet):
    check_members(some_of_csnet)


def test_a_mask_is_the_mean_of_its_candidates():
    widths = OpenWidths(SPACE)
    assert next(iter(widths.choices.items())) == ("decoder.channels", (4, 6, 8))
    weights = torch.zeros(len(widths.choices), 4)
    weights[:, 0] = 1.0
    weights[0] = torch.tensor([0.5, 0.3, 0.2, 0.0])
    masks = widths(weights)
    torch.testing.assert_close(masks.features["decoder.m_s4"], torch.tensor([1.0, 1, 1, 1, 0.5, 0.5, 0.2, 0.2]))
    assert {name.split(".")[0] for name in masks.features} == {"decoder"}  # the head has one channel in any case


def test_each_choice_has_a_slope_and_an_absent_block_counts_by_its_probability():
    torch.manual_seed(0)
    net = nas.build(SPACE).double()
    weights = net.uniform_weights(picture()).requires_grad_()
    net(picture(), weights)[0].square().mean().backward()
    assert (weights.grad.abs().sum(1) > 0).all()

    class Block(InvertedResidual):
        residual = True

        def expanded(self, x):
            return x

        def projected(self, hidden):
            return nn.functional.batch_norm(hidden, None, None, training=True)

    x = picture()
    whole = Block()(x) - x
    torch.testing.assert_close(
        Block()(x, torch.full((3,), 0.25, dtype=torch.float64)) - x, whole / 4, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("kind", ["params", "macs"])
@pytest.mark.parametrize("which", [*SPACES, "csnet"])
def test_what_a_member_costs(which, kind, some_of_csnet):
    space = SPACES.get(which, some_of_csnet)
    costs = WidthCosts(space, kind)
    for choices in members(space):
        counted = getattr(count(space.decide(choices)), kind)
        assert costs.of(choices) == counted
        # What reads nothing any more keeps its bias in the function.
        assert costs.estimate(choices) == pytest.approx(counted, rel=1e-9 if which != "csnet" else 2e-3)
    assert costs.of(costs.cheapest()) <= min(costs.of(choices) for choices in members(space))


def test_the_expected_cost_is_that_of_the_mean_widths():
    costs = WidthCosts(SPACE, "macs")
    four, eight = (extreme(SPACE, "smallest") | {"decoder.channels": width} for width in (4, 8))
    half = torch.stack([costs._one_hot([choices])[0] for choices in (four, eight)]).mean(0).requires_grad_()
    six = costs.of(extreme(SPACE, "smallest") | {"decoder.channels": 6})
    assert costs.expected(half).item() == pytest.approx(six)
    costs.expected(half).backward()
    row = list(costs.choices).index("decoder.channels")
    slopes = half.grad[row, :3].tolist()  # of 4, 6 and 8 channels
    assert slopes == sorted(slopes) and slopes[0] < slopes[2]


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_most_probable_member_within_a_budget(share):
    costs = WidthCosts(SPACE, "macs")
    draw = torch.Generator().manual_seed(0)
    likely = {
        choice: dict(zip(found, torch.rand(len(found), generator=draw).tolist(), strict=True))
        for choice, found in costs.choices.items()
    }
    least, most = costs.of(costs.cheapest()), costs.of(extreme(SPACE, "largest"))
    budget = least + share * (most - least)
    found = costs.most_probable(likely, budget)
    assert costs.of(found) <= budget
    spent = costs.of(found)
    for choice, row in likely.items():  # what is nearly as likely, or likelier, and dearer would break the budget
        for taken in row:
            cost = costs.of({**found, choice: taken})
            assert 2 * row[taken] <= max(row.values()) or cost <= spent or cost > budget
    assert costs.most_probable(likely, least) == costs.cheapest()
    best = {choice: max(row, key=row.__getitem__) for choice, row in likely.items()}
    sure = {choice: {taken: 1.0 if taken == best[choice] else 0.4 for taken in row} for choice, row in likely.items()}
    assert costs.most_probable(sure, most) == best  # the budget is not to be spent on what is unlikely
    with pytest.raises(UserError, match="no network of compact_mobilenet_v2 meets the budget"):
        costs.most_probable(likely, least - 1)


@pytest.fixture(scope="module")
def space_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    genotypes.save(SPACE, path)
    return str(path)


@pytest.mark.parametrize("strategy", ["darts", "drnas", "gdas", "one_shot", "optuna", "random"])
def test_a_search_decides_widths_within_a_budget(tmp_path, space_file, strategy):
    costs = WidthCosts(SPACE, "macs")
    least, most = costs.of(costs.cheapest()), costs.of(extreme(SPACE, "largest"))
    short = {"steps": 4, "evaluate_every": 4, "rivals": 1, "guard": GuardConfig(on=False), "score_steps": 1}
    trials = {"trials": {"count": 6}} if strategy in ("one_shot", "optuna") else {}
    budget = round(least + 0.4 * (most - least))
    cfg = config(strategy=strategy, space=space_file, cost="macs", budget=budget, size=48, **short, **trials)
    setup = open_search(cfg)
    assert setup.weights(0)[0].shape[-1] == 32  # as the space says
    result = run_search(tmp_path / "run", cfg)
    assert set(SPACE.chosen(result.genotype)) == set(SPACE.choices())
    assert count(result.genotype).macs == result.cost <= cfg.budget


def test_the_page_of_a_search_for_widths(tmp_path, space_file, pages_made, capsys):
    folder = tmp_path / "run"
    main([*words(), "--space", space_file, "--cost=params", "--worth_seconds=5", f"--out={folder}"])
    assert "sizes   decoder.channels" in capsys.readouterr().out
    page = (folder / "report.html").read_text()
    for expected in ("How the choices moved", "the first candidate is the palest", "what each choice is worth"):
        assert expected in page
    last = [json.loads(line) for line in (folder / "choices.jsonl").read_text().splitlines()][-1]["probabilities"]
    assert list(last) == list(SPACE.choices())
    assert list(last["decoder.channels"]) == ["4", "6", "8"] and sum(
        last["decoder.channels"].values()
    ) == pytest.approx(1)
    worth = json.loads((folder / "worth.json").read_text())["edges"]
    assert worth["decoder.channels"]["chosen"] in (4, 6, 8)


@pytest.mark.parametrize(
    "strategy, options, changes, said",
    [
        (
            "pc_darts",
            {},
            {},
            "strategy pc_darts decides operations only; compact_mobilenet_v2 also leaves decoder.channels",
        ),
        ("drnas", {"progressive": True}, {}, "strategy drnas decides operations only"),
        ("darts", {}, {"cost": "latency"}, "times of parts do not follow from their widths; take --cost macs"),
        ("darts", {}, {"cost": "macs", "budget": 9}, "budget 9: no genotype of compact_mobilenet_v2 costs so little"),
    ],
)
def test_what_cannot_decide_widths_says_so(space_file, strategy, options, changes, said):
    with pytest.raises(UserError, match=said):
        open_search(config(strategy=strategy, options=options, space=space_file, **changes))


def test_a_backbone_that_takes_no_masks_says_so(monkeypatch):
    class Own(nn.Module):
        def forward(self, x):
            raise AssertionError

    monkeypatch.setattr("nas.network.network.build_backbone", lambda *args, **kwargs: Own())
    with pytest.raises(UserError, match=r"'mobilenet_v2': its widths cannot be mixed.*--strategy sandwich"):
        nas.build(SPACE)
    nas.build(supernet_genotype(SPACE))


def test_without_a_cost_a_note_says_who_wins(space_file):
    with pytest.warns(UserNote, match="leaves widths open, and no cost counts: the widest are likely to win"):
        open_search(config(space=space_file))
