"""Members: what a decided genotype computes with views of its supernet, and what reaches the supernet from it."""

import pytest
import torch

import genotypes
import nas
from genotypes import Backbone, UserError
from nas.network.member import Member, extreme, supernet_genotype
from nas.strategies import member_choices
from search_spaces import compact, csnet, fusion_cells, open_csnet
from search_spaces.backbones import build_backbone
from search_spaces.backbones.layers import sort_hidden_channels

OPENED = {"shares": (0.25, 0.5, 0.75, 1.0), "open_blocks": 99, "leave_out": "either"}
SPACE = compact("mobilenet_v2", channels=(4, 8, 12), taps=("s16", "s8", "s4"), sizes=(64, 96), **OPENED)


def picture(batch=2, side=64, seed=0):
    return torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(seed))


def members(space):
    yield from (extreme(space, which) for which in ("largest", "smallest"))
    yield from (member_choices(space, seed, 0) for seed in range(3))


def scattered(net):
    """The network with norms that differ from channel to channel, so that a wrong channel shows."""
    generator = torch.Generator().manual_seed(0)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point() and tensor.dim() == 1:
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
    return net.eval()


@pytest.fixture(scope="module")
def supernet():
    torch.manual_seed(0)
    return scattered(nas.build(supernet_genotype(SPACE), affine=True))


def test_a_member_computes_what_a_network_with_its_weights_does(supernet):
    for choices in members(SPACE):
        member = Member(supernet, SPACE.decide(choices))
        member.net.eval()
        own = member.copy().eval()
        with torch.no_grad():
            torch.testing.assert_close(member(picture())[0], own(picture())[0], rtol=0, atol=0)
        assert {key: value.shape for key, value in member.state().items()} == {
            key: value.shape for key, value in nas.build(member.genotype).state_dict().items()
        }


def test_memory_is_the_supernets_and_gradients_reach_it(supernet):
    member = Member(supernet, SPACE.decide(extreme(SPACE, "smallest")))
    pointers = {tensor.untyped_storage().data_ptr() for tensor in supernet.state_dict().values()}
    assert all(tensor.untyped_storage().data_ptr() in pointers for tensor in member.state().values())
    supernet.zero_grad()
    member.net.train()
    before = {key: value.clone() for key, value in supernet.named_buffers()}
    member(picture())[0].square().mean().backward()
    reached = {key for key, value in supernet.named_parameters() if value.grad is not None and value.grad.any()}
    taken = {origin.key for origin in member._origins.values()} & dict(supernet.named_parameters()).keys()
    assert reached == taken
    assert all(torch.equal(value, before[key]) for key, value in supernet.named_buffers())
    grad = supernet.backbone.features[2].conv[0][0].weight.grad  # a block with 24 of its 96 hidden channels
    assert grad[:24].any() and not grad[24:].any()
    member(picture(), keep_statistics=True)
    assert any(not torch.equal(value, before[key]) for key, value in supernet.named_buffers())
    scattered(supernet)


def test_every_parameter_of_the_largest_member_learns(supernet):
    member = Member(supernet, SPACE.decide(extreme(SPACE, "largest")))
    supernet.zero_grad()
    member.net.train()
    member(picture())[0].square().mean().backward()
    own = {origin.key for key, origin in member._origins.items() if key in dict(member.net.named_parameters())}
    assert all(supernet.get_parameter(key).grad is not None for key in own)
    scattered(supernet)


@pytest.mark.parametrize("seed", range(3))
def test_narrower_is_the_supernet_with_the_rest_at_zero(seed):
    """Also where features are concatenated: the open CSNet's stages and fusion. So a member has the right channels."""
    space = open_csnet(1)
    torch.manual_seed(seed)
    supernet = scattered(nas.build(space.decide(extreme(space, "largest"))))
    member = Member(supernet, space.decide(member_choices(space, seed, 0)))
    member.net.eval()
    with torch.no_grad():
        expected = member(picture(1))[0].clone()
        for key, tensor in supernet.state_dict().items():
            kept = torch.zeros_like(tensor, dtype=torch.bool)
            for place in [member._origins[key]] if key in member._origins else []:
                indices = torch.arange(tensor.numel()).view(tensor.shape)
                for dim, take in enumerate(place.take):
                    if take is not None:
                        take = torch.arange(take) if isinstance(take, int) else take
                        indices = indices.index_select(dim, take)
                kept.view(-1)[indices.reshape(-1)] = True
            nothing = torch.full_like(tensor, 1.0 if key.endswith("running_var") else 0.0)
            tensor.copy_(torch.where(kept, tensor, nothing))
        torch.testing.assert_close(supernet(picture(1))[0], expected, rtol=1e-4, atol=1e-5)


