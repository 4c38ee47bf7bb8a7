"""A search of seconds, for the tests."""

import csv
from pathlib import Path

from nas.guard import GuardConfig
from nas.options import from_dict, to_dict
from nas.run import RunFolder
from nas.search import SearchConfig, SearchResult, search

FUSION = {
    "name": "fusion_cells",
    "channels": 8,
    "operations": ("none", "skip_connect", "conv_3x3", "channel_attention"),
}
SPACE = str(Path(__file__).with_name("small_space.yaml"))  # two cells with eight open edges, 8 channels
SMALL = {
    "data": "synthetic:60",
    "size": 32,
    "steps": 8,
    "warmup_steps": 2,
    "batch_size": 4,
    "evaluate_every": 3,
    "rivals": 2,
    "worth_seconds": 0,
}
MEASURED = GuardConfig(iterations=2, images=2, ratio=1e-9)  # and never a reason to stop


def config(*, strategy="darts", options=None, space=None, **changes) -> SearchConfig:
    """A small search; options: of the strategy; space: another than `SPACE`."""
    rivals = {"rivals": None} if strategy == "sandwich" else {}  # which is refused any
    owners = {"strategy": {"name": strategy, **(options or {})}, "space": space or SPACE}
    return from_dict(SearchConfig(), to_dict(SearchConfig(**{**SMALL, "guard": MEASURED} | changes | rivals)) | owners)


def words() -> list[str]:
    """The same as options of the command."""
    guard = {f"guard.{name}": getattr(MEASURED, name) for name in ("iterations", "images", "ratio")}
    told = SMALL | {"space": SPACE} | guard
    return [f"--{key}={list(value) if isinstance(value, tuple) else value}" for key, value in told.items()]


def run_search(path, cfg, resume=False) -> SearchResult:
    run = RunFolder.open(str(path), "search", "", resume=resume)
    return search(cfg, run)


def read_trials(path):
    with open(path) as file:
        return [{key: value for key, value in row.items() if key != "seconds"} for row in csv.DictReader(file)]


def dearest(table) -> dict[str, str]:
    """The choices that cost most by a table of costs."""
    return {edge: max(row, key=row.__getitem__) for edge, row in table.rows().items()}
