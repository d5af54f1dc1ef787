"""Write the tables of README and docs from the results: `python -m experiments.tables` (`--check` only compares)."""

import json
import statistics
import sys
from pathlib import Path

from benchmarks import _tables as _benchmark_tables
from experiments.few_steps import tables as _few_step_tables
from experiments.images import tables as _image_tables
from experiments.paper_rehearsals import tables as _paper_tables
from experiments.single_cells import tables as _domain_tables
from experiments.toy_table import tables as _toy_tables

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (
    README,
    ROOT / "docs" / "theory.md",
    ROOT / "docs" / "other_domains.md",
    ROOT / "docs" / "which_method.md",
    ROOT / "docs" / "speed.md",
    ROOT / "docs" / "scale.md",
    ROOT / "docs" / "images.md",
    ROOT / "docs" / "conditions.md",
    ROOT / "docs" / "few_steps.md",
    ROOT / "docs" / "paper_settings.md",
)


def main(arguments: list[str]) -> int:
    """Render every block between `<!-- table: name -->` and `<!-- end -->`; return 1 if --check finds a difference."""
    differs = False
    for page in PAGES:
        old = page.read_text()
        new = render(old)
        differs |= old != new
        if "--check" not in arguments:
            page.write_text(new)
    return int(differs and "--check" in arguments)


def render(text: str) -> str:
    """Return the text with its blocks filled from the results that are there."""
    for name, make in {
        "translation": translation,
        "gap": gap,
        "generation": generation,
        "toys": toys,
        "exact": exact,
        "high dimension": high_dimension,
        "suggested gaps": suggested,
        "toy table": lambda: _table(*_toy_tables.distances()),
        "toy costs": lambda: _table(*_toy_tables.costs()),
        "toy levers": lambda: _table(*_toy_tables.levers()),
        "images digits": lambda: _table(*_image_tables.translation()),
        "images components": lambda: _table(*_image_tables.components()),
        "images levers": lambda: _table(*_image_tables.levers()),
        "images widths": lambda: _table(*_image_tables.widths()),
        "images noise digits": lambda: _table(*_image_tables.digits()),
        "images cifar": lambda: _table(*_image_tables.cifar10()),
        "images pairs": lambda: _table(*_image_tables.pairs()),
        "images emoji": lambda: _table(*_image_tables.emoji()),
        "guidance": guidance,
        "gap effect": lambda: _table(*_toy_tables.gaps()),
        "single cells": lambda: _table(*_domain_tables.single_cells(_read("single_cells", "single_cells"))),
        "point cloud": lambda: _table(*_domain_tables.point_cloud(_read("point_cloud", "point_cloud"))),
        "few steps noise": lambda: _table(*_few_step_tables.toys("gaussian:2")),
        "few steps moons": lambda: _table(*_few_step_tables.toys("moons")),
        "few steps digits": lambda: _table(*found) if (found := _few_step_tables.digits()) else "",
        **{name: lambda make=make: _table(*make()) for name, make in _paper_tables.TABLES.items()},
        **{name: lambda make=make: _table(*make()) for name, make in _benchmark_tables.TABLES.items()},
    }.items():
        text = _fill(text, f"<!-- table: {name} -->", "\n" + make() + "\n")
    text = _fill(text, "<!-- value: reader_accuracy -->", reader_accuracy())
    return _fill(text, "<!-- value: quick_minutes -->", quick_minutes())


def translation() -> str:
    """The digits, 3 -> 2 and 2 -> 3."""
    rows = [
        ("quick, `superposed`", "quick_superposed"),
        ("quick, `per_plate`", "quick_per_plate"),
        ("full, `superposed`", "full_superposed"),
        ("full, `per_plate`", "full_per_plate"),
    ]
    head = [
        "run",
        "map",
        "read as target",
        "median hue change",
        "KID (floor)",
        "arrived",
        "evaluations",
        "training",
    ]
    return _table(head, [cells for label, name in rows for cells in _translation_rows(label, name)])


