"""Studies: the same whatever interrupts them, as many trials as asked for, better than chance, mistakes told."""

import csv
import math
import os
import signal
import sys
import warnings
from dataclasses import dataclass

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from toy_trials import cost_of, facts, toy

from genotypes import UserError, UserNote
from nas.run import Interrupted, Interrupts, deadline
from nas.trials import TrialsConfig, run_trials
from nas.trials.samplers import SAMPLERS, BudgetedGP, change_one
from nas.trials.storage import anchor_storage, storage_name


class Crash(Exception):
    pass


def run(space, score, tmp_path=None, objectives=("loss",), seed=0, **options):
    cfg = TrialsConfig(**{"population": 6, **options})
    return run_trials(space, score, cfg, folder=tmp_path, objectives=objectives, seed=seed)


def with_cost(space, score):
    return lambda choices, report: (*score(choices, report), cost_of(space, choices))


def learning(score):
    """A short training: three values on the way, each nearer to the last."""

    def trained(choices, report):
        (last,) = score(choices, report)
        for step in range(3):
            report(step, last + 1 / (step + 1))
        return (last,)

    return trained


CASES = [(sampler, 1, "none") for sampler in ("tpe", "nsga2", "random", "evolution")]
CASES += [("nsga2", 2, "none"), ("tpe", 2, "none"), ("gp", 2, "none")]
CASES += [("tpe", 1, pruner) for pruner in ("median", "successive_halving", "hyperband")]


@pytest.mark.parametrize(("sampler", "objectives", "pruner"), CASES)
def test_interrupted_anywhere_a_study_ends_the_same(tmp_path, sampler, objectives, pruner):
    space, score = toy()
    score = score if objectives == 1 else with_cost(space, score)
    score = score if pruner == "none" else learning(score)
    names = ("loss", "cost")[:objectives]
    count = 14 if sampler == "gp" else 20  # it thinks for half a second
    calm = run(space, score, None, names, count=count, sampler=sampler, pruner=pruner)
    calls = 0

    def crashing(choices, report):
        nonlocal calls
        calls += 1

        def report_or_crash(step, value):
            report(step, value)
            if calls % 4 == 0 and step == 1:
                raise Crash

        values = score(choices, report_or_crash)
        if calls % 4 == 0:
            raise Crash
        return values

    crashes = 0
    while True:
        try:
            again = run(space, crashing, tmp_path, names, count=count, sampler=sampler, pruner=pruner)
            break
        except Crash:
            crashes += 1
    assert crashes >= 3
    assert facts(again) == facts(calm)
    if pruner != "none":
        assert any(trial.state == "pruned" for trial in calm.trials)


def test_a_finished_study_computes_nothing_more_and_can_be_lengthened(tmp_path):
    space, score = toy()
    ten = run(space, score, tmp_path, count=10)
    counted = []
    assert facts(run(space, lambda *_: counted.append(1), tmp_path, count=10)) == facts(ten)
    assert facts(run(space, lambda *_: counted.append(1), tmp_path, count=4)) == facts(ten)[:4]
    assert not counted
    assert facts(run(space, score, tmp_path, count=13)) == facts(run(space, score, count=13))


@pytest.mark.parametrize("pruner", ["median", "successive_halving", "hyperband"])
def test_a_study_in_parts_is_the_whole_one(tmp_path, pruner):
    """Each part is a new process to the pruner: hyperband must know its brackets before it draws."""
    space, score = toy()
    options = {"sampler": "evolution", "pruner": pruner}
    for count in (7, 23, 41, 55):
        parts = run(space, learning(score), tmp_path, count=count, **options)
    assert facts(parts) == facts(run(space, learning(score), count=55, **options))


@pytest.mark.parametrize("inside", [True, False], ids=["in a training that reports", "in one that does not"])
def test_a_signal_stops_and_the_same_command_goes_on(tmp_path, inside):
    space, score = toy()
    calls = []

    def signalled(choices, report):
        calls.append(choices)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        if inside:
            report(0, 1.0)
        return score(choices, report)

    with pytest.raises(Interrupted, match=f"{4 if inside else 5} of 8 trials .*the same command") as caught:
        run(space, signalled, tmp_path, count=8)
    assert caught.value.code == 128 + signal.SIGTERM
    assert facts(run(space, signalled, tmp_path, count=8)) == facts(run(space, score, count=8))
    assert len(calls) == 9 if inside else 8


