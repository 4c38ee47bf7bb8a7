"""One supernet trained by the sandwich rule, and what its members are worth."""

import csv
import json
import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

import genotypes
import nas
from genotypes import UserError
from nas import deploy
from nas.command import run_command
from nas.deploy import open_graph as opener
from nas.network import extreme, inherit, supernet_genotype
from nas.network.weights import load_weights
from nas.report.parts import render
from nas.report.search import search_page
from nas.run import Interrupted, RunFolder, load_checkpoint
from nas.run_files import read_run
from nas.search import SearchConfig, members, objective, open_search, scoring
from nas.search.__main__ import COMMAND, main
from nas.search.members import MemberScores, score_network, study_members
from nas.search.objective import MemberCost
from nas.search.sandwich import Sandwich
from nas.search.scoring import what_is_scored
from nas.search.selection import check_found
from nas.search.uniform_scaling import scaled_line
from nas.strategies import SandwichSearch
from nas.task import AugmentConfig, Batches, LossConfig, Samples, at_size, multi_output_loss, synthetic_set
from nas.training import HeldOut, OptimConfig, Trainer, fit
from nas.trials import TrialsConfig
from search_spaces import compact, open_csnet
from search_spaces.spaces import SPACES

CPU = torch.device("cpu")
SPACE = compact("tiny", (4, 8), ("skip_connect", "depthwise_3x3", "conv_3x3"), taps=("s16", "s8", "s4"), sizes=(32, 48))
STEPS = 12


@pytest.fixture(scope="module")
def photos():
    return synthetic_set(40, 48, 0)


def batches(photos, seed=0):
    samples = Samples(photos=photos, rows=torch.arange(30), convention=SPACE.input, device=CPU)
    return Batches(samples=samples, batch_size=4, augment=AugmentConfig(), seed=seed, stream="weights")


def held_out(photos):
    samples = Samples(photos=photos, rows=torch.arange(30, 40), convention=SPACE.input, device=CPU)
    return HeldOut(samples=samples, loss=LossConfig(), chunk=5)


def task(photos, seed=0, **cfg):
    torch.manual_seed(seed)
    net = nas.build(supernet_genotype(SPACE), affine=True)
    return Sandwich(net, SPACE, batches(photos), LossConfig(), SandwichSearch.Config(**cfg), steps=STEPS, seed=seed)


def trained(photos, **cfg):
    sandwich = task(photos, **cfg)
    trainer = Trainer(sandwich, OptimConfig(lr=5e-3), STEPS)
    fit(trainer, lambda: {}, at=lambda step: False)
    return sandwich


def test_a_step_is_a_function_of_seed_and_step(photos):
    first, second = task(photos, alone=0.25, members=2), task(photos, alone=0.25, members=2)
    assert not first.draw(2).members  # the largest alone
    again = [second.draw(step) for step in (7, 3)]  # in another order
    for step, other in zip((7, 3), again, strict=True):
        drawn = first.draw(step)
        ours, theirs = ([m.genotype.identity for m in d.members] for d in (drawn, other))
        assert ours == theirs and len(ours) == 3
        assert ours[0] == SPACE.decide(extreme(SPACE, "smallest")).identity
        assert torch.equal(drawn.batch.images, other.batch.images)
    kept = task(photos, alone=0, redraw=4)
    identities = [[m.genotype.identity for m in kept.draw(step).members] for step in range(8)]
    assert identities[0] == identities[3] != identities[4]


