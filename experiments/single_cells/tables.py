"""The tables of docs/other_domains.md: means over the seeds run, with their deviation."""

import statistics

LABELS = {
    "no transport": "no transport",
    "mean shift": "mean shift",
    "a training cell of Q": "a training cell of Q",
    "fresh points of Q": "fresh points of Q: the floor",
    "efm": "EFM, segment points",
    "c2fm": "C2FM, robust velocity, flux points",
    "c2fm_segment": "C2FM, direction, segment points",
    "ifm": "IFM, conserving",
    "ifm_ot": "IFM, conserving, minibatch OT",
    "cfm": "I-CFM",
    "cfm_ot": "OT-CFM",
}


def single_cells(report: dict | None) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a way each, of every pair of types."""
    head = ["P -> Q", "way", "MMD² (floor)", "read as Q (real Q)", "to the nearest training cell of Q"]
    head += ["moved, median", "arrived", "seeds"]
    rows = []
    for (source, target, way), found in _grouped(report, ("source", "target", "way")).items():
        floor = statistics.mean(row["mmd_floor"] for row in found)
        real = statistics.mean(row["real_read_as_target"] for row in found)
        rows.append(
            [
                f"{source} -> {target}",
                LABELS[way],
                f"{_spread(found, 'mmd', '.3f')} ({floor:.3f})",
                f"{_spread(found, 'read_as_target', '.0%')} ({real:.0%})",
                _spread(found, "to_nearest", ".2f"),
                _spread(found, "moved", ".1f"),
                _mean(found, "arrived", ".1%"),
                str(len(found)),
            ]
        )
    return head, rows


def point_cloud(report: dict | None) -> tuple[list[str], list[list[str]]]:
    """Head and rows: a way each."""
    head = ["way", "W2", "off the torus, median", "off the torus, 95 %", "within 0.1 tube radii of it"]
    head += ["unevenness", "excess over the best assignment", "arrived", "training", "seeds"]
    rows = []
    for (way,), found in _grouped(report, ("way",)).items():
        rows.append(
            [
                LABELS[way],
                _spread(found, "wasserstein2", ".3f"),
                _mean(found, "off_surface", ".3f"),
                _mean(found, "off_surface_95", ".3f"),
                _mean(found, "near_surface", ".0%"),
                _spread(found, "unevenness", ".3f"),
                _mean(found, "excess", ".1%"),
                _mean(found, "arrived", ".1%"),
                _median_seconds(found),
                str(len(found)),
            ]
        )
    return head, rows


def _grouped(report: dict | None, keys: tuple[str, ...]) -> dict[tuple, list[dict]]:
    groups: dict[tuple, list[dict]] = {}
    for row in report["rows"] if report else ():
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    order = list(LABELS)
    pairs = list(dict.fromkeys(key[:-1] for key in groups))
    return dict(
        sorted(groups.items(), key=lambda item: (pairs.index(item[0][:-1]), order.index(item[0][-1])))
    )


def _spread(rows: list[dict], name: str, form: str) -> str:
    values = [row[name] for row in rows]
    spread = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{spread}"


def _mean(rows: list[dict], name: str, form: str) -> str:
    return format(statistics.mean(row[name] for row in rows), form) if name in rows[0] else "-"


def _median_seconds(rows: list[dict]) -> str:
    return f"{statistics.median(row['seconds'] for row in rows):.0f} s" if "seconds" in rows[0] else "-"
