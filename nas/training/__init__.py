"""One way to train: a step, the loop around it, what watches it. Searches and trainings are short uses of it."""

from nas.training.average import MovingAverage
from nas.training.capture import Capture, CaptureMode, check_capture
from nas.training.compiled import Compiled, CompileMode, check_compile
from nas.training.evaluation import DIVERGED_SCORES, METRICS, HeldOut
from nas.training.listeners import LISTENERS, Events, History, Progress, registered_listeners
from nas.training.loop import (
    Change,
    Diverged,
    Listener,
    LoopOptions,
    Number,
    Supervised,
    SupervisedNative,
    Task,
    Totals,
    Trainer,
    fit,
)
from nas.training.optim import (
    OptimConfig,
    OptimGroup,
    check_groups,
    check_patterns,
    make_optimizer,
    schedule,
    set_progress,
)
from nas.training.precision import fastest_precision, run_in

__all__ = [
    "DIVERGED_SCORES",
    "LISTENERS",
    "METRICS",
    "Capture",
    "CaptureMode",
    "Change",
    "CompileMode",
    "Compiled",
    "Diverged",
    "Events",
    "HeldOut",
    "History",
    "Listener",
    "LoopOptions",
    "MovingAverage",
    "Number",
    "OptimConfig",
    "OptimGroup",
    "Progress",
    "Supervised",
    "SupervisedNative",
    "Task",
    "Totals",
    "Trainer",
    "check_capture",
    "check_compile",
    "check_groups",
    "check_patterns",
    "fastest_precision",
    "fit",
    "make_optimizer",
    "registered_listeners",
    "run_in",
    "schedule",
    "set_progress",
]
