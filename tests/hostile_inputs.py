"""Inputs as an enemy, or a bad disk, would write them, and what must hold of each: only a UserError is right.

`KINDS` name a hypothesis strategy and a check each. tests/test_hostile_inputs.py runs some thousands of them,
benchmarks/fuzz.py as many as time allows.
"""

import copy
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import genotypes
import nas
from genotypes import Genotype, UserError
from genotypes.files import file_name
from nas.network.weights import load_weights, save_weights
from nas.options import from_file, to_dict
from nas.search import SearchConfig
from nas.task.folders import find_pairs
from nas.task.reading import header_size, read_image, read_mask
from retrain import Recipe
from retrain.recipe import load_recipe

SECONDS = 2.0  # of CPU time, for each input

_WORDS = ["none", "sum", "concat", "graph", "fusion_cell", "image", "s8", "f16", "mix.a", "bilinear"]
_WORDS += [
    "../../x",
    "/x",
    "..",
    "os.system",
    "gdas",
    "fusion_cells",
    "default",
    "adam",
    "synthetic:8",
    "A=B",
    "1e400",
    "\0",
    "é",
]
_NUMBERS = [0, -1, 1, 2, 7, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-300, 1e300, float("inf"), float("nan")]
_SIGNS = ["{", "}", "[" * 900, "]", ":", "- ", "&a ", "*a", "!!python/none ", "#", "'", '"', "%", "\t", "\0"]
_leaf = st.one_of(
    st.none(), st.booleans(), st.sampled_from(_NUMBERS), st.sampled_from(_WORDS), st.text(max_size=8), st.dates()
)
_junk = st.recursive(
    _leaf,
    lambda part: st.one_of(
        st.lists(part, max_size=3), st.dictionaries(st.one_of(st.sampled_from(_WORDS), _leaf), part, max_size=3)
    ),
    max_leaves=6,
)


# ------------------------------------------------------------------------------------------------- documents


def _places(data: Any) -> list[tuple[Any, Any]]:
    """(Holder, key) of every part of a document."""
    items = list(data.items()) if isinstance(data, dict) else list(enumerate(data)) if isinstance(data, list) else []
    return [place for key, value in items for place in ((data, key), *_places(value))]


@st.composite
def _spoilt(draw: st.DrawFn, documents: list[Any]) -> str:
    """A document with some parts replaced, removed, renamed or moved, as YAML; its text may be damaged as well."""
    data = copy.deepcopy(draw(st.sampled_from(documents)))
    for _ in range(draw(st.integers(0, 3))):
        places = _places(data)
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        how = draw(st.sampled_from(["junk", "junk", "remove", "move", "add"]))
        if how == "junk":
            holder[key] = draw(_junk)
        elif how == "remove":
            del holder[key]
        elif how == "move":
            other, name = draw(st.sampled_from(places))
            holder[key] = copy.deepcopy(other[name])
        elif isinstance(holder, dict):
            holder[draw(st.sampled_from(_WORDS))] = draw(_junk)
        else:
            holder.insert(0, draw(_junk))
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=draw(st.booleans()))
    for _ in range(draw(st.integers(0, 1))):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.sampled_from(_SIGNS)) + text[at + draw(st.integers(0, 20)) :]
    return text


_GENOTYPES = [genotypes.load(name).to_dict() for name in ("fpn_tiny", "csnet_l_x1", "auto_msfnet_vgg16", "sod_s")]


def _read_genotype(text: str, folder: Path) -> None:
    genotype = genotypes.loads(text)
    assert genotypes.loads(genotypes.dumps(genotype)) == genotype
    assert genotype.hash and Genotype.from_dict(genotype.to_dict()) == genotype
    inside(folder, file_name(genotype.name))


def _read_config(text: str, folder: Path) -> None:
    file = folder / "config.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    from_file(SearchConfig(), file)


def _read_recipe(text: str, folder: Path) -> None:
    file = folder / "recipe.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    load_recipe(str(file))


