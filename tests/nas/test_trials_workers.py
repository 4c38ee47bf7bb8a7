"""Several workers on one study, some of them killed."""

import json
import multiprocessing
import os
import signal
import time

import optuna
import pytest
from toy_trials import facts, toy

from nas.trials import TrialsConfig, run_trials
from nas.trials.storage import Watch, this_worker

COUNT = 10
FORK = multiprocessing.get_context("fork")  # a process of its own, without importing everything again


def work(storage, log, hang_at=None):
    """A worker that writes down what it begins and ends; its trial number `hang_at` never ends."""
    space, score = toy(edges=4)
    begun = 0

    def noted(choices, report):
        nonlocal begun
        begun += 1
        note(log, "begin", choices)
        if begun == hang_at:
            time.sleep(600)
        time.sleep(0.1)
        note(log, "end", choices)
        return score(choices, report)

    cfg = TrialsConfig(count=COUNT, storage=storage, population=4)
    return run_trials(space, noted, cfg, scored={"folder": str(log.parent)})  # a study of its own on a server


def note(log, what, choices):
    with open(log, "a") as file:
        file.write(json.dumps([os.getpid(), what, choices]) + "\n")


def notes(log):
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_when_it_hangs(process, log, begun):
    def hangs():
        assert process.is_alive()
        return sum(line[:2] == [process.pid, "begin"] for line in notes(log)) >= begun

    wait_until(hangs)
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)


@pytest.fixture(params=["sqlite", "journal", "postgresql", "mysql"])
def storage(request, tmp_path):
    """Servers are the developer's: SOD_TEST_POSTGRESQL=postgresql://..., SOD_TEST_MYSQL=mysql+pymysql://..."""
    if request.param in ("sqlite", "journal"):
        return {"sqlite": f"sqlite:///{tmp_path}/study.db", "journal": f"{tmp_path}/study.journal"}[request.param]
    variable = f"SOD_TEST_{request.param.upper()}"
    if variable not in os.environ:
        pytest.skip(f"needs a {request.param} server: set {variable} to its URL")
    return os.environ[variable]


def test_a_killed_workers_trial_is_recovered_by_the_other(storage, tmp_path):
    log = tmp_path / "log"
    first = FORK.Process(target=work, args=(storage, log, 3))
    second = FORK.Process(target=work, args=(storage, log))
    first.start()
    second.start()
    kill_when_it_hangs(first, log, 3)
    second.join(60)
    assert second.exitcode == 0
    (lost,) = [line[2] for line in notes(log) if line[0] == first.pid and line[1] == "begin"][2:]
    ended = [line[2] for line in notes(log) if line[1] == "end"]
    found = work(storage, tmp_path / "nothing")  # started again: there is nothing left to do
    assert not (tmp_path / "nothing").exists()
    assert [trial.number for trial in found.trials] == list(range(COUNT))
    assert {trial.state for trial in found.trials} == {"complete"}
    key = lambda choices: sorted(choices.items())  # noqa: E731
    # Each genotype is scored once: what both draw at the same moment is scored by the first, if it is done soon enough.
    assert sorted(map(key, ended)) == sorted(key(trial.choices) for trial in found.trials if trial.repeat_of is None)
    assert lost in ended


def test_a_killed_run_ends_as_if_it_had_not_been(storage, tmp_path):
    log = tmp_path / "log"
    process = FORK.Process(target=work, args=(storage, log, 6))
    process.start()
    kill_when_it_hangs(process, log, 6)
    assert facts(work(storage, log)) == facts(work(None, log))


def test_a_worker_waits_for_the_last_trial_of_another(storage, tmp_path):
    log = tmp_path / "log"
    first = FORK.Process(target=work, args=(storage, log, 1))
    first.start()
    second = FORK.Process(target=work, args=(storage, tmp_path / "other"))
    wait_until(lambda: notes(log))
    second.start()
    wait_until(lambda: len(notes(tmp_path / "other")) >= 2 * (COUNT - 1))
    time.sleep(0.3)
    assert second.is_alive()  # all but the first worker's trial is done
    os.kill(first.pid, signal.SIGKILL)
    second.join(60)
    assert second.exitcode == 0
    assert len(notes(tmp_path / "other")) == 2 * COUNT
    first.join(10)


def test_a_trial_beyond_the_count_is_discarded(tmp_path, monkeypatch):
    space, score = toy()
    ask = optuna.Study.ask

    def overtaken(study):
        if len(study.get_trials(deepcopy=False)) == 4:  # this worker saw that one is missing; so did another, sooner
            other = ask(study)
            choices = {edge: other.suggest_categorical(edge, ops) for edge, ops in space.items()}
            study.tell(other, score(choices, None))
        return ask(study)

    monkeypatch.setattr(optuna.Study, "ask", overtaken)
    found = run_trials(space, score, TrialsConfig(count=5), folder=tmp_path)
    assert [trial.number for trial in found.trials] == list(range(5))
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(f"{tmp_path}/study.journal"))
    (study,) = [optuna.load_study(study_name=None, storage=storage)]
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 5 + ["FAIL"]


def running(number, worker, beat=None):
    trial = optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING)
    trial.number = number
    trial.user_attrs.update({"worker": worker, "beat": beat})
    return trial


def test_who_is_gone():
    me, now = this_worker(), 0.0
    watch = Watch(10, clock=lambda: now)
    parent = FORK.Process(target=time.sleep, args=(600,))
    parent.start()
    try:
        alive = running(0, me | {"pid": parent.pid, "started": started(parent.pid)})
        renumbered = running(1, me | {"pid": parent.pid, "started": "1"})  # the pid was given to another process
        elsewhere, unnamed = running(2, {**me, "host": "elsewhere"}, beat=1), running(3, None)
        trials = [alive, renumbered, elsewhere, unnamed]
        assert watch.lost(trials) == [renumbered]
        own = running(4, me)  # of an earlier study of this process, interrupted twice: nobody else could end it
        assert watch.lost([own, alive]) == [own]
        now = 8.0
        elsewhere.user_attrs["beat"] = 2
        assert watch.lost(trials) == [renumbered]
        now = 11.0
        assert watch.lost(trials) == [renumbered, unnamed]
        now = 17.9
        assert watch.lost(trials) == [renumbered, unnamed]
        now = 18.1
        assert watch.lost(trials) == [renumbered, elsewhere, unnamed]
    finally:
        parent.kill()
    wait_until(lambda: alive in watch.lost(trials))  # a zombie is gone, too
    parent.join()


def started(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[19]
