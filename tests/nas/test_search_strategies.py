"""Every strategy through the whole search: resume to the same bits, rivals, collapse, warm starts, every space."""

import csv
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_search import FUSION, SMALL, SPACE, config, read_trials, run_search, words

import genotypes
from genotypes import UserError
from nas.command import run_command
from nas.guard import GuardConfig
from nas.network.member import under_supernet_keys
from nas.options import changed_of, plain
from nas.run import Interrupted, load_checkpoint
from nas.search import open_search, open_space
from nas.search.__main__ import main
from nas.search.scoring import what_is_scored
from nas.strategies import STRATEGIES
from nas.task import synthetic_set
from nas.training import OptimConfig
from nas.trials import TrialsConfig
from search_spaces import minet
from search_spaces.backbones import build_backbone

LEARNING = ["darts", "darts_2nd", "pc_darts", "gdas", "drnas", "one_shot"]
FEW = TrialsConfig(count=6, population=3)
PROGRESSIVE = {"progressive": True, "partial": 2}


def settings(strategy):
    return config(strategy=strategy, options=PROGRESSIVE if strategy == "drnas" else None, trials=FEW, cost="params")


def stop_in_step(patch, number, of=SMALL["steps"]):
    """SIGTERM while the given step is under way."""
    from nas.training import loop

    progress = loop.set_progress

    def later(optimizer, cfg, share):
        if round(share * of) == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return progress(optimizer, cfg, share)

    patch.setattr(loop, "set_progress", later)


