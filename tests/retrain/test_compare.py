"""Comparisons: who takes part, the table's statistics, and trainings that are not done twice."""

import dataclasses
import json
import shutil
import signal
import statistics
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from matplotlib.figure import Figure
from PIL import Image
from tiny_training import stopped_in_step

import genotypes
import retrain
from genotypes import UserError, UserNote
from nas.command import run_command
from nas.network.weights import load_weights
from nas.report.comparison import cost_charts
from nas.report.parts import origin
from nas.run_files import read_run
from nas.strategies import random_choices
from nas.training import Diverged
from retrain.compare import CompareConfig, Entry, Training, read_entries, rows, runs
from retrain.compare.__main__ import main
from retrain.compare.config import starts
from retrain.compare.table import draw_dots, draw_pictures, draw_trade_off, latex, markdown, plain, shown
from search_spaces import compact, fpn

TINY = ("--data", "synthetic:24", "--recipe.size", "32", "--recipe.batch_size", "4", "--recipe.steps", "3")


def compare(*words: object) -> int:
    return run_command(main, [*(str(word) for word in words), "--workers", "0"])


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Six figures a comparison take three quarters of the time of a tiny one: the files stay empty."""
    monkeypatch.setattr(Figure, "savefig", lambda *args, **kwargs: None)


def without(text: str, *options: str) -> str:
    """A configuration's file without these, wherever they stand."""

    def rest(values: Any) -> Any:
        return {k: rest(v) for k, v in values.items() if k not in options} if isinstance(values, dict) else values

    return yaml.safe_dump(rest(yaml.safe_load(text)))


def test_a_training_that_diverges_does_not_stop_the_others(tmp_path, small_file, monkeypatch, capsys) -> None:
    trained = runs.train

    def nan():
        raise Diverged("step 0: the loss is nan")

    def train(config, run, **options):
        if "bad" in str(config.out):
            nan()
        return trained(config, run, **options)

    monkeypatch.setattr(runs, "train", train)
    out = tmp_path / "out"
    assert compare("--genotypes", f"bad={small_file}", f"good={small_file}", *TINY, "--out", out) == 2
    told = capsys.readouterr()
    assert (
        "\ngood " in told.out
        and "| good |" in (out / "table.md").read_text()
        and "bad, seed 0: step 0: the loss is nan" in told.err
    )
    assert (out / "photographs.png").is_file() and len((out / "trainings.csv").read_text().splitlines()) == 2
    monkeypatch.setattr(runs, "train", lambda config, run, **how: train(config, run, **how) if config.seed else nan())
    words = ("--genotypes", f"good={small_file}", "--seeds", 0, 1, *TINY, "--out", tmp_path / "later")
    assert compare(*words) == 2 and not (tmp_path / "later/photographs.png").exists()  # which are the first seed's
    monkeypatch.setattr(runs, "train", train)
    assert compare("--genotypes", f"bad={small_file}", *TINY, "--out", tmp_path / "none") == 2
    assert "every training diverged" in capsys.readouterr().err


