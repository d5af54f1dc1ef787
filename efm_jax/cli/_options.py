"""Kinds of options that several commands share: how their help names the value."""

from pathlib import Path
from typing import Annotated

from tyro.conf import arg

RunFolder = Annotated[Path, arg(metavar="RUN")]
Place = Annotated[str, arg(metavar="RUN_OR_MODEL")]
Number = arg(metavar="N")


def optional(kind: str, default: str) -> object:
    """An option that may be left out: what it takes, and what happens then."""
    return arg(metavar=kind, help_behavior_hint=f"(default: {default})")