def test_a_study_whose_time_is_up_stops_and_goes_on(tmp_path):
    space, score = toy()
    with pytest.raises(Interrupted, match=r"time is up: 0 of 4 trials .*the same command") as caught:
        run_trials(space, score, TrialsConfig(count=4), folder=tmp_path, interrupts=Interrupts(until=deadline(1e-9)))
    assert caught.value.code == 128 + signal.SIGALRM and deadline(0) is deadline(None) is None
    interrupts = Interrupts(until=deadline(60))
    assert len(run_trials(space, score, TrialsConfig(count=4), folder=tmp_path, interrupts=interrupts).trials) == 4


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_genotype_is_tried_before_one_is_repeated(sampler):
    space, score = toy(edges=3, candidates=3)
    found = run(space, score, count=27, sampler=sampler)
    assert len({tuple(trial.choices.values()) for trial in found.trials}) == 27


def test_a_child_differs_from_its_parent_in_one_place():
    """Never in none: such a child would be thrown away, and its parent be drawn as if it were its own neighbour."""
    space = {name: CategoricalDistribution(choices) for name, choices in (("a", (1, 2)), ("b", (1, 2, 3)))}
    parent, rng = {"a": 1, "b": 2}, np.random.default_rng(0)
    children = [change_one(parent, space, rng) for _ in range(400)]
    counts = [children.count(child) for child in ({"a": 2, "b": 2}, {"a": 1, "b": 1}, {"a": 1, "b": 3})]
    assert sum(counts) == 400 and parent == {"a": 1, "b": 2}
    assert counts == pytest.approx([200, 100, 100], abs=35)  # a place first, then another choice for it


def test_what_is_asked_of_choices_is_asked_of_all_also_those_with_one_candidate():
    """Whoever is asked decides a genotype by them."""
    space, asked = {"a": (1, 2, 3), "fixed": (7,)}, []

    def noted(choices):
        asked.append(dict(choices))
        return choices["a"] % 3

    cfg = TrialsConfig(count=3, sampler="random")
    found = run_trials(space, lambda choices, report: (1.0,), cfg, accept=noted, identify=noted)
    assert all(choices.keys() == space.keys() and choices["fixed"] == 7 for choices in asked)
    assert [trial.choices["a"] for trial in found.trials].count(3) == 0  # which is refused
    assert found.trials[2].repeat_of is not None


def test_a_gaussian_process_knows_what_others_are_trying(monkeypatch):
    """Workers that draw at the same time would be given the same."""
    shown = []

    class Noting(optuna.samplers.RandomSampler):
        def __init__(self, seed, **options):
            super().__init__(seed)

        def sample_relative(self, study, trial, search_space):
            shown.extend((one.state.name, one.params) for one in study.get_trials() if one.number != trial.number)
            return dict(trial.params)

    monkeypatch.setattr(optuna.samplers, "GPSampler", Noting)
    kind = {"a": CategoricalDistribution(("x", "y"))}
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(params={"a": "x"}, distributions=kind, value=1.0))
    running = study.ask(kind).params
    study.ask(kind)  # what is drawn for
    BudgetedGP(0, 1).sample_relative(study, study.trials[-1], dict(kind))
    assert shown == [("COMPLETE", {"a": "x"}), ("RUNNING", running)]


