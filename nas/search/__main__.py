"""`python -m nas.search`."""

import sys
from collections import Counter
from collections.abc import Sequence

from nas.run import RunFolder, check_free, parse_config, run_command
from nas.search import SearchConfig, open_inputs, search

_DESCRIPTION = "Search a fusion network for salient object detection; the result is RUN/genotype.yaml."
_EXAMPLES = """\
  python -m nas.search                                       two minutes, on data it makes itself
  python -m nas.search --out runs/a --steps 400 --seed 1
  python -m nas.search --out runs/a --resume                 continue an interrupted search
  python -m nas.search --backbone mobilenet_v2 --weights mobilenet_v2.pth --data DUTS=DUTS-TR --size 128
  python -m nas.search --config runs/a/config.yaml --out runs/b      the same search again
"""


def main(argv: Sequence[str] | None = None) -> None:
    cfg, text, resume = parse_config(SearchConfig, "nas.search", _DESCRIPTION, _EXAMPLES, argv)
    if cfg.out and not resume:
        check_free(cfg.out)  # again when the folder is made; here so that nobody waits for a refusal
    inputs = open_inputs(cfg)
    run = RunFolder.open(cfg.out, "search", text, resume=resume)
    result = search(cfg, run, inputs=inputs)
    operations = Counter(data["op"] for _, _, data in result.genotype.graph.edges(data=True) if data["choice"])
    print(f"found   {result.genotype.name}: " + ", ".join(f"{n} {op}" for op, n in operations.most_common()))
    if result.scores:
        shown = ", ".join(f"{key} {value:.4f}" for key, value in result.scores.items())
        print(f"scored  {shown} on the held-out part, with the supernet's weights (not retrained)")
    print(f"saved   {result.path / 'genotype.yaml'} (drawn: {result.path / 'cells.svg'})")
    print(f"next    python -m retrain.train --genotype {result.path / 'genotype.yaml'}")


if __name__ == "__main__":
    sys.exit(run_command(main))
