"""The words of the language: operations, post steps, resampling steps and backbones, as data.

Reading and checking a genotype needs to know which words exist and what they do to shapes, but not how they
are computed; `search_spaces` gives the words their meaning in torch. A user's own operation or backbone is
declared by registering it there (see docs/extending.md), so nobody edits this file to extend the system.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from genotypes._checks import show
from genotypes.errors import GenotypeError

__all__ = [
    "BACKBONES",
    "BackboneWord",
    "FeatureInfo",
    "OPERATIONS",
    "OperationWord",
    "POSTS",
    "RESAMPLES",
    "declare_backbone",
    "declare_operation",
    "look_up",
]


IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, kw_only=True)
class OperationWord:
    """An operation's effect on shapes.

    widths: "same" if it only maps C channels to C channels, "any" if it can change the channel count.
    """

    name: str
    widths: str
    summary: str = ""


@dataclass(frozen=True)
class FeatureInfo:
    """One output of a backbone: its name, stride (input pixels per feature pixel) and channel count."""

    name: str
    stride: int
    channels: int


@dataclass(frozen=True, kw_only=True)
class BackboneWord:
    """What a backbone offers: features, finest first; options with their allowed values, the default first.

    mean, std: of the input convention that its published weights expect, of pictures in 0..1.
    """

    name: str
    features: tuple[FeatureInfo, ...]
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    summary: str = ""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def feature(self, name: str) -> FeatureInfo:
        """The feature called `name`; GenotypeError, listing those that exist, if there is none."""
        for info in self.features:
            if info.name == name:
                return info
        known = ", ".join(info.name for info in self.features)
        raise GenotypeError(f"backbone {self.name!r} has no feature {show(name)}; it has: {known}")


OPERATIONS: dict[str, OperationWord] = {}
BACKBONES: dict[str, BackboneWord] = {}

# A node's post step acts on the combined map; GroupNorm carries its number of groups in its name.
POSTS: tuple[str, ...] = ("none", "relu", "bn", "bn_relu", "prelu", "bn_prelu", "gn32_relu", "gn32_prelu")

# name -> factor by which the step changes the stride, or None: "to the size of the destination node".
# avg2 and max{k} floor an odd size; avg2_ceil keeps the last row and does not count padding.
RESAMPLES: dict[str, int | None] = {
    "bilinear": None,
    "nearest": None,
    "avg2": 2,
    "avg2_ceil": 2,
    "max2": 2,
    "max4": 4,
}


def declare_operation(name: str, *, widths: str = "same", summary: str = "") -> OperationWord:
    """Add an operation to the language; ValueError if the word is taken or `widths` is unknown."""
    if widths not in ("same", "any"):
        raise ValueError(f"operation {name!r}: widths must be 'same' or 'any', not {widths!r}")
    if name in OPERATIONS:
        raise ValueError(f"operation {name!r} is already declared")
    OPERATIONS[name] = OperationWord(name=name, widths=widths, summary=summary)
    return OPERATIONS[name]


def declare_backbone(
    name: str,
    features: Mapping[str, tuple[int, int]],
    *,
    options: Mapping[str, tuple[str, ...]] | None = None,
    summary: str = "",
    mean: tuple[float, float, float] = IMAGENET_MEAN,
    std: tuple[float, float, float] = IMAGENET_STD,
) -> BackboneWord:
    """Add a backbone: `features` maps a feature's name to (stride, channels). ValueError if the word is taken."""
    if name in BACKBONES:
        raise ValueError(f"backbone {name!r} is already declared")
    infos = tuple(FeatureInfo(key, *value) for key, value in features.items())
    BACKBONES[name] = BackboneWord(
        name=name, features=infos, options=dict(options or {}), summary=summary, mean=mean, std=std
    )
    return BACKBONES[name]


def look_up(table: Mapping[str, object], kind: str, name: object) -> object:
    """`table[name]`, or a GenotypeError that lists the words that exist."""
    if not isinstance(name, str) or name not in table:
        raise GenotypeError(f"unknown {kind} {show(name)}; known: {', '.join(sorted(table))}")
    return table[name]


