"""Runtimes: whatever computes a map, it is the same to a level of grey, and the same bytes in every command."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image

import retrain
from genotypes import UserError
from nas.command import run_command
from nas.deploy import RUNTIMES
from retrain.evaluate.__main__ import main as evaluate
from retrain.predict.__main__ import main as predict
from retrain.predictor import Predictor, tell_times


def _installed(runtime: str) -> None:
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    pytest.importorskip(runtime, reason=f"needs {runtime}")


@pytest.fixture(params=RUNTIMES[1:])
def runtime(request) -> str:
    _installed(request.param)
    return request.param


def _maps(folder) -> dict[str, np.ndarray]:
    return {file.name: np.asarray(Image.open(file), int) for file in sorted(folder.glob("*.png"))}


def test_predict_and_evaluate_give_one_map_whatever_the_batch(shallow, pictures, tmp_path, runtime) -> None:
    weights = ["--weights", f"w={shallow}", "--runtime", runtime]
    data = ["--data", f"P={pictures}", "--quick", "--workers", "0", "--maps", "--batch-size", "1"]
    assert run_command(evaluate, [*weights, *data, "-o", str(tmp_path / "report")]) == 0
    weights[1] = str(shallow)
    assert run_command(predict, [str(pictures / "images"), *weights, "-o", str(tmp_path / "maps")]) == 0
    assert run_command(predict, [str(pictures / "images"), *weights[:2], "-o", str(tmp_path / "torch")]) == 0
    scored, written, torchs = (_maps(tmp_path / folder) for folder in ("report/maps/w/P", "maps", "torch"))
    assert len(written) == 4 == len(scored)
    for name, saliency in written.items():
        assert (saliency == scored[name]).all()
        assert np.abs(saliency - torchs[name]).max() <= 1 and len(np.unique(saliency)) > 8


@pytest.mark.exports
def test_other_sizes_than_its_own(shallow) -> None:
    _installed(runtime := "onnxruntime")
    eager, deployed = (retrain.load(shallow, runtime=word) for word in ("torch", runtime))
    for batch, size in ((3, (32, 32)), (2, (45, 77)), (1, (64, 33))):
        x = torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(deployed.logits(x), eager.logits(x), rtol=1e-4, atol=1e-4)
        assert torch.equal(deployed.logits(x)[:1], deployed.logits(x[:1]))


def test_auto_takes_the_fastest_that_is_installed_and_says_so(shallow, monkeypatch, capsys) -> None:
    from nas.cost import clock

    _installed(runtime := "onnxruntime")
    slow = {name: float(name != runtime) for name in RUNTIMES}
    monkeypatch.setattr(clock, "milliseconds", lambda calls, **_: {name: 1 + slow[name] for name in calls})
    predictor = retrain.load(shallow, runtime="auto")
    assert predictor.runtime == runtime and predictor.times["torch"] == 2
    tell_times(predictor)
    assert capsys.readouterr().err.startswith(f"runtime {runtime} 1.0 ms a picture of ")
    assert len(np.unique(predictor(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)))) > 8


def test_a_runtime_that_cannot_be_is_refused(shallow, pictures, tmp_path, monkeypatch, capsys) -> None:
    _installed("onnxruntime")
    with pytest.raises(UserError, match="onnxruntime computes in fp32, not in bf16"):
        retrain.load(shallow, runtime="onnxruntime", precision="bf16")
    network = retrain.load(shallow).network
    with pytest.raises(UserError, match="onnxruntime is for the CPU; on meta it is torch"):
        Predictor(network, "meta", runtime="onnxruntime")
    words = [str(pictures / "images"), "--weights", str(shallow), "-o", str(tmp_path / "maps")]
    assert run_command(predict, [*words, "--runtime", "tflite"]) == 2
    assert "openvino" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert run_command(predict, [*words, "--runtime", "onnxruntime"]) == 2
    assert "pip install 'sod-nas[export]'" in capsys.readouterr().err and not (tmp_path / "maps").exists()


def test_a_runtime_is_called_from_threads_and_goes_to_other_processes(shallow, runtime) -> None:
    predictor = retrain.load(shallow, runtime=runtime)
    pictures = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = predictor.logits(pictures)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            found = list(pool.map(predictor.logits, pictures[:, None]))
            assert torch.equal(torch.cat(found), expected)
    there = pickle.loads(pickle.dumps(predictor))
    assert there.runtime == runtime and torch.equal(there.logits(pictures), expected)
