"""Each bilevel strategy's architecture gradient against finite differences, closed forms and torch's distributions."""

from pathlib import Path

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.func import functional_call

import genotypes
import nas
from genotypes import UserError
from nas.benchmark import space as benchmark_space
from nas.network import Mixture, norm_statistics_frozen
from nas.run import seeded
from nas.strategies import Darts, DirichletSearch, Gdas, OneShot, PartialDarts
from nas.task import generator
from search_spaces import fusion_cells, minet

OPERATIONS = ("none", "skip_connect", "conv_3x3", "channel_attention")


def supernet(strategy, operations=OPERATIONS, **config):
    with seeded(0):
        return strategy.Config(**config).supernet(fusion_cells("tiny", 8, operations))


def uneven():
    """A supernet whose edges differ in their number of candidates."""
    return nas.build(minet("tiny", 8, ("skip_connect", "conv2d_1x1_bias", "conv2d_3x3_bias")))


@pytest.mark.parametrize("kind", [Darts, PartialDarts])
def test_the_gradient_of_a_deterministic_mixture_is_the_slope_of_the_loss(kind):
    net = supernet(kind).double().train()
    strategy = kind(net, kind.Config(), seed=1)
    parameters = dict(net.named_parameters())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha = 0.3 * torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def loss(alpha, p=parameters):
        return sum(y.square().mean() for y in functional_call(net, p, (x, strategy.relax(alpha, 0, "architecture"))))

    with norm_statistics_frozen(net):
        alpha.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(alpha), alpha)
        for seed in range(3):
            way = torch.randn(alpha.shape, generator=torch.Generator().manual_seed(2 + seed), dtype=torch.float64)
            with torch.no_grad():
                slope = (loss(alpha + 1e-6 * way) - loss(alpha - 1e-6 * way)) / 2e-6
            assert float(slope) == pytest.approx(float((gradient * way).sum()), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("probes", [0, 1])
def test_gdas_runs_one_path_and_differentiates_its_weights_and_those_of_its_probes(probes):
    net = supernet(Gdas)
    strategy = Gdas(net, Gdas.Config(temperature=(2.0, 2.0), probes=probes), seed=3, steps=10)
    alpha = torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
    mixture = strategy.relax(alpha, 4, "architecture")
    index = torch.tensor(mixture.active)
    assert index.shape == (31, 1 + probes) and all(len(set(row)) == 1 + probes for row in mixture.active)
    torch.testing.assert_close(mixture.weights, torch.zeros_like(alpha).scatter(1, index[:, :1], 1.0))
    noise = torch.empty(alpha.shape).exponential_(generator=generator(3, "gumbel/architecture", 4)).log()
    assert (index[:, 0] == (alpha.detach() - noise).argmax(-1)).all()
    # The loss depends on the computed weights only: d loss / d alpha_j = sum_i c_i (1/T) s_i (delta_ij - s_j).
    slopes = torch.randn(31, 1 + probes, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((slopes * mixture.weights.gather(1, index)).sum(), alpha)
    s = ((alpha.detach() - noise) / 2.0).softmax(-1)
    c = torch.zeros_like(s).scatter_(1, index, slopes)
    torch.testing.assert_close(gradient, s * (c - (c * s).sum(-1, keepdim=True)) / 2.0)
    assert all(len(row) == 1 for row in strategy.relax(alpha, 4, "weights").active)
    assert strategy.evaluated().active == net.path(strategy.choices()).active  # no mixture was trained: none is scored


def test_gdas_draws_in_each_step_unless_a_path_is_to_stay():
    """Bit for bit what it did before paths could stay."""
    net = supernet(Gdas)
    strategy = Gdas(net, Gdas.Config(), seed=3, steps=10)
    for step in range(12):
        assert not strategy.prepare(step) and strategy.fixed(step) is None
        alpha = torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(step)).requires_grad_()
        for stream, computed in (("weights", 1), ("architecture", 2)):
            noise = torch.empty(alpha.shape).exponential_(generator=generator(3, f"gumbel/{stream}", step))
            logits = strategy.parameters.logits(alpha) - noise.clamp_min(1e-20).log().to(alpha)
            soft = (logits / (10.0 + (0.1 - 10.0) * min(1.0, step / 10))).softmax(-1)
            order = logits.detach().argsort(-1, descending=True)[:, :computed]
            weights = torch.zeros_like(soft).scatter_(-1, order[:, :1], 1.0) + soft - soft.detach()
            mixture = strategy.relax(alpha, step, stream)
            assert torch.equal(mixture.weights, weights) and mixture.active == order.tolist()
            slopes = torch.randn(weights.shape, generator=torch.Generator().manual_seed(99))
            ours, theirs = (torch.autograd.grad((slopes * w).sum(), alpha)[0] for w in (mixture.weights, weights))
            assert torch.equal(ours, theirs)


def test_gdas_keeps_a_path_while_its_soft_weights_follow_alpha_and_the_temperature():
    """Resumed from a state within the block, or not."""
    cfg, streams = Gdas.Config(redraw=4), ("weights", "architecture")
    strategy = Gdas(uneven(), cfg, seed=3, steps=20)
    alphas = [torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(step)) for step in range(9)]
    slopes = torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(99))
    paths = {}
    for step, alpha in enumerate(alphas):
        with torch.no_grad():
            strategy.alpha.copy_(alpha)
        if step == 6:
            state, strategy = strategy.state_dict(), Gdas(strategy.net, cfg, seed=3, steps=20)
            strategy.load_state_dict(state)
        strategy.prepare(step)
        first = step - step % 4
        alpha.requires_grad_()
        for stream in streams:
            noise = torch.empty(alpha.shape).exponential_(generator=generator(3, f"gumbel/{stream}", first)).log()
            logits = strategy.parameters.logits(alphas[first].detach()) - noise
            mixture = strategy.relax(alpha, step, stream)
            assert [row[0] for row in mixture.active] == logits.argmax(-1).tolist()
            assert mixture.weights.argmax(-1).tolist() == logits.argmax(-1).tolist()
            soft = ((strategy.parameters.logits(alpha) - noise) / (10.0 - 9.9 * step / 20)).softmax(-1)
            ours, theirs = (torch.autograd.grad((slopes * w).sum(), alpha)[0] for w in (mixture.weights, soft))
            torch.testing.assert_close(ours, theirs)
        paths.setdefault(first, set()).add(strategy.fixed(step))
    assert [len(kept) for kept in paths.values()] == [1, 1, 1] and len(set.union(*paths.values())) == 3
    with pytest.raises(UserError, match="redraw must be at least 1"):
        Gdas.Config(redraw=0)


