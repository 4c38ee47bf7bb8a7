"""Studies of a recipe: what may be tried, what is found, how a study goes on."""

import csv
import re
from dataclasses import replace

import pytest

import retrain
from genotypes import UserError
from nas.command import run_command
from nas.options import changed_of, plain
from nas.trials import Trial, Trials, run_trials
from retrain import Recipe
from retrain.recipe import load_recipe
from retrain.train import open_training
from retrain.tune import candidates, changed, study
from retrain.tune.__main__ import main

SMALL = ("--recipe.size", "32", "--recipe.batch_size", "4", "--recipe.steps", "3", "--recipe.masks", "nearest")
TINY = ("--data", "synthetic:24", *SMALL)


def command(*words: object) -> int:
    return run_command(main, [str(word) for word in words])


def test_what_may_be_tried() -> None:
    texts = (
        "optim.lr=1e-4..1e-2:3",
        "loss.terms.iou=0,0.5",
        "size=64,96",
        "optim.schedule=poly,cosine",
        "ema=0.9..0.99",
    )
    found = candidates(texts, Recipe())
    assert found["optim.lr"] == [1e-4, 1e-3, 1e-2] and found["loss.terms.iou"] == [0.0, 0.5]
    assert found["size"] == [64, 96] and found["optim.schedule"] == ["poly", "cosine"]
    assert len(found["ema"]) == 9 and found["ema"][0] == 0.9 and found["ema"][-1] == 0.99
    both = changed(Recipe(), {"optim.lr": 0.5, "loss.terms.iou": 0.0, "size": 96})
    assert both == Recipe(
        size=96,
        optim=replace(Recipe().optim, lr=0.5),
        loss=replace(Recipe().loss, terms={"bce": 1.0, "iou": 0}),
    )
    for wrong, message in (
        ((), "give --search"),
        (("optim.lr",), "expected FIELD="),
        (("optim.lr=1..2:1000000000",), "each field once; COUNT in LOW..HIGH:COUNT is 2 to 1,000"),
        (("optim.lr=2..1",), "expected FIELD=A,B,C or FIELD=LOW..HIGH, LOW above 0 and below HIGH, each"),
        (("size=64", "size=96"), "each field once"),
        (("size=64,8",), "size must be 32"),
        (("optim.speed=1,2",), "unknown key 'optim.speed'"),
        (("optim.lr=fast",), "expected a number"),
        (("size=0100,1:30",), "expected FIELD="),  # they were 64 and 90
    ):
        with pytest.raises(UserError, match=message):
            candidates(wrong, Recipe())


def test_a_study_finds_the_better_setting_and_may_be_extended(tmp_path, small_file, monkeypatch, capsys) -> None:
    out = tmp_path / "out"
    words = (
        "--genotype",
        small_file,
        "--search",
        "optim.lr=1e-2,1e30",
        "size=32,48",
        *TINY,
        "--out",
        out,
        "--held_out",
        "0.2",
        "--held_out_limit",
        "2",
    )
    judged, evaluate = [], study.evaluate

    def judge(predict, photos, **options):
        judged.append((options["size"], photos.images.shape[-1]))
        return evaluate(predict, photos, **options)

    monkeypatch.setattr(study, "evaluate", judge)
    assert command(*words, "--trials.count", "2", "--sampler", "random") == 0
    told = capsys.readouterr().out
    assert "best    optim.lr 0.01" in told and re.search(r"\(trial \d in trials.csv, \d tried\)", told)
    recipe = out / "recipe.yaml"
    assert f"retrain.train --genotype {small_file} --recipe {recipe} --data synthetic:24 --held_out 0.2\n" in told
    first = (out / "trials.csv").read_text().splitlines()
    assert len(first) == 3

    scored = []
    monkeypatch.setattr(study, "run_trials", _counting(scored))
    assert command("--out", out, "--trials.count", "4") == 0
    assert len(scored) == 2  # the others are there already
    rows = list(csv.DictReader((out / "trials.csv").read_text().splitlines()))
    assert [row["optim.lr"] for row in rows].count("1e+30") == 2 and len(rows) == 4
    assert sorted(judged) == [(32, 48), (48, 48)]  # each at its size, on masks of the largest
    best = min(rows, key=lambda row: float(row["MAE_raw"]))
    assert best["optim.lr"] == "0.01"
    recipe = load_recipe(str(out / "recipe.yaml"))
    assert recipe.optim.lr == 0.01 and recipe.size == int(best["size"]) and recipe.steps == 3
    assert len((out / "table.md").read_text().splitlines()) == 6

    assert command("--out", out, "--trials.count", "3") == 2
    assert command("--out", out, "--recipe.steps", "5") == 2
    told = capsys.readouterr().err
    assert "trials.count can only rise" in told and "a study with recipe.steps 3, not 5" in told


