"""Every operation: shapes, gradients, parameter counts, and values against an independent computation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from genotypes.errors import UserError
from genotypes.vocabulary import OPERATIONS
from search_spaces.convolution import Conv2d
from search_spaces.operations import Convolutions, build_operation

NAMES = tuple(OPERATIONS)
AUTO_MSFNET = {  # name -> parameters at 128 channels, as in the released network
    "none": 0,
    "skip_connect": 0,
    "sep_conv_3x3": 164_096,
    "sep_conv_3x3_rp2": 328_192,
    "dil_conv_3x3": 164_096,
    "dil_conv_3x3_rp2": 328_192,
    "dil_conv_3x3_dil4": 164_096,
    "conv_3x3": 147_712,
    "conv_3x3_rp2": 295_424,
    "spatial_attention": 16_738,
    "channel_attention": 18_824,
}


def randomise(module, seed=0):
    """Random parameters and running statistics, so that no factor of a computation is 0 or 1 by accident."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point():
                fan_in = max(1, tensor[0].numel()) if tensor.dim() > 1 else 1
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)
    return module


def picture(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def count(module):
    return sum(p.numel() for p in module.parameters())


def widths_of(name):
    return (16, 24) if OPERATIONS[name].widths == "any" else (16, 16)


@pytest.mark.parametrize("size", [(20, 24), (1, 1), (7, 3)], ids=str)
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain_norm"])
@pytest.mark.parametrize("name", NAMES)
def test_keeps_size_and_has_finite_gradients(name, affine, size):
    in_channels, out_channels = widths_of(name)
    op = randomise(build_operation(name, in_channels, out_channels, affine))
    x = picture(2, in_channels, *size).requires_grad_()
    before = x.detach().clone()
    y = op(x)
    assert y.shape == (2, out_channels, *size)
    assert torch.equal(x.detach(), before), "the input, which other edges read, was changed in place"
    (y.square().sum() + 0 * x.sum()).backward()
    for tensor in (x, *op.parameters()):
        assert tensor.grad is not None and torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_affine_governs_the_norms_alone(name):
    in_channels, out_channels = widths_of(name)
    with_affine = dict(build_operation(name, in_channels, out_channels, affine=True).named_parameters())
    without = dict(build_operation(name, in_channels, out_channels, affine=False).named_parameters())
    norms = [
        f"{prefix}.{leaf}"
        for prefix, module in build_operation(name, in_channels, out_channels).named_modules()
        if isinstance(module, torch.nn.BatchNorm2d)
        for leaf in ("weight", "bias")
    ]
    assert sorted(with_affine) == sorted([*without, *norms])


@pytest.mark.parametrize(("name", "parameters"), AUTO_MSFNET.items())
def test_parameters_of_auto_msfnet(name, parameters):
    assert count(build_operation(name, 128, 128)) == parameters


def test_parameters_of_our_own():
    C = 64
    counts = {
        "dw_sep_conv_3x3": 2 * (9 * C + C * C + 2 * C),
        "dw_sep_conv_5x5": 2 * (25 * C + C * C + 2 * C),
        "dw_dil_conv_3x3": 9 * C + C * C + 2 * C,
        "dw_dil_conv_5x5": 25 * C + C * C + 2 * C,
        "depthwise_3x3": 9 * C,
    }
    assert {name: count(build_operation(name, C, C)) for name in counts} == counts
    assert count(build_operation("conv2d_1x1", 8, 5)) == 40
    assert count(build_operation("conv2d_1x1_bias", 8, 5)) == 45
    for dilation in ("", "_d2", "_d4", "_d8", "_d16"):
        assert count(build_operation(f"conv2d_3x3{dilation}", 8, 5)) == 360
        assert count(build_operation(f"conv2d_3x3{dilation}_bias", 8, 5)) == 365


@pytest.mark.parametrize("channels", [1, 3, 8, 15, 16, 31, 48])
def test_channel_attention_has_a_bottleneck_at_any_width(channels):
    op = build_operation("channel_attention", channels, channels)
    assert op.linear_1.out_features == max(1, channels // 16)
    assert op.eval()(picture(2, channels, 5, 5)).shape == (2, channels, 5, 5)


# An independent computation from the state dict, written from the published description.


def norm(x, state, key, training):
    weight, bias = state.get(f"{key}.weight"), state.get(f"{key}.bias")
    mean, var = state[f"{key}.running_mean"], state[f"{key}.running_var"]
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
    y = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
    return y if weight is None else y * weight[:, None, None] + bias[:, None, None]


def dense(x, state, training, dilation, pointwise, repeats):
    index = 0
    for _ in range(repeats):
        x = F.conv2d(x.clamp(min=0), state[f"op.{index + 1}.weight"], padding=dilation, dilation=dilation)
        if pointwise:
            x = F.conv2d(x, state[f"op.{index + 2}.weight"])
        index += 4 if pointwise else 3
        x = norm(x, state, f"op.{index - 1}", training)
    return x


def depthwise(x, state, training, kernel, dilation, repeats):
    for i in range(repeats):
        weight = state[f"op.{4 * i + 1}.weight"]
        x = F.conv2d(x.clamp(min=0), weight, padding=dilation * (kernel // 2), dilation=dilation, groups=x.shape[1])
        x = norm(F.conv2d(x, state[f"op.{4 * i + 2}.weight"]), state, f"op.{4 * i + 3}", training)
    return x


def spatial(x, state, training):
    pooled = torch.stack([x.mean(1), x.max(1).values], dim=1)
    gate = 1 / (1 + (-F.conv2d(pooled, state["conv1.weight"], padding=3)).exp())
    return norm(F.conv2d(x * gate, state["conv11.weight"]), state, "bn11", training).clamp(min=0)


def channel(x, state, training):
    pooled = F.adaptive_avg_pool2d(x, 1).flatten(1)
    hidden = F.linear(pooled, state["linear_1.weight"], state["linear_1.bias"]).clamp(min=0)
    gate = 1 / (1 + (-F.linear(hidden, state["linear_2.weight"], state["linear_2.bias"])).exp())
    y = torch.einsum("bchw,bc,oc->bohw", x, gate, state["conv1.weight"][:, :, 0, 0])
    return norm(y, state, "bn1", training).clamp(min=0)


def plain(x, state, dilation):
    weight = state["weight"]
    padding = dilation * (weight.shape[-1] // 2)
    return F.conv2d(x, weight, state.get("bias"), padding=padding, dilation=dilation)


REFERENCES = {
    "none": lambda x, s, t: 0 * x,
    "skip_connect": lambda x, s, t: x,
    "sep_conv_3x3": lambda x, s, t: dense(x, s, t, 1, True, 1),
    "sep_conv_3x3_rp2": lambda x, s, t: dense(x, s, t, 1, True, 2),
    "dil_conv_3x3": lambda x, s, t: dense(x, s, t, 2, True, 1),
    "dil_conv_3x3_rp2": lambda x, s, t: dense(x, s, t, 2, True, 2),
    "dil_conv_3x3_dil4": lambda x, s, t: dense(x, s, t, 4, True, 1),
    "conv_3x3": lambda x, s, t: dense(x, s, t, 1, False, 1),
    "conv_3x3_rp2": lambda x, s, t: dense(x, s, t, 1, False, 2),
    "spatial_attention": spatial,
    "channel_attention": channel,
    "dw_sep_conv_3x3": lambda x, s, t: depthwise(x, s, t, 3, 1, 2),
    "dw_sep_conv_5x5": lambda x, s, t: depthwise(x, s, t, 5, 1, 2),
    "dw_dil_conv_3x3": lambda x, s, t: depthwise(x, s, t, 3, 2, 1),
    "dw_dil_conv_5x5": lambda x, s, t: depthwise(x, s, t, 5, 2, 1),
    "depthwise_3x3": lambda x, s, t: F.conv2d(x, s["weight"], padding=1, groups=x.shape[1]),
    "conv2d_1x1_bias": lambda x, s, t: plain(x, s, 1),
    "conv2d_3x3": lambda x, s, t: plain(x, s, 1),
    "conv2d_3x3_d2": lambda x, s, t: plain(x, s, 2),
    "conv2d_3x3_d4_bias": lambda x, s, t: plain(x, s, 4),
    "conv2d_3x3_d8": lambda x, s, t: plain(x, s, 8),
    "conv2d_3x3_d16": lambda x, s, t: plain(x, s, 16),
}


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("affine", [True, False], ids=["affine", "plain_norm"])
@pytest.mark.parametrize("name", REFERENCES)
def test_values(name, affine, training):
    op = randomise(build_operation(name, 32, 32, affine)).double().train(training)
    x = picture(2, 32, 20, 23).double()
    state = {key: value.clone() for key, value in op.state_dict().items()}
    expected = REFERENCES[name](x, state, training)
    torch.testing.assert_close(op(x), expected, rtol=1e-9, atol=1e-9)


def test_none_stops_infinities():
    x = torch.full((1, 4, 2, 2), float("inf"))
    assert torch.equal(build_operation("none", 4, 4)(x), torch.zeros(1, 4, 2, 2))
    assert torch.equal(build_operation("none", 4, 6)(x), torch.zeros(1, 6, 2, 2))


def test_user_errors():
    with pytest.raises(UserError, match=r"unknown operation 'sep_conv_9x9'.*sep_conv_3x3"):
        build_operation("sep_conv_9x9", 8, 8)
    with pytest.raises(UserError, match=r"'conv_3x3'.*8 -> 16"):
        build_operation("conv_3x3", 8, 16)
    with pytest.raises(UserError, match=r"'conv2d_1x1'.*8 -> 0"):
        build_operation("conv2d_1x1", 8, 0)


@pytest.mark.slow
def test_all_operations_export_in_one_graph():
    class All(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.ops = torch.nn.ModuleList(build_operation(name, 16, 16) for name in NAMES)

        def forward(self, x):
            return sum(op(x) for op in self.ops)

    net = All().eval()
    sides = {2: torch.export.Dim("H", min=8, max=512), 3: torch.export.Dim("W", min=8, max=512)}
    exported = torch.export.export(net, (picture(1, 16, 24, 40),), dynamic_shapes=(sides,)).module()
    x = picture(1, 16, 17, 9)
    torch.testing.assert_close(exported(x), net(x))


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("name", [op for op in NAMES if isinstance(build_operation(op, 4, 4), Convolutions)])
def test_a_weighted_candidate_is_its_weight_times_the_operation(name, affine):
    """Also backward, twice, and in what the norms remember; exactly, but for the rounding of float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = build_operation(name, 6, 6, affine=affine).double()
        x, weight = torch.randn(3, 6, 9, 7, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
        for parameter in ours.parameters():
            parameter.data = torch.randn_like(parameter)
    for layer in ours.op:
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum, layer.eps = 0.3, 0.02  # other than torch's own
    theirs = copy.deepcopy(ours)
    for mode in (True, False):
        found = _twice(lambda x, w: ours.weighted(torch.relu(x), w), ours.train(mode), x, weight)
        expected = _twice(lambda x, w: w[:, None, None] * theirs(x), theirs.train(mode), x, weight)
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict())
    assert int(ours.state_dict()[next(key for key in ours.state_dict() if key.endswith("tracked"))]) == 1


def _twice(function, module, x, weight):
    """[value, gradients, gradients of the gradients' squares] in x, weight and the module's parameters."""
    leaves = [x.clone().requires_grad_(), weight.clone().requires_grad_(), *module.parameters()]
    value = function(*leaves[:2])
    slopes = torch.autograd.grad(value.square().mean(), leaves, create_graph=True)
    bends = torch.autograd.grad(sum(slope.square().sum() for slope in slopes), leaves)
    return [value, *slopes, *bends]


def test_a_weighted_candidate_averages_over_all_batches_where_its_norm_does():
    ours = build_operation("sep_conv_3x3", 4, 4, affine=False)
    norm = ours.op[-1]
    norm.momentum = None
    batches = [torch.randn(2, 4, 5, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3)]
    with torch.no_grad():
        for x in batches:
            ours.weighted(torch.relu(x), torch.full((4,), 0.5))
        means = [ours.op[:-1](x).mean((0, 2, 3)) for x in batches]
    torch.testing.assert_close(norm.running_mean, torch.stack(means).mean(0))
    for tracks in (True, False):  # as `norm_statistics_frozen` leaves it
        norm.track_running_stats = tracks
        weighted = ours.eval().weighted(torch.relu(batches[0]), torch.full((4,), 0.5))
        torch.testing.assert_close(weighted, 0.5 * ours(batches[0]))
    wide = batches[0].double()  # the weight stays in 32 bits
    torch.testing.assert_close(ours.double().weighted(torch.relu(wide), torch.full((4,), 0.5)), 0.5 * ours(wide))


@pytest.mark.parametrize("name", [name for name in NAMES if "dil" in name or "_d" in name])
def test_a_dilated_convolution_has_a_gradient_in_bf16(name):
    """oneDNN's own is of memory that nobody wrote, or ends the process, for maps this wide and such widths."""
    in_channels, out_channels = (17, 2) if OPERATIONS[name].widths == "any" else (17, 17)
    op = randomise(build_operation(name, in_channels, out_channels)).to(memory_format=torch.channels_last)
    x = picture(2, in_channels, 32, 32).contiguous(memory_format=torch.channels_last)
    weights = [weight for weight in op.parameters() if weight.dim() == 4]
    onto = picture(2, out_channels, 32, 32, seed=2)
    exact = torch.autograd.grad((op(x) * onto).mean(), weights)
    with torch.autocast("cpu", torch.bfloat16):
        loss = (op(x) * onto).mean()
    for gradient, expected in zip(torch.autograd.grad(loss, weights), exact, strict=True):
        assert (gradient - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize(("channels", "dilation", "computed"), [(17, 2, "fp32"), (16, 2, "bf16"), (17, 1, "bf16")])
def test_a_cpu_trains_dilated_convolutions_of_odd_widths_in_float32_under_autocast(channels, dilation, computed):
    """What is wrong without it shows on some processors alone."""
    conv = Conv2d(channels, 4, 3, padding=dilation, dilation=dilation)
    with torch.autocast("cpu", torch.bfloat16), _Convolved() as convolved:
        conv(picture(2, channels, 9, 9)).sum().backward()
    assert convolved.dtypes == [{"fp32": torch.float32, "bf16": torch.bfloat16}[computed]]
    torch.nn.init.zeros_(conv.weight).data[:, 0, 1, 1] = 1
    torch.nn.init.constant_(conv.bias, 257)
    with torch.autocast("cpu", torch.bfloat16):
        y = conv(torch.ones(1, channels, 9, 9))
    assert y[0, 0, 4, 4] == 256, "bf16 rounds the bias, and then the sum 257"


class _Convolved(TorchDispatchMode):
    """Notes what convolutions compute in."""

    def __init__(self):
        super().__init__()
        self.dtypes = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.convolution.default:
            self.dtypes.append(args[0].dtype)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("kind", "computed"),
    [
        ({"kernel_size": 5, "padding": 2}, torch.float32),
        ({"kernel_size": 3, "stride": 2}, torch.float32),
        ({"kernel_size": 3, "padding": 1}, torch.bfloat16),
    ],
)
def test_a_cpu_trains_slow_depthwise_convolutions_in_float32_under_autocast(kind, computed):
    conv = Conv2d(8, 8, groups=8, bias=False, **kind)
    x = picture(2, 8, 9, 9).bfloat16()
    with torch.autocast("cpu", torch.bfloat16), _Convolved() as convolved:
        outputs = [conv(x)]
        with torch.no_grad():
            outputs.append(conv(x))
    assert convolved.dtypes == [computed, torch.bfloat16], "without gradients it stays in bf16, which is fast"
    assert [output.dtype for output in outputs] == [torch.bfloat16] * 2
    torch.testing.assert_close(*outputs)
