"""The registries: one record for each name, refused twice, listed when missing; and words of one's own."""

import inspect
import re

import pytest
import torch
from torch import nn

import genotypes
from genotypes import BACKBONES, OPERATIONS, POSTS, RESAMPLINGS, TEMPLATES, Record, Registry, UserError
from search_spaces import SPACES
from search_spaces.backbones import build_backbone
from search_spaces.operations import build_operation

ALL = [OPERATIONS, BACKBONES, POSTS, RESAMPLINGS, TEMPLATES, SPACES]


@pytest.fixture
def own_words():
    """Forgets, after the test, the words it added."""
    before = [dict(registry._records) for registry in ALL]
    yield
    for registry, records in zip(ALL, before, strict=True):
        registry._records.clear()
        registry._records.update(records)


def flavours() -> Registry[Record]:
    registry = Registry("flavour", Record)
    registry.add(Record(name="sweet", source=dict), Record(name="sour", source="math:sqrt"))
    return registry


def test_an_unknown_name_lists_those_that_exist():
    registry = flavours()
    assert (list(registry), len(registry), "salt" in registry) == (["sweet", "sour"], 2, False)
    for name in ("salt", None, ["sweet"]):
        with pytest.raises(UserError, match=r"unknown flavour .*; known: sour, sweet"):
            registry[name]


def test_a_taken_name_is_refused_and_keeps_its_meaning():
    registry = flavours()
    with pytest.raises(UserError, match="flavour 'sweet' exists already"):
        registry.add(Record(name="sweet"))
    with pytest.raises(UserError, match="flavour 'sweet' exists already"):
        registry.register("sweet")(list)
    assert registry["sweet"].make() == {}


def test_a_source_is_imported_when_asked_for_and_called_with_its_arguments():
    assert flavours()["sour"].make(9) == 3
    record = Record(name="x", source="textwrap:shorten", arguments={"width": 5})
    assert record.make("a long text", placeholder=".") == "a."


@pytest.mark.parametrize("registry", ALL, ids=lambda registry: registry.kind)
def test_every_record_says_what_it_is_and_where_it_comes_from(registry):
    for name in registry:
        record = registry[name]
        assert record.name == name and callable(record.load())
        assert record.summary and "\n" not in record.summary


def test_templates_are_functions_of_inputs_and_keywords():
    for name in TEMPLATES:
        kinds = [parameter.kind for parameter in inspect.signature(TEMPLATES[name].load()).parameters.values()]
        assert all(kind is inspect.Parameter.KEYWORD_ONLY for kind in kinds[1:])


def test_an_operation_of_ones_own_is_found_and_built(own_words):
    @OPERATIONS.register("test_double")
    class Double(nn.Module):
        """Twice the input.

        More about it.
        """

        def __init__(self, in_channels, out_channels, *, affine=True):
            super().__init__()

        def forward(self, x):
            return 2 * x

    record = OPERATIONS["test_double"]
    assert (record.widths, record.summary) == ("same", "Twice the input.")
    x = torch.ones(1, 4, 3, 3)
    assert torch.equal(build_operation("test_double", 4, 4)(x), 2 * x)


def test_misspelt_widths_leave_nothing_behind(own_words):
    with pytest.raises(UserError, match="sam"):
        OPERATIONS.register("test_half_done", widths="sam")(nn.Identity)
    assert "test_half_done" not in OPERATIONS


def test_posts_and_resampling_steps_of_ones_own_are_computed(own_words):
    import nas

    @POSTS.register("test_tanh", divisor=2)
    def tanh(channels, *, affine=True):
        return nn.Tanh()

    @RESAMPLINGS.register("test_skip2", factor=2)
    def skip(x, size):
        return x[:, :, ::2, ::2]

    text = """
    {format: 1, name: own, outputs: [net.b], cells: [{name: net, template: graph, inputs: [image], nodes: [
      {name: a, stride: 2, width: 2, size: {ceil_half: image}, post: test_tanh,
       edges: [{name: in_a, source: image, op: conv2d_1x1, pre: [test_skip2]}]},
      {name: b, stride: 2, width: 1, edges: [{name: in_b, source: a, op: conv2d_1x1}]}]}]}
    """
    net = nas.build(genotypes.loads(text))
    x = torch.rand(1, 3, 33, 35)
    a = torch.tanh(net.cells["net"].edges["in_a"](x[:, :, ::2, ::2]))
    found = net.cells["net"]({"image": x})
    assert torch.equal(found["net.a"], a)
    with pytest.raises(UserError, match="test_tanh needs a width that 2 divides, not 3"):
        genotypes.loads(text.replace("width: 2,", "width: 3,"))


