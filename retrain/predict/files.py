"""Which photographs to read and which files to write."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from PIL import Image

from genotypes import UserError
from genotypes.files import check_writable
from nas.task.folders import pictures_in

__all__ = ["MAKER", "AlreadyThere", "Job", "Plan", "plan", "read_bytes"]

MAKER = "sod-nas"  # the keyword of the text in a PNG file that says what made it
AlreadyThere = Literal["refuse", "replace", "keep"]  # what becomes of files that are there


@dataclass(frozen=True)
class Job:
    """One photograph (a file, or "-": standard input) and the files to make from it, by kind: map, cutout, overlay."""

    photo: str
    targets: dict[str, Path]


@dataclass
class Plan:
    """All that a prediction reads and writes.

    left_out: what the folders hold besides pictures, in words; kept: photographs whose files are all there already.
    """

    jobs: list[Job] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    kept: int = 0


def plan(
    inputs: Sequence[str],
    folder: Path,
    kinds: Sequence[str] = ("map",),
    *,
    there: AlreadyThere = "refuse",
    made_by: str = "",
) -> Plan:
    """A job for each file given ("-" is standard input) and for each picture below each folder given.

    Maps go to FOLDER/NAME.png, the rest to FOLDER/KIND/NAME.png; NAME is a file's stem, with the path below the folder
    that was given, and with its ending where two photographs differ in that alone. A FOLDER below one that was given is
    not searched. Raises UserError, before anything is written, for a missing input, a folder without pictures, two
    photographs of one name, a FOLDER that cannot be written into or was given to be searched, and a file that is there
    already where `there` refuses it; one of the inputs is never overwritten. A file that is kept, and says that it was
    made by something else than `made_by`, is refused, too; one that says nothing, such as a map corrected by hand, not.
    """
    check_writable(folder)
    found: dict[Path, tuple[str, str]] = {}  # where a file lies: how it was given, its name
    left_out: list[str] = []
    for text in inputs:
        path = Path(text)
        if text == "-":
            found[Path("/dev/stdin")] = ("-", "stdin")
        elif path.is_dir():
            if folder.resolve() == path.resolve():
                raise UserError(f"maps in {path} would be taken for photographs the next time: choose another -o")
            pictures, others = pictures_in(path, without=folder)
            left_out += [str(path / other) for other in others]
            if not pictures:
                raise UserError(f"{path} holds no image that Pillow reads")
            for picture in pictures:
                found.setdefault(_place(picture), (str(picture), picture.relative_to(path).as_posix()))
        elif path.is_file():
            found.setdefault(_place(path), (text, path.name))
        else:
            raise UserError(f"no such photograph or folder: {text}")
    read = {place.resolve() for place in found}
    alike = Counter(_stem(name) for name in {name for _, name in found.values()})
    owner: dict[Path, str] = {}
    made = Plan(left_out=left_out)
    for photo, name in found.values():
        name = name if alike[_stem(name)] > 1 else _stem(name)
        targets = {kind: folder / ("" if kind == "map" else kind) / f"{name}.png" for kind in kinds}
        for target in targets.values():
            if target in owner:
                raise UserError(f"{owner[target]} and {photo} would both become {target}: use two output folders")
            owner[target] = photo
            if target.resolve() in read:
                raise UserError(f"{target} is one of the photographs; choose another -o")
            if there == "refuse" and target.exists():
                raise UserError(
                    f"{target} already exists: choose another -o, go on with --resume, or replace maps with --overwrite"
                )
        if there == "keep":
            for kind in [kind for kind, target in targets.items() if target.exists()]:
                _check_maker(targets.pop(kind), made_by)
        if targets:
            made.jobs.append(Job(photo, targets))
        else:
            made.kept += 1
    return made


def _check_maker(target: Path, made_by: str) -> None:
    """Maps of two networks in one folder would pass for those of one."""
    try:
        with Image.open(target) as picture:
            maker = picture.info.get(MAKER, made_by)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return  # what Pillow cannot read is the user's
    if maker != made_by:
        raise UserError(
            f"{target} was made by {maker}, and this is {made_by}: go on with the same network and options, choose "
            "another -o, or replace maps with --overwrite"
        )


def _place(photo: Path) -> Path:
    """One for each name: a link to another photograph has a map of its own, as it is a pair of its own in a set."""
    return photo.parent.resolve() / photo.name


def _stem(name: str) -> str:
    """A name with its folders, without its ending."""
    return PurePosixPath(name).with_suffix("").as_posix()


def read_bytes(photo: str) -> str | bytes:
    """What `nas.task.read_image` takes: standard input's bytes for "-"."""
    return sys.stdin.buffer.read() if photo == "-" else photo
