"""`python -m retrain.tune`."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path

from genotypes import UserError
from nas.command import Command, as_started, run_command
from nas.options import changed_of, to_yaml
from nas.report import report_at_the_end
from nas.run import RunFolder, check_free
from nas.run_files import environment_of, training_command
from retrain.recipe import recipe_names
from retrain.train.config import search_base
from retrain.tune import TuneConfig, changed, open_tuning, tune
from retrain.tune.config import check_extended
from retrain.tune.study import markdown

COMMAND = Command(
    config=TuneConfig,
    name="retrain.tune",
    description="Try settings of a recipe in short trainings; the result is OUT/recipe.yaml, for any --recipe.",
    examples=f"""\
  python -m retrain.tune --genotype fpn_tiny --search optim.lr=1e-3..1e-2 loss.terms.iou=0,0.5,1 --trials.count 12
  python -m retrain.tune --genotype runs/a --search optim.lr=5e-4..8e-3 optim.backbone_lr=0.05,0.1,0.3 size=96,128 \\
      --recipe photos_cpu --recipe.epochs 1 --pruner median --data DUTS=DUTS-TR --cache runs/cache --out runs/tune
  python -m retrain.tune --out runs/tune --trials.count 40     continue, or extend
  python -m retrain.tune --genotype runs/a --search size=96,128 --storage sqlite:////disk/study.db    on many machines

recipes: {", ".join(recipe_names())}; or your own YAML file""",
    first="genotype search objective data recipe recipe.steps "
    "trials.count trials.sampler trials.pruner trials.storage backbone_weights device out",
    required=("genotype",),
    base=search_base,
    continues=("tuning", "study"),
)


def main(argv: Sequence[str] | None = None) -> None:
    cfg, going_on = COMMAND.parse(argv)
    check_free(cfg.out, resume=going_on)
    if going_on:
        check_extended(cfg)
    began = environment_of(Path(str(cfg.out))).get("folder") if going_on else None
    opened = open_tuning(cfg, began)  # whatever is wrong shows before a folder is made that would hold on to it
    run = RunFolder.open(cfg.out, "tune", to_yaml(cfg), resume=going_on)
    run.agree({"set of photographs": opened.photos[min(opened.photos)].fingerprint, **opened.contents})
    run.write_text("config.yaml", to_yaml(cfg))
    trials = tune(cfg, run, opened)
    run.write_text("table.md", markdown(trials, opened.space) + "\n")
    best = trials.best
    if math.isinf(best.values[0]):
        report_at_the_end(run.path)
        raise UserError(f"{run.path}: every trial diverged, so there is no best one: try a smaller optim.lr")
    found = changed(cfg.recipe, best.choices)
    run.write_text("recipe.yaml", to_yaml(found))
    page = report_at_the_end(run.path)
    settings = ", ".join(f"{name} {value}" for name, value in best.choices.items())
    where = f"trial {best.number} in trials.csv, {len(trials.trials)} tried"  # they count from 0
    print(f"best    {settings}: {trials.objectives[0]} {best.values[0]:.4f} ({where})")
    print(f"saved   {run.path / 'recipe.yaml'} (table.md and trials.csv beside it)")
    if page:
        print(f"page    {page}")
    words = ["--genotype", cfg.genotype, "--recipe", str(run.path / "recipe.yaml")]
    taught = ["teacher", "unlabelled"] if found.loss.teacher else []
    also = ["backbone_weights", "init", *taught]
    print(as_started(f"next    {training_command(words, {'data': cfg.data} | changed_of(cfg), also)}"))


if __name__ == "__main__":
    sys.exit(run_command(main))
