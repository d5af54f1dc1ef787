"""What tests of runs share: one run that nothing disturbs, all that a run computed, signals as at a terminal."""

import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from _killed_run import NETWORK, run

from efm_jax import checkpoint
from efm_jax.models import build
from efm_jax.runs import _journal, read_log
from efm_jax.training import adam, init_state

PROGRAM = Path(__file__).with_name("_killed_run.py")


@pytest.fixture(autouse=True)
def interruptible():
    """SIGINT as at a terminal: a shell lets its background jobs ignore it, and ignored signals stay ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def outcome(folder):
    """All that a run computed: the bytes of its newest state, and its log but for the clock."""
    state, meta = checkpoint.restore(
        Path(folder) / "checkpoints", init_state(jax.random.key(9), NETWORK, adam())
    )
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    log = [{k: v for k, v in line.items() if k not in _journal.MEASURED} for line in read_log(folder)]
    return [np.asarray(leaf).tobytes() for leaf in leaves], log, meta["window"]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    run(folder)
    return folder


@pytest.fixture(scope="module")
def one_build(one_compilation):
    """Let configured runs of the same network, recipe and optimizer share them, and so their compiled step."""
    made = {}

    def kept(name, key):
        real = getattr(build, name)
        return lambda *given: made.setdefault((name, *key(*given)), real(*given))

    with pytest.MonkeyPatch.context() as patch:
        keys = {
            "network": lambda config, shape, *pair: (config.network, config.recipe, shape, pair == (None,)),
            "recipe": lambda config, *pair: (config,),
            "optimizer": lambda config, steps: (config, steps if config.cosine else None),
        }
        for name, key in keys.items():
            shared = kept(name, key)
            for place in (build, build._run):  # as others call it, and as building a run does
                patch.setattr(place, name, shared)
        yield
