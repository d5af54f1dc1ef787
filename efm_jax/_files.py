"""Files that are never half-written, folders whose damage shows, and one writer at a time."""

import contextlib
import hashlib
import io
import json
import os
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file whole or not at all: a reader, or a crash, finds the old content or the new.

    Args:
        path: The file; its folder must exist.
        content: Its new content.

    Raises:
        OSError: If it cannot be written (disk full, no permission); the old content is then untouched.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.tmp")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all (see `write_bytes`)."""
    write_bytes(path, text.encode())


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all (see `write_bytes`)."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def write_array(path: str | os.PathLike, array: np.ndarray) -> None:
    """Write an array in NumPy's `.npy` format, whole or not at all (see `write_bytes`)."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def to_json(name: str, value: Any) -> Any:
    """Return `value` as JSON gives it back (tuples as lists, paths as text); ValueError naming `name`."""
    try:
        return json.loads(json.dumps(value, default=_path_as_text, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must hold only what JSON can (dicts, lists, text, finite numbers, None): {error}. "
            "Convert arrays with .tolist(), dataclasses with dataclasses.asdict, and NaN or infinity to None."
        ) from error


def sync_folder(folder: str | os.PathLike) -> None:
    """Make renames and new names in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def exclusive(path: str | os.PathLike, what: str) -> Iterator[None]:
    """Hold the lock file `path`, so that only one process at a time works on `what`.

    The operating system lets go of the lock when its holder ends, however it ends: a file left by a dead
    process holds nothing up. The file itself stays, with the number of its last holder in it.

    Raises:
        ValueError: If another process (or this one) holds the lock.
    """
    try:
        import fcntl
    except ImportError:
        warnings.warn(
            f"this system has no file locks: make sure that nothing else writes to {what}.", stacklevel=3
        )
        yield
        return
    with open(path, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "a process it does not name"
            raise ValueError(
                f"{what} is in use by {holder}; wait for it to end, end it, or choose another folder."
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        yield


def seal(folder: str | os.PathLike) -> dict[str, tuple[int, str]]:
    """Push every file of a folder to the disk; return its size and SHA-256 by relative path."""
    sealed = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_dir():
            sync_folder(path)
            continue
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sealed[path.relative_to(folder).as_posix()] = (path.stat().st_size, digest)
    return sealed


def damage(folder: str | os.PathLike, sealed: Mapping[str, Sequence]) -> str | None:
    """Say in words which file of a folder is no longer as `seal` found it, or return None if all are."""
    for name, (size, digest) in sealed.items():
        path = Path(folder) / name
        try:
            got = path.stat().st_size
            if got != size:
                return f"{path} is damaged: expected {size} bytes, got {got}."
            with open(path, "rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return f"{path} is damaged: its bytes are not those that were written."
        except FileNotFoundError:
            return f"{path} is missing."
        except OSError as error:
            return f"{path} cannot be read ({error})."
    return None


def _path_as_text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"got {value!r} of type {type(value).__name__}")
