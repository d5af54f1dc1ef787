"""The data of a run: known by a digest of what is in them, so that they may move."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from efm_jax import checkpoint
from efm_jax._core import files
from efm_jax.datasets import identity
from efm_jax.models import configs
from efm_jax.runs import _folder

PLACES = ("data.source", "data.target", "recipe.plan_features", "reflow.run")
"""Settings that name files."""


def names(config: Mapping[str, Any]) -> dict[str, str]:
    """The names of files in the plain values of a configuration, by place, with absolute paths."""
    settings = _folder.flat(dict(config))
    return {place: identity.absolute(settings[place]) for place in PLACES if settings.get(place) is not None}


def located(config: configs.Run, found: Mapping[str, str] | None = None) -> configs.Run:
    """The configuration with its names of files made absolute, or replaced by those found."""
    found = names(configs.to_dict(config)) if found is None else found
    features = found.get("recipe.plan_features")
    recipe = replace(config.recipe, plan_features=features) if features is not None else config.recipe
    data = replace(config.data, source=found["data.source"], target=found["data.target"])
    if os.sep in data.cache:
        data = replace(data, cache=str(files.expanded(data.cache).absolute()))
    init = None if config.init is None else files.expanded(config.init)
    begun = str(init.absolute()) if init is not None and init.exists() else config.init
    reflow = replace(config.reflow, run=found.get("reflow.run"))
    return replace(config, data=data, recipe=recipe, init=begun, reflow=reflow)


def digests(config: configs.Run) -> dict[str, str]:
    """A digest of the files behind each name that is of files."""
    found = {place: identity.digest(name) for place, name in names(configs.to_dict(config)).items()}
    if config.reflow.run is not None and config.reflow.step is not None:
        record = Path(config.reflow.run) / "checkpoints" / f"{config.reflow.step:09d}" / "checkpoint.json"
        if record.is_file():  # it holds those of all its arrays
            found["reflow.run"] = hashlib.sha256(record.read_bytes()).hexdigest()
    return {place: digest for place, digest in found.items() if digest is not None}


def unchanged(
    folder: Path,
    config: configs.Run,
    now: Mapping[str, str],
    sizes: Sequence[int | None] | None,
    *,
    trusted: bool,
) -> tuple[str, ...]:
    """Return the places at which data may have another name than in the run of a folder: they hold what they held.

    Args:
        folder: The run folder.
        config: The run, with absolute names.
        now: The digests of its data.
        sizes: Samples of P and Q; None where they are not yet known.
        trusted: Take data of another name for the same where the run, of an older version, has kept no digest.

    Raises:
        ValueError: They hold something else.
    """
    meta = checkpoint.read_meta(folder / "checkpoints") or {}
    if not meta and not (folder / "config.json").is_file():
        return ()  # a new run
    old = names(configs.canonical(meta["config"] if "config" in meta else _folder.read_config(folder)))
    new, same = names(configs.to_dict(config)), []
    for place in sorted(old.keys() & new.keys(), key=PLACES.index):  # P before Q
        was, size = meta.get("digests", {}).get(place), None
        if sizes is not None and place in PLACES[:2]:
            side = PLACES.index(place)
            size = meta.get("sizes", sizes)[side], sizes[side]
        if was is None and old[place] != new[place] and not (trusted and "digests" not in meta):
            continue  # `fit` refuses it
        if was is not None and place not in now:
            continue  # no files: `fit` refuses other names
        if size is not None and size[0] != size[1]:
            raise ValueError(
                f"the run in {folder} was trained on {size[0]} samples of {place} {old[place]}, {new[place]} holds "
                f"{size[1]} now; put them back as they were, or choose another folder for a new run."
            )
        if was is not None and was != now[place]:
            raise ValueError(
                f"{place} {new[place]} holds other data than the run in {folder} was trained on, {old[place]}: names, sizes "
                "or content of its files differ.\nGive it the same data to resume, wherever they lie, or choose another "
                "folder for a new run."
            )
        same.append(place)
    return tuple(same)
