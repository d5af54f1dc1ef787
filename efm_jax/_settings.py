"""Settings as nested dicts: by place, and how two of them differ in words."""

from typing import Any


def flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Settings by place: `{"data.size": 32, ...}`.

    Example:
        >>> flat({"steps": 3, "data": {"size": 32}})
        {'steps': 3, 'data.size': 32}
    """
    places = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            places |= flat(value, f"{prefix}{name}.")
        else:
            places[f"{prefix}{name}"] = value
    return places


def apart(old: dict, new: dict, here: str, there: str, *, free: tuple[str, ...] = ()) -> list[str]:
    """A line for each place at which settings differ, but for those below a name that is free to.

    Example:
        >>> apart({"steps": 3, "seed": 0}, {"steps": 4, "seed": 1}, "before", "now", free=("steps",))
        ['  seed: 0 before, 1 now']
    """
    old, new = flat(old), flat(new)
    return [
        f"  {name}: {old.get(name, 'nothing')!r} {here}, {new.get(name, 'nothing')!r} {there}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, "nothing") != new.get(name, "nothing") and not set(name.split(".")) & set(free)
    ]
