"""Published networks' names of their encoders' parameters -> the backbones' names; None for all other parameters."""

import re

_VGG_FIRST_CONV = {1: 0, 2: 7, 3: 14, 4: 24, 5: 34}  # of each block, in torchvision's vgg16_bn.features
_MINET_VGG_SLICES = {"encoder1": 0, "encoder2": 6, "encoder4": 13, "encoder8": 23, "encoder16": 33}
_MINET_RESNET_PREFIXES = {
    "div_2.0.": "conv1.",
    "div_2.1.": "bn1.",
    "div_4.1.": "layer1.",
    "div_8.": "layer2.",
    "div_16.": "layer3.",
    "div_32.": "layer4.",
}


def automsf_vgg16_key(key):
    match = re.fullmatch(r"vgg16\.(conv|bn)(\d)_(\d)\.(\w+)", key)
    if match is None:
        return None
    kind, block, index, leaf = match.groups()
    return f"features.{_VGG_FIRST_CONV[int(block)] + 3 * (int(index) - 1) + (kind == 'bn')}.{leaf}"


def minet_vgg16_key(key):
    match = re.fullmatch(r"(encoder\d+)\.(\d+)\.(\w+)", key)
    if match is None:
        return None
    part, position, leaf = match.groups()
    return f"features.{_MINET_VGG_SLICES[part] + int(position)}.{leaf}"


def minet_resnet50_key(key):
    for theirs, ours in _MINET_RESNET_PREFIXES.items():
        if key.startswith(theirs):
            return ours + key.removeprefix(theirs)
    return None


def csf_res2net50_key(key):
    return key.removeprefix("base.") if key.startswith("base.") else None
