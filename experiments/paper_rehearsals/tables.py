"""The tables of the paper's settings."""

import json
from pathlib import Path
from typing import Any

from efm_jax.models.presets import PRESETS
from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"
HOURS = Path(__file__).parents[2] / "benchmarks" / "results" / "paper_hours.json"
NAMES = tuple(name for name in PRESETS if name.startswith("paper-"))


def settings() -> Table:
    """The hyper-parameters in which the presets differ."""
    head = ["preset", "P", "Q", "pictures", "gap", "charges a plate", "points a step", "Euler steps, dz"]
    rows = []
    for name in NAMES:
        run = PRESETS[name][1]
        side = run.data.size or 32
        rows.append(
            [
                f"`{name}`",
                *(f"`{spec}`" for spec in (run.data.source, run.data.target)),
                f"{side}x{side}x3" + (f", the middle {run.data.crop} resized" if run.data.crop else ""),
                f"{run.recipe.gap:g}",
                f"{run.recipe.charges:,}",
                f"{run.recipe.num_points}",
                f"{run.sampling.steps:,}, {run.recipe.gap / run.sampling.steps:g}",
            ]
        )
    return head, rows


def rehearsals() -> Table:
    """What the rehearsals found."""
    head = [
        "preset",
        "parameters",
        "s a step, 4 points",
        "compilation, s",
        "peak memory, MiB: training, reporting, drawing",
        "checkpoint, MB",
        "losses, steps 1 and 20",
        "went on at 11: log, data, loss",
        "20 = 10 + 10 bit for bit",
        "model = average",
        "pictures drawn",
    ]
    rows = []
    for found in (read(RESULTS, name) for name in NAMES):
        if found is None:
            continue
        used, resume = found["used"], found["resume"]
        peaks = [used[what]["peak_MiB"] for what in used if what != "export" and "10" not in what]
        losses = [found["losses"][0], found["losses"][-1]]
        went_on = resume["every_step_once"] and resume["log_kept"] and resume["data_position"] == 20
        rows.append(
            [
                f"`{found['preset']}`",
                f"{found['parameters']:,}",
                f"{found['seconds_per_step']:.2f}",
                f"{found['compile_seconds']:.0f}",
                ", ".join(f"{peak:,}" for peak in peaks),
                f"{found['checkpoint_MB']:,.0f}",
                ", ".join("not finite" if loss is None else f"{loss:.4f}" for loss in losses),
                _yes(went_on and resume["losses_equal"]),
                _yes(resume["states_equal"]),
                _yes(found["model"]["is_the_average"]),
                f"{found['pictures']['drawn']} of {found['pictures']['asked']}",
            ]
        )
    return head, rows


def changes() -> Table:
    """What the rehearsals changed of the presets."""
    found = [each for each in (read(RESULTS, name) for name in NAMES) if each is not None]
    places = sorted({place for each in found for place in each["changed"]})
    head = ["setting", *(f"`{each['preset']}`" for each in found)]
    return head, [
        [f"`{place}`", *(_change(each["changed"].get(place)) for each in found)] for place in places
    ]


def hours() -> Table:
    """Hours of the whole training, from the bound to the assumed efficiency."""
    names = [name for name in NAMES if name != "paper-translation"]  # a step is that of `paper-cmnist`
    head = ["device", "products as", "`paper-cmnist`, `paper-translation`", *(f"`{n}`" for n in names[1:])]
    return head, _by_device("train_hours", names)


def picture_hours() -> Table:
    """Hours of 50,000 pictures."""
    return ["device", "products as", *(f"`{name}`" for name in NAMES)], _by_device("sample_hours", NAMES)


def work() -> Table:
    """What a training step asks for."""
    head = ["preset", "network, TFLOP", "field, GFLOP", "least bytes, GB (bfloat16, float32)"]
    head += [
        "share of the field on an H100 (bfloat16)",
        "given by the host, MB",
        "its noise, ms of one thread",
    ]
    report = json.loads(HOURS.read_text())
    share = {
        row["preset"]: row
        for row in report["rows"]
        if row["device"] == "H100 SXM" and row["precision"] == "bfloat16"
    }
    rows = []
    for name, counted in report["counted"].items():
        half, whole = (counted[dtype][0] for dtype in ("bfloat16", "float32"))
        rows.append(
            [
                f"`{name}`",
                f"{half['network_flops'] / 1e12:.2f}",
                f"{half['field_flops'] / 1e9:.2f}",
                f"{half['bytes'] / 1e9:.1f}, {whole['bytes'] / 1e9:.1f}",
                f"{share[name]['field_share']:.2%}",
                f"{share[name]['batch_MB']:,.1f}",
                "" if report["noise_ms"][name] is None else f"{report['noise_ms'][name]:.3g}",
            ]
        )
    return head, rows


def hours_rows() -> list[dict[str, Any]]:
    """The rows of the committed file."""
    return json.loads(HOURS.read_text())["rows"]


def _by_device(part: str, names) -> list[list[str]]:
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in hours_rows():
        found.setdefault((row["device"], row["precision"]), {})[row["preset"]] = row[part]
    return [[*device, *(_between(by_name[name]) for name in names)] for device, by_name in found.items()]


def _between(ends: list[float]) -> str:
    return " to ".join(f"{float(f'{end:.2g}'):,g}" for end in ends)


def _change(pair: list | None) -> str:
    return "" if pair is None else f"{pair[0]} -> {pair[1]}".replace("None", "whole")


def _yes(found: bool) -> str:
    return "yes" if found else "**no**"


TABLES = {
    "paper settings": settings,
    "paper rehearsals": rehearsals,
    "paper changes": changes,
    "paper work": work,
    "paper hours": hours,
    "paper picture hours": picture_hours,
}
