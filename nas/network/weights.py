"""Weight files of ours: safetensors that carry the genotype they belong to, so that a file is all one needs."""

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import genotypes
from genotypes import Genotype, GenotypeError, UserError
from genotypes.files import write_atomically

__all__ = ["load_weights", "save_weights"]


def save_weights(path: str | os.PathLike[str], state_dict: Mapping[str, Tensor], genotype: Genotype) -> None:
    """Write a state dict with its genotype, in one step; UserError where that is not possible."""
    metadata = {"genotype": genotypes.dumps(genotype), "genotype_hash": genotype.hash}
    # safetensors refuses memory that two names share; tied weights are none of ours, views are.
    tensors = {key: value.detach().cpu().contiguous() for key, value in state_dict.items()}
    with write_atomically(path) as file:
        try:
            save_file(tensors, file.name, metadata=metadata)
        except SafetensorError as error:  # a full disk
            raise UserError(f"{path}: cannot be written: {error}") from None


def load_weights(path: str | os.PathLike[str]) -> tuple[Genotype, dict[str, Tensor]]:
    """The genotype and the state dict (on the CPU) in a weight file.

    Raises UserError for a file that is missing, damaged, or not one of ours.
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
    try:
        genotype = genotypes.loads(metadata["genotype"], origin=f"{path} (its genotype)")
    except GenotypeError as error:
        raise UserError(f"{error}; was it written by a newer version?") from None
    if genotype.hash != metadata.get("genotype_hash"):
        raise UserError(f"{path}: the genotype in it is not the one its weights were saved with (the hashes differ)")
    return genotype, state
