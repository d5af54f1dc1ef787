"""The table of single cells."""

import statistics
from pathlib import Path

from experiments._lib.domain_tables import LABELS, grouped, mean, spread
from experiments._lib.tables import Table, between, read

RESULTS = Path(__file__).parent / "results"


def single_cells() -> Table:
    """Scores of every way, for each pair of types."""
    head = ["P -> Q", "way", "MMD² (floor)", "read as Q (real Q)", "to the nearest training cell of Q"]
    head += ["moved, median", "arrived", "seeds"]
    rows = []
    report = read(RESULTS, "single_cells")
    for (source, target, way), found in grouped(report, ("source", "target", "way")).items():
        floor = statistics.mean(row["mmd_floor"] for row in found)
        real = statistics.mean(row["real_read_as_target"] for row in found)
        rows.append(
            [
                f"{source} -> {target}",
                LABELS[way],
                f"{spread(found, 'mmd', '.3f')} ({floor:.3f})",
                f"{spread(found, 'read_as_target', '.0%')} ({real:.0%})",
                spread(found, "to_nearest", ".2f"),
                spread(found, "moved", ".1f"),
                mean(found, "arrived", ".1%"),
                str(len(found)),
            ]
        )
    return head, rows


def reader_accuracy() -> str:
    """The share of held-out cells whose type the classifier reads right."""
    report = read(RESULTS, "single_cells")
    found = {row["seed"]: row["reader_accuracy"] for row in report["rows"]} if report else {}
    return f"{statistics.mean(found.values()):.0%}" if found else "?"


def suggested() -> str:
    """The range of the gaps that `gaps.suggest_gap` finds for the pairs and splits."""
    report = read(RESULTS, "single_cells")
    return between(
        (row["suggested_gap"] for row in (report["rows"] if report else ()) if "suggested_gap" in row), ".0f"
    )


TABLES = {"single cells": single_cells}
VALUES = {"reader_accuracy": reader_accuracy, "cells_gaps": suggested}
