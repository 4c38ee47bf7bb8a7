"""What is on a picture: every edge once, the operations that occur, the same look everywhere."""

import json
import random
import re
from dataclasses import replace
from itertools import combinations

import pytest
from matplotlib.path import Path

import genotypes
from genotypes.vocabulary import OPERATIONS, OperationRecord
from nas.visualize.charts import CostPoint, shares, trade_off
from nas.visualize.layout import dot_is_there
from nas.visualize.page import compose
from nas.visualize.pictures import Mark, cells_picture, difference_picture, network_picture, occurring_operations
from nas.visualize.scene import Panel
from nas.visualize.style import operation_label, operation_stroke, stride_colour
from nas.visualize.text import differences, text_table
from search_spaces import compact, fpn, fusion_cells

NAMES = genotypes.names()
ENGINES = [
    pytest.param("graphviz", marks=pytest.mark.skipif(not dot_is_there(), reason="Graphviz' dot is not installed")),
    "matplotlib",
]


def _decided(seed: int = 0) -> genotypes.Genotype:
    space, rng = fusion_cells("tiny", 16), random.Random(seed)
    return space.decide({edge: rng.choice(ops) for edge, ops in space.open_edges().items()}, name="random")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", NAMES)
def test_every_genotype_of_the_zoo_is_laid_out(name, engine):
    picture = cells_picture(genotypes.load(name))
    page = compose(picture, engine, "screen")
    assert [box.placed.panel for box in page.boxes] == list(picture.panels)
    for index, box in enumerate(page.boxes):
        placed = box.placed
        assert box.x >= 0 and box.x + box.width <= page.width and box.y + box.height <= page.height
        for other in page.boxes[:index]:
            assert _apart(box, other), f"{box.placed.panel.title} lies on {other.placed.panel.title}"
        assert placed.curves.keys() == {arrow.key for arrow in placed.panel.arrows}
        for arrow in placed.panel.arrows:
            curve = placed.curves[arrow.key]
            assert len(curve.points) % 3 == 1 and (curve.label is not None) == bool(arrow.lines)
            assert _near(curve.points[0], placed, arrow.source) and _near(curve.tip, placed, arrow.target)
        shapes = [(shape, *placed.shapes[shape.key]) for shape in placed.panel.shapes]
        for a, (shape, x, y) in enumerate(shapes):
            for other, u, v in shapes[:a]:
                wide, high = (shape.size[0] + other.size[0]) / 2, (shape.size[1] + other.size[1]) / 2
                assert abs(x - u) > wide - 1 or abs(y - v) > high - 1, f"{shape.key} lies on {other.key}"


def _apart(a, b) -> bool:
    return a.x >= b.x + b.width or b.x >= a.x + a.width or a.y >= b.y + b.height or b.y >= a.y + a.height


def _near(point, placed, key) -> bool:
    shape = next(shape for shape in placed.panel.shapes if shape.key == key)
    x, y = placed.shapes[key]
    return abs(point[0] - x) <= shape.size[0] / 2 + 4 and abs(point[1] - y) <= shape.size[1] / 2 + 4


@pytest.mark.skipif(not dot_is_there(), reason="Graphviz' dot is not installed")
@pytest.mark.parametrize("name", ["csf_res2net50", "csnet_x1"])
def test_branches_that_all_feed_each_other_stay_in_order(name):
    page = compose(cells_picture(genotypes.load(name)), "auto", "screen")
    (fusion,) = (box.placed for box in page.boxes if box.placed.panel.title.endswith("fusion"))
    for keys in (
        [shape.key for shape in fusion.panel.shapes if shape.form == "pill"],
        [shape.key for shape in fusion.panel.shapes if ".fuse" in shape.key],
    ):
        # Along the layer, whichever way the page reads; across it they are level.
        places = [sum(fusion.shapes[key]) for key in keys]
        assert len(keys) >= 3 and places == sorted(places)


def _cells(panel: Panel) -> int:
    """How many cells it stands for."""
    alike = re.search(r"(\d+) cells alike", panel.subtitle)
    return int(alike[1]) if alike else 1


