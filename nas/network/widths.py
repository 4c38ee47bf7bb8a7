"""Open widths in a supernet: masks over channels, mixed as candidates of an edge are (FBNetV2, Wan et al., CVPR 2020).

A candidate of a width keeps the first so many channels. The mixture's weights p_k of the candidates make one mask, the
sum of p_k times the mask of candidate k (section 3.1), by which the feature is multiplied: all widths together cost one
multiplication. With all of the weight on one candidate of each choice the supernet computes what the member would.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from genotypes import OPERATIONS, Genotype, Node
from nas.network.channels import channels_of

__all__ = ["Masks", "OpenWidths", "takes_mask"]


class Masks(NamedTuple):
    """How much each channel counts.

    features: name of a cell's node that an open width narrows -> float[its channels]. blocks: index of a block of the
    backbone -> float[its hidden channels]; the first is in every width but 0, so it says how much the block counts.
    """

    features: Mapping[str, Tensor]
    blocks: Mapping[int, Tensor]


class OpenWidths(nn.Module):
    """The masks of a space's open widths, as a function of a mixture.

    choices: id -> candidates, in the order of their rows in a mixture, which come after those of the open edges.

    >>> import search_spaces, torch
    >>> space = search_spaces.compact("mobilenet_v2", channels=(2, 4), sizes=(64,), leave_out="none", open_blocks=1)
    >>> widths = OpenWidths(space)
    >>> widths.choices
    {'decoder.channels': (2, 4), 'backbone.widths.16': (480, 720, 960)}
    >>> masks = widths(torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]))
    >>> masks.features["decoder.m_s8"].tolist(), int(masks.blocks[16].sum())
    ([1.0, 1.0, 0.25, 0.25], 960)
    """

    def __init__(self, space: Genotype) -> None:
        super().__init__()
        self.choices = space.open_widths()
        self._rows: list[int] = []  # of each mask, the row of its choice
        self._of: dict[str, list[int]] = {}  # feature -> the masks that narrow it, one a choice
        self._blocks: dict[int, int] = {}  # block -> its mask
        for row, (choice, features) in enumerate(zip(self.choices, _kept(space), strict=True)):
            for feature, channels in features.items():
                self._of.setdefault(feature, []).append(self._mask(row, channels))
            if choice.startswith("backbone."):
                candidates = torch.tensor(self.choices[choice], device="cpu")
                first = torch.arange(int(candidates.max()), device="cpu") < candidates[:, None]
                self._blocks[int(choice.split(".")[2])] = self._mask(row, first)

    def _mask(self, row: int, channels: Tensor) -> int:
        """The number of this mask, bool[candidates, channels]: features that a choice narrows alike share one."""
        for number, of in enumerate(self._rows):
            if of == row and torch.equal(self._channels(number), channels.float()):
                return number
        self._rows.append(row)
        number = len(self._rows) - 1
        self.register_buffer(f"mask{number}", channels.float(), persistent=False)  # no state: the space says it
        return number

    def _channels(self, number: int) -> Tensor:
        channels: Tensor = getattr(self, f"mask{number}")
        return channels

    def forward(self, weights: Tensor) -> Masks:
        """weights: float[open widths, at least as many as the candidates of any of them], padded on the right."""
        rows = weights.unbind()
        masks = []
        for number, row in enumerate(self._rows):
            channels = self._channels(number).to(weights.dtype)
            # No matrix product, which autocast would round to bf16.
            masks.append((rows[row][: len(channels), None] * channels).sum(0))
        features = {}
        for feature, of in self._of.items():
            features[feature] = masks[of[0]]
            for number in of[1:]:
                features[feature] = features[feature] * masks[number]
        return Masks(features, {block: masks[number] for block, number in self._blocks.items()})


@lru_cache(maxsize=4)  # a search asks for its network and for its costs
def _kept(space: Genotype) -> list[dict[str, Tensor]]:
    """Of each choice, the features that it narrows -> bool[candidates, channels]: which channels each candidate keeps.

    Asked of the members themselves, a hundredth of a second each: what a width does is the templates' to say. On the
    CPU whatever torch's default device is: a network may be built on "meta".
    """
    whole = space.graph
    found = []
    for choice, candidates in space.open_widths().items():
        features: dict[str, Tensor] = {}
        for index, candidate in enumerate(candidates if not choice.startswith("backbone.") else ()):
            member = space.decide({choice: candidate}).graph
            there = channels_of(member, whole)
            for name, node in whole.nodes.items():
                channels = there.get(name, ())
                if len(channels) < node.width:
                    masks = features.setdefault(
                        name, torch.ones(len(candidates), node.width, dtype=torch.bool, device="cpu")
                    )
                    masks[index] = False
                    masks[index, list(channels)] = True
        found.append(features)
    return found


def takes_mask(node: Node) -> bool:
    """Whether a narrowed node is to be multiplied by its mask: not where its channels are its sources' as they are."""
    passes = all(OPERATIONS[op].zero or op == "skip_connect" for edge in node.edges for op in edge.candidates)
    return not (passes and node.combine == "sum" and node.post == "none")
