"""Which photographs to read and which files to write."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from genotypes import UserError

__all__ = ["Job", "plan"]


class Job(NamedTuple):
    """One photograph and the files made from it; overlay None: no contact picture."""

    photo: Path
    map: Path
    overlay: Path | None


def plan(inputs: Sequence[str], folder: Path, *, overlay: bool = False, overwrite: bool = False) -> list[Job]:
    """A job for each file given and for each image in each folder given (not in folders within).

    Maps go to FOLDER/STEM.png, contact pictures to FOLDER/overlay/STEM.png. Raises UserError, before anything is
    written, for a missing input, a folder without images, two photographs of one stem, and a file that is there
    already (unless `overwrite`); one of the inputs is never overwritten.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; expected a folder to write into")
    photos = [photo for text in inputs for photo in _photos(Path(text))]
    photos = list({photo.resolve(): photo for photo in photos}.values())
    jobs: dict[Path, Job] = {}
    for photo in photos:
        target = folder / f"{photo.stem}.png"
        if target in jobs:
            raise UserError(f"{jobs[target].photo} and {photo} would both become {target}: use two output folders")
        jobs[target] = Job(photo, target, folder / "overlay" / target.name if overlay else None)
    sources = {photo.resolve() for photo in photos}
    for job in jobs.values():
        for target in (job.map, job.overlay):
            if target is not None and target.resolve() in sources:
                raise UserError(f"{target} is one of the photographs; choose another -o")
            if target is not None and target.exists() and not overwrite:
                raise UserError(f"{target} already exists; choose another -o, or replace maps with --overwrite")
    return list(jobs.values())


def _photos(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"no such photograph or folder: {path}")
    Image.init()
    known = {ext for ext, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    found = sorted(f for f in path.iterdir() if f.suffix.lower() in known and not f.name.startswith("."))
    if not found:
        raise UserError(f"{path} holds no image that Pillow reads")
    return found
