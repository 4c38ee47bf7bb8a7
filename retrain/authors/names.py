r"""Which name of the authors' belongs to which of ours, as rules.

A rule's left side is a regular expression over our keys, without the leaf (`weight`, `bias`, `running_mean`, ...);
its right side is the authors' name, again without the leaf, where `\1` or `\g<to>` stand for what was matched. A key
takes the first rule that matches."""

import reprlib
from collections.abc import Callable
from dataclasses import dataclass

from genotypes import Cell, Genotype, UserError

__all__ = ["Names", "Rule", "names_for"]


@dataclass(frozen=True)
class Rule:
    """ours -> theirs; scale: our value is `scale` times theirs; leaf: the authors' word for `weight`.

    A pattern with the groups `to` and `from` means one block of a larger weight: output rows of branch `to`,
    input columns of branch `from`, in the order of the branches.
    """

    ours: str
    theirs: str
    scale: float = 1.0
    leaf: str = "weight"


@dataclass(frozen=True)
class Names:
    """The rules of one network, and what else the authors' files may hold, which nothing uses.

    unused: whole keys. aliases: (prefix of a copy, prefix of its original); a copy has its original's keys.
    """

    rules: tuple[Rule, ...]
    unused: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()


def names_for(genotype: Genotype) -> Names:
    """The rules for a genotype, chosen by the templates of its cells.

    Raises UserError if no authors' network is like it, TypeError if it is no Genotype.
    """
    if not isinstance(genotype, Genotype):
        raise TypeError(f"genotype: expected a Genotype, as genotypes.load gives it, not {reprlib.repr(genotype)}")
    templates = {cell.template for cell in genotype.cells}
    for template, names in _FAMILIES.items():
        if template in templates:
            return names(genotype)
    raise UserError(
        f"there are no authors' checkpoints for {genotype.name!r}; they are known for networks with cells of "
        f"{', '.join(_FAMILIES)}"
    )


def _auto_msfnet(genotype: Genotype) -> Names:
    theirs = "vgg16" if _on_vgg(genotype) else "resnet"
    rules = _vgg_blocks(theirs) if _on_vgg(genotype) else [Rule(r"backbone\.(.+)", rf"{theirs}.\1")]
    reducers = [source for cell in genotype.cells if cell.template == "lateral" for source in cell.inputs]
    for k, source in zip((5, 4, 3, 2), reducers, strict=False):
        rules.append(Rule(rf"cells\.reduce\.edges\.conv_{source}", f"{theirs}.conv{k}"))
        rules.append(Rule(rf"cells\.reduce\.nodes\.f{source[1:]}\.norm", f"{theirs}.bn{k}"))
    heads = {next(iter(cell.inputs.values())): cell.name for cell in genotype.cells if cell.template == "head"}
    fusions = [cell for cell in genotype.cells if cell.template == "fusion_cell"]
    for c, (cell, module, head) in enumerate(zip(fusions, ("54", "43", "32"), ("66", "55", "44"), strict=False)):
        module = f"feafusion.featurefusioncell{module}"
        here = rf"cells\.{cell.name}"
        choices = _choices(genotype, cell)
        outer = [edge for edge in choices if edge.startswith("outer_")]
        inner = [edge for edge in choices if edge not in outer]
        rules += [Rule(rf"{here}\.edges\.{e}(\..+)?", rf"feafusion._ops.{4 * c + s}\1") for s, e in enumerate(outer)]
        rules += [Rule(rf"{here}\.edges\.{e}(\..+)?", rf"{module}._ops.{j}\1") for j, e in enumerate(inner)]
        rules.append(Rule(rf"{here}\.edges\.conv", f"{module}.conv11"))
        rules.append(Rule(rf"{here}\.nodes\.out\.norm", f"{module}.bn11"))
        rules.append(Rule(rf"cells\.{heads.get(f'{cell.name}.out')}\.edges\.conv", f"conv{head}"))
    # The last cell's inner operations are registered a second time under this name.
    return Names(tuple(rules), aliases=(("feafusion._nodes.", "feafusion.featurefusioncell32._ops."),))


def _on_vgg(genotype: Genotype) -> bool:
    return genotype.backbone is not None and genotype.backbone.name.startswith("vgg16")


def _choices(genotype: Genotype, cell: Cell) -> list[str]:
    """The searched edges of a cell, in the order of the template."""
    return [edge.name for node in genotype.graph.cells[cell.name] for edge in node.edges if edge.choice]


