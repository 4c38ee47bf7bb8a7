"""The Pareto front: found against its definition, drawn to the same bytes, exported as genotypes."""

import csv
import math
import random

import pytest

import genotypes
from genotypes import UserError
from nas.trials import Trial, Trials, draw_front, export_front, pareto_front


def trial(number, loss, cost, state="complete", choices=None):
    return Trial(number=number, state=state, values=(loss, cost), choices=choices or {})


@pytest.mark.parametrize("seed", range(20))
def test_the_front_is_what_nothing_dominates(seed):
    draw = random.Random(seed)
    trials = [trial(i, draw.randint(0, 9), draw.randint(0, 9)) for i in range(draw.randint(1, 40))]

    def dominates(a, b):
        return a.values != b.values and all(x <= y for x, y in zip(a.values, b.values, strict=True))

    expected = {t.values for t in trials if not any(dominates(other, t) for other in trials)}
    front = pareto_front(trials)
    assert {t.values for t in front} == expected
    assert len(front) == len(expected)  # of equals one, the first
    assert all(t.number == min(o.number for o in trials if o.values == t.values) for t in front)
    assert [t.values[1] for t in front] == sorted(t.values[1] for t in front)


def test_the_best_within_a_budget():
    pruned = trial(3, 0.0, 0.0, state="pruned")
    trials = Trials(trials=(trial(0, 0.1, 9.0), trial(1, 0.2, 4.0), trial(2, 0.3, 3.0), pruned))
    assert [trials.best_within(budget).number for budget in (None, 9.0, 5.0, 3.0)] == [0, 0, 1, 2]
    with pytest.raises(UserError, match="of 3 genotypes none keeps the budget of 2 parameters; the cheapest takes 3"):
        trials.best_within(2, "parameters")
    for budget in (None, 5.0):  # with a budget, "the cheapest takes nan"
        with pytest.raises(UserError, match="of the study's 1 trial none was completed"):
            Trials(trials=(pruned,)).best_within(budget)


def test_pruned_trials_are_on_no_front():
    assert pareto_front([trial(0, 0.0, 0.0, state="pruned"), trial(1, 1.0, 1.0)])[0].number == 1


def test_what_diverged_is_on_no_front():
    """The cheapest of all was, where it diverged: no other costs as little."""
    diverged, good = trial(0, math.inf, 0.0), trial(1, 1.0, 1.0)
    assert pareto_front([diverged, good]) == [good] and pareto_front([diverged]) == []


def test_a_front_is_drawn_to_the_same_bytes(tmp_path):
    trials = Trials(trials=tuple(trial(i, 1 / (1 + i), i % 5) for i in range(12)), objectives=("loss", "macs"))
    for name in ("a.svg", "b.svg"):
        draw_front(trials, tmp_path / name, labels=("held-out loss", "multiply-adds (M)"), marked=[trials.best])
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert "multiply-adds (M)" in drawn and "held-out loss" in drawn


def test_every_genotype_on_the_front_is_exported(tmp_path):
    space = genotypes.Genotype.from_dict(
        {
            "format": 1,
            "name": "two",
            "cells": [
                {
                    "name": "net",
                    "template": "graph",
                    "inputs": ["image"],
                    "nodes": [
                        {
                            "name": "logits",
                            "stride": 1,
                            "width": 1,
                            "edges": [{"name": "a", "source": "image", "op": ["conv2d_3x3_bias", "conv2d_3x3_d2"]}],
                        }
                    ],
                }
            ],
            "outputs": ["net.logits"],
        }
    )
    small, large = {"net.a": "conv2d_3x3_bias"}, {"net.a": "conv2d_3x3_d2"}
    trials = Trials(
        trials=(
            trial(0, 1.0, 9.0, choices=large),
            trial(1, 0.5, 9.0, choices=large),
            trial(2, 0.7, 1.0, choices=small),
        ),
        objectives=("loss", "macs"),
    )
    folder = tmp_path / "front"
    folder.mkdir()
    for old in ("05_trial099.yaml", "117_trial1234.yaml"):  # the second stayed
        (folder / old).write_text("of an earlier front")
    paths = export_front(space, trials, folder)
    assert sorted(path.name for path in folder.iterdir()) == ["00_trial002.yaml", "01_trial001.yaml", "front.csv"]
    assert [genotypes.load(path) for path in paths] == [space.decide(small), space.decide(large)]
    with open(folder / "front.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["trial"], float(row["loss"]), float(row["macs"])) for row in rows] == [
        ("2", 0.7, 1.0),
        ("1", 0.5, 9.0),
    ]
    assert [row["hash"] for row in rows] == [genotypes.load(path).hash for path in paths]
