"""Finding photographs and their masks in a folder, in any of the field's usual layouts."""

import logging
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from genotypes.errors import plural
from genotypes.files import quoted
from nas.task.reading import DataError, header_size, picture_extensions

__all__ = [
    "Pair",
    "Survey",
    "check_sizes",
    "few",
    "find_maps",
    "find_pairs",
    "is_synthetic",
    "name_in",
    "name_key",
    "parse_data",
    "pictures_in",
    "refuse",
    "size_problem",
    "survey",
]

_log = logging.getLogger(__name__)

_IMAGE_WORDS = {"image", "images", "img", "imgs", "im", "photo", "photos", "jpegimages"}
_MASK_WORDS = {"mask", "masks", "gt", "gts", "groundtruth", "ground", "pixelwisegt", "annotation", "annotations"}
_SYSTEM_FILES = {"thumbs.db", "desktop.ini"}
_FEW = 20

_LAYOUTS = """expected one of (case does not matter; subfolders are followed):
  NAME-Image/ and NAME-Mask/        as DUTS-TR, DUTS-TE
  images/ and ground_truth_mask/    as ECSSD
  imgs/ and gt/                     as HKU-IS
  Imgs/ with x.jpg and x.png        as PASCAL-S (also images/ and gt/)
  DUT-OMRON-image/ and pixelwiseGT-new-PNG/
  Image/ and Mask/, images/ and GT/
  NAME/ beside mask/ or NAME_GT/; imgs/NAME with masks/NAME
  FILE.lst                          a line "image mask" for each pair, relative to the file (a tab between the
                                    two where names hold blanks)
The sets' own pages offer them (DUTS: saliencydetection.net/duts, ECSSD and HKU-IS: the authors' pages)."""


class Pair(NamedTuple):
    """A photograph and its mask: files, not read yet. `name` is the image's path below its folder, without ending."""

    name: str
    image: Path
    mask: Path


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What a folder holds: pairs sorted by name, what is wrong with it, and what is left out (each told in words)."""

    pairs: list[Pair]
    problems: list[str]
    left_out: list[str]


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
    """All pairs under a folder (or in a `.lst` file), sorted by name; what is left out is logged as a warning.

    Files that cannot be read by their ending (.mat, .txt) are left out. Names match without regard to case; every
    image needs its mask and every mask its image.

    Raises:
        DataError: no such folder, no layout that we know, nothing in it, names without a partner or used twice (all of
            them in one message).
    """
    found = survey(path)
    if found.problems:
        # Of names alone: files that cannot be read would show only when these are mended.
        told = f"`python -m retrain.data {quoted(path)}` opens every file, too, and lists all that is wrong"
        raise DataError("\n".join([*found.problems, told]))
    if found.left_out:
        _log.warning("%s: left out %d: %s", path, len(found.left_out), few(found.left_out))
    return found.pairs


def survey(path: str | Path) -> Survey:
    """Pairs, problems and what is left out, without opening a picture.

    Raises:
        DataError: no such folder, or no layout that we know.
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


def check_sizes(pairs: Sequence[Pair]) -> list[str]:
    """A line for each pair whose image and mask differ in size or cannot be opened, from the files' headers."""
    problems = []
    for pair in pairs:
        try:
            image, mask = header_size(pair.image), header_size(pair.mask)
        except DataError as error:
            problems.append(str(error))
        else:
            problems += size_problem(pair, image, mask)
    return problems


def size_problem(pair: Pair, image: tuple[int, ...], mask: tuple[int, ...]) -> list[str]:
    """One line if the two (height, width) differ, else none."""
    if image[:2] == mask[:2]:
        return []
    return [
        f"image and mask differ in size: {pair.image} is {image[1]} x {image[0]}, "
        f"{pair.mask} is {mask[1]} x {mask[0]} (width x height, upright)"
    ]


def refuse(problems: Sequence[str], count: int, name: str) -> None:
    """DataError with all problems of a set of `count` pairs, if there are any."""
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        more = len(problems) - _FEW
        rest = f"\n  ... and {more} more; `python -m retrain.data DIR` lists all of a folder" if more > 0 else ""
        lines = "\n  ".join(problems[:_FEW])
        raise DataError(f"{len(problems)} of {plural(count, 'pair')} of {name} cannot be used:\n  {lines}{rest}")


def few(names: Iterable[str]) -> str:
    """The first names of many, as text."""
    names = sorted(names)
    return ", ".join(names[:_FEW]) + (f", ... ({len(names) - _FEW} more)" if len(names) > _FEW else "")


def pictures_in(folder: Path, *, without: Path | None = None) -> tuple[list[Path], list[str]]:
    """All pictures below a folder, sorted, and what is left out of it, in words. Links to folders are followed once.

    without: a folder in it that is passed over. Hidden files are not counted.
    """
    pictures: list[Path] = []
    left_out: list[str] = []
    known = picture_extensions()
    for file in _files(folder, {without.resolve()} if without else set()):
        ending = file.suffix.lower()
        name = file.relative_to(folder).as_posix()
        if not file.is_file():
            left_out.append(f"{name} (a link to nothing)" if file.is_symlink() else f"{name} (a pipe or device)")
        elif ending in known:
            pictures.append(file)
        else:
            left_out.append(name)
    return pictures, left_out


