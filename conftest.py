"""What all tests and examples share."""

import os
from pathlib import Path

import jax
import pytest

MAPS = Path("/proc/self/maps")
NOT_MUCH = "JAX_DISABLE_MOST_OPTIMIZATIONS"


def pytest_addoption(parser):
    """Add `--optimized`."""
    parser.addoption(
        "--optimized",
        action="store_true",
        help="compile default tests as users do; slow and smoke tests always are",
    )


def pytest_configure(config):
    """Let default tests compile quickly: most of their time would go into optimizing programs that run once."""
    config.quick = config.option.markexpr == "not slow" and not config.option.optimized
    if config.quick:  # XLA_FLAGS are read as JAX starts its backend
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"
        _optimize(False)


def _optimize(wanted: bool) -> None:
    os.environ[NOT_MUCH] = str(int(not wanted))  # and programs that tests start
    jax.config.update("jax_disable_most_optimizations", not wanted)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Optimize the programs of tests marked `optimized`; a program compiled the other way is forgotten."""
    wanted = not item.config.quick or item.get_closest_marker("optimized") is not None
    if (os.environ.get(NOT_MUCH, "0") == "0") != wanted:
        jax.clear_caches()
        _optimize(wanted)


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
