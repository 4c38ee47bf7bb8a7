"""From a genotype to a network: decided or open, by the same code."""

from nas.network.network import Network, build

__all__ = ["Network", "build"]
