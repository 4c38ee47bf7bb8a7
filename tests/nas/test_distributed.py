"""Several processes under torchrun: the numbers of one, one voice, one end. Needs two CPU processes and no GPU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import distributed_worker
import pytest
import torch
import torch.nn.functional as F
from tiny_search import config
from torch import nn

from nas.command import run_command
from nas.run.distributed import _batch_norm, _Enter, _is_lost_process, check_split, go_on_alone, processes, share
from nas.search import open_search
from nas.task.augmentation import Draw
from nas.task.batches import Batch
from retrain.train.__main__ import main as train

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
TRAIN = ["-m", "retrain.train", "--genotype", "fpn_tiny", "--data", "synthetic:24", "--recipe.size", "32"]
TRAIN += ["--recipe.batch_size", "4", "--quick_scores", "--evaluate_every", "2"]
LIMIT = 300


def torchrun(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    path = os.pathsep.join(map(str, (ROOT, HERE)))
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    try:
        out, errors = process.communicate(timeout=LIMIT)
    finally:
        process.kill()
    return process.returncode, out, errors


def wait_for(process: "subprocess.Popen[str]", path: Path) -> None:
    until = time.monotonic() + LIMIT
    while not path.is_file():
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.1)


def workers(process: "subprocess.Popen[str]") -> list[int]:
    """By rank: torchrun starts them in order."""
    task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return sorted(int(pid) for pid in task.read_text().split())


def test_a_torch_that_is_built_without_processes_trains_in_one(monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)
    monkeypatch.delattr(torch.distributed, "is_initialized")
    assert processes() == 1
    go_on_alone()


def test_weights_enter_a_loss_as_they_lie_in_memory():
    """A batch of one picture a process ended in torch's "grad_weight must be contiguous": heads have one channel."""
    weight = torch.ones(1, 8, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    (entered,) = _Enter.apply(weight)
    assert entered.stride() == weight.stride() == (72, 1, 24, 8)
    picture = torch.ones(1, 8, 2, 2).to(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad(F.conv2d(picture, entered, padding=1).sum(), entered)
    assert gradient[0, 0].tolist() == [[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]


@pytest.mark.slow
def test_two_processes_compute_what_one_does_and_are_refused_once(tmp_path):
    """One start for both, which takes longer than either."""
    out, refused = tmp_path / "run", [*TRAIN[2:], "--recipe.batch_size", "5"]
    process = torchrun(str(HERE / "distributed_worker.py"), str(tmp_path / "two.pt"), *refused, "--out", str(out))
    distributed_worker.run(tmp_path / "one.pt")
    code, _, errors = ended(process)
    assert code != 0
    assert errors.count("error: batch_size 5 cannot be split among 2 processes") == 1, errors
    assert not out.exists()
    one, two = (torch.load(tmp_path / f"{name}.pt") for name in ("one", "two"))
    assert one.pop("processes") == 1 and two.pop("processes") == 2
    assert one.keys() == two.keys() == distributed_worker.CASES.keys()
    for case, values in one.items():
        steps = distributed_worker.STEPS if case.startswith("train") else distributed_worker.SEARCHED
        assert len(values["train"]) == steps
        for name, expected in values.items():
            if name in ("train", "valid"):  # each step's
                torch.testing.assert_close(two[case][name], expected, rtol=1e-5, atol=0, equal_nan=True, msg=case)
            else:
                distance = (two[case][name] - expected).norm() / expected.norm().clamp_min(1e-12)
                assert distance < 1e-5, (case, name, distance)


@pytest.mark.slow
def test_one_folder_one_voice_and_an_end_that_one_process_continues(tmp_path, capsys):
    out = tmp_path / "run"
    process = torchrun(*TRAIN, "--recipe.steps", "3000", "--out", str(out))
    wait_for(process, out / "checkpoint.pt")
    process.send_signal(signal.SIGTERM)
    code, printed, errors = ended(process)
    assert code != 0
    assert errors.count("continue: --out") == 1, errors
    assert "trained" not in printed
    step = torch.load(out / "checkpoint.pt", weights_only=True)["step"]
    assert 0 < step < 3000
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    state = torch.load(out / "checkpoint.pt", weights_only=True)
    state["step"] = 2998  # nobody waits for the others
    torch.save(state, out / "checkpoint.pt")
    assert run_command(train, ["--resume", "--out", str(out)]) == 0
    assert "trained fpn_tiny: 3000 steps" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_process_ends_all_with_one_message(tmp_path):
    out = tmp_path / "run"
    process = torchrun(*TRAIN, "--recipe.steps", "3000", "--out", str(out))
    wait_for(process, out / "checkpoint.pt")
    os.kill(workers(process)[1], signal.SIGKILL)
    code, printed, errors = ended(process)
    assert code != 0
    assert errors.count("error: one of the 2 processes has ended") == 1, errors
    assert errors.count("Traceback") <= 1, errors  # torchrun's own
    assert "trained" not in printed


ASKED_TO_END = """
import os, signal
from nas.command import run_command
from nas.run.distributed import joined

def main(words):
    with joined():
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("Connection closed by peer")

raise SystemExit(run_command(main, []))
"""


def test_a_lost_process_is_told_though_torchrun_asks_to_end():
    """It does so at once; whichever came first, the error or the signal, decided what was told."""
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    command = [sys.executable, "-c", ASKED_TO_END]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | alone, capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 2 and "error: one of the 1 processes has ended" in done.stderr, done


@pytest.mark.parametrize("local, said", [("0", 1), ("1", 0)])
def test_other_commands_refuse_to_run_in_each(monkeypatch, capsys, local, said):
    for name, value in {"RANK": local, "LOCAL_RANK": local, "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    ran = []
    assert run_command(lambda argv: ran.append(1)) == 2
    assert not ran
    assert capsys.readouterr().err.count("started 2 times by torchrun") == said


def test_one_process_under_torchrun_is_a_process(monkeypatch):
    for name, value in {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    ran = []
    assert run_command(lambda argv: ran.append(1)) == 0
    assert ran


@pytest.fixture
def two(monkeypatch):
    """As if there were a second process, which is asked for nothing."""
    monkeypatch.setattr("nas.run.distributed.processes", lambda: 2)
    monkeypatch.setattr("torch.distributed.get_rank", lambda *_: 1)


def test_a_share_is_the_rows_and_nothing_of_what_belongs_to_the_batch(two):
    images, masks = torch.arange(12).view(4, 3, 1, 1), torch.arange(4).view(4, 1, 1, 1)
    part = share(Batch(images, masks, Draw(torch.tensor([True, False, True, False]), None, None, (32, 32))))
    assert isinstance(part, Batch) and isinstance(part.change, Draw)
    assert torch.equal(part.images, images[2:]) and torch.equal(part.masks, masks[2:])
    assert part.change.flipped.tolist() == [True, False]
    assert part.change.theta is None and part.change.shape == (32, 32)


def test_a_device_that_is_not_each_process_own_is_refused(two):
    check_split(4, torch.device("cpu"))
    with pytest.raises(ValueError, match="give --device cuda"):
        check_split(4, torch.device("cuda:0"))


@pytest.mark.parametrize("strategy", ["random", "optuna", "sandwich"])
def test_a_strategy_whose_steps_are_not_divided_is_refused(two, monkeypatch, strategy):
    monkeypatch.setattr("nas.search.setup.processes", lambda: 2)
    with pytest.raises(ValueError, match=f"{strategy}: its steps are not divided among processes"):
        open_search(config(strategy=strategy))


def test_alone_a_batch_norm_is_torchs(monkeypatch):
    """All but the exchange: with one process the synchronised norm must be the plain one."""
    monkeypatch.setattr("nas.run.distributed._all", lambda part: [part])
    monkeypatch.setattr("torch.distributed.all_reduce", lambda *_: None)
    torch.manual_seed(0)
    for affine in (True, False):
        results = []
        for norm in (nn.BatchNorm2d(3, affine=affine).double(), nn.BatchNorm2d(3, affine=affine).double()):
            x = torch.randn(4, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3 + 2
            x.requires_grad_()
            if results:
                out = _batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias, True, 0.1, 1e-5)
            else:
                out = norm(x)
            out.pow(3).sum().backward()
            grads = [x.grad, *(p.grad for p in norm.parameters())]
            results.append([out, norm.running_mean, norm.running_var, *grads])
        for plain, ours in zip(*results, strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)


def test_only_the_loss_of_a_process_counts_as_one():
    assert _is_lost_process(RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1"))
    assert not _is_lost_process(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert processes() == 1