@pytest.mark.parametrize("name", NAMES)
def test_every_edge_is_drawn_once_and_the_legend_lists_what_occurs(name):
    genotype = genotypes.load(name)
    picture = cells_picture(genotype)
    edges = list(genotype.graph.edges.values())
    assert sum(_cells(panel) * len(panel.arrows) for panel in picture.panels) == len(edges)
    drawn = [arrow.key for panel in picture.panels for arrow in panel.arrows]
    assert len(set(drawn)) == len(drawn) and set(drawn) <= {edge.id for edge in edges}
    assert {key.operation for key in picture.keys[0] if key.operation} == {edge.op for edge in edges}


def test_open_edges_say_how_many_candidates_they_have():
    space = fusion_cells("tiny", 16)
    picture = cells_picture(space)
    arrows = {arrow.key: arrow for panel in picture.panels for arrow in panel.arrows}
    for edge in space.open_edges():
        assert "11 candidates" in [line.text for line in arrows[edge].lines]
        assert "spatial_attention: 7x7 mask" in arrows[edge].tooltip
    # Candidates are no operations that occur.
    assert occurring_operations(space) == ["skip_connect", "conv2d_3x3_bias"]


def test_probabilities_show_the_leading_candidate_by_label_width_and_opacity():
    space = fusion_cells("tiny", 16)
    sure, unsure = list(space.open_edges())[:2]
    probabilities = {sure: {"conv_3x3": 0.9, "none": 0.1}, unsure: {"none": 0.2, "sep_conv_3x3": 0.3}}
    picture = cells_picture(space, probabilities)
    arrows = {arrow.key: arrow for panel in picture.panels for arrow in panel.arrows}
    assert "conv 3×3 90%" in [line.text for line in arrows[sure].lines]
    assert "sep 3×3 30%" in [line.text for line in arrows[unsure].lines]
    assert arrows[sure].stroke.width > arrows[unsure].stroke.width
    assert arrows[sure].stroke.alpha > arrows[unsure].stroke.alpha
    assert arrows[sure].stroke.colour == operation_stroke("conv_3x3").colour
    assert {"conv_3x3", "sep_conv_3x3"} <= {key.operation for key in picture.keys[0]}


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [
        ({"fuse16.nope": {"none": 1.0}}, "'fuse16.nope' is not an open edge"),
        ({"fuse16.p_n1": {"nope": 1.0}}, "'nope' is no candidate of 'fuse16.p_n1'"),
        ({"fuse16.p_n1": {"none": 1.5}}, "expected a number from 0 to 1, not 1.5"),
        ({"fuse16.p_n1": {}}, "names no operation"),
    ],
)
def test_probabilities_of_another_genotype_are_refused(probabilities, message):
    with pytest.raises(genotypes.UserError, match=message):
        cells_picture(fusion_cells("tiny", 16), probabilities)


def test_edges_without_effect_can_be_hidden():
    genotype = _decided()
    dead = {data.id for data in genotype.graph.edges.values() if data.op == "none"}
    assert dead
    shown = cells_picture(genotype)
    hidden = cells_picture(genotype, hide_none=True)
    keys = {arrow.key for panel in shown.panels for arrow in panel.arrows}
    assert keys - {arrow.key for panel in hidden.panels for arrow in panel.arrows} == dead
    assert "none" not in {key.operation for key in hidden.keys[0]}


def test_cells_alike_are_drawn_once():
    space = fusion_cells("tiny", 16)
    head = space.cells[-1]
    twin = replace(head, name="twin")
    twins = space.replace(cells=(*space.cells, twin), outputs=(*space.outputs, "twin.logits"))
    panels = cells_picture(twins).panels
    assert [_cells(panel) for panel in panels] == [1] * (len(space.cells) - 1) + [2]
    assert "twin" in panels[-1].subtitle


def _changed(genotype: genotypes.Genotype, space: genotypes.Genotype, changes: dict[str, str]) -> genotypes.Genotype:
    operations = genotype.graph.operations()
    return space.decide({edge: operations[edge] for edge in space.open_edges()} | changes, name="other")


