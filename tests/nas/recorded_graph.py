"""A graph for the CPU: records each operator that a call asks for, and replays them on the same memory, without Python.

It keeps what a CUDA graph keeps: numbers of the host, addresses, which operators ran. So a test on the CPU sees what
would freeze on a GPU.
"""

from contextlib import nullcontext

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_MAKES = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided")  # memory, and nothing in it
_NORM = torch.ops.aten.native_batch_norm.default  # its schema does not say that it writes running statistics


def tensors(result):
    return [leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]


class RecordedGraph:
    def __init__(self, device, pool):
        self.calls, self.pool = [], pool

    @staticmethod
    def new_pool():
        return object()

    @staticmethod
    def beside(device):
        return nullcontext()

    def record(self, work, generators):
        before = [generator.get_state() for generator in (torch.default_generator, *generators)]
        recorder = _Recorder(self.calls)
        try:
            with recorder:
                work()
        finally:  # a graph only notes what is to be done
            for generator, state in zip((torch.default_generator, *generators), before, strict=True):
                generator.set_state(state)
            with torch.no_grad():
                for tensor, value in recorder.saved.values():
                    tensor.copy_(value)

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, made in self.calls:
            result = func(*args, **kwargs)
            for old, new in zip(made, tensors(result) if made else (), strict=True):
                old.copy_(new)

    def release(self):
        self.calls.clear()


class _Recorder(TorchDispatchMode):
    def __init__(self, calls):
        super().__init__()
        self.calls = calls
        self.own = {}  # storages made while recording; kept, so that no address is used twice
        self.saved = {}  # storage -> (a tensor of it, its value) before it was written to

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError(f"{func} reads a value while a graph is recorded")
        written = [
            tensor
            for argument, value in zip(func._schema.arguments, args, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
            for tensor in tree_leaves(value)
        ]
        written += [value for value in args[3:5] if value is not None] if func is _NORM else []
        for tensor in written:
            storage = tensor.untyped_storage().data_ptr()
            if storage not in self.own and storage not in self.saved:
                whole = torch.as_strided(
                    tensor.detach(), (tensor.untyped_storage().size() // tensor.element_size(),), (1,), 0
                )
                self.saved[storage] = whole, whole.clone()
        result = func(*args, **kwargs)
        made = tensors(result)
        aliases = any(returned.alias_info is not None for returned in func._schema.returns)
        if aliases and not written:
            return result  # a view
        if not aliases:
            self.own |= {leaf.untyped_storage().data_ptr(): leaf.untyped_storage() for leaf in made}
        if func._schema.name.split("::")[1] not in _MAKES:
            self.calls.append((func, args, kwargs, [] if aliases else [leaf.detach() for leaf in made]))
        return result
