"""Cells of a table side by side: a `map` over processes of one thread each."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor


@contextlib.contextmanager
def workers(count: int) -> Iterator[Callable]:
    """`map` over so many processes; what is mapped must live in a module other than the program's own."""
    if count == 1:
        yield map
        return
    flags = os.environ.get("XLA_FLAGS", "")
    os.environ |= {"OMP_NUM_THREADS": "1", "XLA_FLAGS": f"{flags} --xla_cpu_multi_thread_eigen=false".strip()}
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(count, mp_context=spawn)
    try:
        yield pool.map
    finally:
        pool.shutdown(cancel_futures=True)
