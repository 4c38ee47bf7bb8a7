"""Importing checkpoints: every wrapping is read, every difference is named, nothing is executed."""

import inspect
import json
import pickle
import textwrap

import pytest
import torch

import genotypes
import nas
from genotypes import UserError
from retrain import import_authors
from retrain.authors import authors_keys, read_checkpoint
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


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_other_precisions_are_read(theirs, dtype):
    ours = import_authors(genotypes.load(NAME), {key: value.to(dtype) for key, value in theirs.items()})
    torch.testing.assert_close(ours["cells.head.edges.conv.bias"], theirs["cls_layer.bias"].to(dtype).float())


def test_counters_count_for_norms_only(theirs):
    genotype = genotypes.load(NAME)
    for key in ("stage9.bn.", "cls_layer.", "stage0.0.conv1x1.prelus.0.", "", "my"):
        with pytest.raises(UserError, match=rf"'{key}num_batches_tracked' is unexpected"):
            import_authors(genotype, theirs | {f"{key}num_batches_tracked": torch.tensor(7)})


@pytest.mark.parametrize(
    ("name", "unused"),
    [
        ("auto_msfnet_vgg16", ["_nodes.0.op.5.weight", "_nodes.2.conv11.weight", "_nodes.6.bn11.num_batches_tracked"]),
        ("auto_msfnet_resnet50", ["_nodes.3.linear_1.bias", "_nodes.5.op.7.num_batches_tracked"]),
    ],
)
def test_copies_are_dropped_where_there_is_an_original(name, unused):
    genotype = genotypes.load(name)
    state = {key: torch.zeros(()).expand(shape) for key, shape in authors_keys(genotype).items()}
    import_authors(genotype, state | {f"feafusion.{key}": torch.zeros(1) for key in unused})
    for key in (
        "_nodes.99.zzz",
        "_nodes.0.zzz",
        "_nodes.0.op.1.num_batches_tracked",
        "_nodes.4.conv9.weight",
        "_nodes.",
    ):
        with pytest.raises(UserError, match=f"'feafusion.{key}' is unexpected"):
            import_authors(genotype, state | {f"feafusion.{key}": torch.zeros(1)})


def test_a_classifier_is_dropped():
    genotype = genotypes.load("csf_res2net50")
    state = {key: torch.zeros(()).expand(shape) for key, shape in authors_keys(genotype).items()}
    import_authors(genotype, state | dict.fromkeys(("fc.weight", "fc.bias", "base.fc.weight"), torch.zeros(1)))
    for key in ("fc.2.weight", "fc.num_batches_tracked", "base.fc.scale"):
        with pytest.raises(UserError, match=f"'{key}' is unexpected"):
            import_authors(genotype, state | {key: torch.zeros(1)})


ORACLES = {name: f"{name}" for name in ("csf_res2net50", "minet_vgg16", "light_minet_resnet50", "csnet_x1", "csnet_x2")}
ORACLES |= {f"auto_msfnet_{backbone}": f"automsf_{backbone}" for backbone in ("vgg16", "resnet50")}


@pytest.mark.parametrize("name", ORACLES)
def test_every_key_of_the_authors_files_is_known(name, shared):
    keys = json.loads((shared / "oracles" / f"{ORACLES[name]}.keys.json").read_text())
    name = name.replace("csnet_", "csnet_l_")
    import_authors(genotypes.load(name), {key: torch.zeros(()).expand(shape) for key, shape, _ in keys})


def test_a_name_is_no_genotype():
    for function in (authors_keys, lambda name: import_authors(name, {})):
        with pytest.raises(TypeError, match=r"expected a Genotype, as genotypes\.load gives it, not 'csnet_l_x1'"):
            function(NAME)


def test_the_example_reads_files_from_a_gpu(tmp_path, monkeypatch):
    """As printed, with a file whose tensors say that they lay on a GPU; without one it must be read all the same."""
    state = {key: torch.rand(shape) for key, shape in authors_keys(genotypes.load("csnet_l_x2")).items()}
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save(state, tmp_path / "csnet-L-x2.pth.tar")
    example = inspect.getdoc(import_authors).split("\n\n")[-1]
    monkeypatch.chdir(tmp_path)
    names = {"genotypes": genotypes, "nas": nas, "torch": torch, "import_authors": import_authors}
    exec(textwrap.dedent(example), names)
    assert torch.equal(names["net"].cells["head"].edges["conv"].bias.cpu(), state["cls_layer.bias"])


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
    with pytest.raises(UserError, match="is a folder; expected a checkpoint file"):
        read_checkpoint(tmp_path)


def test_the_file_beside_the_layout_is_named(shared):
    with pytest.raises(UserError, match=r"cannot be read safely.*the csnet-L-x1\.pth\.tar beside it"):
        read_checkpoint(shared / "authors" / "csnet-L-x1.bin")
