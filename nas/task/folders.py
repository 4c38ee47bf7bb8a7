"""Finding photographs and their masks in a folder, in any of the field's usual layouts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from nas.task.errors import DataError

__all__ = ["Pair", "find_pairs", "parse_data"]

_IMAGE_WORDS = {"image", "images", "img", "imgs", "im", "photo", "photos", "jpegimages"}
_MASK_WORDS = {"mask", "masks", "gt", "gts", "groundtruth", "ground", "pixelwisegt", "annotation", "annotations"}
_FEW = 5

_LAYOUTS = """expected one of (case does not matter):
  NAME-Image/ and NAME-Mask/        as DUTS-TR, DUTS-TE
  images/ and ground_truth_mask/    as ECSSD
  imgs/ and gt/                     as HKU-IS
  Imgs/ with x.jpg and x.png        as PASCAL-S (also images/ and gt/)
  DUT-OMRON-image/ and pixelwiseGT-new-PNG/
  Image/ and Mask/, images/ and GT/
  FILE.lst                          a line "image mask" for each pair, relative to the file
The sets' own pages offer them (DUTS: saliencydetection.net/duts, ECSSD and HKU-IS: the authors' pages)."""


class Pair(NamedTuple):
    """A photograph and its mask: files, not read yet. `name` is the image's stem."""

    name: str
    image: Path
    mask: Path


def parse_data(text: str) -> tuple[str, str]:
    """Read what `--data` takes: `NAME=DIR`, `DIR`, `synthetic` or `synthetic:COUNT`.

    Returns:
        (name, source): a name for tables and what `open_photos` opens. A folder without a name is called by its own.

    Raises:
        DataError: an empty text, name or folder.
    """
    if not Path(text).exists() and "=" in text:
        name, source = text.split("=", 1)
    else:
        source = text
        name = "synthetic" if is_synthetic(text) else _own_name(text)
    if not name or not source:
        raise DataError(f"cannot read data {text!r}: expected NAME=DIR, DIR, synthetic or synthetic:COUNT")
    return name, source


def _own_name(text: str) -> str:
    path = Path(text).resolve()
    return "" if not text else (path.stem if path.is_file() else path.name)


def is_synthetic(source: str) -> bool:
    """Whether a source names the built-in pictures rather than a folder."""
    return source.split(":", 1)[0] == "synthetic" and not Path(source).exists()


def find_pairs(path: str | Path) -> list[Pair]:
    """All pairs under a folder (or in a `.lst` file), sorted by name.

    Files that Pillow does not read by their extension (Thumbs.db, .mat, .txt) are no images and are passed over.
    Names match without regard to case; every image needs its mask and every mask its image.

    Raises:
        DataError: no such folder, no layout that we know, nothing in it, names without a partner or used twice.
    """
    path = Path(path)
    if path.is_file():
        return _from_list(path)
    if not path.is_dir():
        raise DataError(f"no such folder: {path}\n{_LAYOUTS}")
    where = _layout(path)
    if where is None:  # archives are often unpacked one folder too deep
        inner = {d: found for d in _subfolders(path) if (found := _layout(d))}
        if len(inner) > 1:
            names = ", ".join(d.name for d in inner)
            raise DataError(f"{path} holds several data sets ({names}): give one of those folders")
        if not inner:
            if not any(path.iterdir()):
                raise DataError(f"{path} is empty\n{_LAYOUTS}")
            raise DataError(f"{path} holds no layout of images and masks that we know\n{_LAYOUTS}")
        where = next(iter(inner.values()))
    images, masks = where
    return _match(images, masks) if masks else _match_together(images)


def _layout(folder: Path) -> tuple[Path, Path | None] | None:
    """(images, masks), or (folder of both, None), or None where there is neither."""
    subfolders = _subfolders(folder)
    masks = [d for d in subfolders if _words(d) & _MASK_WORDS]
    images = [d for d in subfolders if _words(d) & _IMAGE_WORDS and d not in masks]
    for kind, found in (("images", images), ("masks", masks)):
        if len(found) > 1:
            names = ", ".join(d.name for d in found)
            raise DataError(f"{folder} holds several folders of {kind} ({names}): which one is meant is not clear")
    if images and masks:
        return images[0], masks[0]
    if images:
        return images[0], None
    if not masks and _image_files(folder):
        return folder, None
    return None


