"""Electrostatic Field Matching in JAX: samples in, charges on two plates, field lines out.

The rooms, in the order data flows: `charges`, `couplings`, `fields`, `points`, `matching`, `networks`, `training`,
`lines`, `sampling`, `metrics`. Each is loaded when it is first named, `efm_jax.fields` as well as `from efm_jax import
fields`; importing this package alone starts no backend and loads no plotting library.
"""

import importlib as _importlib
import os as _os
import pkgutil as _pkgutil
from types import ModuleType as _Module

if hasattr(_os, "sched_getaffinity") and len(_os.sched_getaffinity(0)) == 1:
    # With one thread XLA's CPU client waits for ever for the arguments of a host callback (`couplings.minibatch_ot`): the
    # thread that should copy them is the one that waits. NPROC is what it asks for the number of its threads.
    _os.environ.setdefault("NPROC", "2")

__version__ = "0.1.0"

_ROOMS = frozenset(room.name for room in _pkgutil.iter_modules(__path__) if not room.name.startswith("_"))


def __getattr__(name: str) -> _Module:
    if name in _ROOMS:
        return _importlib.import_module(f"efm_jax.{name}")
    raise AttributeError(
        f"module 'efm_jax' has no attribute {name!r}; its rooms are {', '.join(sorted(_ROOMS))}."
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
