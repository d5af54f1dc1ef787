"""Runs as plain values of JSON, and back."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, get_args

from efm_jax._core import files
from efm_jax.datasets import tables
from efm_jax.models.configs._completing import complete
from efm_jax.models.configs._old import renewed
from efm_jax.models.configs._recipes import EFM, METHODS, Method, Recipe
from efm_jax.models.configs._run import Reflow, Run


def to_dict(run: Run) -> dict[str, Any]:
    """Return the complete configuration as plain JSON values.

    `parallel` and `log` are left out, since they say where a run trains and not what; so are `reflow`, `init` and
    `data.table` of a run without.

    Examples:
        >>> to_dict(Run(seed=3))["seed"]
        3
    """
    values = dataclasses.asdict(complete(run))
    del values["parallel"], values["log"]
    if run.reflow == Reflow():
        del values["reflow"]
    if run.init is None:
        del values["init"]
    if run.data.table == tables.ALL:
        del values["data"]["table"]
    return json.loads(json.dumps(values))


def from_dict(values: dict[str, Any]) -> Run:
    """Rebuild a configuration from `to_dict`, of this version or an older one; what is not known is refused.

    Args:
        values: Nested plain values; missing keys take their defaults.

    Raises:
        ValueError: An unknown key or a value of the wrong type, named with its place and the keys known there.

    Examples:
        >>> from_dict({"seed": 3, "recipe": {"gap": 30.0}}).recipe.gap
        30.0
    """
    return complete(_rebuild(Run, renewed(values), "config"))


def canonical(values: dict[str, Any]) -> dict[str, Any]:
    """Return the plain values of a run as this version writes them; those of anything else unchanged.

    Examples:
        >>> canonical({"seed": 3}) == to_dict(Run(seed=3)), canonical({"rate": 3})
        (True, {'rate': 3})
    """
    try:
        return to_dict(from_dict(values))
    except ValueError:
        return values


def load(path: str | Path) -> Run:
    """Read a configuration from a JSON file, e.g. a run folder's `config.json`.

    Raises:
        ValueError: The file is not JSON, or not a configuration.
    """
    path = Path(path)
    values = files.read_json(path, "restore it")
    try:
        return from_dict(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _rebuild(cls: Any, values: Any, place: str) -> Any:
    if not isinstance(values, dict):
        raise ValueError(f"{place} must be a JSON object, got {values!r}.")
    if cls is Recipe:
        method = values.get("method", EFM.method)
        if not isinstance(method, str) or method not in METHODS:
            raise ValueError(f"{place}.method must be one of {', '.join(METHODS)}, got {method!r}.")
        cls = METHODS[method]
    fields = {f.name: f.type for f in dataclasses.fields(cls)}
    for key in values:
        if key not in fields:
            of = [name for name, other in METHODS.items() if hasattr(other, key) and issubclass(cls, Method)]
            whose = f"is an option of {' and '.join(of)}" if of else "is not known"
            raise ValueError(f"{place}.{key} {whose}; {place} has {', '.join(fields)}.")
    return cls(**{key: _fit(value, fields[key], f"{place}.{key}") for key, value in values.items()})


def _fit(value: Any, kind: Any, place: str) -> Any:
    if hasattr(kind, "__metadata__"):  # Annotated
        kind = kind.__origin__
    if kind is Recipe or dataclasses.is_dataclass(kind):
        return _rebuild(kind, value, place)
    options: tuple = getattr(kind, "__args__", ())
    pairs = [option for option in options if option == tuple[int, int]]
    if pairs and isinstance(value, list | tuple):
        if len(value) != 2 or not all(type(v) is int and abs(v) < 2**63 for v in value):
            raise ValueError(f"{place} must be a whole number or a pair of them, got {value!r}.")
        return tuple(value)
    if tuple[str, ...] in (kind, *options) and isinstance(value, list | tuple):
        if not value or not all(isinstance(name, str) for name in value):
            raise ValueError(f"{place} must be a list of names, got {value!r}.")
        return tuple(value)
    if getattr(kind, "__origin__", None) is tuple:
        if not isinstance(value, list | tuple) or not all(type(v) is int and abs(v) < 2**63 for v in value):
            raise ValueError(f"{place} must be a list of whole numbers, got {value!r}.")
        return tuple(value)
    literals = [get_args(k) for k in (kind, *options) if getattr(k, "__origin__", None) is Literal]
    if literals:
        words = sum(literals, ()) + ((None,) if type(None) in options else ())
        if value not in words:
            raise ValueError(f"{place} must be one of {', '.join(map(repr, words))}, got {value!r}.")
        return value
    if isinstance(value, int | float) and not abs(value) < 2**63:  # NaN too
        raise ValueError(f"{place} must be a finite number below 2^63, got {str(value)[:30]}.")
    kinds = options or (kind,)
    if float in kinds and type(value) is int:
        value = float(value)
    if type(value) not in kinds:
        names = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
        raise ValueError(f"{place} must be {names}, got {value!r}.")
    return value
