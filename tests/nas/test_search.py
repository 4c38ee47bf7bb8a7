"""The search as a user runs it: products, resume to the same bits, interruption, bad input."""

import csv
import runpy
import signal
import sys

import pytest
import torch
from tiny_search import FUSION, config, run_search, words

import genotypes
from genotypes import UserError
from nas.command import run_command
from nas.run import RunFolder, load_checkpoint
from nas.search import SearchConfig, export_space, open_space, search
from nas.search.__main__ import COMMAND, main


def test_a_killed_search_continues_from_its_last_checkpoint(tmp_path, monkeypatch):
    cfg = config()
    whole = run_search(tmp_path / "whole", cfg)
    partial = tmp_path / "cut"
    run = RunFolder.open(str(partial), "search", "")
    save = RunFolder.save

    def die_after_six(self, state):
        save(self, state)
        if state["step"] == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunFolder, "save", die_after_six)
        search(cfg, run)
    run.record({key: 0 for key in run.history[0]})  # a row written after the checkpoint must not survive
    again = run_search(partial, cfg, resume=True)
    assert again.genotype == whole.genotype
    assert (partial / "history.csv").read_bytes() == (tmp_path / "whole/history.csv").read_bytes()


def test_when_its_minutes_are_over_a_search_stops(tmp_path, capsys):
    assert run_command(main, [*words(), "--minutes", "1e-6", "--out", str(tmp_path / "run")]) == 128 + signal.SIGALRM
    assert "time is up: saved at step 1; continue: --out" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "run/checkpoint.pt")["step"] == 1


