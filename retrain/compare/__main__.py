"""`python -m retrain.compare`."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from genotypes import UserError
from nas.run import RunFolder, parse_config, run_command
from retrain.arguments import gather
from retrain.compare import CompareConfig, Training, compare, prepare, read_entries, rows
from retrain.compare.plot import plot
from retrain.compare.table import markdown, trainings_csv
from retrain.recipe import recipe_names, spell_out_recipe

_DESCRIPTION = "Train genotypes side by side, each with every seed, all alike; the result is OUT/table.md."
_EXAMPLES = f"""\
  python -m retrain.compare --genotypes runs/a/genotype.yaml random:0 random:1 random:2 fpn --seeds 0 1 2
  python -m retrain.compare --genotypes searched=runs/a/genotype.yaml random:0 fpn --out runs/c --recipe photos_cpu \\
      --weights mobilenet_v2.pth --data DUTS=DUTS-TR --test ECSSD=ECSSD --cache runs/cache
  python -m retrain.compare --out runs/c                          continue; more genotypes or seeds may be added

recipes: {", ".join(recipe_names())}; or your own YAML file
"""


def main(argv: Sequence[str] | None = None) -> None:
    argv = gather(sys.argv[1:] if argv is None else argv, "--genotypes", "--seeds", "--test")
    argv = _continued(spell_out_recipe(argv))
    cfg, text, _ = parse_config(CompareConfig, "retrain.compare", _DESCRIPTION, _EXAMPLES, argv)
    entries = read_entries(cfg.genotypes, cfg.space)
    plan = prepare(cfg, entries)  # whatever is wrong shows before the folder is touched
    run = RunFolder.open(cfg.out, "compare", text, resume=_is_comparison(cfg.out))
    run.write_text("config.yaml", text)

    def write(done: list[Training]) -> None:
        table = rows(done)
        run.write_text("table.md", markdown(table))
        run.write_text("trainings.csv", trainings_csv(done))
        run.write_text("table.json", json.dumps([dataclasses.asdict(row) for row in table], indent=1))

    done = compare(cfg, plan, run.path, after_each=write)
    table = rows(done)
    plot(table, done, run.path / "comparison.png")
    print(markdown(table))
    print(f"saved   {run.path / 'table.md'} (table.json, trainings.csv, comparison.png and runs/ beside it)")


def _continued(argv: list[str]) -> list[str]:
    """The command line after the configuration of the comparison that --out names, where there is one."""
    out = next((b for a, b in pairwise(argv) if a == "--out"), None)
    out = out or next((word.removeprefix("--out=") for word in argv if word.startswith("--out=")), None)
    if _is_comparison(out):
        return ["--config", str(Path(out) / "config.yaml"), *(word for word in argv if word != "--resume")]
    if "--resume" in argv:
        raise UserError(f"{out or '--resume needs --out'}: no comparison to continue")
    return argv


def _is_comparison(out: str | None) -> bool:
    config = Path(out) / "config.yaml" if out else None
    if config is None or not config.is_file():
        return False
    try:
        document = yaml.safe_load(config.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):  # some other program's
        return False
    return isinstance(document, dict) and "genotypes" in document


if __name__ == "__main__":
    sys.exit(run_command(main))
