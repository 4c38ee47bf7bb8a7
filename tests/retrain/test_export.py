"""`retrain.export`: files that run where this package and torch are absent, with their README's own code."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import genotypes
import retrain
from genotypes import UserError
from nas.command import run_command
from nas.deploy import PictureNetwork
from nas.task import open_photos
from retrain.export import FORMATS, Exported, ExportRow, export
from retrain.export.__main__ import main
from retrain.export.exporting import _Bench, _choose
from retrain.export.quantising import open_photographs, open_scored

onnx = pytest.importorskip("onnx", reason="needs the extra `export`: pip install 'sod-nas[export]'")
pytest.importorskip("onnxruntime", reason="needs the extra `export`")
pytest.importorskip("onnxscript", reason="needs the extra `export`")


@pytest.fixture(scope="module")
def weights(shallow: Path) -> Path:
    return shallow


@pytest.fixture(scope="module")
def exported(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written by the command, with all formats that are installed here, and int8."""
    folder = tmp_path_factory.mktemp("exported") / "deployed"
    words = ["--weights", str(weights), "-o", str(folder), "--calibrate", "synthetic:20", "--size", "48,64"]
    assert run_command(main, words) == 0
    return folder


@pytest.mark.exports
def test_every_file_is_checked_timed_and_listed(exported, weights):
    made = json.loads((exported / "export.json").read_text())
    rows = {row["name"]: row for row in made["rows"]}
    assert {"network", "model.onnx", "model_fp16.onnx", "model_int8.onnx", "model.pt2"} <= rows.keys()
    for name, row in rows.items():
        assert row["ms"] > 0
        if (file := exported / name).suffix in (".onnx", ".pt2"):  # OpenVINO's weights, beside, are none of theirs
            assert row["megabytes"] == file.stat().st_size / 1e6
    assert rows["model.onnx"]["difference"] <= 1e-4 and rows["model.pt2"]["difference"] <= 1e-4
    assert 0 < rows["model_fp16.onnx"]["difference"] < rows["model_int8.onnx"]["difference"] < 0.2
    for name in ("network", "model_fp16.onnx", "model_int8.onnx"):
        assert 0 <= rows[name]["maxF"] <= 1 and 0 <= rows[name]["MAE_raw"] <= 1
    genotype = genotypes.load(exported / "genotype.yaml")
    assert genotype == retrain.load(weights).genotype
    for file in exported.glob("*.onnx"):  # for other readers than ours, too: nodes in their order, types that agree
        onnx.checker.check_model(onnx.load(file), full_check=True)
    for name in ("model.onnx", "model_int8.onnx"):
        facts = {prop.key: prop.value for prop in onnx.load(exported / name).metadata_props}
        assert facts["genotype_hash"] == made["hash"] == genotype.hash
        assert genotypes.loads(facts["genotype"]) == genotype
        assert facts["input"].startswith("picture: float32 [batch, 3, height, width]")


@pytest.mark.exports
@pytest.mark.parametrize("word", ["pt2", "openvino"])
def test_the_readmes_first_code_is_whole_whatever_the_formats(exported, weights, pictures, tmp_path, word):
    """Of an export without ONNX it began in the middle of a program."""
    if word == "openvino":
        pytest.importorskip("openvino", reason="needs openvino")
    folder = tmp_path / "alone"
    assert run_command(main, ["--weights", str(weights), "-o", str(folder), "--formats", word, "--size", "48,64"]) == 0
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    Image.open(pictures / "images" / "p1.png").convert("RGB").save(folder / "photo.jpg", quality=95)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    expected = np.asarray(retrain.load(weights, size=(48, 64))(folder / "photo.jpg"), np.int16)
    assert np.abs(np.asarray(Image.open(folder / "map.png"), np.int16) - expected).max() <= 1