def test_gdas_never_probes_what_an_edge_does_not_have():
    strategy = Gdas(uneven(), Gdas.Config(probes=5), seed=0, steps=10)
    for step in range(20):
        for (edge, ops), row in zip(
            strategy.net.open_edges.items(), strategy.relax(strategy.alpha, step, "architecture").active, strict=True
        ):
            assert sorted(row) == list(range(len(ops))), edge


def test_a_probe_sees_what_a_path_cannot_where_a_norm_follows():
    """The scale of a node's only edge is undone by its norm, so the path's own weight has no slope there."""
    with seeded(0):
        net = nas.build(benchmark_space()).train()
    x = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    row = list(net.open_edges).index("net.down8")
    slopes = {}
    for probes in (0, 1):
        strategy = Gdas(net, Gdas.Config(probes=probes), seed=0, steps=10)
        mixture = strategy.relax(strategy.alpha, 0, "architecture")
        weights = mixture.weights.detach().requires_grad_()
        (slope,) = torch.autograd.grad(net(x, Mixture(weights, mixture.active))[0].square().mean(), weights)
        slopes[probes] = slope[row].abs().max()
    assert slopes[0] < 1e-3 * slopes[1]


def test_gdas_draws_by_the_softmax_and_cools_down():
    strategy = Gdas(uneven(), Gdas.Config(), seed=0, steps=10)
    alpha = torch.zeros_like(strategy.alpha)
    alpha[:, 1] = 1.0
    drawn = torch.tensor([strategy.relax(alpha, step, "weights").active for step in range(3000)])[..., 0]
    p = strategy.expected(alpha)
    for row in (0, 20, 55):
        counts = torch.bincount(drawn[:, row], minlength=p.shape[1]) / 3000
        torch.testing.assert_close(counts, p[row], atol=0.04, rtol=0)  # four standard deviations
        assert counts[p[row] == 0].sum() == 0
    hot, cold = (strategy.relax(strategy.alpha, step, "weights").weights for step in (0, 10))
    (warm_gradient,) = torch.autograd.grad(hot.amax(), strategy.alpha)
    assert torch.isfinite(warm_gradient).all() and cold.requires_grad


def test_unsampled_operations_get_no_gradient_and_none_costs_nothing():
    net = supernet(Gdas).train()
    strategy = Gdas(net, Gdas.Config(), seed=0, steps=10)
    mixture = strategy.mixture(0)
    net(torch.randn(2, 3, 32, 32), mixture)[0].square().mean().backward()
    for (edge, ops), (index,) in zip(net.open_edges.items(), mixture.active, strict=True):
        cell, name = edge.split(".")
        for op, module in net.cells[cell].edges[name].ops.items():
            if op != ops[index]:
                assert all(p.grad is None for p in module.parameters()), (edge, op)