def test_a_smaller_kernel_is_the_middle_of_the_larger():
    """It was the corner at the top left, which sees one pixel above and left of where the larger one looks."""
    text = """{format: 1, name: kernels, outputs: [head.logits], backbone: {name: tiny, taps: [s4]}, cells: [
      {name: head, template: head, inputs: [s4], kernel: {choose: [1, 3]}}]}"""
    space = genotypes.loads(text)
    supernet = scattered(nas.build(supernet_genotype(space)))
    member = Member(supernet, space.decide({"head.kernel": 1}))
    member.net.eval()
    weight = supernet.cells["head"].edges["conv"].weight
    with torch.no_grad():
        expected = member(picture())[0]
        rim = torch.ones(3, 3, dtype=torch.bool)
        rim[1, 1] = False
        weight[..., rim] = 0
        torch.testing.assert_close(supernet(picture())[0], expected)


def test_members_of_a_mixture_are_its_paths():
    """In a supernet that is also run as a mixture, candidates' norms are not affine: they have no scale to view."""
    space = fusion_cells("tiny", 8, ["none", "skip_connect", "conv_3x3", "channel_attention"])
    supernet = nas.build(space).eval()
    choices = member_choices(space, 0, 0)
    member = Member(supernet, space.decide(choices))
    member.net.eval()
    with torch.no_grad():
        expected = supernet(picture(), supernet.path(choices))
        for ours, theirs in zip(member(picture()), expected, strict=True):
            torch.testing.assert_close(ours, theirs)


def test_another_space_is_refused(supernet):
    with pytest.raises(UserError, match=r"no edge fusion\.multi0_d1: it belongs to another space"):
        Member(supernet, csnet(1))  # concatenates what the supernet does not: that was a KeyError
    with pytest.raises(UserError, match="belongs to another space"):
        Member(supernet, fusion_cells("mobilenet_v2", 4).decide(member_choices(fusion_cells("mobilenet_v2", 4), 0, 0)))
    wide = compact("mobilenet_v2", channels=(16, 24), taps=("s16", "s8", "s4"), sizes=(64, 96), **OPENED)
    with pytest.raises(UserError, match="at most as wide"):
        Member(supernet, wide.decide(extreme(wide, "largest")))


@pytest.mark.parametrize(("name", "taps"), [("mobilenet_v2", ("s16", "s4")), ("efficientnet_lite0", ("s16", "s4"))])
def test_sorting_hidden_channels_changes_no_output(name, taps):
    net = scattered(build_backbone(name, taps))
    with torch.no_grad():
        before = net(picture())
        scales = [m.weight.clone() for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        sort_hidden_channels(net)
        after = net(picture())
    for tap in taps:
        torch.testing.assert_close(before[tap], after[tap], rtol=1e-3, atol=1e-3 * before[tap].std().item())
    moved = [m.weight for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    sorted_ones = sum(bool((scale.diff() <= 0).all()) and len(scale) > 40 for scale in moved)
    assert sorted_ones >= 10 and any(not torch.equal(a, b) for a, b in zip(scales, moved, strict=True))


def test_hidden_channels_are_sorted_by_how_much_reaches_the_projection():
    """By the scale of the norm before it, whatever its sign: the first channels are what a narrower block keeps."""
    net = build_backbone("efficientnet_lite0", ("s8",))
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.weight, generator=generator)
    sort_hidden_channels(net)
    blocks = [block for block in net.modules() if hasattr(block, "_expand_conv")]
    assert len(blocks) == 4
    for block in blocks:
        scales = block._bn1.weight.abs()
        assert (scales.diff() <= 0).all() and scales[-1] < 0.1 < 1 < scales[0] and (block._bn1.weight < 0).any()


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_weights_of_the_published_backbone_are_sliced(name, tmp_path):
    """From a file, a narrower backbone takes each block's most important channels; an absent block is the identity."""
    torch.manual_seed(1)
    full = scattered(build_backbone(name, ("s8", "s4")))
    torch.save(full.state_dict(), tmp_path / "full.pth")
    hidden = Backbone(name=name, taps=("s8", "s4")).hidden
    widths = tuple(0 if index == 2 else width if index == 0 else width // 2 for index, width in enumerate(hidden))
    narrow = build_backbone(name, ("s8", "s4"), weights=tmp_path / "full.pth", widths=widths).eval()
    sort_hidden_channels(full)
    state = full.state_dict()
    for key, value in narrow.state_dict().items():
        assert torch.equal(value, state[key][tuple(slice(n) for n in value.shape)])
    assert sum(p.numel() for p in narrow.parameters()) < 0.7 * sum(p.numel() for p in full.parameters())
    assert narrow(picture())["s8"].isfinite().all()