def test_changed_photographs_are_refused(tmp_path, small_file, pictures, capsys) -> None:
    """Their name and number alone were compared: trials on both became one table."""
    words = ("--genotype", small_file, "--search", "optim.lr=1e-3,1e-2", *SMALL, "--data", pictures)
    assert command(*words, "--trials.count", "1", "--out", tmp_path / "out") == 0
    (pictures / "images/p0.png").write_bytes((pictures / "masks/p0.png").read_bytes())
    assert command("--out", tmp_path / "out", "--trials.count", "2") == 2
    assert "out began with another set of photographs: 4 photographs" in capsys.readouterr().err
    assert "count: 1\n" in (tmp_path / "out/config.yaml").read_text()


@pytest.mark.parametrize("option", ["init", "backbone_weights"])
def test_weights_of_another_content_are_refused(option, tmp_path, small_file, trained, capsys) -> None:
    """Their path alone was compared: trials from both became one table."""
    weights = tmp_path / "w.safetensors"
    weights.write_bytes((trained / "weights.safetensors").read_bytes())
    words = ("--genotype", small_file, "--search", "optim.lr=1e-3,1e-2", *TINY, f"--{option}", weights)
    assert command(*words, "--trials.count", "1", "--out", tmp_path / "out") == 0
    predictor = retrain.load(weights)
    next(predictor.network.parameters()).data += 1
    retrain.save(weights, predictor.network)
    assert command("--out", tmp_path / "out", "--trials.count", "2") == 2
    assert f"out began with another content of {option}: " in capsys.readouterr().err
    assert "count: 1\n" in (tmp_path / "out/config.yaml").read_text()


def test_a_teacher_and_its_share_are_tried(tmp_path, small_file, trained, monkeypatch, pages_made, capsys) -> None:
    """A trial without a share of it is one without a teacher, as a training would have it."""
    teachers = []

    def opened(config, **given):
        teachers.append((config.recipe.loss.teacher, config.teacher))
        return open_training(config, **given)

    monkeypatch.setattr(study, "open_training", opened)
    out, weights = tmp_path / "out", str(trained / "weights.safetensors")
    words = ("--genotype", small_file, *TINY, "--teacher", weights, "--sampler", "random", "--trials.count", "2")
    assert command(*words, "--search", "loss.teacher=0,0.5", "--seed", "3", "--out", out) == 0
    assert set(teachers) == {(0.0, None), (0.5, weights)}
    found = load_recipe(str(out / "recipe.yaml"))
    told = f" --teacher {weights}" in capsys.readouterr().out
    assert told == (found.loss.teacher > 0) == (f"--teacher {weights}" in (out / "report.html").read_text())
    assert command(*words, "--search", "loss.teacher=0", "--out", tmp_path / "none") == 2
    assert "its maps have no share in the loss" in capsys.readouterr().err
    trained_again = retrain.load(weights)
    next(trained_again.network.parameters()).data += 1
    copy = tmp_path / "t.safetensors"
    copy.write_bytes((trained / "weights.safetensors").read_bytes())
    words = ("--genotype", small_file, *TINY, "--teacher", copy, "--search", "ema=0,0.9", "--out", tmp_path / "later")
    assert command(*words, "--trials.count", "1") == 0
    (tmp_path / "elsewhere").mkdir()
    copy = copy.rename(tmp_path / "elsewhere" / copy.name)
    words = (*words, "--teacher", copy)
    assert command(*words, "--trials.count", "2") == 0  # the same teacher: what lies where is no setting
    retrain.save(copy, trained_again.network)
    assert command(*words, "--trials.count", "2") == 2
    assert "later began with another content of teacher: " in capsys.readouterr().err


