"""Choices beyond operations: a backbone's hidden widths, a cell's inputs, the input size."""

import pytest

import genotypes
from genotypes import BACKBONES, Backbone, Cell, Genotype, GenotypeError, Input, UserError
from nas.strategies import member_choices
from search_spaces import compact, fusion_cells, minet, open_csnet
from search_spaces.spaces import CompactSpace

DECIDED = {"backbone.widths.1": 48, "backbone.widths.2": 0, "decoder.inputs": "s8 s4", "input.size": 96}


def space(**changes):
    """Everything open, with no default of `compact` but its operations."""
    opened = {"shares": (0.25, 0.5, 0.75, 1.0), "open_blocks": 99, "leave_out": "either"} | changes
    return compact("mobilenet_v2", channels=(8, 16), taps=("s16", "s8", "s4"), sizes=(64, 96), **opened)


def test_two_choices_of_one_id_are_refused():
    """A cell may be called like the backbone, whose width was then taken for the cell's."""
    cell = {"name": "backbone", "template": "octave_block", "inputs": ["s4"], "stride": 2}
    cell["widths"] = [0, {"choose": [4, 8]}]
    head = {"name": "head", "template": "head", "inputs": ["backbone.out1"]}
    document = {"format": 1, "name": "n", "cells": [cell, head], "outputs": ["head.logits"]}
    document["backbone"] = {"name": "mobilenet_v2", "taps": ["s4"]}
    assert list(Genotype.from_dict(document).choices()) == ["backbone.widths.1"]
    document["backbone"]["widths"] = [32, {"choose": [48, 96]}, 144]
    with pytest.raises(GenotypeError, match=r"two choices are called 'backbone\.widths\.1'"):
        Genotype.from_dict(document).choices()


def test_every_kind_has_one_face():
    choices = space().choices()
    assert choices["input.size"] == (64, 96)
    assert choices["decoder.inputs"] == ("s16 s8 s4", "s16 s8", "s8 s4")
    assert choices["decoder.channels"] == (8, 16)
    assert choices["decoder.mix_s8"][0] == "skip_connect"
    assert choices["backbone.widths.2"] == (0, 32, 72, 112, 144)  # residual: it may be absent
    assert 0 not in choices["backbone.widths.1"] and "backbone.widths.0" not in choices


@pytest.mark.parametrize("seed", range(8))
def test_files_say_open_and_decided_members(seed):
    for genotype in (space(), decided := space().decide(member_choices(space(), seed, 0))):
        again = genotypes.loads(genotypes.dumps(genotype))
        assert again.hash == genotype.hash and again.choices() == genotype.choices()
        assert again.identity == genotype.identity
    assert decided.is_decided


@pytest.mark.parametrize("seed", range(8))
def test_a_member_says_what_it_took(seed):
    opened, taken = space(), member_choices(space(), seed, 0)
    found = opened.chosen(opened.decide(taken))
    assert found.items() <= taken.items()
    # Only what the inputs that were taken do not need is missing.
    needed = opened.decide({"decoder.inputs": taken["decoder.inputs"]}).choices()
    assert set(found) == {*needed, "decoder.inputs"} & set(taken)


def test_a_member_of_open_widths_says_what_it_took():
    opened = open_csnet(1)
    taken = member_choices(opened, 0, 0)
    assert opened.chosen(opened.decide(taken)) == taken


def test_deciding_one_by_one_is_deciding_at_once():
    choices = member_choices(space(), 1, 0) | {"decoder.inputs": "s8 s4"}
    at_once, one_by_one = space().decide(choices), space()
    for choice in ("decoder.mix_s16", "decoder.inputs", "input.size"):
        one_by_one = one_by_one.decide({choice: choices[choice]})
    assert "decoder.mix_s16" not in one_by_one.choices()  # an edge of an input that is left out
    one_by_one = one_by_one.decide({choice: choices[choice] for choice in one_by_one.choices()})
    assert at_once == one_by_one and at_once.identity == one_by_one.identity


def test_what_no_output_needs_is_left_out():
    member = space().decide(member_choices(space(), 0, 0) | {"decoder.inputs": "s8 s4"})
    assert member.backbone.taps == ("s8", "s4")
    assert len(member.backbone.widths) == BACKBONES["mobilenet_v2"].depth(("s8", "s4")) == 6
    other = space().decide(member_choices(space(), 0, 0) | {"decoder.inputs": "s8 s4", "backbone.widths.9": 96})
    assert member == other  # a block beyond the deepest tap