def _declare_builtin_words() -> None:
    # Auto-MSFNet's eleven (ACM MM 2021). Its "separable" and "dilated" convolutions are dense.
    for name, summary in (
        ("skip_connect", "identity"),
        ("sep_conv_3x3", "ReLU, 3x3, 1x1, BN"),
        ("sep_conv_3x3_rp2", "(ReLU, 3x3, 1x1, BN) twice"),
        ("dil_conv_3x3", "ReLU, 3x3 dilation 2, 1x1, BN"),
        ("dil_conv_3x3_rp2", "(ReLU, 3x3 dilation 2, 1x1, BN) twice"),
        ("dil_conv_3x3_dil4", "ReLU, 3x3 dilation 4, 1x1, BN"),
        ("conv_3x3", "ReLU, 3x3, BN"),
        ("conv_3x3_rp2", "(ReLU, 3x3, BN) twice"),
        ("spatial_attention", "7x7 mask from channel mean and maximum, 1x1, BN, ReLU"),
        ("channel_attention", "squeeze-and-excitation, 1x1, BN, ReLU"),
        ("dw_sep_conv_3x3", "(ReLU, depthwise 3x3, 1x1, BN) twice, as in DARTS"),
        ("dw_sep_conv_5x5", "(ReLU, depthwise 5x5, 1x1, BN) twice, as in DARTS"),
        ("dw_dil_conv_3x3", "ReLU, depthwise 3x3 dilation 2, 1x1, BN, as in DARTS"),
        ("dw_dil_conv_5x5", "ReLU, depthwise 5x5 dilation 2, 1x1, BN, as in DARTS"),
        ("depthwise_3x3", "depthwise 3x3 without norm"),
    ):
        declare_operation(name, widths="same", summary=summary)
    declare_operation("none", widths="any", summary="zeros")
    kinds = [("1x1", "")] + [("3x3", f"_d{d}" if d > 1 else "") for d in (1, 2, 4, 8, 16)]
    for kernel, dilation in kinds:
        for bias in ("", "_bias"):
            declare_operation(f"conv2d_{kernel}{dilation}{bias}", widths="any", summary="bare convolution")

    declare_backbone(
        "tiny",
        {"s4": (4, 16), "s8": (8, 24), "s16": (16, 32), "s32": (32, 48)},
        summary="a few thousand parameters, for the default search and for tests",
    )
    declare_backbone(
        "mobilenet_v2",
        {"s2": (2, 16), "s4": (4, 24), "s8": (8, 32), "s16": (16, 96), "s32": (32, 320)},
        options={"padding": ("symmetric", "tf_same")},
        summary="Sandler et al., CVPR 2018",
    )
    for number, summary, (s8, s16, s32) in (
        (0, "Tan and Le, ICML 2019, for phones: without squeeze-and-excitation", (40, 112, 320)),
        (1, "efficientnet_lite0, deeper", (40, 112, 320)),
        (2, "efficientnet_lite1, wider", (48, 120, 352)),
    ):
        declare_backbone(
            f"efficientnet_lite{number}",
            {"s2": (2, 16), "s4": (4, 24), "s8": (8, s8), "s16": (16, s16), "s32": (32, s32)},
            summary=summary,
            mean=(127 / 255,) * 3,
            std=(128 / 255,) * 3,
        )
    vgg = {"s1": (1, 64), "s2": (2, 128), "s4": (4, 256), "s8": (8, 512), "s16": (16, 512)}
    declare_backbone("vgg16_bn", vgg, summary="Simonyan and Zisserman, ICLR 2015, with BN")
    declare_backbone("vgg16_bn_ceil", vgg, summary="vgg16_bn with pools that round up, as Auto-MSFNet's")
    resnet = {"s4": (4, 256), "s8": (8, 512), "s16": (16, 1024), "s32": (32, 2048)}
    declare_backbone("resnet50", {"s2": (2, 64), **resnet}, summary="He et al., CVPR 2016, stride on the 3x3")
    declare_backbone("res2net50", resnet, summary="Res2Net-50 v1b 26w x 4s, Gao et al., TPAMI 2021")


_declare_builtin_words()
