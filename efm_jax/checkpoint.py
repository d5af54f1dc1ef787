"""Save and restore the state of a run: a checkpoint is complete or absent, checked on reading; the newest few stay.

A folder of checkpoints holds one folder for each step, `000001000/`, with two things in it:

    arrays/           the state's arrays, written by Orbax: large ones under their paths in the tree, small ones
                      end to end in one vector for each dtype (a thousand small files would cost a second); not
                      compressed, which would cost more time than it saves space on trained weights
    checkpoint.json   shapes and dtypes of the arrays, size and SHA-256 of every file, the caller's `meta`, versions

A checkpoint is written under another name and renamed when all of it is on disk, so a crash or a full disk
leaves the older ones as they were. One process writes a folder at a time; any one of several hosts may write it, and a
state split over devices is written whole. No pickle is written or read.
"""

import contextlib
import errno
import hashlib
import json
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from efm_jax._core import checks, files, trees
from efm_jax._core.versions import versions

__all__ = ["CheckpointError", "latest", "read_meta", "restore", "save"]

State = TypeVar("State")

_FORMAT = 2  # 1 was compressed and packed fewer arrays end to end
_READ = (1, 2)
_RECORD = "checkpoint.json"
_ARRAYS = "arrays"


class CheckpointError(ValueError):
    """A checkpoint cannot be restored: it is absent, damaged, or of another run."""


class _DamagedError(CheckpointError):
    """One checkpoint is damaged; an older one may be intact."""


