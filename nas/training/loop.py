"""The one training loop. A step is what the host decides, and `Trainer.update`, which reads no tensor's value.

The order of the calls, for a trainer with a task, changes and listeners:

    listener.begin
        task.prepare, change.prepare, task.draw                           the host: numbers, batches, what is computed
        Trainer.update: task.make, change.before, task.loss, backward,    the device: fixed shapes, nothing read back,
            clipping, change.gradients, optimiser, change.after           so that one graph holds it (`capture`)
        listener.step
        evaluate, listener.row, checkpoint                                every so many steps: losses are read here
    listener.end
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler

from genotypes import UserError
from genotypes.files import quoted
from nas.network import Network, norms_counted_at_once
from nas.run import Interrupted, Interrupts, RunFolder, explain_out_of_memory
from nas.run.distributed import agreed, from_first, is_first, over_processes, share
from nas.run.graphs import capturable
from nas.task import Batch, Batches, LossConfig, multi_output_loss
from nas.training.capture import Capture, CaptureMode
from nas.training.compiled import Compiled, CompileMode
from nas.training.optim import OptimConfig, load_optimizer, make_optimizer, set_progress
from nas.training.precision import run_in

__all__ = [
    "Change",
    "Diverged",
    "Listener",
    "LoopOptions",
    "Number",
    "Supervised",
    "SupervisedNative",
    "Task",
    "Totals",
    "Trainer",
    "fit",
]


# The least number of fp16 that has all its digits. From torch's 2^16 the scale takes 31 steps left out to fall below.
_LEAST_SCALE = 2.0**-14


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How a command's loop runs: a base of its configuration.

    Attributes:
        capture: whether a step is recorded once and replayed; auto: on a GPU, and what cannot be is named.
        compile: whether steps are compiled code, faster after minutes; auto: if there are steps enough for it to pay,
            and a C++ compiler. In a search: strategies that compute all candidates (darts, darts_2nd, pc_darts, drnas).
        minutes: after so many the run saves itself and stops, to go on with --resume, for as many again unless told
            otherwise; 0: no limit. What follows the last step, but a search's trials, is not cut short.
    """

    capture: CaptureMode = "auto"
    compile: CompileMode = "off"
    minutes: float | None = None


class Task(ABC):
    """What a step learns from: a network, what it is shown, a loss. The loop looks into none of them."""

    net: Network
    precision: str = "fp32"  # with fp16 the trainer scales the loss
    generators: Sequence[torch.Generator] = ()  # a step draws from these and the device's own; `prepare` seeds them
    unlike = ""  # why the shapes of steps differ, if they do: then none is captured

    def prepare(self, step: int) -> bool:
        """Change the network before step `step`; True if it has other parameters now."""
        return False

    @abstractmethod
    def draw(self, step: int) -> Any:
        """What step `step` is given, on the device: a function of (seed, step) that is the host's to find."""

    def fixed(self, drawn: Any) -> Hashable | None:
        """A key for what a step computes, beside the shapes and plain values in `drawn`; None: like no other step.

        Steps with equal keys are captured in one graph, in which no Python runs: see `nas.training.capture`.
        """
        return ()

    @abstractmethod
    def make(self, drawn: Any) -> Any:
        """The batch, from what was drawn. Reads no value."""

    def parts(self, batch: Any) -> Sequence[Any]:
        """The batch in parts of one size, whose gradients are averaged: each is a pass of its own."""
        return [batch]

    @abstractmethod
    def loss(self, batch: Any) -> Tensor:
        """The scalar loss that the weights are trained on. Reads no value."""


class Supervised(Task):
    """A network's outputs against the masks. passes: equal parts of a batch, one after the other."""

    def __init__(
        self, net: Network, batches: Batches, loss: LossConfig, precision: str = "fp32", passes: int = 1
    ) -> None:
        self.net, self.batches, self.cfg, self.precision, self.passes = net, batches, loss, precision, passes

    def draw(self, step: int) -> Batch:
        return share(self.batches.draw(step))

    def make(self, drawn: Batch) -> tuple[Tensor, Tensor]:
        return self.batches.make(drawn)

    def parts(self, batch: tuple[Tensor, Tensor]) -> Sequence[tuple[Tensor, Tensor]]:
        return [batch] if self.passes == 1 else list(zip(*(part.chunk(self.passes) for part in batch), strict=True))

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        x, y = batch

        def loss(_: None, params: dict[str, Tensor]) -> Tensor:
            return multi_output_loss(run_in(self.precision, self.net, params, x), y, self.cfg)

        return over_processes(loss)(None, dict(self.net.named_parameters()))


