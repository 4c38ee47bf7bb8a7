"""What may be chosen: operations, backbones, and the spaces built from them."""

from search_spaces.fpn import fpn
from search_spaces.fusion_cells import AUTO_MSFNET_OPERATIONS, fusion_cells

__all__ = ["AUTO_MSFNET_OPERATIONS", "fpn", "fusion_cells"]
