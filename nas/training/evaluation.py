"""Scores of a network while it trains: at the size that it is trained at, on the training's own device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from genotypes import Record, Registry
from nas.task import LossConfig, NativeSet, Samples, fast_scores, multi_output_loss, target
from nas.task.scores import fast_scores_of

__all__ = ["DIVERGED_SCORES", "METRICS", "HeldOut"]

# Columns `held_out_NAME` of every history. A metric is a function of maps float32[N, 1, S, S] in 0..1 and masks alike,
# of zeros and ones, of all held-out photographs at once. The three without a function are always found, and they alone
# where photographs have their own sizes.
METRICS = Registry("metric", Record)
METRICS.add(
    Record(name="loss", summary="of the training, all terms and outputs"),
    Record(
        name="maxF", summary="F (beta squared 0.3) of mean precision and recall, best of 256 thresholds, maps stretched"
    ),
    Record(name="MAE_raw", summary="mean absolute error of maps as they are, not stretched"),
)

DIVERGED_SCORES = {"loss": math.inf, "maxF": 0.0, "MAE_raw": 1.0}  # scores like any others, the worst


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The photographs that a training is judged by, and the loss that it is judged by; chunk: images at a time."""

    samples: Samples
    loss: LossConfig
    chunk: int

    @torch.no_grad()
    def score(self, forward: Callable[[Tensor], Sequence[Tensor]]) -> dict[str, float]:
        """The value of each of `METRICS`; of a network that diverged `DIVERGED_SCORES`, and NaN for those of plugins.

        forward: normalised images float[N, 3, H, W] -> logits, the first at full size; put it in eval mode before.
        """
        more = {name: METRICS[name].load() for name in METRICS if METRICS[name].source}
        photos, rows, device = self.samples.photos, self.samples.rows, self.samples.device
        total = torch.zeros((), dtype=torch.float64, device=device)
        parts: list[tuple[Tensor, Tensor]] = []
        for part in photos.alike(rows, self.chunk):
            x, masks = self.samples.inputs(part)
            outputs = forward(x)
            total += multi_output_loss(outputs, target(masks), self.loss).double() * len(part)
            parts.append((outputs[0].sigmoid(), masks))
        loss = float(total) / len(rows)
        if not math.isfinite(loss):
            return DIVERGED_SCORES | dict.fromkeys(more, math.nan)
        if isinstance(photos, NativeSet):
            scores = fast_scores_of(parts)
        else:
            maps, masks = map(torch.cat, zip(*parts, strict=True))
            scores = fast_scores(maps, masks)
        given = {"loss": loss, "maxF": scores.maxF, "MAE_raw": scores.MAE_raw}
        return given | {name: float(metric(maps.float(), target(masks))) for name, metric in more.items()}
