"""Modules under names that a genotype chose."""

from torch import nn

__all__ = ["NamedModules"]


class NamedModules(nn.ModuleDict):
    """A ModuleDict that takes any name: nn.Module's own methods (half, train, ...) are fine names for a node."""

    def add_module(self, name: str, module: nn.Module | None) -> None:
        self._modules[name] = module
