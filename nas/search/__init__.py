"""The search: a supernet on photographs, a strategy that closes its edges, a genotype as the result."""

from nas.search.config import SearchConfig, export_space, open_space
from nas.search.inputs import open_inputs
from nas.search.loop import SearchResult, search

__all__ = ["SearchConfig", "SearchResult", "export_space", "open_inputs", "open_space", "search"]
