"""What lies in the folder of a run, finished or interrupted, as plain data. No torch.

`nas.run.folder` writes these folders; commands that go on with a run, lists of runs and pages read them here.
"""

import json
import math
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import genotypes
from genotypes import Genotype, UserError
from genotypes.files import read_csv
from genotypes.yaml_io import parse_yaml, read_text

__all__ = [
    "KINDS",
    "RANDOM",
    "Run",
    "done_of",
    "environment_of",
    "identity_of",
    "kind_of",
    "lower_is_better",
    "read_json",
    "read_run",
    "read_table",
    "training_command",
    "trainings_of",
]

Row = dict[str, Any]
# Kind of a run -> the setting that no kind after it has.
KINDS = {"comparison": "genotypes", "tuning": "search", "training": "genotype", "gate": "members", "search": "strategy"}
KINDS |= {"pruning": "threshold"}
RANDOM = "random"  # in a comparison: genotypes drawn by chance, random:SEED, which the others are measured against


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run's folder. kind: one of `KINDS`; history: rows of numbers, NaN where nothing was."""

    path: Path
    kind: str
    config: Mapping[str, Any]
    environment: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[Row] = ()

    def setting(self, *names: str, default: Any = None) -> Any:
        """The first of these settings ("a.b" is b in a) that the configuration has."""
        for name in names:
            value: Any = self.config
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
            if value is not None and not isinstance(value, Mapping):
                return value
        return default

    def json(self, name: str) -> Any:
        """The content of a JSON file, None where it is not (yet) there; UserError where it is something else."""
        path = self.path / name
        return read_json(path) if path.is_file() else None

    def json_lines(self, name: str) -> list[Row]:
        """The lines of a file of JSON objects; an unfinished last line, of a run that was killed, is left out."""
        path = self.path / name
        rows = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
        return rows

    def genotype(self, name: str) -> Genotype | None:
        path = self.path / name
        return genotypes.load(path) if path.is_file() else None


def read_run(path: str | Path) -> Run:
    """UserError for a folder that is no run's."""
    path = Path(path)
    kind, settings = _kind_and_settings(path)
    history = read_table(path / "history.csv")
    return Run(path=path, kind=kind, config=settings, environment=environment_of(path), history=history)


def environment_of(path: Path) -> dict[str, Any]:
    """Where a run began, and with what: its environment.json; empty where that cannot be read."""
    try:
        found = json.loads((path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def identity_of(path: Path) -> dict[str, str]:
    """What the run in a folder must agree with, see `RunFolder.agree`; UserError for another identity.json."""
    file = path / "identity.json"
    try:
        return dict(read_json(file)) if file.is_file() else {}
    except (TypeError, ValueError) as error:
        raise UserError(f"{file}: not what this program writes ({error})") from None


def kind_of(path: str | Path | None) -> str | None:
    """The kind of the run in a folder; None where there is no run, or no folder."""
    try:
        return _kind_and_settings(Path(path))[0] if path else None
    except UserError:
        return None


def _kind_and_settings(path: Path) -> tuple[str, dict[str, Any]]:
    config = path / "config.yaml"
    if not config.is_file():
        raise UserError(f"{path}: no run's folder (no config.yaml in it)")
    settings, _ = parse_yaml(read_text(config), str(config))
    for kind, setting in KINDS.items():
        if isinstance(settings, dict) and setting in settings:
            return kind, settings
    raise UserError(f"{config}: expected the configuration of a run, with one of the keys {', '.join(KINDS.values())}")


def done_of(run: Run) -> tuple[int, int] | None:
    """(How many are done, of how many) of a comparison's trainings or a study's trials; None for runs of other kinds.

    What a folder holds beside is not counted: a comparison may be gone on with for other seeds.
    """
    if run.kind == "comparison":
        seeds = run.config.get("seeds") or ()
        rows = trainings_of(run.path)
        done = {(row.get("label"), row.get("seed")) for row in rows if row.get("seed") in seeds}
        return len(done), len(run.config.get("genotypes") or ()) * len(seeds)
    if run.kind == "tuning":
        states = [row.get("state") for row in read_table(run.path / "trials.csv")]
        finished = sum(state in ("complete", "pruned") for state in states)
        return finished, int(run.setting("trials.count", default=0))
    return None


def trainings_of(path: Path) -> list[Row]:
    """The rows of a comparison's trainings.csv: one for each training and set; names stay text, as 016 and nan."""
    return read_table(path / "trainings.csv", words=("label", "group", "set"))


def training_command(words: Sequence[str], settings: Mapping[str, Any], also: Sequence[str] = ()) -> str:
    """`python -m retrain.train WORDS ...`, on the photographs of these settings with the same ones held out.

    also: further settings that it takes along. Without data it takes none.
    """
    names = ("data", "limit", "cache", "data_seed", "held_out", *also, "device") if settings.get("data") else ()
    given = [(name, settings[name]) for name in names if settings.get(name) is not None]
    options = [word for name, value in given for word in (f"--{name}", str(value))]
    return shlex.join(["python", "-m", "retrain.train", *words, *options])


def lower_is_better(score: str) -> bool:
    """Whether the better of two scores of this name (loss, MAE_raw, ...) is the lower one."""
    return score.lower().startswith(("mae", "loss"))


def read_json(path: Path) -> Any:
    """The content of a JSON file; UserError where it is something else."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: expected JSON ({error})") from None


def read_table(path: Path, *, words: Collection[str] = ()) -> list[Row]:
    """The rows of a CSV file, numbers as numbers and empty cells as NaN; none where there is no file.

    words: columns that stay text, whatever they hold.
    """
    rows = read_csv(path) if path.is_file() else []
    return [{key: text if key in words else _value(text) for key, text in row.items() if key} for row in rows]


def _value(text: str | None) -> Any:
    if not text:
        return math.nan
    try:
        return float(text)
    except ValueError:
        return text
