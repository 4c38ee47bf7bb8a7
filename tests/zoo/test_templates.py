"""MINet's and CSNet's templates refuse what makes no sense, and say what they expected."""

import pytest

from genotypes import Feature, GenotypeError
from genotypes.templates import build_template

NEIGHBOURS = {f"s{s}": Feature(f"s{s}", s, 8) for s in (4, 8, 16)}
TWO = {name: NEIGHBOURS[name] for name in ("s4", "s8")}
ONE = {"s4": NEIGHBOURS["s4"]}


@pytest.mark.parametrize(
    ("template", "inputs", "params", "message"),
    [
        ("aggregate_interaction", ONE, {"channels": 8}, "two or three inputs"),
        ("aggregate_interaction", {k: NEIGHBOURS[k] for k in ("s4", "s16")}, {"channels": 8}, r"\[4, 16\]"),
        ("aggregate_interaction", TWO, {"channels": 8}, "'h' or 'l' for two, not 'm'"),
        ("aggregate_interaction", NEIGHBOURS, {"channels": 8, "main": "h"}, "'m' for three"),
        ("aggregate_interaction", NEIGHBOURS, {"channels": 8, "pool": "max2"}, "expected avg2 or avg2_ceil"),
        ("self_interaction", TWO, {}, "expected one input"),
        ("upconv", TWO, {"channels": 8}, "expected one input"),
        ("octave_block", ONE, {"stride": 4, "widths": (8, 8), "kernel": 5}, "expected 1 or 3, not 5"),
        ("octave_block", ONE, {"stride": 4, "widths": (0, 0)}, "one or more positive"),
        ("octave_block", ONE, {"stride": 4, "widths": (0, 0, 8)}, r"branch 2 \(stride 16\)"),
        ("octave_block", ONE, {"stride": 1, "widths": (8,), "downsample": True}, "must be even .*, not 1"),
        ("octave_stage", ONE, {"stride": 1, "widths": ((8,),), "downsample": True}, "must be even .*, not 1"),
        ("octave_stage", ONE, {"stride": 4, "widths": ()}, "one list of branch widths or more"),
        ("cross_stage_fusion", TWO, {"fuse": (8,), "dilated": ((1,) * 5,), "channels": 8}, "each of 2 inputs"),
        ("cross_stage_fusion", ONE, {"fuse": (8,), "dilated": ((1,) * 4,), "channels": 8}, "5 widths"),
        (
            "cross_stage_fusion",
            ONE,
            {"fuse": (8,), "dilated": ((1,) * 5,), "channels": 8, "shrink": "avg"},
            "expected max or bilinear",
        ),
    ],
)
def test_mistakes(template, inputs, params, message):
    with pytest.raises(GenotypeError, match=message):
        build_template(template, inputs, params)
