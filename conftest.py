"""What all tests and examples share."""

from pathlib import Path

import jax
import pytest

MAPS = Path("/proc/self/maps")


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forget compiled programs when they are many: each holds mappings of memory, of which Linux grants a process 65,530."""
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With `-n`, a worker takes whole files: fixtures of a file and programs that its tests share are made once."""
    from xdist.scheduler import LoadFileScheduling

    return LoadFileScheduling(config, log)