def test_looks_at_a_trial_score_a_part_and_its_end_all(tmp_path, small_file, monkeypatch) -> None:
    """A look at all 1,055 held-out photographs of DUTS-TR, five times a trial, took longer than many a training."""
    looked, judged, steps = [], [], []
    held_out_of, evaluate, fit = study.held_out_of, study.evaluate, study.fit

    def look(*given):
        looked.append(len(held_out_of(*given).samples.rows))
        return held_out_of(*given)

    def judge(predict, photos, **options):
        judged.append(len(photos))
        return evaluate(predict, photos, **options)

    def trained(trainer, row, *, at):
        steps.append([step for step in range(1, 11) if at(step)])
        fit(trainer, row, at=at)

    monkeypatch.setattr(study, "held_out_of", look)
    monkeypatch.setattr(study, "evaluate", judge)
    monkeypatch.setattr(study, "fit", trained)
    words = ("--genotype", small_file, "--search", "optim.lr=1e-3,1e-2", *TINY, "--held_out", "0.2")
    assert (
        command(
            *words, "--held_out_limit", "2", "--evaluate_every", "4", "--trials.count", "1", "--out", tmp_path / "out"
        )
        == 0
    )
    assert looked == [2] and judged == [5] and steps == [[4, 8]]


def _counting(scored: list):
    def run(space, score, *rest, **options):
        told = plain(options["scored"], changed_of)
        recipe = {"size": 32, "batch_size": 4, "steps": 3, "masks": "nearest"}
        assert told["tuning"] == {
            "held_out": 0.2,
            "recipe": recipe,
        }  # no option at its default: further ones leave a study its name
        assert told["photographs"] == ["synthetic", 24] and told.keys() == {"tuning", "genotype", "photographs"}
        return run_trials(space, lambda *given: scored.append(given) or score(*given), *rest, **options)

    return run


def test_the_page_of_a_study(tmp_path, small_file, pages_made, monkeypatch) -> None:
    out, judged, evaluate = tmp_path / "out", [], study.evaluate
    monkeypatch.setattr(
        study, "evaluate", lambda *given, **named: judged.append(evaluate(*given, **named)) or judged[-1]
    )
    words = ("--genotype", small_file, "--search", "optim.lr=1e-3,1e-2", *TINY, "--objective", "maxF")
    assert command(*words, "--trials.count", "2", "--pruner", "median", "--out", out) == 0
    rows = list(csv.DictReader((out / "trials.csv").read_text().splitlines()))
    assert [float(row["1 - maxF"]) for row in rows] == [1 - one.scores.maxF for one in judged]  # the smaller the better
    page = (out / "report.html").read_text()
    assert "What the settings led to" in page and "1 - maxF" in page and "2 of 2" in page
    # The command that trains with what was found, on the same photographs.
    assert f"--recipe {out}/recipe.yaml --data synthetic:24 --data_seed 0 --held_out 0.1 --device cpu" in page


def test_what_is_wrong_shows_before_a_folder_is_made(tmp_path, small_file, capsys) -> None:
    """A folder with a wrong configuration would refuse the right one."""
    out = tmp_path / "out"
    words = ("--genotype", small_file, *SMALL, "--trials.count", "1", "--out", out, "--search")
    for wrong, message in (
        (("optim.lr=1e-3", "--data", tmp_path / "nowhere"), "no such folder"),
        (("optim.lr=1e-3", "--genotype", "nothing"), "no genotype of that name"),
        (("optim.lr=1e-3", "--evaluate_every", "-3"), "evaluate_every must be at least 0"),
        (
            ("optim.lr=1e-3", "--data", "synthetic:24", "--recipe.optim.groups", "[{match: cellar}]"),
            "'cellar' matches no parameter",
        ),
        (("dynamic_decay=0,0.1", "--data", "synthetic:24"), "--search dynamic_decay: 0.1: .*has none"),
        (("steps=2,3", "epochs=1,2", "--data", "synthetic:24"), "no values go together: .*give steps or epochs"),
    ):
        assert command(*words, *wrong) == 2
        assert re.search(message, capsys.readouterr().err)
        assert not out.exists()
    assert command(*words, "optim.lr=1e-3", "--data", "synthetic:24") == 0


