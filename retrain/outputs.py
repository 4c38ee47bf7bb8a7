"""Where a command may write: a new folder, or one that holds nothing but what the same command wrote before."""

import re
from collections.abc import Sequence
from pathlib import Path

from genotypes import UserError
from genotypes.files import is_temporary

__all__ = ["check_folder", "file_name"]


def check_folder(path: Path, own: Sequence[str]) -> None:
    """UserError unless the folder is missing or holds nothing but `own`: names that the command may replace."""
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; expected a folder to write into")
    names = [entry.name for entry in path.iterdir()] if path.exists() else []
    foreign = sorted(name for name in names if name not in own and not is_temporary(name))
    if foreign:
        raise UserError(f"{path} holds files of something else ({', '.join(foreign[:5])}): choose another -o")


def file_name(text: str) -> str:
    """A name as the name of one file or folder: what a file calls itself must not decide where things are written.

    >>> file_name("../../etc/x y"), file_name("ours (v2)"), file_name("..")
    ('_.._etc_x y', 'ours (v2)', '_')
    """
    return re.sub(r"^\.+", "", re.sub(r'[/\\:*?"<>|\x00-\x1f]', "_", text)) or "_"
