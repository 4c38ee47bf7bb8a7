"""The authors' checkpoints: read without executing anything in them, translated by the rules of `names`, strictly."""

import os
import re
import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import nas
from genotypes import Genotype, UserError
from retrain.authors.names import Names, Rule, names_for

__all__ = ["authors_keys", "import_authors", "read_checkpoint", "unwrap"]

_WRAPPERS = ("state_dict", "net_state")
_COUNTER = "num_batches_tracked"  # of batches, in a norm: without effect, and older files lack it
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class _Part:
    """One of our tensors, and which block of the authors' it is."""

    ours: str
    scale: float
    to: str = ""
    source: str = ""


@dataclass
class _Source:
    """One of the authors' tensors: its shape, and our tensors with the rows and columns that are theirs."""

    shape: tuple[int, ...]
    parts: list[tuple[_Part, tuple[slice, ...]]]


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The state dict in a .pth, .pt or .pth.tar file, with the authors' own keys (see `unwrap`).

    Raises UserError for a file that is missing, that holds more than plain data, or no state dict.
    """
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; expected a checkpoint file")
    if not path.is_file():
        raise UserError(f"no checkpoint at {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the age of a file's format
            data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # What a stray file makes the reader raise is not documented; torch's own message spans many lines and
        # advises to switch the safety off.
        cause = re.search(r"WeightsUnpickler error: (.+?)(?: was not| for|\.?\n)", str(error))
        reason = cause[1] if cause else type(error).__name__
        raise UserError(
            f"{path} cannot be read safely ({reason}); expected a file of torch.save with tensors and plain data only"
            f"{_advice(path)}"
        ) from None
    try:
        return unwrap(data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _advice(path: Path) -> str:
    """CSNet's authors put two files side by side, and the one that looks like weights is not them."""
    if path.suffix != ".bin":
        return ""
    return f" (CSNet's .bin is a network's layout; its weights are the {path.with_suffix('.pth.tar').name} beside it)"


def unwrap(data: Any) -> dict[str, Tensor]:
    """The state dict in `data`: itself, or under `state_dict` or `net_state`; without DataParallel's `module.`.

    Raises UserError where there is none.
    """
    for wrapper in _WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(wrapper), Mapping):
            data = data[wrapper]
    if not isinstance(data, Mapping):
        raise UserError(f"expected a state dict (name -> tensor), not a {type(data).__name__}")
    for key, value in data.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            wrappers = " or ".join(_WRAPPERS)
            raise UserError(
                f"expected a state dict (name -> tensor), bare or under {wrappers}; "
                f"found a {type(value).__name__} under {key!r}"
            )
    prefix = "module." if data and all(key.startswith("module.") for key in data) else ""
    return {key.removeprefix(prefix): value for key, value in data.items()}


def import_authors(genotype: Genotype, state_dict: Mapping[str, Any]) -> dict[str, Tensor]:
    """The authors' weights as a state dict for `nas.build(genotype)`, which loads it strictly.

    state_dict: as in the authors' file, bare or under `state_dict` or `net_state`, with or without `module.`.
    Factors that the authors apply in the forward pass (CSNet's 100) are folded into the weights.

    Raises UserError that names the first key that is missing, unexpected, of another shape or kind (a dense tensor of
    floating-point numbers is expected) or not finite, and where no authors' network is like the genotype. TypeError
    where `genotype` is none, say its name.

        g = genotypes.load("csnet_l_x2")
        net = nas.build(g)
        weights = torch.load("csnet-L-x2.pth.tar", map_location="cpu", weights_only=True)
        net.load_state_dict(import_authors(g, weights))
    """
    names = names_for(genotype)
    ours = _our_tensors(genotype)
    sources = _sources(genotype, names, ours)
    theirs = {key: value for key, value in unwrap(state_dict).items() if not _without_effect(key, names, sources)}
    advice = f"; is this the authors' checkpoint of {genotype.name}?"
    state = {key: torch.zeros((), dtype=torch.int64) for key in ours}  # in our order; what stays are the counters
    for key, source in sources.items():
        if key not in theirs:
            raise UserError(f"the key {key!r} is missing{advice}")
        kind = _unfit(theirs[key])
        if kind:
            expected = "a dense tensor of float32, float64, float16 or bfloat16"
            raise UserError(f"the key {key!r} is {kind}; expected {expected}")
        if tuple(theirs[key].shape) != source.shape:
            shapes = f"{list(theirs[key].shape)}, not {list(source.shape)}"
            raise UserError(f"the key {key!r} has the shape {shapes}{advice}")
        for part, block in source.parts:
            dtype = ours[part.ours].dtype
            # A copy of its own: weight files refuse tensors that share memory.
            value = (theirs[key].detach()[block].to(dtype) * part.scale).contiguous()
            if not value.isfinite().all():
                raise UserError(
                    f"the key {key!r} holds values that are not finite as {_word(dtype)}; expected trained weights"
                )
            state[part.ours] = value
    for key in theirs:
        if key not in sources:
            raise UserError(f"the key {key!r} is unexpected{advice}")
    return state


