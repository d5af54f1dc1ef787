"""Checkpoints written by another thread while training goes on."""

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp

from efm_jax import checkpoint
from efm_jax._core import files

_BEHIND = 10
"""By how much the thread that writes is nicer: a tenth of the share of one that computes."""


class Saver:
    """Saves a state that the next step may reuse: it is copied on its devices, then fetched, written and hashed elsewhere.

    One checkpoint is written at a time. `save` and `wait` wait for the one before and raise its error. So does the end of a
    `with` statement; where an error ends it, that one is raised, with a note on the other.
    """

    def __init__(self):
        self._pool = ThreadPoolExecutor(1, "efm-checkpoint", initializer=_behind)
        self._last: Future | None = None

    def save(
        self,
        folder: str | os.PathLike,
        state: Any,
        *,
        meta: dict,
        keep: int,
        first: Callable[[], Any],
        form: Callable[[Any], Any] = lambda state: state,
    ) -> None:
        """Begin `checkpoint.save` of `form(state)`, after `first()`."""
        self.wait()
        meta = files.to_json("meta", meta)  # the caller counts on

        def write(state: Any) -> None:
            first()
            checkpoint.save(folder, form(state), meta=meta, keep=keep)

        copy = _copied(state)
        if copy is None:
            write(state)
        else:
            self._last = self._pool.submit(write, copy)

    def wait(self) -> None:
        """Wait until all is on the disk; raise the error if it is not."""
        last, self._last = self._last, None
        if last is not None:
            last.result()

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        self._pool.shutdown()
        try:
            self.wait()
        except Exception as lost:
            if error is None:
                raise
            error.add_note(f"The last checkpoint was not written: {lost}")


def _behind() -> None:
    """Let the threads of a step go before this one, and before those that it starts."""
    if sys.platform == "linux":  # elsewhere the priority is that of the whole process
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(os.nice(0) + _BEHIND, 19))


def _copied(state: Any) -> Any:
    """A copy of a state where it lies, or None if the devices lack the memory; a host's own arrays stay as they are."""
    leaves, tree = jax.tree.flatten(state)
    try:
        copies = iter(jax.block_until_ready(_copy([leaf for leaf in leaves if isinstance(leaf, jax.Array)])))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return None
    return tree.unflatten([next(copies) if isinstance(leaf, jax.Array) else leaf for leaf in leaves])


@jax.jit  # one call: a state may have 2,000 leaves
def _copy(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.copy(leaf) for leaf in leaves]
