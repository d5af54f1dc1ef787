"""Numbered folders, each put in place whole: `000001000/` holds what belongs to step 1000.

Names that readers pass over: `.*.tmp` (being written or deleted) and `*.damaged` (set aside). `*.replaced` is
the old content of a step while the new one takes its place; it counts if the writer died in between.
"""

import os
import shutil
import time
from pathlib import Path

from . import _files


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
        final.rename(aside)
        draft.rename(final)
        delete(aside)
    else:
        draft.rename(final)
    _files.sync_folder(final.parent)


def delete(path: Path) -> None:
    """Delete a folder under a name that readers pass over, so that half of it is never found."""
    doomed = draft_for(path)
    path.rename(doomed)
    clear(doomed)


def draft_for(final: Path) -> Path:
    """A new name to write a folder under until it is whole."""
    return final.with_name(f".{final.name}.{os.urandom(4).hex()}.tmp")


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
    """Rename the folders above a number to `*.damaged`: out of sight, but not lost."""
    for number, path in sorted(find(folder).items()):
        if number > newer_than:
            target = path.with_name(f"{number:09d}.damaged")
            shutil.rmtree(target, ignore_errors=True)
            path.rename(target)
