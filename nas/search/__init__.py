"""The search: a supernet on photographs, a strategy that closes its edges, a genotype as the result."""

from nas.search.config import SearchConfig, open_space
from nas.search.loop import SearchResult, search

__all__ = ["SearchConfig", "SearchResult", "open_space", "search"]