def test_a_difference_shows_the_cells_that_differ_in_both_and_fades_what_is_alike():
    space, first = fusion_cells("tiny", 16), _decided()
    edge = "fuse16.p_n1"
    op = next(op for op in space.open_edges()[edge] if op != first.graph.operations()[edge])
    second = _changed(first, space, {edge: op})
    picture = difference_picture(first, second)
    assert [panel.title.split("  ")[1] for panel in picture.panels] == ["fuse16 in A", "fuse16 in B"]
    arrows = {arrow.key: arrow for panel in picture.panels for arrow in panel.arrows}
    assert len(arrows) == 2 * len([edge for edge in first.graph.edges if edge.startswith("fuse16.")])
    strong = {key for key, arrow in arrows.items() if arrow.stroke.alpha == 1}
    assert strong == {f"A/{edge}", f"B/{edge}"}
    assert arrows[f"B/{edge}"].stroke.colour == operation_stroke(op).colour
    assert differences(first, second) == [
        f"{edge}: fuse16.t_f32 · {first.graph.operations()[edge]} -> fuse16.t_f32 · {op}"
    ]


def test_a_difference_of_unlike_genotypes_says_what_only_one_has():
    first, second = genotypes.load("fpn_tiny"), _decided()
    texts = differences(first, second)
    assert any(line.startswith("pyramid.m_f32: only in A") for line in texts)
    assert any(line.startswith("fuse16.n1: only in B") for line in texts)
    assert any(line.startswith("head4.logits, size: like pyramid.p_f4 -> like ") for line in texts)
    picture = difference_picture(first, second)
    assert {"2  pyramid in A", "6  fuse16 in B"} <= {panel.title for panel in picture.panels}
    words = {line.text for panel in picture.panels for arrow in panel.arrows for line in arrow.lines}
    assert "only here" in words
    compose(picture, "matplotlib", "screen")


def test_what_differs_in_a_backbone_is_told():
    """What retrain.prune makes of a network differs there alone: the two were said not to differ."""
    whole = genotypes.load("sod_s")
    backbone = whole.backbone
    pruned = whole.replace(backbone=replace(backbone, widths=(32, 48, 0, *backbone.widths[3:])))
    assert differences(whole, pruned) == [
        "backbone, block 1: 96 hidden -> 48 hidden",
        "backbone, block 2: 144 hidden -> left out",
    ]
    assert differences(whole, whole.replace(backbone=replace(backbone, options={}))) == [
        "backbone, padding: tf_same -> symmetric"
    ]


def test_a_line_of_a_difference_has_two_sides():
    """Edges into a wider feature were told as they are on both sides; candidates were counted."""
    first, second = fpn("tiny", 8), fpn("tiny", 16)
    space, other = (compact("tiny", channels=widths) for widths in ((16, 24), (16, 32)))
    wider = fusion_cells("tiny", 8, ["skip_connect", "conv_3x3"]), fusion_cells("tiny", 8, ["none", "conv_3x3"])
    for one, two in ((first, second), (space, other), wider):
        lines = differences(one, two)
        sides = [line.split(": ", 1)[1].split(" -> ") for line in lines if "only in" not in line]
        assert lines and all(len(side) == 2 and side[0] != side[1] for side in sides), lines
    assert "decoder.channels, a choice: one of 16, 24 -> one of 16, 32" in differences(space, other)


def test_genotypes_alike_have_no_difference_to_draw():
    assert differences(_decided(), _decided()) == []
    with pytest.raises(genotypes.UserError, match="nothing to draw"):
        difference_picture(_decided(), _decided().replace(name="twin"))


def test_marks_are_written_below_labels_and_set_the_arrows():
    genotype = _decided()
    weak, strong = [edge for edge in genotype.graph.edges if edge.startswith("fuse16.")][:2]
    marks = {weak: Mark("+0.01", 0.0), strong: Mark("+0.50", 1.0)}
    arrows = {arrow.key: arrow for panel in cells_picture(genotype, marks=marks).panels for arrow in panel.arrows}
    assert arrows[weak].lines[-1].text == "+0.01" and arrows[strong].lines[-1].text == "+0.50"
    assert arrows[weak].stroke.width < arrows[strong].stroke.width
    assert arrows[weak].stroke.alpha < arrows[strong].stroke.alpha == 1


