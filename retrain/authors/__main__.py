"""`python -m retrain.authors`: an authors' checkpoint -> a weight file of ours."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import genotypes
from genotypes import UserError
from nas.network.weights import save_weights
from nas.run.command import run_command
from retrain.authors.importing import authors_keys, import_authors, read_checkpoint

__all__ = ["main"]

_EXAMPLES = """examples:
  python -m retrain.authors --genotype csnet_l_x2 --checkpoint csnet-L-x2.pth.tar -o weights.safetensors
  python -m retrain.authors --genotype minet_vgg16 --checkpoint MINet-VGG16.pth -o minet.safetensors"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command; UserError for the user's mistakes."""
    options = _parser().parse_args(argv)
    _check_output(options.output, options.checkpoint, options.overwrite)
    genotype = genotypes.load(options.genotype)
    authors_keys(genotype)  # before the file: what is wrong with the genotype is no fault of the file
    state_dict = read_checkpoint(options.checkpoint)
    try:
        state = import_authors(genotype, state_dict)
    except UserError as error:
        raise UserError(f"{options.checkpoint}: {error}") from None
    save_weights(options.output, state, genotype)
    print(f"{genotype.name}: {len(state)} tensors written to {options.output}")


def _check_output(path: Path, checkpoint: Path, overwrite: bool) -> None:
    if path.suffix != ".safetensors":
        raise UserError(f"-o {path}: expected a name that ends in .safetensors")
    if path.is_dir():
        raise UserError(f"-o {path}: is a folder, expected a file")
    if path.exists() and checkpoint.exists() and path.samefile(checkpoint):
        raise UserError(f"{path} is the checkpoint; choose another -o")
    if os.path.lexists(path) and not overwrite:
        raise UserError(f"{path} already exists; choose another -o, or replace it with --overwrite")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m retrain.authors",
        description="Turn an authors' checkpoint into a weight file for predict and evaluate.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--genotype", required=True, metavar="NAME|FILE", help="the network the checkpoint is of")
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help="the authors' .pth, .pt or .pth.tar"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the .safetensors file to write"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there already")
    return parser


if __name__ == "__main__":
    sys.exit(run_command(main))
