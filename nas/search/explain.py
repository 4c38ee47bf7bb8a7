"""What explains a search's result, kept in its folder for the page: how choices moved, what each edge is worth."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from genotypes.files import json_text, write_atomically, writing
from nas.network import Network
from nas.run import RunFolder
from nas.search.scoring import score_path
from nas.search.setup import SearchSetup
from nas.search.tensorboard import predictions
from nas.strategies import Strategy
from nas.task import write_png
from nas.training import Listener, Trainer
from nas.trials import Trials

__all__ = ["FEW_BATCHES", "ChoicesLog", "Preferences", "edge_worth", "explain", "inherited_loss", "preferences_of"]

CHOICES, WORTH = "choices.jsonl", "worth.json"
FEW_BATCHES = 5  # that re-estimate norms: a quarter of those of a score, as only differences count, and there are many
_DIGITS = 5

# edge -> candidate -> a number, the higher the more it is preferred
Preferences = Mapping[str, Mapping[Any, float]]


class ChoicesLog(Listener):
    """RUN/choices.jsonl: a line an evaluation, with every candidate's probability.

    A resumed run writes the steps after its checkpoint again; the last line of a step counts.
    """

    def __init__(self, run: RunFolder, strategy: Strategy) -> None:
        self._path, self._strategy = run.path / CHOICES, strategy

    def row(self, trainer: Trainer, row: Mapping[str, Any]) -> None:
        edges = {
            edge: {op: round(value, _DIGITS) for op, value in shares.items()}
            for edge, shares in self._strategy.probabilities().items()
        }
        with writing(self._path), open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": row["step"], "probabilities": edges}) + "\n")


def explain(
    run: RunFolder,
    setup: SearchSetup,
    forward: Callable[[Tensor], Sequence[Tensor]],
    choices: Mapping[str, Any],
    preferences: Preferences,
    loss: Callable[[Mapping[str, Any]], float],
    *,
    seconds: float,
) -> None:
    """Write RUN/predictions.png, and RUN/worth.json if it may take more than no time; with inherited weights.

    forward: of the result, see `predictions`. loss: of choices, see `edge_worth`.
    """
    with write_atomically(run.path / "predictions.png") as file:
        write_png(predictions(setup, forward), file)
    if seconds:
        worth = edge_worth(choices, preferences, loss, seconds=seconds)
        run.write_text(WORTH, json_text({**worth, "images": len(setup.held_out.samples.rows)}))


def edge_worth(
    choices: Mapping[str, Any],
    preferences: Preferences,
    loss: Callable[[Mapping[str, Any]], float],
    *,
    seconds: float,
) -> dict[str, Any]:
    """What each edge is worth: the loss where it alone is its runner-up (the most preferred of the others), or `none`.

    choices: of edges, and of whatever else a space leaves open, such as widths. loss: of choices, all else being equal.
    Ends after `seconds` of wall time, edge by edge in the order of `choices`; `edges_left` counts those that were not
    reached. Returns {loss, seconds, edges_left, edges: {edge: {chosen, runner_up, none}}}, where runner_up and none are
    {op, loss}, or None where there is no such candidate.
    """
    began = time.monotonic()
    base = loss(choices)
    edges: dict[str, dict[str, Any]] = {}
    longest = time.monotonic() - began
    for edge, chosen in choices.items():
        others = [op for op in preferences.get(edge, ()) if op != chosen]
        best = max(others, key=preferences[edge].__getitem__, default=None)
        rivals = {"runner_up": best, "none": "none" if "none" in others else None}
        tried = list(dict.fromkeys(op for op in rivals.values() if op))
        if time.monotonic() - began + len(tried) * longest > seconds:
            break
        known: dict[str, float] = {}
        for op in tried:
            start = time.monotonic()
            known[op] = loss({**choices, edge: op})
            longest = max(longest, time.monotonic() - start)
        found = {name: {"op": op, "loss": known[op]} if op else None for name, op in rivals.items()}
        edges[edge] = {"chosen": chosen, **found}
    return {
        "loss": base,
        "seconds": round(time.monotonic() - began, 2),
        "edges_left": len(choices) - len(edges),
        "edges": edges,
    }


def inherited_loss(net: Network, setup: SearchSetup) -> Callable[[Mapping[str, str]], float]:
    """The held-out loss of choices with the supernet's weights, norms estimated on the same few batches each time."""
    batches = [setup.weights(step)[0] for step in range(FEW_BATCHES)]
    return lambda choices: score_path(net, net.path(choices), setup, batches)["loss"]


def preferences_of(trials: Trials) -> Preferences:
    """What trials prefer: of each candidate minus the mean loss of those that chose it."""
    seen: dict[str, dict[Any, list[float]]] = {}
    for trial in trials.complete:
        for edge, op in trial.choices.items():
            seen.setdefault(edge, {}).setdefault(op, []).append(trial.values[0])
    return {edge: {op: -sum(v) / len(v) for op, v in ops.items()} for edge, ops in seen.items()}