def test_drnas_draws_from_the_dirichlet_distribution():
    strategy = DirichletSearch(uneven(), DirichletSearch.Config(), seed=0)
    alpha = torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(0))
    rows = [0, 20, 55]
    draws = torch.stack([strategy.relax(alpha, step, "weights").weights[rows] for step in range(2000)])
    torch.testing.assert_close(draws.sum(-1), torch.ones(2000, 3))
    for i, row in enumerate(rows):
        valid = strategy.parameters.valid[row]
        law = Dirichlet(strategy.concentration(alpha)[row][valid])
        torch.testing.assert_close(draws[:, i, valid].mean(0), law.mean, atol=0.03, rtol=0)
        torch.testing.assert_close(draws[:, i, valid].var(0), law.variance, atol=0.012, rtol=0.15)
        assert (draws[:, i, ~valid] == 0).all()
    torch.testing.assert_close(
        strategy.expected(alpha)[0][strategy.parameters.valid[0]],
        Dirichlet(strategy.concentration(alpha)[0][strategy.parameters.valid[0]]).mean,
    )


def test_drnas_differentiates_through_its_draws():
    """For a loss linear in the weights the mean of the gradients is the gradient of the mean, which is closed."""
    strategy = DirichletSearch(supernet(DirichletSearch), DirichletSearch.Config(), seed=0)
    slopes = torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(0))
    alpha = torch.full_like(strategy.alpha, 0.5).requires_grad_()
    (exact,) = torch.autograd.grad((slopes * strategy.expected(alpha)).sum(), alpha)
    total = torch.zeros_like(alpha)
    for step in range(400):
        total += torch.autograd.grad((slopes * strategy.relax(alpha, step, "weights").weights).sum(), alpha)[0]
    error = (total / 400 - exact).norm() / exact.norm()
    assert error < 0.2


def test_drnas_anchor_is_the_divergence_from_uniform():
    strategy = DirichletSearch(uneven(), DirichletSearch.Config(anchor=1.0), seed=0)
    alpha = torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(0))
    theirs = [
        kl_divergence(Dirichlet(c[v]), Dirichlet(torch.ones(int(v.sum()))))
        for c, v in zip(strategy.concentration(alpha), strategy.parameters.valid, strict=True)
    ]
    torch.testing.assert_close(strategy.penalty(alpha), torch.stack(theirs).mean(), rtol=1e-3, atol=1e-4)
    with torch.no_grad():
        strategy.alpha.copy_(alpha)
    step = strategy.architecture_step(0, lambda *given: None, lambda mixture, params: 0 * mixture.weights.sum(), 0.0)
    torch.testing.assert_close(step, strategy.penalty(alpha))  # it is part of the loss that alpha descends in
    assert strategy.penalty(strategy.alpha.detach()) < step


def test_progressive_drnas_halves_candidates_and_keeps_what_was_learnt():
    cfg = DirichletSearch.Config(progressive=True, partial=4)
    net = supernet(DirichletSearch, progressive=True, partial=4)
    strategy = DirichletSearch(net, cfg, seed=0, steps=10)
    with torch.no_grad():
        strategy.alpha[:] = torch.tensor([0.0, 3.0, 2.0, 1.0])
    assert not strategy.prepare(4) and strategy.net is net
    assert strategy.prepare(5) and not strategy.prepare(6)
    assert strategy.mixture(5).active == [[1, 2]] * 31 and strategy.mixture(5).weights[:, 2:].count_nonzero() == 31
    old, new = (n.cells["fuse8"].edges["outer_f32"].ops["conv_3x3"].op[1].weight for n in (net, strategy.net))
    assert old.shape[:2] == (2, 2) and new.shape[:2] == (4, 4) and torch.equal(new[:2, :2], old)
    again = DirichletSearch(supernet(DirichletSearch, progressive=True), cfg, seed=0, steps=10)
    again.load_state_dict(strategy.state_dict())
    assert again.net.state_dict().keys() == strategy.net.state_dict().keys()
    assert again.choices() == strategy.choices() and not again.prepare(6)
    odd = DirichletSearch(uneven(), cfg, seed=0)
    before = odd.parameters.valid.sum(-1)
    odd._prune()
    assert {(int(a), int(b)) for a, b in zip(before, odd.parameters.valid.sum(-1), strict=True)} == {(2, 1), (3, 2)}


@pytest.mark.parametrize(("exclude_none", "derived"), [(True, {"skip_connect"}), (False, {"none", "skip_connect"})])
def test_what_progressive_drnas_would_derive_stays(exclude_none, derived):
    """Of two candidates the better one is `none`, which is excluded, or would cut the image off on every edge."""
    cfg = DirichletSearch.Config(progressive=True, partial=1, exclude_none=exclude_none)
    strategy = DirichletSearch(cfg.supernet(fusion_cells("tiny", 8, ["none", "skip_connect"])), cfg, seed=0, steps=10)
    with torch.no_grad():
        strategy.alpha[:] = torch.tensor([2.0, 1.0])
    strategy.prepare(5)
    stays = {edge: op for edge, (op,) in strategy.trained().items()}
    assert stays == strategy.reaching(strategy.choices()) and set(stays.values()) == derived
    assert strategy.net.genotype.reaches_image(stays)


