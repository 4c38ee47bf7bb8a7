"""Sets to score on, by the names that tables give them."""

from collections.abc import Sequence

from genotypes import UserError
from nas.task import Pair, PhotoSet, find_pairs, open_photos, parse_data
from nas.task.folders import is_synthetic

__all__ = ["open_test_sets"]

_OTHER_PICTURES = 1_000_003  # added to the seed: synthetic pictures to test on are none of those trained on


def open_test_sets(
    specs: Sequence[str], size: int, *, seed: int = 0, taken: Sequence[str] = ()
) -> dict[str, PhotoSet | list[Pair]]:
    """What `nas.task.evaluate` takes for each of `NAME=DIR`, `DIR`, `synthetic`, `synthetic:COUNT`.

    size: side of synthetic pictures; taken: names already in use. UserError for a set that is missing, and for two
    sets of one name.
    """
    sets: dict[str, PhotoSet | list[Pair]] = {}
    for spec in specs:
        name, source = parse_data(spec)
        if name in sets or name in taken:
            raise UserError(f"two sets are called {name}: give {source} another name with NAME=DIR")
        if is_synthetic(source):
            sets[name] = open_photos(spec, size=size, cache_dir=None, seed=seed + _OTHER_PICTURES, progress=False)
        else:
            sets[name] = find_pairs(source)
    return sets
