"""The model card: what a user of the model wants to know, made from the run."""

import json
import math
import shlex
from typing import Any

from efm_jax.datasets import identity, tables
from efm_jax.evaluation import page, summary

_NO_LICENSE = (
    "Not stated: whoever shares this model writes its license here. The license of the data it was trained on may "
    "bind it too; the data are not part of it."
)
_OF_MLP = ("width", "depth", "output", "height")
_SHOWN = ("value", "standard_error", "inputs", "floor", "mean", "median")


def card(
    name: str,
    record: dict[str, Any],
    *,
    parameters: int,
    log: list[dict[str, Any]],
    scores: dict[str, dict[str, Any]] | None,
    license: str | None = None,
    picture: str | None = None,
) -> str:
    """Write the card, in Markdown.

    Args:
        name: Name of the model's folder.
        record: What its config.json holds.
        parameters: How many numbers its tensors hold.
        log: The run's log up to the step of the weights.
        scores: The scores of each map, by its name, of these weights; None if there are none.
        license: The license to state; None says that it is not stated.
        picture: Name of the file beside it that shows samples and what becomes of them.
    """
    config, shape = record["config"], tuple(record["shape"])
    source, target = (f"`{config['data'][side]}`" for side in ("source", "target"))
    shown = "Samples of Q" if _made(config, shape) else "Held-out samples and the ends of their lines"
    parts = [
        f"# {name}",
        "A field learned by matching ([electrostatic field matching](https://arxiv.org/abs/2502.02367), efm_jax): along "
        f"its lines samples of P, {source}, go to Q, {target}, and back.",
        *([f"![{shown}]({picture})"] if picture else []),
        *([short] if (short := _in_short(scores)) else []),
        _table(["what", "how"], _facts(record, shape, parameters, log)),
        "## Use",
        _use(name, record, shape),
        "## Scores",
        _scores(scores),
        "## License",
        license or _NO_LICENSE,
    ]
    return "\n\n".join(parts) + "\n"


def _facts(
    record: dict[str, Any], shape: tuple[int, ...], parameters: int, log: list[dict[str, Any]]
) -> list[list[str]]:
    config, training, versions = record["config"], record["training"], record["versions"]
    kind = config["network"]["kind"]
    labeled = config["network"].get("classes") is not None
    recipe = {k: v for k, v in config["recipe"].items() if labeled or not k.startswith("label_")}
    network = {k: v for k, v in config["network"].items() if kind != "mlp" or k in ("kind", *_OF_MLP)}
    weights = {"average": "moving average of the parameters", "last": "parameters after the last step"}
    rounded = ", rounded to float16 after they were scored" if record["version"] > 1 else ""
    rows = [
        ["samples", f"{_sample(shape)}"],
        *(
            [["space", f"{components} principal components of the data, which come with the weights"]]
            if (components := config["data"].get("components"))
            else [["space", "each number in units of its deviation; the units come with the weights"]]
            if config["data"].get("standardize")
            else []
        ),
        *(
            [["units", "logarithms, `log(1 + x)`, are learned; samples come and go as numbers"]]
            if config["data"].get("log1p")
            else []
        ),
        *(
            [["columns", tables.told_columns(record["columns"]["names"], "of a table")]]
            if "columns" in record
            else []
        ),
        *([["classes", ", ".join(record["classes"])]] if "classes" in record else []),
        ["method", _settings(recipe, "method")],
        ["network", f"{_settings(network, 'kind')}; {parameters:,} parameters"],
        ["weights", weights[record["weights"]] + rounded],
        ["training", f"{training['step']:,} steps, {training['seconds']:,.0f} s; seed {config['seed']}"],
        ["optimizer", "**adam**, " + _settings(config["optimizer"], None)],
        ["loss", _losses(log)],
        ["lines", _settings(config["sampling"], "solver")],
        ["made with", ", ".join(f"{key} {value}" for key, value in versions.items())],
    ]
    return rows


