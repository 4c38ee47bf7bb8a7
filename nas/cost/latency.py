"""Milliseconds of every candidate in its place, and of what is around them; and a file that keeps them.

A candidate is timed alone, a network is more than the sum of its edges: backbone, heads, and caches that are colder. So
a few whole networks are timed too, in turn with the candidates, and a straight line from sums to whole times is fitted:
its offset is what no choice changes, its slope what being inside a network costs.
"""

import json
import os
import platform
import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from genotypes import Genotype, UserError
from genotypes.files import json_text, write_text
from nas.cost.clock import Prepare, timings
from nas.cost.measuring import explain_too_little_memory, prepare
from nas.cost.places import Place, PlacedOperation, find_places
from nas.network import Network, to_device
from nas.run import seeded

__all__ = ["LatencyCache", "machine_name", "measure_latencies"]

_FORMAT = 1  # of a cache
_RANDOM_NETWORKS = 4
_SLOPES = (0.5, 2.0)
_QUEUED = 10  # a GPU takes the next operation while it computes the last, as it does inside a network
_FIRST_LOOK = 3
_Ms = dict[str, dict[str, float]]


def measure_latencies(
    space: Genotype, size: tuple[int, int], device: torch.device, repeats: int, others: Sequence[Prepare] = ()
) -> tuple[float, _Ms, list[float]]:
    """For one image of (H, W) `size`: milliseconds that no choice changes, open edge -> candidate -> milliseconds, and
    the milliseconds of `others`, timed in turn with the candidates: a test of the table under one and the same load.
    """
    places = find_places(space, size)
    open_edges = space.open_edges()
    kinds = {(op, places[edge]) for edge, candidates in open_edges.items() for op in candidates}
    queued = 1 if device.type == "cpu" else _QUEUED

    def by_edge(times: Sequence[float]) -> _Ms:
        ms = {kind: time / queued for kind, time in zip(timed, times, strict=True)}
        return {edge: {op: ms[op, places[edge]] for op in candidates} for edge, candidates in open_edges.items()}

    with explain_too_little_memory(space, size), torch.inference_mode():
        timed = _candidates(sorted(kinds, key=repr), device, queued)
        # Which networks are cheap must be known before they are built: a first, short look at the candidates.
        references = _references(space, by_edge(_lower_quartiles(timed.values(), _FIRST_LOOK, device)))
        networks = _networks(space, references, size, device)
        times = _lower_quartiles([*timed.values(), *networks, *others], repeats, device)
    ends = len(timed), len(timed) + len(networks)
    alone = by_edge(times[: ends[0]])
    sums = [sum(alone[edge][op] for edge, op in choices.items()) for choices in references]
    fixed, slope = _line(np.array(sums), np.array(times[ends[0] : ends[1]]))
    scaled = {edge: {op: slope * ms for op, ms in row.items()} for edge, row in alone.items()}
    return fixed, scaled, times[ends[1] :]


def _lower_quartiles(calls: Collection[Prepare], repeats: int, device: torch.device) -> list[float]:
    """Milliseconds of each call. The lower quartile, since other programs only ever slow a call."""
    times = timings(calls, repeats=repeats, device=device, threads=torch.get_num_threads())
    return np.quantile(times, 0.25, axis=0).tolist()


def _candidates(kinds: Sequence[tuple[str, Place]], device: torch.device, queued: int) -> dict[tuple, Prepare]:
    """Candidate and place -> the call that is timed, which runs it `queued` times."""
    generator, features = torch.Generator().manual_seed(0), {}

    def feature(width: int, size: tuple[int, int]) -> torch.Tensor:
        if (width, size) not in features:
            drawn = torch.randn(1, width, *size, generator=generator)
            features[width, size] = drawn.to(device, memory_format=torch.channels_last)
        return features[width, size]

    def call(op: str, place: Place) -> Prepare:
        with seeded(0):
            module = to_device(PlacedOperation(op, place).eval(), device)
        x, total = feature(place.in_width, place.source), feature(place.width, place.target)

        def ready() -> Callable[[], object]:
            fresh = x.clone()  # in a network the feature has just been written too, while the weights lie in no cache
            return lambda: [module(fresh, total) for _ in range(queued)]

        return ready

    return {(op, place): call(op, place) for op, place in kinds}


