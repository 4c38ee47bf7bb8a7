"""From a genotype to a network: decided or open, by the same code."""

from nas.network.edge import Mixture
from nas.network.member import Member, extreme, inherit, supernet_genotype
from nas.network.network import Network, build, to_device
from nas.network.norms import (
    batch_norms,
    check_single_image,
    norm_statistics_frozen,
    norm_statistics_restored,
    norms_counted_at_once,
    reestimate_norms,
)

__all__ = [
    "Member",
    "Mixture",
    "Network",
    "batch_norms",
    "build",
    "check_single_image",
    "extreme",
    "inherit",
    "norm_statistics_frozen",
    "norm_statistics_restored",
    "norms_counted_at_once",
    "reestimate_norms",
    "supernet_genotype",
    "to_device",
]