def _subfolders(folder: Path) -> list[Path]:
    return sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))


def _words(folder: Path) -> set[str]:
    return set(re.split(r"[^a-z]+", folder.name.lower()))


@lru_cache
def _extensions() -> frozenset[str]:
    Image.init()
    return frozenset(ext for ext, kind in Image.registered_extensions().items() if kind in Image.OPEN)


def _image_files(folder: Path) -> list[Path]:
    known = _extensions()
    return sorted(f for f in folder.iterdir() if f.suffix.lower() in known and not f.name.startswith("."))


def _by_stem(files: Iterable[Path]) -> dict[str, list[Path]]:
    stems: dict[str, list[Path]] = {}
    for file in files:
        stems.setdefault(file.stem.casefold(), []).append(file)
    return stems


def _few(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:_FEW]) + (", ..." if len(names) > _FEW else "")


def _match(image_folder: Path, mask_folder: Path) -> list[Pair]:
    images, masks = _by_stem(_image_files(image_folder)), _by_stem(_image_files(mask_folder))
    for folder, stems in ((image_folder, images), (mask_folder, masks)):
        if not stems:
            raise DataError(f"{folder} holds no image that Pillow reads")
        if double := [stem for stem, files in stems.items() if len(files) > 1]:
            raise DataError(f"{folder} holds {len(double)} names more than once: {_few(double)}")
    if alone := images.keys() - masks.keys():
        raise DataError(
            f"{len(alone)} of {len(images)} images in {image_folder} have no mask in {mask_folder}: "
            + _few(images[stem][0].name for stem in alone)
        )
    if alone := masks.keys() - images.keys():
        raise DataError(
            f"{len(alone)} of {len(masks)} masks in {mask_folder} have no image in {image_folder}: "
            + _few(masks[stem][0].name for stem in alone)
        )
    return _sorted(Pair(image[0].stem, image[0], masks[stem][0]) for stem, image in images.items())


def _match_together(folder: Path) -> list[Pair]:
    """PASCAL-S and MSRA: x.jpg is the image and x.png its mask, side by side."""
    stems = _by_stem(_image_files(folder))
    if not stems:
        raise DataError(f"{folder} holds no image that Pillow reads, and there is no folder of masks next to it")
    pairs, alone = [], []
    for files in stems.values():
        masks = [f for f in files if f.suffix.lower() == ".png"]
        if len(files) == 2 and len(masks) == 1:
            image = next(f for f in files if f not in masks)
            pairs.append(Pair(image.stem, image, masks[0]))
        else:
            alone.append(files[0].name)
    if alone:
        raise DataError(
            f"there is no folder of masks next to {folder}, and {len(alone)} of its names are not a pair "
            f"of one photograph and one .png mask: {_few(alone)}\n{_LAYOUTS}"
        )
    return _sorted(pairs)


def _from_list(file: Path) -> list[Pair]:
    if file.suffix.lower() not in (".lst", ".txt"):
        raise DataError(f"{file} is a file, not a folder or a .lst file\n{_LAYOUTS}")
    pairs, missing = [], []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    for number, line in enumerate(lines, 1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 2:
            raise DataError(f'{file}, line {number}: expected "image mask", got {line!r}')
        image, mask = (file.parent / part for part in parts)
        missing += [str(f) for f in (image, mask) if not f.is_file()]
        pairs.append(Pair(image.stem, image, mask))
    if missing:
        raise DataError(f"{file} names {len(missing)} files that do not exist: {_few(missing)}")
    if not pairs:
        raise DataError(f"{file} names no pairs")
    if double := [stem for stem, files in _by_stem(p.image for p in pairs).items() if len(files) > 1]:
        raise DataError(f"{file} uses {len(double)} image names more than once: {_few(double)}")
    return _sorted(pairs)


def _sorted(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (pair.name.casefold(), pair.name))