TEMPLATE_CELL = """
{{format: 1, name: own, outputs: [net.logits], backbone: {{name: tiny, taps: [s4]}}, cells: [
  {{name: own, template: test_own, inputs: [s4], {keys}}},
  {{name: net, template: head, inputs: [own.n]}}]}}
"""


def _own_template(keywords, made="n"):
    """A template with these keywords, as text: annotations of `from __future__ import annotations` are texts, too."""
    source = f"""from __future__ import annotations
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from somewhere import Known
def own(inputs: Known, *, {keywords}):
    for feature in inputs.values():
        yield Node(name={made!r}, stride=feature.stride, width=feature.width, edges=(Edge(name="e", source="s4"),))
"""
    space = {"Node": genotypes.Node, "Edge": genotypes.Edge}
    exec(compile(source, "own.py", "exec"), space)
    TEMPLATES.register("test_own")(space["own"])


@pytest.mark.parametrize(
    ("keywords", "good", "bad", "expected"),
    [
        ("k: int = 1", "k: 3", "k: [3]", "expected an integer, not [3]"),
        ("k: int | None = None", "k: 3", "k: true", "expected an integer or null, not true"),
        ("k: tuple[int, ...] = ()", "k: [3, 4]", "k: 3", "expected a list, each an integer, not 3"),
        ("k: Sequence[int] = ()", "k: [3, 4]", "k: [a]", "expected a list, each an integer, not ['a']"),
        (
            "k: Mapping[str, int] = {}",
            "k: {a: 3}",
            "k: {a: b}",
            "expected a mapping, each value an integer, not {a: 'b'}",
        ),
        ("k: tuple = ()", "k: [3]", "k: 3", "expected a list, not 3"),
        ("k: list[int] = []", "", "k: [3]", "its template annotates this as list, which nothing in a file fits"),
    ],
)
def test_keys_of_a_template_of_ones_own_are_checked(own_words, keywords, good, bad, expected):
    """Annotations that are texts fitted nothing, nor did Sequence; of what `yield` made nothing was left."""
    _own_template(keywords)
    assert genotypes.loads(TEMPLATE_CELL.format(keys=good)).graph.cells["own"][0].local == "n"
    with pytest.raises(genotypes.GenotypeError, match=re.escape(f"cells[0].k: {expected}")):
        genotypes.loads(TEMPLATE_CELL.format(keys=bad))


def test_a_template_of_ones_own_names_what_can_be_referred_to(own_words):
    """A dot parts names in references and keys: such an edge could not be decided."""
    _own_template("k: int = 1", made="n.4")
    with pytest.raises(
        genotypes.GenotypeError, match=r"cells\[0\]: template test_own names .* 'n\.4'; expected an ident"
    ):
        genotypes.loads(TEMPLATE_CELL.format(keys=""))


def test_a_backbone_of_ones_own_is_found_and_built(own_words):
    @BACKBONES.register("test_pool", features={"s4": (4, 3)}, options={"kind": ("max", "avg")})
    class Pool(nn.Module):
        def __init__(self, taps, *, kind):
            super().__init__()
            self.pool = {"max": nn.MaxPool2d(4), "avg": nn.AvgPool2d(4)}[kind]

        def forward(self, x):
            return {"s4": self.pool(x)}

    x = torch.arange(48.0).reshape(1, 3, 4, 4)
    assert build_backbone("test_pool", ("s4",))(x)["s4"].flatten().tolist() == [15, 31, 47]
    assert build_backbone("test_pool", ("s4",), kind="avg")(x)["s4"].flatten().tolist() == [7.5, 23.5, 39.5]
    with pytest.raises(TypeError, match="features"):
        BACKBONES.register("test_new")(Pool)
    assert "test_new" not in BACKBONES
