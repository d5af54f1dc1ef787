"""Electrostatic Field Matching in JAX: samples in, charges on two plates, field lines out.

Modules, in the order data flows: `datasets`, `charges`, `fields`, `matching`, `networks`, `training`, `lines`, `sampling`,
`metrics`, `evaluation`, `models`, `runs`. Each loads when it is first named: `efm_jax.fields` works as well as
`from efm_jax import fields`. Importing this package starts no backend and loads no plotting library.
`efm_jax.fit` trains on two arrays in one call.
"""

import importlib as _importlib
import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if hasattr(_os, "sched_getaffinity") and len(_os.sched_getaffinity(0)) == 1:
    # With one thread XLA's CPU client waits for ever for the arguments of a host callback (`couplings.minibatch_ot`): the
    # thread that should copy them is the one that waits. NPROC is what it asks for the number of its threads.
    _os.environ.setdefault("NPROC", "2")

if _TYPE_CHECKING:
    from efm_jax import (
        charges,
        checkpoint,
        cli,
        datasets,
        evaluation,
        fields,
        lines,
        matching,
        metrics,
        models,
        networks,
        parallel,
        runs,
        sampling,
        training,
        types,
    )
    from efm_jax.datasets import spaces
    from efm_jax.evaluation import features
    from efm_jax.fields import widths
    from efm_jax.lines import clocks, launches, likelihood, whole_space
    from efm_jax.matching import couplings, gaps, points
    from efm_jax.models import configs, presets
    from efm_jax.runs.of_arrays import fit
    from efm_jax.sampling import grids, guidance, reflow

__version__ = "0.1.0"

__all__ = [
    "charges",
    "checkpoint",
    "cli",
    "clocks",
    "configs",
    "couplings",
    "datasets",
    "evaluation",
    "features",
    "fields",
    "fit",
    "gaps",
    "grids",
    "guidance",
    "launches",
    "likelihood",
    "lines",
    "matching",
    "metrics",
    "models",
    "networks",
    "parallel",
    "points",
    "presets",
    "reflow",
    "runs",
    "sampling",
    "spaces",
    "training",
    "types",
    "whole_space",
    "widths",
]

_SHORT = {
    "clocks": "lines.clocks",
    "configs": "models.configs",
    "couplings": "matching.couplings",
    "features": "evaluation.features",
    "gaps": "matching.gaps",
    "grids": "sampling.grids",
    "guidance": "sampling.guidance",
    "launches": "lines.launches",
    "likelihood": "lines.likelihood",
    "points": "matching.points",
    "presets": "models.presets",
    "reflow": "sampling.reflow",
    "spaces": "datasets.spaces",
    "whole_space": "lines.whole_space",
    "widths": "fields.widths",
}
"""Modules that also go by a short name."""


def __getattr__(name: str) -> _Any:
    if name == "fit":
        return _importlib.import_module("efm_jax.runs.of_arrays").fit
    if name in __all__:
        return _importlib.import_module(f"efm_jax.{_SHORT.get(name, name)}")
    raise AttributeError(f"module 'efm_jax' has no attribute {name!r}; its modules are {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