@pytest.mark.parametrize("taught", [False, True])
def test_the_loss_is_the_largests_on_masks_and_the_others_on_its_maps(photos, taught):
    """Recomputed with networks of their own, that hold copies of the weights. A teacher's maps are the largest's."""
    photos = replace(photos, teacher=photos.images[:, :1]) if taught else photos
    sandwich = task(photos, alone=0, members=1)
    drawn = sandwich.make(sandwich.draw(5))
    x, y = drawn.batch
    assert y.shape[1] == 1 + taught
    largest = inherit(sandwich.net, sandwich.largest.genotype).train()
    outputs = largest(x)
    expected = multi_output_loss(outputs, y, LossConfig())
    for member in drawn.members:
        own = inherit(sandwich.net, member.genotype).train()
        size = own.genotype.input.size
        maps = at_size(outputs[0].detach().sigmoid(), size)
        expected = expected + multi_output_loss(own(at_size(x, size)), maps, LossConfig())
    sandwich.net.train()
    torch.testing.assert_close(sandwich.loss(drawn), expected / 3)


def test_gradients_are_those_of_one_graph(photos):
    """Members are differentiated one after another, to free their activations; the sum is the same."""
    sandwich = task(photos, alone=0, members=2)
    drawn = sandwich.make(sandwich.draw(5))
    x, y = drawn.batch
    sandwich.net.train()
    parameters = list(sandwich.net.parameters())
    ours = torch.autograd.grad(sandwich.loss(drawn), parameters, allow_unused=True)
    outputs = sandwich.largest(x)
    total = multi_output_loss(outputs, y, LossConfig())
    for member in drawn.members:
        size = member.genotype.input.size
        maps = at_size(outputs[0].detach().sigmoid(), size)
        total = total + multi_output_loss(member(at_size(x, size)), maps, LossConfig())
    whole = torch.autograd.grad(total / (1 + len(drawn.members)), parameters, allow_unused=True)
    assert any(gradient is not None for gradient in whole)
    for one, other in zip(ours, whole, strict=True):
        torch.testing.assert_close(one, other)


def test_only_the_largest_member_leaves_statistics(photos):
    sandwich = task(photos, alone=0)
    drawn = sandwich.make(sandwich.draw(5))
    largest = inherit(sandwich.net, sandwich.largest.genotype).train()
    sandwich.loss(drawn)
    largest(drawn.batch[0])
    after = inherit(sandwich.net, sandwich.largest.genotype)
    for (key, ours), theirs in zip(after.named_buffers(), largest.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=key)


def test_steps_on_one_batch_lower_the_loss_of_every_member(photos):
    sandwich = task(photos, alone=0, members=1)
    drawn = sandwich.make(sandwich.draw(5))
    x, y = drawn.batch
    optimizer = torch.optim.Adam(sandwich.net.parameters(), lr=1e-2)

    def losses():
        with torch.no_grad():
            members = [sandwich.largest, *drawn.members]
            sizes = [member.genotype.input.size for member in members]
            return [
                float(multi_output_loss(member(at_size(x, size)), at_size(y, size), LossConfig()))
                for member, size in zip(members, sizes, strict=True)
            ]

    before = losses()
    for _ in range(25):
        optimizer.zero_grad()
        sandwich.loss(drawn).backward()
        optimizer.step()
    assert all(now < then - 0.1 for now, then in zip(losses(), before, strict=True)), (before, losses())


def test_scores_are_those_of_a_network_of_its_own_at_one_size(photos):
    sandwich = trained(photos)
    scores = MemberScores(sandwich.net, batches(photos), held_out(photos))
    genotype = SPACE.decide(extreme(SPACE, "smallest"))
    net = scores.network(genotype)
    assert isinstance(net, nn.Module) and genotype.input.size == (32, 32)
    assert scores(genotype) == score_network(net, held_out(photos)) == scores(genotype)
    statistics = dict(inherit(sandwich.net, genotype).named_buffers())
    assert any(not torch.equal(value, statistics[key]) for key, value in net.named_buffers())


