"""What may be chosen: operations, backbones, and the spaces built from them."""

from search_spaces.csnet import csnet, open_csnet
from search_spaces.fpn import fpn
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS, fusion_cells
from search_spaces.minet import MINET_OPERATIONS, minet

__all__ = ["AUTO_MSFNET_OPERATIONS", "MINET_OPERATIONS", "csnet", "fpn", "fusion_cells", "minet", "open_csnet"]
