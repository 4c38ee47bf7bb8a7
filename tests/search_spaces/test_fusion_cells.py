"""The FusionCell space, checked edge by edge against the equations of the paper's released code."""

import pytest

import genotypes
from genotypes import Genotype, GenotypeError, Input
from genotypes.vocabulary import BACKBONES
from search_spaces.fpn import fpn
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS, fusion_cells

ALL_TAPS = ("s2", "s4", "s8", "s16", "s32")
WIRINGS = ("code", "figure7")


def space(count: int, wiring: str) -> Genotype:
    """The space over the `count` coarsest of MobileNetV2's five features."""
    return fusion_cells("mobilenet_v2", 8, taps=ALL_TAPS[-count:], wiring=wiring)


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize(
    ("count", "outer", "inner"), [(2, 2, [1]), (3, 6, [3, 5]), (4, 12, [5, 7, 7]), (5, 20, [7, 9, 9, 9])]
)
def test_number_of_open_edges(count: int, outer: int, inner: list[int], wiring: str) -> None:
    edges = space(count, wiring).open_edges()
    assert len(edges) == outer + sum(inner)
    cells = dict.fromkeys(edge.split(".")[0] for edge in edges)
    per_cell = [[edge for edge in edges if edge.startswith(f"{cell}.")] for cell in cells]
    assert [sum(".outer_" not in edge for edge in mine) for mine in per_cell] == inner
    assert sum(".outer_" in edge for edge in edges) == outer
    assert set(edges.values()) == {AUTO_MSFNET_OPERATIONS}


def formulas(count: int, wiring: str) -> dict[str, list[tuple]]:
    """For every node of the cells, what is summed: (whether an operation acts, source, resizes before, after).

    Written from the equations alone: N_1 = S_1 + o(P), N_k = S_k + o(N_{k-1}) + o(S_k), or o(P) in Figure 7,
    O = relu(bn(conv(N_1 + ... + N_n))); P is T(coarsest) in the first cell, then the resized O of the cell before.
    """
    strides = [32, 16, 8, 4, 2][:count]
    expected = {}
    before = None
    for stride in strides[1:]:
        cell = f"fuse{stride}"
        for source in strides:
            resize = () if source == stride else ("bilinear",)
            expected[f"{cell}.t_f{source}"] = [(True, f"reduce.f{source}", (), resize)]
        summands = [f"{cell}.t_f{source}" for source in strides]
        if before is None:
            previous = summands.pop(0)
        else:
            previous = f"{cell}.p"
            expected[previous] = [(False, before, (), ("bilinear",))]
        expected[f"{cell}.n1"] = [(False, summands[0], (), ()), (True, previous, (), ())]
        for k in range(2, len(summands) + 1):
            s_k = summands[k - 1]
            second = s_k if wiring == "code" else previous
            expected[f"{cell}.n{k}"] = [
                (False, s_k, (), ()),
                (True, f"{cell}.n{k - 1}", (), ()),
                (True, second, (), ()),
            ]
        expected[f"{cell}.sum"] = [(False, f"{cell}.n{k}", (), ()) for k in range(1, len(summands) + 1)]
        before = f"{cell}.out"
    return expected


@pytest.mark.parametrize("wiring", WIRINGS)
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_wiring_is_that_of_the_equations(count: int, wiring: str) -> None:
    graph = space(count, wiring).graph
    found = {}
    for node, attributes in graph.nodes.items():
        if attributes.cell.startswith("fuse") and not node.endswith(".out"):
            edges = graph.incoming(node)
            assert all(edge.op == (AUTO_MSFNET_OPERATIONS if len(edge.op) == 11 else "skip_connect") for edge in edges)
            found[node] = [(e.is_open, e.source, e.pre, e.post) for e in edges]
            assert (attributes.combine, attributes.post) == ("sum", "none")
    assert found == formulas(count, wiring)


@pytest.mark.parametrize("wiring", WIRINGS)
def test_open_edges_come_in_the_order_of_the_released_genotypes(wiring: str) -> None:
    # Outer operations by source, coarsest first; then o_0(P), and for k = 2.. o(N_{k-1}) and o(S_k).
    second = ("f8", "f4") if wiring == "code" else ("p", "p")
    edges = [edge for edge in space(4, wiring).open_edges() if edge.startswith("fuse16.")]
    outer = ["fuse16.outer_f32", "fuse16.outer_f16", "fuse16.outer_f8", "fuse16.outer_f4"]
    inner = ["p_n1", "n1_n2", f"{second[0]}_n2", "n2_n3", f"{second[1]}_n3"]
    assert edges == outer + [f"fuse16.{name}" for name in inner]


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_strides_sizes_widths_and_outputs(count: int) -> None:
    genotype = space(count, "code")
    strides = [32, 16, 8, 4, 2][1:count]
    assert genotype.outputs == tuple(f"head{stride}.logits" for stride in reversed(strides))
    graph = genotype.graph
    for stride in strides:
        for node in [node for node in graph if node.startswith(f"fuse{stride}.")]:
            assert (graph[node].stride, graph[node].width) == (stride, 8)
            size = graph[node].size
            assert (size.rule, size.of) == ("like", f"reduce.f{stride}")
        (conv,) = graph.incoming(f"fuse{stride}.out")
        assert (conv.source, conv.op) == (f"fuse{stride}.sum", "conv2d_3x3_bias")
        assert graph[f"fuse{stride}.out"].post == "bn_relu"
        (head,) = graph.incoming(f"head{stride}.logits")
        assert (head.source, head.op) == (f"fuse{stride}.out", "conv2d_3x3_bias")
    for tap in ALL_TAPS[-count:]:
        (reducer,) = graph.incoming(f"reduce.f{tap[1:]}")
        assert (reducer.source, reducer.op) == (tap, "conv2d_3x3_bias")
        assert graph[f"reduce.f{tap[1:]}"].post == "bn_relu"


