"""What several files of tests share."""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

from efm_jax import training
from efm_jax.runs import _fit as runs

# helpers and programs; the programs tell JAX how many devices it has, which no other process of tests may
collect_ignore_glob = ["support/*"]


@pytest.fixture(scope="module")
def one_compilation():
    """Let runs of the same recipe share their compiled step: most of a short run is its compilation."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "make_train_step", functools.cache(training.make_train_step))
        yield


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """`made_once(name, make)`: a folder of the whole session, filled by one of its worker processes while others wait."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        place, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                place.mkdir()  # a second try after a failure fails here, at once
                make(place)
                done.touch()
        return place

    return folder
