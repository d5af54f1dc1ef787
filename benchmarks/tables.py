"""The tables of docs/evidence/speed.md and docs/how_to/scale.md; `python -m experiments.tables` fills them in."""

import json
from collections.abc import Callable
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


def gpu() -> Table:
    """What the compiler makes of the programs for an H100."""
    head = [
        "program",
        "kernels",
        "transposed, GB",
        "temporaries, MiB",
        "collectives (MB a card)",
        "below float32",
    ]
    return head, [_gpu_row(row) for row in _rows("gpu_h100")]


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


def field() -> Table:
    """The field and its gradient beside their bounds."""
    head = [
        "",
        "points",
        "charges a plate",
        "D",
        "time, ms",
        "/ bound",
        "plain form / field",
        "temporaries, MiB (plain)",
    ]
    head += ["error / tolerance"]
    return head, [_field_row(row) for row in _rows("field")]


def work_precision() -> Table:
    """Evaluations and time that each solver needs for an error."""
    head = ["field", "solver, clock", "setting", "evaluations", "median error", "90 % below", "time, ms"]
    rows = []
    for row in _rows("lines"):
        coarse = row.get("steps") in (8, 24, 48) or row.get("tolerance") == 1e-3
        if coarse:
            setting = f"{row['steps']} steps" if "steps" in row else f"tolerance {row['tolerance']:g}"
            cells = [row["field"], f"{row['solver']}, {row['clock']}", setting, str(row["evaluations"])]
            rows.append([*cells, f"{row['median']:g}", f"{row['p90']:g}", _three(row["wall_ms"])])
    return head, rows


def thousand() -> Table:
    """What 1,000 samples take."""
    path = RESULTS / "lines.json"
    rows = json.loads(path.read_text())["thousand"] if path.is_file() else []
    head = ["1,000 lines by", "evaluations", "arrived", "time, ms", "lines/s"]
    return head, [
        [
            r["field"],
            str(r["evaluations"]),
            f"{r['arrived']:.1%}",
            _three(r["wall_ms"]),
            f"{r['lines_per_s']:,}",
        ]
        for r in rows
    ]


def devices() -> Table:
    """A step on eight devices beside one."""
    head = [
        "recipe",
        "step",
        "losses apart",
        "parameters apart",
        "flops of a device",
        "handed to it, kB",
        "messages",
    ]
    rows = [row for row in _rows("devices") if row["what"] == "step"]
    return head, [
        [
            f"`{row['recipe']}`",
            row["way"],
            _if_there(row, "loss", "{:.0e}"),
            _if_there(row, "parameters", "{:.0e}") or f"(moved {row['moved']:.2f})",
            _if_there(row, "flops", "{:,.0f}"),
            _if_there(row, "arguments_kB", "{:.0f}"),
            ", ".join(f"{count} {name}" for name, count in row.get("messages", {}).items()),
        ]
        for row in rows
    ]


def parts() -> Table:
    """Formulations of the network's parts."""
    head = ["part", "pictures", "formulation", "forward, ms", "with gradient, ms", "forward, GFLOP/s"]
    found: dict[tuple, dict[str, dict]] = {}
    for row in _rows("network"):
        if row["what"] != "training step":
            key = (row["what"], " x ".join(map(str, row["sizes"])), row["name"])
            found.setdefault(key, {})[row["part"]] = row
    rows = []
    for key, by_part in sorted(found.items(), key=lambda item: item[0][:2]):
        forward, both = (by_part.get(part, {}) for part in ("forward", "forward and gradient"))
        times = [_if_there(each, "wall_ms", "{:.3g}") for each in (forward, both)]
        rows.append([*key, *times, _if_there(forward, "gflops_wall", "{:.0f}")])
    return head, rows


def _if_there(row: dict[str, Any], key: str, form: str) -> str:
    return form.format(row[key]) if key in row else ""


_PROGRAMS = {
    "field": "field, {points} points, 2 x {charges:,} charges",
    "sharded field": "field, {points} points, charges split: 2 x {charges:,} on all four",
    "train": "training step, {points} points, 2 x {charges:,} charges, {dtype}",
    "sample": "sampler, {lines} lines, {evaluations} evaluations, {dtype}",
    "lines": "plan by exact lines, {points:,} x {charges:,}, D = {dim}",
}


def _tpu_row(row: dict[str, Any]) -> list[str]:
    ratios = [
        f"{part} {row['flops'][part] / ideal:.2f}" for part, ideal in row["ideal_flops"].items() if ideal
    ]
    estimate = row["estimated_ms"]
    of_field = estimate["all" if "field" in row["what"] else "supervision"]
    return [
        _PROGRAMS[row["what"]].format(**row),
        ", ".join(ratios),
        f"{row['arguments_MiB']:,.0f}",
        f"{row['temporary_MiB']:,.0f}",
        f"{row['bytes_accessed'] / 1e9:,.2f}",
        _collectives(row),
        *map(_three, (estimate["all"], of_field, estimate["products"])),
        "none" if not row["below_float32"] else str(len(row["below_float32"])),
    ]


def _gpu_row(row: dict[str, Any]) -> list[str]:
    cards = "" if row["cards"] == 1 else f", {row['cards']} cards"
    return [
        _PROGRAMS[row["what"]].format(**row) + cards,
        f"{row['kernels']:,}",
        f"{row['transposed']['bytes'] / 1e9:.2f}",
        f"{row['temporary_MiB']:,.0f}",
        _collectives(row),
        "none" if not row["below_float32"] else str(len(row["below_float32"])),
    ]


