"""Every backbone: features as declared, exact depth, keys as published, values against independent computations."""

from math import ceil, floor
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from genotypes.errors import UserError
from genotypes.vocabulary import BACKBONES
from search_spaces import fpn, fusion_cells, minet
from search_spaces.backbones import build_backbone
from search_spaces.backbones.layers import SameConv2d

NAMES = tuple(BACKBONES)
GOLDEN = Path(__file__).parent / "golden"
PARAMETERS = {  # without classifiers; the sums are those of the published networks' encoders
    "tiny": 10_112,
    "mobilenet_v2": 1_811_712,
    "efficientnet_lite0": 2_958_848,
    "efficientnet_lite1": 3_723_520,
    "efficientnet_lite2": 4_357_952,
    "vgg16_bn": 14_723_136,
    "vgg16_bn_ceil": 14_723_136,
    "resnet50": 23_508_032,
    "resnet50_wsgn": 23_508_032,
    "res2net50": 23_669_352,
}


def all_taps(name):
    return tuple(BACKBONES[name].features)


def picture(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def skeleton(name, taps, **options):
    """The backbone without storage: instant, for names and shapes."""
    with torch.device("meta"):
        return build_backbone(name, taps, **options)


def key_lines(name, **options):
    state = skeleton(name, all_taps(name), **options).state_dict()
    return [f"{key} {'x'.join(map(str, value.shape)) or 'scalar'}" for key, value in state.items()]


def golden(name):
    """key -> shape, from the checked-in list."""
    lines = (line.split() for line in (GOLDEN / f"{name}.txt").read_text().splitlines())
    return {key: () if shape == "scalar" else tuple(map(int, shape.split("x"))) for key, shape in lines}


def side(name, n, stride):
    """Sides round down in a plain VGG, at every halving; up everywhere else."""
    return floor(n / stride) if name == "vgg16_bn" else ceil(n / stride)


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("name", NAMES)
def test_features_are_as_declared_on_odd_sizes(name, training):
    net = build_backbone(name, all_taps(name)).train(training)
    H, W = 49, 67  # odd at nearly every halving
    features = net(picture(1, 3, H, W))
    assert list(features) == list(all_taps(name))
    for tap, (stride, width) in BACKBONES[name].features.items():
        assert features[tap].shape == (1, width, side(name, H, stride), side(name, W, stride))
        assert torch.isfinite(features[tap]).all()
    if training:
        sum(feature.mean() for feature in features.values()).backward()
        for key, parameter in net.named_parameters():
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), key


@pytest.mark.parametrize("name", NAMES)
def test_only_as_deep_as_the_deepest_tap(name):
    taps, counts = all_taps(name), []
    full = build_backbone(name, taps).eval()
    x, state = picture(1, 3, 33, 64), full.state_dict()
    with torch.no_grad():
        expected = full(x)
        for tap in taps:
            part = skeleton(name, (tap,)).eval()
            part.load_state_dict({key: state[key] for key in part.state_dict()}, assign=True)
            features = part(x)
            assert list(features) == [tap]
            assert torch.equal(features[tap], expected[tap])
            counts.append(sum(p.numel() for p in part.parameters()))
    assert counts == sorted(set(counts)) and counts[-1] == PARAMETERS[name]


@pytest.mark.parametrize("name", NAMES)
def test_keys_are_golden(name):
    """After a wanted change: write `key_lines(name)` into the file, and tell those who have weights."""
    expected = (GOLDEN / f"{name}.txt").read_text().splitlines()
    assert key_lines(name) == expected


def test_padding_changes_no_key():
    assert key_lines("mobilenet_v2", padding="tf_same") == key_lines("mobilenet_v2", padding="symmetric")


@pytest.mark.parametrize("name", NAMES)
def test_a_side_of_one_pixel_stays(name):
    net = build_backbone(name, all_taps(name)).eval()
    for H, W in ((1, 1), (1, 64), (40, 3), (15, 9)):
        with torch.no_grad():
            features = net(picture(1, 3, H, W))
        for tap, (stride, _) in BACKBONES[name].features.items():
            expected = tuple(max(1, side(name, n, stride)) for n in (H, W))
            assert features[tap].shape[2:] == expected and features[tap].isfinite().all()