def save(folder: str | os.PathLike, state: Any, *, meta: dict, keep: int = 3) -> Path:
    """Write a checkpoint of `state` at its step, then delete all but `keep`: this one and the newest of the others.

    Args:
        folder: The folder of checkpoints; created if it does not exist.
        state: A pytree of arrays with a `step`, e.g. a `TrainState`. Typed PRNG keys work too.
        meta: What else to save (config, position in the data): a dict that JSON can hold. The versions of the libraries
            are added under "versions".
        keep: How many checkpoints to keep.

    Returns:
        The folder of the checkpoint. It replaces a checkpoint of the same step.

    Raises:
        ValueError: If `keep` is not a whole number >= 1, JSON cannot hold `meta`, the state has no `step` that is a whole
            number >= 0, or two leaves of one path; nothing is then written.
        OSError: If the checkpoint cannot be written (disk full); the older checkpoints are then as they were.

    Examples:
        >>> import tempfile, jax.numpy as jnp
        >>> from efm_jax.training import TrainState
        >>> state = TrainState(jnp.ones(2), jnp.ones(2), (), jnp.array(7), jnp.zeros(2), 0, 0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = save(folder, state, meta={"seed": 1})
        ...     again, meta = restore(folder, state)
        >>> path.name, int(again.step), meta["seed"]
        ('000000007', 7, 1)
    """
    keep = checks.count("keep", keep)
    meta = {"versions": versions(), **files.to_json("meta", meta)}
    step, leaves = _step_of(state), trees.leaves(state)
    twice = [path for path, count in Counter(leaf.path for leaf in leaves).items() if count > 1]
    if twice:
        raise ValueError(f"two leaves of state have the path {twice[0]!r}; give each a name of its own.")
    folder = files.expanded(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files.sweep(folder)
    final = folder / f"{step:09d}"
    draft = files.draft_for(final)
    try:
        draft.mkdir()
        _write_arrays(draft / _ARRAYS, trees.pack(state))
        body = {
            "format": _FORMAT,
            "step": step,
            "leaves": leaves,
            "files": files.seal(draft),
            "meta": meta,
        }
        files.write_json(draft / _RECORD, {"sha256": _digest_of(body), "body": body})
        files.put_in_place(draft, final)
    except Exception as error:
        number = _disk_errno(error)
        if number is None:
            raise
        size = sum(getattr(leaf, "nbytes", 8) for leaf in jax.tree.leaves(state)) / 1e6
        older = ", ".join(map(str, sorted(files.find(folder)))) or "none"
        raise OSError(
            number,
            f"{os.strerror(number)}: the checkpoint of step {step} could not be written to {folder}; the "
            f"older ones are untouched (steps: {older}). Free some disk space, a checkpoint takes up to "
            f"{size:.1f} MB, or move the folder to another disk; then resume",
        ) from error
    finally:
        files.clear(draft)
    others = [path for number, path in sorted(files.find(folder).items()) if number != step]
    for path in others[: max(len(others) + 1 - keep, 0)]:
        files.delete(path)
    return final


def restore(folder: str | os.PathLike, like: State, step: int | None = None) -> tuple[State, dict]:
    """Read a checkpoint into the structure of `like` and check every byte of it.

    Args:
        folder: The folder of checkpoints.
        like: A state of the same structure, e.g. from `init_state`; the restored arrays get the sharding of its arrays.
            `jax.ShapeDtypeStruct` leaves work too.
        step: The step; None takes the newest that can be read, and warns if that is not the newest of all.

    Returns:
        `(state, meta)`, the arrays bit for bit as saved.

    Raises:
        CheckpointError: If there is no such checkpoint, it is damaged, or it belongs to another network or optimizer.

    Examples:
        >>> import tempfile
        >>> restore(tempfile.mkdtemp(), like=None)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        efm_jax.checkpoint.CheckpointError: no checkpoint in ...
    """
    folder = files.expanded(folder)
    found = files.find(folder)
    if not found:
        inner = folder / "checkpoints"
        hint = (
            f"did you mean {inner}?" if files.find(inner) else "train first, or give the folder they are in."
        )
        raise CheckpointError(f"no checkpoint in {folder}; {hint}")
    if step is not None:
        if step not in found:
            raise CheckpointError(
                f"no checkpoint of step {step} in {folder}; its checkpoints are of steps {sorted(found)}."
            )
        return _read(found[step], like)
    damaged = []
    for number in sorted(found, reverse=True):
        try:
            restored = _read(found[number], like)
        except _DamagedError as error:
            damaged.append(str(error))
            continue
        if damaged:
            warnings.warn(f"{' '.join(damaged)} Fell back to the checkpoint of step {number}.", stacklevel=2)
        return restored
    raise CheckpointError(
        f"none of the checkpoints in {folder} can be read: {' '.join(damaged)} Restore the folder from "
        "a copy, or delete it to train from the start."
    )


def latest(folder: str | os.PathLike) -> int | None:
    """Return the step of the newest checkpoint in a folder, its bytes unchecked, or None if there is none.

    Args:
        folder: The folder of checkpoints; it need not exist.

    Examples:
        >>> import tempfile
        >>> latest(tempfile.mkdtemp()) is None
        True
    """
    return max(
        (step for step, path in files.find(files.expanded(folder)).items() if (path / _RECORD).is_file()),
        default=None,
    )


def read_meta(folder: str | os.PathLike, step: int | None = None) -> dict | None:
    """Return the `meta` that was saved with a checkpoint, without reading its arrays.

    Args:
        folder: The folder of checkpoints; it need not exist.
        step: The step; None takes the newest whose record can be read.

    Returns:
        Its `meta`; None if there is no such checkpoint, or none that can be read (`restore` says why).

    Examples:
        >>> import tempfile
        >>> read_meta(tempfile.mkdtemp()) is None
        True
    """
    found = files.find(files.expanded(folder))
    for number in sorted(found, reverse=True) if step is None else [step] if step in found else []:
        with contextlib.suppress(_DamagedError):
            return _read_record(found[number])["meta"]
    return None


def _step_of(state: Any) -> int:
    step = getattr(state, "step", None)
    if step is None or np.ndim(step) or not np.issubdtype(np.asarray(step).dtype, np.integer) or step < 0:
        got = f"state.step = {step!r}" if hasattr(state, "step") else f"a {type(state).__name__} without it"
        raise ValueError(
            f"state must be a pytree with an attribute `step`, a whole number >= 0, got {got}.\n"
            "Use a TrainState, or a NamedTuple with a field `step`."
        )
    return int(step)


def _read(path: Path, like: State) -> tuple[State, dict]:
    body = _read_record(path)
    if body["format"] not in _READ:
        wrote = body["meta"]["versions"]  # "efm-jax" in the first ones
        raise CheckpointError(
            f"{path} has format {body['format']}, expected {_FORMAT}; read it with the version that wrote "
            f"it, efm_jax {wrote.get('efm_jax', wrote.get('efm-jax'))}."
        )
    saved = [trees.Leaf(name, tuple(shape), dtype) for name, shape, dtype in body["leaves"]]
    apart = trees.difference(trees.leaves(like), saved)
    if apart:
        raise CheckpointError(
            f"{path} belongs to another network or optimizer: {apart}. Build both with the config it was "
            "trained with (it is in the checkpoint's meta and in the run's config.json), or choose another "
            "folder."
        )
    broken = files.damage(path, body["files"])
    if broken:
        raise _DamagedError(broken)
    try:
        arrays = _read_arrays(path / _ARRAYS)
    except Exception as error:
        raise _DamagedError(f"{path} cannot be read ({type(error).__name__}: {error}).") from error
    return trees.unpack(arrays, saved, like), body["meta"]


def _read_record(path: Path) -> dict:
    try:
        record = files.read_json(path / _RECORD)
        body = record["body"]
        intact = record["sha256"] == _digest_of(body)
    except FileNotFoundError as error:
        raise _DamagedError(f"{path} has no {_RECORD}: damaged, or not written by efm_jax.") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _DamagedError(f"{path / _RECORD} cannot be read ({error}).") from error
    if not intact:
        raise _DamagedError(f"{path / _RECORD} was changed since it was written.")
    return body


def _digest_of(body: dict) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _disk_errno(error: Exception) -> int | None:
    """Return the system's error number if the disk caused the error; Orbax passes it on as text inside a ValueError."""
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    told = re.search(r"os_error_code='(\d+)'", str(error))
    return int(told[1]) if told else None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Orbax's threads from logging the traceback of an error that is raised here anyway."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def _write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import orbax.checkpoint as ocp  # here: it takes as long to import as the rest of the package

    with _quiet(), _of_this_process() as writer:
        writer.save(path.absolute(), args=ocp.args.PyTreeSave(arrays))


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp

    with _quiet(), _of_this_process() as reader:
        return reader.restore(path.absolute(), args=ocp.args.PyTreeRestore())


def _of_this_process() -> Any:
    """Make an Orbax checkpointer that waits for no other process: one process writes, any may read."""
    import orbax.checkpoint as ocp

    index = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=index, active_processes={index}, barrier_sync_key_prefix=f"process{index}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone, use_compression=False)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)
