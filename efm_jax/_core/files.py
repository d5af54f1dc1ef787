"""Files that are never half-written, folders whose damage shows, and one writer at a time."""

import contextlib
import functools
import hashlib
import io
import json
import os
import re
import shutil
import socket
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_OLD = 86_400
"""Seconds after which a draft of an unknown process is taken to be left behind."""


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file in an existing folder whole or not at all: after a crash or a full disk it is the old or the new."""
    path = Path(path)
    draft = draft_for(path)
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all (see `write_bytes`)."""
    write_bytes(path, text.encode(errors="backslashreplace"))  # names of files need not be UTF-8


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


@contextlib.contextmanager
def parsing(path: str | os.PathLike, what: str, fix: str = "") -> Iterator[None]:
    """Turn whatever a parser raises into one ValueError that names the file: a damaged file can make it raise anything.

    Args:
        path: The file.
        what: What it should be.
        fix: What to do about it.

    Raises:
        ValueError: The code inside raised something else than an OSError of the system, which names the file itself.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        why = " ".join(str(error).split())[:200] or type(error).__name__
        why = "more memory is needed than there is" if isinstance(error, MemoryError) else why
        raise ValueError(
            f"{path} is no readable {what}, or it is damaged ({why}){fix and '; ' + fix}."
        ) from error


def read_json(path: str | os.PathLike, fix: str = "") -> Any:
    """Read a JSON file.

    Raises:
        ValueError: It is damaged or not JSON.
        OSError: It cannot be opened.
    """
    with parsing(path, "JSON file", fix):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def expanded(path: str | os.PathLike) -> Path:
    """Return the path with `~` and `~user` as folders.

    Raises:
        ValueError: There is no such user.
    """
    full = os.path.expanduser(path)
    if os.fspath(full)[:1] in ("~", b"~"):
        raise ValueError(f"there is no home directory for {path}; write the whole path.")
    return Path(full)


def cache_folder(name: str) -> Path:
    """Return the folder `efm_jax/NAME` below XDG_CACHE_HOME, or else below ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "efm_jax" / name


def sync_folder(folder: str | os.PathLike) -> None:
    """Make renames and new names in a folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def exclusive(path: str | os.PathLike, what: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock file `path`, so that one process at a time works on `what`; if it is held already ValueError, or wait.

    The operating system lets go of the lock when its holder ends. The file stays, with the number of its last holder in it.
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
            if not wait:
                raise ValueError(
                    f"{what} is in use by {holder}; wait for it to end, end it, or choose another folder."
                ) from error
            warnings.warn(f"waiting for {holder}, which works on {what}", stacklevel=3)
            fcntl.flock(file, fcntl.LOCK_EX)
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


def find(folder: str | os.PathLike) -> dict[int, Path]:
    """The numbered folders inside a folder, by number; none if it does not exist."""
    if not Path(folder).is_dir():
        return {}
    paths = [path for path in Path(folder).iterdir() if path.is_dir() and path.stem.isdecimal()]
    replaced = {int(path.stem): path for path in paths if path.suffix == ".replaced"}
    return {**replaced, **{int(path.stem): path for path in paths if not path.suffix}}


def put_in_place(draft: Path, final: Path) -> None:
    """Rename a draft, all of it on the disk, to its final name; what had that name before goes."""
    if final.exists():
        aside = final.with_suffix(".replaced")
        if aside.exists():  # its process died before it could delete it
            delete(aside)
        final.rename(aside)
        draft.rename(final)
        delete(aside)
    else:
        draft.rename(final)
    sync_folder(final.parent)


def delete(path: Path) -> None:
    """Delete a folder under a name that readers pass over, so that half of it is never found."""
    doomed = draft_for(path)
    path.rename(doomed)
    clear(doomed)


def draft_for(final: Path) -> Path:
    """A new name to write a file or folder under until it is whole; what dead processes left in its folder is swept.

    The name holds the process, and not the final name, which may be as long as names can be.
    """
    _sweep_drafts(str(final.parent))
    return final.with_name(f".efm-{_machine()}-{os.getpid()}-{os.urandom(4).hex()}.tmp")


@functools.cache  # once for each process and folder: a folder may hold 100,000 pictures
def _sweep_drafts(folder: str) -> None:
    """Delete drafts whose process is dead, or, of other machines, a day old."""
    with contextlib.suppress(OSError):
        for path in Path(folder).glob(".efm-*.tmp"):
            named = re.fullmatch(r"\.efm-([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.tmp", path.name)
            if named is not None and _left(path, *named.groups()):
                path.unlink() if path.is_file() else clear(path)


def _left(path: Path, machine: str, process: str) -> bool:
    if machine == _machine():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except (OSError, OverflowError):
            pass  # another user's process
    return time.time() - path.stat().st_mtime > _OLD


@functools.cache
def _machine() -> str:
    """A short name of this machine, or container: process numbers mean something inside it alone."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode()).hexdigest()[:8]


def clear(path: Path) -> None:
    """Delete a draft, also while a thread whose writing has failed may still be adding to it."""
    for _ in range(50):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.02)


def sweep(folder: Path) -> None:
    """Clear away what writers that died left behind."""
    for path in folder.glob(".*.tmp"):
        clear(path)
    for path in folder.glob("*.replaced"):
        if path.with_suffix("").exists():
            delete(path)
        else:
            path.rename(path.with_suffix(""))


def set_aside(folder: Path, newer_than: int) -> None:
    """Rename the folders above a number to `*.damaged`: out of sight, but not lost. One replaces another of its number."""
    for number, path in sorted(find(folder).items()):
        if number > newer_than:
            target = path.with_name(f"{number:09d}.damaged")
            shutil.rmtree(target, ignore_errors=True)
            path.rename(target)
