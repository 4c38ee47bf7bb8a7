"""Backbones: feature extractors that describe their outputs as data.

What a backbone offers (feature names, strides, channels, options) stands in
``genotypes.vocabulary.BACKBONES``, free of torch; here are the modules. Feature names are ``s{stride}``;
state-dict keys are torchvision's (Res2Net, EfficientNet-Lite: their own), so that published ImageNet weights load by
name.

>>> import torch
>>> net = build_backbone("tiny", ("s4", "s32"))
>>> {name: tuple(f.shape) for name, f in net(torch.zeros(2, 3, 64, 96)).items()}
{'s4': (2, 16, 16, 24), 's32': (2, 48, 2, 3)}
"""

from search_spaces.backbones import efficientnet_lite, mobilenet_v2, res2net, resnet, tiny, vgg  # noqa: F401  (they register)
from search_spaces.backbones._register import backbone_names, build_backbone, register_backbone

__all__ = ["build_backbone", "backbone_names", "register_backbone"]
