"""Black-box search: Optuna studies over the choices of an open genotype."""

from nas.trials.config import TrialsConfig
from nas.trials.front import draw_front, export_front, pareto_front
from nas.trials.records import Trial, Trials, write_trials
from nas.trials.study import Report, Score, check_trials, run_trials

__all__ = [
    "Report",
    "Score",
    "Trial",
    "Trials",
    "TrialsConfig",
    "check_trials",
    "draw_front",
    "export_front",
    "pareto_front",
    "run_trials",
    "write_trials",
]
