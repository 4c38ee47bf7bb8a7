"""`python -m retrain.prune`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import genotypes
from genotypes import UserError
from genotypes.files import check_folder, json_text, replacing_files, write_atomically, write_text
from nas.command import Command, as_started, run_command
from nas.network import check_single_image
from nas.options import changed_of, to_yaml
from nas.report import report_at_the_end
from nas.run.folder import environment
from nas.run_files import training_command
from nas.task import write_png
from retrain.networks import find_weights
from retrain.predictor import load, save
from retrain.prune import PruneConfig, prune

_MARK = "pruning.json"
_FILES = (
    "genotype.yaml",
    "weights.safetensors",
    "config.yaml",
    "environment.json",
    "predictions.png",
    "report.html",
    _MARK,
)

COMMAND = Command(
    config=PruneConfig,
    name="retrain.prune",
    description="A trained network with less in it: a CSNet without the channels whose norm scales vanished (ECCV "
    "2020, section 3.3), or another with a narrower backbone, within a budget.",
    examples="""\
  python -m retrain.train --genotype csnet_x1 --recipe csnet --data DUTS-TR --out runs/x1
  python -m retrain.prune --weights runs/x1/weights.safetensors --data DUTS-TR -o runs/l_x1
  python -m retrain.train --genotype runs/l_x1/genotype.yaml --init runs/l_x1/weights.safetensors --data DUTS-TR

  python -m retrain.prune --weights sod_m --budget 100e6 --size 128 --data DUTS-TR -o runs/small""",
    notes="""
DIR/genotype.yaml and DIR/weights.safetensors are what is left; DIR/pruning.json holds all widths before and after,
DIR/report.html shows them. Train on afterwards. A channel of a CSNet that is dropped still sent its shift on. Without
--data the norms that read it take that over, which is exact but at the borders of 3x3 convolutions. With --data all
norm statistics are estimated anew.""",
    first="weights data out threshold budget cost size batches",
    required=("weights", "out"),
)


def main(argv: Sequence[str] | None = None) -> None:
    cfg, _ = COMMAND.parse(argv)
    out = Path(cfg.out or "")
    check_folder(out, _FILES, mark=_MARK)
    weights, genotype = out / "weights.safetensors", out / "genotype.yaml"
    if weights.is_file() and weights.samefile(find_weights(cfg.weights)):
        raise UserError(f"{weights} is the network to prune; choose another -o")
    net = load(cfg.weights, cfg.device).network
    if cfg.data and cfg.batch_size == 1:
        check_single_image(net, cfg.size or net.genotype.input.size[0])
    small, document, strip = prune(net, cfg)
    with replacing_files(out, _FILES, mark=_MARK) as files:
        save(files / weights.name, small)
        genotypes.save(small.genotype, files / genotype.name)
        write_text(files / _MARK, json_text(document))
        write_text(files / "config.yaml", to_yaml(cfg))
        write_text(files / "environment.json", json_text(environment()))
        if strip is not None:
            with write_atomically(files / "predictions.png") as file:
                write_png(strip, file)
    page = report_at_the_end(out)
    _report(document, cfg)
    print(f"saved   {weights} (genotype.yaml, pruning.json beside it)")
    if page:
        print(f"page    {page}")
    # To train on at the size that the network is for.
    words = ["--genotype", str(genotype), "--init", str(weights), "--recipe.size", str(small.genotype.input.size[0])]
    print(as_started(f"next    {training_command(words, {'data': cfg.data} | changed_of(cfg))}"))


def _report(document: dict[str, Any], cfg: PruneConfig) -> None:
    before, after = document["before"], document["after"]
    channels = [sum(widths) for widths in zip(*document["widths"].values(), strict=True)]
    print(f"pruned  {channels[1]} of {channels[0]} channels left")
    for key in ("params", "macs"):
        print(f"        {after[key]:,} of {before[key]:,} {key} ({after[key] / before[key]:.0%})")
    if before["params"] == after["params"]:
        if cfg.budget is None:
            print(f"note    no norm scale is below {cfg.threshold:g}: train longer, or with stronger dynamic_decay")
        else:
            print("note    the network was within the budget as it is")
    for name in ("before", "dropped", "after"):
        if s := document.get(name, {}).get("held_out"):
            print(f"scored  {name:<8}held-out ({s['images']}): maxF {s['maxF']:.4f}, MAE_raw {s['MAE_raw']:.4f}")


if __name__ == "__main__":
    sys.exit(run_command(main))
