"""Checkpoints: tensors and plain values, written in one step, read without executing anything."""

import os
from pathlib import Path
from typing import Any

import torch

from genotypes import UserError

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write beside `path`, then rename: whatever happens, `path` is a whole checkpoint, the old or the new.

    Raises UserError where it cannot be written.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # a rename can reach the disk before the data it names
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk in a RuntimeError of its own
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from error


def load_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The state written by `save_checkpoint`; UserError if the file is something else."""
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # what a stray file makes the reader raise is not documented
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{path}: not a checkpoint of this program ({reason})") from None
    if not isinstance(state, dict):
        raise UserError(f"{path}: not a checkpoint of this program (it holds {type(state).__name__})")
    return state
