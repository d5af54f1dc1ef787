"""The run folder: which run it holds, whether it may be resumed, and what is left to do in it."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from efm_jax import checkpoint
from efm_jax._core import files
from efm_jax.models import configs
from efm_jax.training.state import TrainState

MAY_CHANGE = (
    "steps",
    "max_seconds",
    "save_every",
    "log_every",
    "keep",
    "progress",
    "picture_every",
    "sampling",
    "data.cache",
)
"""Fields of a config, with all inside them, that a resumed run may change: they do not touch its steps."""


def read_config(folder: str | os.PathLike) -> dict[str, Any]:
    """Read the config of the run in a folder, as `fit` was given it, lists for tuples.

    Args:
        folder: The run folder.

    Raises:
        ValueError: If there is no run in the folder or its config.json cannot be read.

    Examples:
        >>> import tempfile
        >>> read_config(tempfile.mkdtemp())  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        ValueError: no run in ...: config.json is missing; give the folder that a run was trained in.
    """
    path = files.expanded(folder) / "config.json"
    try:
        config = files.read_json(path, "restore it, or delete it if there are checkpoints: they hold one")
    except FileNotFoundError as error:
        raise ValueError(
            f"no run in {folder}: config.json is missing; give the folder that a run was trained in."
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            f"{path} must hold a JSON object, got {type(config).__name__}: it is not that of a run."
        )
    return config


def opened(
    folder: Path, identity: dict, fresh: TrainState, resume: bool, free: tuple[str, ...] = MAY_CHANGE
) -> tuple[TrainState, dict]:
    """Return the state to resume from and its meta; refuse a folder that holds something else than this run.

    Settings below a name in `free` may differ; those that are not in `MAY_CHANGE` are recorded in the log.
    """
    checkpoints = folder / "checkpoints"
    saved = sorted(files.find(checkpoints))
    config = read_config(folder) if (folder / "config.json").exists() else None
    if (saved or config is not None) and not resume:
        raise ValueError(
            f"{folder} already holds a run (checkpoints of steps {saved or 'none'}); pass resume=True to resume "
            "it, or choose another folder. Runs are never overwritten."
        )
    if config is None and not saved and (folder / "log.jsonl").exists():
        raise ValueError(f"{folder} holds a log.jsonl but no run; choose an empty folder.")
    if config is not None:
        check_same(folder, "config", config, identity["config"], free)
    state, meta = fresh, {}
    if saved:
        state, meta = checkpoint.restore(checkpoints, fresh)
        for part in ("config", "fit"):
            if part not in meta:
                raise ValueError(
                    f"{checkpoints} was not written by a run (no {part!r} in its meta); choose another."
                )
            check_same(folder, part, meta[part], identity[part], free)
        files.set_aside(checkpoints, newer_than=int(state.step))
        _record(folder, state, meta, identity, keep=len(saved))
    if config != identity["config"]:
        files.write_json(folder / "config.json", identity["config"])
    return state, meta


def finished(folder: Path, like: TrainState, *, steps: int, max_seconds: float | None) -> bool:
    """Whether nothing is left to do in a run folder, by the checkpoint that a run of this form of state would resume from.

    False if that cannot be known: opening the folder then says why.
    """
    checkpoints = folder / "checkpoints"
    if not _ended(checkpoint.read_meta(checkpoints) or {}, steps, max_seconds):
        return False  # the record alone decides for most runs
    try:
        state, meta = checkpoint.restore(checkpoints, like)
    except checkpoint.CheckpointError:
        return False
    return _ended({**meta, "data_position": int(state.step)}, steps, max_seconds)


def _ended(meta: dict[str, Any], steps: int, max_seconds: float | None) -> bool:
    done, seconds = meta.get("data_position", 0), meta.get("seconds", 0.0)
    return done >= steps or (max_seconds is not None and seconds >= max_seconds)


def _record(folder: Path, state: TrainState, meta: dict, identity: dict, *, keep: int) -> None:
    """Write settings that have changed to the log, and save the state again under the new ones."""
    changed = changes(_canonical(meta["config"]), _canonical(identity["config"]), free=MAY_CHANGE)
    if not changed:
        return
    meta = {**meta, **identity}
    del meta["versions"]
    checkpoint.save(folder / "checkpoints", state, meta=meta, keep=keep)
    line = {"step": int(state.step), "changed": {name: list(pair) for name, pair in changed.items()}}
    with contextlib.suppress(OSError), (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write(f"\n{json.dumps(line)}\n")  # what a killed process wrote may have no end


def _canonical(config: dict) -> dict:
    return configs.canonical(config)  # as another version may have written it


def check_same(folder: Path, what: str, old: dict, new: dict, free: tuple[str, ...]) -> None:
    """Raise ValueError that names the settings of a run that differ, in its config or fit, but for those below `free`."""
    if what == "config":
        old, new = _canonical(old), _canonical(new)
    apart = differences(old, new, "in the run", "now", free=free)
    if apart:
        listed, optimizer = "\n".join(apart), all(line.startswith("  optimizer.") for line in apart)
        fix = (
            "allow the change with `efm resume --allow-changes`"
            if optimizer
            else "choose another folder for a new run"
        )
        raise ValueError(
            f"the run in {folder} has another {what}:\n{listed}\nGive it the run's own values to resume, or {fix}."
        )


def flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    """Settings by place: `{"data.size": 32, ...}`."""
    places = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            places |= flat(value, f"{prefix}{name}.")
        else:
            places[f"{prefix}{name}"] = value
    return places


def changes(old: dict, new: dict, *, free: tuple[str, ...] = ()) -> dict[str, tuple[Any, Any]]:
    """Return the old and the new value of each setting that differs, except those below a name in `free`.

    Examples:
        >>> changes({"steps": 3, "data": {"size": 1}}, {"steps": 4, "data": {"size": 2}}, free=("steps",))
        {'data.size': (1, 2)}
    """
    old, new = flat(old), flat(new)
    pairs = {
        name: (old.get(name, "nothing"), new.get(name, "nothing")) for name in sorted(old.keys() | new.keys())
    }
    return {
        name: (before, now)
        for name, (before, now) in pairs.items()
        if before != now and not {name, *name.split(".")} & set(free)
    }


def differences(
    old: dict, new: dict, old_name: str, new_name: str, *, free: tuple[str, ...] = ()
) -> list[str]:
    """Return a line for each setting that differs, except those below a name in `free`.

    Examples:
        >>> recipes = {"method": "cfm", "width": 1.0}, {"method": "pfgm"}
        >>> differences(*({"recipe": one} for one in recipes), "before", "now", free=("method",))
        ['  recipe.width: 1.0 before, not an option of pfgm now']
    """
    sides = (flat(old), old_name), (flat(new), new_name)
    return [
        f"  {name}: " + ", ".join(f"{_told(settings, name)} {when}" for settings, when in sides)
        for name in changes(old, new, free=free)
    ]


def _told(settings: dict[str, Any], name: str) -> str:
    if name in settings:
        return repr(settings[name])
    method = settings.get("recipe.method")
    return f"not an option of {method}" if method and name.startswith("recipe.") else "not set"
