"""`python -m retrain.authors`: an authors' checkpoint -> a weight file of ours."""

import argparse
import sys
from collections.abc import Sequence

import genotypes
from nas.network.weights import save_weights
from nas.run.command import run_command
from retrain.authors.checkpoint import read_checkpoint
from retrain.authors.importing import import_authors

__all__ = ["main"]

_EXAMPLES = """examples:
  python -m retrain.authors --genotype csnet_l_x2 --checkpoint csnet-L-x2.pth.tar -o weights.safetensors
  python -m retrain.authors --genotype minet_vgg16 --checkpoint MINet-VGG16.pth -o minet.safetensors"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; UserError for the user's mistakes."""
    options = _parser().parse_args(argv)
    genotype = genotypes.load(options.genotype)
    state = import_authors(genotype, read_checkpoint(options.checkpoint))
    save_weights(options.output, state, genotype)
    print(f"{genotype.name}: {len(state)} tensors written to {options.output}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrain.authors",
        description="Turn an authors' checkpoint into a weight file for predict and evaluate.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--genotype", required=True, metavar="NAME|FILE", help="the network the checkpoint is of")
    parser.add_argument("--checkpoint", required=True, metavar="FILE", help="the authors' .pth, .pt or .pth.tar")
    parser.add_argument("-o", "--output", required=True, metavar="FILE", help="the .safetensors file to write")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
