"""One thread for the products of NumPy where other threads compute.

The library behind them has threads of its own, which wait for each other without sleeping. Beside those of XLA, on as many
cores, they take turns: a product of 10 ms then takes a second. One thread finishes it undisturbed, and rounds alike on any
number of cores.
"""

import functools
from contextlib import AbstractContextManager, nullcontext

try:
    import threadpoolctl
except ImportError:  # a plain image of JAX for accelerators lacks it
    threadpoolctl = None


def one_thread() -> AbstractContextManager:
    """Let the products of this process run on the thread that asks for them, until the context is left."""
    libraries = _libraries()
    return nullcontext() if libraries is None else libraries.limit(limits=1, user_api="blas")


@functools.cache
def _libraries():
    # looking for them takes milliseconds
    return None if threadpoolctl is None else threadpoolctl.ThreadpoolController()
