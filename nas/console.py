"""`sod-nas COMMAND ...`: every command under one name; `sod-nas train ...` is `python -m retrain.train ...`.

Commands are named here, and loaded when they are called: the help must not wait for torch.
"""

import importlib
import inspect
import math
import os
import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genotypes import UserError
from genotypes.errors import plural
from nas.command import aligned, run_command, started_as
from nas.run_files import Run, done_of, read_run

__all__ = ["COMMANDS", "main"]

# Command -> the module that is run (`python -m MODULE`), and its line in the help.
COMMANDS = {
    "search": ("nas.search", "search a space: what is found is a genotype"),
    "visualize": ("nas.visualize", "draw a genotype, or what differs in two"),
    "report": ("nas.report", "the page of a run: report.html"),
    "gate": ("nas.benchmark.gate", "is there anything to find in a space, before a search is paid for"),
    "cost": ("nas.cost", "parameters, multiply-adds, latency and memory of genotypes"),
    "train": ("retrain.train", "train a genotype"),
    "compare": ("retrain.compare", "train several genotypes alike, and print one table"),
    "tune": ("retrain.tune", "try settings of a recipe in short trainings"),
    "evaluate": ("retrain.evaluate", "score weight files on data sets"),
    "predict": ("retrain.predict", "maps and cut-outs of photographs"),
    "serve": ("retrain.serve", "a page on this machine: drop a photograph, see its map and cut-out"),
    "prune": (
        "retrain.prune",
        "a smaller network out of a trained one: within a budget, or a CSNet less vanished channels",
    ),
    "export": ("retrain.export", "ONNX, OpenVINO, torch.export, int8: files that run without this package"),
    "data": ("retrain.data", "what a set of photographs holds, and what is wrong with it"),
    "authors": ("retrain.authors", "turn the papers' released weights into weight files"),
}
_EXTRAS = ("onnx", "onnxscript", "onnxruntime", "openvino", "starlette", "uvicorn", "pillow-heif", "graphviz")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    name = words.pop(0) if words else "--help"
    if name in ("--help", "-h", "help"):
        return run_command(lambda _: print(_help()), words)
    if name == "--version":
        return run_command(lambda _: print(f"sod-nas {_version('sod-nas')}"), words)
    if name in _HERE:
        here, line = _HERE[name]
        if words in (["--help"], ["-h"]):
            return run_command(lambda _: print(f"sod-nas {name}: {line}\n\n{inspect.getdoc(here)}"), words)
        return run_command(lambda _: here(words), words)
    if name in COMMANDS:
        with started_as({module: f"sod-nas {command}" for command, (module, _) in COMMANDS.items()}):
            return run_command(_module(name).main, words)
    return run_command(lambda _: _unknown(name), words)


def info(argv: Sequence[str]) -> None:
    """What a bug report needs, on standard output."""
    if argv:
        raise UserError(f"sod-nas info takes no options, not {argv[0]!r}")
    import torch

    from nas.run.folder import environment

    facts = environment()
    print(f"sod-nas      {_version('sod-nas')} ({facts['commit'] or 'no git commit'}), {Path(__file__).parents[1]}")
    print(f"python       {facts['python']}, {facts['platform']}")
    cores = plural(os.cpu_count() or 1, "core")
    print(f"processor    {_processor()}, {cores}, {torch.backends.cpu.get_cpu_capability()}")
    print(f"threads      {facts['threads']}, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}")
    print(f"gpu          {facts['gpu'] or 'none'}, mps {torch.backends.mps.is_available()}")
    print("packages     " + ", ".join(f"{name} {found}" for name, found in facts["packages"].items()))
    print("extras       " + ", ".join(f"{name} {_version(name)}" for name in _EXTRAS))


def runs(argv: Sequence[str]) -> None:
    """The runs below a folder, the latest last: `sod-nas runs [DIR]`, by default runs/.

    what: a search's strategy, space and backbone, or what is trained; then the photographs. score: of the held-out
    photographs; of a comparison the best one's.
    """
    if len(argv) > 1 or any(not word or word.startswith("-") for word in argv):
        raise UserError("usage: sod-nas runs [DIR] (default: runs)")
    folder = Path(argv[0] if argv else "runs")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; `sod-nas runs DIR` lists the runs below DIR")
    files = sorted(folder.rglob("config.yaml"), key=lambda path: path.stat().st_mtime)
    rows = [_row(path.parent) for path in files]
    if not rows:
        print(f"no runs below {folder}")
        return
    print(aligned([("run", "kind", "state", "what", "score"), *rows]))


def completion(argv: Sequence[str]) -> None:
    """A script that completes commands, options and files in bash, and in zsh after `bashcompinit`.

    sod-nas completion > ~/.local/share/bash-completion/completions/sod-nas
    """
    if argv:
        raise UserError(f"sod-nas completion takes no options, not {argv[0]!r}; its --help says where the script goes")
    cases = "\n".join(f"    {name}) words='{' '.join(_module(name).COMMAND.words())}' ;;" for name in COMMANDS)
    print(_COMPLETION.format(cases=cases, commands=" ".join((*COMMANDS, *_HERE))))