def test_cells_that_nothing_reads_go():
    cells = [
        {"name": "a", "template": "lateral", "inputs": ["s8"], "channels": 4},
        {"name": "b", "template": "lateral", "inputs": ["s4"], "channels": 4},
        {"name": "p", "template": "light_pyramid", "inputs": {"choose": ["a.f8 b.f4", "b.f4"]}, "channels": 4},
        {"name": "head", "template": "head", "inputs": ["p.out"]},
    ]
    genotype = Genotype(
        name="x",
        backbone=Backbone(name="tiny", taps=("s8", "s4")),
        cells=tuple(Cell.from_dict({**cell, "operations": _mixes(cell)}) for cell in cells),
        outputs=("head.logits",),
    )
    member = genotype.decide({"p.inputs": "b.f4"})
    assert [cell.name for cell in member.cells] == ["b", "p", "head"] and member.backbone.taps == ("s4",)
    assert dict(member.cells[1].operations) == {"mix_f4": "conv_3x3"}


def _mixes(cell):
    return {"mix_f8": "conv_3x3", "mix_f4": "conv_3x3"} if cell["name"] == "p" else {}


def test_a_backbone_that_nothing_reads_goes():
    cells = [
        {"name": "p", "template": "light_pyramid", "inputs": {"choose": ["s4 image", "image"]}, "channels": 4},
        {"name": "head", "template": "head", "inputs": ["p.out"]},
    ]
    genotype = Genotype(
        name="x",
        backbone=Backbone(name="tiny", taps=("s4",)),
        cells=tuple(map(Cell.from_dict, cells)),
        outputs=("head.logits",),
    )
    assert genotype.decide({"p.inputs": "s4 image"}).backbone is not None
    assert genotype.decide({"p.inputs": "image"}).backbone is None


def test_the_hash_does_not_know_the_size_and_the_identity_does():
    choices = member_choices(space(), 2, 0)
    small, large = (space().decide(choices | {"input.size": size}) for size in (64, 96))
    assert small == large and small.identity != large.identity
    assert space().hash == space().replace(input=Input(size=(32, 32))).hash


def test_published_widths_spelt_out_are_the_published_network():
    plain = Backbone(name="mobilenet_v2", taps=("s8", "s4"))
    spelt = Backbone(name="mobilenet_v2", taps=("s8", "s4"), widths=plain.hidden)
    narrow = Backbone(name="mobilenet_v2", taps=("s8", "s4"), widths=(*plain.hidden[:-1], 96))
    assert plain.canonical() == spelt.canonical() != narrow.canonical()


@pytest.mark.parametrize(
    ("widths", "says"),
    [
        ((32, 96), "expected a list of widths, one a block"),
        ((32, 0, 144, 144, 192, 192), "block 1 of mobilenet_v2 has 1 to 96 hidden channels, not 0"),
        ((24, 96, 144, 144, 192, 192), "block 0 of mobilenet_v2 has 32 hidden channels, not 24"),
        (
            (32, 96, 145, 144, 192, 192),
            "block 2 of mobilenet_v2 has 0 to 144 hidden channels, 0 to leave",
        ),
        ((32, 96, "a", 144, 192, 192), "not 'a'"),
        ((32, {"choose": [96]}, 144, 144, 192, 192), "two or more different widths"),
        ((32, {"choose": [96, 960]}, 144, 144, 192, 192), "not 960"),
    ],
)
def test_bad_widths(widths, says):
    with pytest.raises(GenotypeError, match=says):
        Backbone(name="mobilenet_v2", taps=("s8", "s4"), widths=widths)


