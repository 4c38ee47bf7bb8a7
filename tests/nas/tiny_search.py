"""A search of seconds, for the tests."""

from nas.run import RunFolder
from nas.search import SearchConfig, SearchResult, search

SMALL = {
    "channels": 8,
    "operations": ("none", "skip_connect", "conv_3x3", "channel_attention"),
    "data": "synthetic:60",
    "size": 32,
    "steps": 8,
    "warmup_steps": 2,
    "batch_size": 4,
    "evaluate_every": 3,
    "rivals": 2,
}


def config(**changes) -> SearchConfig:
    return SearchConfig(**SMALL | changes)


def run_search(path, cfg, resume=False) -> SearchResult:
    run = RunFolder.open(str(path), "search", "", resume=resume)
    return search(cfg, run, progress=False)
