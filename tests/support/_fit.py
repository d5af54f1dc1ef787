"""`runs.fit` by keywords, for tests that change one of them at a time."""

import dataclasses
from typing import Any

from efm_jax import training
from efm_jax.models.build import Built
from efm_jax.runs import _fit
from efm_jax.runs._plan import Plan

_OF_PLAN = {field.name for field in dataclasses.fields(Plan)}


def fit(folder, recipe, network, optimizer, pos, neg, **options: Any) -> training.TrainState:
    """Train in a folder; options are those of `Plan`, of `Built` (initial, notes, ending) and of `runs.fit`."""
    built = Built((pos, neg), recipe, network, optimizer)
    built = built._replace(
        **{name: options.pop(name) for name in ("initial", "notes", "ending") if name in options}
    )
    plan = Plan(**{name: options.pop(name) for name in _OF_PLAN & options.keys()})
    return _fit.fit(folder, built, plan, **options)
