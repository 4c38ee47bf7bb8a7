"""`python -m retrain.authors`: what it writes, never overwrites and says; and the weight files it makes."""

import os

import pytest
import torch
from safetensors.torch import save_file

import genotypes
import nas
from genotypes import UserError
from nas.command import run_command
from nas.network.weights import load_weights, save_weights
from retrain.authors.__main__ import main

NAME = "csnet_l_x1"


def test_command(theirs, tmp_path, capsys):
    torch.save({"state_dict": theirs}, tmp_path / "a.pth")
    main(["--genotype", NAME, "--checkpoint", str(tmp_path / "a.pth"), "-o", str(tmp_path / "new" / "w.safetensors")])
    assert "791 tensors" in capsys.readouterr().out
    genotype, state = load_weights(tmp_path / "new" / "w.safetensors")
    assert genotype == genotypes.load(NAME) and genotype.name == NAME
    nas.build(genotype).load_state_dict(state, strict=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["w.safetensors"]


def test_command_overwrites_nothing_unless_told(theirs, tmp_path, capsys):
    checkpoint, output = tmp_path / "a.safetensors", tmp_path / "w.safetensors"
    torch.save(theirs, checkpoint)
    (tmp_path / "hard.safetensors").hardlink_to(checkpoint)
    (tmp_path / "soft.safetensors").symlink_to(checkpoint)
    output.write_bytes(b"mine")
    before = checkpoint.read_bytes()

    def refused(to: os.PathLike[str], *words: str) -> str:
        argv = ["--genotype", NAME, "--checkpoint", str(checkpoint), "-o", str(to), *words]
        assert run_command(main, argv) == 2
        return capsys.readouterr().err

    assert refused(output) == f"error: {output} already exists; choose another -o, or replace it with --overwrite\n"
    for name in ("a", "hard", "soft", "../" + tmp_path.name + "/a"):
        for words in ([], ["--overwrite"]):
            assert "is the checkpoint; choose another -o" in refused(tmp_path / f"{name}.safetensors", *words)
    assert "expected a name that ends in .safetensors" in refused(tmp_path / "w.pth")
    (tmp_path / "folder.safetensors").mkdir()
    assert "is a folder, expected a file" in refused(tmp_path / "folder.safetensors", "--overwrite")
    assert output.read_bytes() == b"mine" and checkpoint.read_bytes() == before
    assert (tmp_path / "soft.safetensors").is_symlink()

    checkpoint = checkpoint.rename(tmp_path / "a.pth")  # torch reads nothing of its own under the other name
    argv = ["--genotype", NAME, "--checkpoint", str(checkpoint), "-o", str(output), "--overwrite"]
    assert run_command(main, argv) == 0
    assert load_weights(output)[0].name == NAME


def test_command_says_whose_mistake_it_is(theirs, tmp_path, capsys):
    file = tmp_path / "a.pth"
    torch.save({key: value for key, value in theirs.items() if key != "cls_layer.bias"}, file)
    argv = ["--checkpoint", str(file), "-o", str(tmp_path / "w.safetensors"), "--genotype"]
    assert run_command(main, [*argv, NAME]) == 2
    assert capsys.readouterr().err.startswith(f"error: {file}: the key 'cls_layer.bias' is missing")
    assert run_command(main, [*argv, "fpn_tiny"]) == 2
    assert capsys.readouterr().err.startswith("error: there are no authors' checkpoints for 'fpn_tiny'")


@pytest.mark.parametrize(
    ("key", "make", "words"),
    [
        ("cls_layer.weight", lambda: torch.ones(1, 60, 1, 1).to_sparse(), "a sparse tensor (sparse_coo)"),
        ("cls_layer.weight", lambda: torch.ones(1, 60).to_sparse_csr(), "a sparse tensor (sparse_csr)"),
        ("cls_layer.weight", lambda: torch.nested.nested_tensor([torch.ones(60, 1, 1)]), "a nested tensor"),
        ("cls_layer.bias", lambda: torch.ones(1, device="meta"), "a meta tensor"),
        (
            "cls_layer.bias",
            lambda: torch.quantize_per_tensor(torch.ones(1), 0.1, 0, torch.qint8),
            "a quantised tensor (qint8)",
        ),
        ("cls_layer.bias", lambda: torch.ones(1, dtype=torch.complex64), "a tensor of complex64"),
        ("cls_layer.bias", lambda: torch.ones(1, dtype=torch.int64), "a tensor of int64"),
        ("cls_layer.bias", lambda: torch.ones(1, dtype=torch.bool), "a tensor of bool"),
        ("cls_layer.bias", lambda: torch.tensor([float("nan")]), "not finite"),
        ("cls_layer.bias", lambda: torch.tensor([-float("inf")]), "not finite"),
        ("cls_layer.bias", lambda: torch.tensor([1e39], dtype=torch.float64), "not finite as float32"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*prototype", "ignore:Sparse CSR", "ignore:.*deprecated")
def test_what_is_no_weight_is_told(theirs, tmp_path, capsys, key, make, words):
    file = tmp_path / "a.pth"
    torch.save(theirs | {key: make()}, file)
    argv = ["--genotype", NAME, "--checkpoint", str(file), "-o", str(tmp_path / "w.safetensors")]
    assert run_command(main, argv) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"error: {file}: the key {key!r}") and words in told and "expected" in told
    assert told.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["a.pth"]


def test_weight_files(tmp_path):
    net = nas.build(genotypes.load("fpn_tiny"))
    path = tmp_path / "w.safetensors"
    save_weights(path, net.state_dict(), net.genotype)
    genotype, state = load_weights(path)
    assert genotype == net.genotype and genotypes.dumps(genotype) == genotypes.dumps(net.genotype)
    assert all(torch.equal(state[key], value) for key, value in net.state_dict().items())

    metadata = {"genotype": genotypes.dumps(net.genotype), "genotype_hash": "0"}
    save_file(state, path, metadata=metadata)
    with pytest.raises(UserError, match="hashes differ"):
        load_weights(path)
    save_file(state, path, metadata={"genotype": "format: 1\nname: x", "genotype_hash": "0"})
    with pytest.raises(UserError, match="the key 'cells' is missing"):
        load_weights(path)
    save_file(state, path)
    with pytest.raises(UserError, match="no genotype"):
        load_weights(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="no readable weight file"):
        load_weights(path)
    with pytest.raises(UserError, match="no weight file at"):
        load_weights(tmp_path / "none")
    with pytest.raises(UserError, match="cannot be written"):
        save_weights(path / "under" / "a file", state, net.genotype)