@pytest.mark.parametrize("backbone", BACKBONES)
def test_any_backbone(backbone: str) -> None:
    genotype = fusion_cells(backbone)
    assert len(genotype.open_edges()) == 31
    assert genotype.backbone.taps == tuple(reversed(list(BACKBONES[backbone].features)[-4:]))


def test_options() -> None:
    given = Input(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), size=(160, 160))
    genotype = fusion_cells(
        "mobilenet_v2",
        16,
        ["none", "dw_sep_conv_3x3"],
        taps=["s4", "s16", "s8"],
        strides=[4, 8],
        input=given,
        backbone_options={"padding": "tf_same"},
        name="mine",
    )
    assert (genotype.name, genotype.input) == ("mine", given)
    assert genotype.backbone.options == {"padding": "tf_same"}
    assert genotype.backbone.taps == ("s16", "s8", "s4")
    assert genotype.outputs == ("head4.logits", "head8.logits")
    assert set(genotype.open_edges().values()) == {("none", "dw_sep_conv_3x3")}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"backbone": "alexnet"}, "unknown backbone 'alexnet'; known: efficientnet_lite0, "),
        ({"taps": ["s4", "s2"]}, "backbone 'tiny' has no feature 's2'; it has: s4, s8, s16, s32"),
        ({"taps": ["s4"]}, "fusion needs two or more taps, not s4"),
        ({"taps": []}, "fusion needs two or more taps, not none"),
        ({"taps": ["s4", "s4"]}, "two inputs share a name (s4, s4)"),
        ({"wiring": "figure8"}, "wiring: expected code or figure7, not 'figure8'"),
        ({"strides": [2]}, "stride 2 must be one of the inputs' strides (32, 16, 8, 4)"),
        ({"strides": [8, 8]}, "the name 'fuse8' is taken"),
        ({"operations": ["none"]}, "an open edge needs two or more different candidates, not ['none']"),
        ({"operations": ["none", "conv_5x5"]}, "unknown operation 'conv_5x5'; known: "),
        ({"channels": 0}, "width must be a positive integer, not 0"),
        ({"backbone_options": {"padding": "tf_same"}}, "options.padding: unknown key 'padding'; known: none"),
    ],
)
def test_mistakes(options: dict, says: str) -> None:
    with pytest.raises(GenotypeError) as caught:
        fusion_cells(**options)
    assert says in str(caught.value)


class TestFpn:
    @pytest.mark.parametrize(
        ("backbone", "options"),
        [
            ("tiny", {"channels": 16}),
            (
                "mobilenet_v2",
                {
                    # The convention of the ImageNet weights that the README's command uses.
                    "input": Input(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), size=(160, 160)),
                    "backbone_options": {"padding": "tf_same"},
                },
            ),
            ("vgg16_bn", {}),
            ("resnet50", {}),
            ("res2net50", {}),
        ],
    )
    def test_the_zoo_holds_it(self, backbone: str, options: dict) -> None:
        assert genotypes.dumps(genotypes.load(f"fpn_{backbone}")) == genotypes.dumps(fpn(backbone, **options))

    def test_the_pyramid(self) -> None:
        graph = fpn("tiny", 8).graph
        edges = {
            node: [(e.source, e.op, e.post) for e in graph.incoming(node)]
            for node in graph
            if node.startswith("pyramid.")
        }
        lateral = {stride: (f"reduce.f{stride}", "skip_connect", ()) for stride in (32, 16, 8, 4)}
        up = {stride: (f"pyramid.m_f{stride}", "skip_connect", ("bilinear",)) for stride in (32, 16, 8)}
        smooth = {stride: (f"pyramid.m_f{stride}", "conv2d_3x3_bias", ()) for stride in (16, 8, 4)}
        assert edges == {
            "pyramid.m_f32": [lateral[32]],
            "pyramid.m_f16": [lateral[16], up[32]],
            "pyramid.p_f16": [smooth[16]],
            "pyramid.m_f8": [lateral[8], up[16]],
            "pyramid.p_f8": [smooth[8]],
            "pyramid.m_f4": [lateral[4], up[8]],
            "pyramid.p_f4": [smooth[4]],
        }

    @pytest.mark.parametrize(("taps", "outputs"), [(["s4"], 1), (["s4", "s8"], 2), (["s8", "s32", "s16"], 1)])
    def test_any_taps_and_outputs(self, taps: list[str], outputs: int) -> None:
        genotype = fpn("tiny", taps=taps, outputs=outputs)
        assert genotype.is_decided
        finest = sorted(int(tap[1:]) for tap in taps)[:outputs]
        assert genotype.outputs == tuple(f"head{stride}.logits" for stride in finest)

    def test_mistakes(self) -> None:
        for outputs in (0, 5):
            with pytest.raises(GenotypeError, match=f"outputs must be 1 to 4, not {outputs}"):
                fpn("tiny", outputs=outputs)
        with pytest.raises(GenotypeError, match="has no feature 's64'; it has: s4"):
            fpn("tiny", taps=["s64"])
