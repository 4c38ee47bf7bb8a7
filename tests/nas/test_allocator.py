"""The allocator keeps what is freed, for every command, unless the user has chosen otherwise."""

import subprocess
import sys

import pytest

from nas.allocator import keep_freed_memory

# 16 blocks of 1 MB, twice: their page faults, with glibc's own settings and with ours; then as a command.
_FAULTS = """
import resource, sys
from nas.allocator import keep_freed_memory
from nas.command import run_command

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(2):
        [bytearray(1 << 20) for _ in range(16)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first = faults()
run_command(lambda _: None, [])
faults()
print(first, faults())
"""


@pytest.mark.skipif(not keep_freed_memory({}), reason="glibc's allocator alone is set")
@pytest.mark.parametrize("setting", [{}, {"MALLOC_TRIM_THRESHOLD_": "65536"}])
def test_a_command_pays_for_its_pages_once(setting: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in setting.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run([sys.executable, "-c", _FAULTS], capture_output=True, text=True, check=True, timeout=60)
    first, later = map(int, done.stdout.split())
    assert first > 2 * 16 * 200, "blocks of 256 pages"
    assert later < first / 100 if not setting else later > first / 2


@pytest.mark.parametrize(
    "chosen",
    [
        {"MALLOC_MMAP_THRESHOLD_": "1"},
        {"MALLOC_ARENA_MAX": "1"},
        {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
        {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"},
        {"LD_PRELOAD": "libtcmalloc_minimal.so.4"},
    ],
)
def test_what_the_user_has_chosen_stays(chosen: dict[str, str]) -> None:
    assert not keep_freed_memory(chosen)


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    assert not keep_freed_memory({})
