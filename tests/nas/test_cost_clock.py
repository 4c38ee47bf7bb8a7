"""Whether the machine was busy while something was timed, and what follows from it."""

import os
import time
import warnings

import pytest

from genotypes import UserNote
from nas.cost import clock, cost_table, lookup
from nas.cost.clock import OtherPrograms, milliseconds, warn_if_busy
from search_spaces import fusion_cells

BUSY = "this machine was busy (others took 50% of its processors)"


@pytest.fixture
def machine(monkeypatch, real_busy):
    """A machine of two processors: the seconds that all and we have used, and that have passed on both."""
    monkeypatch.setattr(OtherPrograms, "busy", real_busy)
    ticks, seconds = os.sysconf("SC_CLK_TCK"), {"used": 1000.0, "passed": 9000.0, "ours": 7.0}
    monkeypatch.setattr(clock, "_ticks", lambda: tuple(int(ticks * seconds[name]) for name in ("used", "passed")))
    monkeypatch.setattr(clock, "_own_seconds", lambda: seconds["ours"])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    return seconds


@pytest.mark.parametrize(
    "used, ours, told",
    [(10.5, 10, None), (11.9, 10, None), (20, 10, BUSY), (10, 0, BUSY), (0, 0, None), (9.9, 10, None)],
)
def test_only_others_make_a_machine_busy(machine, used, ours, told):
    others = OtherPrograms()
    machine["used"] += used
    machine["ours"] += ours
    machine["passed"] += 20  # ten seconds on each of two processors
    assert others.busy() == told


def test_a_note_is_one_line_and_a_quiet_machine_gets_none(machine):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with warn_if_busy() as others:
            machine["passed"] += 20
    assert others.warning is None
    with pytest.warns(UserNote) as notes, warn_if_busy("so there") as others:
        machine["used"] += 10
        machine["passed"] += 20
    assert [str(note.message) for note in notes] == [f"{BUSY}: so there"] and others.warning == BUSY


def test_where_the_kernel_does_not_count_the_load_average_tells(monkeypatch, real_busy):
    monkeypatch.setattr(OtherPrograms, "busy", real_busy)
    monkeypatch.setattr(clock, "_ticks", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for load, told in ((1.9, None), (2.6, "this machine was busy (load 2.6 on 4 cores)")):
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0), raising=False)
        assert OtherPrograms().busy() == told


@pytest.mark.skipif(clock._ticks() is None, reason="the kernel does not count")
def test_ticks_and_own_seconds_count_the_same():
    """What this process computes is in both: 0.2 seconds of it, to a few hundredths."""
    before, own = clock._ticks(), clock._own_seconds()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    used, passed = (now - then for now, then in zip(clock._ticks(), before, strict=True))
    mine = (clock._own_seconds() - own) * os.sysconf("SC_CLK_TCK")
    assert 15 <= mine <= used + 5 and used <= passed


def test_what_a_busy_machine_measured_is_not_kept(machine, tmp_path, monkeypatch):
    space = fusion_cells("tiny", 8, ["none", "skip_connect", "conv_3x3"])
    measured = []

    def measure(space, size, device, repeats):
        measured.append(size)
        machine["used"] += 10 if len(measured) == 1 else 0
        machine["passed"] += 20
        return 1.0, {edge: dict.fromkeys(ops, 0.5) for edge, ops in space.open_edges().items()}, []

    monkeypatch.setattr(lookup, "measure_latencies", measure)
    with pytest.warns(UserNote, match="latencies mislead, and are not kept for other runs"):
        cost_table(space, "latency", size=(32, 32), cache=tmp_path)
    assert not list(tmp_path.iterdir())
    for _ in range(2):  # quiet now: kept, and found again
        cost_table(space, "latency", size=(32, 32), cache=tmp_path)
    assert len(measured) == 2 and len(list(tmp_path.iterdir())) == 1


def test_a_quantile_of_the_times_in_place_of_the_shortest(monkeypatch):
    took = (9, 9, 1, 2, 3, 4, 5)  # seconds of each call; the first two warm up
    for quantile, ms in ((0.0, 1000), (0.25, 2000), (1.0, 5000)):
        ticking = iter([now for call, seconds in enumerate(took) for now in (100 * call, 100 * call + seconds)])
        monkeypatch.setattr(time, "process_time", lambda ticking=ticking: next(ticking))
        assert milliseconds({"a": lambda: None}, repeats=5, quantile=quantile) == {"a": pytest.approx(ms)}


def test_short_calls_are_timed_until_the_seconds_have_passed(monkeypatch):
    ticks = iter(range(1000))  # each look at the clock takes a second, so each call does
    monkeypatch.setattr(time, "process_time", lambda: next(ticks))
    calls = {"a": lambda: None, "b": lambda: None}
    for seconds, looks in ((0.0, 40), (19.5, 80), (20.5, 88)):  # five rounds at least, warm-up and all
        before = next(ticks)
        milliseconds(calls, repeats=3, seconds=seconds)
        assert next(ticks) - before - 1 == looks, seconds


def test_a_network_among_others_is_timed_as_it_is_in_use(monkeypatch):
    """In turn, call by call, one of .4 ms took .8: the others had left nothing of it in the caches."""
    now, last = [0.0], [""]

    def call(name):
        now[0] += 0.001 if last[0] == name else 0.002
        last[0] = name

    monkeypatch.setattr(time, "process_time", lambda: now[0])
    found = milliseconds({name: lambda name=name: call(name) for name in "abc"}, repeats=3, quantile=1.0)
    assert found == pytest.approx(dict.fromkeys("abc", 1.0))
