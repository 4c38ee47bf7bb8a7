"""Cost as part of what is searched for: the expected cost in the loss, and genotypes that keep a budget."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from genotypes import OPERATIONS, Genotype, UserError
from genotypes.errors import plural
from genotypes.files import json_text
from nas.cost import COST_KINDS, CostTable, cost_table, count, latencies, within_budget
from nas.cost.clock import warn_if_busy
from nas.cost.latency import machine_name
from nas.cost.measuring import prepare
from nas.cost.widths import WidthCosts
from nas.network import extreme
from nas.run.distributed import from_first, is_first
from nas.run.user_cache import user_cache
from nas.search.config import SearchConfig
from nas.strategies import Strategy, derivable

__all__ = [
    "COSTS",
    "CostObjective",
    "MemberCost",
    "Timed",
    "check_member_budget",
    "derive",
    "open_objective",
    "time_found",
    "time_network",
    "timed_on",
]

COSTS = "costs.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class CostObjective:
    """What the exported genotype may cost, and how much the search minds.

    table: of the exported space, where widths are open a function of them; weight, budget: see `SearchConfig`;
    exclude: operations that must not be derived. usual: the expected cost of uniform choices.
    """

    table: CostTable | WidthCosts
    weight: float
    budget: float | None
    exclude: tuple[str, ...] = ()
    usual: float = field(init=False)

    def __post_init__(self) -> None:
        counts = torch.tensor([len(candidates) for candidates in self.table.choices.values()])
        uniform = (torch.arange(int(counts.max())) < counts[:, None]).double() / counts[:, None]
        object.__setattr__(self, "usual", float(self.table.expected(uniform)))

    def penalty(self, weights: torch.Tensor) -> torch.Tensor:
        """Added to the architecture's loss: the expected cost over that of uniform choices; with a budget, its excess.

        Following ProxylessNAS (Cai et al., ICLR 2019, section 3.3), on a scale that no unit changes.
        """
        expected = self.table.expected(weights)
        if self.budget is None:
            return self.weight * expected / self.usual
        return self.weight * (expected / self.budget - 1).clamp_min(0)

    def derive(self, strategy: Strategy) -> dict[str, Any] | None:
        """The strategy's choices; with a budget, the most probable ones that keep it, and with widths use it."""
        choices = strategy.choices()
        if choices is None or self.budget is None:
            return choices
        spends = isinstance(self.table, WidthCosts)
        if not spends and self.affordable(choices) and strategy.net.genotype.reaches_image(choices):
            return choices
        return self._within(strategy.probabilities(), self.budget)

    def nearest(self, choices: Mapping[str, Any]) -> dict[str, Any]:
        """These choices; with a budget that they break, some that keep it and differ in as few as can be."""
        if self.budget is None or self.affordable(choices):
            return dict(choices)
        wanted = {
            choice: {taken: 1.0 if taken == choices[choice] else 0.5 for taken in candidates}
            for choice, candidates in self.table.choices.items()
        }
        return self._within(wanted, self.budget)

    def _within(self, probabilities: Mapping[str, Mapping[Any, float]], budget: float) -> dict[str, Any]:
        if isinstance(self.table, WidthCosts):
            return self.table.most_probable(probabilities, budget, self.exclude)
        return within_budget(probabilities, self.table, budget, exclude=self.exclude)

    def affordable(self, choices: Mapping[str, Any]) -> bool:
        return self.budget is None or self.table.of(choices) <= self.budget

    def to_json(self) -> str:
        """What costs.json holds: what each candidate on each edge costs, unless that depends on open widths."""
        table = self.table
        data: dict[str, Any] = {"kind": table.kind, "unit": table.unit, "size": table.size}
        if isinstance(table, CostTable):
            data |= {"fixed": table.fixed, "edges": table.rows()}
        return json_text(data)


def derive(strategy: Strategy, objective: CostObjective | None) -> dict[str, Any] | None:
    """What would be chosen now, within the budget if there is one; None before trials."""
    choices = objective.derive(strategy) if objective else strategy.choices()
    return None if choices is None else strategy.reaching(choices)


def open_objective(cfg: SearchConfig, export: Genotype, folder: Path | None) -> CostObjective | None:
    """What `cfg` says about cost; UserError for a budget that no genotype of the space keeps.

    folder: of a run that is resumed, if it is one; it keeps what it has measured.
    """
    if cfg.cost is None:
        return None
    table = WidthCosts(export, cfg.cost) if export.open_widths() else _shared_table(cfg, cfg.cost, export, folder)
    exclude = ("none",) if cfg.strategy.exclude_none else ()
    if cfg.budget is not None:
        least = table.of(table.cheapest(exclude))
        if least > cfg.budget:
            raise UserError(
                f"budget {cfg.budget:,.10g}: no genotype of {export.name} costs so little; the cheapest takes "
                f"{least:,.10g} {table.unit} at {table.size[0]} x {table.size[1]}"
            )
    return CostObjective(table=table, weight=cfg.cost_weight, budget=cfg.budget, exclude=exclude)


