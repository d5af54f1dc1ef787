"""What the tables of docs/evidence/other_domains.md share: names of ways, rows by way, means over seeds."""

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
    "cfm_plan": "CFM, one plan",
    "tubes": "EFM, straight tubes",
}


def grouped(report: dict | None, keys: tuple[str, ...]) -> dict[tuple, list[dict]]:
    """Rows by the values of `keys`, the last of which is a way; ways in the order of `LABELS`."""
    groups: dict[tuple, list[dict]] = {}
    for row in report["rows"] if report else ():
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    order = list(LABELS)
    pairs = list(dict.fromkeys(key[:-1] for key in groups))
    return dict(
        sorted(groups.items(), key=lambda item: (pairs.index(item[0][:-1]), order.index(item[0][-1])))
    )


def spread(rows: list[dict], name: str, form: str) -> str:
    """Mean and standard deviation of a score."""
    values = [row[name] for row in rows]
    deviation = f" ± {statistics.stdev(values):{form}}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{form}}{deviation}"


def mean(rows: list[dict], name: str, form: str) -> str:
    """Mean of a score, `-` where the rows have none."""
    return format(statistics.mean(row[name] for row in rows), form) if name in rows[0] else "-"


def median_seconds(rows: list[dict]) -> str:
    """Median training time, `-` where nothing was trained."""
    return f"{statistics.median(row['seconds'] for row in rows):.0f} s" if "seconds" in rows[0] else "-"
