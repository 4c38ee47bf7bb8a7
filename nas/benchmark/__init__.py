"""An exhaustive table: every network of a small space, trained with several seeds. Searches are judged against it."""

from typing import TYPE_CHECKING

from nas.lazy import loaded_when_asked

if TYPE_CHECKING:
    from nas.benchmark.analysis import RegretCurve, kendall_tau, rank_agreement, regret_curve
    from nas.benchmark.planted import planted_photographs, planted_set, planted_supernet, teacher, teacher_choices
    from nas.benchmark.table import Benchmark, TableEntry, load, members, space
    from nas.benchmark.training import LearningCurve, TableProtocol, TableTrainer, photographs

__all__ = [
    "load",
    "Benchmark",
    "TableEntry",
    "space",
    "members",
    "kendall_tau",
    "rank_agreement",
    "regret_curve",
    "RegretCurve",
    "TableProtocol",
    "TableTrainer",
    "LearningCurve",
    "photographs",
    "planted_set",
    "planted_photographs",
    "planted_supernet",
    "teacher",
    "teacher_choices",
]

__getattr__ = loaded_when_asked(  # torch, which a page does without
    __name__,
    {
        "analysis": "RegretCurve kendall_tau rank_agreement regret_curve",
        "planted": "planted_photographs planted_set planted_supernet teacher teacher_choices",
        "table": "Benchmark TableEntry load members space",
        "training": "LearningCurve TableProtocol TableTrainer photographs",
    },
)
