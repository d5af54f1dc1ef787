"""Tables of docs/speed.md from the results; `python -m experiments.tables` puts them in their places."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Table = tuple[list[str], list[list[str]]]


def tpu() -> Table:
    """What the TPU compiler says, a device of the 2x2."""
    head = [
        "program, on one of four chips",
        "flops / ideal",
        "arguments, MiB",
        "temporaries, MiB",
        "moved in memory, GB",
        "collectives (MB a device)",
        "compiler's estimate, ms",
        "of it the field",
        "of it products",
        "below float32",
    ]
    return head, [_tpu_row(row) for row in _rows("tpu_v5e")]


def roofline(what: str) -> Table:
    """Bounds of training or of sampling."""
    head = ["device", "products as", "products, ms", "memory, ms", "bound, ms", "at 40 %, ms", "pictures/s"]
    found = [row for row in _rows("roofline") if row["what"] == what]
    rows = []
    for row in found:
        times = [_three(row[part]) for part in ("products_ms", "bytes_ms", "bound_ms", "typical_ms")]
        cells = [row["device"], row["precision"], *times, _between(row["pictures_per_s"])]
        rows.append([*cells, _between(row["paper_hours"])] if what == "train" else cells)
    return [*head, "1M steps, hours"] if what == "train" else head, rows


def train_step() -> Table:
    """The parts of a step."""
    head = [
        "case",
        "points, charges",
        "parameters",
        "step, cpu ms",
        "network",
        "supervision",
        "of it field",
        "data (waited for)",
        "steps/s",
        "compilation, s",
        "temporaries, MiB",
        "peak memory, MiB",
    ]
    return head, [_step_row(row) for row in _rows("train_step")]


TABLES = {
    "tpu": tpu,
    "roofline train": lambda: roofline("train"),
    "roofline sample": lambda: roofline("sample"),
    "train step": train_step,
}
"""Tables by the name in their marks."""


def _tpu_row(row: dict[str, Any]) -> list[str]:
    sizes = {
        "field": "field, {points} points, 2 x {charges:,} charges",
        "sharded field": "field, {points} points, charges split: 2 x {charges:,} on all four",
        "train": "training step, {points} points, 2 x {charges:,} charges, {dtype}",
        "sample": "sampler, {lines} lines, {evaluations} evaluations, {dtype}",
    }
    ratios = [
        f"{part} {row['flops'][part] / ideal:.2f}" for part, ideal in row["ideal_flops"].items() if ideal
    ]
    estimate = row["estimated_ms"]
    of_field = estimate["all" if "field" in row["what"] else "supervision"]
    return [
        sizes[row["what"]].format(**row),
        ", ".join(ratios),
        f"{row['arguments_MiB']:,.0f}",
        f"{row['temporary_MiB']:,.0f}",
        f"{row['bytes_accessed'] / 1e9:,.2f}",
        ", ".join(
            f"{c['times']} {c['kind']} ({c['bytes'] / 1e6:,.1f})" for c in row["collectives"] if c["times"]
        )
        or "none",
        *map(_three, (estimate["all"], of_field, estimate["products"])),
        "none" if not row["below_float32"] else str(len(row["below_float32"])),
    ]


def _step_row(row: dict[str, Any]) -> list[str]:
    share, parts, memory = row["share"], row["parts"], row["temporary_MiB_of"]
    return [
        row["case"],
        f"{row['points']}, {row['charges']:,}",
        f"{row['parameters'] / 1e6:.1f} M",
        f"{parts['step']['cpu_ms']:,.0f}",
        f"{share['network']:.1%}",
        f"{share['supervision']:.1%}",
        f"{share['field']:.1%}",
        f"{share['data']:.1%} ({row['wait_ms']:.2g} ms)",
        f"{row['steps_per_s']:.2g}",
        f"{row['compile_s']:.0f}",
        f"{row['temporary_MiB']:,.0f} (field {memory['field']:,.0f})",
        f"{row['peak_MiB']['end']:,}",
    ]


def _between(pair: list[float]) -> str:
    low, high = sorted(pair)
    return f"{_three(low)} to {_three(high)}"


def _three(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}"


def _rows(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []
