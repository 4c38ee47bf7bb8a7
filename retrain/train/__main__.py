"""`python -m retrain.train`."""

import sys
from collections.abc import Sequence

from genotypes.errors import plural
from genotypes.files import quoted
from nas.command import Command, as_started, run_command
from nas.options import to_yaml
from nas.run import RunFolder, check_free, deadline
from nas.run.distributed import joined
from nas.task.folders import is_synthetic
from retrain.recipe import recipe_names
from retrain.train import TrainConfig, open_training, train
from retrain.train.config import search_base
from retrain.train.training import read_scores, training_of

COMMAND = Command(
    config=TrainConfig,
    name="retrain.train",
    description="Train the network of a decided genotype; the result is RUN/weights.safetensors and RUN/scores.json.",
    examples=f"""\
  python -m retrain.train --genotype fpn_tiny              under a minute, on pictures that it makes itself
  python -m retrain.train --genotype runs/a --out runs/b   what a search found, on the search's photographs
  python -m retrain.train --genotype runs/a --recipe photos_cpu --epochs 5 --test ECSSD=ECSSD PASCAL=PASCAL-S
  python -m retrain.train --genotype minet_vgg16 --recipe minet --backbone_weights vgg16_bn.pth --data DUTS=DUTS-TR

recipes: {", ".join(recipe_names())}; or your own YAML file""",
    first="genotype data test recipe recipe.size recipe.steps "
    "recipe.epochs backbone_weights teacher start_from device seed out",
    base=search_base,
    resume=True,
)


def main(argv: Sequence[str] | None = None) -> None:
    cfg, resume = COMMAND.parse(argv)
    until = deadline(cfg.minutes)
    check_free(cfg.out, resume=resume)
    setup = open_training(cfg)  # whatever is wrong with them shows before a folder is made
    training = training_of(cfg, setup)
    run = RunFolder.open(cfg.out, "train", to_yaml(cfg), resume=resume, until=until)
    result = train(cfg, run, setup=setup, training=training)
    speed = f"{result.images_per_second:.0f} images/s"
    steps = f"{plural(result.steps, 'step')} of {plural(cfg.recipe.batch_size, 'image')} each"
    print(f"trained {result.genotype.name}: {steps}, {speed}")
    if result.ran:
        print(f"ran     {result.ran}")
    for name, s in result.scores.items():
        full = "" if cfg.quick_scores else f", wF {s.wF:.4f}, Sm {s.Sm:.4f}, Em {s.Em_mean:.4f}"
        print(f"scored  {name} ({s.count}): maxF {s.maxF:.4f}, MAE_raw {s.MAE_raw:.4f}, avgF {s.avgF:.4f}{full}")
    print(f"saved   {result.path / 'weights.safetensors'} (scores.json, cells.svg and predictions.png beside it)")
    best = read_scores(result.path)["best"]
    if best["step"] < result.steps:
        path, score = result.path / "best.safetensors", best["held_out_MAE_raw"]
        print(f"best    {path}: of step {best['step']}, held-out MAE_raw {score:.4f}")
    print(f"page    {result.path / 'report.html'}")
    native = " --native" if cfg.recipe.native else ""
    weights = quoted(result.path / "weights.safetensors")
    print(as_started(f"next    python -m retrain.predict{native} --weights {weights} PHOTO -o maps"))
    if native:
        print("note    trained and scored at the photographs' own sizes: give --native to retrain.evaluate, too")
    if is_synthetic(cfg.data):
        print("note    trained on pictures that the program makes: for photographs, give --data NAME=DIR")


if __name__ == "__main__":
    sys.exit(run_command(main, joined=joined))