_COMPLETION = """\
_sod_nas() {{
  local words=
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  [ "$COMP_CWORD" -eq 1 ] && words='{commands}'
  COMPREPLY=($(compgen -W "$words" -- "${{COMP_WORDS[COMP_CWORD]}}"))
  [[ "$COMP_CWORD" -gt 1 && "${{COMP_WORDS[COMP_CWORD]}}" != -* ]] && COMPREPLY=()  # a value: files
}}
complete -o default -F _sod_nas sod-nas"""

_HERE: dict[str, tuple[Callable[[Sequence[str]], None], str]] = {
    "runs": (runs, "the runs below a folder: what each is about, its state and score"),
    "info": (info, "what a bug report needs: versions, machine, extras"),
    "completion": (completion, "a script for the shell: commands and options by the tabulator key"),
}
_RESULTS = {"search": "genotype.yaml", "training": "weights.safetensors", "comparison": "table.md"}
_RESULTS |= {"gate": "gate.json", "tuning": "recipe.yaml", "pruning": "weights.safetensors"}
_SCORES = ("loss", "maxF", "MAE_raw")


def _what(run: Run) -> str:
    """What a run is about, in a few words."""
    if run.kind == "comparison":
        names = [_named(text, labelled=True) for text in map(str, run.config.get("genotypes") or ())]
        subject = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    elif run.kind == "pruning":
        subject = _named(str(run.setting("weights")))
    elif run.kind in ("training", "tuning"):
        subject = _named(str(run.setting("genotype", default="")))
    else:
        strategy = run.setting("strategy.name", "strategy")
        space = Path(str(run.setting("space.name", "space", default=""))).name
        words = (strategy, space, run.setting("space.backbone", "backbone"))
        subject = " ".join(str(word) for word in words if word)
    label, data = _split(str(run.setting("data", default="")))
    return "; ".join(part for part in (subject, label or Path(data).name) if part)


def _split(text: str) -> tuple[str, str]:
    """(label, rest) of LABEL=REST. A / before the = is of a path, as in runs/lr=0.1: files may be gone, names stay."""
    label, equals, rest = text.partition("=")
    return (label, rest) if equals and "/" not in label else ("", text)


def _named(genotype: str, *, labelled: bool = False) -> str:
    """How a genotype or a weight file is called here: its label (in a comparison), its file's name, or its run's."""
    label, file = _split(genotype) if labelled else ("", genotype)
    if label:
        return label
    path = Path(file)
    of_run = path.name in ("genotype.yaml", "weights.safetensors")
    return path.parent.name if of_run else path.name.removesuffix(".yaml")


def _row(folder: Path) -> tuple[str, str, str, str, str]:
    try:
        return str(folder), *_facts(read_run(folder))
    except (UserError, TypeError, ValueError, LookupError, AttributeError) as error:  # files that someone changed
        return str(folder), "?", str(error).splitlines()[0], "", ""


def _facts(run: Run) -> tuple[str, str, str, str]:
    done, wanted = done_of(run) or (0, 0)
    scores = run.json("scores.json") if run.kind == "search" else None
    table = run.json("table.json") if run.kind == "comparison" else None
    best = {name: value["mean"] for name, value in table[0]["scores"]["held_out"].items()} if table else {}
    pruned = run.json("pruning.json") if run.kind == "pruning" else None
    steps = run.setting("recipe.steps", "steps")
    last = run.history[-1] if run.history else {}
    scored = run.kind not in ("search", "training") or (run.path / "scores.json").is_file()  # which they write last
    if done < wanted:
        state = f"{done} of {plural(wanted, 'training' if run.kind == 'comparison' else 'trial')}"
    elif (run.path / _RESULTS[run.kind]).is_file() and scored:
        state = "finished"
        last = (scores or {}).get("found") or last  # a search's history is its supernet's
        last = pruned["after"].get("held_out", {}) if pruned else last
    elif run.history and (run.path / "checkpoint.pt").is_file():
        state = f"at step {last['step']:.0f}" + (f" of {steps}" if steps else "")
    else:
        state = "begun"
    plain = {name.removeprefix("held_out_"): value for name, value in (last | best).items()}
    known = [name for name in _SCORES if isinstance(plain.get(name), float) and not math.isnan(plain[name])]
    return run.kind, state, _what(run), ", ".join(f"{name} {plain[name]:.4f}" for name in known)


def _module(command: str) -> Any:
    """What is run, imported now."""
    module = importlib.import_module(COMMANDS[command][0])
    return importlib.import_module(f"{module.__name__}.__main__") if hasattr(module, "__path__") else module


def _help() -> str:
    lines = {name: text for name, (_, text) in (*COMMANDS.items(), *_HERE.items())}
    width = max(map(len, lines))
    listed = "\n".join(f"  {name:{width}}  {text}" for name, text in lines.items())
    return (
        "usage: sod-nas COMMAND [options]\n\n"
        "Find, retrain and ship networks for salient object detection.\n\n"
        f"{listed}\n\n"
        "`sod-nas COMMAND --help` explains its options; `python -m MODULE` is the same, such as nas.search."
    )


def _unknown(name: str) -> None:
    raise UserError(f"unknown command {name!r}; there are: {', '.join((*COMMANDS, *_HERE))}")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    import torch

    from nas.cost.latency import machine_name

    return machine_name(torch.device("cpu")).split(",")[0] or platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(main())
