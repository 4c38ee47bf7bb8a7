"""Cost in a search's objective: budgets, rivals, latencies, the front of loss against cost."""

import json

import pytest
import torch
from tiny_search import config, dearest, read_trials, run_search, words

import genotypes
from genotypes import UserError
from nas.cost import cost_table, count, lookup
from nas.guard import GuardConfig
from nas.search import objective, open_search, open_space
from nas.search.__main__ import main
from nas.search.scoring import what_is_scored
from nas.trials import TrialsConfig

CPU = torch.device("cpu")
FEW = TrialsConfig(count=6, population=3)


def test_rivals_keep_the_budget_too(tmp_path):
    table = cost_table(open_space(config()), "params")
    least, most = table.of(table.cheapest()), table.of(dearest(table))
    cfg = config(cost="params", budget=round(least + 0.2 * (most - least)), rivals=5)
    objective = open_search(cfg).objective
    cheap, dear = table.cheapest(), dearest(table)
    assert objective.nearest(cheap) == cheap
    near = objective.nearest(dear)
    changed = [edge for edge in dear if near[edge] != dear[edge]]
    assert objective.affordable(near) and changed
    for edge in changed:  # one edge fewer does not do
        assert not objective.affordable(near | {edge: dear[edge]})
    run_search(tmp_path / "run", cfg)
    costs = [float(row["params"]) for row in read_trials(tmp_path / "run" / "random" / "trials.csv")]
    assert len(costs) == 5 and max(costs) <= cfg.budget


@pytest.mark.parametrize("strategy", ["darts", "gdas", "random"])
def test_what_is_found_keeps_the_budget(tmp_path, strategy):
    table = cost_table(open_space(config()), "params")
    least, most = table.of(table.cheapest()), table.of(dearest(table))
    budget = round(least + 0.2 * (most - least))
    result = run_search(tmp_path / "run", config(strategy=strategy, cost="params", budget=budget))
    assert count(result.genotype).params == result.cost <= budget
    with pytest.raises(UserError, match=r"budget 10: no genotype .* costs so little"):
        open_search(config(cost="params", budget=10))
    with pytest.raises(UserError, match="budget"):
        config(budget=10)


def test_latencies_are_measured_once_for_each_device(tmp_path, monkeypatch):
    """By two runs without --cache: workers on one machine then share one table, and one study."""
    calls = []

    def measured(space, size, device, repeats):
        calls.append(size)
        rows = {edge: {op: 0.1 * len(calls) for op in ops} for edge, ops in space.open_edges().items()}
        return 1.0, rows, None

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(lookup, "measure_latencies", measured)
    cfg = config(strategy="optuna", cost="latency")
    first, second = (open_search(cfg) for _ in range(2))
    assert len(calls) == 1 and first.objective.to_json() == second.objective.to_json()
    assert list((tmp_path / "sod-nas").glob("latency-*.json"))
    assert what_is_scored(cfg, first) == what_is_scored(cfg, second)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    assert what_is_scored(cfg, open_search(cfg)) != what_is_scored(cfg, first)


def test_what_was_found_is_timed_beside_its_budget(tmp_path, capsys):
    main([*words(), "--cost=latency", "--budget=1000", f"--cache={tmp_path / 'cache'}", f"--out={tmp_path / 'run'}"])
    found = json.loads((tmp_path / "run/scores.json").read_text())["found"]
    ms = found["timed"]["ms"]
    assert 0 < found["cost"] <= 1000 and ms > 0 and found["timed"]["form"] == "as it is on cpu, 1 thread"
    said = capsys.readouterr().out
    assert f"costs   {found['cost']:,.4g} ms by the table of its candidates, budget 1,000 (at 32 x 32)" in said
    assert f"timed   {ms:,.3g} ms (as it is on cpu, 1 thread), budget 1,000" in said


def test_what_was_found_and_its_budget_are_told_to_the_last_multiply_add(tmp_path, capsys):
    """From a million up both were rounded: a budget of 12,345,678 was 1.23457e+07."""
    main([*words(), "--cost=macs", "--budget=12345678", f"--out={tmp_path / 'run'}"])
    cost = json.loads((tmp_path / "run/scores.json").read_text())["found"]["cost"]
    assert f"costs   {int(cost):,} multiply-adds, budget 12,345,678 (at 32 x 32)" in capsys.readouterr().out


def test_cost_pulls_the_architecture_towards_cheap_operations(tmp_path):
    """With a loss that cost outweighs, the search finds the cheapest genotype; without, it does not."""
    table = cost_table(open_space(config()), "macs")
    strong = {"cost": "macs", "options": {"lr": 0.1}, "select": 1, "guard": GuardConfig(on=False)}
    cheap = run_search(tmp_path / "a", config(cost_weight=1000.0, **strong))
    free = run_search(tmp_path / "b", config(cost_weight=0.0, **strong))
    assert cheap.cost == table.of(table.cheapest()) < free.cost


def test_a_front_of_loss_against_cost_is_drawn_and_exported(tmp_path):
    result = run_search(tmp_path / "run", config(strategy="one_shot", cost="macs", trials=FEW))
    assert (tmp_path / "run/front.svg").read_text().lstrip().startswith("<?xml")
    front = [genotypes.load(path) for path in result.front]
    costs = [count(genotype).macs for genotype in front]
    assert front and costs == sorted(costs) and result.genotype in front
    trials = read_trials(tmp_path / "run/trials.csv")
    assert len(trials) == 6 and min(float(trial["loss"]) for trial in trials) == result.scores["loss"]
    assert min(float(trial["macs"]) for trial in trials) == costs[0]


def test_a_study_that_finds_nothing_affordable_says_so_and_keeps_its_front(tmp_path):
    table = cost_table(open_space(config()), "params")
    budget = table.of(table.cheapest())
    study = {"strategy": "optuna", "trials": TrialsConfig(count=2), "score_steps": 1, "seed": -1}  # any seed will do
    cfg = config(**study, cost="params", budget=budget)
    with pytest.raises(UserError, match=f"of 2 genotypes none keeps the budget of {budget:,.10g} parameters"):
        run_search(tmp_path / "run", cfg)
    assert (tmp_path / "run/front.svg").is_file() and list((tmp_path / "run/front").glob("*.yaml"))


def test_a_budget_of_time_is_refused_only_where_a_member_of_none_breaks_it_too(monkeypatch):
    """`skip_connect` has as few parameters as `none`, but takes time: what few milliseconds allow was refused."""
    cfg = config(strategy="sandwich", cost="latency", budget=2.0)
    space = open_space(cfg)

    def edges_with_something(genotype, *where):
        chosen = genotype.graph.operations()
        return float(sum(chosen[edge] != "none" for edge in space.open_edges()))

    monkeypatch.setattr(objective, "time_network", edges_with_something)
    objective.check_member_budget(cfg, space, CPU)
    for refused in ({"budget": 0.5}, {"options": {"exclude_none": True}}):
        with pytest.raises(UserError, match=r"no member of small costs so little; the smallest takes [18] ms"):
            cfg = config(**{"strategy": "sandwich", "cost": "latency", "budget": 2.0} | refused)
            objective.check_member_budget(cfg, space, CPU)
