"""What may be chosen: operations, backbones, and the spaces built from them.

>>> from search_spaces import SPACES
>>> len(SPACES["fusion_cells"].make("tiny").choices())
31
"""

from genotypes.registry import Record, Registry
from search_spaces.csnet import csnet, open_csnet
from search_spaces.fpn import fpn
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS, fusion_cells
from search_spaces.minet import MINET_OPERATIONS, minet

__all__ = [
    "AUTO_MSFNET_OPERATIONS",
    "MINET_OPERATIONS",
    "SPACES",
    "csnet",
    "fpn",
    "fusion_cells",
    "minet",
    "open_csnet",
]

# source: a function that makes an open genotype; its parameters are the space's options.
SPACES = Registry("space", Record)
SPACES.add(
    Record(
        name="fusion_cells",
        summary="Auto-MSFNet's cells, which fuse all features at each stride",
        paper="Auto-MSFNet (Zhang et al., ACM MM 2021)",
        source=fusion_cells,
    ),
    Record(
        name="minet",
        summary="MINet's interactions between neighbouring features",
        paper="MINet (Pang et al., CVPR 2020)",
        source=minet,
    ),
)