@pytest.mark.exports
def test_the_readmes_code_runs_without_torch_and_this_package(exported, weights, pictures, tmp_path):
    code = re.search(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.S).group(1)
    assert len(code.strip().splitlines()) <= 15
    for name in ("model.onnx",):
        (tmp_path / name).write_bytes((exported / name).read_bytes())
    photo = Image.open(pictures / "images" / "p1.png")
    photo.convert("RGB").save(tmp_path / "photo.jpg", quality=95)
    barred = (
        "import sys\nfor name in ('torch', 'nas', 'retrain', 'genotypes', 'search_spaces'): sys.modules[name] = None\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", barred + code], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = np.asarray(Image.open(tmp_path / "map.png"), np.int16)
    predictor = retrain.load(weights, size=(48, 64))
    expected = np.asarray(predictor(tmp_path / "photo.jpg"), np.int16)
    assert found.shape == expected.shape == photo.size[::-1]
    assert np.abs(found - expected).max() <= 1  # a level, where rounding falls on the other side


@pytest.mark.exports
def test_for_rembg_takes_what_rembg_normalises(weights, tmp_path):
    assert run_command(main, ["--weights", str(weights), "-o", str(tmp_path / "r"), "--for", "rembg"]) == 0
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "r" / "rembg.onnx")
    photo = np.random.default_rng(0).random((1, 3, 320, 320), np.float32)
    mean, std = (np.array(v, np.float32).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    # As rembg's U2netCustomSession: the first input by its name, all outputs, channel 0 of the first.
    found = session.run(None, {session.get_inputs()[0].name: (photo - mean) / std})[0][:, 0, :, :]
    network = retrain.load(weights).network
    small = F.interpolate(torch.from_numpy(photo), size=network.genotype.input.size, mode="bilinear", antialias=True)
    with torch.inference_mode():
        expected = PictureNetwork(network)(small)[:, 0].numpy()
    assert np.abs(found - expected).max() <= 1e-4
    text = (tmp_path / "r" / "README.md").read_text()
    assert "u2net_custom" in text and "RGB, normalised as rembg does it" in text and "normalisation" not in text


@pytest.mark.exports
def test_rembg_itself_runs_the_file(weights, pictures, tmp_path, monkeypatch):
    rembg = pytest.importorskip("rembg", reason="rembg is not installed")
    monkeypatch.setenv("REMBG_HOME", str(tmp_path))  # it takes models from its own folder only
    assert run_command(main, ["--weights", str(weights), "-o", str(tmp_path / "models"), "--for", "rembg"]) == 0
    session = rembg.new_session("u2net_custom", model_path=str(tmp_path / "models" / "rembg.onnx"))
    photo = Image.open(pictures / "images" / "p1.png")
    mask = np.asarray(rembg.remove(photo, session=session, only_mask=True), float)
    ours = np.asarray(retrain.load(weights)(photo), float)
    # It stretches a map to 0..255, and resizes by Lanczos' filter.
    assert mask.shape == ours.shape and np.corrcoef(mask.ravel(), ours.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("word", ["onnx", "fp16"])
def test_a_file_that_gives_nan_is_refused(weights, tmp_path, word):
    """max(0.0, nan) is 0.0: such a file was as good as the network."""
    bench = _Bench(retrain.load(weights).network, tmp_path, [word], None, (32, 48), 1, lambda _: None)
    bench._open = lambda name, size=None: lambda pictures: np.full((len(pictures), 1, *pictures.shape[2:]), np.nan)
    with pytest.raises(UserError, match="differs by inf from the network"):
        bench._differences()
    bench._open = lambda name, size=None: lambda pictures: pictures[:1, :1, 1:]  # as OpenVINO, and a traceback
    with pytest.raises(UserError, match=rf"{FORMATS[word][0]} makes 1 x 1 x 31 x 48 of 1 x 3 x 32 x 48, expected"):
        bench._differences()


def test_an_export_that_fails_leaves_no_folder(weights, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise UserError("no")

    monkeypatch.setattr("retrain.export.exporting._write", fail)
    with pytest.raises(UserError, match="no"):
        export(retrain.load(weights).network, tmp_path / "new", formats=["pt2"], size=(32, 32))
    assert not (tmp_path / "new").exists()


@pytest.mark.exports
def test_an_earlier_export_gives_way_and_nothing_else(exported, weights, tmp_path):
    again = tmp_path / "again"
    network = retrain.load(weights).network
    export(network, again, formats=["pt2"], size=(32, 32))
    (again / "model.onnx").write_text("an earlier one")
    export(network, again, formats=["pt2"], size=(32, 32))
    assert sorted(path.name for path in again.iterdir()) == ["README.md", "export.json", "genotype.yaml", "model.pt2"]
    (again / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"mine.txt"):
        export(network, again, formats=["pt2"])


def test_a_readme_alone_is_somebody_elses(weights, tmp_path):
    """It gave way to ours: without export.json the folder is none of an earlier export."""
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(UserError, match=r"holds files of something else \(README.md\)"):
        export(retrain.load(weights).network, tmp_path, formats=["pt2"])
    assert (tmp_path / "README.md").read_text() == "mine"


def test_calibration_and_scored_photographs_differ(pictures):
    photographs = open_photographs(str(pictures), (32, 48), 100)
    assert photographs.calibration.shape == (2, 3, 32, 48)
    assert [pair.name for pair in photographs.scored] == ["p1", "p2"]
    mask = (pictures / "masks/p1.png").rename(pictures.parent / "p1.png")
    with pytest.raises(UserError, match="p1"):  # all masks were taken for photographs, in silence
        open_photographs(str(pictures), (32, 48), 100)
    mask.rename(pictures / "masks/p1.png")
    (pictures / "images").rename(pictures.parent / "alone")
    alone = open_photographs(str(pictures.parent / "alone"), (32, 48), 100)
    assert alone.scored is None and len(alone.calibration) == 4  # nothing is kept to be scored
    assert np.array_equal(alone.calibration[[0, 3]], photographs.calibration)


def test_what_rounding_costs_is_said_on_photographs_of_their_own(pictures):
    own = open_scored(f"P={pictures}", None, (32, 48), 3)
    assert own is not None and len(own.data) == 3
    assert own.told == "3 photographs of P"
    one = open_scored(f"P={pictures}", None, (32, 48), 1)
    assert one is not None and one.told == "1 photograph of P"
    rest = open_scored(None, open_photographs(str(pictures), (32, 48), 100), (32, 48), 3)
    assert rest is not None and [pair.name for pair in rest.data] == ["p1", "p2"]
    assert open_scored(None, None, (32, 48), 3) is None
    made = open_scored(
        "synthetic:4", None, (32, 32), 3
    ).data  # what is made to test is none of what is made to train on
    trained = open_photos("synthetic:4", size=32, cache_dir=None)
    assert len(made) == 3 and not any((made.images[0] == image).all() for image in trained.images)
    rows = (
        ExportRow(name="network", runtime="torch, eager", maxF=0.9, MAE_raw=0.05),
        ExportRow(name="model.onnx", runtime="onnxruntime"),
        ExportRow(name="model_int8.onnx", runtime="onnxruntime", maxF=0.899, MAE_raw=0.052),
    )
    made = Exported(
        folder="f", genotype="g", hash="h", size=(32, 48), threads=1, busy=None, rows=rows, skipped=(), scored=own.told
    )
    assert made.losses() == [
        "model_int8.onnx: maxF -0.0010 of 0.9000, MAE_raw +0.0020 of 0.0500, on 3 photographs of P"
    ]


def test_user_errors(weights, tmp_path, capsys):
    out = str(tmp_path / "out")
    for words, message in (
        (["--formats", "int8"], "--calibrate"),
        (["--calibrate", str(tmp_path / "nowhere")], "nowhere"),
        (["--threads", "0"], "--threads must be at least 1"),
        (["--size", "8"], "32"),
    ):
        assert run_command(main, ["--weights", str(weights), "-o", out, *words]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["onnxruntime", "onnxscript"])
def test_what_photographs_were_given_for_is_not_left_out_in_silence(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    assert "int8" not in _choose(None, False)[0]
    with pytest.raises(UserError, match=f"needs {package}"):
        _choose(None, True)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    wanted, skipped = _choose(None, False)
    assert "openvino" not in wanted and "onnx" in wanted
    assert any("pip install 'sod-nas[openvino]'" in reason for reason in skipped)
    with pytest.raises(UserError, match=r"needs openvino .*sod-nas\[openvino\]"):
        _choose(["openvino"], False)
    with pytest.raises(UserError, match=rf"'tflite'.*{', '.join(FORMATS)}"):
        _choose(["tflite"], False)
