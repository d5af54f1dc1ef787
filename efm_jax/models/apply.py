"""Translate a user's samples with a trained run or model, or generate new ones."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from efm_jax._core import files as _files
from efm_jax._core import memory, outputs
from efm_jax.datasets import fit_pictures, picture_files, tables
from efm_jax.evaluation import drawing
from efm_jax.models import columns, inputs, table_output
from efm_jax.models.loading import load
from efm_jax.models.model import (
    Trained,
    check_start,
    draw,
    file_of,
    labels_in_turn,
    labels_of,
    start,
    transport,
)
from efm_jax.types import FieldLines

__all__ = ["Saved", "generate", "translate"]


class Saved(NamedTuple):
    """What `translate` or `generate` saved.

    Attributes:
        folder: The output folder.
        samples: Number of samples.
        arrived: How many of their lines arrived at the other plate.
        unreadable: Paths of pictures that could not be read and were left out.
        unsupported: Paths of pictures of other formats, left out too.
        missed: Files whose lines did not arrive, of an array the numbers of its rows; `lines.json` says the same.
        told: What was read and what was left out of a table, what is in the one written, and how many files of earlier calls
            were removed.
    """

    folder: Path
    samples: int
    arrived: int
    unreadable: tuple[str, ...] = ()
    unsupported: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


def translate(
    model: str | Path,
    spec: str | Path,
    output: str | Path,
    *,
    reverse: bool = False,
    limit: int | None = None,
    label: int | str | None = None,
    guidance: float | None = None,
    fit: str = "crop",
    own_size: bool = False,
    clip: bool = False,
    overwrite: bool = False,
) -> Saved:
    """Translate samples along the lines of a trained field, and save them in a folder.

    Pictures, a folder of them or one, may have any size: as in training they are turned upright, cut to the square of
    `data.crop` where there is one, cropped at the center to the aspect of the field's pictures and resized (smaller ones
    enlarged), colored ones made gray for a gray field and the reverse; or, to lose nothing, they are padded to that aspect.
    They are written under their own names as png. Those that cannot be read, or are of other kinds than png, jpg, webp,
    bmp, gif and tif, are left out and named in the result; the others are carried. So are all those in tar files, under the
    names that they have there, and in parquet files, under numbers. The rows of `npz` and `npy` keep their order. Of other
    data the held-out samples are drawn, each once.

    Args:
        model: A run folder, a model folder, or the name of a released model.
        spec: Where the samples are, see `datasets.open_source`; `folder:PATH` may also be the file of one picture, and the
            path of either alone will do.
        output: Of a table, a file .csv, .parquet or .h5ad for the same columns, `arrived`, and `log_likelihood` where P has
            a known density (see `table_output`). Else a folder for the outcome, not the one read: one png a picture and
            `pairs.png` (inputs above outputs), or `translated.npy`; and `lines.json`, which says which lines arrived. Inside
            the input folder it is not read as input.
        reverse: Carry Q to P.
        limit: At most so many samples; None for all, or 64 of a distribution that has no end.
        label: Class of the field whose lines they follow, by name or number; None for that of all classes.
        guidance: Scale of guidance toward the label, see [efm_jax.sampling.guidance][]; None for that of the run.
        fit: "crop" pictures as training does, or "pad" those of another aspect by their border pixels and cut the margin off
            again.
        own_size: Write pictures at the size they were given in (of cropped ones: of the part kept), not at the field's.
        clip: Cut the numbers of a table to the range of their column in the training set.
        overwrite: Replace the results of an earlier call, all that `lines.json` lists, and overwrite other files.

    Raises:
        ValueError: The samples do not have the field's shape or are data where P is white noise, no picture can be read, one
            is smaller than the square cut out, `limit` is below 1 or above the number of held-out samples, the field does
            not know the label, `fit` and `own_size` are asked of what are no pictures in files, or the folder holds results
            of an earlier call or a file that would be overwritten.
    """
    spec, output = inputs.specification(spec), _files.expanded(output)
    if limit is not None and limit < 1:
        raise ValueError(f"limit must be at least 1, got {limit}.")
    kind, _, path = spec.partition(":")
    read, written = (Path(os.path.realpath(_files.expanded(one))) for one in (path, output))
    if kind == "folder" and written == (read.parent if read.is_file() else read):
        raise ValueError(
            f"output must be another folder than that of the input {path}: its pictures would be overwritten."
        )
    if kind != "folder" and (fit != "crop" or own_size):
        raise ValueError(f"fit and own_size are for pictures in files, folder:PATH, got {spec}.")
    within = output if kind == "folder" and read in written.parents else None
    if within is not None and not overwrite:
        _check_within(within, read)
    trained = load(model)
    takes, fix = _taken(trained)
    what = inputs.other_kind(spec, trained)
    if what is not None:
        raise ValueError(f"{model} maps {takes}; got {what}.\n{fix}")
    if not reverse and not inputs.may_be_noise(spec):
        check_start(trained, spec, str(model))
    samples = inputs.read(spec, trained, limit, fit, within)
    x, shape, names, paths, found, table = samples[:6]
    if shape != trained.shape:
        raise ValueError(f"{model} maps {takes}; {spec} has samples of shape {shape}.\n{fix}")
    cond = labels_of(trained, label, len(x), guidance=guidance)
    if table_output.is_table(output):
        table_output.check(output, trained, paths, overwrite=overwrite)
        lines = transport(trained, x, reverse=reverse, cond=cond, guidance=guidance)
        others = table.others if table else {}
        order = table.order if table else ()
        written = table_output.save(
            output, trained, x, lines, reverse=reverse, others=others, order=order, clip=clip
        )
        return _as_saved(written, table)
    if clip:
        raise ValueError("--clip is for tables.\nGive a file as output: --output out.csv")
    files = _files_of(trained, names, "translated", "pairs")
    outputs.check(output, files, inputs=paths, overwrite=overwrite)
    lines = transport(trained, x, reverse=reverse, cond=cond, guidance=guidance)
    outputs.check(output, files, inputs=paths, overwrite=overwrite)  # lines take their time
    back = None if found is None else (found.places, own_size)
    facts = {} if found is None else {"source": str(read.parent if read.is_file() else read)}
    saved = _write(output, trained, x, files, lines, samples.inputs, back, facts)
    saved = saved._replace(told=(*samples.told, *saved.told), unreadable=samples.unreadable)
    if table is not None:
        saved = saved._replace(told=(f"Read {table.told}", *saved.told))
    return saved if found is None else saved._replace(unsupported=found.other)


def generate(
    model: str | Path,
    count: int,
    output: str | Path,
    *,
    seed: int = 0,
    label: int | str | None = None,
    guidance: float | None = None,
    clip: bool = False,
    overwrite: bool = False,
) -> Saved:
    """Generate samples of Q from new samples of P.

    Args:
        model: A run folder, a model folder, or the name of a released model.
        count: How many.
        output: Folder for the outcome: `00000.png`, ... and `grid.png`, or `generated.npy` for vectors; and `lines.json`,
            which says which lines arrived. Of a table also a file, as in `translate`.
        seed: Seeds the draw.
        label: Class to draw, by name or number; None for all of them in turn. Where P has classes too, its samples are of
            that one, and None draws of all without labels.
        guidance: Scale of guidance toward the label, see [efm_jax.sampling.guidance][]; None for that of the run.
        clip: Cut the numbers of a table to the range of their column in the training set.
        overwrite: Replace the results of an earlier call, all that `lines.json` lists, and overwrite other files.

    Raises:
        ValueError: `count` is below 1 or above the number of samples of a file, P is data that are not here or others than
            the model was trained on, the run does not know the label, or the folder holds
            results of an earlier call or a file that would be overwritten.
    """
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}.")
    output, trained = _files.expanded(output), load(model)
    fix = "Generate fewer at a time, each time with another seed and folder."
    memory.check(f"a count of {count}", count * inputs.bytes_of(trained.shape), fix)
    source = start(trained, str(model))
    cond = labels_in_turn(trained, source, label, count, guidance=guidance)
    files, as_table = (
        _files_of(trained, inputs.numbered(count), "generated", "grid"),
        table_output.is_table(output),
    )
    if as_table:
        table_output.check(output, trained, [], overwrite=overwrite)
    elif clip:
        raise ValueError("--clip is for tables.\nGive a file as output: --output out.csv")
    else:
        outputs.check(output, files, overwrite=overwrite)
    x = draw(trained, source, count, seed=seed, cond=cond)
    lines = transport(trained, x, cond=cond, guidance=guidance)
    if as_table:
        saved = _as_saved(table_output.save(output, trained, x, lines, clip=clip))
    else:
        outputs.check(output, files, overwrite=overwrite)
        saved = _write(output, trained, x, files, lines)
    path = file_of(trained)
    if path is None:
        return saved
    return saved._replace(told=(f"Drew from {source.size:,} held-out samples of {path}", *saved.told))


def _as_saved(written: table_output.Written, table: tables.Table | None = None) -> Saved:
    """What is said of a table that was written, and of the one that was read."""
    missed = tuple(f"row {i}" for i, one in enumerate(written.arrived) if not one)
    told = [*([] if table is None else [f"Read {table.told}"]), *written.told]
    return Saved(written.path, len(written.arrived), sum(written.arrived), missed=missed, told=tuple(told))


def _taken(trained: Trained) -> tuple[str, str]:
    """What `translate` takes, in words, and how it is given."""
    if trained.columns is not None:
        named = ", ".join(tables.few(columns.names(trained.columns)))
        return f"tables with the columns {named}", "Give a csv, parquet or h5ad file."
    if inputs.pictures_come_out(trained):
        height, width, channels = trained.shape
        color = "gray pictures" if channels == 1 else "pictures"
        return f"{color} of {height} x {width} pixels", "Give a folder of pictures, or one picture."
    numbers = ", ".join(map(str, ("n", *trained.shape)))
    return f"arrays [{numbers}]", "Give npy:FILE, an array of that shape."


def _check_within(output: Path, read: Path) -> None:
    """Refuse an output folder inside the input that holds other pictures: they would not be read."""
    try:
        present = picture_files.listing(output)[0] if output.is_dir() else []
    except FileNotFoundError:
        return
    earlier = set(outputs.written(output))
    foreign = [name for name in present if name not in earlier]
    if foreign:
        raise ValueError(
            f"output {output} lies in the input {read}, whose pictures in it would not be read, and holds {len(foreign)} "
            f"that no earlier call wrote, the first is {foreign[0]}; give an output folder outside the input, or leave "
            "them out with --overwrite (overwrite=True)."
        )


def _files_of(trained: Trained, names: list[str], array: str, overview: str) -> list[str]:
    """The files to write: the results in their order, the picture of them all, `lines.json`."""
    if not inputs.pictures_come_out(trained):
        return [f"{array}.npy", outputs.MARKER]
    files = outputs.as_png(names)
    return [*files, outputs.overview(overview, files), outputs.MARKER]


def _write(
    output: Path,
    trained: Trained,
    x,
    files: list[str],
    lines: FieldLines,
    called: list[str] | None = None,
    back: tuple[list[fit_pictures.Place], bool] | None = None,
    facts: dict[str, str] | None = None,
) -> Saved:
    """Write the files of `_files_of`, `lines.json` with the facts both before and after the others."""
    y, arrived = np.asarray(lines.end)[:, :-1], [bool(one) for one in np.asarray(lines.arrived)]
    output.mkdir(parents=True, exist_ok=True)
    *results, overview = files[:-1]
    outputs.mark(output, files[:-1])
    earlier = outputs.remove_earlier(output, files[:-1])
    saved = Saved(output, len(y), sum(arrived), told=_told_earlier(output, earlier))
    if not inputs.pictures_come_out(trained):
        _files.write_array(output / overview, y.reshape(-1, *trained.shape))
        outputs.mark(output, files[:-1], arrived=arrived)
        return saved._replace(missed=tuple(f"row {i}" for i, one in enumerate(arrived) if not one))
    for i, file in enumerate(results):
        picture = drawing.grid(y[i : i + 1], trained.shape, 1, border=0)
        if back is not None:
            places, own_size = back
            picture = fit_pictures.returned(picture, places[i], own_size=own_size)
        drawing.save_png(output / file, picture)
    if overview.startswith("pairs"):
        sheet = drawing.pairs_grid(x[:64], y[:64], trained.shape, min(16, len(y)), zoom=2)
    else:
        sheet = drawing.grid(y[:64], trained.shape, min(16, len(y)), zoom=2)
    drawing.save_png(output / overview, sheet)
    lines_of = zip(called or range(len(results)), results, arrived, strict=True)
    listed = [{"input": of, "file": file, "arrived": one} for of, file, one in lines_of]
    outputs.mark(output, files[:-1], lines=listed, **(facts or {}))
    return saved._replace(missed=tuple(file for file, one in zip(results, arrived, strict=True) if not one))


def _told_earlier(output: Path, earlier: list[str]) -> tuple[str, ...]:
    """What is said of the files of an earlier call that were removed."""
    if not earlier:
        return ()
    kind = "picture" if all(file.endswith(".png") for file in earlier) else "file"
    return (f"Removed {len(earlier)} {kind}{'s' * (len(earlier) > 1)} of an earlier call from {output}/",)
