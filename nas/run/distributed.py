"""One training in several processes, started by torchrun: what each of them computes, and what they tell each other.

Every process holds the whole network and the same state. A step's batch is a function of (seed, step): each takes its
rows of it. What is computed on them equals one process's computation up to the order of sums:

- `over_processes` makes of a loss of some rows the loss of the batch. Parameters enter by a function that is the
  identity forward and sums gradients backward (one all-reduce a pass), the loss leaves by one that averages forward:
  so gradients in weights and architecture, also those of virtual steps, are the batch's without a word in a strategy.
- A BatchNorm inside takes its statistics from all rows, forward and backward (as torch's SyncBatchNorm, Peng et al.,
  MegDet, CVPR 2018, which needs a GPU).
- A loss that is no mean over images sees all rows (`gathered`).

The first process (rank 0) alone evaluates, writes and prints; the others end with the training. Without torchrun there
is one process, and everything here is the identity.
"""

import os
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from genotypes import UserError
from nas.run.device import with_tensors
from nas.run.progress import quiet

__all__ = [
    "agreed",
    "averaged",
    "check_split",
    "from_first",
    "gathered",
    "go_on_alone",
    "is_first",
    "joined",
    "over_processes",
    "processes",
    "scratch_folder",
    "share",
]

T = TypeVar("T")
_PATIENCE = timedelta(hours=2)  # for the first one's evaluations; a process that dies is noticed at once
_CPU = torch.device("cpu")


# ---------------------------------------------------------------------------------------------------- the group


@contextmanager
def joined() -> Iterator[None]:
    """The group that torchrun started, inside. One process speaks: what the others would print is dropped.

    A mistake, or the loss of a process, is told once, and ends all.
    """
    signal.signal(signal.SIGTERM, _end_soon)
    store, rank, world = next(iter(dist.rendezvous("env://")))
    gpu = torch.cuda.is_available() and _local_rank() < torch.cuda.device_count()
    if gpu:
        torch.cuda.set_device(_local_rank())  # what `cuda` means from now on
    backend = "cpu:gloo,cuda:nccl" if gpu else "gloo"  # what the host decides is agreed upon without the GPU
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    with ExitStack() as stack:
        if rank:
            stack.enter_context(quiet())
            stack.enter_context(redirect_stdout(stack.enter_context(open(os.devnull, "w", encoding="utf-8"))))
        stack.callback(_leave)
        try:
            yield
        except KeyboardInterrupt as error:
            if rank == 0:
                raise
            raise SystemExit(getattr(error, "code", 130)) from None
        except UserError:
            if _first_to_tell(store):
                raise
            raise SystemExit(2) from None
        except RuntimeError as error:
            if not _is_lost_process(error):
                raise
            if not _first_to_tell(store):
                raise SystemExit(1) from None
            lost = f"one of the {world} processes has ended, so all end; a run that had begun continues with --resume"
            raise UserError(lost) from None


def processes() -> int:
    """How many there are; 1 without `joined`, and after `go_on_alone`."""
    return dist.get_world_size() if _is_joined() else 1


def is_first() -> bool:
    """Whether this one evaluates, writes and prints."""
    return processes() == 1 or dist.get_rank() == 0


def go_on_alone() -> None:
    """What follows a training is the first process's: the others end here, with exit code 0."""
    others = not is_first()
    _leave()
    if others:
        raise SystemExit(0)


def check_split(batch_size: int, device: torch.device) -> None:
    """UserError for a batch that gives no equal parts, and for a device that is not each process's own."""
    count = processes()
    if count == 1:
        return
    if batch_size % count:
        raise UserError(f"batch_size {batch_size} cannot be split among {count} processes: give a multiple of {count}")
    if device.type == "cuda" and (device.index is not None or _local_rank() >= torch.cuda.device_count()):
        raise UserError(
            f"device {str(device)!r}, {count} processes: each takes a GPU of its own; give --device cuda, and "
            f"--nproc-per-node {torch.cuda.device_count()} at most on this machine"
        )