def authors_keys(genotype: Genotype) -> dict[str, tuple[int, ...]]:
    """The keys, with shapes, that a checkpoint of the authors' must have to become weights of `genotype`.

    Raises UserError where no authors' network is like the genotype, TypeError where `genotype` is none.
    """
    names = names_for(genotype)
    return {key: source.shape for key, source in _sources(genotype, names, _our_tensors(genotype)).items()}


def _without_effect(key: str, names: Names, sources: Mapping[str, _Source]) -> bool:
    """Whether a key is one that the authors' files may hold although nothing of ours is made from it."""
    original = key
    for alias, of in names.aliases:
        if key.startswith(alias):
            original = of + key.removeprefix(alias)
    module, _, leaf = original.rpartition(".")
    if leaf == _COUNTER:
        return f"{module}.running_mean" in sources
    return key in names.unused or (original != key and original in sources)


def _unfit(value: Tensor) -> str:
    """What a tensor is, if no weight can be read from it; "" if one can."""
    if value.is_nested:
        return "a nested tensor"
    if value.layout != torch.strided:
        return f"a sparse tensor ({_word(value.layout)})"
    if value.is_meta:
        return "a meta tensor, which has no values"
    if value.is_quantized:
        return f"a quantised tensor ({_word(value.dtype)})"
    return "" if value.dtype in _DTYPES else f"a tensor of {_word(value.dtype)}"


def _word(torch_name: torch.dtype | torch.layout) -> str:
    return str(torch_name).removeprefix("torch.")


def _our_tensors(genotype: Genotype) -> dict[str, Tensor]:
    with torch.device("meta"):  # names and shapes only
        return nas.build(genotype).state_dict()


def _sources(genotype: Genotype, names: Names, ours: Mapping[str, Tensor]) -> dict[str, _Source]:
    """The authors' key -> what of ours comes from it."""
    groups: dict[str, list[_Part]] = defaultdict(list)
    # Compiled here, for `re` remembers only 512 patterns, and CSNet has more.
    rules = [(re.compile(rule.ours), rule) for rule in names.rules]
    for key in ours:
        if not key.endswith(_COUNTER):
            theirs, part = _translate(key, rules, genotype)
            groups[theirs].append(part)
    sources = {}
    for key, parts in groups.items():
        shape = tuple(ours[parts[0].ours].shape)
        if not parts[0].source:
            sources[key] = _Source(shape, [(parts[0], ())])
            continue
        rows, height = _offsets({part.to: ours[part.ours].shape[0] for part in parts})
        columns, width = _offsets({part.source: ours[part.ours].shape[1] for part in parts})
        blocks: list[tuple[_Part, tuple[slice, ...]]]
        blocks = [(part, (rows[part.to], columns[part.source])) for part in parts]
        sources[key] = _Source((height, width, *shape[2:]), blocks)
    return sources


def _offsets(widths: Mapping[str, int]) -> tuple[dict[str, slice], int]:
    """Branch -> its channels, branches in order; and how many channels there are."""
    slices, start = {}, 0
    for branch in sorted(widths):
        slices[branch] = slice(start, start + widths[branch])
        start += widths[branch]
    return slices, start


def _translate(key: str, rules: list[tuple[re.Pattern[str], Rule]], genotype: Genotype) -> tuple[str, _Part]:
    """Our key -> the authors', and which part of it ours is."""
    module, _, leaf = key.rpartition(".")
    for pattern, rule in rules:
        match = pattern.fullmatch(module)
        if match:
            groups = match.groupdict()
            word = rule.leaf if leaf == "weight" else leaf
            part = _Part(key, rule.scale, groups.get("to", ""), groups.get("from", ""))
            return f"{match.expand(rule.theirs)}.{word}", part
    raise UserError(f"{genotype.name!r} differs from every authors' network: they have nothing like {key!r}")