def gap() -> str:
    """What single changes of the brief run do."""
    rows = [
        ("gap 10, noise 0.05, minibatch OT, `superposed`", "brief"),
        *((f"gap {g}", f"brief_gap_{g}") for g in (1, 3, 30, 100, 500)),
        ("`per_plate`", "brief_per_plate"),
        ("independent pairs", "brief_independent"),
        ("noise 1", "brief_noise"),
    ]
    head = ["change", "3 -> 2: read as 2", "2 -> 3: read as 3", "median hue change", "KID (floor), 3 -> 2"]
    cells = []
    for label, name in rows:
        there_and_back = _translation_rows(label, name)
        if there_and_back:
            there, back = there_and_back
            cells.append([label, there[2], back[2], f"{there[3]}, {back[3]}", there[4]])
    return _table(head, cells)


def generation() -> str:
    """Colored digits from white noise."""
    head = ["run", "read with confidence (real)", "classes, 0 to 9", "KID (floor)", "evaluations", "training"]
    rows = []
    for label in ("quick", "full"):
        report = _read("digits_generation", label)
        if report is None:
            continue
        scores = next(iter(report["maps"].values()))
        rows.append(
            [
                label,
                f"{_share(scores['read_with_confidence'])} ({scores['read_with_confidence_real']['value']:.1%})",
                " ".join(map(str, scores["classes"]["counts"])),
                _kid(scores["kid"]),
                f"{scores['evaluations']['mean']:.0f}",
                _training(report),
            ]
        )
    return _table(head, rows)


def guidance() -> str:
    """Digits asked for by class, by scale of guidance."""
    report = _read("class_guidance", "class_guidance")
    head = ["guidance", "read as the class asked for", "and with confidence", "KID (floor)", "arrived"]
    rows = [
        [
            f"{row['guidance']:g}",
            _share(row["read_as_label"]),
            _share(row["clearly"]),
            _kid(row["kid"]),
            f"{row['arrived']:.1%}",
        ]
        for row in (report["rows"] if report else ())
    ]
    return _table(head, rows)


def toys() -> str:
    """W2 of the toys, exact and learned."""
    report = _read("toys", "toys")
    head = ["P -> Q", "L", "convention", "exact field: W2", "learned field: W2", "floor"]
    rows = []
    for exact, learned in zip(report["rows"][::2], report["rows"][1::2], strict=True) if report else ():
        rows.append(
            [
                f"{exact['source']} -> {exact['target']}",
                f"{exact['gap']:g}",
                f"`{exact['convention']}`",
                f"{exact['wasserstein2']:.2f} ({exact['arrived']:.1%} arrived)",
                f"{learned['wasserstein2']:.2f} ({learned['arrived']:.1%} arrived)",
                f"{exact['floor']:.2f}",
            ]
        )
    return _table(head, rows)


def exact() -> str:
    """W2 of exact transport beside that of a perfect map of the same charges and the floor, means over the seeds run."""
    report = _read("exact_transport", "exact_transport")
    maps = ("stochastic map", "capacitor chain", "forward only")
    head = [
        "P -> Q",
        "L",
        *(f"{name}: W2, / perfect (arrived)" for name in maps),
        "perfect",
        "floor",
        "seeds",
    ]
    cells: dict[tuple, dict[int, dict[str, dict]]] = {}
    for row in report["rows"] if report else ():
        seeds = cells.setdefault((row["source"], row["target"], row["gap"]), {})
        seeds.setdefault(row["seed"], {})[row["map"]] = row
    ideal = {(p["target"], p["seed"]): p["wasserstein2"] for p in report["perfect"]} if report else {}
    rows = []
    for (source, target, gap), seeds in sorted(cells.items()):
        whole = {seed: found for seed, found in seeds.items() if len(found) == len(maps)}
        if not whole:
            continue
        perfect = statistics.mean(ideal[target, seed] for seed in whole)
        floor = statistics.mean(found[maps[0]]["floor"] for found in whole.values())
        shown = [_beside([found[name] for found in whole.values()], perfect) for name in maps]
        rows.append(
            [f"{source} -> {target}", f"{gap:g}", *shown, f"{perfect:.2f}", f"{floor:.2f}", str(len(whole))]
        )
    return _table(head, rows)


