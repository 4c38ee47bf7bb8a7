"""Weight files of ours: safetensors that carry the genotype they belong to, so that a file is all one needs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

import genotypes
from genotypes import BACKBONES, Genotype, GenotypeError, UserError
from genotypes.files import content_digest, write_atomically
from search_spaces.backbones import weight_file

__all__ = ["backbone_content", "check_lender", "load_weights", "save_weights"]


def save_weights(path: str | os.PathLike[str], state_dict: Mapping[str, Tensor], genotype: Genotype) -> None:
    """Write a state dict with its genotype, in one step; UserError where that is not possible."""
    metadata = {"genotype": genotypes.dumps(genotype), "genotype_hash": genotype.hash}
    # safetensors refuses memory that two names share; tied weights are none of ours, views are.
    tensors = {key: value.detach().cpu().contiguous() for key, value in state_dict.items()}
    # Not by safetensors' own writer: it puts another file in place of the opened one, which only its owner may read.
    content = _sorted(save(tensors, metadata))
    with write_atomically(path) as file:
        file.writelines(content)


def _sorted(content: bytes) -> tuple[bytes, memoryview]:
    """The same in two parts: safetensors writes metadata in an order that differs from call to call."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(size)
    if len(text) != size:  # it spells something in another way
        text = content[8 : 8 + size]
    return content[:8] + text, memoryview(content)[8 + size :]


def load_weights(path: str | os.PathLike[str]) -> tuple[Genotype, dict[str, Tensor]]:
    """The genotype and the state dict (on the CPU) in a weight file.

    Raises UserError for a file that is missing, damaged, or not one of ours, and for weights that are not finite.
    """
    if not Path(path).is_file():
        raise UserError(f"no weight file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no dict
    except (SafetensorError, OSError) as error:
        raise UserError(
            f"{path} is no readable weight file ({error}); expected a .safetensors file written by retrain.train "
            "or retrain.authors (which reads the authors' .pth)"
        ) from None
    if "genotype" not in metadata:
        raise UserError(f"{path} holds weights but no genotype; expected a file of retrain.train or retrain.authors")
    genotype = _parsed(metadata, path)
    if genotype.hash != metadata.get("genotype_hash"):
        raise UserError(f"{path}: the genotype in it is not the one its weights were saved with (the hashes differ)")
    if bad := next((key for key, value in state.items() if not value.float().isfinite().all()), None):
        raise UserError(f"{path}: {bad} holds values that are not finite: were its weights trained to the end?")
    return genotype, state


def _parsed(metadata: Mapping[str, str], path: str | os.PathLike[str]) -> Genotype:
    try:
        return genotypes.loads(metadata["genotype"], origin=f"{path} (its genotype)")
    except GenotypeError as error:
        raise UserError(f"{error}; was it written by a newer version?") from None


def backbone_content(genotype: Genotype, weights: str | None) -> dict[str, str]:
    """What a run of many trainings must agree with, see `RunFolder.agree`: each reads the backbone's weights."""
    if weights is None or genotype.backbone is None:
        return {}
    return {"content of backbone_weights": content_digest(weight_file(genotype.backbone.name, weights))}


def check_lender(path: str | os.PathLike[str], genotype: Genotype) -> None:
    """Check that the trained network in a file, if it is one of ours, can lend its backbone to a genotype.

    Raises UserError where the genotype has no backbone, and where the file's has other options, or sees pictures of
    another mean and std: the weights would load, and mean something else.
    """
    if genotype.backbone is None:
        raise UserError(f"{genotype.name} has no backbone that could take weights from {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (SafetensorError, OSError):
        return  # a file of another kind, or none: who reads it says so
    if "genotype" not in metadata:
        return
    theirs, ours = _seen_by_backbone(_parsed(metadata, path)), _seen_by_backbone(genotype)
    for what, value in ours.items():
        if theirs.get(what) != value:
            raise UserError(
                f"{path} holds a trained network with {what} {theirs.get(what)}; {genotype.name} has {value}. These "
                "weights fit the same backbone, options, mean and std alone (--space.backbone_options, --space.mean, "
                "--space.std, or what the genotype says)"
            )


def _seen_by_backbone(genotype: Genotype) -> dict[str, object]:
    """What backbone weights depend on: which it is, its options, how pictures are normalised, to .01."""
    if genotype.backbone is None:
        return {"backbone": "none"}
    name = genotype.backbone.name
    options = BACKBONES[name].all_options(genotype.backbone.options)
    levels = {key: [round(value, 2) for value in getattr(genotype.input, key)] for key in ("mean", "std")}
    return {"backbone": name, **options, **levels}
