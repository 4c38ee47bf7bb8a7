"""Black-box search: Optuna studies over the choices of an open genotype."""

from typing import TYPE_CHECKING

from nas.lazy import loaded_when_asked
from nas.trials.config import TrialsConfig

if TYPE_CHECKING:
    from nas.trials.records import Trial, Trials, draw_front, export_front, pareto_front, write_trials
    from nas.trials.samplers import choices_key
    from nas.trials.storage import anchor_storage
    from nas.trials.study import Report, Score, check_trials, comparable, run_trials

__all__ = [
    "Report",
    "Score",
    "Trial",
    "Trials",
    "TrialsConfig",
    "anchor_storage",
    "check_trials",
    "comparable",
    "draw_front",
    "export_front",
    "pareto_front",
    "run_trials",
    "choices_key",
    "write_trials",
]

__getattr__ = loaded_when_asked(  # with Optuna
    __name__,
    {
        "records": "Trial Trials draw_front export_front pareto_front write_trials",
        "samplers": "choices_key",
        "storage": "anchor_storage",
        "study": "Report Score check_trials comparable run_trials",
    },
)
