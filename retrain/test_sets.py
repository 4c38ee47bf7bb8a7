"""Sets to score on, by the names that tables give them."""

from collections.abc import Sequence

from genotypes import UserError
from nas.task import Pair, PhotoSet, find_pairs, open_photos, parse_data
from nas.task.cache import spread
from nas.task.folders import check_sizes, is_synthetic, refuse

__all__ = ["open_test_sets"]

_OTHER_PICTURES = 1_000_003  # added to the seed: synthetic pictures to test on are none of those trained on


def open_test_sets(
    specs: Sequence[str], size: int, *, seed: int = 0, taken: Sequence[str] = (), limit: int | None = None
) -> dict[str, PhotoSet | list[Pair]]:
    """What `nas.task.evaluate` takes for each of `NAME=DIR`, `DIR`, `synthetic`, `synthetic:COUNT`.

    size: side of synthetic pictures; taken: names already in use; limit: only so many pairs of each folder, evenly
    spread. UserError for a set that is missing, for two sets of one name, and for pairs that cannot be opened or
    differ in size (all of a set in one message, before any work).
    """
    sets: dict[str, PhotoSet | list[Pair]] = {}
    for spec in specs:
        name, source = parse_data(spec)
        if name in sets or name in taken:
            raise UserError(f"two sets are called {name}: give {source} another name with NAME=DIR")
        if is_synthetic(source):
            sets[name] = open_photos(spec, size=size, cache_dir=None, seed=seed + _OTHER_PICTURES)
        else:
            pairs = spread(find_pairs(source), limit)
            refuse(check_sizes(pairs), len(pairs), name)
            sets[name] = pairs
    return sets