def test_each_operation_of_the_language_looks_different():
    strokes = {op: operation_stroke(op) for op in OPERATIONS}
    looks = {(stroke.colour, stroke.dashes, stroke.double) for stroke in strokes.values()}
    assert len(looks) == len(strokes)


def test_a_users_operation_has_a_stable_look(monkeypatch):
    # The literal values: a change of them changes pictures that users have published.
    monkeypatch.setitem(OPERATIONS._records, "my_own_operation", OperationRecord(name="my_own_operation"))
    stroke = operation_stroke("my_own_operation")
    assert (stroke.colour, stroke.dashes) == ("#999933", ())
    assert operation_label("dil_conv_3x3_rp2") == "2× dil 3×3"


def test_strides_run_from_light_to_dark():
    def luminance(stride):
        return sum(
            int(stride_colour(stride)[i : i + 2], 16) * weight for i, weight in ((1, 0.21), (3, 0.72), (5, 0.07))
        )

    values = [luminance(2**power) for power in range(8)]
    assert values == sorted(values, reverse=True) and len(set(values)) == 8


@pytest.mark.parametrize("name", NAMES)
def test_the_overview_shows_every_cell_and_every_output(name):
    genotype = genotypes.load(name)
    picture = network_picture(genotype)
    (panel,) = picture.panels
    keys = {shape.key for shape in panel.shapes}
    assert {cell.name for cell in genotype.cells} <= keys
    assert {f"output {number}" for number in range(1, len(genotype.outputs) + 1)} <= keys
    reads = {
        (edge.source, node.cell)
        for node in genotype.graph.nodes.values()
        for edge in node.edges
        if genotype.graph[edge.source].cell != node.cell
    }
    assert len([arrow for arrow in panel.arrows if " to " in arrow.key and "output" not in arrow.target]) == len(reads)
    fills = {shape.fill for shape in panel.shapes} | {arrow.tooltip.rpartition(", ")[2] for arrow in panel.arrows}
    assert all(key.fill in fills or key.text in fills for key in picture.keys[0])  # no stride that is not shown


def test_a_long_front_has_labels_that_can_be_read():
    """Forty-nine lay over one another, and a fifth of a millisecond was told as 200m."""
    points = [CostPoint(x=0.2 * 1.06**n, y=0.5 - 0.005 * n, label=f"{100 + n}") for n in range(49)]
    figure = trade_off(points, points, title="t", xlabel="ms", ylabel="loss")
    told = [text.get_text() for text in figure.axes[0].texts]
    assert told == [point.label for point in points]  # points that are named have all of them
    unnamed = [CostPoint(x=p.x, y=p.y) for p in points]
    (axes,) = trade_off(unnamed, points, title="t", xlabel="ms", ylabel="loss").axes
    told = [text.get_text() for text in axes.texts]
    assert {"100", "148"} < set(told) and len(told) < 25 and told == sorted(told)
    assert axes.xaxis.get_major_formatter()(0.2) == "0.2"
    assert axes.xaxis.get_major_formatter()(2e8) == "200M"


def test_the_label_of_a_named_point_keeps_clear_of_others_and_of_the_front():
    """The long name of a network beside the front lay over the front's line and over another name."""
    cheap, dear = CostPoint(x=24, y=0.403, spread=0.06, label="fpn"), CostPoint(x=40.5, y=0.486, label="csnet_l_x2")
    beside = CostPoint(x=33, y=0.398, spread=0.09, label="fusion_cells_mobilenet_v2_darts")
    figure = trade_off([cheap, beside, dear], [cheap, dear], title="t", xlabel="x", ylabel="y", rising=True)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent() for text in axes.texts]
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    front = Path([(24, 0.403), (40.5, 0.403), (40.5, 0.486)]).transformed(axes.transData)
    assert not any(front.intersects_bbox(box, filled=False) for box in boxes)


