"""Spoilt at random, a document is still a valid genotype, or refused with a GenotypeError that names a line."""

import copy
import datetime
import random
import re
from typing import Any

import pytest
import yaml
from malformed_documents import BASE

import genotypes
from genotypes import Genotype, GenotypeError

JUNK = [None, True, False, 0, -1, 2, 1.5, float("nan"), float("inf"), 10**30, "", "x", "s8", "f16", "mix.a", "é", "a b"]
JUNK += ["none", "sum", "bilinear", "graph", "fusion_cell", "image", "avg2", [], [[]], {}, {"like": {}}, [None], [1, 2]]
JUNK += [{"a": 1, "b": [1, {}]}, [{"name": "x"}], ["none", "none"], datetime.date(2021, 1, 1), "x" * 1000, "\n", "0x10"]

DOCUMENT = genotypes.loads(BASE).to_dict()


def places(data: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all parts of a document."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, value in items for place in places(value, (*path, key)))]


def get(data: Any, path: tuple) -> Any:
    for part in path:
        data = data[part]
    return data


def spoil(data: Any, rng: random.Random) -> Any:
    """A copy with one part removed, replaced by junk, by another part or by its like, repeated, or renamed."""
    data = copy.deepcopy(data)
    paths = places(data)[1:]
    *path, key = rng.choice(paths)
    parent = get(data, path)
    how = rng.choice(["remove", "junk", "swap", "vary", "vary", "add", "rename"])
    if how == "remove":
        del parent[key]
    elif how == "junk":
        parent[key] = copy.deepcopy(rng.choice(JUNK))
    elif how == "swap":
        parent[key] = copy.deepcopy(get(data, rng.choice(paths)))
    elif how == "vary":
        parent[key] = copy.deepcopy(get(data, rng.choice([other for other in paths if other[-1] == key])))
    elif isinstance(parent, list):
        parent.insert(key, copy.deepcopy(parent[key] if how == "rename" else rng.choice(JUNK)))
    else:
        new = rng.choice(["x", "post", "width", "size", "candidates", "operations", "nodes", "stride", "2", "a.b", ""])
        parent[new] = copy.deepcopy(rng.choice(JUNK)) if how == "add" else parent.pop(key)
    return data


def check(text: str) -> bool:
    """Whether the text is a genotype; if so, it survives a round trip."""
    try:
        genotype = genotypes.loads(text, "net.yaml")
    except GenotypeError as error:
        assert re.match(r"net\.yaml:\d+: \S", str(error)), error
        assert "mappingproxy" not in str(error)
        return False
    assert genotypes.loads(genotypes.dumps(genotype)).to_dict() == genotype.to_dict()
    return True


@pytest.mark.parametrize("seed", range(300))
def test_spoilt_documents(seed: int) -> None:
    rng = random.Random(seed)
    data = DOCUMENT
    for _ in range(rng.randint(1, 3)):
        data = spoil(data, rng)
    check(yaml.safe_dump(data, sort_keys=False))


def test_some_stay_valid_and_most_do_not() -> None:
    # Were nothing refused, or everything, the tests above would say nothing.
    rng = random.Random(0)
    valid = [check(yaml.safe_dump(spoil(DOCUMENT, rng), sort_keys=False)) for _ in range(40)]
    assert 4 <= sum(valid) <= 24


@pytest.mark.parametrize("name", genotypes.names())
def test_spoilt_files_of_the_zoo(name: str) -> None:
    rng = random.Random(name)
    data = genotypes.load(name).to_dict()
    for _ in range(15):
        try:
            genotype = Genotype.from_dict(spoil(data, rng))
        except GenotypeError as error:
            assert error.message
        else:
            assert Genotype.from_dict(genotype.to_dict()) == genotype


@pytest.mark.parametrize("seed", range(80))
def test_spoilt_texts(seed: int) -> None:
    rng = random.Random(seed)
    lines = BASE.splitlines(keepends=True)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        line = lines[at]
        cut = rng.randrange(len(line) + 1)
        lines[at] = rng.choice(
            ["", line + line, "  " + line, line.strip(), line[:cut] + rng.choice("{}[]:,-&*!#'\"%\t\x00é") + line[cut:]]
        )
    check("".join(lines))
