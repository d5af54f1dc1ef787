"""The table of the point cloud."""

from pathlib import Path

from experiments._lib.domain_tables import LABELS, grouped, mean, median_seconds, spread
from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"


def point_cloud() -> Table:
    """Scores of every way from the sphere to the torus."""
    head = ["way", "W2", "off the torus, median", "off the torus, 95 %", "within 0.1 tube radii of it"]
    head += ["unevenness", "excess over the best assignment", "arrived", "training", "seeds"]
    rows = []
    for (way,), found in grouped(read(RESULTS, "point_cloud"), ("way",)).items():
        rows.append(
            [
                LABELS[way],
                spread(found, "wasserstein2", ".3f"),
                mean(found, "off_surface", ".3f"),
                mean(found, "off_surface_95", ".3f"),
                mean(found, "near_surface", ".0%"),
                spread(found, "unevenness", ".3f"),
                mean(found, "excess", ".1%"),
                mean(found, "arrived", ".1%"),
                median_seconds(found),
                str(len(found)),
            ]
        )
    return head, rows


def tubes_near_torus() -> str:
    """The share of points by straight tubes that end near the torus."""
    found = grouped(read(RESULTS, "point_cloud"), ("way",)).get(("tubes",))
    return mean(found, "near_surface", ".0%") if found else "?"


TABLES = {"point cloud": point_cloud}
VALUES = {"tubes_near_torus": tubes_near_torus}