def test_the_two_vggs_agree_where_no_pool_rounds():
    plain, rounding_up = (build_backbone(name, ("s4", "s16")).eval() for name in ("vgg16_bn", "vgg16_bn_ceil"))
    rounding_up.load_state_dict(plain.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(plain(picture(1, 3, 48, 64)), rounding_up(picture(1, 3, 48, 64)))


# Independent computations from the state dict.


def conv_bn(x, state, conv, bn, stride=1, groups=1, padding=None, act=F.relu, eps=1e-5):
    weight = state[f"{conv}.weight"]
    padding = weight.shape[-1] // 2 if padding is None else padding
    y = F.conv2d(x, weight, state.get(f"{conv}.bias"), stride, padding, groups=groups)
    if f"{bn}.running_mean" not in state:
        groups_BGN = y.unflatten(1, (32, -1)).flatten(2)
        var, mean = torch.var_mean(groups_BGN, 2, correction=0, keepdim=True)
        y = ((groups_BGN - mean) / (var + eps).sqrt()).view_as(y)
        scale, shift = (state[f"{bn}.{key}"][:, None, None] for key in ("weight", "bias"))
        return act(y * scale + shift)
    keys = ("running_mean", "running_var", "weight", "bias")
    return act(F.batch_norm(y, *(state[f"{bn}.{key}"] for key in keys), False, 0.0, eps))


def identity(x):
    return x


def same_pads(n, kernel, stride):
    """TensorFlow's rule, as documented for tf.nn."""
    total = max((ceil(n / stride) - 1) * stride + kernel - n, 0)
    return total // 2, total - total // 2


def reference_mobilenet_v2(x, state, padding="symmetric"):
    def unit(x, conv, bn, stride=1, groups=1, act=F.relu6):
        if stride == 2 and padding == "tf_same":
            (top, bottom), (left, right) = (same_pads(n, 3, 2) for n in x.shape[2:])
            return conv_bn(F.pad(x, (left, right, top, bottom)), state, conv, bn, 2, groups, 0, act)
        return conv_bn(x, state, conv, bn, stride, groups, act=act)

    x = unit(x, "features.0.0", "features.0.1", 2)
    taps = {1: "s2", 3: "s4", 6: "s8", 13: "s16", 17: "s32"}
    out = {}
    for index in range(1, 18):
        key = f"features.{index}.conv"
        y = x if index == 1 else unit(x, f"{key}.0.0", f"{key}.0.1")
        at = 0 if index == 1 else 1
        y = unit(y, f"{key}.{at}.0", f"{key}.{at}.1", 2 if index in (2, 4, 7, 14) else 1, y.shape[1])
        y = unit(y, f"{key}.{at + 1}", f"{key}.{at + 2}", act=identity)
        x = y + x if y.shape == x.shape else y
        if index in taps:
            out[taps[index]] = x
    return out


def reference_efficientnet_lite(x, state):
    def unit(x, key, conv, bn, stride=1, groups=1, act=F.relu6):
        kernel = state[f"{key}{conv}.weight"].shape[-1]
        (top, bottom), (left, right) = (same_pads(n, kernel, stride) for n in x.shape[2:])
        x = F.pad(x, (left, right, top, bottom))
        return conv_bn(x, state, key + conv, key + bn, stride, groups, 0, act, eps=1e-3)

    x = unit(x, "", "_conv_stem", "_bn0", 2)
    blocks = 1 + max(int(key.split(".")[1]) for key in state if key.startswith("_blocks."))
    halving, last = {16: ((1, 3, 5, 11), (0, 2, 4, 10, 15)), 21: ((1, 4, 7, 15), (0, 3, 6, 14, 20))}[blocks]
    taps = dict(zip(last, ("s2", "s4", "s8", "s16", "s32"), strict=True))
    out = {}
    for index in range(blocks):
        key = f"_blocks.{index}."
        y = unit(x, key, "_expand_conv", "_bn0") if index else x
        y = unit(y, key, "_depthwise_conv", "_bn1", 2 if index in halving else 1, y.shape[1])
        y = unit(y, key, "_project_conv", "_bn2", act=identity)
        x = y + x if y.shape == x.shape else y
        if index in taps:
            out[taps[index]] = x
    return out


def reference_vgg16(x, state, ceil_mode):
    out, index = {}, 0
    for stride, convs in ((1, 2), (2, 2), (4, 3), (8, 3), (16, 3)):
        for _ in range(convs):
            x = conv_bn(x, state, f"features.{index}", f"features.{index + 1}")
            index += 3
        out[f"s{stride}"] = x
        x = F.max_pool2d(x, 2, ceil_mode=ceil_mode)
        index += 1
    return out


def reference_stages(x, state, out, block):
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, repeats in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for index in range(repeats):
            stride = 2 if index == 0 and stage > 1 else 1
            x = block(x, state, f"layer{stage}.{index}", index == 0, stride)
        out[f"s{2 ** (stage + 1)}"] = x
    return out


def reference_bottleneck(x, state, key, is_first, stride):
    y = conv_bn(x, state, f"{key}.conv1", f"{key}.bn1")
    y = conv_bn(y, state, f"{key}.conv2", f"{key}.bn2", stride)
    y = conv_bn(y, state, f"{key}.conv3", f"{key}.bn3", act=identity)
    if is_first:
        x = conv_bn(x, state, f"{key}.downsample.0", f"{key}.downsample.1", stride, act=identity)
    return F.relu(x + y)


def reference_bottle2neck(x, state, key, is_first, stride):
    y = conv_bn(x, state, f"{key}.conv1", f"{key}.bn1")
    v = y.shape[1] // 4
    y0, y1, y2, y3 = y[:, :v], y[:, v : 2 * v], y[:, 2 * v : 3 * v], y[:, 3 * v :]

    def f(i, z):
        return conv_bn(z, state, f"{key}.convs.{i}", f"{key}.bns.{i}", stride)

    if is_first:
        window = F.conv2d(y3, torch.full((v, 1, 3, 3), 1 / 9, dtype=y3.dtype), stride=stride, padding=1, groups=v)
        z = [f(0, y0), f(1, y1), f(2, y2), window]
        if stride == 2:  # the mean of those of the 2x2 pixels that exist
            H, W = x.shape[2:]
            padded = F.pad(x, (0, W % 2, 0, H % 2))
            there = F.pad(torch.ones_like(x), (0, W % 2, 0, H % 2))
            x = F.avg_pool2d(padded, 2) / F.avg_pool2d(there, 2)
        x = conv_bn(x, state, f"{key}.downsample.1", f"{key}.downsample.2", act=identity)
    else:
        z0 = f(0, y0)
        z1 = f(1, z0 + y1)
        z = [z0, z1, f(2, z1 + y2), y3]
    return F.relu(x + conv_bn(torch.cat(z, 1), state, f"{key}.conv3", f"{key}.bn3", act=identity))


def reference_resnet50(x, state):
    stem = conv_bn(x, state, "conv1", "bn1", 2)
    return reference_stages(stem, state, {"s2": stem}, reference_bottleneck)


def reference_resnet50_wsgn(x, state):
    """The plain one, with weights standardised beforehand and norms over 32 groups."""
    even = {}
    for key, value in state.items():
        if value.dim() == 4:
            rows = value.flatten(1)
            centred = rows - rows.sum(1, keepdim=True) / rows.shape[1]
            std = (centred.square().sum(1, keepdim=True) / (rows.shape[1] - 1)).sqrt()
            value = (centred / (std + 1e-5)).view_as(value)
        even[key] = value
    return reference_resnet50(x, even)


def reference_res2net50(x, state):
    x = conv_bn(x, state, "conv1.0", "conv1.1", 2)
    x = conv_bn(conv_bn(x, state, "conv1.3", "conv1.4"), state, "conv1.6", "bn1")
    return reference_stages(x, state, {}, reference_bottle2neck)


REFERENCES = {
    "mobilenet_v2": reference_mobilenet_v2,
    **{f"efficientnet_lite{number}": reference_efficientnet_lite for number in range(3)},
    "vgg16_bn": lambda x, state: reference_vgg16(x, state, ceil_mode=False),
    "vgg16_bn_ceil": lambda x, state: reference_vgg16(x, state, ceil_mode=True),
    "resnet50": reference_resnet50,
    "resnet50_wsgn": reference_resnet50_wsgn,
    "res2net50": reference_res2net50,
}


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in REFERENCES), ("mobilenet_v2", {"padding": "tf_same"})]
)
def test_values(name, options):
    net = build_backbone(name, all_taps(name), **options).eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, tensor in net.state_dict().items():
            if "running_var" in key or (tensor.dim() == 1 and key.endswith("weight")):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.dim() == 1:
                tensor.copy_(0.2 * torch.randn(tensor.shape, generator=generator))
        x = picture(1, 3, 50, 71)
        expected = REFERENCES[name](x, net.state_dict(), **options)
        features = net(x)
    assert list(features) == list(expected)
    for tap, feature in features.items():
        error = (feature - expected[tap]).abs().max() / expected[tap].std()
        assert error < 1e-3, f"{tap}: {error}"


