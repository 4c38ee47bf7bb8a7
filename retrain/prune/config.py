"""The configuration of `python -m retrain.prune`."""

from dataclasses import dataclass
from typing import Literal

from genotypes.errors import UserError, check_least, check_most
from nas.run.sizes import LARGEST_BATCH, check_side
from nas.task import PhotoOptions
from retrain.prune.channels import THRESHOLD

__all__ = ["PruneConfig"]


@dataclass(frozen=True, kw_only=True)
class PruneConfig(PhotoOptions):
    """Which network to prune, and what to estimate its norm statistics on.

    Attributes:
        weights: weight file, or a name such as sod_s: a CSNet trained with dynamic decay, or with a budget a network
            whose backbone's blocks can be narrowed (mobilenet_v2, efficientnet_lite0 to 2).
        out: folder for what is left.
        threshold: the smallest norm scale that stays, of a CSNet.
        budget: what may be left of another network, in parameters or multiply-adds: its backbone's blocks are made
            narrower or left out, step by step, those first that change its maps least. Needs data.
        cost: what the budget counts.
        size: input side of the network that is left within a budget, in pixels; default its own.
        data: photographs of the training, NAME=DIR or DIR: all norm statistics are estimated anew on those that it
            trained on, and the held-out ones are scored (default: neither).
        batches: batches for the statistics.
        step_batches: batches that judge each step to a budget; each round of steps has others.
        batch_size: images at a time.
        held_out: share of the photographs that was held out.
        data_seed: of the split, as in training.
        device: cpu, cuda or auto.
    """

    weights: str = ""
    out: str | None = None
    threshold: float = THRESHOLD
    budget: float | None = None
    cost: Literal["params", "macs"] = "macs"
    size: int | None = None
    data: str = ""
    batches: int = 50
    step_batches: int = 12
    batch_size: int = 16
    held_out: float = 0.1
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold < 1:
            raise UserError(f"--threshold is a norm scale in 0..1, not {self.threshold}")
        check_least(self, "--", batches=1, step_batches=1, batch_size=1)
        check_most(self, "--", step_batches=1000, batch_size=LARGEST_BATCH)  # those of a round are kept
        if self.size is not None:
            check_side(self.size)
        for name in ("size", "cost", "step_batches") if self.budget is None else ():
            if getattr(self, name) != getattr(PruneConfig, name):
                raise UserError(f"--{name} is of the network within a --budget; a CSNet goes by its norm scales alone")
        if self.budget is not None and self.threshold != THRESHOLD:
            raise UserError("--threshold is for a CSNet's norm scales, --budget for other networks; give one of them")
        if self.budget is not None and not self.data:
            raise UserError("--budget needs --data: photographs show what can go")

    def unused(self) -> dict[str, str]:
        """See `nas.options.unused_of`."""
        of_photographs = () if self.data else ("limit", "cache", "data_seed", "held_out", "batches", "batch_size")
        return dict.fromkeys(of_photographs, "it needs --data")