def _beside(rows: list[dict], perfect: float) -> str:
    distance, arrived = (statistics.mean(row[key] for row in rows) for key in ("wasserstein2", "arrived"))
    return f"{distance:.2f}, {distance / perfect:.2f} ({arrived:.2%})"


def high_dimension() -> str:
    """Where the exact lines of real digits go."""
    report = _read("high_dimension", "high_dimension")
    head = [
        "charges",
        "L",
        "arrived",
        "hits: chi-square per degree",
        "to the nearest of Q",
        "median rank of the end",
        "median length",
    ]
    rows = [
        [
            row["data"],
            f"{row['gap']:g}",
            f"{row['arrived']:.1%}",
            f"{row['chi_square_per_degree']:.2f}",
            f"{row['to_nearest']:.1%}",
            f"{row['median_rank_of_end']:.0f} of {report['config']['charges']}",
            f"{row['length'][1]:,.0f}",
        ]
        for row in (report["lines"] if report else ())
    ]
    return _table(head, rows)


def suggested() -> str:
    """Gaps that `gaps.suggest_gap` finds."""
    report = _read("high_dimension", "high_dimension")
    head = ["P -> Q", "median distance P to Q", "share of charges felt at L = 1, 10, 100", "suggested gap"]
    rows = []
    for curve in report["sharing"] if report else ():
        felt = dict(zip(curve["gaps"], curve["share"], strict=True))
        rows.append(
            [
                curve["data"],
                f"{curve['median_distance']:.1f}",
                ", ".join(f"{felt[gap]:.1%}" for gap in (1.0, 10.0, 100.0)),
                f"{curve['suggested_gap']:.1f}",
            ]
        )
    return _table(head, rows)


def quick_minutes() -> str:
    """Training time of the main job."""
    report = _read("digits_translation", "quick_superposed")
    return "?" if report is None else f"{report['training_seconds'] / 60:.0f}"


def reader_accuracy() -> str:
    """Held-out cells of all types that the reader of types reads right."""
    report = _read("single_cells", "single_cells")
    found = {row["seed"]: row["reader_accuracy"] for row in report["rows"]} if report else {}
    return f"{statistics.mean(found.values()):.0%}" if found else "?"


def _translation_rows(label: str, name: str) -> list[list[str]]:
    report = _read("digits_translation", name)
    rows = []
    for scores in report["maps"].values() if report else ():
        target = scores["target_digit"]
        rows.append(
            [
                label,
                f"{5 - target} -> {target}",
                _share(scores["read_as_target"]),
                f"{scores['hue_change_degrees']['median']:.1f}°",
                _kid(scores["kid"]),
                f"{scores['arrived']['value']:.1%}",
                f"{scores['evaluations']['mean']:.0f}",
                _training(report),
            ]
        )
    return rows


def _share(share: dict) -> str:
    return f"{share['value']:.1%} ± {share['standard_error']:.1%}"


def _kid(kid: dict) -> str:
    return f"{kid['value']:.3f} ± {kid['standard_error']:.3f} ({kid['floor']:.3f})"


def _training(report: dict) -> str:
    return f"{report['step']:,} steps, {report['training_seconds'] / 60:.0f} min"


def _read(experiment: str, name: str) -> dict | None:
    path = ROOT / "experiments" / experiment / "results" / f"{name}.json"
    return json.loads(path.read_text()) if path.is_file() else None


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _fill(text: str, start: str, content: str) -> str:
    if start not in text:
        return text
    before, rest = text.split(start, 1)
    _, after = rest.split("<!-- end -->", 1)
    return before + start + content + "<!-- end -->" + _fill(after, start, content)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