# ------------------------------------------------------------------------------------------------- files


def inside(folder: Path, name: str) -> None:
    """What a file calls itself leads nowhere else."""
    assert (folder / f"{name}.png").resolve().parent == folder.resolve(), name


_ENTRY = st.one_of(
    st.sampled_from(["a.png", "b.png", "./a.png", "../pairs/a.png", "sub/../b.png", "..", ".", "/", "/etc/passwd"]),
    st.text(max_size=12),
    st.text(st.sampled_from("./\\ab \t"), max_size=12),
)
_LINE = st.one_of(
    st.sampled_from(["a.png b.png", "b.png a.png", "./b.png a.png", ""]), st.lists(_ENTRY, max_size=4).map(" ".join)
)
_lists = st.lists(_LINE, max_size=3).map("\n".join)


def _read_list(text: str, folder: Path) -> None:
    pairs = folder / "pairs"
    if not pairs.exists():
        pairs.mkdir()
        for name in ("a", "b"):
            Image.new("L", (8, 8), 255).save(pairs / f"{name}.png")
    (pairs / "set.lst").write_bytes(text.encode("utf-8", "surrogatepass"))
    for pair in find_pairs(pairs / "set.lst"):
        inside(folder, pair.name)


_MODES = {"PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"], "JPEG": ["L", "RGB", "CMYK"]}
_MODES |= {"BMP": ["1", "L", "P", "RGB"], "TIFF": ["1", "L", "RGB", "RGBA", "F", "I;16", "CMYK", "LAB"]}
_MODES |= {
    "GIF": ["P", "L"],
    "WEBP": ["RGB", "RGBA"],
    "PPM": ["1", "L", "RGB"],
    "TGA": ["L", "RGB", "RGBA", "P"],
    "ICO": ["RGBA"],
}


@st.composite
def _damaged(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of a file, some of them flipped, cut off or repeated; most damage is near the beginning."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 4))):
        if not data:
            break
        at = draw(st.integers(0, min(len(data), draw(st.sampled_from([16, 100, 10**6]))) - 1))
        how = draw(st.sampled_from(["set", "set", "set", "cut", "splice"]))
        if how == "set":
            data[at] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, draw(st.integers(0, 255))]))
        elif how == "cut":
            del data[at:]
        else:
            data[at:at] = data[: draw(st.integers(0, 40))]
    return bytes(data)


@st.composite
def _pictures(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(sorted(_MODES)))
    mode = draw(st.sampled_from(_MODES[kind]))
    height, width = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    pixels = rng.integers(0, draw(st.sampled_from([1, 2, 3, 128, 256])), (height, width, 4)).astype(np.uint8)
    if mode in ("F", "I;16"):
        values = pixels[..., 0].astype(np.float32 if mode == "F" else np.uint16)
        if mode == "F" and draw(st.booleans()):
            values[0, 0] = draw(st.sampled_from([float("nan"), float("inf"), -1e30]))
        picture = Image.fromarray(values)
    elif mode in ("CMYK", "RGBA"):
        picture = Image.fromarray(pixels, mode=None).convert("RGBA")
        picture = picture if mode == "RGBA" else picture.convert("RGB").convert("CMYK")
    elif mode == "LAB":
        picture = Image.frombytes("LAB", (width, height), pixels[..., :3].tobytes())
    else:
        picture = Image.fromarray(pixels[..., :3]).convert(mode)
    file = io.BytesIO()
    options: dict[str, Any] = {}
    if kind in ("PNG", "JPEG", "TIFF", "WEBP") and draw(st.booleans()):
        exif = Image.Exif()
        exif[0x0112] = draw(st.sampled_from([0, 1, 3, 6, 8, 9, 65535]))
        options["exif"] = exif
    if kind in ("PNG", "GIF") and mode == "P" and draw(st.booleans()):
        options["transparency"] = 0
    picture.save(file, kind, **options)
    return file.getvalue()


