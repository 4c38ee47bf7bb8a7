"""The collapse guard: its eigenvalue against exact Hessians, its rule against made-up trajectories."""

import json
import math
from itertools import pairwise

import pytest
import torch
from torch.func import functional_call

import genotypes
import nas
from genotypes import UserError
from nas.guard import CollapseGuard, GuardConfig, Stop, dominant_eigenvalue
from nas.network import norm_statistics_frozen
from search_spaces import fusion_cells


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def exact_eigenvalues(loss, alpha):
    hessian = torch.autograd.functional.hessian(loss, alpha)
    return torch.linalg.eigvalsh(hessian.reshape(alpha.numel(), alpha.numel()))


def small_problem():
    """A mixture of maps, float64: curvature of either sign, and padding in the second row."""
    g = seeded(3)
    x, target = (torch.randn(20, 5, generator=g, dtype=torch.float64) for _ in range(2))
    maps = torch.randn(2, 4, 5, 5, generator=g, dtype=torch.float64)
    valid = torch.tensor([[True] * 4, [True, True, True, False]])

    def loss(alpha):
        weights = alpha.masked_fill(~valid, -torch.inf).softmax(-1)
        h = torch.tanh(x @ torch.einsum("o,oij->ij", weights[0], maps[0]))
        return (h @ torch.einsum("o,oij->ij", weights[1], maps[1]) - target).square().mean()

    return loss, torch.randn(2, 4, generator=g, dtype=torch.float64)


def test_the_eigenvalue_is_the_exact_hessians():
    loss, alpha = small_problem()
    expected = float(exact_eigenvalues(loss, alpha)[-1])
    value = dominant_eigenvalue(loss, alpha, generator=seeded(), iterations=8)
    assert expected > 0.01 and value == pytest.approx(expected, rel=1e-9)
    assert alpha.grad is None and not alpha.requires_grad


def test_more_iterations_never_lower_the_value():
    loss, alpha = small_problem()
    values = [dominant_eigenvalue(loss, alpha, generator=seeded(), iterations=n) for n in range(1, 8)]
    assert all(b >= a - 1e-12 for a, b in pairwise(values)) and values[0] < 0.9 * values[-1]


def test_the_largest_eigenvalue_not_the_largest_magnitude():
    scale = torch.tensor([[-9.0, -2.0], [3.0, 1.0]])
    value = dominant_eigenvalue(lambda a: (scale * a * a).sum() / 2, torch.ones(2, 2), generator=seeded(), iterations=4)
    assert value == pytest.approx(3, rel=1e-5)


def test_losses_without_curvature_and_losses_that_are_not_finite():
    alpha = torch.ones(2, 3)
    assert dominant_eigenvalue(lambda a: a.sum(), alpha, generator=seeded()) == 0
    assert abs(dominant_eigenvalue(lambda a: (0 * a * a).sum(), alpha, generator=seeded())) == 0
    assert math.isnan(dominant_eigenvalue(lambda a: (a * a).sum() * math.inf, alpha, generator=seeded()))
    with pytest.raises(ValueError, match="iterations"):
        dominant_eigenvalue(lambda a: a.sum(), alpha, generator=seeded(), iterations=0)


