"""A task whose answer is known: masks drawn by a hidden network of the space, from weights that a search starts with.

A *planted supernet* has random weights for every candidate of every edge. The *teacher* is one network of it, not
trained; what it puts above 0 is the mask. A search, or a training, that starts from the planted supernet's weights can
match the teacher on every edge and then needs to change little; any other choice must be learnt around. Random masks
alone would not do: in trainings too short to copy a random teacher, networks rank by how fast they learn.
"""

from dataclasses import replace
from functools import cache
from typing import Any

import torch

from nas.benchmark.table import members, space
from nas.benchmark.training import TableProtocol
from nas.network import Network, build, inherit, reestimate_norms
from nas.run import seeded
from nas.task import PhotoSet, generator, network_input, synthetic_set

__all__ = ["planted_photographs", "planted_set", "planted_supernet", "teacher", "teacher_choices"]

_COVERED = 0.4  # share of all pixels that are object
_SPREAD = 4.0  # standard deviation of the teacher's logits: its masks are crisp, its own loss is low
_CALIBRATION = (256, 1000)  # photographs that set norms and threshold: how many, and a seed that nothing else uses


def teacher_choices(seed: int) -> dict[str, str]:
    """The teacher's choices, the planted answer: a random member of the space, of those that use all edges.

    >>> teacher_choices(2)["net.down16"]
    'channel_attention'
    """
    used = [choices for choices in members(space()) if "none" not in choices.values()]
    return used[int(torch.randint(len(used), (), generator=generator(seed, "teacher", 0)))]


def planted_supernet(seed: int, size: int = TableProtocol().size) -> Network:
    """The network of the open space that holds the teacher's weights and, on the other candidates, as random ones."""
    return _plant(seed, size)[0]


def teacher(seed: int, size: int = TableProtocol().size) -> Network:
    """The network that draws the masks, in evaluation mode: logits above 0 are the object.

    Choices and weights are functions of the seed; norm statistics and threshold of the size, too.
    """
    return _plant(seed, size)[1]


def planted_set(count: int, size: int, seed: int, *, teacher_seed: int) -> PhotoSet:
    """The photographs of `synthetic_set(count, size, seed)` with masks drawn by `teacher(teacher_seed, size)`."""
    photos, net = synthetic_set(count, size, seed), teacher(teacher_seed, size)
    with torch.inference_mode():
        masks = torch.cat([net(x)[0] > 0 for x in _inputs(photos, net).split(64)])
    return replace(photos, name=f"planted{teacher_seed}", masks=masks.to(torch.uint8) * 255)


def planted_photographs(teacher_seed: int, protocol: TableProtocol | None = None) -> tuple[PhotoSet, PhotoSet]:
    """The photographs of `photographs(protocol)`, to train on and held out, with the teacher's masks."""
    p = protocol or TableProtocol()
    train = planted_set(p.train_images, p.size, p.train_seed, teacher_seed=teacher_seed)
    return train, planted_set(p.held_out_images, p.size, p.held_out_seed, teacher_seed=teacher_seed)


def _plant(seed: int, size: int) -> tuple[Network, Network]:
    """The planted supernet and the teacher in it."""
    with seeded(seed):
        supernet = build(space())
        for weight in supernet.parameters():
            if weight.ndim == 4:  # larger than a training starts with: the ReLUs must matter
                torch.nn.init.kaiming_normal_(weight)
    net = inherit(supernet, space().decide(teacher_choices(seed)))
    x = _inputs(_calibration(size), net)
    reestimate_norms(net, [x])
    with torch.no_grad():
        logits = net(x)[0]
        threshold, factor = torch.quantile(logits[:, :, ::4, ::4], 1 - _COVERED), _SPREAD / logits.std()
        heads: list[Any] = [network.get_submodule("cells.net.edges.head") for network in (supernet, net)]
        for head in heads:
            head.bias.sub_(threshold).mul_(factor)
            head.weight.mul_(factor)
    return supernet, net


@cache
def _calibration(size: int) -> PhotoSet:
    return synthetic_set(_CALIBRATION[0], size, _CALIBRATION[1])


def _inputs(photos: PhotoSet, net: Network) -> torch.Tensor:
    return network_input(photos.images, net.genotype.input).contiguous()