def test_by_default_few_blocks_are_open_and_the_finest_tap_stays():
    choices = compact("mobilenet_v2").choices()
    assert [choice for choice in choices if choice.startswith("backbone")] == [
        f"backbone.widths.{n}" for n in range(9, 17)
    ]
    assert all(inputs.endswith("s4") for inputs in choices["decoder.inputs"]) and len(choices["decoder.inputs"]) == 2
    assert choices["decoder.channels"] == (16, 24, 32, 48, 64)
    whole = compact("mobilenet_v2", open_blocks=0, leave_out="none").choices()
    assert not any(choice.startswith("backbone") or choice.endswith("inputs") for choice in whole)
    with pytest.raises(UserError, match="open_blocks must be at least 0, not -1"):
        CompactSpace(open_blocks=-1)
    for options, says in (
        ({"channels": ()}, r"channels must be one width or more, from 1 up, not \[\]"),
        ({"step": 0}, "step must be at least 1, not 0"),
    ):
        with pytest.raises(UserError, match=says):
            CompactSpace(**options)
    with pytest.raises(UserError, match=r"sides to choose from, integers from 32 up, not \[16, 64\]"):
        CompactSpace(sizes=(16, 64)).build((64, 64))


@pytest.mark.parametrize(
    ("make", "arguments", "says"),
    [
        (compact, {"channels": ()}, r"channels must be one width or more, from 1 up, not \[\]"),
        (
            compact,
            {"channels": 32},
            "channels must be one width or more, from 1 up, not 32",
        ),  # as the other spaces have
        (compact, {"channels": (0, 8)}, r"channels must be one width or more, from 1 up, not \[0, 8\]"),
        (compact, {"sizes": ()}, r"sizes: expected sides to choose from, integers from 32 up, not \[\]"),
        (compact, {"sizes": (8,)}, r"sizes: expected sides to choose from, integers from 32 up, not \[8\]"),
        (CompactSpace, {"sizes": (8,)}, r"sizes: expected sides to choose from, integers from 32 up, not \[8\]"),
        (compact, {"shares": ()}, r"shares must be in 0\.\.1, without 0, not \[\]"),
        (compact, {"shares": (float("nan"),)}, r"shares must be in 0\.\.1, without 0, not \[nan\]"),
        (compact, {"open_blocks": -1}, "open_blocks must be at least 0, not -1"),
        (compact, {"step": 0}, "step must be at least 1, not 0"),
        (compact, {"leave_out": "finest"}, "leave_out must be one of coarsest, either, none, not 'finest'"),
        (minet, {"taps": ()}, "taps: MINet needs two or more taps, not none"),
        (minet, {"taps": ("s8",)}, "taps: MINet needs two or more taps, not s8"),
        (fusion_cells, {"strides": ()}, "strides: expected the cells' strides, at least one, not none"),
    ],
)
def test_a_space_made_in_python_says_which_argument_is_wrong(make, arguments, says):
    """They ended in an IndexError or a ZeroDivisionError, or took what nobody had asked for."""
    with pytest.raises(UserError, match=says):
        make(**arguments)


def test_a_share_of_next_to_nothing_is_one_step():
    choices = compact("mobilenet_v2", shares=(0.001, 1.0), open_blocks=99, step=4).choices()
    widths = [found for choice, found in choices.items() if choice.startswith("backbone.widths")]
    assert len(widths) == 16 and all(4 in found and min(found) in (0, 4) for found in widths)


def test_a_backbone_that_cannot_be_narrowed_stays_as_it_is():
    choices = compact("resnet50").choices()
    assert choices and not any(choice.startswith("backbone") for choice in choices)


def test_bad_choices():
    with pytest.raises(GenotypeError, match="no hidden width"):
        Backbone(name="resnet50", taps=("s8",), widths=(64,))
    with pytest.raises(
        GenotypeError, match=r"size.choose: expected two or more different sides .* from 32 up, not .64"
    ):
        Input.from_dict({"size": {"choose": [64]}})
    with pytest.raises(GenotypeError, match=r"different sides .*, not \[96, 96\]"):
        CompactSpace(sizes=(96, 96)).build((128, 128))
    cell = {"name": "p", "template": "light_pyramid", "channels": 4}
    for sets, says in (
        (["s8"], "two or more lists"),
        (["s8 s4", "s4 s8"], "different lists"),
        (["s8", "s4"], "no part"),
    ):
        with pytest.raises(GenotypeError, match=says):
            Cell.from_dict(cell | {"inputs": {"choose": sets}})
    with pytest.raises(GenotypeError, match=r"97.*no candidate of 'input.size'"):
        space().decide({"input.size": 97})