@pytest.mark.parametrize("last", [9, 150_000])
def test_margins_of_the_small_charts_of_choices_hold_their_labels(last):
    """They are fixed: finding them for each of thirty charts took a fifth of the time of a search's page."""
    figure = shares([0, last], [{"none": 0.5, "conv_3x3": 0.5}] * 2, title="fuse16.outer_f16")
    assert figure.get_layout_engine() is None
    figure.draw_without_rendering()
    (axes,) = figure.axes
    drawn, whole = axes.get_tightbbox(), figure.bbox
    assert drawn and whole.x0 <= drawn.x0 and drawn.x1 <= whole.x1
    assert whole.y0 <= drawn.y0 and drawn.y1 <= whole.y1


def test_one_cell_is_no_cells():
    edge = {"name": "e", "source": "image", "op": "conv2d_3x3"}
    cell = {"name": "net", "template": "graph", "inputs": ["image"]}
    cell["nodes"] = [{"name": "o", "stride": 1, "width": 1, "edges": [edge]}]
    one = genotypes.loads(json.dumps({"format": 1, "name": "one", "cells": [cell], "outputs": ["net.o"]}))
    assert "1 cell, 1 edge," in cells_picture(one).subtitle and "1 cell," in network_picture(one).subtitle


@pytest.mark.parametrize("engine", ["graphviz", "matplotlib"])
def test_long_names_do_not_make_a_wide_picture(engine):
    """A name of 300 letters made one of 2,500 points."""
    if engine == "graphviz" and not dot_is_there():
        pytest.skip("Graphviz' dot is not installed")
    edge = {"name": "e", "source": "image", "op": "conv2d_3x3"}
    cell = {"name": "c" * 300, "template": "graph", "inputs": ["image"]}
    cell["nodes"] = [{"name": "n" * 300, "stride": 1, "width": 1, "edges": [edge]}]
    document = {"format": 1, "cells": [cell], "outputs": [f"{'c' * 300}.{'n' * 300}"]}
    first, second = (
        genotypes.loads(json.dumps(document | {"name": f"{'x' * 300}_{end}", "cells": [cell | {"nodes": [node]}]}))
        for end, node in (("a", cell["nodes"][0]), ("b", cell["nodes"][0] | {"edges": [edge | {"op": "conv2d_1x1"}]}))
    )
    for picture in (cells_picture(first), network_picture(first), difference_picture(first, second)):
        assert compose(picture, engine, "screen").width < 1100, picture.title
    assert cells_picture(first).title.startswith("xxx") and cells_picture(first).title.endswith("xxx_a")


def test_what_is_chosen_outside_of_the_cells_is_shown_too():
    """Blocks that were left out or narrowed, and the picture's size, were neither drawn nor in the table."""
    space = compact("mobilenet_v2", (8, 16), sizes=(64, 96))
    largest, chosen = ({choice: found[which] for choice, found in space.choices().items()} for which in (-1, 0))
    chosen |= {"backbone.widths.10": 192, "decoder.inputs": largest["decoder.inputs"]}
    whole, small = space.decide(largest), space.decide(chosen)
    boxes = [{shape.key: shape.tooltip for shape in network_picture(g).panels[0].shapes} for g in (space, whole, small)]
    assert [found["backbone"] for found in boxes] == [
        "mobilenet_v2: blocks: 8 open",
        "mobilenet_v2: backbone",
        "mobilenet_v2: blocks: 3 left out, 1 narrower",
    ]
    picture, found = difference_picture(whole, small), differences(whole, small)
    around = ["input: 96 x 96 -> 64 x 64", "backbone, block 9: 384 hidden -> left out"]
    around += ["backbone, block 10: 384 hidden -> 192 hidden"]
    around += [f"backbone, block {n}: 576 hidden -> left out" for n in (11, 12)]
    assert found[:5] == around and picture.notes[0] == f"Not drawn: {'; '.join(around)}."
    assert picture.subtitle == f"{len(found) - 5} differences in 1 cell"
    told = text_table(small).splitlines()
    assert told[1].startswith("input: 64 x 64, mean 0.485, 0.456")
    assert told[3] == f"  hidden channels of its blocks: {', '.join(map(str, small.backbone.hidden))}"
    assert "* decoder.channels: one of 8, 16" in text_table(space)
