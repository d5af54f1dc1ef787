"""Configurations as versions before 1.0 wrote them, in today's form."""

from typing import Any

_OF_ALL = ("method", "gap", "charges", "num_points", "label_dropout", "label_groups")
_OF_SEGMENTS = ("points", "noise", "height", "coupling", "plan_features")
_OPTIONS = {
    "efm": ("convention", "target", "gamma", "field", *_OF_SEGMENTS),
    "c2fm": ("target", "reach", "field", *_OF_SEGMENTS),
    "ifm": ("law", "target", "width", *_OF_SEGMENTS),
    "cfm": ("width", "height", "coupling", "plan_features"),
    "pfgm": ("extra", "target", "gamma"),
}
_HEIGHTS = {"uniform": "linear", "arcsine": "sine", "log": "log_both"}
_NETWORK = {"output": "field", "height": "linear"}


def renewed(values: Any) -> Any:
    """Return the values of an old config.json in today's form, and any others unchanged.

    Old recipes held the options of all methods; those of the run's own stay. Distributions of heights had other names. Noise
    was drawn by the host.
    """
    if isinstance(values, dict) and isinstance(data := values.get("data"), dict):
        values = {**values, "data": {"noise": "host", **data}}
    recipe = values.get("recipe") if isinstance(values, dict) else None
    if not isinstance(recipe, dict):
        return values
    if recipe.get("height") in [*_HEIGHTS]:
        recipe = {**recipe, "height": _HEIGHTS[recipe["height"]]}
    method, others = recipe.get("method", "efm"), [values.get(part, {}) for part in ("network", "sampling")]
    readable = isinstance(method, str) and all(isinstance(part, dict) for part in others)
    if not readable or not {"convention", "law", "extra"} <= recipe.keys():
        return {**values, "recipe": recipe}
    names = (*_OF_ALL, *_OPTIONS.get(method, recipe))
    return {
        **values,
        "recipe": {name: recipe[name] for name in names if name in recipe},
        "network": {**_NETWORK, **others[0]},
        "sampling": {"clock": "sine", **others[1]},
    }
