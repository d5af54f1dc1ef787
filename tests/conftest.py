"""What several files of tests share; programs that tests start by themselves are no tests."""

import functools

import pytest

from efm_jax import runs, training

collect_ignore_glob = ["_*.py"]


@pytest.fixture(scope="module")
def one_compilation():
    """Let runs of the same recipe share their compiled step: most of a short run is its compilation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "make_train_step", functools.cache(training.make_train_step))
        yield
