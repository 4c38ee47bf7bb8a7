"""What explains a search: its choices over time, what each edge is worth, and the page that shows both."""

import itertools
import json
import math
import time

import pytest
from tiny_search import config

import genotypes
from nas.options import to_yaml
from nas.run import RunFolder
from nas.search import search
from nas.search.explain import edge_worth, inherited_loss, preferences_of
from nas.search.setup import open_search
from nas.trials import Trial, Trials, TrialsConfig

CHOICES = {"a": "conv", "b": "none", "c": "skip"}
PREFERENCES = {
    "a": {"none": 0.1, "skip": 0.3, "conv": 0.6},
    "b": {"none": 0.5, "skip": 0.2, "conv": 0.3},
    "c": {"skip": 0.9, "none": 0.1},
}
COSTS = {"none": 0.0, "skip": 1.0, "conv": 3.0}


def loss(choices):
    return sum((10**-place) * COSTS[op] for place, op in enumerate(choices.values()))


def test_an_edge_is_worth_what_its_runner_up_and_none_add():
    worth = edge_worth(CHOICES, PREFERENCES, loss, seconds=60)
    assert worth["edges_left"] == 0 and worth["loss"] == pytest.approx(3.01)
    found = worth["edges"]
    assert found["a"]["runner_up"]["op"] == "skip" and found["a"]["runner_up"]["loss"] == pytest.approx(1.01)
    assert found["a"]["none"]["loss"] == pytest.approx(0.01)
    assert found["b"]["runner_up"] == {"op": "conv", "loss": pytest.approx(3.31)} and found["b"]["none"] is None
    assert found["c"]["runner_up"]["op"] == "none" and found["c"]["none"] == found["c"]["runner_up"]


def test_the_time_ends_the_measurement():
    calls = []

    def slow(choices):
        calls.append(choices)
        time.sleep(0.02)
        return 1.0

    edges = {f"e{number}": "conv" for number in range(50)}
    worth = edge_worth(edges, dict.fromkeys(edges, PREFERENCES["a"]), slow, seconds=0.2)
    assert 0 < len(worth["edges"]) < 50 and worth["edges_left"] == 50 - len(worth["edges"])
    assert len(calls) == 1 + 2 * len(worth["edges"]) and worth["seconds"] < 2


def test_trials_prefer_what_had_low_losses():
    trials = Trials(
        trials=tuple(
            Trial(number=n, state="complete", choices={"a": op}, values=(value,))
            for n, (op, value) in enumerate([("skip", 1.0), ("skip", 3.0), ("conv", 1.5)])
        )
    )
    assert preferences_of(trials) == {"a": {"skip": -2.0, "conv": -1.5}}


def run_search(path, cfg):
    search(cfg, RunFolder.open(str(path), "search", to_yaml(cfg)))


pytestmark = pytest.mark.usefixtures("pages_made")


@pytest.fixture(scope="module")
def run(tmp_path_factory, pages_made):
    path = tmp_path_factory.mktemp("search") / "run"
    run_search(path, config(worth_seconds=600))
    return path


def test_choices_are_kept_for_every_evaluation(run):
    rows = [json.loads(line) for line in (run / "choices.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [3, 6, 8]
    space = genotypes.load(run / "space.yaml").open_edges()
    for row in rows:
        assert {edge: tuple(shares) for edge, shares in row["probabilities"].items()} == space
        assert all(math.isclose(sum(shares.values()), 1, abs_tol=1e-3) for shares in row["probabilities"].values())


def test_worth_is_measured_with_inherited_weights(run):
    worth = json.loads((run / "worth.json").read_text())
    found = genotypes.load(run / "genotype.yaml").graph.operations()
    assert worth["edges_left"] == 0 and worth["images"] == 6
    assert {edge: row["chosen"] for edge, row in worth["edges"].items()} == {e: found[e] for e in worth["edges"]}
    probabilities = json.loads((run / "choices.jsonl").read_text().splitlines()[-1])["probabilities"]
    for edge, row in worth["edges"].items():
        others = {op: share for op, share in probabilities[edge].items() if op != row["chosen"]}
        assert others[row["runner_up"]["op"]] == max(others.values())
    # The losses themselves, once more from the checkpoint.
    cfg = config(worth_seconds=600)
    setup = open_search(cfg)
    net = setup.net
    net.load_state_dict(RunFolder(run).load()["net"])
    again = inherited_loss(net, setup)
    choices = {edge: row["chosen"] for edge, row in worth["edges"].items()}
    assert again(choices) == pytest.approx(worth["loss"], rel=1e-5)
    for edge, row in itertools.islice(worth["edges"].items(), 3):
        assert again({**choices, edge: row["runner_up"]["op"]}) == pytest.approx(row["runner_up"]["loss"], rel=1e-5)


def test_the_page_shows_what_was_measured(run):
    page = (run / "report.html").read_text()
    for section in ("summary", "cells", "why", "choices", "curves", "rivals", "predictions", "origin"):
        assert f'<section id="{section}">' in page


def test_worth_can_be_switched_off(tmp_path):
    run_search(tmp_path / "run", config(worth_seconds=0, steps=4, rivals=0))
    assert not (tmp_path / "run" / "worth.json").exists()
    assert '<section id="why">' not in (tmp_path / "run" / "report.html").read_text()


def test_a_study_is_explained_by_its_trials(tmp_path):
    cfg = config(strategy="one_shot", worth_seconds=600, trials=TrialsConfig(count=6))
    run_search(tmp_path / "run", cfg)
    worth = json.loads((tmp_path / "run" / "worth.json").read_text())
    assert worth["edges_left"] == 0 and any(row["runner_up"] for row in worth["edges"].values())
    assert not (tmp_path / "run" / "choices.jsonl").exists()  # a uniform strategy's probabilities say nothing
