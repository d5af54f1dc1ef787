"""Electrostatic Field Matching in JAX: samples in, charges on two plates, field lines out.

The rooms, in the order data flows: `charges`, `couplings`, `fields`, `points`, `matching`, `networks`, `training`,
`lines`, `sampling`, `metrics`. Importing this package starts no backend and loads no plotting library.
"""

import os as _os

if hasattr(_os, "sched_getaffinity") and len(_os.sched_getaffinity(0)) == 1:
    # With one thread XLA's CPU client waits for ever for the arguments of a host callback (`couplings.minibatch_ot`): the
    # thread that should copy them is the one that waits. NPROC is what it asks for the number of its threads.
    _os.environ.setdefault("NPROC", "2")

__version__ = "0.1.0"
