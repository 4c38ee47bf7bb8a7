"""The sandwich rule as a strategy: one supernet whose members need no retraining, then a study of whole networks."""

from dataclasses import dataclass

from genotypes import Genotype, UserError
from genotypes.errors import check_most
from nas.network import Network, build, supernet_genotype
from nas.strategies.black_box import OneShot
from nas.strategies.strategy import register_strategy

__all__ = ["SandwichSearch"]


@register_strategy("sandwich")
class SandwichSearch(OneShot):
    """Trains largest, smallest and random members together, by distillation (BigNAS, Yu et al., ECCV 2020).

    For spaces with any choices: widths, blocks that may be absent, inputs and the input size, too. What trains and
    judges the members is `nas.search.members`.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config(OneShot.Config):
        """Options of sandwich.

        Attributes:
            members: random ones a step, beside the largest and the smallest.
            alone: share of the steps in which the largest is trained alone, before the others join.
        """

        members: int = 2
        alone: float = 0.25

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.members < 0 or not 0 <= self.alone <= 1:
                raise UserError(
                    f"strategy: expected members of 0 or more, alone in 0..1, not {self.members}, {self.alone}"
                )
            check_most(self, "strategy: ", members=1000)

        def supernet(self, space: Genotype, weights: str | None = None) -> Network:
            """The largest network, with affine norms in all candidates: it is never run as a mixture."""
            return build(supernet_genotype(space), weights, affine=True)

    sampler = "gp"
    whole_networks = True
