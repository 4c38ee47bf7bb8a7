"""What an architecture is: genotypes, their YAML files, their checks and their expansion to a flat graph. No torch.

>>> import genotypes
>>> g = genotypes.load("fpn_tiny")        # a name in the zoo, or a path
>>> g.outputs
('head4.logits', 'head8.logits', 'head16.logits')
"""

import os
from pathlib import Path

from genotypes.errors import GenotypeError, UserError, UserNote
from genotypes.genotype import Genotype
from genotypes.graph import Edge, Graph, Node, Size
from genotypes.parts import Backbone, Cell, Input
from genotypes.registry import Record, Registry
from genotypes.templates import TEMPLATES
from genotypes.vocabulary import BACKBONES, OPERATIONS, POSTS, RESAMPLINGS, Feature
from genotypes.yaml_io import dumps, load_file, loads, save

__all__ = [
    "BACKBONES",
    "Backbone",
    "Cell",
    "Edge",
    "Feature",
    "Genotype",
    "GenotypeError",
    "Graph",
    "Input",
    "Node",
    "OPERATIONS",
    "POSTS",
    "RESAMPLINGS",
    "Record",
    "Registry",
    "Size",
    "TEMPLATES",
    "UserError",
    "UserNote",
    "dumps",
    "load",
    "loads",
    "names",
    "save",
]

_ZOO = Path(__file__).parent


def names() -> list[str]:
    """The genotypes that come with the package."""
    return sorted(path.stem for path in _ZOO.glob("*.yaml"))


def load(name_or_path: str | Path) -> Genotype:
    """The genotype of that name in the zoo, in that file, or in that folder of a search or training (genotype.yaml).

    A name that is also a file or folder: write ./NAME for those.

    Raises GenotypeError, listing the zoo, if there is neither, and for a file that is no valid genotype.

    >>> load("fpn_tiny").is_decided
    True
    """
    if str(name_or_path) in names():
        return load_file(_ZOO / f"{name_or_path}.yaml")
    if os.path.isdir(name_or_path):
        if not os.path.isfile(Path(name_or_path) / "genotype.yaml"):
            raise GenotypeError(f"{name_or_path}: is a folder without a genotype.yaml, not a genotype file")
        name_or_path = Path(name_or_path) / "genotype.yaml"
    if not os.path.isfile(name_or_path):
        raise GenotypeError(f"{name_or_path}: no such file, and no genotype of that name; known: {', '.join(names())}")
    return load_file(name_or_path)
