"""The table of the two maps."""

from pathlib import Path

from experiments._lib.domain_tables import mean, spread
from experiments._lib.tables import Table, read

RESULTS = Path(__file__).parent / "results"
MAPS = {"there": "photograph -> relief", "back": "relief -> photograph"}


def two_folders() -> Table:
    """Scores on held-out places, both ways, beside those of doing nothing."""
    head = [
        "map",
        "pictures",
        "water where it is",
        "to the true place, on features",
        "its rank, on features; in pixels",
        "KID (floor)",
    ]
    rows = []
    for key, label in MAPS.items():
        for way, found in _by_way().items():
            scores = [row[key] for row in found]
            rows.append(
                [
                    label,
                    way,
                    spread([score["coast"] for score in scores], "value", ".1%"),
                    spread([score["features"]["distance"] for score in scores], "value", ".1f"),
                    "; ".join(
                        spread([score[space]["rank"] for score in scores], "value", ".0f")
                        for space in ("features", "pixels")
                    ),
                    f"{spread([score['kid'] for score in scores], 'value', '.3f')} ({scores[0]['kid']['floor']:.3f})",
                ]
            )
    return head, rows


def water() -> str:
    """Share of the pixels whose water is where it is, photograph -> relief."""
    found = _by_way().get("mapped", ())
    return mean([row["there"]["coast"] for row in found], "value", ".0%") if found else "?"


def chance() -> str:
    """The same of another place."""
    found = _by_way().get("mapped", ())
    return f"{found[0]['there']['coast']['floor']:.0%}" if found else "?"


def _by_way() -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for row in (read(RESULTS, "two_folders") or {"rows": []})["rows"]:
        groups.setdefault(row["way"], []).append(row)
    return groups


TABLES = {"two folders": two_folders}
VALUES = {"two_folders_water": water, "two_folders_chance": chance}
