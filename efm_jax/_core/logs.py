"""Logs: whole lines of JSON, and whether what else they go to is there."""

import json
from pathlib import Path
from typing import Any

from efm_jax._core import lazy


def read(path: Path) -> list[dict[str, Any]]:
    """Read the whole lines of a log; none if there is no log."""
    content = path.read_bytes() if path.is_file() else b""
    return [line for line in map(parsed, content.split(b"\n")) if line is not None]


def parsed(text: bytes) -> dict[str, Any] | None:
    """Read one line; None for one that is damaged.

    Examples:
        >>> parsed(b'{"step": 3}'), parsed(b'{"step": 3'), parsed(b'{"step": "3"}')
        ({'step': 3}, None, None)
    """
    try:
        line = json.loads(text)
    except Exception:  # the parser promises nothing
        return None
    return line if isinstance(line, dict) and type(line.get("step")) is int else None


def check_board(name: str) -> None:
    """Raise ImportError unless what a log is to be written to is installed; TensorBoard is written where it can be."""
    if name == "wandb" and not hasattr(lazy.optional("wandb"), "init"):  # a folder wandb/ can be imported too
        raise ImportError("--log wandb needs wandb, which is not installed.\npip install wandb")