def test_two_genotypes_and_again(tmp_path, space_file, small_file, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    words = ("--genotypes", small_file, "random:0", "--space", space_file, *TINY, "--out", out)
    assert compare(*words) == 0
    first = capsys.readouterr().out
    assert "\nsmall " in first and "\nrandom:0 " in first and "[2/2]" in first
    assert "| small |" in (out / "table.md").read_text() and "| random:0 |" in (out / "table.md").read_text()
    assert {p.name for p in (out / "runs").iterdir()} == {"small-seed0", "random-0-seed0"}
    made = {"table.md", "table.tex", "table.json", "trainings.csv", "config.yaml"}
    made |= {f"{name}.{kind}" for name in ("comparison", "trade_off", "photographs") for kind in ("png", "pdf")}
    assert made <= {p.name for p in out.iterdir()}
    assert len((out / "trainings.csv").read_text().splitlines()) == 3

    monkeypatch.setattr(Figure, "savefig", lambda *args, **kwargs: None)  # as `undrawn`: what is drawn was seen above
    with monkeypatch.context() as patch:
        patch.setattr(runs, "train", lambda *args, **kwargs: pytest.fail("trained a finished one again"))
        assert compare("--out", out) == 0  # the configuration is the folder's own
        assert compare("--out", out, "--resume") == 0
        for config in (out / "config.yaml", *(out / "runs").glob("*/config.yaml")):  # of before there were such options
            config.write_text(without(config.read_text(), "masks", "passes", "scales", "capture", "test_limit"))
        assert compare("--out", out) == 0
    assert "[1/2]" not in capsys.readouterr().out

    monkeypatch.setattr("nas.run.folder._command", lambda: ["compare", "one", "more"])
    assert compare("--out", out, "--genotypes", small_file, "fpn", "--space", space_file) == 0  # one more
    first, more = origin(read_run(out)).parts[0].text.splitlines()[:2]
    assert first != more == "compare one more"
    told = capsys.readouterr()
    assert "[2/2] fpn" in told.out and "random-0-seed0: trained here and not in the table" in told.err

    config = (out / "config.yaml").read_text()
    assert compare("--out", out, "--recipe.optim.lr", "0.5") == 2
    assert "recipe.optim.lr 0.004, now 0.5" in capsys.readouterr().err
    assert (out / "config.yaml").read_text() == config


@pytest.mark.usefixtures("undrawn")
def test_an_unfinished_training_goes_on(tmp_path, small_file, monkeypatch) -> None:
    out = tmp_path / "out"
    words = ("--genotypes", small_file, "--seeds", "0", "1", *TINY, "--evaluate_every", "1", "--out", out)
    assert compare(*words) == 0
    whole = (out / "trainings.csv").read_text()
    folder = out / "runs/small-seed1"
    (folder / "scores.json").unlink()  # as if it had been stopped while scoring
    (folder / "report.html").touch()
    pages: list[object] = []
    monkeypatch.setattr(runs, "report_at_the_end", pages.append)
    assert compare(*words) == 0
    assert pages == [out / "runs/small-seed0"]  # as if that had been stopped between its scores and its page
    scores = [line.split(",")[7:] for line in (out / "trainings.csv").read_text().splitlines()]
    assert scores == [line.split(",")[7:] for line in whole.splitlines()]


@pytest.mark.usefixtures("undrawn")
def test_damaged_scores_are_named(tmp_path, small_file, capsys) -> None:
    out = tmp_path / "out"
    words = ("--genotypes", small_file, "--seeds", "0", *TINY, "--out", out)
    assert compare(*words) == 0
    file = out / "runs/small-seed0/scores.json"
    whole = json.loads(file.read_text())
    documents = ([], None, {"scores": {}}, whole | {"params": None}, whole | {"scores": {"held_out": {"maxF": 0.5}}})
    for text in ("", "{", *map(json.dumps, documents)):
        file.write_text(text)
        assert compare(*words) == 2
        assert f"{file}: " in capsys.readouterr().err
    file.unlink()  # as it says
    assert compare(*words) == 0 and json.loads(file.read_text())["scores"] == whole["scores"]


@pytest.mark.usefixtures("undrawn")
def test_a_signal_in_a_trainings_last_step_stops_the_next(tmp_path, small_file, capsys) -> None:
    out = tmp_path / "out"
    words = ("--genotypes", small_file, "--seeds", "0", "1", *TINY, "--no_latency", "--out", out)
    with stopped_in_step(3):
        assert compare(*words) == 128 + signal.SIGTERM
    assert f"saved; the same command with --out {out} continues" in capsys.readouterr().err
    assert [run.name for run in (out / "runs").iterdir()] == ["small-seed0"]
    with stopped_in_step(3):  # the last one's: nothing is left to stop
        assert compare(*words) == 0


@pytest.mark.usefixtures("undrawn")
def test_photographs_may_be_elsewhere_when_it_goes_on(tmp_path, small_file, pictures, capsys) -> None:
    out, moved = tmp_path / "out", tmp_path / "moved"
    here = ("--data", f"P={pictures}", "--test", f"T={pictures}")
    assert compare("--genotypes", small_file, *TINY, *here, "--no_latency", "--out", out) == 0
    pictures.rename(moved)
    now = ("--data", f"P={moved}", "--test", f"T={moved}")
    assert compare("--out", out, *now) == 2  # nothing would look whether they are the same
    assert "and nothing reads another: leave out --data" in capsys.readouterr().err
    assert compare("--out", out, "--seeds", 0, 1, *now[:3], f"U={moved}") == 2
    assert "was trained with test" in capsys.readouterr().err  # U, of which the first seed has no scores
    assert compare("--out", out, "--seeds", 0, 1, *now) == 0
    assert compare("--out", out) == 0  # it knows now


@pytest.mark.usefixtures("undrawn")
def test_changed_photographs_are_refused(tmp_path, small_file, pictures, capsys) -> None:
    """A seed more was trained on the new ones, and its row stood beside those of the old."""
    words = ("--genotypes", small_file, *TINY, "--data", pictures, "--no_latency", "--out", tmp_path / "out")
    assert compare(*words) == 0
    (pictures / "images/p0.png").write_bytes((pictures / "masks/p0.png").read_bytes())
    before = (tmp_path / "out/config.yaml").read_text()
    assert compare(*words, "--seeds", 0, 1) == 2
    assert "out began with another set of photographs: 4 photographs" in capsys.readouterr().err
    assert (tmp_path / "out/config.yaml").read_text() == before and compare(*words) == 0


@pytest.mark.usefixtures("undrawn")
def test_a_changed_test_set_is_refused(tmp_path, small_file, pictures, capsys) -> None:
    """Seeds that were scored on other photographs of the same names stood in one table."""
    words = ("--genotypes", small_file, *TINY, "--test", f"T={pictures}", "--no_latency", "--out", tmp_path / "out")
    assert compare(*words) == 0
    (pictures / "masks/p0.png").write_bytes((pictures / "images/p0.png").read_bytes())
    assert compare(*words, "--seeds", 0, 1) == 2
    assert "out began with another test set T: 4 photographs (" in capsys.readouterr().err
    assert compare(*words) == 0  # nothing is left to train


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("option", ["init", "backbone_weights"])
def test_weights_of_another_content_are_refused(option, tmp_path, small_file, trained, capsys) -> None:
    """A seed more started from the new ones."""
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((trained / "weights.safetensors").read_bytes())
    given = f"small={weights}" if option == "init" else weights
    words = ("--genotypes", small_file, *TINY, f"--{option}", given, "--no_latency", "--out", tmp_path / "out")
    assert compare(*words) == 0
    predictor = retrain.load(weights)
    next(predictor.network.parameters()).data += 1
    retrain.save(weights, predictor.network)
    assert compare(*words, "--seeds", 0, 1) == 2
    assert f"out began with another content of {option} {weights}: " in capsys.readouterr().err
    weights.unlink()
    assert compare(*words) == 0  # nothing is left to train


@pytest.mark.usefixtures("undrawn")
def test_a_teacher_teaches_every_network(tmp_path, small_file, trained, capsys) -> None:
    out, weights = tmp_path / "out", trained / "weights.safetensors"
    words = ("--genotypes", f"a={small_file}", f"b={small_file}", *TINY, "--no_latency", "--out")
    assert compare(*words, out, "--teacher", weights) == 0
    for label in "ab":
        config = yaml.safe_load((out / f"runs/{label}-seed0/config.yaml").read_text())
        assert config["teacher"] == str(weights)
    assert compare(*words, tmp_path / "without") == 0
    taught, alone = (load_weights(p / "runs/a-seed0/weights.safetensors")[1] for p in (out, tmp_path / "without"))
    assert any(not value.equal(alone[name]) for name, value in taught.items())
    assert compare(*words, out, "--teacher", "sod_s") == 2  # continued with another
    assert "was trained with teacher" in capsys.readouterr().err
    copy, later = tmp_path / "t.safetensors", tmp_path / "later"
    copy.write_bytes(weights.read_bytes())
    assert compare("--genotypes", f"a={small_file}", *words[3:], later, "--teacher", copy) == 0
    predictor = retrain.load(copy)
    next(predictor.network.parameters()).data += 1
    retrain.save(copy, predictor.network)
    assert compare(*words, later, "--teacher", copy) == 2  # a row more, taught by another network than the first
    assert "later began with another content of teacher " in capsys.readouterr().err
    assert compare(*words, tmp_path / "none", "--teacher", weights, "--recipe.loss.teacher", 0) == 2
    assert not (tmp_path / "none").exists()


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("kind", ["network", "maps"])
def test_a_teacher_may_lie_elsewhere_now_if_it_is_the_same(
    kind, tmp_path, small_file, trained, pictures, capsys
) -> None:
    """Records hold its path, and a seed more was refused once the folder had another name."""
    first, moved, out = tmp_path / "a.safetensors", tmp_path / "b.safetensors", tmp_path / "out"
    if kind == "maps":
        shutil.copytree(pictures / "masks", first)
    else:
        shutil.copy(trained / "weights.safetensors", first)
    words = ("--genotypes", small_file, *TINY, "--data", pictures, "--held_out", "0.3", "--no_latency", "--out", out)
    assert compare(*words, "--teacher", first) == 0
    first.rename(moved)
    assert compare(*words, "--teacher", moved) == 2  # nothing is left to train
    assert f"was trained with teacher '{first}', and nothing reads another" in capsys.readouterr().err
    assert compare(*words, "--teacher", moved, "--seeds", 0, 1) == 0
    assert (out / "runs/small-seed1/scores.json").is_file()
    if kind == "maps":
        told = "out began with another set of photographs"
        (moved / "p0.png").write_bytes((pictures / "masks/p3.png").read_bytes())
    else:
        predictor = retrain.load(moved)
        next(predictor.network.parameters()).data += 1
        retrain.save(moved, predictor.network)
        told = "was trained with teacher"
    assert compare(*words, "--teacher", moved, "--seeds", 0, 1, 2) == 2
    assert told in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_a_changed_genotype_of_the_same_name_is_refused(tmp_path, small_file, capsys) -> None:
    out, path = tmp_path / "out", tmp_path / "mine.yaml"
    path.write_bytes(small_file.read_bytes())
    assert compare("--genotypes", f"mine={path}", *TINY, "--out", out) == 0
    genotypes.save(genotypes.load("fpn_tiny"), path)
    assert compare("--genotypes", f"mine={path}", *TINY, "--out", out) == 2
    assert "holds another genotype than mine is now" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_all_trainings_see_the_same_batches(tmp_path, space_file, monkeypatch) -> None:
    from nas.task import Batches

    seen = []
    make = Batches.make

    def watch(self, batch):
        x, y = make(self, batch)
        seen.append(x.sum().item())
        return x, y

    monkeypatch.setattr(Batches, "make", watch)
    words = ("--genotypes", "fpn", "random:3", "--space", space_file, *TINY, "--out", tmp_path / "out")
    assert compare(*words) == 0
    assert seen[:3] == seen[3:] and len(set(seen[:3])) == 3


def test_entries(space_file, small_file) -> None:
    space = genotypes.load(space_file)
    entries = read_entries(("fpn_tiny", f"mine:1={small_file}", "random:7", "fpn"), str(space_file))
    assert [(e.label, e.group) for e in entries] == [
        ("fpn_tiny", "fpn_tiny"), ("mine:1", "mine"), ("random:7", "random"), ("fpn", "fpn"),
    ]  # fmt: skip
    assert entries[2].genotype == space.decide(random_choices(space.open_edges(), 7))
    pyramid = entries[3].genotype
    assert pyramid.backbone == space.backbone and pyramid.input == space.input and len(pyramid.outputs) == 3
    assert next(cell for cell in pyramid.cells if cell.template == "lateral").params["channels"] == 8


def test_random_members_of_a_space_of_whole_networks(tmp_path) -> None:
    space = compact("tiny", (4, 8), taps=("s16", "s8", "s4"), sizes=(32, 48))
    genotypes.save(space, tmp_path / "space.yaml")
    [drawn] = read_entries(("random:0",), str(tmp_path / "space.yaml"))
    assert drawn.genotype == space.decide(random_choices(space.choices(), 0, space.reaches_image))
    with pytest.raises(UserError, match=f"{len(space.choices())} choices open"):
        read_entries((str(tmp_path / "space.yaml"),))


def test_the_space_lies_beside_a_searched_genotype(space_file, tmp_path) -> None:
    space = genotypes.load(space_file)
    genotypes.save(space, tmp_path / "space.yaml")
    found = space.decide(random_choices(space.open_edges(), 0), name="found")
    genotypes.save(found, tmp_path / "genotype.yaml")
    for named in (tmp_path, tmp_path / "genotype.yaml"):  # the search's folder, or its file
        entries = read_entries((str(named), "random:0"))
        assert entries[0].genotype == entries[1].genotype == found


def training(label: str, seed: int, f: float) -> Training:
    scores = {"held_out": {"maxF": f, "MAE_raw": 1 - f}}
    cost = {"params": 10, "macs": 20, "images_per_second": 3.0, "latency_ms": None}
    return Training(label=label, group=label.split(":")[0], seed=seed, scores=scores, **cost)


def test_statistics() -> None:
    values = {("a", 0): 0.9, ("a", 1): 0.8, ("random:0", 0): 0.6, ("random:0", 1): 0.7}
    values |= {("random:1", 0): 0.5, ("random:1", 1): 0.2}
    table = {row.label: row for row in rows([training(label, seed, f) for (label, seed), f in values.items()])}
    assert list(table) == ["a", "random:0", "random", "random:1"]  # by mean maxF

    a, pooled = table["a"], table["random"]
    assert a.scores["held_out"]["maxF"].mean == pytest.approx(0.85)
    assert a.scores["held_out"]["maxF"].std == pytest.approx(statistics.stdev([0.9, 0.8]))
    # Seed 0: 0.9 - mean(0.6, 0.5); seed 1: 0.8 - mean(0.7, 0.2).
    assert a.difference["held_out"]["maxF"].mean == pytest.approx(0.35)
    assert a.difference["held_out"]["maxF"].std == pytest.approx(0.0)
    assert a.difference["held_out"]["MAE_raw"].mean == pytest.approx(-0.35)
    # Pooled: over the genotypes' means, 0.65 and 0.35.
    assert pooled.pooled and pooled.trainings == 4 and not pooled.difference["held_out"]
    assert pooled.scores["held_out"]["maxF"].mean == pytest.approx(0.5)
    assert pooled.scores["held_out"]["maxF"].std == pytest.approx(statistics.stdev([0.65, 0.35]))
    text = markdown(list(table.values()))
    tex = latex(list(table.values()))
    assert r"a & 2 & \textbf{.8500 $\pm$ .0707} & \textbf{.1500 $\pm$ .0707} & +.3500 $\pm$ .0000" in tex
    assert "| a | 2 | 0.8500 ± 0.0707 | 0.1500 ± 0.0707 | +0.3500 ± 0.0000 |" in text
    assert "**random** (all)" in text and "of (all), over its genotypes' means." in text
    assert text.rstrip().endswith("with the same seed; their ± is over seeds.")  # of a group's row, too
    upper, head, first, *_ = shown(list(table.values())).splitlines()
    assert upper.split() == ["held_out", "less", "random"]
    assert head.split()[:6] == ["genotype", "trainings", "maxF", "MAE_raw", "maxF", "MAE_raw"]
    assert first.startswith("a  ") and "0.8500 ± 0.0707  0.1500 ± 0.0707  +0.3500 ± 0.0000" in first
    assert "images/s" in text and "images/s" not in head and len(first) <= 120


def test_a_groups_difference_is_a_seeds_mean_over_its_genotypes() -> None:
    values = {("a:0", 0): 0.9, ("a:1", 0): 0.7, ("a:0", 1): 0.8, ("a:1", 1): 0.4}
    values |= {("random:0", 0): 0.5, ("random:0", 1): 0.3}
    table = {row.label: row for row in rows([training(label, seed, f) for (label, seed), f in values.items()])}
    gap = table["a"].difference["held_out"]["maxF"]
    assert table["a"].pooled and gap.count == 2  # seeds, not trainings: .8 - .5 and .6 - .3
    assert (gap.mean, gap.std) == (pytest.approx(0.3), pytest.approx(0.0))


def test_one_training_has_no_spread() -> None:
    (row,) = rows([training("a", 0, 0.5)])
    assert row.scores["held_out"]["maxF"].std is None and row.difference == {"held_out": {}}
    assert "±" not in (text := markdown([row])) and "(all)" not in text  # nor does the caption explain them
    assert "textbf" not in latex([row])  # nor is it the best of several


def test_charts_say_what_they_show() -> None:
    trainings = [training("a", 0, 0.9), training("b", 0, 0.8), training("random:0", 0, 0.85)]
    costs = {"a": (60, 3.0), "b": (20, 1.0), "random:0": (10, 2.0)}
    trainings = [dataclasses.replace(t, macs=costs[t.label][0], latency_ms=costs[t.label][1]) for t in trainings]
    macs, ms = draw_trade_off(rows(trainings)).axes
    assert [list(axes.lines[-1].get_xdata()) for axes in (macs, ms)] == [[10, 60], [1, 2, 3]]  # the fronts
    assert (macs.get_xscale(), ms.get_xscale()) == ("log", "linear")  # costs that lie a factor of six apart
    assert {text.get_text() for text in macs.texts} == {"a", "b", "random:0"}
    assert len(draw_trade_off(rows([training("a", 0, 0.9)])).axes) == 1  # no latency was measured
    (of_two_seeds,) = cost_charts(plain(rows([training("a", seed, 0.8 + 0.1 * seed) for seed in (0, 1)])), ["maxF"])
    assert of_two_seeds().axes[0].containers  # the page's charts have bars of the deviation, too
    assert "grey: random" in draw_dots(rows(trainings), trainings).get_suptitle()
    assert draw_dots(rows(trainings), trainings).get_suptitle().startswith("a dot per training (")
    assert "grey" not in draw_dots(rows(trainings[:2]), trainings[:2]).get_suptitle()


@pytest.mark.usefixtures("undrawn")
def test_weights_of_a_row_that_is_left_out_stay_for_later(tmp_path, small_file, trained, capsys) -> None:
    """`--out DIR --genotypes a` was refused for the `--init b=FILE` of the command before."""
    both, out = (f"a={small_file}", f"b={small_file}"), ("--no_latency", "--out", tmp_path / "out")
    assert compare("--genotypes", *both, *TINY, "--init", f"b={trained / 'weights.safetensors'}", *out) == 0
    assert compare("--genotypes", both[0], *out) == 0
    assert "b-seed0: trained here and not in the table" in capsys.readouterr().err
    assert compare("--genotypes", *both, *out) == 0
    assert {row["label"] for row in json.loads((tmp_path / "out/table.json").read_text())} == {"a", "b"}
    assert compare("--genotypes", both[0], "--init", "c=w", *out) == 2  # no weights of before


def test_where_each_row_starts(recwarn) -> None:
    def with_backbone(name: str) -> Entry:
        return Entry(label=name, genotype=fpn(name, 8, name=name))

    one, two, three = with_backbone("mobilenet_v2"), with_backbone("vgg16_bn"), Entry(label="bare", genotype=csnet())
    given = {"backbone_weights": ("mobilenet_v2=m.pth", "vgg16_bn=v.pth"), "init": ("bare=w.safetensors",)}
    assert starts(CompareConfig(**given), [one, two, three]) == {
        "mobilenet_v2": {"backbone_weights": "m.pth"},
        "vgg16_bn": {"backbone_weights": "v.pth"},
        "bare": {"init": "w.safetensors"},
    }
    assert starts(CompareConfig(backbone_weights=("m.pth",)), [one]) == {"mobilenet_v2": {"backbone_weights": "m.pth"}}
    init = {"mobilenet_v2": {"init": "w"}, "vgg16_bn": {"backbone_weights": "v.pth"}}
    assert starts(CompareConfig(backbone_weights=("v.pth",), init=("mobilenet_v2=w",)), [one, two]) == init
    assert starts(CompareConfig(), [one, three]) == {"mobilenet_v2": {}, "bare": {}} and not recwarn.list
    assert starts(CompareConfig(backbone_weights=("m.pth",)), [one, three])["bare"] == {}
    assert "no weights were given for bare" in str(recwarn.pop(UserNote).message)
    for wrong in (
        {"backbone_weights": ("m.pth",)},  # whose?
        {"backbone_weights": ("resnet50=r.pth",)},
        {"backbone_weights": ("vgg16_bn=a", "vgg16_bn=b")},
        {"init": ("w.safetensors",)},
        {"init": ("other=w.safetensors",)},
        {"init": ("vgg16_bn=a", "vgg16_bn=b")},  # the last was taken
    ):
        with pytest.raises(UserError, match=r"expected (BACKBONE|LABEL)=FILE"):
            starts(CompareConfig(**wrong), [one, two])


def csnet() -> genotypes.Genotype:
    return genotypes.load("csnet_l_x1")


@pytest.mark.usefixtures("undrawn")
def test_start_weights_and_a_spreadsheet(tmp_path, trained, small_file) -> None:
    from openpyxl import load_workbook

    out = tmp_path / "out"
    words = (
        "--genotypes",
        f"again={small_file}",
        f"anew={small_file}",
        *TINY,
        "--recipe.optim.lr",
        "1e-9",
        "--out",
        out,
    )
    assert compare(*words, "--recipe.ema", "0", "--init", f"again={trained / 'weights.safetensors'}", "--xlsx") == 0
    first = load_weights(trained / "weights.safetensors")[1]
    again, anew = (load_weights(out / f"runs/{label}-seed0/weights.safetensors")[1] for label in ("again", "anew"))
    name = next(name for name in first if name.startswith("cells") and name.endswith("weight"))
    assert torch.allclose(again[name], first[name], atol=1e-6) and not torch.allclose(
        anew[name], first[name], atol=1e-2
    )
    sheet = load_workbook(out / "table.xlsx")["trainings"]
    assert [row[0].value for row in sheet] == ["label", "again", "anew"]


@pytest.mark.usefixtures("undrawn")
def test_table_json_is_json(tmp_path, small_file) -> None:
    out = tmp_path / "out"
    assert compare("--genotypes", small_file, *TINY, "--out", out, "--test", "t=synthetic:2") == 0
    (row,) = json.loads((out / "table.json").read_text())
    assert row["label"] == "small" and set(row["scores"]) == {"held_out", "t"}


def test_a_genotype_may_be_called_as_a_row_of_pictures_is(tmp_path) -> None:
    strip = np.repeat(np.repeat(np.uint8([[[10]], [[20]], [[30]]]), 8, axis=0), 16, axis=1)
    Image.fromarray(np.repeat(strip, 3, axis=2)).save(tmp_path / "strip.png")
    figure = draw_pictures({"masks": tmp_path / "strip.png", "photographs": tmp_path / "strip.png"})
    shown = [(axis.get_ylabel(), int(axis.get_images()[0].get_array()[0, 0, 0])) for axis in figure.axes]
    assert shown == [("photographs", 10), ("masks", 20), ("masks", 30), ("photographs", 30)]


def test_a_label_makes_no_hidden_folder_and_no_option(small_file) -> None:
    """`.a=FILE` was trained in runs/.a-seed0, which no listing shows; an earlier random:0 must be found again."""
    labels = {".a": "a", "..": "_", "-rf": "rf", "random:0": "random-0", "ours (v2)": "ours-v2-", "a.b_c-d": "a.b_c-d"}
    texts = tuple(f"{label}={small_file}" for label in labels if not label.startswith("random"))
    found = {entry.label: entry.folder for entry in read_entries(texts)}
    assert found | {"random:0": Entry(label="random:0", genotype=fpn("tiny", 8)).folder} == labels
    with pytest.raises(UserError, match="two genotypes are called a; tell them apart"):
        read_entries((f".a={small_file}", f"a={small_file}"))