def test_values_that_do_not_go_together_are_not_tried(tmp_path, small_file) -> None:
    out = tmp_path / "out"
    words = ("--genotype", small_file, *TINY, "--recipe.batch_size", "8", "--trials.count", "4", "--sampler", "random")
    assert command(*words, "--search", "batch_size=2,4,8", "passes=1,4", "--out", out) == 0
    rows = list(csv.DictReader((out / "trials.csv").read_text().splitlines()))
    tried = {(row["batch_size"], row["passes"]) for row in rows}
    assert len(rows) == 4 and tried == {("2", "1"), ("4", "1"), ("8", "1"), ("8", "4")}
    # 4 passes do not divide 2 images, and of 4 images each would be alone, which norms cannot have.


def test_a_value_given_twice_is_tried_once() -> None:
    found = candidates(("optim.lr=4e-3,0.004,1e-3", "ema=0.9..0.901", "batch_size=4..16:3"), Recipe())
    assert found["optim.lr"] == [0.004, 0.001] and found["ema"] == [0.9, 0.901]
    assert found["batch_size"] == [4, 8, 16]
    with pytest.raises(UserError, match="holds several values"):
        candidates(("augment.scales=[0.75],[1.0]",), Recipe())


def test_the_ends_of_a_range_are_as_given() -> None:
    """Of three digits as the others: 4100 steps were tried of 1000..4096, and a size of 1020, which is no 1024."""
    found = candidates(("steps=1000..4096:3", "size=64..1024:3", "ema=0.98765..0.98775:3"), Recipe())
    assert found == {"steps": [1000, 2020, 4096], "size": [64, 256, 1024], "ema": [0.98765, 0.98775]}


def test_what_counts_is_tried_in_whole_numbers() -> None:
    """size=32..64:3 was refused for 45.3, which nobody had typed."""
    found = candidates(("size=32..64:3", "steps=1..3:4", "ema=0.5..0.98:3"), Recipe())
    assert found == {"size": [32, 45, 64], "steps": [1, 2, 3], "ema": [0.5, 0.7, 0.98]}


def test_the_table_has_the_best_first_and_what_was_not_finished_last() -> None:
    """Whatever a trial that was ended early had reached: it was not scored as the others."""
    values = {"pruned": (0.1,), "complete": (0.2,), "running": ()}
    states = ["pruned", "running", "complete", "complete"]
    trials = [Trial(number=n, state=s, choices={"ema": n / 10}, values=values[s]) for n, s in enumerate(states)]
    trials.append(Trial(number=4, state="complete", choices={"ema": 0.4}, values=(0.15,)))
    lines = study.markdown(Trials(trials=tuple(trials), objectives=("MAE_raw",)), {"ema": []}).splitlines()
    assert lines[0] == "| trial | state | MAE_raw | ema |"
    assert lines[2] == "| 4 | complete | 0.1500 | 0.4 |" and lines[-1] == "| 1 | running |  | 0.1 |"
    assert [int(line.split()[1]) for line in lines[2:]] == [4, 2, 3, 0, 1]


def test_no_recipe_is_made_of_trials_that_all_diverged(tmp_path, small_file, capsys) -> None:
    out = tmp_path / "out"
    words = ("--genotype", small_file, *TINY, "--search", "optim.lr=1e30,1e35", "--trials.count", "2", "--out", out)
    assert command(*words) == 2
    assert "every trial diverged" in capsys.readouterr().err
    assert (out / "table.md").is_file() and not (out / "recipe.yaml").exists()


def test_resume_goes_on_here_too(tmp_path, small_file, capsys) -> None:
    out = tmp_path / "out"
    assert command("--genotype", small_file, *TINY, "--search", "ema=0,0.9", "--trials.count", "1", "--out", out) == 0
    assert command("--out", out, "--resume", "--workers", "1") == 0  # another machine may have more of them
    assert command("--out", out, "--data", "synthetic:30") == 2
    assert "out began with another set of photographs: 24 photographs" in capsys.readouterr().err
    assert command("--out", out, "--data", "synthetic=synthetic:24", "--cache", tmp_path / "cache") == 0  # moved
    assert "data: synthetic=synthetic:24" in (out / "config.yaml").read_text()
    assert command("--out", tmp_path / "new", "--resume", "--genotype", small_file, "--search", "ema=0,0.9") == 2
    assert "no study to continue" in capsys.readouterr().err
