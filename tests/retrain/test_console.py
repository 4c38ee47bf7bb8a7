"""`sod-nas`: one name for every command, loaded when it is called."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from nas.command import as_started
from nas.console import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_it_is_installed_under_its_name():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or later")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"sod-nas": "nas.console:main"}


def test_the_table_holds_every_command(capsys):
    modules = {
        path.parent.relative_to(ROOT) for room in ("nas", "retrain") for path in (ROOT / room).rglob("__main__.py")
    }
    files = {"retrain.data", "nas.benchmark.gate"}
    assert {".".join(path.parts) for path in modules} | files == {module for module, _ in COMMANDS.values()}
    assert main([]) == main(["--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in (*COMMANDS, "runs", "info", "completion"):
        assert any(line.split()[:1] == [name] for line in lines)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    assert find_spec(COMMANDS[name][0])
    try:
        code = main([name, "--help"])
    except SystemExit as end:
        code = end.code
    told = capsys.readouterr().out
    assert not code and told.startswith(f"sod-nas {name} ")
    assert "python -m" not in told  # which pipx leaves no way to type


@pytest.mark.parametrize("name", ["runs", "info", "completion"])
def test_what_has_no_options_explains_itself_too(name, capsys):
    assert main([name, "--help"]) == main([name, "-h"]) == 0
    assert f"sod-nas {name}" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_shell_completes(tmp_path, capsys):
    assert main(["completion", "bash"]) == 2
    assert "takes no options, not 'bash'; its --help says where" in capsys.readouterr().err
    assert main(["completion"]) == 0
    (tmp_path / "completion").write_text(capsys.readouterr().out)

    def completed(*words: str) -> set[str]:
        code = f"source completion; COMP_WORDS=({' '.join(words)!s}); COMP_CWORD={len(words) - 1}; _sod_nas; "
        done = subprocess.run(
            ["bash", "-c", code + 'echo "${COMPREPLY[@]}"'], cwd=tmp_path, capture_output=True, text=True
        )
        assert not done.stderr
        return set(done.stdout.split())

    assert completed("sod-nas", "pr") == {"predict", "prune"}
    assert completed("sod-nas", "predict", "--ov") == {"--overlay", "--overwrite"}
    assert "--strategy.lr" in completed("sod-nas", "search", "--") and "--resume" in completed(
        "sod-nas", "train", "--res"
    )
    assert completed("sod-nas", "predict", "pho") == set()  # files, by the shell itself


def test_help_loads_no_torch():
    code = "import sys, nas.console as c; c.main(['--help']); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=120).returncode == 0


def test_info_and_runs(trained, tmp_path, capsys):
    trained = Path(shutil.copytree(trained, tmp_path / "runs" / "a"))
    (trained / "config.yaml").write_text("genotype: small\nrecipe: {steps: 6}\n")
    assert main(["info"]) == 0
    told = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert {"python", "packages", "extras"} <= told.keys()
    assert {"torch", "pillow", "optuna"} <= {package.split()[0] for package in told["packages"].split(", ")}
    assert main(["runs", str(trained.parent)]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["run", "kind", "state", "what", "score"]
    assert row.startswith(str(trained)) and "training" in row and "finished" in row and "maxF" in row
    assert " small " in row and "held_out" not in row
    (trained / "weights.safetensors").unlink()
    assert main(["runs", str(trained.parent)]) == 0
    assert "at step 6 of 6" in capsys.readouterr().out


def test_runs_tells_what_a_search_found_and_how_far_a_comparison_came(tmp_path, capsys):
    space = "space: {name: fusion_cells, backbone: tiny}\ndata: DUTS=/data/DUTS-TR\n"
    found = {"search/config.yaml": f"strategy: {{name: darts}}\nsteps: 2\n{space}", "search/genotype.yaml": ""}
    found |= {"search/history.csv": "step,held_out_maxF\n2,0.9\n"}
    found |= {"search/scores.json": '{"found": {"genotype": "x", "loss": 2.5, "maxF": 0.5}}'}
    found |= {
        "two/config.yaml": "genotypes: [a=x/y.yaml, runs/b/genotype.yaml]\nseeds: [0]\n",
        "two/table.md": "",
        "two/table.json": json.dumps([{"scores": {"held_out": {"maxF": {"mean": 0.75}, "MAE_raw": {"mean": 0.125}}}}]),
        "two/trainings.csv": "label,seed\na,0\n",
    }
    for name, text in found.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert main(["runs", str(tmp_path)]) == 0
    search, two = sorted(capsys.readouterr().out.splitlines()[1:])
    assert re.split("  +", search)[2:] == ["finished", "darts fusion_cells tiny; DUTS", "loss 2.5000, maxF 0.5000"]
    assert re.split("  +", two)[2:] == ["1 of 2 trainings", "a, b", "maxF 0.7500, MAE_raw 0.1250"]
    (tmp_path / "two/trainings.csv").write_text("label,seed\na,0\nb,0\n")
    assert main(["runs", str(tmp_path / "two")]) == 0
    assert "finished" in capsys.readouterr().out


def test_runs_calls_paths_with_equals_signs_by_their_names(tmp_path, capsys):
    """Folders of a sweep are called so."""
    for name, text in {
        "a": "genotype: runs/lr=0.1/genotype.yaml\ndata: /photos/fold=1\n",
        "b": "genotypes: [runs/lr=0.1/genotype.yaml, x=runs/lr=0.2]\ndata: D=/photos/fold=1\n",
        "c": "genotype: lr=0.1.yaml\n",
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    assert main(["runs", str(tmp_path)]) == 0
    rows = sorted(re.split("  +", line.rstrip()) for line in capsys.readouterr().out.splitlines()[1:])
    assert [row[3] for row in rows] == ["lr=0.1; fold=1", "lr=0.1, x; D", "lr=0.1"]


def test_labels_that_look_like_numbers_are_counted_as_they_are_written(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("genotypes: [16=a.yaml, 016=b.yaml, nan=c.yaml]\nseeds: [0]\n")
    rows = ["label,seed,set", *(f"{label},0,{name}" for label in ("nan", "16") for name in ("held_out", "T"))]
    for more, state in ((), "2 of 3 trainings"), (["016,0,held_out", "016,0,T"], "finished"):
        (tmp_path / "trainings.csv").write_text("\n".join([*rows, *more, ""]))
        (tmp_path / "table.md").touch()
        assert main(["runs", str(tmp_path)]) == 0
        assert state in capsys.readouterr().out


@pytest.mark.parametrize("scores", ["7", "[1, 2]", '{"found": 5}'])
def test_runs_lists_beside_a_run_whose_scores_someone_changed(scores, tmp_path, capsys):
    for name in ("changed", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("strategy: darts\n")
        (tmp_path / name / "genotype.yaml").touch()
    (tmp_path / "changed" / "scores.json").write_text(scores)
    assert main(["runs", str(tmp_path)]) == 0
    told = {line.split()[0]: line.split()[1] for line in capsys.readouterr().out.splitlines()}
    assert (told[str(tmp_path / "changed")], told[str(tmp_path / "other")]) == ("?", "search")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["serach"], "unknown command 'serach'; there are: search"),
        (["runs", "nowhere"], "nowhere"),
        (["runs", ""], "usage: sod-nas runs"),
        (["info", "x"], "'x'"),
    ],
)
def test_user_errors(words, message, capsys):
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_what_is_half_done_is_not_finished(trained, tmp_path, capsys):
    """A comparison has a table after its first training, and an extended study a recipe of before."""
    runs = tmp_path / "runs"

    def state(folder: Path) -> str:
        assert main(["runs", str(folder)]) == 0
        return capsys.readouterr().out.splitlines()[1]

    comparison = runs / "c"
    comparison.mkdir(parents=True)
    (comparison / "config.yaml").write_text("genotypes: [a=x/y.yaml, runs/b/genotype.yaml]\nseeds: [1]\n")
    (comparison / "table.md").write_text("| a |")
    # Of seed 0 all are there, from before; of seed 1 one is.
    (comparison / "trainings.csv").write_text("label,seed,set\na,0,held_out\nb,0,held_out\na,1,held_out\na,1,ECSSD\n")
    assert "1 of 2 trainings" in state(comparison)
    with open(comparison / "trainings.csv", "a") as file:
        file.write("b,1,held_out\n")
    assert "finished" in state(comparison)

    study = runs / "t"
    study.mkdir()
    (study / "config.yaml").write_text("search: [ema=0]\ntrials: {count: 3}\n")
    (study / "recipe.yaml").write_text("ema: 0\n")
    (study / "trials.csv").write_text("number,state,MAE_raw\n0,complete,0.1\n1,pruned,0.2\n2,running,\n")
    assert "2 of 3 trials" in state(study)

    training = Path(shutil.copytree(trained, runs / "a"))
    (training / "config.yaml").write_text("genotype: small\nrecipe: {steps: 6}\n")
    (training / "scores.json").unlink()  # interrupted while it scored
    assert "at step 6 of 6" in state(training)
    (training / "history.csv").unlink()  # stopped before its first evaluation
    assert "begun" in state(training) and "at step" not in state(training)


@pytest.mark.usefixtures("pages_made")
def test_commands_that_are_told_are_this_one(tmp_path, capsys):
    """After `pipx install` no Python at hand knows the modules."""
    plugin = tmp_path / "mine.py"
    plugin.touch()
    words = ["train", "--genotype", "fpn_tiny", "--data", "synthetic:8", "--size", "32", "--steps", "2"]
    assert main([*words, "--plugin", str(plugin), "--out", str(tmp_path / "a")]) == 0
    assert f"next    sod-nas predict --plugin {plugin} --weights " in capsys.readouterr().out
    page = (tmp_path / "a/report.html").read_text()
    assert f"sod-nas report --plugin {plugin} " in page and "python -m nas.report" not in page
    assert main([*words, "--out", str(tmp_path / "b")]) == 0 and "--plugin" not in capsys.readouterr().out
    assert as_started("python -m nas.report a") == "python -m nas.report a"
    words = ["--genotype", "fpn_tiny", "--data", "synthetic:8", "--recipe.size", "32", "--recipe.steps", "1"]
    assert main(["tune", *words, "--search", "ema=0,0.9", "--trials.count", "1", "--out", str(tmp_path / "c")]) == 0
    assert "next    sod-nas train --genotype" in capsys.readouterr().out
