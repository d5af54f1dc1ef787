"""Memory: what is free, looked at before much of it is taken."""

import contextlib
import os
from pathlib import Path


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
    with contextlib.suppress(OSError, ValueError):  # "max" where a container has no limit
        found.append(int(Path("/sys/fs/cgroup/memory.max").read_text()))
    if not found and hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found, default=None)
