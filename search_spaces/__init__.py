"""What may be chosen: operations, backbones, and the spaces built from them.

>>> from search_spaces import SPACES
>>> len(SPACES["fusion_cells"].make(backbone="tiny").build((64, 64)).choices())
31
"""

from search_spaces.compact import COMPACT_OPERATIONS, compact
from search_spaces.csnet import csnet, open_csnet
from search_spaces.fpn import fpn
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS, fusion_cells
from search_spaces.minet import MINET_OPERATIONS, minet
from search_spaces.spaces import SPACES

__all__ = [
    "AUTO_MSFNET_OPERATIONS",
    "COMPACT_OPERATIONS",
    "MINET_OPERATIONS",
    "SPACES",
    "compact",
    "csnet",
    "fpn",
    "fusion_cells",
    "minet",
    "open_csnet",
]
