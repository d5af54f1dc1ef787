"""Export a run as a model folder: the weights, what is needed to rebuild the network, and a model card.

No data go with a model: of paths in the configuration only the last part is kept.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import jax

from efm_jax import training
from efm_jax._core import files, logs, outputs
from efm_jax._core import tensors as _tensors
from efm_jax._core.versions import versions
from efm_jax.datasets import identity
from efm_jax.evaluation import summary
from efm_jax.models import _card, columns, configs, pictures
from efm_jax.models._model_folder import CARD, CONFIG, FORMAT, PICTURE, VERSION, WEIGHTS
from efm_jax.models.loading import find, is_model, load
from efm_jax.models.model import Trained
from efm_jax.models.space import ARRAYS

__all__ = ["export"]

_FILES = (WEIGHTS, CONFIG, CARD, PICTURE)


def export(
    place: str | Path,
    output: str | Path,
    *,
    weights: Literal["average", "last"] = "average",
    license: str | None = None,
    picture: bool = False,
    half: bool = False,
    overwrite: bool = False,
) -> Path:
    """Export the newest checkpoint of a run as a model folder, whole or not at all.

    The run's data need not be there. A model folder or a released model is copied as it is.

    Args:
        place: A run folder; or a model folder, or the name of a released model.
        output: The folder to write; without `overwrite` it must not exist, or be empty.
        weights: The moving average of the parameters, which sampling uses, or the last ones.
        license: The license to state on the model card; None leaves it to be written.
        picture: Let the card show the report's picture of held-out samples, which are then part of the model.
        half: Round the network's weights to float16, which makes the file half as large: one part in 2,048 at most, or 3e-8.
            They are read as what they were. A space of principal components is not rounded.
        overwrite: Replace a folder that holds files of these names, and no others.

    Raises:
        ValueError: There is no such run, its weights hold NaN or do not fit float16, or the output folder is taken;
            `weights`, `license`, `picture` or `half` is given for a model; or the report of these weights has no picture.
        OSError: The folder cannot be written; nothing is left of it then.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sorted(path.name for path in export("moons", f"{folder}/mine").iterdir())
        ['README.md', 'config.json', 'model.safetensors']

    Source of the tensors' format: https://github.com/huggingface/safetensors.
    """
    if weights not in ("average", "last"):
        raise ValueError(f"weights must be 'average' or 'last', got {weights!r}.")
    final = Path(os.path.abspath(files.expanded(output)))
    aside = final.with_name(f".{final.name[:60]}.efm-replaced")
    if aside.is_dir() and not final.exists():
        aside.rename(final)  # an export was killed while it replaced this model
    present = [path.name for path in final.iterdir()] if final.is_dir() else []
    foreign = sorted({*present} - {*_FILES})
    if foreign:
        raise ValueError(f"{final / foreign[0]} is no part of a model; choose another folder.")
    outputs.check(final, list(_FILES), marker=CONFIG, overwrite=overwrite)
    folder, trained = find(place), load(place)
    if present and folder.samefile(final):
        raise ValueError(f"{place} is the model to copy and the output; choose another folder.")
    if is_model(folder):
        if weights != "average" or license is not None or picture or half:
            raise ValueError(
                f"{place} is a model already: its weights, license and picture stay as they are; leave these out."
            )
        content = {name: (folder / name).read_bytes() for name in _FILES if (folder / name).exists()}
    else:
        content = _content(folder, final.name, trained, weights, license, picture, half)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = files.draft_for(final)
    try:
        draft.mkdir()
        for name, data in content.items():
            files.write_bytes(draft / name, data)
        files.clear(aside)
        if final.exists():
            final.rename(aside)
        draft.rename(final)
        files.clear(aside)
        files.sync_folder(final.parent)
    finally:
        files.clear(draft)
    return final


def _content(
    run: Path, name: str, trained: Trained, weights: str, license: str | None, picture: bool, half: bool
) -> dict[str, bytes]:
    """The files of the model folder of a run."""
    params = training.ema_params(trained.state) if weights == "average" else trained.state.params
    space = trained.space
    params = _tensors.halved(params) if half else params
    tensors = _tensors.encode(
        params if space is None else {"network": params, "space": dict(zip(ARRAYS, space, strict=False))}
    )
    record = {
        "format": FORMAT,
        "version": VERSION if half else 1,
        "config": _without_paths(configs.to_dict(trained.config)),
        "shape": list(trained.shape),
        "weights": weights,
        "training": {
            "step": int(trained.state.step),
            "seconds": trained.seconds,
            "skipped_steps": int(trained.state.skipped),
        },
        **({} if trained.class_names is None else {"classes": list(trained.class_names)}),
        **({} if trained.columns is None else {"columns": columns.to_record(trained.columns)}),
        **({} if (digests := _digests(trained)) is None else {"digests": digests}),
        "versions": versions(),
        "file": {"bytes": len(tensors), "sha256": hashlib.sha256(tensors).hexdigest()},
    }
    scores, drawn = _scores(run, trained, record), pictures.names(False, trained.shape)
    shown = run / "pictures" / (drawn or [PICTURE])[0]
    if picture and not (scores and shown.is_file()):
        raise ValueError(
            f"{run} has no picture of these weights; run `efm evaluate {run}` first, or leave picture out."
        )
    card = _card.card(
        name,
        record,
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        log=[line for line in logs.read(run / "log.jsonl") if line["step"] <= record["training"]["step"]],
        scores=scores,
        license=license,
        picture=PICTURE if picture else None,
    )
    return {
        **({PICTURE: shown.read_bytes()} if picture else {}),
        WEIGHTS: tensors,
        CONFIG: (json.dumps(record, indent=2, allow_nan=False) + "\n").encode(),
        CARD: card.encode(),
    }


def _digests(trained: Trained) -> dict[str, str] | None:
    """The digests of the data; None of a run that was made before these were kept."""
    if trained.digests is None:
        return None
    places = "data.source", "data.target"
    return {place: trained.digests[place] for place in places if place in trained.digests}


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with only the last part of each path."""
    data = {**config["data"], **{side: _last_part(config["data"][side]) for side in ("source", "target")}}
    data["cache"] = configs.Data.cache
    exported = {**config, "data": data}
    if config["recipe"].get("plan_features") is not None:
        features = _last_part(config["recipe"]["plan_features"])
        exported["recipe"] = {**config["recipe"], "plan_features": features}
    if "reflow" in config:
        exported["reflow"] = {**config["reflow"], "run": Path(config["reflow"]["run"]).name}
    if "init" in config:
        exported["init"] = Path(config["init"]).name
    return exported


def _last_part(spec: str) -> str:
    kind, path, rest = identity.parts(spec)
    if not path:
        return spec
    return f"{kind}{path.replace(os.sep, '/').rstrip('/').rpartition('/')[2] or path}{rest}"


def _scores(run: Path, trained: Trained, record: dict[str, Any]) -> dict[str, dict] | None:
    """The scores in the run's report, if it is a report of these weights."""
    try:
        report = files.read_json(run / "report.json")
    except (OSError, ValueError):
        return None
    maps, step = isinstance(report, dict) and report.get("maps"), record["training"]["step"]
    if record["weights"] != "average" or not isinstance(maps, dict) or report.get("step") != step:
        return None
    old, new = trained.config.data, configs.Data(**record["config"]["data"])
    names = {
        summary.map_name(old.source, old.target, back=back): summary.map_name(
            new.source, new.target, back=back
        )
        for back in (False, True)
    }
    return {names[label]: scores for label, scores in maps.items() if label in names}
