"""What compiled programs are made for: the default backend, unless said otherwise."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax

_SAID: ContextVar[str | None] = ContextVar("platform", default=None)


def on_gpu() -> bool:
    """Whether it is a GPU, which wants few large operations where a CPU wants what fits its caches."""
    return (_SAID.get() or jax.default_backend()) in ("gpu", "cuda", "rocm")


@contextlib.contextmanager
def made_for(platform: str) -> Iterator[None]:
    """Make programs that are traced inside for another platform than that of this process."""
    token = _SAID.set(platform)
    try:
        yield
    finally:
        _SAID.reset(token)