def scratch_folder() -> Path:
    """An empty folder for what a process other than the first would write; it goes when the process ends."""
    global _scratch
    _scratch = _scratch or tempfile.TemporaryDirectory(prefix="sod-nas-")
    return Path(tempfile.mkdtemp(dir=_scratch.name))


_scratch: "tempfile.TemporaryDirectory[str] | None" = None


def _local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", "0"))


def _is_joined() -> bool:
    return dist.is_available() and dist.is_initialized()  # a torch built without the former has no latter


def _leave() -> None:
    if _is_joined():
        dist.destroy_process_group()


def _end_soon(signum: int, frame: FrameType | None) -> None:
    """torchrun ends the others as soon as one has died: they have a second to tell what the loss means."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    timer = threading.Timer(1, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()


def _first_to_tell(store: "dist.Store") -> bool:
    """Whether nothing was told yet: True for one process only."""
    try:
        return store.add("told", 1) == 1
    except RuntimeError:  # the store is gone, and whoever kept it with it
        return False


def _is_lost_process(error: RuntimeError) -> bool:
    """Whether the error says that another process no longer answers."""
    words = ("gloo", "Connection closed by peer", "Connection reset by peer", "NCCL", "Broken pipe")
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)


# ---------------------------------------------------------------------------------------------------- the host's part


def from_first(value: T) -> T:
    """The first process's value of it, in all of them."""
    if processes() == 1:
        return value
    values = [value if is_first() else None]
    dist.broadcast_object_list(values, src=0, device=_CPU)
    return cast(T, values[0])


def agreed(number: int | None) -> int | None:
    """The largest of the processes' numbers (0 or more), or None: all end at the step at which one was asked to."""
    if processes() == 1:
        return number
    largest = torch.tensor(-1 if number is None else number)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return None if int(largest) < 0 else int(largest)


def share(batch: T) -> T:
    """This process's rows of a batch: of every tensor [B, ...] in a tuple of tuples; B a multiple of the processes."""
    count = processes()
    return batch if count == 1 else cast(T, with_tensors(batch, lambda part: part.chunk(count)[dist.get_rank()]))


# ---------------------------------------------------------------------------------------------------- the device's part

_split = False  # inside a loss that sees some rows of a batch


def over_processes(loss: Callable[[Any, dict[str, Tensor]], Tensor]) -> Callable[[Any, dict[str, Tensor]], Tensor]:
    """Of the loss of this process's rows the loss of the batch, to the same bits in every process.

    loss: of (mixture or None, parameters by name); every process calls it with the same values, and differentiates it
    in the same ones. Its value and gradients are the batch's. It cannot be differentiated twice.
    """
    if processes() == 1:
        return loss

    def whole(mixture: Any, params: dict[str, Tensor]) -> Tensor:
        learnt = [name for name, value in params.items() if value.requires_grad]
        entering = [params[name] for name in learnt]
        if moves := mixture is not None and mixture.weights.requires_grad:
            entering.append(mixture.weights)
        entered = list(_Enter.apply(*entering)) if entering else []
        if moves:
            mixture = mixture._replace(weights=entered.pop())
        params = params | dict(zip(learnt, entered, strict=True))
        with _splitting(), _SynchronisedNorms():
            part = loss(mixture, params)
        return cast(Tensor, _Average.apply(part))

    return whole


def gathered(outputs: Sequence[Tensor], masks: Tensor) -> tuple[Sequence[Tensor], Tensor]:
    """All rows of the batch, in its order, inside `over_processes`; elsewhere what was given.

    outputs, masks: [B / processes, 1, H, W] each, all of one size. What is computed of them must be the same in every
    process, and must be all of the loss.
    """
    if not _split:
        return outputs, masks
    precise = [_precise(output) for output in outputs]
    whole = cast(Tensor, _Gather.apply(torch.stack([*precise, masks.to(precise[0])], dim=1)))
    *maps, target = whole.unbind(1)
    return maps, target


