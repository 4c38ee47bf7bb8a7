"""A valid document, and a table of ways to spoil it. See test_malformed.py."""

from typing import NamedTuple

BASE = """\
format: 1
name: base
description: a valid document
input: {mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], size: [64, 96]}
backbone:
  name: mobilenet_v2
  taps: [s16, s8]
  options: {padding: symmetric}
cells:
- name: reduce
  template: lateral
  inputs: [s16, s8]
  channels: 8
- name: mix
  template: graph
  inputs: [reduce.f16, reduce.f8]
  nodes:
  - name: a
    stride: 8
    width: 8
    edges:
    - {name: raw, source: f8, op: skip_connect}
    - {name: up, source: f16, op: conv_3x3, post: [bilinear]}
    post: bn_relu
  - name: b
    stride: 8
    width: 16
    combine: concat
    size: {like: a}
    edges:
    - {name: a_b, source: a, op: conv_3x3}
    - {name: raw_b, source: f8, op: skip_connect}
- name: fuse
  template: fusion_cell
  inputs: {low: reduce.f16, high: reduce.f8}
  stride: 8
  candidates: [none, conv_3x3]
  operations: {outer_low: conv_3x3}
- name: head
  template: head
  inputs: [fuse.out]
- name: side
  template: head
  inputs: [mix.b]
outputs: [head.logits, side.logits]
"""


class Case(NamedTuple):
    """`old`, found in BASE, becomes `new`. The message holds `says` and names the line where the change begins,
    or the first line of the spoilt document that holds `at`.
    """

    old: str
    new: str
    says: str
    at: str = ""


UNKNOWN_KEYS = {
    "of document": Case(
        "name: base", "names: base", "'names'; known: format, name, cells, outputs, description, input"
    ),
    "of input": Case("{mean:", "{means:", "input.means: unknown key 'means'; known: mean, std, size"),
    "of backbone": Case("  taps:", "  tap:", "backbone.tap: unknown key 'tap'; known: name, taps, options"),
    "of option": Case("{padding:", "{dilation:", "backbone.options.dilation: unknown key 'dilation'; known: padding"),
    "of cell": Case(
        "  channels:", "  width:", "cells[0].width: unknown key 'width'; template lateral has: channels, kernel"
    ),
    "of node": Case("    post: bn", "    norm: bn", "cells[1].nodes[0].norm: unknown key 'norm'; known: name, stride,"),
    "of edge": Case(
        "raw, source", "raw, from", "cells[1].nodes[0].edges[0].from: unknown key 'from'; known: name, source"
    ),
    "of size": Case("{like:", "{half:", "cells[1].nodes[1].size.half: unknown key 'half'; known: like, floor_half"),
}

MISSING_KEYS = {
    "no format": Case("format: 1\n", "", "the key 'format' is missing"),
    "no outputs": Case("outputs: [head.logits, side.logits]\n", "", "the key 'outputs' is missing", "format: 1"),
    "no taps": Case("  taps: [s16, s8]\n", "", "backbone: the key 'taps' is missing", "backbone:"),
    "no template": Case("  template: lateral\n", "", "cells[0]: a cell needs the key 'template'", "- name: reduce"),
    "no parameter": Case("  channels: 8\n", "", "template lateral needs the key 'channels'", "name: reduce"),
    "no stride": Case("  - name: a\n    stride: 8\n", "  - name: a\n", "the key 'stride' is missing"),
    "no op": Case(", op: skip_connect}\n    - {name: up", "}\n    - {name: up", "key 'op' is missing"),
    "no operation": Case(
        "  candidates: [none, conv_3x3]\n", "", "edge 'outer_high' has no operation: name it under", "- name: fuse"
    ),
}

