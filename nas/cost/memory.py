"""Peak memory of one prediction on the CPU: the high-water mark of a process that does nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import genotypes
from genotypes import Genotype, UserError

__all__ = ["cpu_peak_memory"]


def cpu_peak_memory(genotype: Genotype, size: tuple[int, int], threads: int) -> int | None:
    """Bytes of resident memory that weights and one forward pass add to Python and torch; None without /proc.

    A process of its own, since this one holds memory of what it did before, which a forward pass would reuse unseen;
    it runs the plugins that this one has run. Raises UserError where it fails, for instance for want of memory.
    """
    if not Path("/proc/self/status").is_file():
        return None
    plugins = [module.__file__ for name, module in sys.modules.items() if name.startswith("_plugin_")]
    options = [word for file in plugins for word in ("--plugin", file)]
    done = subprocess.run(
        [sys.executable, "-m", "nas.cost._memory_process", *map(str, (*size, threads)), *options],
        input=genotypes.dumps(genotype),
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["it was killed, as happens when memory runs out"])[-1]
        if "allocate memory" in reason:
            reason = "there is not enough of it here"
        raise UserError(f"{genotype.name} at {size[0]} x {size[1]}: memory could not be measured: {reason}")
    return int(done.stdout)
