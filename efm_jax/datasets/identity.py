"""Which data a name names, wherever they lie: the name with its path made absolute, and a digest of its files."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from efm_jax._core import files
from efm_jax.datasets import picture_files, shards, tables

__all__ = ["WITH_PATHS", "absolute", "digest", "parts"]

WITH_PATHS = ("folder", "tar", "npz", "npy", "mnist", "cifar10", "inception", *tables.KINDS)
"""Kinds of names that hold a path."""

_BLOCKS, _BLOCK = 64, 1 << 16  # at most 4 MB are read, however much there is


def parts(name: str) -> tuple[str, str, str]:
    """Split a name into its kind, the path that it holds ("" for none) and what follows; joined they are the name.

    Of arrays and digits the path keeps what follows it, a key or a digit.

    Examples:
        >>> parts("csv:/data/a.csv:dose=1/2"), parts("npz:a.npz:x"), parts("digits:3")
        (('csv:', '/data/a.csv', ':dose=1/2'), ('npz:', 'a.npz:x', ''), ('', '', 'digits:3'))
    """
    kind, _, rest = name.partition(":")
    if kind not in WITH_PATHS or not rest:
        return "", "", name
    path = tables.split(rest)[0] if kind in tables.KINDS else rest
    return f"{kind}:", path, rest[len(path) :]


def absolute(name: str) -> str:
    """Return the name of data with its path made absolute, so that it names the same files from any folder.

    Examples:
        >>> absolute("digits:3"), absolute("npz:/a/../b.npz:x")
        ('digits:3', 'npz:/b.npz:x')
    """
    kind, path, rest = parts(name)
    return f"{kind}{os.path.abspath(os.path.expanduser(path))}{rest}" if path else name


def digest(name: str) -> str | None:
    """Return a digest of the files behind a name, the same wherever they lie; None where there are none.

    It is of the kind of the data, what follows the path, the files' names below a folder, their sizes, and up to 64 blocks
    of 64 KB of their content: seconds for 100,000 pictures.

    Args:
        name: As `open_source` takes it.

    Returns:
        64 hexadecimal digits, or None.

    Raises:
        FileNotFoundError: A folder holds no picture.

    Examples:
        >>> digest("moons") is None
        True
    """
    kind, _, rest = name.partition(":")
    if kind not in WITH_PATHS:
        return None
    path = rest
    if kind == "tar":
        try:
            paths = shards.expanded(path)
        except FileNotFoundError:
            return None
        root = Path(os.path.commonpath([one.parent for one in paths]))
        names = [one.relative_to(root).as_posix() for one in paths]
    else:
        while ":" in path and not files.expanded(path).exists():
            path = path.rpartition(":")[0]
        root = files.expanded(path)
        if not root.exists():
            return None
        names = _names(kind, root)
    sizes = [(root / file).stat().st_size for file in names]
    found = hashlib.sha256(json.dumps([kind, rest[len(path) :], names, sizes]).encode())
    count = min(len(names), _BLOCKS)
    for k in range(count):
        i = k * len(names) // count
        blocks = min(_BLOCKS // count, sizes[i] // _BLOCK + 1)
        with (
            contextlib.suppress(OSError),
            open(root / names[i], "rb") as file,
        ):  # the reader says what is wrong
            for block in range(blocks):
                file.seek(max(sizes[i] - _BLOCK, 0) * block // max(blocks - 1, 1))
                found.update(file.read(_BLOCK))
    return found.hexdigest()


def _names(kind: str, root: Path) -> list[str]:
    """The files of data below their path, "" for the path itself."""
    if kind == "folder":
        return picture_files.listing(root).pictures
    if kind in ("mnist", "cifar10"):
        pattern = "*ubyte*" if kind == "mnist" else "**/*.bin"
        return sorted(file.relative_to(root).as_posix() for file in root.glob(pattern) if file.is_file())
    return [""]