UNKNOWN_WORDS = {
    "format": Case("format: 1", "format: 2", "format: unknown format 2; this version reads 1"),
    "operation of an edge": Case(
        "op: conv_3x3, post", "op: conv_5x5, post", "'conv_5x5'; known: channel_attention, conv2d_1x1"
    ),
    "operation of a cell": Case(
        "{outer_low: conv_3x3}", "{outer_low: dense}", "cells[2].operations.outer_low: unknown operation"
    ),
    "candidate": Case("[none, conv_3x3]", "[none, x]", "cells[2].candidates: unknown operation 'x'"),
    "edge of a cell": Case("{outer_low:", "{inner_low:", "there is no edge 'inner_low'; edges: outer_low, outer_high,"),
    "template": Case("template: lateral", "template: fpn", "unknown template 'fpn'; known: "),
    "backbone": Case(
        "mobilenet_v2", "alexnet", "backbone.name: unknown backbone 'alexnet'; known: efficientnet_lite0, "
    ),
    "tap": Case(
        "taps: [s16, s8]", "taps: [s16, s7]", "backbone.taps[1]: backbone 'mobilenet_v2' has no feature 's7'; it has"
    ),
    "option": Case("symmetric", "same", "backbone.options.padding: unknown padding 'same'; known: symmetric, tf_same"),
    "post": Case("post: bn_relu", "post: bn_gelu", "node 'a': unknown post 'bn_gelu'; known: bn, bn_prelu"),
    "resampling": Case(
        "[bilinear]", "[cubic]", "nodes[0].edges[1].post: edge 'up' (f16 -> a): unknown resampling 'cubic'"
    ),
    "combine": Case("concat", "product", "node 'b': unknown combine 'product'; known: sum, concat"),
    "wiring": Case(
        "  stride: 8\n  c", "  stride: 8\n  wiring: x\n  c", "expected code or figure7, not 'x'", "wiring: x"
    ),
}

CONNECTIONS = {
    "cycle of cells": Case(
        "[s16, s8]\n  channels", "[s16, mix.a]\n  channels", "cycle: reduce -> mix -> r", "name: reduce"
    ),
    "cell that reads itself": Case("[fuse.out]", "[head.logits]", "cells[3]: cycle: head -> head", "- name: head"),
    "cycle of nodes": Case("raw, source: f8", "raw, source: b", "cells[1].nodes[0]: cycle: a -> b -> a", "- name: a"),
    "cycle through a size": Case("post: bn_relu", "size: {like: b}", "cycle: a -> b -> a", "- name: a"),
    "missing feature": Case("[s16, s8]\n  ch", "[s16, s4]\n  ch", "cells[0].inputs.s4: missing source 's4'; "),
    "missing cell": Case("[fuse.out]", "[glue.out]", "missing source 'glue.out'; features and cells that exist"),
    "missing node": Case("[fuse.out]", "[fuse.in]", "'fuse.in'; that cell has: fuse.t_low, fuse.t_high"),
    "a cell is no feature": Case("[mix.b]", "[mix]", "missing source 'mix'; that cell has: mix.a, mix.b"),
    "missing source": Case("raw_b, source: f8", "raw_b, source: f9", "edges[1].source: node 'b': missing source 'f9'"),
    "missing size": Case("{like: a}", "{like: z}", "nodes[1].size: node 'b': missing source 'z'; the cell has"),
    "empty edges": Case(
        "    - {name: a_b, source: a, op: conv_3x3}\n    - {name: raw_b, source: f8, op: skip_connect}\n",
        "      []\n",
        "cells[1].nodes[1].edges: node 'b' has no incoming edge",
        "edges:\n      []",
    ),
    "unreachable output": Case("[head.logits,", "[head.x,", "outputs[0]: unreachable output 'head.x'; cell nodes"),
    "output of the backbone": Case("[head.logits,", "[s8,", "outputs[0]: unreachable output 's8'"),
    "output that is no map of logits": Case("[head.logits,", "[fuse.out,", "one channel (logits), not 8"),
    "the same output twice": Case("head.logits,", "side.logits,", "expected different features, at least one"),
    "no output": Case("[head.logits, side.logits]", "[]", "different features, at least one, not []"),
    "dead cells": Case("head.logits, ", "", "no output is reached from fuse.t_low, fuse.t_high", "- name: fuse"),
    "dead node": Case("[mix.b]", "[mix.a]", "cells[1]: no output is reached from mix.b: remove", "- name: mix"),
    "dead tap": Case("[s16, s8]\n  o", "[s16, s8, s4]\n  o", "backbone.taps: no output is reached from s4"),
    "too many inputs": Case("[mix.b]", "[mix.b, mix.a]", "a head takes one input, not 2 (b, a)"),
    "no inputs": Case("[mix.b]", "[]", "cells[4].inputs: a cell needs at least one input"),
    "one feature to fuse": Case(", high: reduce.f8", "", "two or more features besides `previous`"),
}

