"""Write into a user's folder: no two pictures get one name, and no file of the user is overwritten.

A marker lies with the results: `lines.json`, or a report. It lists the files that a later call may replace:

made_by  "efm_jax"; without it the file is not ours
files    what the call wrote, or was about to write when it was stopped
earlier  what calls before it wrote here and it has not yet removed

`lines.json` also says of each line whether it arrived:

lines    of pictures: `input`, `file` and `arrived` of each
source   the folder of these inputs, where they are files
arrived  of arrays: of each row
"""

import contextlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from efm_jax._core import files as _files

MARKER = "lines.json"
MADE_BY = "efm_jax"
_OF_FILES = (
    ".png .jpg .jpeg .webp .bmp .gif .tif .tiff .npy .npz .csv .tsv .txt .xls .xlsx .parquet .pq .h5ad .html .json .pdf "
    ".safetensors .zip .tar .gz .tgz"
)
"""Endings of files that a person may expect where a folder is written."""


class Made(NamedTuple):
    """What `lines.json` says of the pictures in a folder.

    Attributes:
        inputs: What each was made from: the path of a picture below `source`, or a number.
        source: The folder of the inputs; None where they are no files.
        sheets: Pictures that show several of them.
    """

    inputs: dict[str, Any]
    source: Path | None
    sheets: frozenset[str]


def made(folder: Path) -> Made:
    """Read what an earlier call says of the pictures that it wrote; nothing if there was none."""
    found = _read(folder, MARKER)
    lines = _listed(found, "lines", dict)
    inputs = {line["file"]: line.get("input") for line in lines if isinstance(line.get("file"), str)}
    source = found.get("source")
    sheets = frozenset(_listed(found, "files", str)) - inputs.keys() if inputs else frozenset()
    return Made(inputs, Path(source) if isinstance(source, str) else None, sheets)


def as_png(names: list[str]) -> list[str]:
    """Name a file for each picture, no two the same and none that of a folder, also where case makes no difference.

    A png keeps its name; another gives up its ending where the name is free then, and keeps it before `.png` elsewhere.
    """
    taken = _folders(names)
    stems = {name: str(PurePosixPath(name).with_suffix("")) for name in names}
    same = Counter(map(_key, stems.values()))
    files = {}
    for name in sorted(
        names, key=lambda name: (not name.endswith(".png"), not name.lower().endswith(".png"))
    ):
        short = name.lower().endswith(".png") or same[_key(stems[name])] == 1
        files[name] = _free(stems[name] if short else name, name, taken)
        taken.add(_key(files[name]))
    return [files[name] for name in names]


def overview(name: str, files: list[str]) -> str:
    """Name a png like `name` that is not among the files and their folders."""
    return _free(name, f"{name}_all", {*map(_key, files), *_folders(files)})


def written(folder: Path, marker: str = MARKER) -> list[str]:
    """List the files in a folder that earlier calls wrote, as their marker says; none if that is not ours."""
    found = _read(folder, marker)
    return [*_listed(found, "files", str), *_listed(found, "earlier", str)]


def left(folder: Path, files: list[str]) -> list[str]:
    """List the files in a folder that earlier calls wrote and that writing `files` leaves there."""
    return sorted({file for file in written(folder) if os.path.lexists(folder / file)} - {*files})


