"""From a genotype to a network: decided or open, by the same code."""

from nas.network.edge import Mixture
from nas.network.inherit import inherit
from nas.network.network import Network, build, to_device
from nas.network.norms import (
    check_single_image,
    norm_statistics_frozen,
    norm_statistics_restored,
    reestimate_norms,
)

__all__ = [
    "Mixture",
    "Network",
    "build",
    "check_single_image",
    "inherit",
    "norm_statistics_frozen",
    "norm_statistics_restored",
    "reestimate_norms",
    "to_device",
]
