"""The run folder: which run it holds, whether it may be resumed, and what is left to do in it."""

import json
import os
from pathlib import Path
from typing import Any

from efm_jax import checkpoint
from efm_jax._core import files
from efm_jax.models import configs
from efm_jax.training.state import TrainState

MAY_CHANGE = ("steps", "max_seconds", "save_every", "log_every", "keep", "progress", "sampling")
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
    path = Path(folder).expanduser() / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"no run in {folder}: config.json is missing; give the folder that a run was trained in."
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{path} is not JSON ({error}); restore it, or delete it if there are checkpoints: they hold one."
        ) from error
    if not isinstance(config, dict):
        raise ValueError(
            f"{path} must hold a JSON object, got {type(config).__name__}: it is not that of a run."
        )
    return config


def opened(folder: Path, identity: dict, fresh: TrainState, resume: bool) -> tuple[TrainState, dict]:
    """Return the state to resume from and its meta; refuse a folder that holds something else than this run."""
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
        _check_same(folder, "config", config, identity["config"])
    state, meta = fresh, {}
    if saved:
        state, meta = checkpoint.restore(checkpoints, fresh)
        for part in ("config", "fit"):
            if part not in meta:
                raise ValueError(
                    f"{checkpoints} was not written by a run (no {part!r} in its meta); choose another."
                )
            _check_same(folder, part, meta[part], identity[part])
        files.set_aside(checkpoints, newer_than=int(state.step))
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


def _check_same(folder: Path, what: str, old: dict, new: dict) -> None:
    if what == "config":  # as another version may have written it
        old, new = configs.canonical(old), configs.canonical(new)
    apart = differences(old, new, "in the run", "now", free=MAY_CHANGE)
    if apart:
        listed = "\n".join(apart)
        raise ValueError(
            f"the run in {folder} has another {what}:\n{listed}\nGive it the run's own values to resume, or "
            "choose another folder for a new run."
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


def differences(
    old: dict, new: dict, old_name: str, new_name: str, *, free: tuple[str, ...] = ()
) -> list[str]:
    """Return a line for each setting that differs, except those below a name in `free`."""
    old, new = flat(old), flat(new)
    return [
        f"  {name}: {old.get(name, 'nothing')!r} {old_name}, {new.get(name, 'nothing')!r} {new_name}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name, "nothing") != new.get(name, "nothing") and not set(name.split(".")) & set(free)
    ]