SHAPES = {
    "width of a sum": Case(
        "    width: 8\n", "    width: 9\n", "width mismatch: skip_connect keeps 8 channels, 9 needed", "raw, "
    ),
    "width of an edge": Case(
        "source: f8, op: skip_connect}\n    - {name: up",
        "source: f8, width: 4, op: none}\n    - {name: up",
        "edge 'raw' (f8 -> a): width mismatch: 4 channels at a sum of 8",
    ),
    "width of a concatenation": Case("width: 16", "width: 24", "it has 24 channels, 8 + 8 = 16 arrive"),
    "widths to fuse": Case("high: reduce.f8", "high: mix.b", "cells[2].inputs: width mismatch: the inputs'"),
    "width of a candidate": Case("op: conv_3x3}", "op: [none, conv_3x3], width: 4}", "conv_3x3 keeps 8 channels, 4"),
    "width of a norm": Case(
        "post: bn_relu", "post: gn32_relu", "gn32_relu needs a width that 32 divides, not 8", "    width: 8"
    ),
    "stride of an edge": Case(", post: [bilinear]", "", "stride mismatch: f16 has stride 16, with no resampling it"),
    "stride after pooling": Case(
        "op: conv_3x3}", "op: none, pre: [avg2]}", "a has stride 8, with avg2 it arrives at 16"
    ),
    "stride of a size": Case("{like: a}", "{like: f16}", "stride mismatch: like f16 (stride 16) does not give its"),
    "stride of a halved size": Case("{like: a}", "{ceil_half: a}", "ceil_half a (stride 8) does not give its stride 8"),
    "size left open": Case(
        "{name: raw, source: f8, op: skip_connect}",
        "{name: raw, source: f8, op: none, post: [nearest]}",
        "every edge into it resamples; say its size (size: {like: FEATURE})",
        "- name: a",
    ),
    "stride of a cell": Case("  stride: 8\n  c", "  stride: 4\n  c", "must be one of the inputs' strides (16, 8)"),
}

NAMES = {
    "two cells": Case("- name: side\n", "- name: head\n", "the name 'head' is taken"),
    "cell like a tap": Case("- name: side", "- name: s8", "cells[4].name: the name 's8' is taken"),
    "cell like the image": Case("- name: side", "- name: image", "the name 'image' is taken"),
    "two nodes": Case("  - name: b\n", "  - name: a\n", "cells[1].nodes[1].name: the name 'a' is taken"),
    "node like an input": Case("  - name: b", "  - name: f8", "the name 'f8' is taken"),
    "two edges": Case(
        "name: raw_b", "name: up", "cells[1]: two edges are called 'up'; an edge's name is", "- name: mix"
    ),
    "two inputs": Case("[reduce.f16, reduce.f8]", "[s8, reduce.f8, mix.s8]", "two inputs share a name (s8, f8, s8)"),
    "name with a dot": Case("- name: side", "- name: a.b", "must be an identifier such as fuse4, not 'a.b'"),
    "name with a space": Case("  - name: b", "  - name: b c", "must be an identifier, not 'b c'"),
    "the same key twice": Case("name: base", "name: base\nname: other", "the key 'name' stands twice", "name: other"),
    "the same key twice, deep": Case("{like: a}", "{like: a, like: b}", "the key 'like' stands twice"),
    "the same tap twice": Case("taps: [s16, s8]", "taps: [s8, s8]", "expected different feature names, at least one"),
    "no taps": Case("taps: [s16, s8]", "taps: []", "expected different feature names, at least one, not []"),
    "the same candidate twice": Case("[none, conv_3x3]", "[none, none]", "two or more different candidates, not ['n"),
    "one candidate": Case("[none, conv_3x3]", "[none]", "needs two or more different candidates, not ['none']"),
    "candidates that open nothing": Case(
        "  channels: 8",
        "  channels: 8\n  candidates: [none, conv_3x3]",
        "cells[0].candidates: template lateral has no edge that candidates open",
        "candidates:",
    ),
}

