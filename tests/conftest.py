"""What every test shares: the optional research data, and one thread so that numbers do not depend on the machine."""

import os
from pathlib import Path

import pytest
import torch

from nas.run import quiet

SHARED = Path(os.environ.get("SOD_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What tests measure must not become the user's."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_bars():
    with quiet():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of research data and oracles; a test that asks for it is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip(f"research data not found at {SHARED} (set SOD_SHARED)")
    return SHARED
