"""The researcher's table: five designs on one backbone, by one command, here at the size of a stamp."""

import os
import subprocess
from pathlib import Path

import pytest
import torch

import genotypes
from nas.command import run_command
from nas.network import build
from retrain.compare.__main__ import main
from search_spaces import fpn, minet

ROOT = Path(__file__).resolve().parents[2]
DESIGNS = ROOT / "benchmarks/researchers_table"


def load(name: str) -> genotypes.Genotype:
    return genotypes.load(DESIGNS / f"{name}.yaml")


def test_they_are_the_designs_they_are_called() -> None:
    plain = load("fpn")
    for name in ("auto_msfnet", "minet", "csnet_head"):
        assert load(name).input == plain.input and set(load(name).backbone.taps) == set(plain.backbone.taps)
    how = {"taps": plain.backbone.taps, "input": plain.input, "backbone_options": {"padding": "tf_same"}}
    assert plain == fpn("mobilenet_v2", 32, **how)
    assert load("minet") == minet("mobilenet_v2", 32, None, internal=32, **how)
    released = genotypes.load("auto_msfnet_resnet50")
    assert load("auto_msfnet").graph.operations() == released.graph.operations()


@pytest.mark.slow
def test_one_command_makes_table_and_plots(pictures: Path, tmp_path: Path) -> None:
    weights, out, python = tmp_path / "mobilenet_v2.pth", tmp_path / "out", tmp_path / "python"
    torch.save(build(load("fpn")).backbone.state_dict(), weights)
    python.write_text(
        "#!/bin/sh\nprintf '%s\\n' \"$@\"\n"
    )  # what the script would run, to be run here: imports take long
    python.chmod(0o755)
    command = [ROOT / "benchmarks/researchers_table.sh", pictures, pictures, weights, out, "--recipe.size", "32"]
    command += ["--recipe.epochs", "0", "--recipe.steps", "1", "--recipe.batch_size", "2", "--workers", "0"]
    env = os.environ | {"PYTHON": str(python), "SEEDS": "0"}
    told = subprocess.run(
        [*map(str, command), "--test_limit", "2"], env=env, capture_output=True, text=True, check=True
    )
    option, module, *words = told.stdout.splitlines()
    assert (option, module) == ("-m", "retrain.compare") and run_command(main, words) == 0
    table = (out / "table.tex").read_text()
    for name in ("auto\\_msfnet", "minet", "csnet\\_head", "fpn", "searched"):
        assert f"\n{name} & 1 & " in table
    assert "ECSSD maxF" in table and r"\textbf{" in table
    assert (out / "trade_off.pdf").stat().st_size > 0 and (out / "photographs.png").stat().st_size > 0
