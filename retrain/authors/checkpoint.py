"""Reading the authors' checkpoint files: nothing in them is executed."""

import os
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genotypes import UserError

__all__ = ["read_checkpoint", "unwrap"]

_WRAPPERS = ("state_dict", "net_state")


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