def find_maps(folder: Path, names: Sequence[str]) -> tuple[dict[str, Path], str]:
    """Name -> FOLDER/NAME.png (or another picture's ending, case does not matter), as `retrain.predict` writes maps.

    Of several the ones of just this name count, where there are any, and of these the .png. Also, in words, that there
    is no such folder, or which names have none, or several of which none is meant; "" where all have one.
    """
    if not folder.is_dir():
        return {}, f"no such folder of maps: {folder}"
    there = _by_key(pictures_in(folder)[0], folder, flat=False)
    maps = {name: there.get(name_key(name), []) for name in names}
    maps = {name: [f for f in files if name_in(folder, f) == name] or files for name, files in maps.items()}
    maps = {name: [f for f in files if f.suffix.lower() == ".png"] or files for name, files in maps.items()}
    missing = [name for name, files in maps.items() if not files]
    double = [name for name, files in maps.items() if len(files) > 1]
    lacking = f"{folder} lacks the maps of {len(missing)} of {plural(len(names), 'image')}: {few(missing)}"
    problem = lacking if missing else ""
    if double and not missing:
        which = few(str(file.relative_to(folder)) for name in double for file in maps[name])
        problem = f"{folder} holds several maps of {plural(len(double), 'image')}; which is meant is not clear: {which}"
    return {name: files[0] for name, files in maps.items() if files}, problem


def _files(folder: Path, seen: set[Path]) -> Iterator[Path]:
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FILES:
            continue
        if entry.is_dir():
            yield from _files(entry, seen)
        else:
            yield entry


def _layout(folder: Path) -> tuple[Path, Path | None] | None:
    """(images, masks), or (folder of both, None), or None where there is neither."""
    subfolders = _subfolders(folder)
    masks = [d for d in subfolders if _words(d) & _MASK_WORDS]
    images = [d for d in subfolders if _words(d) & _IMAGE_WORDS and d not in masks]
    for kind, found in (("images", images), ("masks", masks)):
        if len(found) > 1:
            names = ", ".join(d.name for d in found)
            raise DataError(
                f"{folder} holds several folders of {kind} ({names}): which one is meant is not clear; give the folder "
                "of one set, or name its pairs in a .lst file"
            )
    if images:
        return images[0], masks[0] if masks else None
    if masks:  # NAME/ beside mask/ or NAME_GT/
        others = [d for d in subfolders if d not in masks and pictures_in(d)[0]]
        named = [d for d in others if _own_words(d) == _own_words(masks[0])]
        if len(named) == 1 or len(others) == 1:
            return (named or others)[0], masks[0]
        if _pictures_here(folder):
            return folder, masks[0]
        if others:
            names = ", ".join(d.name for d in others)
            raise DataError(f"{folder}: which of {names} holds the images of {masks[0].name} is not clear; {_RENAME}")
        return None
    if not (here := _pictures_here(folder)):
        return None
    alone = len({name_key(file.stem) for file in here}) == len(here)
    beside = _masks_beside(folder) if alone else []
    if len(beside) > 1:
        names = " and ".join(map(str, beside))
        raise DataError(f"{folder}: both {names} could hold its masks; {_RENAME}")
    return folder, beside[0] if beside else None


_RENAME = "rename the one that is meant to images (masks), or name the pairs in a .lst file"


def _masks_beside(folder: Path) -> list[Path]:
    """X_GT beside X, masks/X for imgs/X: where the masks of a folder of photographs may be."""
    folder = folder.resolve()
    parent = folder.parent
    found = [d for d in _subfolders(parent) if _words(d) & _MASK_WORDS and _own_words(d) == _own_words(folder)]
    if _words(parent) & _IMAGE_WORDS:
        found += [d / folder.name for d in _subfolders(parent.parent) if _words(d) & _MASK_WORDS]
    return [d for d in found if d != folder and d.is_dir()]


def _subfolders(folder: Path) -> list[Path]:
    return sorted(d for d in folder.iterdir() if d.is_dir() and not d.name.startswith("."))


def _pictures_here(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if file.suffix.lower() in picture_extensions() and file.is_file()]


def _words(folder: Path) -> set[str]:
    return set(re.split(r"[^a-z]+", folder.name.lower()))


def _own_words(folder: Path) -> list[str]:
    """The words (and numbers) of a name without those that say images or masks."""
    words = re.split(r"[^a-z0-9]+", folder.name.lower())
    return [word for word in words if word not in _IMAGE_WORDS | _MASK_WORDS]


def name_in(folder: Path, file: Path) -> str:
    """What a file is called in a set: its path below the set's folder, without its ending."""
    return file.relative_to(folder).with_suffix("").as_posix()


