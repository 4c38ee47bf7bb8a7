"""The search: a supernet on photographs, a strategy that closes its edges, a genotype as the result."""

from nas.search.config import SearchConfig, export_space, open_space
from nas.search.selection import SearchResult
from nas.search.setup import SearchSetup, open_search
from nas.search.training import search

__all__ = ["SearchConfig", "SearchResult", "SearchSetup", "export_space", "open_search", "open_space", "search"]
