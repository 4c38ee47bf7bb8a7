"""The search: a supernet on photographs, a strategy that closes its edges, a genotype as the result."""

from typing import TYPE_CHECKING

from nas.lazy import loaded_when_asked
from nas.search.config import SearchConfig, export_space, open_space

if TYPE_CHECKING:
    from nas.search.selection import SearchResult
    from nas.search.setup import SearchSetup, open_search
    from nas.search.training import search

__all__ = ["SearchConfig", "SearchResult", "SearchSetup", "export_space", "open_search", "open_space", "search"]

__getattr__ = loaded_when_asked(  # with Optuna and matplotlib
    __name__, {"selection": "SearchResult", "setup": "SearchSetup open_search", "training": "search"}
)
