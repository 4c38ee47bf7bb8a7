"""How to choose: networks from genotypes, strategies, the task, runs and drawings."""

from nas.network import Network, build

__all__ = ["Network", "build"]