class SupervisedNative(Supervised):
    """The same where each photograph has its own size: every one is a pass, its gradient a share of the mean."""

    unlike = "each photograph has a size of its own"

    def draw(self, step: int) -> Any:
        return self.batches.draw_each(step)

    def make(self, drawn: Any) -> Any:
        return [self.batches.make(batch) for batch in drawn]

    def parts(self, batch: Any) -> Sequence[tuple[Tensor, Tensor]]:
        return batch


class Change:
    """What takes part in a step, beside the loss and the optimiser: a strategy, a moving average, a decay.

    Something that only watches is a `Listener`. name: of its state in the checkpoint; terms: the losses that it sums.
    All but `prepare` may be captured in a graph: no Python runs in the steps after. So its tensors are changed in
    place, and a number that differs from step to step is a `Number` that `prepare` sets.
    """

    name = ""
    terms: tuple[str, ...] = ()

    def prepare(self, trainer: "Trainer") -> None:
        """Before the step, the host's part."""

    def before(self, trainer: "Trainer", batch: Any) -> None:
        """With the batch, before the weights' loss."""

    def gradients(self, trainer: "Trainer") -> None:
        """When the gradients are there and clipped, before the optimiser uses them."""

    def after(self, trainer: "Trainer") -> None:
        """When the weights have moved."""

    def state_dict(self) -> Any:
        """All that it must find again when resumed: tensors and plain values."""
        return None

    def load_state_dict(self, state: Any) -> None:
        """Continue from `state_dict()`."""


class Listener:
    """Is told of a training's steps and rows, in the order that the file's docstring gives; it changes neither.

    A row of the history holds `step`, and a number for each column.
    """

    def begin(self, trainer: "Trainer") -> None:
        """Before the first step, also of a resumed training: `trainer.step` are done already."""

    def step(self, trainer: "Trainer") -> None:
        """After each step; whoever reads a tensor here makes the device wait."""

    def row(self, trainer: "Trainer", row: Mapping[str, Any]) -> None:
        """After each evaluation, before the checkpoint."""

    def end(self, trainer: "Trainer") -> None:
        """After the last step, and when the training is interrupted or fails."""


class Number:
    """A number that differs from step to step: a float on the CPU; on a GPU a tensor, since a graph keeps a float."""

    def __init__(self, device: torch.device) -> None:
        self.value: float | Tensor = torch.zeros((), device=device) if capturable(device) else 0.0

    def set(self, value: float) -> None:
        if isinstance(self.value, Tensor):
            self.value.fill_(value)
        else:
            self.value = value


class Diverged(UserError):
    """A loss that is not finite, or gradients that are not for long."""


class Totals:
    """Sums of losses, and the first step that diverged; on the device until somebody asks.

    Sums are float64, so that they are those of Python's floats.
    """

    def __init__(self, device: torch.device, names: Sequence[str]) -> None:
        self._sums = {name: torch.zeros((), dtype=torch.float64, device=device) for name in names}
        self._counts = {name: torch.zeros((), dtype=torch.int64, device=device) for name in names}
        self._step = torch.zeros((), dtype=torch.int64, device=device)
        self._bad_step = torch.full((), -1, dtype=torch.int64, device=device)
        self._bad_loss = torch.zeros((), device=device)

    def begin(self, step: int) -> None:
        self._step.fill_(step)

    def add(self, name: str, value: Tensor | float) -> None:
        self._sums[name].add_(value.detach() if isinstance(value, Tensor) else value)
        self._counts[name].add_(1)

    def watch(self, loss: Tensor, scale: Tensor) -> None:
        """Note the step if it is the first whose loss is not finite, or which needs so small a scale."""
        loss = loss.detach()
        bad = (~loss.isfinite() | (scale < _LEAST_SCALE)) & (self._bad_step < 0)
        self._bad_step.copy_(torch.where(bad, self._step, self._bad_step))
        self._bad_loss.copy_(torch.where(bad, loss, self._bad_loss))

    def check(self, option: str) -> None:
        """Diverged, naming the step and the option to turn down."""
        step = int(self._bad_step)
        if step >= 0:
            loss = float(self._bad_loss)
            what = "the gradients overflow at any scale" if math.isfinite(loss) else f"the loss is {loss}"
            raise Diverged(f"step {step}: {what}; try a smaller {option}")

    def means(self) -> dict[str, float]:
        """The means since the last call, NaN of nothing; the sums start again."""
        state = self.state_dict()
        means = {name: state[name][0] / state[name][1] if state[name][1] else math.nan for name in state}
        self.load_state_dict(dict.fromkeys(state, (0.0, 0)))
        return means

    def state_dict(self) -> dict[str, tuple[float, int]]:
        return {name: (float(total), int(self._counts[name])) for name, total in self._sums.items()}

    def load_state_dict(self, state: dict[str, tuple[float, int]]) -> None:
        for name, (total, count) in state.items():
            self._sums[name].fill_(total)
            self._counts[name].fill_(count)


