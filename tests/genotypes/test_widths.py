"""Open widths: candidates in place of a number, closed again to the original network."""

from dataclasses import replace

import pytest

import genotypes
from genotypes import GenotypeError
from search_spaces.csnet import open_csnet

DOCUMENT = """format: 1
name: widths
cells:
- name: c
  template: graph
  inputs: [image]
  nodes:
  - name: a
    stride: 1
    width: {choose: [4, 8]}
    edges: [{name: e, source: image, op: conv2d_3x3}]
  - name: logits
    stride: 1
    width: 1
    edges: [{name: f, source: a, op: conv2d_1x1}]
outputs: [c.logits]
"""


def test_an_open_width_is_the_largest_until_decided():
    g = genotypes.loads(DOCUMENT)
    assert g.choices() == {"c.nodes.0.width": (4, 8)} and not g.is_decided and g.open_edges() == {}
    assert g.graph["c.a"].width == 8
    small = g.decide({"c.nodes.0.width": 4})
    assert small.is_decided and small.graph["c.a"].width == 4
    assert small == genotypes.loads(DOCUMENT.replace("{choose: [4, 8]}", "4"))
    assert g != g.decide({"c.nodes.0.width": 8})
    assert genotypes.loads(genotypes.dumps(g)) == g


@pytest.mark.parametrize("expand", [1, 2])
def test_closing_the_open_csnet_by_its_own_widths_gives_the_zoos_hash(expand):
    space = open_csnet(expand)
    widths = space.choices()
    # Branches of the blocks of stages 0 to 4; in the head branches, dilations and the channels after them.
    assert len(widths) == 2 + 6 + 7 + 11 + 7 + 3 + 3 * 5 + 1
    assert widths["stage0.widths.0"] == tuple(range(1, 10 * expand + 1))
    assert widths["fusion.dilated.0.0"] == ((0, 1, 2), (0, 1, 2, 3, 4, 5))[expand - 1]
    assert widths["fusion.channels"] == tuple(range(1, (65, 132)[expand - 1] + 1))
    closed = space.decide({choice: max(candidates) for choice, candidates in widths.items()})
    assert closed.hash == genotypes.load(f"csnet_x{expand}").hash
    narrow = space.decide({choice: candidates[1] for choice, candidates in widths.items()})
    assert narrow.is_decided and narrow.hash != closed.hash
    assert genotypes.loads(genotypes.dumps(space)) == space


@pytest.mark.parametrize(("small", "large"), [("csnet_l_x1", "csnet_x1"), ("csnet_l_x2", "csnet_x2")])
def test_the_authors_pruned_networks_are_members_of_the_open_ones(small, large):
    space, target = open_csnet(int(large[-1])), genotypes.load(small)
    params = {cell.name: cell.params for cell in target.cells}

    def width(choice: str) -> int:
        cell, name, *indices = choice.split(".")
        value = params[cell][name]
        for index in indices:
            value = value[int(index)]
        return value

    assert space.decide({choice: width(choice) for choice in space.choices()}) == target


def test_the_heads_branches_may_be_absent():
    space = open_csnet(1)
    widths = {choice: max(candidates) for choice, candidates in space.choices().items()}
    without = space.decide(widths | {"fusion.fuse.2": 0})
    assert "fusion.fuse2" not in without.graph and "fusion.multi2" not in without.graph
    assert without == space.decide(widths | {f"fusion.dilated.2.{d}": 0 for d in range(5)})
    assert "fusion.multi1_d4" not in space.decide(widths | {"fusion.dilated.1.2": 0}).graph.edges
    with pytest.raises(GenotypeError, match=r"node .out. has no incoming edge"):
        space.decide(widths | {f"fusion.fuse.{branch}": 0 for branch in range(3)})


@pytest.mark.parametrize("bad", ["[4]", "[4, 4]", "[-1, 4]", "[4, wide]", "4", "[]", "[true, 2]"])
def test_bad_candidates_are_refused_with_their_line(bad):
    says = r"x.yaml:10: cells\[0\].*two or more different widths to choose from, integers from 0 up, not "
    with pytest.raises(GenotypeError, match=says):
        genotypes.loads(DOCUMENT.replace("[4, 8]", bad), "x.yaml")


def test_choices_outside_the_candidates_are_refused():
    g = genotypes.loads(DOCUMENT)
    with pytest.raises(GenotypeError, match=r"5 is no candidate of .c\.nodes\.0\.width.; candidates: 4, 8"):
        g.decide({"c.nodes.0.width": 5})
    with pytest.raises(GenotypeError, match=r"open: c\.nodes\.0\.width"):
        g.decide({"c.nodes.1.width": 4})


def test_an_open_width_is_built_and_an_open_size_is_not():
    import nas

    space = genotypes.loads(DOCUMENT)
    assert list(nas.build(space).choices) == list(space.choices())
    with pytest.raises(genotypes.UserError, match=r"input\.size is open; decide it"):
        nas.build(space.replace(input=replace(space.input, sizes=(32, 64), size=(64, 64))))
