"""Importing checkpoints: every wrapping is read, every difference is named, nothing is executed."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

import genotypes
import nas
from genotypes import UserError
from nas.network.weights import load_weights, save_weights
from retrain import import_authors
from retrain.authors import authors_keys, read_checkpoint
from retrain.authors.__main__ import main
from retrain.authors.names import names_for
from search_spaces.fusion_cells import fusion_cells

NAME = "csnet_l_x1"
# A few of the authors' keys as the specification (networks.md 3.7) has them, where ours differ most.
SPOT = {
    "stage0.0.conv1x1.conv.weight": (18, 3, 3, 3),
    "stage2.3.conv1x1.conv.weight": (34, 32, 1, 1),
    "stage4.0.conv3x3_1.convs.1.weight": (29, 1, 3, 3),
    "oct_fuse.ms.convs.2.msconv.4.weight": (4, 24, 3, 3),
    "oct_fuse.fuse.conv.weight": (60, 122, 1, 1),
    "cls_layer.bias": (1,),
}


FAMILIES = {
    "auto_msfnet_vgg16": {
        "vgg16.conv1_2.weight": (64, 64, 3, 3),
        "vgg16.bn5_3.running_var": (512,),
        "vgg16.conv5.bias": (128,),
        "feafusion._ops.4.op.1.weight": (128, 128, 3, 3),
        "feafusion.featurefusioncell54._ops.4.conv1.weight": (1, 2, 7, 7),
        "conv44.weight": (1, 128, 3, 3),
    },
    "minet_resnet50": {
        "div_2.0.weight": (64, 3, 7, 7),
        "div_16.5.conv2.weight": (256, 256, 3, 3),
        "trans.conv3.bnm_3.bias": (64,),
        "trans.conv4.identity.weight": (64, 2048, 1, 1),
        "sim32.h2l_0.weight": (32, 64, 3, 3),
        "upconv1.basicconv.0.weight": (32, 32, 3, 3),
        "classifier.weight": (1, 32, 1, 1),
    },
    "csf_res2net50": {
        "base.layer1.0.downsample.1.weight": (256, 64, 1, 1),
        "fuse.conv.weights": (1408, 3840, 1, 1),
        "ms.convs.3.msconv.4.weight": (104, 512, 3, 3),
        "fuse1x1.prelus.0.weight": (1408,),
    },
    NAME: SPOT,
}


@pytest.fixture(scope="module")
def theirs() -> dict[str, torch.Tensor]:
    """A random state dict with the authors' keys."""
    return {key: torch.rand(shape) for key, shape in authors_keys(genotypes.load(NAME)).items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_names_of_the_authors(name):
    keys = authors_keys(genotypes.load(name))
    assert {key: keys.get(key) for key in FAMILIES[name]} == FAMILIES[name]


def test_loads_strictly_and_scales_what_the_authors_scale(theirs):
    genotype = genotypes.load(NAME)
    net = nas.build(genotype)
    net.load_state_dict(import_authors(genotype, theirs), strict=True)
    stage, fusion = net.cells["stage4"], net.cells["fusion"]
    torch.testing.assert_close(stage.edges["b0_local1"].weight, 100 * theirs["stage4.0.conv3x3_1.convs.1.weight"])
    torch.testing.assert_close(fusion.edges["multi2_d16"].weight, 100 * theirs["oct_fuse.ms.convs.2.msconv.4.weight"])
    # Widths 12, 24, 24 from 34, 38, 50: the block from branch 2 to branch 1.
    torch.testing.assert_close(fusion.edges["fuse1_from2"].weight, theirs["oct_fuse.fuse.conv.weight"][12:36, 72:])


@pytest.mark.parametrize("wrap", [dict, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"net_state": s}])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_wrapping_is_read(theirs, wrap, prefix, tmp_path):
    counted = {"stage0.0.conv1x1.bns.0.num_batches_tracked": torch.tensor(7)}
    state = wrap({prefix + key: value for key, value in (theirs | counted).items()})
    torch.save(state, tmp_path / "file.pth.tar")
    plain = import_authors(genotypes.load(NAME), theirs)
    for given in (state, read_checkpoint(tmp_path / "file.pth.tar")):
        ours = import_authors(genotypes.load(NAME), given)
        assert all(torch.equal(ours[key], plain[key]) for key in plain) and ours.keys() == plain.keys()


def test_differences_are_named(theirs):
    genotype = genotypes.load(NAME)
    key = "oct_fuse.fuse.conv.weight"
    with pytest.raises(UserError, match=rf"'{key}' is missing.*csnet_l_x1"):
        import_authors(genotype, {k: v for k, v in theirs.items() if k != key})
    with pytest.raises(UserError, match=r"'stage9\.weight' is unexpected"):
        import_authors(genotype, theirs | {"stage9.weight": torch.zeros(1)})
    with pytest.raises(UserError, match=rf"'{key}' has the shape \[60, 121, 1, 1\], not \[60, 122, 1, 1\]"):
        import_authors(genotype, theirs | {key: torch.zeros(60, 121, 1, 1)})
    with pytest.raises(UserError, match=r"'stage0\.0\.conv1x1\.conv\.weight' has the shape"):
        import_authors(genotypes.load("csnet_l_x2"), theirs)
    with pytest.raises(UserError, match="found a int under 'epoch'"):
        import_authors(genotype, theirs | {"epoch": 1})
    with pytest.raises(UserError, match="state dict"):
        import_authors(genotype, [1, 2])


def test_unused_parameters_are_dropped():
    vgg, csf = names_for(genotypes.load("auto_msfnet_vgg16")), names_for(genotypes.load("csf_res2net50"))
    assert "feafusion._nodes.3.op.1.weight".startswith(vgg.unused)
    assert "fc.weight".startswith(csf.unused) and "base.fc.bias".startswith(csf.unused)


def test_networks_of_nobody_are_refused():
    with pytest.raises(UserError, match="no authors' checkpoints for 'fpn_tiny'"):
        import_authors(genotypes.load("fpn_tiny"), {})
    # The same cells on another backbone: nothing of the authors' fits.
    space = fusion_cells("tiny")
    searched = space.decide(dict.fromkeys(space.open_edges(), "skip_connect"))
    with pytest.raises(UserError, match=r"differs from every authors' network|missing"):
        import_authors(searched, {})


class _Code:
    def __reduce__(self):
        return print, ("executed",)


def test_code_is_never_executed(tmp_path, capsys):
    path = tmp_path / "evil.pth"
    torch.save({"state_dict": {"a": _Code()}}, path)
    with pytest.raises(UserError, match="cannot be read safely"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(_Code()))
    with pytest.raises(UserError, match="cannot be read safely"):
        read_checkpoint(path)
    assert "executed" not in capsys.readouterr().out
    path.write_text("hello")
    with pytest.raises(UserError, match="cannot be read safely"):
        read_checkpoint(path)
    with pytest.raises(UserError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.pth")


def test_command(theirs, tmp_path, capsys):
    torch.save({"state_dict": theirs}, tmp_path / "a.pth")
    main(["--genotype", NAME, "--checkpoint", str(tmp_path / "a.pth"), "-o", str(tmp_path / "new" / "w.safetensors")])
    assert "791 tensors" in capsys.readouterr().out
    genotype, state = load_weights(tmp_path / "new" / "w.safetensors")
    assert genotype == genotypes.load(NAME) and genotype.name == NAME
    nas.build(genotype).load_state_dict(state, strict=True)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["w.safetensors"]


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
