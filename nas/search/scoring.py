"""How a genotype is scored before anything is retrained: with the supernet's weights, or by a short training."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from nas.cost.latency import machine_name
from nas.network import Mixture, Network, build, norm_statistics_restored, reestimate_norms, to_device
from nas.network.weights import backbone_content
from nas.run import seeded
from nas.search.config import SearchConfig
from nas.search.objective import timed_on
from nas.search.setup import SearchSetup
from nas.training import DIVERGED_SCORES, Diverged, Supervised, Trainer, fit
from nas.trials import Report, comparable

__all__ = [
    "NORM_BATCHES",
    "score_genotype",
    "score_mixture",
    "score_path",
    "train_briefly",
    "what_is_scored",
    "what_is_seen",
]

NORM_BATCHES = 20  # batches that re-estimate the norms of a path or a member before it is judged
_REPORTS = 4  # intermediate values of a short training, for pruners


def score_genotype(net: Network, choices: Mapping[str, str], setup: SearchSetup) -> dict[str, float]:
    """Held-out scores of a derived genotype with the supernet's weights: as `inherit` would give, without a copy."""
    return score_path(net, net.path(choices), setup)


def score_path(
    net: Network, mixture: Mixture, setup: SearchSetup, batches: Iterable[Tensor] | None = None
) -> dict[str, float]:
    """Scores of some of the supernet's candidates, with norm statistics estimated for them alone, then put back.

    The supernet's own are those of a mixture, or of whatever paths came by (Guo et al., ECCV 2020, section 3.4).
    batches: to estimate them on, float[B, 3, H, W] each; by default `NORM_BATCHES` of the weights' half.
    """
    if batches is None:
        batches = (setup.weights(step)[0] for step in range(NORM_BATCHES))
    with norm_statistics_restored(net):
        reestimate_norms(net, batches, mixture)
        return score_mixture(net, mixture, setup)


def score_mixture(net: Network, mixture: Mixture | None, setup: SearchSetup) -> dict[str, float]:
    """Scores of a network as it is; mixture: of a supernet."""
    net.eval()
    return setup.held_out.score(lambda x: net(x, mixture))


def train_briefly(
    cfg: SearchConfig, setup: SearchSetup, choices: Mapping[str, str], report: Report
) -> dict[str, float]:
    """Held-out scores of a genotype's own network after `score_steps` steps on the weights' photographs."""
    with seeded(cfg.seed):
        net = to_device(build(setup.space.decide(choices), cfg.backbone_weights), setup.device)
    task = Supervised(net, setup.weights, cfg.loss, cfg.precision)
    trainer = Trainer(task, cfg.optim, cfg.score_steps, capture=cfg.capture)
    scores: dict[str, float] = {}

    def evaluate() -> dict[str, float]:
        scores.update(score_mixture(net, None, setup))
        report(trainer.step, scores["loss"])
        return scores

    try:
        fit(
            trainer,
            evaluate,
            at=lambda step: step * _REPORTS // cfg.score_steps > (step - 1) * _REPORTS // cfg.score_steps,
        )
    except Diverged:
        return dict(DIVERGED_SCORES)
    return scores


# See `comparable`.
_LEFT_OUT = (
    *("budget", "cache", "capture", "compile", "cost_weight", "data", "device", "guard", "limit", "minutes", "out"),
    *("rivals", "runtime", "trials", "worth_seconds"),
)
_FILES = ("backbone_weights", "start_from", "teacher")


def what_is_scored(cfg: SearchConfig, setup: SearchSetup) -> dict[str, Any]:
    """What distinguishes these scores from others of the same space: workers with equal ones share a study."""
    found: dict[str, Any] = {"search": comparable(cfg, _LEFT_OUT, _FILES)}
    found["photographs"] = [setup.photos.name, len(setup.photos)]
    # A space's file may be edited where it leaves nothing open: its widths, say.
    found["spaces"] = [[space.hash, *space.input.size] for space in (setup.space, setup.export)]
    if setup.objective and setup.objective.table.kind == "latency":
        found["latencies"] = setup.objective.to_json()  # milliseconds of two machines must not meet in one study
    if cfg.cost == "latency" and cfg.whole_networks:
        device, threads = timed_on(setup.device, cfg.runtime)
        found["latencies"] = [machine_name(device), cfg.runtime, threads]
    return found


def what_is_seen(cfg: SearchConfig, setup: SearchSetup) -> dict[str, str]:
    """The contents of what has a name alone in `what_is_scored`: workers of one study must have the same."""
    seen = {"set of photographs": cfg.identity_of(setup.photos)}
    return seen | backbone_content(setup.space, cfg.backbone_weights)
