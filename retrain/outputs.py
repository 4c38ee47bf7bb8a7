"""Where a command may write: a new folder, or one that holds nothing but what the same command wrote before."""

from collections.abc import Sequence
from pathlib import Path

from genotypes import UserError

__all__ = ["check_folder"]


def check_folder(path: Path, own: Sequence[str]) -> None:
    """UserError unless the folder is missing or holds nothing but `own`: names that the command may replace."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; expected a folder to write into")
    foreign = sorted(entry.name for entry in path.iterdir() if entry.name not in own) if path.exists() else []
    if foreign:
        raise UserError(f"{path} holds files of something else ({', '.join(foreign[:5])}): choose another -o")
