"""What takes part in a comparison: genotypes by name, by file, drawn at random, and the plain pyramid."""

import re
from dataclasses import dataclass
from pathlib import Path

import genotypes
from genotypes import Genotype, UserError
from genotypes.errors import plural
from genotypes.files import file_name
from nas.run_files import RANDOM
from nas.strategies import random_choices
from retrain.tables import labelled
from search_spaces import fpn
from search_spaces.spaces import load_space

__all__ = ["Entry", "read_entries"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """label: unique, names the runs; group: entries of one group are also averaged (random:0, random:1, ...)."""

    label: str
    genotype: Genotype

    @property
    def group(self) -> str:
        return self.label.split(":")[0]

    @property
    def folder(self) -> str:
        """The label as the name of a folder."""
        return file_name(self.label)


def read_entries(texts: tuple[str, ...], space: str | None = None) -> list[Entry]:
    """The entries named on a command line, see `CompareConfig.genotypes`.

    Raises UserError for one that cannot be read, is open, or shares its label with another, and where random:SEED or
    fpn need a space and there is none.
    """
    if not texts:
        raise UserError("give --genotypes: zoo names, files, LABEL=FILE, random:SEED, fpn")
    opened = _space(texts, space)
    named = {text: _named(text) for text in texts if text != "fpn" and _seed(text) is None}
    reference = opened or next((entry.genotype for entry in named.values()), None)
    entries = []
    for text in texts:
        seed = _seed(text)
        if text in named:
            entry = named[text]
        elif seed is None:
            entry = Entry(label="fpn", genotype=_pyramid(reference))
        elif opened is None:
            raise UserError(f"{text} is drawn from a space: give --space FILE, a genotype with open choices")
        else:
            choices = random_choices(opened.choices(), seed, opened.reaches_image)
            genotype = opened.decide(choices, name=f"{opened.name}_random{seed}")
            entry = Entry(label=text, genotype=genotype)
        if not entry.genotype.is_decided:
            count = plural(len(entry.genotype.choices()), "choice")
            raise UserError(f"{text}: it leaves {count} open; search first, or use random:0")
        entries.append(entry)
    for attribute in ("label", "folder"):
        values = [getattr(entry, attribute) for entry in entries]
        if double := {value for value in values if values.count(value) > 1}:
            raise UserError(f"two genotypes are called {', '.join(sorted(double))}; tell them apart with LABEL=FILE")
    return entries


def _seed(text: str) -> int | None:
    match = re.fullmatch(rf"{RANDOM}:(\d+)", text)
    return int(match[1]) if match else None


def _named(text: str) -> Entry:
    label, source = labelled(text)
    genotype = genotypes.load(source)
    return Entry(label=label or genotype.name, genotype=genotype)


def _space(texts: tuple[str, ...], space: str | None) -> Genotype | None:
    if space is None:
        files = [Path(labelled(text)[1]) for text in texts]
        beside = [(file if file.is_dir() else file.parent) / "space.yaml" for file in files if file.exists()]
        space = next((str(path) for path in beside if path.is_file()), None)
    return None if space is None else load_space(space)


def _pyramid(like: Genotype | None) -> Genotype:
    """The plain feature pyramid on the backbone, taps, width and outputs of another genotype."""
    if like is None or like.backbone is None:
        raise UserError("fpn takes its backbone from the space or from another genotype: give --space FILE")
    width = next((cell.params["channels"] for cell in like.cells if cell.template == "lateral"), None)
    if width is None:
        raise UserError(f"fpn takes its width from a lateral cell, and {like.name} has none; give --space FILE")
    return fpn(
        like.backbone.name,
        width,
        taps=like.backbone.taps,
        outputs=min(len(like.outputs), len(like.backbone.taps)),
        input=like.input,
        backbone_options=dict(like.backbone.options),
    )
