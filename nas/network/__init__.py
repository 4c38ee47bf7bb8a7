"""From a genotype to a network: decided or open, by the same code."""

from nas.network.inherit import inherit
from nas.network.network import Network, build
from nas.network.norms import check_single_image, norm_statistics_frozen, reestimate_norms

__all__ = ["Network", "build", "check_single_image", "inherit", "norm_statistics_frozen", "reestimate_norms"]