def _shared_table(cfg: SearchConfig, kind: str, export: Genotype, folder: Path | None) -> CostTable:
    """One process measures, since two would find two costs; a space's graph cannot be sent, and the others have it."""
    table = _table(cfg, kind, export, folder) if is_first() else None
    told = from_first((table.size, table.fixed, table.rows()) if table else None)
    assert told is not None
    return CostTable.of_rows(export, kind, *told)


def _table(cfg: SearchConfig, kind: str, export: Genotype, folder: Path | None) -> CostTable:
    """The run's own costs where it goes on, else counted or measured."""
    if folder is not None and (kept := folder / COSTS).is_file():
        return _read(kept, export)
    return cost_table(export, kind, device=cfg.device, cache=Path(cfg.cache) if cfg.cache else user_cache())


class MemberCost:
    """What a member costs at its own input size: params, macs (multiply-adds), or latency in ms on this machine.

    Latency is measured, member by member: on the device, or of the deployed form in a runtime (see
    `SearchConfig.runtime`). A member keeps its first time.
    """

    def __init__(self, kind: str, *, device: str | torch.device = "cpu", runtime: str | None = None) -> None:
        if kind not in COST_KINDS:
            raise UserError(f"unknown cost {kind!r}; there are: {', '.join(COST_KINDS)}")
        self.kind, self.unit = kind, COST_KINDS[kind]
        self._device, self._runtime = device, runtime
        self._known: dict[Any, float] = {}

    def __call__(self, genotype: Genotype) -> float:
        if genotype.identity not in self._known:
            if self.kind == "latency":
                cost = time_network(genotype, self._device, self._runtime)
            else:
                cost = float(getattr(count(genotype), self.kind))
            self._known[genotype.identity] = cost
        return self._known[genotype.identity]


def check_member_budget(cfg: SearchConfig, space: Genotype, device: torch.device) -> None:
    """UserError for a budget that the smallest member of a space of whole networks breaks."""
    if cfg.budget is None or cfg.cost is None:
        return
    cost = MemberCost(cfg.cost, device=device, runtime=cfg.runtime)
    smallest = extreme(space, "smallest")
    # By parameters, of which `skip_connect` and `none` have as few; `none` takes less time.
    edges = derivable(space.open_edges(), cfg.strategy).items()
    empty = smallest | {edge: op for edge, ops in edges for op in ops if OPERATIONS[op].zero}
    if not space.reaches_image(empty):
        empty, _ = space.graph.reconnect(empty, {edge: {smallest[edge]: 1.0} for edge, _ in edges})
    least = min(cost(space.decide(member)) for member in (smallest, empty) if space.reaches_image(member))
    if least > cfg.budget:
        raise UserError(
            f"budget {cfg.budget:,.10g}: no member of {space.name} costs so little; the smallest takes {least:,.10g} "
            f"{cost.unit}"
        )


@dataclass(frozen=True, kw_only=True)
class Timed:
    """What was found, timed as a whole network, in the form in which it was searched for.

    ms: of one image; form: runtime or device, with the threads; machine: its name; busy: a clause that says that other
    programs used its processors meanwhile, else None.
    """

    ms: float
    form: str
    machine: str
    busy: str | None

    def __str__(self) -> str:
        return f"{self.ms:,.3g} ms ({self.form})"


def timed_on(device: torch.device | str, runtime: str | None) -> tuple[torch.device, int]:
    """Where networks are timed, and with how many threads of the CPU: a runtime's deployed form on one."""
    return (torch.device("cpu"), 1) if runtime else (torch.device(device), torch.get_num_threads())


def time_network(genotype: Genotype, device: torch.device | str, runtime: str | None) -> float:
    """Milliseconds of a network at its own size, by random weights; see `SearchConfig.runtime`."""
    size = genotype.input.size
    net, _ = prepare(genotype, timed_on(device, runtime)[0], size)
    # The lower quartile, as a table of candidates holds it: the shortest time is 5 to 10 % below.
    return latencies({"": (net, size)}, repeats=30, seconds=0.5, quantile=0.25, runtime=runtime)[""]


def time_found(cfg: SearchConfig, genotype: Genotype, device: torch.device) -> Timed | None:
    """Where the search minded latency: the found network's own, whatever a table or an earlier look at it said."""
    if cfg.cost != "latency":
        return None
    with warn_if_busy("the time of what was found misleads") as others:
        ms = time_network(genotype, device, cfg.runtime)
    device, threads = timed_on(device, cfg.runtime)
    form = f"deployed in {cfg.runtime}" if cfg.runtime else f"as it is on {device}"
    form += f", {plural(threads, 'thread')}" if device.type == "cpu" else ""
    return Timed(ms=ms, form=form, machine=machine_name(device), busy=others.warning)


def _read(path: Path, space: Genotype) -> CostTable:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return CostTable.of_rows(space, data["kind"], tuple(data["size"]), float(data["fixed"]), data["edges"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the costs of this run's space ({error})") from None
