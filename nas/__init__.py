"""How to choose: networks from genotypes, strategies, the task, runs and drawings."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.network import Network, build

__all__ = ["Network", "build"]


def __getattr__(name: str) -> Any:
    """`nas.build` and `nas.Network`, loaded when first asked for: drawing a genotype must not wait for torch."""
    if name in __all__:
        from nas import network

        return getattr(network, name)
    raise AttributeError(f"module 'nas' has no attribute {name!r}")
