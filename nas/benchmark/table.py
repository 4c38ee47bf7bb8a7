"""The space, its members in the table's order, and the table: what each of them scored, read from one file."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import genotypes
from genotypes import Genotype, UserError
from nas.benchmark.training import TableProtocol

__all__ = ["Benchmark", "TableEntry", "load", "members", "space"]

_CURVES = ("loss", "maxF", "MAE")
_COSTS = ("params", "macs", "latency_ms")


@cache
def space() -> Genotype:
    """The open genotype of `space.yaml`."""
    return genotypes.load(str(Path(__file__).with_name("space.yaml")))


def members(space: Genotype) -> list[dict[str, str]]:
    """The choices of every network of a space; the last open edge changes fastest.

    >>> len(members(space()))
    243
    """
    edges = space.open_edges()
    return [dict(zip(edges, ops, strict=True)) for ops in itertools.product(*edges.values())]


@dataclass(frozen=True, kw_only=True, eq=False)
class TableEntry:
    """One network's results: of one seed, or the mean over the seeds.

    Attributes:
        loss, maxF, MAE: on the held-out photographs at the end of the training; MAE of raw maps. Lower is better but
            for maxF.
        curve: the same along the training: "loss", "maxF", "MAE" -> float32[points], scored after the protocol's steps
            `scored_at`; the last is the final score.
        seconds: CPU seconds of the training's steps on one core.
        params, macs: learnt numbers, and multiply-adds for one picture of the protocol's size.
        latency_ms: of one picture on one core of the machine that made the table; NaN where nobody measured.
    """

    loss: float
    maxF: float
    MAE: float
    curve: Mapping[str, np.ndarray]
    seconds: float
    params: int
    macs: int
    latency_ms: float


class Benchmark:
    """Every network of `space`, trained as `protocol` says with each of `seeds`.

    Networks are numbered from 0 in the order of `members(space)`. Wherever a network is asked for, give its choices
    (open edge -> operation, in any order), a decided genotype of the space, or its number.

    >>> from nas import benchmark
    >>> table = benchmark.load()
    >>> len(table)
    243
    >>> choices = table.choices(0)
    >>> choices["net.down8"], choices["net.up8"]
    ('skip_connect', 'none')
    >>> table.query(choices).params
    1873
    >>> table.rank(table.best)
    1
    """

    def __init__(self, space: Genotype, arrays: Mapping[str, np.ndarray]) -> None:
        """arrays: as in the file; loss, maxF, MAE [G, seeds, points], seconds [G, seeds], seeds, costs [G], `about`."""
        about = json.loads(str(arrays["about"]))
        if about["space"] != space.hash:
            raise UserError(f"this table is of another space than {space.name}")
        self.space = space
        self.protocol = TableProtocol(**about["protocol"])
        self.teacher: int | None = about["teacher"]  # the seed of `planted_set`'s teacher, where it drew the masks
        self.seeds = tuple(arrays["seeds"].tolist())
        self._curves = {name: arrays[name] for name in _CURVES}
        self._seconds = arrays["seconds"]
        self._costs = {name: arrays[name] for name in _COSTS}
        self._members = members(space)
        self._numbers = {tuple(choices.values()): number for number, choices in enumerate(self._members)}
        if self._seconds.shape != (len(self._members), len(self.seeds)):
            raise UserError(f"a table of {len(self._seconds)} networks for a space of {len(self._members)}")
        self._mean = self.scores.mean(1)

    def __len__(self) -> int:
        return len(self._members)

    @property
    def scores(self) -> np.ndarray:
        """float64[G, seeds]: final held-out losses."""
        return self._curves["loss"][:, :, -1].astype(np.float64)

    @property
    def best(self) -> int:
        """Number of the network with the lowest mean loss."""
        return int(self._mean.argmin())

    def choices(self, number: int) -> dict[str, str]:
        """The choices of a network, by its number."""
        return dict(self._members[self.number(number)])

    def genotype(self, number: int) -> Genotype:
        """The decided genotype of a network, by its number."""
        return self.space.decide(self.choices(number), name=f"{self.space.name}_{number}")

    def number(self, network: Mapping[str, str] | Genotype | int) -> int:
        """A network's number; UserError for one that is not in the space."""
        if isinstance(network, Genotype):
            network = self._choices_of(network)
        if isinstance(network, Mapping):
            edges = self.space.open_edges()
            key = tuple(network.get(edge, "") for edge in edges)
            if len(network) != len(edges) or key not in self._numbers:
                known = "; ".join(f"{edge}: {', '.join(ops)}" for edge, ops in edges.items())
                raise UserError(f"{dict(network)} is no network of {self.space.name}; expected one each of {known}")
            return self._numbers[key]
        if not 0 <= network < len(self):
            raise UserError(f"there is no network number {network}; there are 0 to {len(self) - 1}")
        return int(network)

    def query(self, network: Mapping[str, str] | Genotype | int, seed: int | None = None) -> TableEntry:
        """A network's results with one seed, or their means over all seeds (None); UserError for one not tried."""
        number = self.number(network)
        if seed is not None and seed not in self.seeds:
            raise UserError(f"the table has no seed {seed}; it has {', '.join(map(str, self.seeds))}")
        rows = slice(None) if seed is None else [self.seeds.index(seed)]
        curve = {name: values[number, rows].mean(0) for name, values in self._curves.items()}
        return TableEntry(
            **{name: float(values[-1]) for name, values in curve.items()},
            curve=curve,
            seconds=float(self._seconds[number, rows].mean()),
            params=int(self._costs["params"][number]),
            macs=int(self._costs["macs"][number]),
            latency_ms=float(self._costs["latency_ms"][number]),
        )

    def rank(self, network: Mapping[str, str] | Genotype | int) -> int:
        """1 for the lowest mean loss, `len(self)` for the highest."""
        return 1 + int((self._mean < self._mean[self.number(network)]).sum())

    def regret(self, network: Mapping[str, str] | Genotype | int) -> float:
        """How much higher its mean loss is than the best network's: 0 for that one."""
        return float(self._mean[self.number(network)] - self._mean.min())

    def _choices_of(self, genotype: Genotype) -> dict[str, str]:
        ops = genotype.graph.operations()
        choices = {edge: ops.get(edge, "") for edge in self.space.open_edges()}
        if tuple(choices.values()) not in self._numbers or self.space.decide(choices) != genotype:
            raise UserError(f"{genotype.name} is no network of {self.space.name}")
        return choices


def load(table: str | Path = "fusion") -> Benchmark:
    """A table that comes with the project, or one that `benchmarks/exhaustive.py` packed (UserError: it is none).

    fusion: every network with seeds 0, 1, 2 on the project's synthetic photographs. planted: with seed 0 on the
    masks of teacher 2, started from its supernet (`nas.benchmark.planted`); the teacher's choices rank first.
    """
    path = Path(__file__).with_name(f"{table}.npz") if table in ("fusion", "planted") else Path(table)
    if not path.is_file():
        raise UserError(f"{path}: no such file, and no table of that name; known: fusion, planted")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return Benchmark(space(), arrays)
    except UserError:
        raise
    except Exception as error:  # what a damaged file makes numpy raise is not documented
        raise UserError(f"{path}: not a table of nas.benchmark ({error})") from None
