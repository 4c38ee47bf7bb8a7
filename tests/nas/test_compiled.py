"""Compiled steps: the same numbers, captured or not; who decides; and machines that cannot compile."""

import shutil
import warnings
from types import SimpleNamespace

import pytest
import torch
from recorded_graph import RecordedGraph
from tiny_search import config

import genotypes
from genotypes import UserError, UserNote
from nas.network import build
from nas.options import from_dict, to_dict
from nas.run.graphs import GRAPHS
from nas.search import SearchConfig, open_search
from nas.search.training import search_trainer
from nas.training import compiled
from search_spaces import fusion_cells


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    """A file with three open edges, of two shapes: two pieces of code."""
    path = tmp_path_factory.mktemp("space") / "space.yaml"
    genotypes.save(fusion_cells("tiny", 4, ("skip_connect", "conv_3x3"), taps=("s16", "s8"), strides=(8,)), path)
    return str(path)


def a_search(space, compile, **changes):
    # The architecture stays, which saves pieces of code. SGD: Adam would make steps of the rounding of flat directions.
    small = config(space={"name": space}, compile=compile, **{"steps": 8, "warmup_steps": 7} | changes)
    cfg = from_dict(SearchConfig(), to_dict(small) | {"optim": {"name": "sgd", "lr": 0.05}})
    return search_trainer(cfg, open_search(cfg))[2]


def losses(trainer, steps=5):
    found = []
    for _ in range(steps):
        trainer.advance()
        found.append(trainer.totals.means()["train"])
    return torch.tensor(found)


@pytest.mark.compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_compiled_steps_give_the_same_numbers_captured_or_not(space, monkeypatch):
    plain, trainer = a_search(space, "off"), a_search(space, "on")
    expected = losses(plain)
    torch.testing.assert_close(losses(trainer), expected, rtol=1e-5, atol=0)
    assert trainer.summary() == "compiled steps" and plain.summary() is None
    torch.testing.assert_close(trainer.net.state_dict(), plain.net.state_dict(), rtol=1e-4, atol=1e-5)
    monkeypatch.setitem(GRAPHS, "cpu", RecordedGraph)  # it replays operators, so what it records is not compiled
    captured = a_search(space, "on")
    torch.testing.assert_close(losses(captured), expected, rtol=1e-5, atol=0)
    assert captured.capture.replayed == 3 and captured.compiled.on


@pytest.fixture
def no_compiler():
    import torch._inductor.config

    compiled._obstacle.cache_clear()
    with torch._inductor.config.patch({"cpp.cxx": (None, "no-such-compiler")}):  # monkeypatch would lose the value
        yield
    compiled._obstacle.cache_clear()


def test_without_a_compiler_one_line_says_so(space, no_compiler):
    with pytest.raises(UserError, match=r"^--compile on: steps cannot be compiled: .*no-such-compiler"):
        a_search(space, "on")
    with pytest.warns(UserNote, match=r"steps are not compiled, but run as they are: .*no-such-compiler") as told:
        trainer = a_search(space, "auto", steps=10_000)
    assert [note.category for note in told].count(UserNote) == 1 and not trainer.compiled.on
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mode, steps in (("off", 10_000), ("auto", 10)):  # nobody asked for it
            assert not a_search(space, mode, steps=steps).compiled.on


def test_auto_decides_by_the_steps_and_a_run_keeps_what_was_decided(space, monkeypatch):
    monkeypatch.setattr(compiled, "_obstacle", lambda device: "")
    short, long = (a_search(space, "auto", steps=steps) for steps in (1_999, 2_000))
    assert (short.compiled.on, long.compiled.on) == (False, True)
    for kept in (False, True):
        state = long.state_dict() | {"compiled": kept}
        trainer = a_search(space, "auto", steps=2_000)
        trainer.resume(SimpleNamespace(load=lambda state=state: state, path="run", keep_config=lambda: None))
        assert trainer.compiled.on is kept
    with pytest.warns(UserNote, match="began with compiled steps"):  # there was a compiler then
        short.compiled.resume(True)
    assert not short.compiled.on


def test_auto_compiles_no_fixed_network_on_a_cpu(monkeypatch):
    """Its step takes longer then: docs/performance.md, "Compiled steps"."""
    monkeypatch.setattr(compiled, "_obstacle", lambda device: "")
    net = build(genotypes.load("fpn_tiny"))
    assert not compiled.Compiled(net, 10**6, "auto").on and compiled.Compiled(net, 1, "on").on
    assert compiled.Compiled(net.to("meta"), 10_000, "auto").on  # as on a GPU


def test_code_that_cannot_be_compiled_runs_as_it_is(space, monkeypatch):
    def fails(function, dynamic):
        def call(*arguments):
            raise torch._dynamo.exc.Unsupported("this operation is beyond it\nand more")

        return call

    monkeypatch.setattr(compiled, "_obstacle", lambda device: "")
    monkeypatch.setattr(torch, "compile", fails)
    trainer = a_search(space, "auto", steps=2_000)
    with pytest.warns(UserNote, match="run as they are: this operation is beyond it$"):
        found = losses(trainer, 2)
    assert torch.equal(found, losses(a_search(space, "off", steps=2_000), 2))
    with pytest.raises(UserError, match="beyond it"):
        a_search(space, "on").advance()


def test_sampled_paths_are_not_compiled(space, monkeypatch):
    monkeypatch.setattr(compiled, "_obstacle", lambda device: "")
    trainer = a_search(space, "on", strategy="gdas")
    trainer.advance()
    assert trainer.summary() == "nothing compiled: each step computed only some candidates"


def test_whole_networks_are_not_compiled():
    cfg = config(strategy="sandwich", space={"name": "compact", "backbone": "tiny"}, compile="on", size=64)
    with pytest.raises(UserError, match="sandwich computes another network in each step"):
        open_search(cfg)