@pytest.mark.parametrize(("channels", "partial"), [(6, 4), (10, 4), (6, 5), (9, 6), (6, 1)])
def test_progressive_drnas_grows_at_any_width(channels, partial):
    cfg = DirichletSearch.Config(progressive=True, partial=partial)
    with seeded(0):
        net = cfg.supernet(fusion_cells("tiny", channels, OPERATIONS))
    strategy = DirichletSearch(net, cfg, seed=0, steps=10)
    narrow = {name: tensor.shape for name, tensor in net.state_dict().items()}
    assert strategy.prepare(5)
    for name, tensor in strategy.net.state_dict().items():
        assert all(new >= old for new, old in zip(tensor.shape, narrow[name], strict=True)), name


def test_partial_channels_pass_by_and_are_shuffled():
    net = supernet(PartialDarts, partial=4)
    edge = net.cells["fuse8"].edges["outer_f32"]
    x, weights = torch.randn(2, 8, 5, 7), torch.tensor([0.4, 0.3, 0.2, 0.5])
    edge.eval()
    mixed = 0.3 * x[:, :2] + 0.2 * edge.ops["conv_3x3"](x[:, :2]) + 0.5 * edge.ops["channel_attention"](x[:, :2])
    y = torch.cat([mixed, 1.4 * x[:, 2:]], dim=1)  # four groups of two channels
    torch.testing.assert_close(edge(x, weights), y[:, [0, 2, 4, 6, 1, 3, 5, 7]])


def test_edges_that_meet_share_their_weight():
    strategy = PartialDarts(supernet(PartialDarts), PartialDarts.Config(), seed=0)
    assert torch.equal(strategy.edge_weights(strategy.alpha), torch.ones(31))  # equal: as in the derived network
    with torch.no_grad():
        strategy.alpha[:, -1] = torch.randn(31, generator=torch.Generator().manual_seed(0))
    weights = strategy.edge_weights(strategy.alpha.detach())
    graph = strategy.net.genotype.graph
    for node in graph:
        here = {edge.id for edge in graph.incoming(node)}
        meeting = [i for i, edge in enumerate(strategy.net.open_edges) if edge in here]
        assert not meeting or float(weights[meeting].sum()) == pytest.approx(len(meeting), rel=1e-5)
    # What the guard watches and what scores the supernet is what trains it, the weights of edges included.
    for mixture in (strategy.mean(strategy.alpha), strategy.evaluated(), strategy.relax(strategy.alpha, 0, "weights")):
        torch.testing.assert_close(mixture.weights.sum(-1), weights)


def test_edges_of_a_concatenation_do_not_share():
    document = genotypes.load(Path(__file__).parents[1] / "genotypes/golden/every_key.yaml").to_dict()
    document["cells"][1]["operations"] |= {"pooled": ["none", "skip_connect"], "low": ["conv2d_1x1", "conv2d_3x3"]}
    strategy = PartialDarts(nas.build(genotypes.Genotype.from_dict(document)), PartialDarts.Config(), seed=0)
    alpha = torch.randn(strategy.alpha.shape, generator=torch.Generator().manual_seed(0))
    weights = dict(zip(strategy.net.open_edges, strategy.edge_weights(alpha).tolist(), strict=True))
    assert weights["mix.pooled"] == weights["mix.low"] == 1.0 != weights["mix.choice"]


def test_one_shot_trains_every_candidate_equally_often():
    strategy = OneShot(uneven(), OneShot.Config(), seed=0)
    edges = strategy.net.open_edges
    paths = [strategy.mixture(step) for step in range(12)]
    for row, candidates in enumerate(edges.values()):
        drawn = [mixture.active[row][0] for mixture in paths]
        for start in range(0, 12, len(candidates)):
            assert sorted(drawn[start : start + len(candidates)]) == list(range(len(candidates)))
    assert all(isinstance(mixture, Mixture) and mixture.weights.sum(-1).eq(1).all() for mixture in paths)


def test_the_path_that_one_shot_is_watched_by_sees_the_image():
    net = nas.build(fusion_cells("tiny", 8, ("none", "skip_connect"), taps=("s8", "s4")))
    for seed in range(16):
        active = OneShot(net, OneShot.Config(), seed=seed).evaluated().active
        choices = {edge: ops[index] for (edge, ops), (index,) in zip(net.open_edges.items(), active, strict=True)}
        assert net.genotype.reaches_image(choices), seed
