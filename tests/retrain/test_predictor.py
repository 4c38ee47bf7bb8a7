"""One public face: `retrain.save`, `retrain.load`, and a predictor that every command uses."""

import contextlib
import io
import os
import pickle
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
from PIL import Image

import genotypes
import nas
import retrain
from genotypes import UserError
from nas.command import run_command
from nas.network.weights import load_weights, save_weights
from nas.task import read_image
from retrain.evaluate import score
from retrain.evaluate.__main__ import main as evaluate
from retrain.networks import find_weights
from retrain.predict.__main__ import main as predict

HEAVY = {"scipy", "sklearn", "matplotlib", "py_sod_metrics", "tensorboard", "optuna"}


@pytest.fixture
def wide(tmp_path):
    """A set of three JPEGs, one of them turned by its EXIF, one four times the size that networks see."""
    for part in ("images", "masks"):
        (tmp_path / "wide" / part).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, (height, width) in {"a": (100, 150), "big": (640, 1280), "turned": (90, 200)}.items():
        pixels = rng.integers(0, 256, (height // 10, width // 10, 3), np.uint8).repeat(10, 0).repeat(10, 1)
        exif = Image.Exif()
        exif[0x0112] = 6 if name == "turned" else 1
        Image.fromarray(pixels).save(tmp_path / f"wide/images/{name}.jpg", exif=exif)
        mask = np.zeros((width, height) if name == "turned" else (height, width), np.uint8)
        mask[10:50, 10:60] = 255
        Image.fromarray(mask).save(tmp_path / f"wide/masks/{name}.png")
    return tmp_path / "wide"


@pytest.mark.parametrize(
    "options", [["--size", "160,320"], ["--size", "160,320", "--no-antialias"], ["--size", "160", "--flip"]]
)
def test_predict_evaluate_and_the_predictor_give_the_same_maps(trained, wide, tmp_path, options) -> None:
    weights = ["--weights", str(trained / "weights.safetensors"), *options]
    data = ["--data", f"w={wide}", "-o", str(tmp_path / "report"), "--maps", "--quick", "--workers", "0"]
    assert run_command(evaluate, [*weights, *data]) == 0
    assert run_command(predict, [str(wide / "images"), *weights, "-o", str(tmp_path / "maps")]) == 0
    size = (160, 320) if options[1] == "160,320" else 160
    how = {"antialias": "--no-antialias" not in options, "flip": "--flip" in options}
    predictor = retrain.load(trained / "weights.safetensors", size=size, **how)
    for name in ("a", "big", "turned"):
        scored, written = (read_image(tmp_path / at / f"{name}.png") for at in ("report/maps/small/w", "maps"))
        assert np.array_equal(scored, written)
        called = np.asarray(predictor(wide / f"images/{name}.jpg"), int)
        with Image.open(tmp_path / f"maps/{name}.png") as saliency:  # of a batch, which may round otherwise
            assert np.abs(called - saliency).max() <= 1 and len(np.unique(saliency)) > 8


def test_flipped_the_mean_of_a_photograph_and_its_mirror_image_counts(trained) -> None:
    once, both = (retrain.load(trained / "weights.safetensors", flip=flip) for flip in (False, True))
    pictures = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    mirrored = once.logits(pictures.flip(3)).flip(3)
    assert not torch.allclose(mirrored, once.logits(pictures), atol=1e-3)
    torch.testing.assert_close(both.logits(pictures), (once.logits(pictures) + mirrored) / 2)
    torch.testing.assert_close(both.logits(pictures.flip(3)), both.logits(pictures).flip(3))
    rows, _ = score({"once": once, "both": both}, ["synthetic:2"], quick=True, workers=0)
    assert rows[1].macs == 2 * (rows[0].macs or 0) > 0


def test_a_predictor_takes_files_pictures_arrays_and_tensors(trained, wide) -> None:
    predictor = retrain.load(trained / "weights.safetensors")
    file = wide / "images/turned.jpg"
    expected = predictor(file)
    assert (expected.mode, expected.size) == ("L", (90, 200))
    pixels = np.array(Image.open(file).convert("RGB").transpose(Image.Transpose.ROTATE_270))
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    for source in (str(file), Image.open(file), pixels, pixels / 255, tensor, tensor / 255):
        assert np.array_equal(predictor(source), expected)
    with pytest.raises(UserError, match="expected a photograph"):
        predictor(np.zeros((2, 3, 40, 40), np.uint8))
    with pytest.raises(UserError, match=r"no such file: .*none\.jpg"):
        predictor(wide / "none.jpg")


def test_what_is_saved_is_loaded(trained, tmp_path) -> None:
    first = retrain.load(trained / "weights.safetensors")
    retrain.save(tmp_path / "new/w.safetensors", torch.compile(first.network))  # which is as good as the network
    again = retrain.load(tmp_path / "new/w.safetensors")
    assert again.genotype == first.genotype and again.size == first.size == (32, 32)
    pictures = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.probabilities(pictures), first.probabilities(pictures))
    assert not again.network.training
    with pytest.raises(UserError, match="no weight file"):
        retrain.load(tmp_path / "none.safetensors")
    with pytest.raises(UserError, match="size must be"):
        retrain.load(tmp_path / "new/w.safetensors", size=8)


def test_weights_with_other_keys_are_refused_in_a_few_lines(tmp_path) -> None:
    """A file that was saved anew from DistributedDataParallel: the message named all of its keys, 12,000 characters."""
    genotype, state = load_weights(find_weights("sod_s"))
    save_weights(tmp_path / "w.safetensors", {f"module.{key}": value for key, value in state.items()}, genotype)
    with pytest.raises(UserError, match="do not fit its genotype: Missing key") as told:
        retrain.load(tmp_path / "w.safetensors")
    assert len(str(told.value)) < 400 + len(str(tmp_path))


_FORKS = """
import multiprocessing, sys
import numpy, retrain

find = retrain.load(sys.argv[1], size=256)
expected = numpy.asarray(find(sys.argv[2]), int)

def same(load):
    found = (retrain.load(sys.argv[1], size=256) if load else find)(sys.argv[2])
    return bool(abs(numpy.asarray(found, int) - expected).max() <= 1)

with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map_async(same, [False, True, False, True]).get(timeout=60))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_predicts(trained, wide) -> None:
    """What a program does first with many photographs is multiprocessing.Pool().map(find, files): it hung for ever."""
    words = [sys.executable, "-c", _FORKS, str(trained / "weights.safetensors"), str(wide / "images/big.jpg")]
    threads = {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=150, env=os.environ | threads)
    assert done.stdout.split() == ["[True,", "True,", "True,", "True]"], done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_process_forked_while_a_network_is_opened_can_open_another() -> None:
    code = "import multiprocessing as m, threading as t\nfrom nas.deploy.capture import one_at_a_time as turn\n"
    code += "held = turn()\nother = t.Thread(target=held.__enter__)\nother.start()\nother.join()\n"
    code += "child = m.get_context('fork').Process(target=turn().__enter__)\n"
    code += "child.start()\nchild.join(30)\nprint(child.exitcode)\nchild.kill()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "0\n", done.stderr


def test_a_predictor_is_sent_to_a_process_in_a_few_file_handles(wide) -> None:
    """ProcessPoolExecutor().map(find, files) used up the 1,024 that a process may have: one for each tensor."""
    resource = pytest.importorskip("resource", reason="no limits here")
    predictor, (soft, hard) = retrain.load("sod_s"), resource.getrlimit(resource.RLIMIT_NOFILE)
    with tempfile.TemporaryFile() as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 20, hard))
        try:
            sent = bytes(ForkingPickler.dumps(predictor))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert pickle.loads(sent)(wide / "images/a.jpg") == predictor(wide / "images/a.jpg")


@pytest.mark.slow
def test_several_threads_open_runtimes(trained, tmp_path, monkeypatch) -> None:
    """All but one failed: "Trying to pop empty mode stack"."""
    pytest.importorskip("onnxscript", reason="needs the extra `export`")
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # the network is converted here
    load = partial(retrain.load, trained / "weights.safetensors", runtime="onnxruntime")
    with ThreadPoolExecutor(3) as threads:
        opened = list(threads.map(lambda size: load(size=size), (32, 64, 96)))
    picture = np.zeros((40, 30, 3), np.uint8)
    assert [predictor(picture).size for predictor in opened] == [(30, 40)] * 3


def test_values_that_are_not_finite_are_refused(trained, tmp_path, wide, capsys) -> None:
    predictor = retrain.load(trained / "weights.safetensors")
    with torch.no_grad():
        next(predictor.network.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="not finite"):
        predictor(wide / "images/a.jpg")
    retrain.save(tmp_path / "nan.safetensors", predictor.network)
    words = [str(wide / "images"), "--weights", str(tmp_path / "nan.safetensors"), "-o", str(tmp_path / "maps")]
    assert run_command(predict, words) == 2
    assert "not finite" in capsys.readouterr().err and not (tmp_path / "maps").exists()
    # It was a traceback of retrain.export, a success of retrain.prune, and to a training too large a step.
    with pytest.raises(UserError, match=r"nan\.safetensors: \S+ holds values that are not finite"):
        retrain.load(tmp_path / "nan.safetensors")


def test_import_retrain_loads_nothing_heavy() -> None:
    code = f"import retrain, sys; print(*({HEAVY!r} & sys.modules.keys()))\n"
    code += "retrain.load_recipe, retrain.import_authors; retrain.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "\n"
    assert "no attribute 'nothing'" in done.stderr


def test_a_name_that_no_network_has_is_answered_with_those_that_exist() -> None:
    with pytest.raises(UserError, match="no weight file at sod_x, and no network of that name; known: "):
        retrain.load("sod_x")


def test_the_same_weights_are_the_same_bytes(tmp_path) -> None:
    """Two trainings are compared, and files told from one another, by their bytes."""
    net = nas.build(genotypes.load("fpn_tiny"))
    files = [tmp_path / f"{number}.safetensors" for number in range(12)]
    for file in files:
        retrain.save(file, net)
    assert len({file.read_bytes() for file in files}) == 1
    again = retrain.load(files[0]).network.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in net.state_dict().items())
    (tmp_path / "any").touch()
    assert files[0].stat().st_mode == (tmp_path / "any").stat().st_mode  # who may read other files may read these


@pytest.mark.parametrize("runtime", ["torch", "onnxruntime"])
@pytest.mark.parametrize("setting", ["float64", "device", "autocast"])
def test_what_a_program_has_set_for_its_own_tensors_changes_nothing(trained, wide, tmp_path, setting, runtime) -> None:
    """It was a mismatch of types, a tensor without data, or a network that "cannot be deployed"."""
    if runtime != "torch":
        pytest.importorskip("onnxscript", reason="needs the extra `export`")
        pytest.importorskip(runtime, reason=f"needs {runtime}")
    weights, photo = trained / "weights.safetensors", wide / "images/a.jpg"
    expected = np.asarray(retrain.load(weights)(photo), int)
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as settings:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # the network is converted here
        if setting == "float64":
            torch.set_default_dtype(torch.float64)
            settings.callback(torch.set_default_dtype, torch.float32)
        else:
            settings.enter_context(torch.device("meta") if setting == "device" else torch.autocast("cpu"))
        found = np.asarray(retrain.load(weights, runtime=runtime)(photo), int)
    assert np.abs(found - expected).max() <= 1


def test_what_a_script_has_of_a_photograph(tmp_path) -> None:
    """An open file, a bytearray and a tensor of bfloat16 were Python errors of others' libraries."""
    predictor = retrain.load("sod_s")
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    expected = np.asarray(predictor(tmp_path / "a.png"))
    with open(tmp_path / "a.png", "rb") as file:
        for given in (
            str(tmp_path / "a.png"),
            content,
            bytearray(content),
            memoryview(content),
            io.BytesIO(content),
            file,
        ):
            assert np.array_equal(np.asarray(predictor(given)), expected)
    assert predictor(torch.zeros(3, 30, 40, dtype=torch.bfloat16)).size == (40, 30) and predictor.maps([]) == []
    pixels = read_image(tmp_path / "a.png")
    alike = [tmp_path / "a.png", content, Image.open(tmp_path / "a.png"), pixels, pixels[::-1][::-1], pixels / 255]
    for native in (False, True):  # maps took arrays alone, and native ones no view
        found = predictor.maps(iter([*alike, pixels[:20]]), native=native)
        assert [np.array_equal(one, found[0]) for one in found] == [True] * 6 + [False] and found[6].shape == (20, 40)
    grey = np.array(Image.open(tmp_path / "a.png").convert("L"))
    # NumPy's matrix ended the process, and what a mask hid was taken as it came.
    assert np.array_equal(read_image(np.asmatrix(grey)), read_image(grey))
    premultiplied = Image.merge("La", [Image.fromarray(grey), Image.new("L", (40, 30), 255)])
    assert np.array_equal(read_image(premultiplied), read_image(grey))
    with open(tmp_path / "a.png", "rb") as closed:
        pass
    for wrong, message in (
        (None, "a Pillow image, an array or a tensor, not NoneType"),
        (io.StringIO("x"), "mode rb.* it gives str"),
        (io.TextIOWrapper(io.BytesIO(content), "utf-8"), "can't decode byte .*expected a file opened for bytes"),
        (closed, "cannot read <.*a.png'>: read of closed file; expected a file opened for bytes"),
        (np.ma.masked_invalid(np.full((4, 4, 3), np.nan)), "an array of uint8, or of floats .* from nan to nan"),
        (np.full((4, 4, 3), 200.0), r"expected an array of uint8, or of floats in 0\.\.1; got float64 from 200 to 200"),
        (np.zeros((4, 4, 3), object), "expected an array of uint8, or of floats in 0..1; got object"),
        (np.full((4, 4, 3), "a"), "expected an array of uint8, or of floats in 0..1; got <U1"),
        (Image.new("RGB", (0, 4)), "not a picture of 0 x 4 pixels"),
        (torch.zeros(2, 3, 4, 4), r"expected a photograph as a tensor \[3, H, W\]"),
        ("a\0b.jpg", "cannot read a\0b.jpg as an image: embedded null byte"),
        (Image.open(io.BytesIO(content[:-30])), "cannot read the given picture: .*truncated"),  # not decoded so far
    ):
        with pytest.raises(UserError, match=message):
            predictor(wrong)
    for options, message in (
        ({"precision": "fp8"}, "must be fp32 or bf16, not 'fp8'"),
        ({"size": (1, 2, 3)}, "expected a side"),
        ({"size": 128.0}, r"size must be 32 to 8192 pixels, not 128\.0"),
        ({"size": "128"}, "size must be 32 to 8192 pixels, not '128'"),
        ({"device": torch.device("meta")}, "'meta': expected cpu, cuda"),
        ({"device": 0}, "'0': expected cpu, cuda"),
    ):
        with pytest.raises(UserError, match=message):
            retrain.load("sod_s", **options)
    assert retrain.load("sod_s", torch.device("cpu"), size=np.int64(64)).size == (64, 64)