class Trainer:
    """A task, how its weights are updated, and all that changes meanwhile; saved and restored as one.

    steps: how many there will be. changes: what else takes part in a step. identity: what a checkpoint must agree with,
    kind -> value, such as the genotype's hash. blame: the option to turn down where the loss is not finite. clock: what
    measures the seconds that steps take. capture: whether steps are replayed from a graph, see `Capture`.
    compile: whether they are compiled code, see `Compiled`.

    Attributes: step, the next one; lr, the rate of the cells, as a step may use it (`Number`); stopped, which ends the
    training early; totals["train"] sums the loss.
    """

    def __init__(
        self,
        task: Task,
        cfg: OptimConfig,
        steps: int,
        *,
        changes: Sequence[Change] = (),
        identity: dict[str, str] | None = None,
        blame: str = "--optim.lr",
        clock: Callable[[], float] = time.perf_counter,
        capture: CaptureMode = "auto",
        compile: CompileMode = "off",
    ) -> None:
        self.task, self.cfg, self.steps, self.changes = task, cfg, steps, changes
        self.identity, self.blame, self.clock = identity or {}, blame, clock
        self.device = next(task.net.parameters()).device
        self.compiled = Compiled(task.net, steps, compile)
        self.capture = Capture(self.device, capture, first=2 if self.compiled.on else 1)
        if task.unlike:
            self.capture.leave(task.unlike)
        self.scaler = GradScaler(self.device.type, enabled=task.precision == "fp16")  # else it hands everything through
        if self.scaler.is_enabled():
            self.blame += ", or precision bf16"
        self.optimizer = self._new_optimizer()
        self.lr = Number(self.device)
        self.totals = Totals(self.device, ["train", *(term for change in changes for term in change.terms)])
        self.step = 0
        self.seconds = 0.0
        self.stopped = False

    @property
    def net(self) -> Network:
        """The task's; a search may change it on the way."""
        return self.task.net

    def advance(self) -> None:
        """One step."""
        if self.task.prepare(self.step):
            self.optimizer = self._new_optimizer()  # what is new starts without momentum
            self.capture.forget()
        self.lr.set(self.cfg.lr * set_progress(self.optimizer, self.cfg, self.step / self.steps))
        self.totals.begin(self.step)
        for change in self.changes:
            change.prepare(self)
        drawn = self.task.draw(self.step)
        with self.compiled(self.net):
            self.capture(self.update, drawn, self.task.fixed(drawn), self.task.generators)
        self.step += 1

    def update(self, drawn: Any) -> None:
        """The step itself: all of its passes and the update, without a look at any value. One graph may hold it."""
        batch = self.task.make(drawn)
        self.net.train()
        for change in self.changes:
            change.before(self, batch)
        self.optimizer.zero_grad(set_to_none=True)
        parts = self.task.parts(batch)
        losses = []
        # Compiled code depends on the count that it finds: in the second part of a batch it would be compiled again.
        apart = self.compiled.on and len(parts) > 1
        with nullcontext() if apart else norms_counted_at_once(self.net):
            for part in parts:
                loss = self.task.loss(part) / len(parts)
                self.scaler.scale(loss).backward()
                losses.append(loss.detach())
        loss = torch.stack(losses).sum()
        self.totals.watch(loss, self.scaler.scale(torch.ones_like(loss)))
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.cfg.clip or math.inf)
        for change in self.changes:
            change.gradients(self)
        self.scaler.step(self.optimizer)  # which leaves the weights alone where a gradient is not finite
        self.scaler.update()
        for change in self.changes:
            change.after(self)
        self.totals.add("train", loss)

    def summary(self) -> str | None:
        """How the steps ran, for the end of a run; None where there is nothing to say."""
        return "; ".join(filter(None, (self.compiled.summary(), self.capture.summary()))) or None

    def _new_optimizer(self) -> torch.optim.Optimizer:
        return make_optimizer(self.net, self.cfg, scaled=self.scaler.is_enabled())

    def check(self, value: float = 0.0) -> None:
        """Diverged if the steps so far have, or if this value is not finite."""
        self.totals.check(self.blame)
        if not math.isfinite(value):
            raise Diverged(f"step {self.step}: the loss is {value}; try a smaller {self.blame}")

    def resume(self, run: RunFolder) -> None:
        """Before the first step, continue from the run's checkpoint, if it has one; UserError if it is another's."""
        # To the CPU: the optimisers keep their step counts there, and move the rest.
        state = from_first(run.load())
        first = from_first(self.identity)
        if first != self.identity:
            raise UserError(f"the processes do not train the same: {self.identity} here, {first} in the first one")
        known = self.identity if state is None else state.get("identity", {})
        for what in {**self.identity, **known}:
            if (then := known.get(what)) != (now := self.identity.get(what)):
                raise UserError(f"{run.path}: its checkpoint belongs to another {what}: {then} then, {now} now")
        run.keep_config()
        if state is None:
            return
        before = self.net
        for change in self.changes:
            change.load_state_dict(state["changes"].get(change.name))
        if self.net is not before:
            self.optimizer = self._new_optimizer()
        self.net.load_state_dict(state["net"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.totals.load_state_dict(state["totals"])
        self.compiled.resume(state["compiled"])
        self.step, self.seconds, self.stopped = state["step"], state["seconds"], state["stopped"]

    def state_dict(self) -> dict[str, Any]:
        return {
            "identity": self.identity,
            "step": self.step,
            "stopped": self.stopped,
            "seconds": self.seconds,
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "totals": self.totals.state_dict(),
            "compiled": self.compiled.on,
            "changes": {change.name: change.state_dict() for change in self.changes if change.name},
        }


def fit(
    trainer: Trainer,
    evaluate: Callable[[], dict[str, Any]],
    *,
    at: Callable[[int], bool],
    listeners: Sequence[Listener] = (),
    run: RunFolder | None = None,
) -> None:
    """Train to the end, or until `trainer.stopped`.

    evaluate: makes a row of the history, after each step for which `at(steps done)` holds and after the last. run: its
    folder, where the training is saved with each row and when it is asked to stop (then it raises Interrupted);
    None: nothing is saved, and signals are the caller's. Raises Diverged where a loss was not finite.
    """
    listeners = listeners if is_first() else ()
    with run.interrupts if run is not None else Interrupts(on=False) as interrupts:
        for listener in listeners:
            listener.begin(trainer)
        try:
            while trainer.step < trainer.steps and not trainer.stopped:
                began = trainer.clock()
                with explain_out_of_memory(f"step {trainer.step}"):
                    trainer.advance()
                signum = agreed(interrupts.signum)
                due = at(trainer.step) or trainer.step == trainer.steps
                if due or signum:
                    trainer.check()  # waits for the device: what it still has to do belongs to these seconds
                trainer.seconds += trainer.clock() - began
                for listener in listeners:
                    listener.step(trainer)
                if due and is_first():
                    with explain_out_of_memory("scoring"):
                        row = evaluate()
                    for listener in listeners:
                        listener.row(trainer, row)
                    if run is not None:
                        run.save(trainer.state_dict())
                if due:
                    trainer.stopped = from_first(trainer.stopped)
                if run is not None and signum and trainer.step < trainer.steps:
                    if not due and is_first():
                        run.save(trainer.state_dict())
                    message = f"saved at step {trainer.step}; continue: --out {quoted(run.path)} --resume"
                    raise Interrupted(signum, message)
        finally:
            for listener in listeners:
                listener.end(trainer)