def test_on_a_supernet_it_is_the_hessians_and_leaves_no_trace():
    torch.manual_seed(0)  # some networks hardly bend
    net = nas.build(fusion_cells("tiny", 8, ("none", "skip_connect", "spatial_attention"))).train()
    x, y = torch.randn(4, 3, 32, 32, generator=seeded(1)), torch.rand(4, 1, 32, 32, generator=seeded(2)).round()
    params = {name: value.detach() for name, value in net.named_parameters()}
    alpha = torch.randn(len(net.open_edges), 3, generator=seeded(5))
    before = {key: value.clone() for key, value in net.state_dict().items()}

    def loss(last):  # the whole Hessian would take a minute: the block of the last three edges shows as much
        outputs = functional_call(net, params, (x, torch.cat([alpha[:-3], last]).softmax(-1)))
        return sum(torch.nn.functional.binary_cross_entropy_with_logits(logits, y) for logits in outputs)

    with norm_statistics_frozen(net):
        value = dominant_eigenvalue(loss, alpha[-3:], generator=seeded(), iterations=9)
        expected = exact_eigenvalues(loss, alpha[-3:])
    assert value == pytest.approx(float(expected[-1]), rel=1e-3) and value > 1e-4
    assert all(torch.equal(tensor, before[key]) for key, tensor in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


# The rule

OPS = ("none", "skip_connect", "conv_3x3")
EDGES = {f"cell.e{i}": OPS for i in range(10)}


def choices(trivial):
    """A genotype with so many skip_connect, the others convolutions."""
    return {edge: "skip_connect" if i < trivial else "conv_3x3" for i, edge in enumerate(EDGES)}


def watch(guard, eigenvalues=(), trivial=(), losses=(), start=0):
    """The first Stop, and the number of evaluations it took; step 10 n of evaluation n has n % 3 skip connections."""
    nan, count = math.nan, max(len(eigenvalues), len(trivial))
    for n in range(start, count):
        edges = choices(trivial[n] if trivial else n % 3)
        stop = guard.observe(10 * n, edges, 0.9, eigenvalues[n] if eigenvalues else nan, losses[n] if losses else nan)
        if stop is not None:
            return stop, n + 1
    return None, count


def test_robust_darts_rule_by_hand():
    # Windows of 2: after 4 values, (1 + 1) / (1.3 + 1.3) = 0.77 passes; after 5, (1 + 1.3) / (1.3 + 2) = 0.70.
    stop, seen = watch(CollapseGuard(GuardConfig(window=2), EDGES), [1, 1, 1.3, 1.3, 2.0])
    assert seen == 5 and stop.step == 20 and stop.choices == choices(2)  # the evaluation two before the last
    for part in ("step 40", "1.15 to 1.65", "0.70", "0.75", "entropy was 0.90", "step 20"):
        assert part in stop.reason
    assert watch(CollapseGuard(GuardConfig(window=2), EDGES), [1, 1, 1.3, 1.3, 1.3, 1.3])[0] is None
    assert watch(CollapseGuard(GuardConfig(window=2, ratio=0.69), EDGES), [1, 1, 1.3, 1.3, 2.0])[0] is None


def test_a_falling_loss_keeps_the_eigenvalue_rule_silent():
    values = [1, 1, 1.3, 1.3, 2.0, 2.0]
    stop, seen = watch(CollapseGuard(GuardConfig(window=2), EDGES), values, losses=[3, 3, 3, 3, 3, 3])
    assert seen == 5 and "from 3.000 to 3.000" in stop.reason  # level is not falling
    assert watch(CollapseGuard(GuardConfig(window=2), EDGES), values, losses=[3, 3, 3, 2.9, 2.8, 2.7])[0] is None
    # It speaks as soon as the averages rise: of evaluations 3 and 4 against 5 and 6, not of 2 and 3 against 4 and 5.
    stop, seen = watch(CollapseGuard(GuardConfig(window=2), EDGES), values, losses=[3, 4, 3, 2.9, 2.9, 3.2])
    assert seen == 6 and stop.step == 30 and "from 2.950 to 3.050" in stop.reason


def test_falling_and_level_eigenvalues_never_stop():
    for values in ([5 / (n + 1) for n in range(40)], [1 + 0.2 * (-1) ** n for n in range(40)]):
        assert watch(CollapseGuard(GuardConfig(), EDGES), values)[0] is None


@pytest.mark.parametrize(
    "values",
    [
        [-1.0] * 10,  # a ratio of negative averages would be 1, or anything
        [-1.0, -1.0, -3.0, -3.0],
        [-4.0, -4.0, 1.0, 1.0],
        [1.0, 1.0, -4.0, -4.0],
        [1e-12, 1e-12, 1e-9, 1e-9],  # rounding around zero
        [0.0] * 10,
        [math.nan] * 10,
        [1.0, 1.0, math.inf, math.nan, 1.2, 1.2],
    ],
)
def test_eigenvalues_that_say_nothing_do_not_stop(values):
    assert watch(CollapseGuard(GuardConfig(window=2), EDGES), values)[0] is None


def test_in_a_short_search_the_rule_can_speak_at_the_end():
    values = [1, 1, 2, 2]  # all that there are: windows of 5 would never be full
    stop, seen = watch(CollapseGuard(GuardConfig(), EDGES, evaluations=4), values)
    assert seen == 4 and stop.step == 10
    assert watch(CollapseGuard(GuardConfig(), EDGES, evaluations=40), values)[0] is None
    assert CollapseGuard(GuardConfig(), EDGES, evaluations=40).window == GuardConfig.window


def test_the_window_closes_over_values_that_were_not_measured():
    nan = math.nan
    stop, seen = watch(CollapseGuard(GuardConfig(window=2), EDGES), [1, nan, 1, math.inf, nan, 2, nan, 2])
    assert seen == 8 and stop.step == 20  # the fourth measured one; good: the second


def test_share_rule_returns_the_last_genotype_within_the_limit():
    cfg = GuardConfig(share=0.6, patience=3)
    stop, seen = watch(CollapseGuard(cfg, EDGES), trivial=[1, 7, 7, 6, 8, 9, 9])
    assert seen == 7 and stop.step == 30 and stop.choices == choices(6)
    for part in ("90%", "skip_connect or none", "60%", "3 evaluations in a row", "step 30"):
        assert part in stop.reason
    assert watch(CollapseGuard(cfg, EDGES), trivial=[1, 7, 7, 6, 7, 7, 6])[0] is None


def test_a_share_at_its_limit_is_within_it():
    guard = CollapseGuard(GuardConfig(share=0.3, patience=1), EDGES)
    three = choices(0) | dict(zip(EDGES, ("skip_connect", "none", "none"), strict=False))  # 0.1 + 0.2 is above 0.3
    assert guard.observe(0, three) is None and guard.observe(1, choices(4)).step == 0


def test_a_search_that_was_never_within_the_limit_has_nothing_to_go_back_to():
    assert watch(CollapseGuard(GuardConfig(), EDGES), trivial=[10] * 9)[0] is None


def test_both_operations_count_and_edges_without_an_alternative_do_not():
    edges = EDGES | {f"cell.forced{i}": ("none", "skip_connect") for i in range(90)}
    forced = {edge: "none" for edge in edges if edge not in EDGES}
    guard = CollapseGuard(GuardConfig(), edges)
    mixed = {edge: OPS[i % 2] for i, edge in enumerate(EDGES)}  # none, skip_connect, none, ...
    assert guard.share(choices(3) | forced) == pytest.approx(0.3) and guard.share(mixed | forced) == 1
    all_forced = CollapseGuard(GuardConfig(), dict.fromkeys(forced, ("none", "skip_connect")))
    assert [all_forced.observe(n, forced) for n in range(5)] == [None] * 5


def test_spaces_with_other_words():
    convolutions = dict.fromkeys(EDGES, ("conv_3x3", "conv_5x5"))
    guard = CollapseGuard(GuardConfig(), convolutions)
    assert [guard.observe(n, dict.fromkeys(EDGES, "conv_3x3")) for n in range(5)] == [None] * 5
    cfg = GuardConfig(trivial=("identity",), patience=1)
    renamed = CollapseGuard(cfg, dict.fromkeys(EDGES, ("identity", "conv")))
    assert renamed.observe(0, dict.fromkeys(EDGES, "conv")) is None
    assert "100% of the derived edges are identity" in renamed.observe(1, dict.fromkeys(EDGES, "identity")).reason


@pytest.mark.parametrize("name", ["auto_msfnet_vgg16", "auto_msfnet_resnet50"])
def test_released_and_random_genotypes_are_far_from_the_limit(name):
    released = [d.op for d in genotypes.load(name).graph.edges.values() if d.choice]
    assert len(released) == 31
    assert sum(op in GuardConfig.trivial for op in released) / 31 < 0.1 < GuardConfig().share
    edges = fusion_cells("tiny").open_edges()
    guard, draw = CollapseGuard(GuardConfig(), edges), seeded()
    for _ in range(100):
        random = {edge: ops[int(torch.randint(len(ops), (), generator=draw))] for edge, ops in edges.items()}
        assert guard.share(random) < 0.6


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_resumed_guard_says_the_same(cut):
    cfg = GuardConfig(window=3, share=0.65, patience=3)
    for eigenvalues, trivial in (
        ([1, 1, 1, 1.1, math.nan, 1.2, 1.2, 1.2, 1.3, 2, 2, 2], ()),
        ((), [1, 7, 2, 3, 7, 4, 5, 5, 6, 7, 7, 8]),
    ):
        expected = watch(CollapseGuard(cfg, EDGES), eigenvalues, trivial)
        assert isinstance(expected[0], Stop) and expected[1] >= 11
        first, second = CollapseGuard(cfg, EDGES), CollapseGuard(cfg, EDGES)
        stop, seen = watch(first, eigenvalues[:cut], trivial[:cut])
        if stop is None:
            second.load_state_dict(json.loads(json.dumps(first.state_dict())))
            stop, seen = watch(second, eigenvalues, trivial, start=cut)
        assert (stop, seen) == expected


def test_what_is_remembered_stays_short():
    guard = CollapseGuard(GuardConfig(window=2), EDGES)
    watch(guard, [1.0] * 50)
    assert len(guard.state_dict()["measured"]) == 4


def test_off_it_only_watches():
    assert watch(CollapseGuard(GuardConfig(on=False, window=1), EDGES), [1, 9, 99, 999])[0] is None


@pytest.mark.parametrize(
    "options, message",
    [
        ({"share": 0.0}, "share"),
        ({"ratio": 1.5}, "ratio"),
        ({"window": 0}, "window must be at least 1, not 0"),
        ({"iterations": -1}, "iterations"),
        ({"patience": 0}, "patience"),
        ({"images": 1}, "images"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UserError, match=message):
        GuardConfig(**options)