def _collectives(row: dict[str, Any]) -> str:
    found = (f"{c['times']} {c['kind']} ({c['bytes'] / 1e6:,.1f})" for c in row["collectives"] if c["times"])
    return ", ".join(found) or "none"


def _field_row(row: dict[str, Any]) -> list[str]:
    sizes = [row["what"], f"{row['points']:,}", f"{row['charges']:,}", f"{row['dim']:,}"]
    if "failed" in row:
        return [*sizes, "does not fit", "", "", "", ""]
    memory = _three(row["field"]["temporary_MiB"])
    if row["what"] == "memory":
        return [*sizes, "", "", "", memory, ""]
    return [
        *sizes,
        _three(row["field"]["least_ms"]),
        f"{row['of_bound']:.2f}",
        _three(row["faster_than_plain"]) if "faster_than_plain" in row else "",
        f"{memory} ({_three(row['plain']['temporary_MiB'])})",
        f"{row['error']:g}" if "error" in row else "",
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


def host_threads() -> Table:
    """A step of two presets by the threads of NumPy's products, and by where its plan is made."""
    head = ["training", "threads of a product", "plans", "step, ms", "waiting for data, ms"]
    return head, [
        [row["run"], str(row["blas"]), row["plans"], f"{row['step_ms']:.0f}", f"{row['data_wait_ms']:.0f}"]
        for row in _rows("host_threads")
    ]


def pages() -> Table:
    """A step with the pages of memory that Linux gives unasked, and with huge ones."""
    head = ["pages", "step, ms", "of all threads, ms", "in the system, ms", "page faults a step"]
    return head, [
        [
            row["pages"],
            f"{row['wall_ms']:.0f}",
            f"{row['cpu_ms']:.0f}",
            f"{row['system_ms']:.0f}",
            f"{row['faults']:,}",
        ]
        for row in _rows("pages")
    ]


def saving() -> Table:
    """The step after a checkpoint, written by another thread or waited for."""
    head = ["checkpoint", "state, MB", "step, ms", "step after a save, ms", "mean, ms"]
    return head, [
        [
            "waited for" if row["waits"] else "by another thread",
            f"{row['state_MB']:.1f}",
            f"{row['step_ms']:.0f}",
            f"{row['after_ms']:.0f}",
            f"{row['mean_ms']:.0f}",
        ]
        for row in _rows("saving")
    ]


def _between(pair: list[float]) -> str:
    low, high = sorted(pair)
    return f"{_three(low)} to {_three(high)}"


def _three(value: float) -> str:
    return f"{float(f'{value:.3g}'):,g}"


def _rows(name: str) -> list[dict[str, Any]]:
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def _row(name: str, **where: Any) -> dict[str, Any]:
    return next(row for row in _rows(name) if where.items() <= row.items())


def huge_pages_save() -> str:
    """The share of a step's time that huge pages save."""
    usual, huge = (_row("pages", pages=kind)["wall_ms"] for kind in ("usual", "huge"))
    return f"{1 - huge / usual:.0%}"


def tpu_field_share() -> str:
    """The share of a compiled step's time that points and targets take."""
    estimate = _row("tpu_v5e", what="train", dtype="bfloat16")["estimated_ms"]
    return f"{estimate['supervision'] / estimate['all']:.1%}"


def pictures(key: str, choose: Callable = min) -> str:
    """A rate, or the number, of the pictures that were read from a file."""
    return _three(choose(row[key] for row in _rows("pictures") if row["way"] == "disk"))


_WAYS = {
    "npy": "an npy file",
    "tar": "tar files, decoded into a file",
    "tar again": "that file",
    "tar, none": "tar files, `--data.cache none`",
}


def million() -> Table:
    """Training on a million pictures and on a thousand: memory, and the time before the first step."""
    measured = _rows("million")
    least = min((row["count"] for row in measured), default=0)
    few = {row["way"]: f"{row['own_MiB']:,.0f} MiB" for row in measured if row["count"] == least}
    rows = [
        [
            _WAYS[row["way"]],
            few[row["way"]],
            f"{row['own_MiB']:,.0f} MiB",
            f"{row['mapped_MiB']:.0f} MiB",
            f"{row['seconds'] - row['training_s']:.0f} s",
        ]
        for row in measured
        if row["count"] > least
    ]
    return [
        "pictures come from",
        "own, a thousand",
        "own, a million",
        "of mapped files",
        "before training",
    ], rows


_FIELD = {"what": "field", "points": 64, "charges": 1024, "dim": 3072}
_H100 = {"what": "train", "device": "H100 SXM", "precision": "bfloat16"}
VALUES = {
    "field_share": lambda: f"{_row('train_step', case='quick')['share']['field']:.1%}",
    "field_ms": lambda: f"{_row('field', **_FIELD)['field']['least_ms']:.0f}",
    "field_of_bound": lambda: f"{_row('field', **_FIELD)['of_bound']:.1f}",
    "h100_hours": lambda: _between(_row("roofline", **_H100)["paper_hours"]),
    "huge_pages_save": huge_pages_save,
    "pictures_count": lambda: pictures("count"),
    "pictures_fed": lambda: pictures("pictures_per_s"),
    "pictures_needed": lambda: pictures("needed_per_s", max),
    "tpu_field_share": tpu_field_share,
}
TABLES = {
    "field": field,
    "work precision": work_precision,
    "thousand lines": thousand,
    "tpu": tpu,
    "gpu": gpu,
    "roofline train": lambda: roofline("train"),
    "roofline sample": lambda: roofline("sample"),
    "train step": train_step,
    "host threads": host_threads,
    "pages": pages,
    "saving": saving,
    "million": million,
    "network parts": parts,
    "devices": devices,
}
