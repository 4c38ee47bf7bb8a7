"""How well a search, or scores that a search works with, agree with the table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genotypes import Genotype, UserError
from nas.benchmark.table import Benchmark

__all__ = ["RegretCurve", "kendall_tau", "rank_agreement", "regret_curve"]


def kendall_tau(a: Sequence[float], b: Sequence[float]) -> float:
    """Kendall's tau-b of two lists of numbers (Kendall 1945, with ties): 1 same order, -1 reverse, about 0 by chance.

    NaN where one list has only ties. Raises UserError for lists of different length, below 2, or with NaN.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2 or np.isnan(x).any() or np.isnan(y).any():
        raise UserError("Kendall's tau needs two lists of two or more numbers, equally long, none NaN")
    pairs = np.triu_indices(len(x), 1)
    # Compared, not subtracted: the losses of two networks that diverged are a tie of infinities.
    dx, dy = (1.0 * (v[pairs[0]] > v[pairs[1]]) - (v[pairs[0]] < v[pairs[1]]) for v in (x, y))
    untied = np.sqrt(float((dx != 0).sum()) * float((dy != 0).sum()))
    return float((dx * dy).sum() / untied) if untied else float("nan")


def rank_agreement(
    table: Benchmark, predicted: Iterable[tuple[Mapping[str, str] | Genotype | int, float]], *, top: int | None = None
) -> float:
    """Kendall's tau between predicted losses (lower is better) and the table's mean losses.

    predicted: (network, loss) pairs, e.g. of networks that share a supernet's weights. top: only the networks of the
    table's best so many ranks, which is what a search must tell apart.
    """
    rows = [(table.number(network), loss) for network, loss in predicted]
    rows = [(number, loss) for number, loss in rows if top is None or table.rank(number) <= top]
    true = table.scores.mean(1)
    return kendall_tau([loss for _, loss in rows], [true[number] for number, _ in rows])


@dataclass(frozen=True, kw_only=True, eq=False)
class RegretCurve:
    """After each trial of a search. Arrays of one value a trial.

    regret: mean loss over seeds of the network the search holds best, less that of the space's best (the truth).
    rank: the rank of that network. seconds: CPU seconds of all trainings so far.
    """

    regret: np.ndarray
    rank: np.ndarray
    seconds: np.ndarray


def regret_curve(
    table: Benchmark, tried: Sequence[Mapping[str, str] | Genotype | int], *, seed: int | None = None
) -> RegretCurve:
    """What a search that trains these networks in this order has found after each.

    seed: the search sees this one training of each network and holds the best of those, as a real one would; None: it
    sees the mean over seeds. Either way what it holds is judged by the mean. A network tried again costs nothing.
    """
    if not tried:
        raise UserError("a regret curve needs at least one network tried")
    numbers = [table.number(network) for network in tried]
    seen = [table.query(number, seed).loss for number in numbers]
    held = [numbers[int(np.argmin(seen[: i + 1]))] for i in range(len(numbers))]
    new = [number not in numbers[:i] for i, number in enumerate(numbers)]
    seconds = [table.query(number, seed).seconds * fresh for number, fresh in zip(numbers, new, strict=True)]
    return RegretCurve(
        regret=np.array([table.regret(number) for number in held]),
        rank=np.array([table.rank(number) for number in held]),
        seconds=np.cumsum(seconds),
    )