TYPES = {
    "number as a name": Case("name: base", "name: 3", "name: expected a text, not 3"),
    "null as a name": Case("name: base", "name:", "name: expected a text, not null"),
    "empty name": Case("name: base", "name: ''", "name: expected a name in one line, not ''"),
    "name of two lines": Case("name: base", 'name: "a\\nb"', "expected a name in one line, not 'a\\nb'"),
    "unprintable name": Case("name: base", 'name: "a\\ud800"', "not a text: it holds the character #xd800"),
    "list as a text": Case("a valid document", "[a, {b: null}]", "expected a text, not ['a', {b: null}]"),
    "true as a format": Case("format: 1", "format: true", "unknown format true"),
    "1.0 as a format": Case("format: 1", "format: 1.0", "unknown format 1.0"),
    "list as an input": Case(
        "{mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], size: [64, 96]}",
        "[1]",
        "input: expected a mapping (key: value), not [1]",
    ),
    "two means": Case("[0.5, 0.5, 0.5]", "[0.5, 0.5]", "input.mean: expected a list of 3 numbers, not [0.5, 0.5]"),
    "text among means": Case("[0.5, 0.5, 0.5]", "[a, b, true]", "a list of 3 numbers, not ['a', 'b', true]"),
    "NaN": Case("[0.25, 0.25, 0.25]", "[.nan, 1, 1]", "input.std: expected a list of 3 numbers, not [nan, 1, 1]"),
    "infinity": Case("[0.25, 0.25, 0.25]", "[.inf, 1, 1]", "input.std: expected a list of 3 numbers, not [inf"),
    "std of zero": Case("[0.25, 0.25, 0.25]", "[0, 1, 1]", "input.std: std must be positive, not [0.0, 1.0, 1.0]"),
    "fraction of a pixel": Case("[64, 96]", "[64.0, 96]", "a list of 2 positive integers, not [64.0, 96]"),
    "no pixels": Case("[64, 96]", "[0, 96]", "input.size: expected a list of 2 positive integers, not [0, 96]"),
    "text as a backbone": Case(
        "backbone:\n  name: mobilenet_v2\n  taps: [s16, s8]\n  options: {padding: symmetric}",
        "backbone: tiny",
        "backbone: expected a mapping (key: value), not 'tiny'",
    ),
    "list as a name of a backbone": Case("name: mobilenet_v2", "name: [tiny]", "unknown backbone ['tiny']"),
    "text as taps": Case("taps: [s16, s8]", "taps: s16", "backbone.taps: expected a list of names, not 's16'"),
    "numbers as taps": Case("taps: [s16, s8]", "taps: [16, 8]", "expected a list of names, not [16, 8]"),
    "list as options": Case("{padding: symmetric}", "[padding]", "expected a mapping (key: value), not ['pad"),
    "true as an option": Case("symmetric", "true", "unknown padding true; known: symmetric, tf_same"),
    "text as a cell": Case("- name: side\n  template: head\n  inputs: [mix.b]", "- side", "cells[4]: expected a map"),
    "mapping as a template": Case("template: lateral", "template: {a: 1}", "unknown template {a: 1}; known"),
    "true as a name of a cell": Case("- name: side", "- name: yes", "such as fuse4, not true"),
    "text as inputs": Case("[mix.b]", "mix.b", "expected a list of features, or a mapping (name: feature)"),
    "null as an input": Case("[mix.b]", "[null]", "cells[4].inputs[0]: expected a feature such as s4 or cell.node"),
    "list as an input of a cell": Case("{low: reduce.f16", "{low: [a]", "inputs.low: expected a feature such as s4"),
    "text as a width": Case("channels: 8", "channels: eight", "cells[0].channels: expected an integer, not 'eight'"),
    "true as a width": Case("channels: 8", "channels: true", "cells[0].channels: expected an integer, not true"),
    "fraction as a width": Case("channels: 8", "channels: 8.0", "channels: expected an integer, not 8.0"),
    "zero as a width": Case("channels: 8", "channels: 0", "width must be a positive integer, not 0", "name: reduce"),
    "true as a stride": Case(
        "a\n    stride: 8", "a\n    stride: true", "stride must be a positive integer", "stride: true"
    ),
    "negative width of an edge": Case("op: conv_3x3}\n", "op: conv_3x3, width: -8}\n", "positive integer, not -8"),
    "true as a kernel": Case(
        "channels: 8", "channels: 8\n  kernel: true", "cells[0].kernel: expected 1 or 3, not true", "  kernel: true"
    ),
    "a million channels": Case(
        "channels: 8", "channels: 1000000", "width must be less than 1,000,000, not 1000000", "name: reduce"
    ),
    "odd stride of a downsampling block": Case(
        "template: lateral\n  inputs: [s16, s8]\n  channels: 8",
        "template: octave_block\n  inputs: [s16, s8]\n  widths: [8]\n  downsample: true\n  stride: 1",
        "cells[0].stride: with downsample, stride must be even (twice an input's), not 1",
        "stride: 1",
    ),
    "number without end": Case(
        "channels: 8", "channels: 0x" + "f" * 5000, "width must be less than 1,000,000, not 0xfff", "name: reduce"
    ),
    "text as nodes": Case(
        "  channels: 8",
        "  channels: 8\n- {name: x, template: graph, inputs: [s8], nodes: n}",
        "cells[1].nodes: expected a list, not 'n'",
        "nodes: n",
    ),
    "text as a node": Case(
        "  - name: a\n    stride", "  - hello\n  - name: a\n    stride", "nodes[0]: expected a mapping"
    ),
    "mapping as edges": Case(
        "    edges:\n    - {name: raw, source: f8, op: skip_connect}\n"
        "    - {name: up, source: f16, op: conv_3x3, post: [bilinear]}\n",
        "    edges: {a: 1}\n",
        "a list of edges, not {a: 1}",
    ),
    "text as resampling": Case("[bilinear]", "bilinear", "expected a list of resampling steps, not 'bilin"),
    "mapping as a step": Case("[bilinear]", "[{a: 1}]", "unknown resampling {a: 1}; known: avg2, avg2_ceil"),
    "list as a source": Case("source: f16", "source: [f16]", "edges[1].source: expected a name, not ['f16']"),
    "mapping as a size": Case("{like: a}", "{like: {a: 1}}", "size.like: expected the name of a feature, not {a: 1}"),
    "two sizes": Case("{like: a}", "{like: a, ceil_half: a}", "expected one of like, floor_half, ceil_half, not {"),
    "mapping as an operation": Case("{outer_low: conv_3x3}", "{outer_low: {a: 1}}", "unknown operation {a: 1}"),
    "list in a list of candidates": Case("[none, conv_3x3]", "[[none], conv_3x3]", "expected a list of names"),
    "list as operations": Case("{outer_low: conv_3x3}", "[conv_3x3]", "expected a mapping (key: value)"),
    "mapping as cells": Case("cells:\n", "cells: {}\njunk:\n", "unknown key 'junk'", "junk:"),
    "text as outputs": Case("[head.logits, side.logits]", "head.logits", "expected a list of names, not 'head.log"),
    "long values are cut": Case("symmetric", str(list(range(99))), " ..."),
}