def test_a_gaussian_process_asks_for_nothing_that_optuna_will_drop():
    """Its constraints are told in another way from Optuna 5 on; a warning today is an error in a later version."""
    kind = {"a": CategoricalDistribution((1, 2, 3, 4))}
    study = optuna.create_study(directions=["minimize"] * 2)
    for a in (1, 4):
        study.add_trial(optuna.trial.create_trial(params={"a": a}, distributions=kind, values=[1 / a, a]))
    study.ask(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        drawn = BudgetedGP(0, 1).sample_relative(study, study.trials[-1], dict(kind))
    assert drawn["a"] in (2, 3)


def test_no_genotype_is_scored_twice():
    space, score = toy(edges=2, candidates=3)
    scored = []

    def counting(choices, report):
        scored.append(tuple(choices.values()))
        return score(choices, report)

    found = run(space, counting, count=14, sampler="random")
    assert sorted(scored) == sorted({(a, b) for a in space["cell.e0"] for b in space["cell.e1"]})
    assert sum(trial.repeat_of is not None for trial in found.trials) == 14 - 9
    for trial in found.trials:
        if trial.repeat_of is not None:
            first = found.trials[trial.repeat_of]
            assert (first.values, first.choices, first.repeat_of) == (trial.values, trial.choices, None)


@pytest.mark.parametrize(("sampler", "count"), [("tpe", 60), ("evolution", 60), ("gp", 16), ("nsga2", 60)])
def test_a_sampler_beats_random(sampler, count):
    def mean(name):
        found = [run(*toy(seed=seed), count=count, population=10, sampler=name, seed=seed) for seed in range(6)]
        return sum(trials.best.values[0] for trials in found) / len(found)

    assert mean(sampler) < mean("random") - 1.0  # of a standard deviation of about 2.8


def test_a_gaussian_process_knows_the_order_of_numbers():
    """The best of 63 is found by the eighth trial: five are given, and of categories a model could only guess."""
    space = {"place": tuple(range(0, 210, 10))[::-1], "kind": ("a", "b", "c")}

    def score(choices, report):
        return (1 + (choices["place"] - 140) ** 2 / 1000 + (choices["kind"] != "b"),)

    first = [{"place": place, "kind": kind} for place, kind in zip((0, 50, 100, 150, 200), "aabbc", strict=True)]
    found = run_trials(space, score, TrialsConfig(count=8, sampler="gp", population=5), first=first)
    assert min(found.trials, key=lambda trial: trial.values).choices == {"place": 140, "kind": "b"}


def test_a_diverged_training_is_the_worst_and_no_error(tmp_path):
    space, score = toy()
    for sampler in ("tpe", "evolution", "gp", "nsga2"):
        calls = []

        def sometimes(choices, report, calls=calls):
            calls.append(1)
            return (math.nan,) if len(calls) % 3 == 0 else score(choices, report)

        found = run(space, sometimes, tmp_path, count=20, sampler=sampler)
        assert sum(trial.values == (math.inf,) for trial in found.trials) == 6
        assert math.isfinite(found.best.values[0])


def test_the_table_says_what_was_tried(tmp_path):
    space, score = toy(edges=2)
    found = run(space, with_cost(space, score), tmp_path, ("loss", "macs"), count=7, sampler="nsga2")
    with open(tmp_path / "trials.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(float(row["loss"]), float(row["macs"])) for row in rows] == [trial.values for trial in found.trials]
    assert [{edge: row[edge] for edge in space} for row in rows] == [trial.choices for trial in found.trials]
    assert {row["state"] for row in rows} == {"complete"}


def test_widths_are_integers_all_the_way(tmp_path):
    space = {"cell.widths.0": (4, 8, 16)}
    found = run(space, lambda choices, report: (float(choices["cell.widths.0"]),), tmp_path, count=6)
    assert found.best.choices == {"cell.widths.0": 4} and type(found.best.choices["cell.widths.0"]) is int


def test_optuna_is_left_as_it_was(tmp_path, capfd):
    before = optuna.logging.get_verbosity()
    run(*toy(edges=2), tmp_path, count=5, storage=f"sqlite:///{tmp_path}/a.db", sampler="tpe", population=3)
    assert optuna.logging.get_verbosity() == before
    assert capfd.readouterr() == ("", "")


def test_two_searches_never_mix_in_a_storage(tmp_path):
    url = f"sqlite:///{tmp_path}/studies.db"
    space, score = toy(edges=3)
    for seed in (0, 1):
        run(space, score, seed=seed, count=2, storage=url)
    run(*toy(edges=2), count=2, storage=url)
    run(space, with_cost(space, score), objectives=("loss", "cost"), count=2, storage=url)
    run_trials(space, score, TrialsConfig(count=2, storage=url), scored={"steps": 9})
    summaries = optuna.get_all_study_summaries(url)
    assert [summary.n_trials for summary in summaries] == [2] * 5
    named = {"storage": url, "study": summaries[0].study_name}
    with pytest.raises(UserError, match=r"another space: candidates of cell.e2 are .* there, None here"):
        run(*toy(edges=2), **named)
    with pytest.raises(UserError, match="other objectives"):
        run(space, with_cost(space, score), objectives=("loss", "cost"), **named)
    optuna.create_study(storage=url, study_name="mine").ask()
    with pytest.raises(UserError, match="another program"):
        run(space, score, storage=url, study="mine")


def test_a_gaussian_process_looks_at_all_costs_and_leaves_what_diverges():
    """The larger the better: asked for the least loss alone, it would try the dearest only."""
    space = {"size": tuple(range(32, 256, 16)), "width": (8, 16, 32, 64), "kind": ("a", "b", "c")}

    def score(choices, report):
        cost, loss = choices["size"] ** 2 * choices["width"], 100 / choices["size"] + 4 / choices["width"] ** 0.5
        return math.inf if choices["kind"] == "c" else loss * (1 + (choices["kind"] == "a")), float(cost)

    cfg = TrialsConfig(count=24, sampler="gp", population=6)
    drawn = run_trials(space, score, cfg, objectives=("loss", "cost")).trials[6:]
    dear = [trial.values[1] > 32**2 * 8 * 450 ** (2 / 3) for trial in drawn]  # the dearest costs 450 times the cheapest
    cheap = [trial.values[1] < 32**2 * 8 * 450 ** (1 / 3) for trial in drawn]
    assert min(sum(dear), sum(cheap)) >= 3
    assert sum(trial.choices["kind"] == "b" for trial in drawn) > 12


def test_a_study_knows_what_its_scores_are_made_of(tmp_path):
    """Other photographs of the same name and number joined it: name and number alone were compared."""
    storage, (space, score) = str(tmp_path / "a.journal"), toy()

    def work(count, **seen):
        cfg = TrialsConfig(count=count, storage=storage)
        return run_trials(space, score, cfg, scored={"photographs": ["DUTS", 4]}, seen=seen)

    work(2)  # by an earlier version, which did not say it
    with pytest.warns(UserNote, match=r"by an earlier version; .* \(set of photographs: 4 \(ab\)\)"):
        work(3, **{"set of photographs": "4 (ab)"})
    assert len(work(4, **{"set of photographs": "4 (ab)"}).trials) == 4
    with pytest.raises(UserError, match=r"a.journal is of another set of photographs: 4 \(ab\) there, 4 \(cd\) here"):
        work(5, **{"set of photographs": "4 (cd)"})
    assert len(optuna.get_all_study_summaries(JournalStorage(JournalFileBackend(storage)))) == 1


@dataclass(frozen=True)
class _Before:
    steps: int = 5
    rate: float = 0.1


@dataclass(frozen=True)
class _After(_Before):
    decay: float = 0.0


@dataclass(frozen=True)
class _Moved(_Before):
    steps: int = 7


def test_a_version_with_a_further_option_goes_on_with_a_study(tmp_path):
    storage, (space, score) = str(tmp_path / "a.journal"), toy()
    known = []

    def goes_on(config, **options):
        known.clear()
        cfg = TrialsConfig(**{"count": 3, "storage": storage, "sampler": "random"} | options)
        run_trials(space, lambda *given: known.append(given) or score(*given), cfg, scored={"by": config})
        return not known

    assert not goes_on(_Before(rate=0.2)) and goes_on(_After(rate=0.2)) and goes_on(_Before(rate=0.2))
    assert not goes_on(_After(rate=0.2, decay=0.1)) and not goes_on(_After())
    with pytest.raises(UserError, match=r"is about other scores: by\.steps is 5 there, 7 here"):
        goes_on(_Moved(rate=0.2))  # the name is the same, what is scored is not
    (study, *_) = optuna.get_all_study_summaries(JournalStorage(JournalFileBackend(storage)))
    with pytest.raises(UserError, match=r"is about other scores: by\.rate is 0.2 there, 0.1 here"):
        goes_on(_Before(), study=study.study_name)


def test_mistakes_are_told(tmp_path, monkeypatch):
    space, score = toy()
    for name in ("psycopg", "psycopg2", "pymysql"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    own = tmp_path / "train.log"
    own.write_text("step 1\nstep 2")
    (tmp_path / "text.db").write_text("this is no database, however long one reads it" * 40)
    for options, message in [
        ({"sampler": "cma"}, "unknown sampler 'cma'; known: evolution, gp, nsga2"),
        ({"pruner": "axe"}, "unknown pruner 'axe'; known: hyperband"),
        ({"count": 0}, "count must be at least 1"),
        ({"storage": "redis://here"}, "unknown kind 'redis'; expected sqlite:///FILE"),
        ({"storage": "study.db"}, r"storage 'study.db': expected sqlite:///FILE"),
        ({"storage": "postgresql://me:secret@host/db"}, r"me:\*\*\*@host.* pip install '?psycopg"),
        ({"storage": "postgresql+psycopg2://me:secret@host/db"}, "pip install psycopg2-binary"),
        ({"storage": "mysql+pymysql://me:secret@host/db"}, r"\*\*\*@host.* pip install pymysql"),
        ({"storage": f"sqlite:///{tmp_path}/no/a.db"}, "cannot be opened: unable to open database file"),
        ({"storage": f"sqlite:///{tmp_path}/text.db"}, "cannot be opened: file is not a database"),
        ({"storage": f"{tmp_path}/no/a.journal"}, "there is no folder"),
        ({"storage": str(own)}, "not a journal of Optuna"),
    ]:
        with pytest.raises(UserError, match=message) as caught:
            run(space, score, **options)
        assert "secret" not in str(caught.value)
    assert own.read_text() == "step 1\nstep 2"
    for options, message in [({"sampler": "evolution"}, "nsga2 or tpe"), ({"pruner": "median"}, "one objective")]:
        with pytest.raises(UserError, match=message):
            run(space, with_cost(space, score), objectives=("loss", "cost"), **options)


def test_without_the_kernels_locks_a_journal_has_optunas(tmp_path, monkeypatch):
    """As on Windows, where no search began: it has no fcntl."""
    space, score = toy()
    whole = facts(run(space, score, count=4))
    monkeypatch.setattr("nas.trials.storage.fcntl", None)
    assert facts(run(space, score, tmp_path, count=4)) == whole
    assert not list(tmp_path.glob("*.lock"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:secret@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:se/cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@firm:secret@host/db", "postgresql://me@firm:***@host/db"),
        ("postgresql://me:sec@ret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?password=secret&user=me", "postgresql://host/db?password=***&user=me"),
        ("mysql+pymysql://host/db?user=me&passwd=secret", "mysql+pymysql://host/db?user=me&passwd=***"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("sqlite:////disk/a:b@c.db", "sqlite:////disk/a:b@c.db"),
        ("/disk/a:b@c.journal", "/disk/a:b@c.journal"),
    ],
)
def test_no_message_shows_a_password(url, shown):
    """SQLAlchemy takes a / in a password, an @ in a name (me@firm), and a password behind the ?: they were shown."""
    assert storage_name(url) == shown


def test_a_relative_storage_lies_where_the_run_began():
    for given, meant in {
        "a.journal": "/runs/a.journal",
        "/disk/a.log": "/disk/a.log",
        "sqlite:///a.db": "sqlite:////runs/a.db",
        "sqlite+pysqlite:///b/a.db?timeout=9": "sqlite+pysqlite:////runs/b/a.db?timeout=9",  # of where it is resumed
        "sqlite:////disk/a.db": "sqlite:////disk/a.db",
        "sqlite:///:memory:": "sqlite:///:memory:",
        "sqlite://": "sqlite://",
        "sqlite:///file:a.db?uri=true": "sqlite:///file:a.db?uri=true",
        "postgresql://host/db": "postgresql://host/db",
    }.items():
        assert anchor_storage(given, "/runs") == meant
    assert anchor_storage("a.journal", None) == "a.journal" and anchor_storage(None, "/runs") is None


@pytest.mark.parametrize("count", [0, 3])
def test_a_journal_cut_short_is_mended(tmp_path, count):
    """Also in its first line: that run could not be gone on with, for its file was "not a journal"."""
    space, score = toy()
    if count:
        run(space, score, tmp_path, count=count)
    with open(tmp_path / "study.journal", "ab") as file:
        file.write(b'{"op_code":4,"worker_id":"' if count else b'{"op_c')  # the disk was full
    assert facts(run(space, score, tmp_path, count=6)) == facts(run(space, score, count=6))


@pytest.mark.parametrize("storage", [None, "sqlite:///{}/study.db"])
def test_a_study_whose_file_is_gone_is_told_and_ends_the_same(tmp_path, storage):
    """It was tried again without a word."""
    (space, score), storage = toy(), storage and storage.format(tmp_path)
    before = facts(run(space, score, tmp_path, count=3, storage=storage))
    (tmp_path / ("study.db" if storage else "study.journal")).unlink()
    told = r"study\.\w+ holds no study any more, and .*trials\.csv lists 3 finished trials: all are tried again"
    with pytest.warns(UserNote, match=told):
        assert facts(run(space, score, tmp_path, count=3, storage=storage)) == before
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserNote)
        run(space, score, tmp_path, count=4, storage=storage)
        run(space, score, tmp_path, count=4, storage=storage, sampler="random")  # another study in the same file


def test_a_table_of_trials_that_is_none_is_named(tmp_path):
    space, score = toy()
    run(space, score, tmp_path, count=1)
    (tmp_path / "trials.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"trials\.csv: expected a table"):
        run(space, score, tmp_path, count=2)