def test_a_study_finds_the_front_and_keeps_the_budget(photos, tmp_path):
    sandwich = trained(photos)
    scores = MemberScores(sandwich.net, batches(photos), held_out(photos))
    cost = MemberCost("macs")
    dearest = cost(SPACE.decide(extreme(SPACE, "largest")))
    cfg = TrialsConfig(count=12, sampler="nsga2", population=4)
    trials = study_members(SPACE, scores, cost, cfg, folder=tmp_path)
    best = trials.best_within(dearest / 2, cost.unit)
    assert len(trials.complete) == 12 and best.values[1] <= dearest / 2
    affordable = [trial for trial in trials.complete if trial.values[1] <= dearest / 2]
    assert best.values[0] == min(trial.values[0] for trial in affordable)
    genotype = SPACE.decide(best.choices)
    assert list(best.values) == [scores(genotype)["loss"], cost(genotype)]
    with pytest.raises(UserError, match=r"of 12 genotypes none keeps the budget of 1 multiply-adds; the cheapest"):
        trials.best_within(1.0, cost.unit)


def test_a_study_begins_with_uniform_scaling_and_learns_from_it(tmp_path):
    cfg = TrialsConfig(count=12, sampler="nsga2", population=6)
    score = {"loss": 1.0}
    trials = study_members(SPACE, lambda genotype: score, MemberCost("macs"), cfg, folder=tmp_path).trials
    points = scaled_line(SPACE)
    assert [trial.choices for trial in trials[: len(points)]] == points and points[0] != points[-1]
    few = study_members(SPACE, lambda genotype: score, MemberCost("macs"), replace(cfg, count=6))
    assert [trial.choices for trial in few.trials[:3]] == scaled_line(SPACE, 3)
    again = study_members(SPACE, lambda genotype: score, MemberCost("macs"), replace(cfg, count=14), folder=tmp_path)
    assert again.trials[:12] == trials and len(again.trials) == 14
    random = study_members(SPACE, lambda genotype: score, MemberCost("macs"), TrialsConfig(count=3, sampler="random"))
    assert [trial.choices for trial in random.trials] != points


@pytest.mark.parametrize("sampler", ["gp", "nsga2", "tpe"])
def test_a_study_tries_another_member_each_time(sampler):
    """An operation on a tap that is left out makes no other member, and once took a trial all the same."""
    choice = "decoder.inputs"
    some = {key: values for key, values in SPACE.choices().items() if key in (choice, "decoder.mix_s16", "input.size")}
    space = SPACE.decide({key: values[0] for key, values in SPACE.choices().items() if key not in some})
    assert [math.prod(len(values) for values in some.values()), len(some[choice])] == [12, 2]
    seen = []

    def score(genotype):
        seen.append(genotype.identity)
        return {"loss": float(len(seen))}

    cfg = TrialsConfig(count=9, sampler=sampler, population=4)
    trials = study_members(space, score, MemberCost("macs"), cfg)
    assert len(seen) == len(set(seen)) == 8  # six with the tap, two without it
    assert [trial.repeat_of is not None for trial in trials.trials] == [False] * 8 + [True]


def test_two_seeds_draw_other_members(photos):
    """Seeds one apart once drew the same members, a step later."""
    drawn = [
        {member.genotype.identity for step in range(20) for member in one.draw(step).members[1:]}
        for seed in (0, 1)
        for one in [task(photos, seed=seed, alone=0, members=2)]
    ]
    assert len(drawn[0] & drawn[1]) < min(map(len, drawn)) / 2


def test_members_see_pictures_as_large_as_theirs_and_all_that_is_not_held_out(tmp_path):
    space = SPACES["compact"].make(backbone="tiny", sizes=(32, 96))
    cfg = SearchConfig(strategy=SandwichSearch.Config(), space=space, data="synthetic:40", size=48, batch_size=4)
    setup = open_search(cfg)
    assert setup.photos.size == 96 and len(setup.weights.samples.rows) == 36
    assert open_search(replace(cfg, space=replace(space, sizes=(32,)))).photos.size == 48