def test_the_run_folder_explains_the_run(tmp_path):
    out = tmp_path / "run"
    assert run_command(main, [*words(), "--out", str(out)]) == 0
    found = genotypes.load(out / "genotype.yaml")
    space = genotypes.load(out / "space.yaml")
    assert found.is_decided and len(space.open_edges()) == 8
    choices = found.graph.operations()
    assert space.decide({edge: choices[edge] for edge in space.open_edges()}) == found
    assert (out / "cells.svg").read_text().lstrip().startswith("<")
    assert list((out / "events").iterdir()) and (out / "environment.json").exists()
    with open(out / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["3", "6", "8"]
    assert all(0 <= float(row["held_out_maxF"]) <= 1 and 0 <= float(row["entropy"]) <= 1.000001 for row in rows)
    # The written configuration repeats the run.
    cfg, resume = COMMAND.parse(["--config", str(out / "config.yaml")])
    assert not resume and cfg == config(out=str(out))


def test_random_strategy_trains_nothing_and_follows_the_seed(tmp_path):
    results = [run_search(tmp_path / str(i), config(strategy="random", seed=s)) for i, s in enumerate((4, 4, 5))]
    assert results[0].genotype == results[1].genotype != results[2].genotype
    assert not (tmp_path / "0/checkpoint.pt").exists()


def test_a_single_held_out_picture_is_enough(tmp_path):
    run_search(tmp_path / "run", config(data="synthetic:8", size=32))  # its map of stride 32 is one value a channel
    with open(tmp_path / "run/history.csv") as file:
        assert all(row["eigenvalue"] in ("", "nan") for row in csv.DictReader(file))


def test_exported_width_and_size_may_differ_from_the_searched_ones(tmp_path):
    result = run_search(tmp_path / "run", config(strategy="random", space=FUSION, export_channels=24, export_size=96))
    assert result.genotype.input.size == (96, 96)
    assert result.genotype.graph["fuse4.out"].width == 24
    genotypes.save(open_space(config()), tmp_path / "space.yaml")
    with pytest.raises(UserError, match=r"space\.yaml says its own widths"):
        export_space(config(space=str(tmp_path / "space.yaml"), export_channels=24))


def test_a_space_can_be_a_file(tmp_path):
    genotypes.save(open_space(config()), tmp_path / "space.yaml")
    cfg = config(space=str(tmp_path / "space.yaml"), strategy="random")
    assert run_search(tmp_path / "run", cfg).genotype.is_decided


@pytest.mark.parametrize(
    "options, message",
    [
        (["--strategy", "magic"], "unknown strategy 'magic'"),
        (["--backbone", "alexnet"], "unknown backbone"),
        (["--backbone", "mobilenet_v2", "--backbone_weights", "absent.pth"], "absent.pth"),
        (["--operations", "[conv_3x3, conv_9x9]"], "conv_9x9"),
        (["--data", "absent_folder"], "absent_folder"),
        (["--space", "fpn_tiny"], "every edge is decided"),
        (["--space", 300 * "a"], "unknown space 'aaa"),  # no file can have such a name
        (["--space", "absent.yaml"], "unknown space 'absent.yaml': expected fusion_cells, minet, "),
        (["--space", "my_space"], "a word of your own? give the file that registers it: --plugin FILE"),
        (
            ["--space", "minet", "--wiring", "figure7"],
            "--wiring; it belongs to space fusion_cells, which is not chosen",
        ),
        (["--strategy", "one_shot", "--cost", "macs", "--trials.sampler", "evolution"], "one objective"),
        (["--strategy", "one_shot", "--trials.storage", "redis://here"], "unknown kind 'redis'"),
        (["--strategy", "darts", "--trials.storage", "redis://here"], "unknown kind 'redis'"),  # of its rivals
        (["--strategy", "darts", "--cost", "macs", "--trials.pruner", "median"], "pruner median goes with one"),
        (["--strategy", "optuna", "--cost", "macs", "--trials.pruner", "median"], "pruner median goes with one"),
        (["--size", "8"], "size must be 32 to 8192"),
        (["--size", "100000000"], "size must be 32 to 8192"),
        (["--export_size", "8"], "size must be 32 to 8192"),
        (["--export_channels", "0"], "export_channels must be at least 1"),
        (["--guard.trivial", "[skip_conect]"], "unknown operation 'skip_conect'"),
        (["--space", "compact", "--export_channels", "8"], "the space compact says its own widths and size"),
        (["--warmup_steps", "-1"], "warmup_steps must be at least 0"),
        (["--warmup_steps", "2"], "no architecture step would be made: steps 2, warmup_steps 2"),
        (["--cost", "params", "--budget", ".nan"], "budget: expected a finite number, not nan"),
        (["--strategy", "gdas", "--temperature", "[.nan, 1]"], "strategy.temperature.0: expected a finite number"),
        (["--optim.lr", "1e38"], "optim.lr: expected at most 1e+36, not 1e+38"),
        (["--strategy", "drnas", "--strategy.anchor", ".inf"], "strategy.anchor: expected a finite number"),
        (["--device", "cuda:9"], "cuda:9"),
        (["--fractions", "[0.9, 0.9, 0.1]"], "fractions"),
        (["--loss.terms", "{hinge: 1}"], "hinge"),
        (["--config", "absent.yaml"], "absent.yaml"),
        (["--steps", "many"], "many"),
        (["--stepz", "3"], "unknown option --stepz; near: --steps"),
        (["--probes", "3"], "--probes; it belongs to strategy gdas, which is not chosen"),
        (["--lr", "1"], "--lr may mean --strategy.lr or --optim.lr: say which"),
        (["--weights", "net.safetensors"], "near: --backbone_weights"),
        (["--resume"], "--resume needs --out"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    small = ["--data", "synthetic:60", "--size", "32", "--steps", "2", "--warmup_steps", "1"]
    assert run_command(main, [*small, *options]) == 2
    text = capsys.readouterr().err
    told = [line for line in text.splitlines() if not line.startswith("note: ")]
    assert message in text and told[0].startswith("error: ") and "Traceback" not in text
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_short_search_has_a_short_warm_up_and_says_so(tmp_path, capsys):
    assert [SearchConfig(steps=steps).warmup for steps in (1, 40, 120, 240)] == [0, 13, 40, 40]
    assert SearchConfig(steps=40, warmup_steps=2).warmup == 2
    short = [word for word in words() if not word.startswith("--warmup_steps")]
    main([*short, "--steps", "3", "--rivals", "0", "--out", str(tmp_path / "run")])
    assert "note    1 of the 3 steps were a warm-up" in capsys.readouterr().out


def test_an_existing_folder_is_not_touched_and_a_resume_must_agree(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    assert run_command(main, ["--out", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err.endswith("already exists: choose another --out\n")  # it holds no run to resume
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    assert run_command(main, ["--out", str(tmp_path / "mine"), "--resume"]) == 2
    assert "no run to resume" in capsys.readouterr().err
    assert run_command(main, ["--optim.groups", "[{match: cellar, lr: 1}]", "--out", str(tmp_path / "new")]) == 2
    assert "'cellar' matches no parameter" in capsys.readouterr().err and not (tmp_path / "new").exists()
    out = tmp_path / "run"
    options = ["--strategy", "random", "--data", "synthetic:60", "--out", str(out)]
    assert run_command(main, options) == 0
    assert run_command(main, ["--out", str(out), "--resume", "--seed", "3"]) == 2
    assert "seed was 0, now 3" in capsys.readouterr().err
    assert run_command(main, ["--out", str(out), "--resume"]) == 0


def test_a_checkpoint_that_is_none_is_refused_and_never_executed(tmp_path):
    for name, content in (("garbage", b"not a checkpoint"), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=name):
            load_checkpoint(tmp_path / name)
    evil = tmp_path / "evil"
    torch.save({"x": _Evil(str(tmp_path / "owned"))}, evil)
    with pytest.raises(UserError, match="evil"):
        load_checkpoint(evil)
    assert not (tmp_path / "owned").exists()


class _Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_help_shows_examples(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["nas.search", "--help"])
    monkeypatch.delitem(sys.modules, "nas.search.__main__", raising=False)  # as `python -m` runs it
    with pytest.raises(SystemExit) as stop:
        runpy.run_module("nas.search", run_name="__main__")
    told = capsys.readouterr()
    assert not stop.value.code
    assert "examples:" in told.out and "--resume" in told.out and "Traceback" not in told.err