def _minet(genotype: Genotype) -> Names:
    if _on_vgg(genotype):
        rules = []
        for stride, first, last in ((1, 0, 5), (2, 6, 12), (4, 13, 22), (8, 23, 32), (16, 33, 42)):
            for n in range(first, last + 1):
                rules.append(Rule(rf"backbone\.features\.{n}", f"encoder{stride}.{n - first}"))
    else:
        slices = {"conv1": "div_2.0", "bn1": "div_2.1", "layer1": "div_4.1"}
        slices |= {"layer2": "div_8", "layer3": "div_16", "layer4": "div_32"}
        rules = [Rule(rf"backbone\.{ours}(\..+)?", rf"{theirs}\1") for ours, theirs in slices.items()]
    aims = [cell.name for cell in genotype.cells if cell.template == "aggregate_interaction"]
    for k, aim in enumerate(aims):
        rules.append(Rule(rf"cells\.{aim}\.edges\.(\w+)", rf"trans.conv{k}.\1"))
        rules.append(Rule(rf"cells\.{aim}\.nodes\.([hml])(\d)\.norm", rf"trans.conv{k}.bn\1_\2"))
    rules += [
        Rule(r"cells\.(sim\d+)\.edges\.(\w+)", r"\1.\2"),
        Rule(r"cells\.(sim\d+)\.nodes\.([hl])(\d)\.norm", r"\1.bn\2_\3"),
        Rule(r"cells\.up(\d+)\.edges\.conv", r"upconv\1.basicconv.0"),
        Rule(r"cells\.up(\d+)\.nodes\.out\.norm", r"upconv\1.basicconv.1"),
        Rule(r"cells\.head\.edges\.conv", "classifier"),
    ]
    return Names(tuple(rules))


def _csnet(genotype: Genotype) -> Names:
    rules = []
    for cell in genotype.cells:
        if cell.template not in ("octave_block", "octave_stage"):
            continue
        count = 1 if cell.template == "octave_block" else len(cell.params["widths"])
        for k in range(count):
            prefix = f"b{k}_" if cell.template == "octave_stage" else ""
            edges, nodes = rf"cells\.{cell.name}\.edges\.{prefix}", rf"cells\.{cell.name}\.nodes\.{prefix}"
            out = rf"cells\.{cell.name}\.nodes\.out" if k == count - 1 else rf"{nodes}out"
            unit = f"{cell.name}.{k}"
            rules += [
                Rule(edges + r"mix(?P<to>\d)_from(?P<from>\d)", f"{unit}.conv1x1.conv"),
                Rule(edges + r"local(\d)", rf"{unit}.conv3x3_1.convs.\1", scale=_HUNDRED),
                Rule(edges + r"out(\d)", rf"{unit}.conv3x3_2.convs.\1", scale=_HUNDRED),
            ]
            for node, theirs in ((nodes + "mix", "conv1x1"), (nodes + "local", "conv3x3_1"), (out, "conv3x3_2")):
                rules.append(Rule(node + r"(\d)\.norm", rf"{unit}.{theirs}.bns.\1"))
                rules.append(Rule(node + r"(\d)\.act", rf"{unit}.{theirs}.prelus.\1"))
    return Names((*rules, *_fusion_head("oct_fuse.", "weight", scale=_HUNDRED)))


# CSNet's released code multiplies the weights of depthwise and dilated convolutions by 100 in each forward pass.
_HUNDRED = 100.0


def _csf(genotype: Genotype) -> Names:
    # "fc." is the ImageNet classifier, which the authors' own loading ignores too.
    rules = (Rule(r"backbone\.(.+)", r"base.\1"), *_fusion_head("", "weights"))
    return Names(rules, unused=("fc.weight", "fc.bias", "base.fc.weight", "base.fc.bias"))


def _fusion_head(prefix: str, leaf: str, scale: float = 1.0) -> list[Rule]:
    """Of CSNet and CSF; leaf: the authors' word for the weight of their octave convolutions."""
    edges, nodes = r"cells\.fusion\.edges\.", r"cells\.fusion\.nodes\."
    dilations = [Rule(edges + rf"multi(\d)_d{2**d}", rf"{prefix}ms.convs.\1.msconv.{d}", scale=scale) for d in range(5)]
    return [
        Rule(edges + r"fuse(?P<to>\d)_from(?P<from>\d)", f"{prefix}fuse.conv", leaf=leaf),
        Rule(nodes + r"fuse(\d)\.norm", rf"{prefix}fuse.bns.\1"),
        Rule(nodes + r"fuse(\d)\.act", rf"{prefix}fuse.prelus.\1"),
        *dilations,
        Rule(nodes + r"multi(\d)\.norm", rf"{prefix}ms.convs.\1.bn"),
        Rule(nodes + r"multi(\d)\.act", rf"{prefix}ms.convs.\1.prelu"),
        Rule(edges + r"out(?P<to>)_from(?P<from>\d)", f"{prefix}fuse1x1.conv", leaf=leaf),
        Rule(nodes + r"out\.norm", f"{prefix}fuse1x1.bns.0"),
        Rule(nodes + r"out\.act", f"{prefix}fuse1x1.prelus.0"),
        Rule(r"cells\.head\.edges\.conv", "cls_layer"),
    ]


def _vgg_blocks(theirs: str) -> list[Rule]:
    """torchvision's positions in `features` -> conv{block}_{i} and bn{block}_{i}."""
    rules, n = [], 0
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(1, count + 1):
            rules.append(Rule(rf"backbone\.features\.{n}", f"{theirs}.conv{block}_{i}"))
            rules.append(Rule(rf"backbone\.features\.{n + 1}", f"{theirs}.bn{block}_{i}"))
            n += 3
        n += 1  # the pool
    return rules


# By the template that tells the family. CSNet's blocks come first: its head is the one that CSF has too.
_FAMILIES: dict[str, Callable[[Genotype], Names]] = {
    "octave_stage": _csnet,
    "cross_stage_fusion": _csf,
    "aggregate_interaction": _minet,
    "fusion_cell": _auto_msfnet,
}
