"""`python -m retrain.authors`: an authors' checkpoint -> a weight file of ours."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import genotypes
from genotypes import UserError
from genotypes.files import check_file
from nas.command import Command, run_command
from nas.network.weights import save_weights
from retrain.authors.importing import authors_keys, import_authors, read_checkpoint


@dataclass(frozen=True, kw_only=True)
class AuthorsConfig:
    """Which checkpoint becomes which weight file.

    Attributes:
        genotype: the network the checkpoint is of: a name of the zoo, or a file.
        checkpoint: the authors' .pth, .pt or .pth.tar.
        out: the .safetensors file to write.
        overwrite: replace a file that is there already.
    """

    genotype: str = ""
    checkpoint: Path | None = None
    out: Path | None = None
    overwrite: bool = False


COMMAND = Command(
    config=AuthorsConfig,
    name="retrain.authors",
    description="Turn an authors' checkpoint into a weight file for predict and evaluate.",
    examples="""\
  python -m retrain.authors --genotype csnet_l_x2 --checkpoint csnet-L-x2.pth.tar -o weights.safetensors
  python -m retrain.authors --genotype minet_vgg16 --checkpoint MINet-VGG16.pth -o minet.safetensors""",
    first="genotype checkpoint out overwrite",
    required=("genotype", "checkpoint", "out"),
)


def main(argv: Sequence[str] | None = None) -> None:
    options, _ = COMMAND.parse(argv)
    assert options.out is not None and options.checkpoint is not None  # they are required
    if options.out.exists() and options.checkpoint.exists() and options.out.samefile(options.checkpoint):
        raise UserError(f"{options.out} is the checkpoint; choose another -o")
    check_file(options.out, suffix=".safetensors", overwrite=options.overwrite)
    genotype = genotypes.load(options.genotype)
    authors_keys(genotype)  # before the file: what is wrong with the genotype is no fault of the file
    state_dict = read_checkpoint(options.checkpoint)
    try:
        state = import_authors(genotype, state_dict)
    except UserError as error:
        raise UserError(f"{options.checkpoint}: {error}") from None
    save_weights(options.out, state, genotype)
    print(f"{genotype.name}: {len(state)} tensors written to {options.out}")


if __name__ == "__main__":
    sys.exit(run_command(main))