def _references(space: Genotype, ms: _Ms) -> list[dict[str, str]]:
    """The cheapest and the dearest network, between which all lie, and some in their midst."""
    found = [{edge: pick(row, key=row.__getitem__) for edge, row in ms.items()} for pick in (min, max)]
    rng = random.Random(0)
    found += [{edge: rng.choice(list(row)) for edge, row in ms.items()} for _ in range(_RANDOM_NETWORKS)]
    return [space.graph.reconnect(choices, ms)[0] for choices in found]


def _networks(
    space: Genotype, references: Sequence[Mapping[str, str]], size: tuple[int, int], device: torch.device
) -> list[Prepare]:
    calls: list[Prepare] = []
    backbone = None

    def call(net: Network, x: torch.Tensor) -> Prepare:
        return lambda: lambda: net(x)

    for choices in references:
        net, x = prepare(space.decide(choices), device, size)
        backbone = net.backbone if backbone is None else backbone
        net.backbone = backbone  # one for all: some hold gigabytes
        calls.append(call(net, x))
    return calls


def _line(sums: np.ndarray, times: np.ndarray) -> tuple[float, float]:
    """(offset, slope) of the straight line through the points with the least squared relative errors."""
    weights = times**-2.0
    middle, height = np.average(sums, weights=weights), np.average(times, weights=weights)
    spread = np.sum(weights * (sums - middle) ** 2)
    slope = np.sum(weights * (sums - middle) * (times - height)) / spread if spread > 0 else 1.0
    slope = float(np.clip(slope, *_SLOPES))  # where the choices hardly matter, noise would choose it
    return max(0.0, float(height - slope * middle)), slope


class LatencyCache:
    """`latency-{machine}-{threads}t-torch{version}.json` in a folder: tables of this machine, by space and size."""

    def __init__(self, folder: Path, device: torch.device) -> None:
        self.machine = {
            "format": _FORMAT,
            "device": machine_name(device),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        name = "latency-{device}-{threads}t-torch{torch}".format(**self.machine)
        self.path = Path(folder) / f"{re.sub('[^A-Za-z0-9.+]+', '-', name)}.json"

    def get(self, key: str, edges: Mapping[str, Sequence[str]]) -> tuple[float, dict[str, dict[str, float]]] | None:
        """(fixed, edge -> candidate -> milliseconds) as they were put, for these edges and candidates; None if never.

        Raises UserError where the file is not one of ours, or does not hold them all.
        """
        table = self._read().get(key)
        if table is None:
            return None
        try:
            rows = {edge: {op: float(table["edges"][edge][op]) for op in ops} for edge, ops in edges.items()}
            return float(table["fixed"]), rows
        except (KeyError, TypeError, ValueError):
            raise self._foreign(f"the table {key!r} is damaged") from None

    def put(self, key: str, fixed: float, edges: dict[str, dict[str, float]]) -> None:
        """Keep a table; UserError where that is not possible."""
        tables = self._read() | {key: {"fixed": fixed, "edges": edges}}
        write_text(self.path, json_text(self.machine | {"tables": tables}))

    def _read(self) -> dict[str, dict]:
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        except ValueError as error:  # broken text as well as broken JSON
            raise self._foreign(str(error)) from None
        if not isinstance(data, dict) or not isinstance(data.get("tables"), dict):
            raise self._foreign("it holds no tables")
        for word, value in self.machine.items():
            if data.get(word) != value:
                raise self._foreign(f"its {word} is {data.get(word)!r}, here it is {value!r}")
        return data["tables"]

    def _foreign(self, reason: str) -> UserError:
        return UserError(f"{self.path}: no latency table of this machine ({reason}); delete it to measure anew")


def machine_name(device: torch.device) -> str:
    """What the device calls itself; for the CPU its model, number of cores and the instructions torch uses.

    A name such as "cpu" would hand one machine's milliseconds to another that shares the folder.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return f"{device.type} {platform.machine()} {platform.node()}"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        lines = []
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    known = {word.strip(): value.strip() for word, value in pairs}
    # Cloud machines name no more than a brand: family and model tell its generations apart.
    words = [known.get("model name", platform.processor() or platform.machine())]
    words += [f"{word} {known[word]}" for word in ("cpu family", "model", "stepping") if word in known]
    return ", ".join([*words, f"{os.cpu_count()} cores", torch.backends.cpu.get_cpu_capability()])