YAML_MISTAKES = {
    "open bracket": Case("[mix.b]", "[mix.b", "not valid YAML: expected ',' or ']'", "outputs:"),
    "tab": Case("  template: lateral", "\ttemplate: lateral", "not valid YAML: found character '\\t'"),
    "two documents": Case("cells:", "---\ncells:", "not valid YAML: but found another document"),
    "python object": Case("a valid document", "!!python/object/apply:os.system [exit 3]", "tags such as tag:yaml.org"),
    "python name": Case("a valid document", "!!python/name:os.system", "tags such as tag:yaml.org,2002:python/name"),
    "set": Case("[s16, s8]\n  o", "!!set {s16, s8}\n  o", "tags such as tag:yaml.org,2002:set are not allowed"),
    "alias": Case("[reduce.f16, reduce.f8]", "&a [*a]", "not valid YAML: aliases are not allowed"),
    "merge": Case("{like: a}", "{<<: {like: a}}", "a key must be a name (quote it if YAML reads it as something else)"),
    "key that YAML reads as true": Case("{low:", "{on:", "not valid YAML: a key must be a name"),
    "list as a key": Case("{low:", "{[a]:", "not valid YAML: a key must be a name"),
    "no day": Case("a valid document", "2001-99-99", "not valid YAML: month must be in 1..12"),
    "number of 9,999 digits": Case("channels: 8", "channels: " + "9" * 9999, "not valid YAML: Exceeds the limit"),
    "control character": Case("a valid document", "a \u0007 bell", "not a text: it holds the character #x0007"),
    "nested without end": Case("a valid document", "[" * 600, "lists or mappings are nested too deeply", "format"),
}

GROUPS = {
    "unknown key": UNKNOWN_KEYS,
    "missing key": MISSING_KEYS,
    "unknown word": UNKNOWN_WORDS,
    "connections": CONNECTIONS,
    "shapes": SHAPES,
    "names": NAMES,
    "types": TYPES,
    "YAML": YAML_MISTAKES,
}
CASES = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}
