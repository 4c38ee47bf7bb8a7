"""`python -m retrain.train`."""

import sys
from collections.abc import Sequence

from nas.run import RunFolder, check_free, parse_config, run_command
from retrain.arguments import gather
from retrain.recipe import recipe_names, spell_out_recipe
from retrain.train import TrainConfig, open_inputs, train

_DESCRIPTION = "Train the network of a decided genotype; the result is RUN/weights.safetensors and RUN/scores.json."
_EXAMPLES = f"""\
  python -m retrain.train --genotype fpn_tiny                     under a minute on data it makes itself
  python -m retrain.train --genotype runs/a/genotype.yaml --out runs/b --recipe.steps 1000
  python -m retrain.train --out runs/b --resume                   continue an interrupted training
  python -m retrain.train --genotype runs/a/genotype.yaml --weights mobilenet_v2.pth --recipe photos_cpu \\
      --data DUTS=DUTS-TR --test ECSSD=ECSSD PASCAL=PASCAL-S --cache runs/cache

recipes: {", ".join(recipe_names())}; or your own YAML file
"""


def main(argv: Sequence[str] | None = None) -> None:
    argv = spell_out_recipe(gather(sys.argv[1:] if argv is None else argv, "--test"))
    cfg, text, resume = parse_config(TrainConfig, "retrain.train", _DESCRIPTION, _EXAMPLES, argv)
    if cfg.out and not resume:
        check_free(cfg.out)  # again when the folder is made; here so that nobody waits for a refusal
    inputs = open_inputs(cfg)  # whatever is wrong with them shows before a folder is made
    run = RunFolder.open(cfg.out, "train", text, resume=resume)
    result = train(cfg, run, inputs=inputs)
    speed = f"{result.images_per_second:.0f} images/s"
    print(f"trained {result.genotype.name}: {result.steps} steps of {cfg.recipe.batch_size}, {speed}")
    for name, s in result.scores.items():
        full = "" if cfg.quick_scores else f", wF {s.wF:.4f}, Sm {s.Sm:.4f}, Em {s.Em_mean:.4f}"
        print(f"scored  {name} ({s.count}): maxF {s.maxF:.4f}, MAE {s.MAE_raw:.4f}, avgF {s.avgF:.4f}{full}")
    print(f"saved   {result.path / 'weights.safetensors'} (scores.json, cells.svg and predictions.png beside it)")
    print(f"next    python -m retrain.predict --weights {result.path / 'weights.safetensors'} PHOTO -o maps")


if __name__ == "__main__":
    sys.exit(run_command(main))