def averaged(value: Tensor) -> Tensor:
    """The mean over the processes; no gradient."""
    if processes() == 1:
        return value
    mean = value.detach() / processes()
    dist.all_reduce(mean)
    return mean


@contextmanager
def _splitting() -> Iterator[None]:
    global _split
    before, _split = _split, True
    try:
        yield
    finally:
        _split = before


class _Enter(Function):
    """Identity; backward, the sum over the processes, of all tensors at once."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        # Not `view_as`, which counts strides anew where a size is 1: torch cannot convolve a single picture with that.
        return tuple(tensor.as_strided(tensor.shape, tensor.stride()) for tensor in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        found = [g for g in gradients if g is not None]
        if not found:
            return gradients
        flat = torch.cat([g.reshape(-1) for g in found])
        dist.all_reduce(flat)
        parts = iter(flat.split([g.numel() for g in found]))
        return tuple(None if g is None else next(parts).view(g.shape) for g in gradients)


class _Average(Function):
    """The mean over the processes; backward, this one's part of it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return averaged(part)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient / processes()


class _Gather(Function):
    """[B / processes, ...] -> [B, ...]. Backward assumes that every process computes the same with it."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        return torch.cat(_all(part))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return share(gradient) * processes()


def _precise(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _all(part: Tensor) -> list[Tensor]:
    """The processes' tensors, by rank."""
    parts = [torch.empty_like(part, memory_format=torch.contiguous_format) for _ in range(processes())]
    dist.all_gather(parts, part.contiguous())
    return parts


class _SynchronisedNorms(TorchFunctionMode):
    """Inside, `F.batch_norm` in training mode takes its statistics from the rows of all processes."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs or {})
        return func(*args, **kwargs or {})


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """`F.batch_norm` of all processes' rows."""
    if not training:
        return F.batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    with torch.no_grad():
        # Of these rows, with N in the denominator; `var_mean` takes up to forty times as long on a CPU.
        mean, var = torch.batch_norm_update_stats(_precise(x.detach()), None, None, 0.0)
        means, variances = torch.stack(_all(torch.stack([mean, var]))).unbind(1)
        mean = means.mean(0)
        var = variances.mean(0) + (means - mean).square().mean(0)  # rows are equal in number
        if running_mean is not None and running_var is not None:
            count = x.numel() // x.shape[1] * processes()
            running_mean.lerp_(mean.to(running_mean), momentum)
            running_var.lerp_(var.to(running_var) * (count / (count - 1)), momentum)
    return cast(Tensor, _Normalise.apply(x, weight, bias, mean, var, eps))


class _Normalise(Function):
    """(x - mean) / sqrt(var + eps) * weight + bias, where mean and var are those of all processes' rows."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight, mean, var)
        ctx.eps, ctx.has_bias = eps, bias is not None
        return F.batch_norm(x, mean, var, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        # The sums over these rows alone; what this operator would make of x belongs to one process.
        _, by_scale, by_bias = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, mean, var, None, None, False, ctx.eps, [False, True, True]
        )
        sums = _precise(torch.stack([by_scale, by_bias])) / (x.numel() // x.shape[1] * processes())
        dist.all_reduce(sums)
        inverse = (var + ctx.eps).rsqrt()
        factor = scale * inverse
        slope = factor * inverse * sums[0]
        offset = factor * sums[1] - slope * mean
        # factor * gradient - slope * x - offset: a norm of x is one pass over memory for the last two.
        through = F.batch_norm(_precise(x), torch.zeros_like(mean), torch.ones_like(var), -slope, -offset, eps=0.0)
        through.addcmul_(_precise(gradient), factor.view(1, -1, *[1] * (x.ndim - 2)))
        return (
            through.to(x.dtype),
            None if weight is None else by_scale,
            by_bias if ctx.has_bias else None,
            None,
            None,
            None,
        )