def _settings(values: dict[str, Any], first: str | None) -> str:
    head = [] if first is None else [f"**{values[first]}**"]
    others = ((key, value) for key, value in values.items() if key != first and value is not None)
    return ", ".join(head + [f"{key.replace('_', ' ')} {value}" for key, value in others])


def _sample(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return (
            f"pictures, {shape[0]} x {shape[1]} pixels (height x width), {shape[2]} channels, values in -1..1"
        )
    return f"{math.prod(shape)} numbers each, shape {list(shape)}"


def _losses(log: list[dict[str, Any]]) -> str:
    known = [line for line in log if isinstance(line.get("loss"), float)]
    if not known:
        return "not logged"
    count = min(5, len(known))
    picked = sorted({round(i * (len(known) - 1) / max(count - 1, 1)) for i in range(count)})
    return ", ".join(f"{known[i]['loss']:.4g} at step {known[i]['step']:,}" for i in picked)


def maps(model: str, config: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[str, str]]:
    """What a run or model can make, and the command that does it."""
    table = None if _of_pictures(shape) else _table_kind(config)
    samples = "PICTURES" if _of_pictures(shape) else f"SAMPLES.{table}" if table else "npy:SAMPLES.npy"
    output = f"OUT.{table}" if table else "OUT"
    source, name = config["data"]["source"].partition(":")[0], shlex.quote(model)
    translate = f"efm translate {name} --input {samples} --output {output}"
    found = [("P -> Q", translate), ("Q -> P", f"{translate} --reverse")]
    if source not in identity.WITH_PATHS:
        found.append(("new samples of P -> Q", f"efm generate {name} --count 16 --output {output}"))
    return found


def commands(
    place: str,
    config: dict[str, Any],
    shape: tuple[int, ...],
    *,
    steps: int | None,
    more: int | None = None,
    **options: str | int | None,
) -> list[tuple[str, str]]:
    """What to do next with a run or model at a place, and the command that does it.

    Args:
        place: The run folder, the model folder, or the model's name.
        config: Its own configuration.
        shape: Shape of a sample.
        steps: Steps of a run; None of a model.
        more: How many samples another report could score; None where there are no more.
        options: What `evaluate` was given for this report: source, target, step.
    """
    name = shlex.quote(place)
    p, q = (page.short(str(options.get(side) or config["data"][side])) for side in ("source", "target"))
    said = {
        "P -> Q": f"Translate {p} → {q}",
        "Q -> P": f"Translate {q} → {p}",
        "new samples of P -> Q": f"New {q}",
    }
    found = [(said[what], command) for what, command in _useful(place, config, shape)]
    if more is not None:
        given = [f"--{key} {shlex.quote(str(value))}" for key, value in options.items() if value is not None]
        evaluate = " ".join(["efm evaluate", name, *given, f"--samples {more}"])
        found.append(("Scores of more samples", evaluate))
    if steps is not None:
        found.append(("A model folder to share", f"efm export {name} --output MODEL"))
        found.append(("Train it longer", f"efm resume {name} --steps {2 * steps}"))
    return found


def _made(config: dict[str, Any], shape: tuple[int, ...]) -> bool:
    """Whether pictures are made of noise: none is translated."""
    return config["data"]["source"].partition(":")[0] == "noise" and len(shape) == 3


def _useful(model: str, config: dict[str, Any], shape: tuple[int, ...]) -> list[tuple[str, str]]:
    return maps(model, config, shape)[2 if _made(config, shape) else 0 :]


def _of_pictures(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[2] in (1, 3)


def _table_kind(config: dict[str, Any]) -> str | None:
    """The kind of file of a run on tables; None of other data."""
    kinds = (config["data"][side].partition(":")[0] for side in ("target", "source"))
    return next((kind for kind in kinds if kind in tables.KINDS), None)


def _use(name: str, record: dict[str, Any], shape: tuple[int, ...]) -> str:
    config = record["config"]
    found = _useful(name, config, shape)
    width = max(len(command) for _, command in found)
    lines = [f"{command:<{width}}  # {what}" for what, command in found]
    program = ["from efm_jax import models", "", f"model = models.load({json.dumps(name)})"]
    if _made(config, shape):
        label = f", label={json.dumps(record['classes'][0])}" if "classes" in record else ""
        program.append(f"y = model.generate(16{label})  # [16, {', '.join(map(str, shape))}]")
    else:
        program += [f"# x: {_held(record, shape)}", "y = model.translate(x)"]
    head = f"With efm_jax {record['versions']['efm_jax']} or newer, from the folder that holds this one:"
    parts = [head, "", "```bash", *lines, "```", "", _inputs(record, shape), "", "```python", *program, "```"]
    return "\n".join(parts)


def _held(record: dict[str, Any], shape: tuple[int, ...]) -> str:
    """What `translate` takes in Python."""
    array = f"an array [n, {', '.join(map(str, shape))}]"
    if _of_pictures(shape):
        return f"images of Pillow, or {array}, uint8 or in -1..1"
    return f"a DataFrame with these columns, or {array}" if "columns" in record else array


def _columns(record: dict[str, Any]) -> str:
    """Names of the columns that a table must have."""
    names = record["columns"]["names"]
    shown = tables.few(names)
    all_in = " (`config.json` lists all)" if len(shown) < len(names) else ""
    return f"{', '.join(f'`{name}`' if name in names else name for name in shown)}{all_in}"


def _inputs(record: dict[str, Any], shape: tuple[int, ...]) -> str:
    """What the files of the commands hold."""
    config = record["config"]
    if _made(config, shape):
        return f"OUT will hold pictures of {shape[1]} x {shape[0]} pixels as png."
    if _of_pictures(shape):
        square = config["data"].get("crop")
        middle = "" if square is None else f"the middle {square} x {square} pixels, then to "
        return (
            f"PICTURES is a folder of png, jpg, webp, bmp, gif or tif of any size: each is cropped at its center to {middle}"
            f"the aspect {shape[1]}:{shape[0]}, resized to {shape[1]} x {shape[0]} pixels and written to OUT as png under "
            "its own name; `--fit pad --own-size`: all of it, at its own size."
        )
    if table := _table_kind(config):
        others = " or ".join(kind for kind in tables.KINDS if kind != table)
        needed = _columns(record) if "columns" in record else "that were learned"
        return (
            f"SAMPLES.{table}, or a {others} file, has the columns {needed}, in any order. OUT.{table} will hold their new "
            "values and copies of other columns."
        )
    return f"SAMPLES.npy holds an array [n, {', '.join(map(str, shape))}]; OUT/translated.npy will hold its ends."


def _in_short(scores: dict[str, dict[str, Any]] | None) -> str:
    """The leading scores in words: of outputs, of inputs as they are, of real samples."""
    rows = []
    for label, one in (scores or {}).items():
        for title, (value, inputs, real) in summary.leading(one).items():
            rows.append([label, title, value, inputs, real, summary.says(title)])
    return (
        _table(["map", "score", "mapped", "inputs as they are", summary.FLOOR, "what it is"], rows)
        if rows
        else ""
    )


def _scores(scores: dict[str, dict[str, Any]] | None) -> str:
    rows = []
    for label, one in (scores or {}).items():
        on_features = one.get("features", {}).get("scores", {}).values()
        for name, score in {**{each["label"]: each for each in on_features}, **one}.items():
            if not isinstance(score, dict):
                continue
            values = [f"{key} {_number(score[key])}" for key in _SHOWN if key in score]
            if values:
                rows.append(
                    [label, name, ", ".join(values), str(score.get("n", "")), str(score.get("how", ""))]
                )
    if not rows:
        return "These weights were not scored before they were exported: run `efm evaluate` first."
    return (
        "On held-out samples. The floor is what real samples get, inputs what the inputs get as they are.\n\n"
        + _table(["map", "score", "value", "n", "how"], rows)
    )


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "undefined"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in lines)
