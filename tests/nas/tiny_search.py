"""A search of seconds, for the tests."""

import csv

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


def read_trials(path):
    with open(path) as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]
