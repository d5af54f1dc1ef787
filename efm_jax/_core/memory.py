"""Memory: what is free, looked at before much of it is taken."""

import contextlib
import os
from pathlib import Path

_CONTAINER = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""A container's limit, what it uses, and what of that are pages of files that the kernel gives back: cgroup 2 and 1."""


def check(what: str, size: int, fix: str) -> None:
    """Raise ValueError if `size` bytes are more than the memory that is free; below 256 MiB nothing is looked at."""
    available = free() if size > 2**28 else None
    if available is not None and size > available:
        raise ValueError(
            f"{what} needs at least {size / 2**30:,.1f} GiB of memory, {available / 2**30:,.1f} GiB are free.\n{fix}"
        )


def free() -> int | None:
    """Return the bytes of memory that this process can still have; None where the system does not say."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        found.append(1024 * int(lines["MemAvailable"].split()[0]))
    found += [left for version in _CONTAINER if (left := _left(*version)) is not None]
    if not found and hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)


def _left(limit: str, used: str, pages: str, root: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What a container may still take; None where it has no limit."""
    with contextlib.suppress(OSError, ValueError, IndexError):  # "max" where there is no limit
        stat = dict(line.split() for line in (root / used).with_name("memory.stat").read_text().splitlines())
        kept = int((root / used).read_text()) - int(stat.get(pages, 0))
        return max(int((root / limit).read_text()) - kept, 0)
    return None
