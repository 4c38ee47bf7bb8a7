"""Conversions that are kept: made once, never a wrong one taken."""

import os

import numpy as np
import pytest
import torch

import genotypes
import nas
from genotypes import UserError
from nas.deploy import kept
from nas.deploy.kept import open_network
from nas.run import seeded

pytest.importorskip("onnxscript", reason="needs the extra `export`")
pytest.importorskip("onnxruntime", reason="needs the extra `export`")

SIZE = (32, 48)
TINY = """
format: 1
name: tiny
input: {size: [32, 48]}
cells:
- name: net
  template: graph
  inputs: [image]
  nodes:
  - name: logits
    stride: 2
    width: 1
    size: {floor_half: image}
    edges: [{name: look, source: image, op: conv2d_3x3_bias, pre: [avg2]}]
outputs: [net.logits]
"""
PICTURE = np.random.default_rng(0).random((1, 3, *SIZE), np.float32)


def network(seed: int = 0) -> nas.Network:
    with seeded(seed):
        return nas.build(genotypes.loads(TINY)).eval()


def logits(net: nas.Network, size: tuple[int, int] | None = SIZE) -> np.ndarray:
    return open_network(net, ["onnxruntime"], size=size)["onnxruntime"](PICTURE)


_convert = kept._convert
_CONVERTED: dict[tuple, bytes] = {}


@pytest.fixture
def converted(tmp_path, monkeypatch) -> list[int]:
    """An empty cache of our own; one item for each conversion."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    made = []

    def convert(net: nas.Network, size: tuple[int, int] | None) -> bytes:
        made.append(1)
        key = (float(next(net.parameters()).detach().sum()), size)
        if key not in _CONVERTED:  # four seconds for the smallest network: once for all tests
            _CONVERTED[key] = _convert(net, size)
        return _CONVERTED[key]

    monkeypatch.setattr(kept, "_convert", convert)
    return made


def files(tmp_path) -> list[str]:
    return sorted(file.name for file in (tmp_path / "cache/sod-nas/converted").glob("*"))


def test_a_network_is_converted_once(converted, tmp_path) -> None:
    net = network()
    first, second = logits(net), logits(network())
    assert len(converted) == 1 and np.array_equal(first, second)
    with torch.inference_mode():
        exact = kept.PictureNetwork(net, logits=True)(torch.from_numpy(PICTURE)).numpy()
    np.testing.assert_allclose(first, exact, atol=1e-4)
    assert not np.allclose(logits(network(1)), first, atol=1e-3) and len(converted) == 2  # other weights
    if torch.__version__ >= "2.9":
        logits(net, None)
        logits(net, None)
        assert len(converted) == 3 and sum(name.endswith("-any.onnx") for name in files(tmp_path)) == 1
    assert len(files(tmp_path)) == len(converted)


def test_what_computes_otherwise_has_a_place_of_its_own(monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    other = nas.build(genotypes.loads(TINY.replace("avg2", "max2"))).eval()  # its weights are called alike
    other.load_state_dict(network().state_dict())
    places = {kept._place(net, size) for net in (network(), network(1), other) for size in (SIZE, SIZE[::-1], None)}
    assert len(places) == 9 and kept._place(network(), SIZE) in places


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty"])
def test_a_file_that_is_not_the_networks_is_made_anew(converted, tmp_path, damage) -> None:
    expected = logits(network())
    (name,) = files(tmp_path)
    file = tmp_path / "cache/sod-nas/converted" / name
    if damage == "foreign":  # as after a plugin's operation changed, under the same name with the same weights
        logits(network(1))
        (other,) = set(files(tmp_path)) - {name}
        os.replace(file.with_name(other), file)
    else:
        file.write_bytes(file.read_bytes()[:1000] if damage == "cut" else b"")
    before = len(converted)
    assert np.array_equal(logits(network()), expected) and len(converted) == before + 1
    assert np.array_equal(logits(network()), expected) and len(converted) == before + 1


def test_without_a_place_to_keep_it_a_network_is_converted_all_the_same(converted, tmp_path, monkeypatch) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    expected = logits(network())
    monkeypatch.setattr(kept, "user_cache", lambda: None)
    assert np.array_equal(logits(network()), expected) and len(converted) == 2


def test_those_used_last_stay(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(kept, "_ALL", 25)
    for age, name in enumerate("bac"):
        kept._keep(tmp_path / f"{name}.onnx", bytes(10))
        os.utime(tmp_path / f"{name}.onnx", (1000 + age, 1000 + age))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.onnx", "c.onnx"]


def test_a_file_that_is_taken_is_the_last_to_go(converted, tmp_path, monkeypatch) -> None:
    logits(network())
    (file,) = (tmp_path / "cache/sod-nas/converted").iterdir()
    os.utime(file, (1000, 1000))
    logits(network())
    assert file.stat().st_mtime > 1000
    monkeypatch.setattr(kept, "_LARGEST", 0)
    logits(network(1))
    assert files(tmp_path) == [file.name] and len(converted) == 2


def test_a_file_of_somebody_else_is_taken_as_well(converted, monkeypatch) -> None:
    """As in an image of a container, whose cache the user may only read."""
    expected = logits(network())

    def refuse(path: str) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(kept.os, "utime", refuse)
    assert np.array_equal(logits(network()), expected) and len(converted) == 1


def test_for_bf16_a_file_is_checked_in_float32(converted, monkeypatch) -> None:
    """In bf16 it may differ by more than a wrong one does."""
    asked, opened = [], kept.open_model

    def in_float32(model: bytes, runtime: str, *, threads: int, precision: str):
        asked.append(precision)
        return opened(model, "onnxruntime", threads=threads)

    monkeypatch.setattr(kept, "check_runtime", lambda runtime, precision: None)
    monkeypatch.setattr(kept, "open_model", in_float32)
    for _ in range(2):
        open_network(network(), ["openvino"], size=SIZE, precision="bf16")
    assert asked == ["fp32", "bf16"] * 2 and len(converted) == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            lambda x: x[:, :1] + 1,
            "tiny in onnxruntime differs by .* from the network at 32 x 48: use the runtime torch",
        ),
        (
            lambda x: x[:, :1, 1:],
            "tiny in onnxruntime makes 1 x 1 x 31 x 48 of 1 x 3 x 32 x 48, expected 1 x 1 x 32 x 48",
        ),
        (lambda x: 1 // 0, "tiny in onnxruntime fails for 1 x 3 x 32 x 48: integer division"),
    ],
)
def test_a_runtime_that_does_not_compute_the_network_is_refused(converted, tmp_path, monkeypatch, wrong, told) -> None:
    """A plugin's operations may be what a runtime cannot do: the maps were wrong, or the first call a traceback."""
    monkeypatch.setattr(kept, "open_model", lambda *_, **__: wrong)
    with pytest.raises(UserError, match=told):
        logits(network())
    assert not (tmp_path / "cache").exists()