def test_a_study_tries_no_none_where_it_is_excluded(tmp_path):
    words = "--strategy sandwich --strategy.exclude_none --space compact --space.backbone tiny --size 32 --steps 1 "
    words += "--space.sizes [32] --space.channels [4,8] "
    words += f"--data synthetic:40 --batch_size 4 --trials.count 12 --cost params --out {tmp_path / 'run'}"
    main(words.split())
    (tried, *rest) = csv.DictReader((tmp_path / "run/trials.csv").open())
    assert len(rest) == 11 and not any(value == "none" for row in (tried, *rest) for value in row.values())


@pytest.mark.parametrize(
    "words, said",
    [
        ("--cost macs --budget 1000", "budget 1,000: no member of compact_tiny costs so little; the smallest takes"),
        ("--export_size 64", "leave out --export_size"),
        ("--export_channels 16", "leave out --export_channels"),
        ("--rivals 4", "leave out --rivals"),
        ("--batch_size 1", "two images or more at a time"),  # the smallest members see 32 px, where --size is 64
    ],
)
def test_what_cannot_be_had_is_said_before_anything_is_trained(words, said, tmp_path, capsys):
    argv = ["--strategy", "sandwich", "--space", "compact", "--space.backbone", "tiny", "--data", "synthetic:40"]
    assert run_command(main, [*argv, *words.split(), "--out", str(tmp_path / "run")]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_a_space_whose_members_are_not_all_networks_is_refused_before_anything_is_trained(tmp_path, capsys):
    """Training ended at the first random member that was none."""
    text = """format: 1
name: groups
backbone: {name: tiny, taps: [s8]}
cells:
- {name: reduce, template: lateral, inputs: [s8], channels: {choose: [32, 48, 64]}, post: gn32_relu}
- {name: head, template: head, inputs: [reduce.f8]}
outputs: [head.logits]
"""
    (tmp_path / "groups.yaml").write_text(text)
    words = f"--strategy sandwich --space {tmp_path / 'groups.yaml'} --data synthetic:40 --out {tmp_path / 'run'}"
    assert run_command(main, words.split()) == 2 and not (tmp_path / "run").exists()
    assert "groups: what it leaves open may be chosen so that it is no network: " in capsys.readouterr().err


def test_minutes_end_the_study_too(tmp_path):
    words = "--strategy sandwich --space compact --space.backbone tiny --size 32 --steps 1 --data synthetic:40 "
    with pytest.raises(Interrupted, match="time is up: 0 of 60 trials finished"):
        main(f"{words}--batch_size 4 --worth_seconds 0 --minutes 1e-6 --out {tmp_path / 'run'}".split())


def test_where_every_member_diverged_nothing_is_found(tmp_path, monkeypatch, capsys):
    """The first that was tried was the result, with exit code 0."""
    monkeypatch.setattr(members, "score_network", lambda *given: {"loss": math.nan, "maxF": 0.0, "MAE_raw": 1.0})
    words = "--strategy sandwich --space compact --space.backbone tiny --size 32 --data synthetic:40 --steps 1 "
    words += f"--batch_size 4 --worth_seconds 0 --trials.count 2 --cost params --out {tmp_path / 'run'}"
    assert run_command(main, words.split()) == 2
    assert "nothing was found: all that was tried diverged" in capsys.readouterr().err
    assert not {"genotype.yaml", "front", "front.svg", "weights.safetensors"} & {
        f.name for f in (tmp_path / "run").iterdir()
    }


def test_what_diverged_within_a_budget_is_told_as_that(tmp_path):
    with pytest.raises(UserError, match="all that was tried and keeps the budget of 1,000 diverged"):
        check_found(RunFolder(tmp_path), math.inf, 1000.0)


def test_a_search_of_whole_networks_leaves_a_network_ready_to_use(tmp_path, capsys):
    words = "--strategy sandwich --space compact --space.backbone tiny --size 48 --data synthetic:40 --steps 2 "
    words += "--space.sizes [32,48] --space.channels [4,8] "
    words += f"--batch_size 4 --worth_seconds 0 --trials.count 3 --cost params --out {tmp_path / 'run'}"
    main(words.split())
    genotype, state = load_weights(tmp_path / "run/weights.safetensors")
    assert genotype == genotypes.load(tmp_path / "run/genotype.yaml") and genotype.is_decided
    nas.build(genotype).load_state_dict(state)
    for name in ("line.csv", "front.svg", "front/front.csv", "cells.svg"):
        assert (tmp_path / "run" / name).stat().st_size > 0, name
    assert "uniform scaling" in render(search_page(read_run(tmp_path / "run")))  # beside the front
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert f"input.size {genotype.input.size[0]}" in told["sizes"] and "decoder.channels " in told["sizes"]
    scores = (tmp_path / "run/scores.json").read_bytes()
    found, line = json.loads(scores)["found"], list(csv.DictReader((tmp_path / "run/line.csv").open()))
    # Neither the point that was tried nor two other members are as good as a point that was not, which was taken.
    tried = [float(trial["loss"]) for trial in csv.DictReader((tmp_path / "run/trials.csv").open())]
    point = min(line, key=lambda point: float(point["loss"]))
    assert found["loss"] == float(point["loss"]) < min(tried) and found["size"][0] == int(point["size"])
    assert found["cost"] == float(point["params"])
    assert f"loss {found['loss']:.4f} for at most this cost, which is what was found" in told["beside"]
    main(["--out", str(tmp_path / "run"), "--resume"])
    assert (tmp_path / "run/scores.json").read_bytes() == scores


def test_a_search_of_whole_networks_says_why(tmp_path, capsys):
    """Its page had no predictions, nothing of what a choice is worth, and not which choices were tried when."""
    words = "--strategy sandwich --space compact --space.backbone tiny --size 48 --data synthetic:40 --steps 2 "
    words += "--space.sizes [32,48] --space.channels [4,8] --worth_seconds 600 "
    main(f"{words}--batch_size 4 --trials.count 4 --cost params --budget 2345678 --out {tmp_path / 'run'}".split())
    assert "budget 2,345,678 (at " in capsys.readouterr().out  # it was 2.34568e+06, and the page had it in full
    space, found = (genotypes.load(tmp_path / "run" / name) for name in ("space.yaml", "genotype.yaml"))
    worth = json.loads((tmp_path / "run/worth.json").read_text())
    assert worth["edges_left"] == 0 and worth["images"] > 0
    assert {choice: row["chosen"] for choice, row in worth["edges"].items()} == space.chosen(found)
    rivals = [(choice, row["runner_up"]) for choice, row in worth["edges"].items() if row["runner_up"]]
    assert "input.size" in dict(rivals) and all(rival["op"] in space.choices()[choice] for choice, rival in rivals)
    assert any(rival["loss"] != worth["loss"] for _, rival in rivals)
    assert Image.open(tmp_path / "run/predictions.png").height == 3 * 48
    page = search_page(read_run(tmp_path / "run"))
    assert {"why", "choices", "rivals", "predictions"} <= {section.key for section in page.sections}


def test_a_finished_run_chooses_anew_for_another_budget(tmp_path, capsys):
    """One training serves every budget; nothing is trained again, and no trial is lost."""
    run = tmp_path / "run"
    words = "--strategy sandwich --space compact --space.backbone tiny --size 32 --data synthetic:40 --steps 2 "
    words += "--space.sizes [32] --space.channels [4,8] "
    main(f"{words}--batch_size 4 --worth_seconds 0 --trials.count 6 --cost macs --out {run}".split())
    trained = (run / "checkpoint.pt").read_bytes()
    further, _ = COMMAND.parse([*words.split(), f"--from={run}"])  # of the supernet, not of the member that was found
    supernet = load_checkpoint(run / "checkpoint.pt")["net"]
    assert all(torch.equal(value, supernet[name]) for name, value in open_search(further).net.state_dict().items())
    tried = list(csv.DictReader((run / "trials.csv").open()))
    cheapest = min(float(row["macs"]) for row in tried)
    resume = ["--out", str(run), "--resume"]
    main([*resume, "--budget", str(cheapest), "--trials.count", "8"])
    assert (run / "checkpoint.pt").read_bytes() == trained
    more = list(csv.DictReader((run / "trials.csv").open()))
    assert len(more) == 8 and more[:6] == tried
    chosen = genotypes.load(run / "genotype.yaml")
    assert MemberCost("macs")(chosen) <= cheapest and load_weights(run / "weights.safetensors")[0] == chosen
    main(resume)  # it stays so
    assert genotypes.load(run / "genotype.yaml") == chosen
    for others in (["--steps", "3"], ["--trials.population", "4"]):
        assert run_command(main, [*resume, *others]) == 2
        assert "--resume continues the run as it is" in capsys.readouterr().err


def test_the_scaled_line_is_the_whole_backbone_at_every_size_and_width():
    space = compact("mobilenet_v2", (8, 16, 32), sizes=(64, 96))
    line = scaled_line(space)
    assert [(p["input.size"], p["decoder.channels"]) for p in line] == [(s, w) for s in (64, 96) for w in (8, 16, 32)]
    for point in line:
        member = space.decide(point)
        assert member.backbone.taps == space.backbone.taps
        assert member.backbone.widths == space.decide(extreme(space, "largest")).backbone.widths
        assert len(set(member.graph.operations()[f"decoder.mix_{tap}"] for tap in member.backbone.taps)) == 1
    macs = [MemberCost("macs")(space.decide(point)) for point in line]
    assert macs[0] == min(macs) and macs[-1] == max(macs)
    assert scaled_line(space, 3) == [line[0], line[2], line[5]]


def test_a_space_whose_widths_may_all_be_0_has_extremes_and_a_line():
    """The open CSNet: its smallest choices together are no network, and ended a search after its training."""
    space = open_csnet(1)
    smallest = extreme(space, "smallest")
    assert sum(smallest.values()) < sum(1 for _ in smallest) and space.decide(smallest).is_decided
    line = scaled_line(space)
    macs = [MemberCost("macs")(space.decide(point)) for point in line]
    assert len(line) == 8 and macs == sorted(macs) and all(0 not in point.values() for point in line)


def test_costs_are_at_the_members_own_size():
    small, large = (SPACE.decide(extreme(SPACE, "largest") | {"input.size": size}) for size in (32, 48))
    macs, params = MemberCost("macs"), MemberCost("params")
    assert params(small) == params(large) and macs(small) < macs(large)
    with pytest.raises(UserError, match="unknown cost 'joules'; there are: params, macs, latency"):
        MemberCost("joules")


@pytest.mark.parametrize("runtime", [None, "torch", "onnxruntime", "openvino"])
def test_a_member_s_latency_is_that_of_the_form_it_is_deployed_in(runtime, monkeypatch):
    if runtime in ("onnxruntime", "openvino"):
        pytest.importorskip(runtime, reason=f"needs {runtime}")
        pytest.importorskip("onnxscript", reason="needs the extra `export`")
    opened = []
    monkeypatch.setattr(deploy, "open_graph", lambda *given, **how: opened.append(given[1]) or opener(*given, **how))
    cost = MemberCost("latency", runtime=runtime)
    small, large = (SPACE.decide(extreme(SPACE, which)) for which in ("smallest", "largest"))
    # Which of the two takes longer is not asked: so small, both take about a millisecond, and a neighbour decides.
    assert cost(small) > 0 and cost(large) > 0 and cost(small) == cost(small)
    assert opened == ([runtime] * 2 if runtime else [])  # each once


def test_a_budget_in_milliseconds_of_the_deployed_form(tmp_path, monkeypatch, capsys):
    """Times that the test makes: 3 ms for every thousand parameters, and one more the second time."""
    tried = {}

    def timed(genotype, device, runtime):
        assert runtime == "torch"
        again = genotype.identity in tried
        return tried.setdefault(genotype.identity, 3e-3 * nas.cost.count(genotype).params) + again

    monkeypatch.setattr(objective, "time_network", timed)
    words = "--strategy sandwich --space compact --space.backbone tiny --size 48 --data synthetic:40 --steps 2 "
    words += "--batch_size 4 --worth_seconds 0 --trials.count 5 --cost latency --runtime torch --budget 500"
    main([*words.split(), "--out", str(tmp_path / "run")])
    said = capsys.readouterr().out
    found = json.loads((tmp_path / "run/scores.json").read_text())["found"]
    params = nas.cost.count(genotypes.load(tmp_path / "run/genotype.yaml")).params
    assert found["cost"] == 3e-3 * params == found["timed"]["ms"] - 1
    assert (found["kind"], found["unit"]) == ("latency", "ms")
    assert found["timed"]["form"] == "deployed in torch, 1 thread" and found["timed"]["busy"] is None
    assert f"costs   {found['cost']:,.4g} ms when it was tried, budget 500 (at " in said
    assert f"timed   {found['timed']['ms']:,.3g} ms (deployed in torch, 1 thread), budget 500" in said
    (front, *_) = csv.DictReader((tmp_path / "run/front/front.csv").open())
    _, *study = list(tried.values())[:6]  # the smallest of all, to see that the budget can be kept; then five trials
    assert float(front["latency"]) == pytest.approx(min(study))


@pytest.mark.parametrize(
    "words, said",
    [
        ("--cost latency --runtime openvino", "strategy darts needs a table of what candidates cost"),
        ("--strategy one_shot --cost latency --runtime torch", "--strategy sandwich, or leave --runtime out"),
        ("--strategy sandwich --space compact --cost macs --runtime torch", "runtime torch needs --cost latency"),
    ],
)
def test_a_runtime_is_refused_where_nothing_is_timed_in_it(words, said, tmp_path, capsys):
    argv = [*words.split(), "--data", "synthetic:40", "--out", str(tmp_path / "run")]
    assert run_command(main, argv) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_studies_of_milliseconds_are_kept_apart_by_machine_and_runtime(tmp_path, monkeypatch):
    def key(**changes):
        owners = {"strategy": SandwichSearch.Config(), "space": SPACES["compact"].make(backbone="tiny")}
        cfg = SearchConfig(**owners, data="synthetic:40", size=48, batch_size=4, **changes)
        return str(what_is_scored(cfg, open_search(cfg)))

    latency = {"cost": "latency"}
    keys = [key(**latency), key(**latency, runtime="torch"), key(cost="macs")]
    assert len(set(keys)) == 3 and key(**latency, minutes=5.0) == keys[0]
    monkeypatch.setattr(scoring, "machine_name", lambda device: "abacus")
    assert key(**latency) not in keys and key(cost="macs") == keys[2]


@pytest.mark.parametrize("strategy", ["darts", "one_shot", "random"])
def test_what_decides_operations_only_refuses_whole_networks(strategy, tmp_path, capsys):
    words = f"--strategy {strategy} --space compact --data synthetic:40 --out {tmp_path / 'run'}"
    assert run_command(main, words.split()) == 2
    said = capsys.readouterr().err
    assert "decides operations and widths only" in said and "decoder.inputs and 1 more" in said
    assert "--strategy sandwich" in said and "one of --space.sizes, and --space.leave_out none" in said
    assert not (tmp_path / "run").exists()


def test_bad_settings():
    for bad in ({"members": -1}, {"redraw": 0}, {"alone": 1.5}, {"alone": math.nan}):
        with pytest.raises(UserError, match=r"redraw must|expected members"):
            SandwichSearch.Config(**bad)