def name_key(name: str) -> str:
    """One for all spellings of a name: in any case, an accent in its letter or, as macOS writes it, behind it."""
    return unicodedata.normalize("NFC", name).casefold()


def _by_key(files: Iterable[Path], folder: Path, *, flat: bool) -> dict[str, list[Path]]:
    """Files by their path below the folder without ending (flat: by their stem), see `name_key`."""
    keys: dict[str, list[Path]] = {}
    for file in files:
        key = file.stem if flat else name_in(folder, file)
        keys.setdefault(name_key(key), []).append(file)
    return keys


def _match(image_folder: Path, mask_folder: Path) -> Survey:
    image_files, left_out = pictures_in(image_folder, without=mask_folder)
    mask_files, left_masks = pictures_in(mask_folder)
    for folder, files in ((image_folder, image_files), (mask_folder, mask_files)):
        if not files:
            raise DataError(f"{folder} holds no image that Pillow reads")
    images, masks = _by_key(image_files, image_folder, flat=False), _by_key(mask_files, mask_folder, flat=False)
    if images.keys() != masks.keys():  # subfolders on one side only
        flat_images, flat_masks = (_by_key(files, image_folder, flat=True) for files in (image_files, mask_files))
        if flat_images.keys() == flat_masks.keys() and len(flat_images) == len(image_files) == len(mask_files):
            masks = {key: flat_masks[name_key(files[0].stem)] for key, files in images.items()}
    problems = []
    for folder, keys in ((image_folder, images), (mask_folder, masks)):
        if double := [key for key, files in keys.items() if len(files) > 1]:
            problems.append(f"{folder} holds {plural(len(double), 'name')} more than once: {few(double)}")
    for kind, partner, ours, others, here, there in (
        ("image", "a mask", images, masks, image_folder, mask_folder),
        ("mask", "an image", masks, images, mask_folder, image_folder),
    ):
        if alone := ours.keys() - others.keys():
            names = few(ours[key][0].relative_to(here).as_posix() for key in alone)
            count = f"{len(alone)} of {plural(len(ours), kind)}"
            problems.append(f"{count} in {here} without {partner} in {there}: {names}")
    left_out += [f"{mask_folder.name}/{name}" for name in left_masks]
    pairs = [
        Pair(name_in(image_folder, files[0]), files[0], masks[key][0]) for key, files in images.items() if key in masks
    ]
    return Survey(pairs=_sorted(pairs), problems=problems, left_out=left_out)


def _match_together(folder: Path) -> Survey:
    """PASCAL-S and MSRA: x.jpg is the image and x.png its mask, side by side."""
    files, left_out = pictures_in(folder)
    if not files:
        raise DataError(f"{folder} holds no image that Pillow reads, and there is no folder of masks next to it")
    pairs, alone = [], []
    for group in _by_key(files, folder, flat=False).values():
        masks = [f for f in group if f.suffix.lower() == ".png"]
        if len(group) == 2 and len(masks) == 1:
            image = next(f for f in group if f not in masks)
            pairs.append(Pair(name_in(folder, image), image, masks[0]))
        else:
            alone.append(group[0].relative_to(folder).as_posix())
    problems = []
    if alone:
        problems.append(
            f"there is no folder of masks next to {folder}, and {len(alone)} of its names are not a pair "
            f"of one photograph and one .png mask: {few(alone)}\n{_LAYOUTS}"
        )
    return Survey(pairs=_sorted(pairs), problems=problems, left_out=left_out)


def _from_list(file: Path) -> Survey:
    if file.suffix.lower() not in (".lst", ".txt"):
        raise DataError(f"{file} is a file, not a folder or a .lst file\n{_LAYOUTS}")
    pairs, missing, problems = [], [], []
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()  # Windows may write a mark before the text
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {file}: {error}") from error
    for number, line in enumerate(lines, 1):
        parts = [part.strip() for part in line.split("\t") if part.strip()]
        parts = parts if len(parts) == 2 else line.split()
        if not parts:
            continue
        if len(parts) != 2:
            problems.append(
                f'{file}, line {number}: expected "image mask", a tab between them if names hold blanks; got {line!r}'
            )
            continue
        image, mask = (file.parent / part for part in parts)
        if gone := [str(f) for f in (image, mask) if not f.is_file()]:
            missing += gone
        else:
            pairs.append(Pair(image.stem, image, mask))
    if missing:
        problems.append(f"{file} names {plural(len(missing), 'missing file')}: {few(missing)}")
    if not pairs and not problems:
        problems.append(f"{file} names no pairs")
    counts = Counter(name_key(pair.name) for pair in pairs)
    if double := [name for name, count in counts.items() if count > 1]:
        problems.append(f"{file} uses {plural(len(double), 'image name')} more than once: {few(double)}")
    return Survey(pairs=_sorted(pairs), problems=problems, left_out=[])


def _sorted(pairs: Iterable[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: (pair.name.casefold(), pair.name))