def check(
    folder: Path,
    files: list[str],
    *,
    marker: str = MARKER,
    inputs: Iterable[Path] = (),
    overwrite: bool | None = False,
) -> None:
    """Raise ValueError if writing `files`, the marker among them, would replace one of the user's, or one of the `inputs`.

    So does a new folder whose name is that of a file, as out.png.

    `marker` lists what an earlier call wrote. `overwrite` allows to replace the user's files, never inputs; it is None where
    the command has no such option. With `lines.json` as marker, results of an earlier call are refused without it, lest two
    calls are mixed; those of a call that was stopped are not. Nothing is written or changed.
    """
    for place in (folder, *folder.parents):
        if os.path.lexists(place) and not place.is_dir():
            raise ValueError(f"output {place} is a file, expected a folder; give another output.")
    if folder.suffix.lower() in _OF_FILES.split() and not folder.is_dir():
        raise ValueError(
            f"output {folder} has the name of a file, and a folder is written.\n"
            f"Give the name of a folder, e.g. {folder.with_suffix('')}"
        )
    read = {path.resolve() for path in inputs}
    earlier = written(folder, marker)
    own = {*earlier, marker} if earlier else set()
    above = {str(parent) for file in files for parent in PurePosixPath(file).parents} - {"."}
    if marker in above:
        raise ValueError(
            f"the input has a folder named {marker}, the name of a file to be written; rename it."
        )
    present = [file for file in files if os.path.lexists(folder / file)]
    in_the_way = [
        name for name in sorted(above) if os.path.lexists(folder / name) and not (folder / name).is_dir()
    ]
    in_the_way += [file for file in present if (folder / file).is_dir()]
    if in_the_way:
        raise ValueError(
            f"{folder / in_the_way[0]} is in the way of what is to be written; give another output folder."
        )
    for file in present:
        if (folder / file).resolve() in read:
            raise ValueError(
                f"{folder / file} is an input and would be overwritten; give another output folder."
            )
    if marker == MARKER:
        _check_earlier(folder, files, read, overwrite=bool(overwrite))
    foreign = [] if overwrite else [file for file in present if file not in own]
    if foreign:
        option = "" if overwrite is None else ", or overwrite them with --overwrite (overwrite=True)"
        raise ValueError(
            f"{len(foreign)} of the {len(files)} files to write exist, the first is "
            f"{folder / foreign[0]}.\nGive another output folder{option}."
        )


def _check_earlier(folder: Path, files: list[str], read: set[Path], *, overwrite: bool) -> None:
    """Refuse to replace the results of an earlier call unasked, and to remove those that are read."""
    earlier, found = left(folder, []), _read(folder, MARKER)
    if earlier and not overwrite and {"lines", "arrived"} & found.keys():
        raise ValueError(
            f"output {folder} holds {len(earlier)} files of an earlier call.\n"
            "Give another output folder, or replace all of them with --overwrite (overwrite=True)."
        )
    for file in {*earlier} - {*files}:
        if (folder / file).resolve() in read:
            raise ValueError(f"{folder / file} is an input and would be removed; give another output folder.")


def remove_earlier(folder: Path, files: list[str]) -> list[str]:
    """Remove what earlier calls wrote in a folder and writing `files` leaves there; return what was removed."""
    removed = [file for file in left(folder, files) if _lies_in(folder, file)]
    for file in removed:
        (folder / file).unlink()
        for parent in PurePosixPath(file).parents[:-1]:
            with contextlib.suppress(OSError):  # it holds something else
                (folder / parent).rmdir()
    return removed


def _lies_in(folder: Path, file: str) -> bool:
    """Whether a name in a list, which anybody may have written, is that of a file below the folder."""
    path = folder / file
    inside = path.parent.resolve().is_relative_to(folder.resolve())
    return inside and ".." not in path.parts and (path.is_symlink() or path.is_file())


def mark(folder: Path, files: list[str], **facts: Any) -> None:
    """Write `lines.json`: before the files, so that a stopped call may be repeated, and after them with the facts."""
    earlier = left(folder, files)
    _files.write_json(folder / MARKER, {"made_by": MADE_BY, "files": files, "earlier": earlier, **facts})


def _read(folder: Path, marker: str) -> dict[str, Any]:
    """A marker of ours; empty if there is none."""
    try:
        found = _files.read_json(folder / marker)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("made_by") == MADE_BY else {}


def _listed(found: dict[str, Any], name: str, kind: type) -> list[Any]:
    listed = found.get(name)
    return [one for one in listed if isinstance(one, kind)] if isinstance(listed, list) else []


def _key(path: str) -> str:
    """A key that is the same for two paths which some file systems take for one."""
    return unicodedata.normalize("NFC", path).casefold()


def _folders(files: list[str]) -> set[str]:
    return {_key(str(parent)) for file in files for parent in PurePosixPath(file).parents}


def _free(name: str, other: str, taken: set[str]) -> str:
    """`name.png`, or `other.png`, or the first of `other_2.png`, ... that is not taken."""
    number = 1
    while _key(f"{name}.png") in taken:
        name, number = (other if number == 1 else f"{other}_{number}"), number + 1
    return f"{name}.png"