def _read_picture(data: bytes, folder: Path) -> None:
    file = folder / "picture.png"
    file.write_bytes(data)
    refused = None
    for read in (header_size, read_image, read_mask):
        try:
            found = read(file)
        except UserError as error:
            refused = error
        else:
            assert isinstance(found, tuple) or (found.dtype == np.uint8 and found.size)
    if refused:
        raise refused


_SMALL = genotypes.loads(
    """\
format: 1
name: small
input: {size: [32, 32]}
cells:
- name: net
  template: graph
  inputs: [image]
  nodes:
  - {name: fine, stride: 1, width: 4, post: bn_relu, edges: [{name: stem, source: image, op: conv2d_3x3}]}
  - {name: logits, stride: 1, width: 1, edges: [{name: head, source: fine, op: conv2d_1x1_bias}]}
outputs: [net.logits]
"""
)


_HEADER_VALUES = [2**63, -1, 0, [], [0, 0], {}, None, "F32", "F64", "BF16", "I64", "BOOL", "F8_E4M3", "X", "../x"]
_HEADER_VALUES += ["format: 1\nname: ../../x", genotypes.dumps(_SMALL)]


def _weights(folder: Path) -> bytes:
    save_weights(folder / "small.safetensors", nas.build(_SMALL).state_dict(), _SMALL)
    return (folder / "small.safetensors").read_bytes()


@st.composite
def _weight_files(draw: st.DrawFn, whole: bytes) -> bytes:
    """Damaged bytes, or a whole file whose header says other things."""
    if draw(st.booleans()):
        return draw(_damaged(st.just(whole)))
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    for _ in range(draw(st.integers(0, 2))):
        holder, key = draw(st.sampled_from(_places(header)))
        holder[key] = draw(st.sampled_from(_HEADER_VALUES))
        if draw(st.booleans()) and isinstance(holder, dict):
            holder[draw(st.sampled_from(["x", "__metadata__", "genotype", "dtype"]))] = draw(
                st.sampled_from(_HEADER_VALUES)
            )
    text = json.dumps(header).encode()
    values = bytearray(whole[8 + length :])
    values[draw(st.integers(0, len(values) - 1))] = draw(st.integers(0, 255))  # still weights, if other ones
    return len(text).to_bytes(8, "little") + text + values


def _read_weights(data: bytes, folder: Path) -> None:
    file = folder / "damaged.safetensors"
    file.write_bytes(data)
    genotype, state = load_weights(file)
    inside(folder, file_name(genotype.name))
    assert all(isinstance(key, str) for key in state)


def kinds(folder: Path) -> dict[str, tuple[st.SearchStrategy[Any], Callable[[Any, Path], None]]]:
    """Name -> (a strategy, what reads one of its values); folder: an empty one, for files."""
    return {
        "genotypes": (_spoilt(_GENOTYPES), _read_genotype),
        "configurations": (_spoilt([to_dict(SearchConfig())]), _read_config),
        "recipes": (_spoilt([to_dict(Recipe())]), _read_recipe),
        "lists of pairs": (_lists, _read_list),
        "pictures": (_damaged(_pictures()), _read_picture),
        "weight files": (_weight_files(_weights(folder)), _read_weights),
    }


def run(kind: str, folder: Path, count: int, *, derandomize: bool) -> tuple[int, int]:
    """Check so many inputs of a kind: (how many there were, how many of them were read). Raises the first fault."""
    strategy, read = kinds(folder)[kind]
    done = right = 0

    @settings(
        max_examples=count,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(strategy)
    def one(value: Any) -> None:
        nonlocal done, right
        done += 1
        right += _check(read, value, folder)

    one()
    return done, right


def _check(read: Callable[[Any, Path], None], value: Any, folder: Path) -> bool:
    """Whether it was read; if not, a UserError said why; and soon."""
    began = time.process_time()
    try:
        read(value, folder)
        return True
    except UserError as error:
        assert str(error).strip()
        return False
    finally:
        seconds = time.process_time() - began
        assert seconds <= SECONDS, f"{seconds:.1f} s"
