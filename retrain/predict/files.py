"""Which photographs to read and which files to write."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from genotypes import UserError
from genotypes.files import check_writable
from nas.task.folders import pictures_in

__all__ = ["Job", "Plan", "plan"]


@dataclass(frozen=True)
class Job:
    """One photograph (a file, or "-": standard input) and the files made from it, by kind: map, cutout, overlay."""

    photo: str
    targets: dict[str, Path]


@dataclass(frozen=True)
class Plan:
    """All that a prediction reads and writes; left_out: what the folders hold besides pictures, in words."""

    jobs: list[Job] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def plan(inputs: Sequence[str], folder: Path, kinds: Sequence[str] = ("map",), *, overwrite: bool = False) -> Plan:
    """A job for each file given ("-" is standard input) and for each picture below each folder given.

    Maps go to FOLDER/NAME.png, the rest to FOLDER/KIND/NAME.png; NAME is a file's stem, with the path below the folder
    that was given. FOLDER itself is not searched. Raises UserError, before anything is written, for a missing input, a
    folder without pictures, two photographs of one name, a FOLDER that cannot be written into, and a file that is there
    already (unless `overwrite`); one of the inputs is never overwritten.
    """
    check_writable(folder)
    found: dict[Path, tuple[str, str]] = {}  # where a file really is: how it was given, its name
    left_out: list[str] = []
    for text in inputs:
        path = Path(text)
        if text == "-":
            found[Path("/dev/stdin")] = ("-", "stdin")
        elif path.is_dir():
            within = folder if folder.resolve() != path.resolve() else None  # maps of before are no photographs
            pictures, others = pictures_in(path, without=within)
            left_out += [str(path / other) for other in others]
            if not pictures:
                raise UserError(f"{path} holds no image that Pillow reads")
            for picture in pictures:
                name = picture.relative_to(path).with_suffix("").as_posix()
                found.setdefault(picture.resolve(), (str(picture), name))
        elif path.is_file():
            found.setdefault(path.resolve(), (text, path.stem))
        else:
            raise UserError(f"no such photograph or folder: {text}")
    owner: dict[Path, str] = {}
    jobs = []
    for photo, name in found.values():
        targets = {kind: folder / ("" if kind == "map" else kind) / f"{name}.png" for kind in kinds}
        for target in targets.values():
            if target in owner:
                raise UserError(f"{owner[target]} and {photo} would both become {target}: use two output folders")
            owner[target] = photo
            if target.resolve() in found:
                raise UserError(f"{target} is one of the photographs; choose another -o")
            if target.exists() and not overwrite:
                raise UserError(f"{target} already exists; choose another -o, or replace maps with --overwrite")
        jobs.append(Job(photo, targets))
    return Plan(jobs, left_out)


def read_bytes(photo: str) -> str | bytes:
    """What `nas.task.read_image` takes: standard input's bytes for "-"."""
    return sys.stdin.buffer.read() if photo == "-" else photo
