"""Packages whose names load their files when first used, and packages that may be missing."""

import importlib
from collections.abc import Callable
from typing import Any


def attach(package: str, files: dict[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package (`__name__`) for names that live in its `files`, given by name."""

    def __getattr__(name: str) -> Any:
        if name not in files:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(files)}.")
        return getattr(importlib.import_module(f"{package}.{files[name]}"), name)

    return __getattr__


def optional(package: str) -> Any:
    """Return a package or module, or None where it is not installed."""
    try:
        return importlib.import_module(package)
    except ImportError:
        return None