@pytest.mark.parametrize("strategy, stop_at", [("darts", 3), *((name, 5) for name in LEARNING)])
def test_an_interrupted_search_ends_as_if_never_interrupted(tmp_path, monkeypatch, strategy, stop_at):
    """At a checkpoint (3), and between two, in the second stage of a progressive search (5)."""
    cfg = settings(strategy)
    whole = run_search(tmp_path / "whole", cfg)
    with monkeypatch.context() as patch:
        stop_in_step(patch, stop_at - 1)
        with pytest.raises(Interrupted, match=f"saved at step {stop_at}"):
            run_search(tmp_path / "parts", cfg)
    parts = run_search(tmp_path / "parts", cfg, resume=True)

    assert parts.genotype == whole.genotype and parts.scores == whole.scores and parts.rivals == whole.rivals
    for name in ("history.csv", "scores.json", "genotype.yaml"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    ours, theirs = (load_checkpoint(tmp_path / name / "checkpoint.pt") for name in ("parts", "whole"))
    assert all(torch.equal(ours["net"][key], value) for key, value in theirs["net"].items())
    ours, theirs = ours["changes"]["strategy"], theirs["changes"]["strategy"]
    if "alpha" in theirs:
        assert torch.equal(ours["alpha"], theirs["alpha"])


@pytest.mark.parametrize("strategy", ["darts", "one_shot", "sandwich"])
def test_a_signal_in_the_last_step_is_the_trials_to_obey(tmp_path, monkeypatch, strategy):
    """It was lost, and a scheduler sends only one before it kills: hours of trials began."""
    cfg = config(strategy=strategy, trials=FEW, steps=4, warmup_steps=0)
    whole = run_search(tmp_path / "whole", cfg)
    with monkeypatch.context() as patch:
        stop_in_step(patch, 3, of=4)
        with pytest.raises(Interrupted, match=r"0 of [26] trials finished; to continue: --out .* --resume") as stop:
            run_search(tmp_path / "parts", cfg)
    assert stop.value.code == 128 + signal.SIGTERM
    parts = run_search(tmp_path / "parts", cfg, resume=True)
    assert parts.genotype == whole.genotype and parts.scores == whole.scores and parts.rivals == whole.rivals


def test_random_rivals_of_a_progressive_search_are_of_what_it_has_trained(tmp_path):
    """Others have weights of its first half, and channels that were never trained: it always beat them."""
    cfg = config(strategy="drnas", options=PROGRESSIVE, rivals=8)
    run_search(tmp_path / "run", cfg)
    valid = load_checkpoint(tmp_path / "run/checkpoint.pt")["changes"]["strategy"]["valid"].tolist()
    kept = {
        edge: [op for op, stays in zip(ops, row, strict=True) if stays]
        for (edge, ops), row in zip(open_space(cfg).open_edges().items(), valid, strict=True)
    }
    assert {len(ops) for ops in kept.values()} == {2}
    rivals = read_trials(tmp_path / "run/random/trials.csv")
    assert len(rivals) == 8 and all(rival[edge] in ops for rival in rivals for edge, ops in kept.items())


@pytest.mark.parametrize("score", ["training", "inherited"])
def test_an_interrupted_study_goes_on_with_the_same_trials(tmp_path, monkeypatch, score):
    cfg = config(strategy="optuna", options={"score": score}, trials=FEW, score_steps=4, steps=3)
    whole = run_search(tmp_path / "whole", cfg)
    from nas.search import scoring, selection

    module, name = (scoring, "score_mixture") if score == "training" else (selection, "score_genotype")
    held_out, calls = getattr(module, name), []

    def stop_later(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGTERM)
        return held_out(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, stop_later)
        with pytest.raises(Interrupted, match=r"--out .* --resume"):
            run_search(tmp_path / "parts", cfg)
    parts = run_search(tmp_path / "parts", cfg, resume=True)
    assert parts.genotype == whole.genotype and parts.scores == whole.scores
    ours, theirs = (read_trials(tmp_path / name / "trials.csv") for name in ("parts", "whole"))
    assert len(theirs) == 6 and ours == theirs


def test_a_budget_that_no_trial_kept_is_raised_without_training_again(tmp_path, capsys):
    """The message asked for it, or for more trials, and --resume refused both: the supernet had to be trained anew."""
    count = ["--trials.count", "3", "--trials.population", "2", "--rivals", "1"]
    least = open_search(config(strategy="one_shot", cost="params")).objective.table
    budget = str(int(least.of(least.cheapest())))
    run = ["--out", str(tmp_path / "run")]
    tight = [*words(), "--strategy", "one_shot", "--cost", "params", "--budget", budget, *count, *run]
    assert run_command(main, tight) == 2 and "or a larger --budget" in capsys.readouterr().err
    trained = (tmp_path / "run/checkpoint.pt").read_bytes()
    main([*run, "--resume", "--budget", "1e9", "--trials.count", "4"])
    assert len(read_trials(tmp_path / "run/trials.csv")) == 4 and "budget 1,000,000,000" in capsys.readouterr().out
    assert (tmp_path / "run/checkpoint.pt").read_bytes() == trained
    assert run_command(main, [*run, "--resume", "--budget", "1"]) == 2
    assert "budget 1: no genotype of small costs so little" in capsys.readouterr().err


@pytest.mark.parametrize("strategy", ["darts", "sandwich", "random"])
def test_a_space_that_changed_leaves_the_run_as_it_was(tmp_path, strategy):
    """Its file was edited meanwhile: --resume is refused, and had written the other space into the run."""
    file = tmp_path / "space.yaml"
    file.write_text(text := Path(SPACE).read_text())

    def search(**resume):
        few = {"trials": FEW, "rivals": 0, "steps": 2, "warmup_steps": 0}
        run_search(tmp_path / "run", config(strategy=strategy, space=str(file), **few), **resume)

    search()
    before = (tmp_path / "run/space.yaml").read_bytes()
    file.write_text(text.replace(", channel_attention]", "]"))
    with pytest.raises(UserError, match="another space"):
        search(resume=True)
    assert (tmp_path / "run/space.yaml").read_bytes() == before


@pytest.mark.parametrize("evaluate_every", [1, 10])  # seen in the scores after the step, or in the next step's loss
def test_a_supernet_that_diverges_is_told(tmp_path, evaluate_every):
    with pytest.raises(UserError, match=r"the loss is (inf|nan); try a smaller --optim.lr"):
        run_search(tmp_path / "run", config(optim=OptimConfig(lr=1e12), evaluate_every=evaluate_every))


def test_excluding_none_must_leave_something_to_decide():
    space = FUSION | {"operations": ("none", "skip_connect")}
    open_search(config(space=space))
    with pytest.raises(UserError, match="exclude_none leaves each edge one candidate, and so nothing to decide"):
        open_search(config(space=space, options={"exclude_none": True}))


@pytest.mark.parametrize("strategy", ["random", "one_shot", "darts"])
def test_none_can_be_excluded_from_whatever_is_found(tmp_path, strategy):
    result = run_search(tmp_path / "run", config(strategy=strategy, trials=FEW, options={"exclude_none": True}))
    assert all("none" in candidates for candidates in open_space(config()).open_edges().values())
    assert "none" not in {edge.op for edge in result.genotype.graph.edges.values() if edge.choice}
    if strategy == "one_shot":  # the front and the random ones as well
        for name in ("trials.csv", "random/trials.csv"):
            assert not any("none" in row.values() for row in read_trials(tmp_path / "run" / name))


def test_random_rivals_have_the_studys_budget_and_are_not_its_first_trials(tmp_path):
    result = run_search(tmp_path / "run", config(strategy="one_shot", trials=FEW, rivals=None))
    ours, theirs = (read_trials(tmp_path / "run" / name) for name in ("trials.csv", "random/trials.csv"))
    assert len(ours) == len(theirs) == len(result.rivals.losses) == FEW.count
    edges = [key for key in ours[0] if "." in key]
    assert not {tuple(row[e] for e in edges) for row in ours} & {tuple(row[e] for e in edges) for row in theirs}


def test_minet_is_a_space_by_name(tmp_path, capsys):
    options = ["--space=minet", "--channels=8", "--strategy=random", "--data=synthetic:20", f"--out={tmp_path / 'run'}"]
    assert run_command(main, options) == 0
    space = genotypes.load(str(tmp_path / "run/space.yaml"))
    edges = space.open_edges()
    assert edges == minet("tiny", 8).open_edges() and len(edges) == 56
    found = re.search("found .*: (.*)", capsys.readouterr().out)[1]
    assert sum(int(part.split()[0]) for part in found.split(", ")) == 56


def test_the_result_is_reported_beside_random_genotypes(tmp_path):
    result = run_search(tmp_path / "run", config(rivals=4))
    assert len(result.rivals.losses) == 4
    assert result.rivals.better == sum(result.scores["loss"] < loss for loss in result.rivals.losses) / 4
    written = json.loads((tmp_path / "run/scores.json").read_text())
    assert written["random"]["losses"] == list(result.rivals.losses) and written["stopped"] is None
    assert len(read_trials(tmp_path / "run/random/trials.csv")) == 4


def test_a_stopped_search_returns_the_last_good_genotype(tmp_path, monkeypatch):
    """The share rule, provoked: from step 5 on, the architecture parameters are pushed to nothing but skips."""
    from nas.strategies import Darts

    step = Darts.architecture_step

    def push(self, number, *args, **kwargs):
        value = step(self, number, *args, **kwargs)
        if number >= 5:
            with torch.no_grad():
                self.alpha[:, 1] = 5.0
        return value

    monkeypatch.setattr(Darts, "architecture_step", push)
    cfg = config(steps=20, evaluate_every=1, guard=GuardConfig(iterations=0, patience=2))
    result = run_search(tmp_path / "run", cfg)
    assert "100% of the derived edges are skip_connect or none" in result.stopped
    assert "back to the genotype of step 5" in result.stopped
    with open(tmp_path / "run/history.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 and int(rows[-1]["derived_skip_connect"]) == 8
    assert len({data.op for data in result.genotype.graph.edges.values() if data.choice}) > 1
    again = run_search(tmp_path / "run", cfg, resume=True)  # finished: nothing is computed but the end
    assert again.genotype == result.genotype and again.stopped == result.stopped
    free = run_search(tmp_path / "free", config(steps=8, evaluate_every=1, guard=GuardConfig(on=False)))
    assert free.stopped is None


@pytest.mark.slow
def test_a_provoked_collapse_is_caught(tmp_path):
    """Weights trained far too long on eight photographs, as in benchmarks/collapse.py: the curvature gives it away."""
    cfg = config(
        data="synthetic:100",
        fractions=(0.08, 0.72, 0.2),
        batch_size=8,
        steps=120,
        warmup_steps=25,
        evaluate_every=5,
        rivals=0,
        optim=OptimConfig(lr=5e-3, schedule="constant"),
        options={"lr": 0.03},
        guard=GuardConfig(window=3),
        seed=1,
    )
    result = run_search(tmp_path / "run", cfg)
    assert "the dominant eigenvalue of the held-out loss rose" in result.stopped
    with open(tmp_path / "run/history.csv") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps[-1] < 120  # long before the end
    assert result.genotype.is_decided and (result.path / "genotype.yaml").exists()


def test_a_search_starts_from_the_weights_of_another(tmp_path):
    first = run_search(tmp_path / "first", config())
    supernet = load_checkpoint(first.path / "checkpoint.pt")["net"]
    assert (
        run_command(
            main,
            [
                *words(),
                "--strategy=gdas",
                "--steps=1",
                "--warmup_steps=0",
                f"--from={first.path}",
                f"--out={tmp_path / 'second'}",
            ],
        )
        == 0
    )
    setup = open_search(config(start_from=str(first.path), seed=7))
    assert all(torch.equal(value, supernet[name]) for name, value in setup.net.state_dict().items())
    with pytest.raises(UserError, match="absent: no run with weights"):
        open_search(config(start_from="absent"))
    with pytest.raises(UserError, match="expected a run on this space"):
        open_search(config(start_from=str(first.path), space={**FUSION, "channels": 12}))


def test_a_trained_network_lends_its_weights_to_the_operations_it_chose():
    space = open_space(config())
    choices = dict.fromkeys(space.open_edges(), "conv_3x3")
    decided = {"cells.fuse8.edges.p_n1.op.1.weight": torch.ones(1), "backbone.x": torch.zeros(1)}
    lent = under_supernet_keys(space.decide(choices), decided)
    assert set(lent) == {*decided, "cells.fuse8.edges.p_n1.ops.conv_3x3.op.1.weight"}


def test_what_tells_studies_apart_is_what_makes_other_scores(tmp_path):
    def told(**changes):
        cfg = config(strategy="optuna", **changes)
        return plain(what_is_scored(cfg, open_search(cfg)), changed_of)

    same = told(steps=9, batch_size=2, cache=str(tmp_path), budget=1e9, cost="params", minutes=9.0, out="a")
    assert same == told(steps=9, batch_size=2, cost="params") != told(steps=9, batch_size=3, cost="params")
    assert same["photographs"] == ["synthetic", 60]
    assert {"size", "steps", "batch_size", "cost", "strategy", "space"} <= same["search"].keys()
    assert not {"optim", "loss", "precision", "score_steps", "teacher"} & same["search"].keys()  # at their defaults


def test_two_machines_with_one_storage_share_one_study(tmp_path):
    """The command again, with another folder: what the first has done is not done again."""
    shared = [*words(), "--strategy=optuna", "--score_steps=2", "--trials.count=4", f"--storage={tmp_path}/s.journal"]
    assert run_command(main, [*shared, f"--out={tmp_path / 'a'}"]) == 0
    assert run_command(main, [*shared, f"--out={tmp_path / 'b'}"]) == 0
    ours, theirs = ((tmp_path / name / "trials.csv").read_text() for name in "ab")
    assert ours == theirs and len(ours.splitlines()) == 5


def test_a_worker_with_other_photographs_or_weights_of_the_same_name_is_refused(tmp_path, capsys):
    """Each machine has its own path to them, so a study knew their name and number alone."""
    photos, weights = synthetic_set(24, 48, seed=0), tmp_path / "w.pth"
    for part, pixels in (("images", photos.images), ("masks", photos.masks)):
        (tmp_path / "own" / part).mkdir(parents=True)
        for name, one in zip(photos.names, pixels, strict=True):
            Image.fromarray(one.permute(1, 2, 0).numpy().squeeze()).save(tmp_path / "own" / part / f"{name}.png")
    torch.save(build_backbone("tiny", ("s4", "s8", "s16", "s32")).state_dict(), weights)
    shared = [
        *words(),
        "--strategy=optuna",
        "--score_steps=1",
        "--trials.count=2",
        f"--storage=sqlite:///{tmp_path}/s.db",
    ]
    shared += [f"--data=own={tmp_path / 'own'}", f"--backbone_weights={weights}", "--rivals=0"]
    assert run_command(main, [*shared, f"--out={tmp_path / 'a'}"]) == 0
    (tmp_path / "own/images/000003.png").write_bytes((tmp_path / "own/images/000004.png").read_bytes())
    assert run_command(main, [*shared, f"--out={tmp_path / 'b'}"]) == 2
    assert "s.db is of another set of photographs: 24 photographs (" in capsys.readouterr().err
    Image.fromarray(photos.images[3].permute(1, 2, 0).numpy()).save(tmp_path / "own/images/000003.png")
    torch.save(build_backbone("tiny", ("s4", "s8", "s16", "s32")).state_dict(), weights)
    assert run_command(main, [*shared, f"--out={tmp_path / 'c'}"]) == 2
    assert "s.db is of another content of backbone_weights: " in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_every_strategy_works_on_a_space_in_yaml(tmp_path, name):
    (tmp_path / "own.yaml").write_text(OWN)
    searched(tmp_path, "own", name)


@pytest.mark.parametrize("name", ["darts", "gdas", "one_shot"])
def test_minet_is_searched(tmp_path, name):
    genotypes.save(minet("tiny", 8, ("skip_connect", "none", "conv2d_3x3_bias")), tmp_path / "minet.yaml")
    searched(tmp_path, "minet", name)


def searched(folder, space, strategy):
    few = {"steps": 4, "warmup_steps": 1, "score_steps": 1, "trials": TrialsConfig(count=2), "rivals": 1}
    result = run_search(folder / "run", config(space=str(folder / f"{space}.yaml"), strategy=strategy, **few))
    assert result.genotype.is_decided and (result.path / "cells.svg").exists()


OWN = """\
format: 1
name: own
input: {size: [32, 32]}
cells:
- name: net
  template: graph
  inputs: [image]
  nodes:
  - {name: fine, stride: 1, width: 8, post: bn_relu, edges: [{name: stem, source: image, op: conv2d_3x3}]}
  - name: both
    stride: 1
    width: 12
    combine: concat
    edges:
    - {name: keep, source: fine, op: [skip_connect, none, channel_attention]}
    - {name: narrow, source: fine, op: [conv2d_1x1, conv2d_3x3], width: 4}
- {name: head, template: head, inputs: [net.both]}
outputs: [head.logits]
"""


def test_trials_on_other_photographs_are_refused(tmp_path):
    """Without a step there is no checkpoint that would say so."""
    cfg = config(strategy="optuna", trials=TrialsConfig(count=1), score_steps=1, rivals=0)
    run_search(tmp_path / "run", cfg)
    with pytest.raises(UserError, match=r"run began with another set of photographs: 60 photographs \("):
        run_search(tmp_path / "run", replace(cfg, data_seed=1), resume=True)


@pytest.mark.parametrize("cost", [None, "params"])
def test_a_trial_that_diverges_is_not_the_end_and_where_all_do_nothing_is_found(cost, tmp_path):
    """The first of them was, with exit code 0; with a cost, its front lay beside the error."""
    cfg = config(strategy="optuna", trials=FEW, score_steps=3, rivals=0, optim=OptimConfig(lr=1e20), cost=cost)
    with pytest.raises(UserError, match="run: nothing was found: all that was tried diverged"):
        run_search(tmp_path / "run", cfg)
    assert [row["loss"] for row in read_trials(tmp_path / "run/trials.csv")] == ["inf"] * FEW.count
    assert not {"genotype.yaml", "front", "front.svg"} & {file.name for file in (tmp_path / "run").iterdir()}