@pytest.mark.parametrize("n", range(32, 40))
@pytest.mark.parametrize("kernel", [3, 5])
def test_tf_same_pads_by_the_rule(n, kernel):
    conv, x = SameConv2d(1, 1, kernel, 2), picture(1, 1, n, n + 1)
    pads = (*same_pads(n + 1, kernel, 2), *same_pads(n, kernel, 2))
    assert torch.equal(conv(x), F.conv2d(F.pad(x, pads), conv.weight, stride=2))


def test_convolutions_start_as_he_et_al_say():
    """Normal of deviation (2 / fan-out)^0.5, biases zero: of torch's own, features fade with depth."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build_backbone("vgg16_bn", ("s4",))
    convs = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    for conv in convs:
        assert conv.weight.std().item() == pytest.approx((2 / (9 * conv.out_channels)) ** 0.5, rel=0.05)
        assert conv.weight.abs().max() > 3 * conv.weight.std() and not conv.bias.any()
    assert len(convs) == 7


def test_channels_last_changes_nothing():
    net = build_backbone("mobilenet_v2", ("s8",)).eval()
    x = picture(1, 3, 64, 48)
    with torch.no_grad():
        expected = net(x)["s8"]
        net.to(memory_format=torch.channels_last)
        feature = net(x.to(memory_format=torch.channels_last))["s8"]
    assert feature.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(feature, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("tiny", {}), ("mobilenet_v2", {"padding": "tf_same"}), ("efficientnet_lite0", {}), ("vgg16_bn", {})],
)
def test_exports_with_symbolic_sides(name, options):
    net = build_backbone(name, ("s4",), **options).eval()
    sides = {2: torch.export.Dim("H", min=33, max=1024), 3: torch.export.Dim("W", min=33, max=1024)}
    exported = torch.export.export(net, (picture(1, 3, 64, 96),), dynamic_shapes=(sides,)).module()
    x = picture(1, 3, 61, 75)
    torch.testing.assert_close(exported(x), net(x), rtol=1e-4, atol=1e-4)


def test_a_space_takes_the_convention_that_the_backbones_weights_expect():
    x = torch.tensor([0.0, 127.0, 255.0])
    for build in (fusion_cells, fpn, minet):
        convention = build("efficientnet_lite1").input
        found = (x / 255 - convention.mean[0]) / convention.std[0]
        torch.testing.assert_close(found, (x - 127) / 128)
        assert build("mobilenet_v2").input.mean == (0.485, 0.456, 0.406)


def test_user_errors():
    with pytest.raises(UserError, match=r"unknown backbone 'resnet51'.*resnet50"):
        build_backbone("resnet51", ("s4",))
    with pytest.raises(UserError, match="'s64'"):
        build_backbone("resnet50", ("s4", "s64"))
    for taps in ((), ("s4", "s4")):
        with pytest.raises(UserError, match="taps"):
            build_backbone("tiny", taps)
    with pytest.raises(UserError, match="unknown key 'padding'"):
        build_backbone("tiny", ("s4",), padding="tf_same")
    with pytest.raises(UserError, match=r"unknown padding 'same'; known: symmetric, tf_same"):
        build_backbone("mobilenet_v2", ("s4",), padding="same")
