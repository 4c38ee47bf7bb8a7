"""`python -m retrain.compare`."""

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genotypes import UserError, UserNote
from genotypes.files import json_text, write_csv
from nas.command import Command, run_command
from nas.options import to_dict, to_yaml
from nas.report import report_at_the_end
from nas.run import RunFolder, check_free
from nas.run_files import read_run
from retrain.compare import CompareConfig, Training, compare, plan_comparison, read_entries, rows
from retrain.compare.runs import left_out, run_folder
from retrain.compare.table import draw_dots, draw_pictures, draw_trade_off, latex, markdown, plain, shown, training_rows
from retrain.recipe import recipe_names
from retrain.tables import check_spreadsheets, labelled, write_spreadsheet
from retrain.train import from_search


def _first_search(given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What the first search's folder among the genotypes implies."""
    named = given.get("genotypes")  # as a file has it: what it may hold is checked later
    runs = (labelled(text)[1] for text in (named if isinstance(named, list | tuple) else ()) if type(text) is str)
    run, values = next(((run, values) for run in runs if (values := from_search(Path(run)))), ("", {}))
    if "backbone_weights" in values:
        values["backbone_weights"] = [values["backbone_weights"]]
    return run, values


COMMAND = Command(
    config=CompareConfig,
    name="retrain.compare",
    description="Train genotypes side by side, each with every seed, all alike; the result is OUT/table.md.",
    examples=f"""\
  python -m retrain.compare --genotypes runs/a random:0 random:1 fpn --seeds 0 1 2
  python -m retrain.compare --genotypes searched=runs/a/genotype.yaml random:0 fpn --out runs/c --recipe photos_cpu \\
      --backbone_weights mobilenet_v2.pth --data DUTS=DUTS-TR --test ECSSD=ECSSD --cache runs/cache
  python -m retrain.compare --genotypes runs/a minet_vgg16 --backbone_weights mobilenet_v2=m.pth vgg16_bn=v.pth
  python -m retrain.compare --out runs/c                   continue
  python -m retrain.compare --out runs/c --seeds 0 1 2 3   with a seed more: name all of them; genotypes likewise

recipes: {", ".join(recipe_names())}; or your own YAML file""",
    first="genotypes seeds data test recipe recipe.size recipe.steps recipe.epochs backbone_weights device out",
    base=_first_search,
    continues=("comparison", "comparison"),
)


def main(argv: Sequence[str] | None = None) -> None:
    cfg, going_on = COMMAND.parse(argv)
    if cfg.xlsx:
        check_spreadsheets()
    check_free(cfg.out, resume=going_on)
    text = to_yaml(cfg)
    entries = read_entries(cfg.genotypes, cfg.space)
    began = read_run(Path(str(cfg.out))).config if going_on else {}
    earlier = [*(began.get("init") or ()), *(began.get("backbone_weights") or ())]
    plan = plan_comparison(cfg, entries, earlier)  # whatever is wrong shows before the folder is touched
    for name in ("data", "test", "teacher", "unlabelled") if going_on and plan.photos is None else ():
        if name in began and to_dict(cfg)[name] != (was := began[name]):
            raise UserError(f"{cfg.out} was trained with {name} {was!r}, and nothing reads another: leave out --{name}")
    run = RunFolder.open(cfg.out, "compare", text, resume=going_on)
    if plan.photos is not None:
        run.agree({"set of photographs": plan.photos.fingerprint} | plan.contents)
    if going_on and (run.path / "config.yaml").read_text(encoding="utf-8") != text:  # with other genotypes or seeds
        run.note_command()
    run.write_text("config.yaml", text)

    def write(done: list[Training]) -> None:
        table = rows(done)
        run.write_text("table.md", markdown(table))
        run.write_text("table.tex", latex(table))
        write_csv(run.path / "trainings.csv", training_rows(done))
        run.write_text("table.json", json_text(plain(table)))
        if cfg.xlsx:
            write_spreadsheet(run.path / "table.xlsx", {"trainings": training_rows(done)})

    from nas.visualize.charts import save_figure  # matplotlib, which no training needs

    done, diverged = compare(cfg, plan, run.path, after_each=write)
    if not done:
        raise UserError("every training diverged:\n  " + "\n  ".join(diverged))
    table = rows(done)
    strips = {e.label: run_folder(e, cfg.seeds[0], run.path) / "predictions.png" for e in entries}
    strips = {label: strip for label, strip in strips.items() if strip.is_file()}  # of what did not diverge
    figures = {"comparison": draw_dots(table, done), "trade_off": draw_trade_off(table)}
    figures |= {"photographs": draw_pictures(strips)} if strips else {}
    for name, figure in figures.items():
        for kind in ("png", "pdf"):
            # Long labels stand outside of the panels.
            save_figure(figure, run.path / f"{name}.{kind}", bbox_inches="tight")
    page = report_at_the_end(run.path)
    print(shown(table))
    print(f"saved   {run.path / 'table.md'} (table.tex, trainings.csv, trade_off.pdf, photographs.png, ... beside it)")
    if page:
        print(f"page    {page}")
    if left := left_out(plan, run.path):
        told = f"{', '.join(left)}: trained here and not in the table, since --genotypes and --seeds name others now"
        warnings.warn(told, UserNote, stacklevel=1)
    if diverged:
        raise UserError("the table lacks trainings that diverged:\n  " + "\n  ".join(diverged))


if __name__ == "__main__":
    sys.exit(run_command(main))
