"""The scores of a report on a model in a few lines: of mapped samples, of inputs as they are, of real samples."""

from typing import Any

__all__ = ["leading", "remarks", "says", "summary"]

_SAYS = {
    "KID": "distance between features of mapped and real pictures",
    "precision": "share of mapped pictures that lie among real ones",
    "recall": "share of real pictures that mapped ones reach",
    "near copies": "share that nearly repeat a picture of the training set",
    "read": "share that the digit classifier reads so",
    "hue": "median angle between the colors of input and output",
    "W2": "how far samples have to move to become real ones",
    "energy": "another distance between the two sets",
}


def summary(report: dict[str, Any]) -> str:
    """Summarize a report: of each map the scores of its outputs, of inputs left as they are, and of real samples."""
    said = [f"step {report['step']:,}, {report['training_seconds']:.0f} s of training"]
    if "space" in report:
        kept = ", ".join(f"{share:.1%} of {name}" for name, share in report["space"]["explained"].items())
        said.append(f"{report['space']['components']} components keep {kept}")
    if report.get("classes"):
        said.append(f"classes {', '.join(report['classes'])}")
    for name, scores in report["maps"].items():
        columns = leading(scores)
        rows = [["", *columns]]
        for i, row in enumerate(("mapped", "inputs left as they are", "real")):
            if any(values[i] for values in columns.values()):
                rows.append([row, *(values[i] for values in columns.values())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        said += [name, *(f"  {line.rstrip()}" for line in [*table, ", ".join(remarks(scores))])]
    return "\n".join(said)


def remarks(scores: dict[str, Any]) -> list[str]:
    """What else is said of one map: lines that arrived, their cost, there and back, reconstructions."""
    rest = [f"arrived: {scores['arrived']['value']:.1%}"]
    rest += [f"evaluations: {scores['evaluations']['mean']:.0f}"]
    if "units" in scores:
        rest.append(scores["units"])
    if "left_out" in scores.get("features", {}):
        rest.append(f"KID left out: {scores['features']['left_out']}")
    if "round_trip" in scores:
        value, other = (_number(scores["round_trip"][part], 4) for part in ("value", "of_others"))
        rest.append(f"there and back: {value} a dimension (another sample: {other})")
    if "reconstruction" in scores:
        rest.append(f"reconstructions alone: {_without_lines(scores['reconstruction'])}")
    return rest


def leading(scores: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """The leading scores by their titles: of outputs, of inputs left as they are (or ""), of real samples (or "")."""
    columns = {}
    seen = scores.get("features", {}).get("scores", {})
    for key in ("kid", "precision", "recall", "near_copies"):
        if key in seen:
            columns[seen[key]["label"]] = _three(seen[key], 3)
    picture = "features" in scores
    if "kid" in scores:
        columns["KID"] = _three(scores["kid"], 4)
    titles = {"read_as_label": "read as the label", "read_with_confidence": "read with confidence"}
    titles["read_as_target"] = f"read as {scores.get('target_digit')}"
    for key, title in titles.items():
        if key in scores:
            parts = (scores.get(f"{key}{of}") for of in ("", "_inputs", "_real"))
            value, inputs, real = ("" if part is None else f"{part['value']:.1%}" for part in parts)
            columns[title] = value, inputs, real
    if "hue_change_degrees" in scores:
        columns["hue change"] = f"{_number(scores['hue_change_degrees']['median'], 1)}°", "0.0°", ""
    for key, title in (("wasserstein2", "W2"), ("energy_distance", "energy distance")):
        if key in scores and not (picture and key == "energy_distance"):
            columns[f"{title} in pixels" if picture else title] = _three(scores[key], 3)
    return columns


def says(title: str) -> str:
    """What a leading score is, in words; "" of one that says it itself.

    Examples:
        >>> says("hue change")
        'median angle between the colors of input and output'
    """
    return next((text for start, text in _SAYS.items() if title.startswith(start)), "")


def _three(score: dict[str, Any], digits: int) -> tuple[str, str, str]:
    value, inputs, real = (
        _number(score[part], digits) if part in score else "" for part in ("value", "inputs", "floor")
    )
    return value, inputs, real


def _without_lines(scores: dict[str, Any]) -> str:
    shares = {"read_as_target": "read as it", "read_with_confidence": "read with confidence"}
    distances = {"kid": "KID", "wasserstein2": "W2"}
    parts = [f"{label} {scores[key]['value']:.1%}" for key, label in shares.items() if key in scores]
    parts += [
        f"{label} {_number(scores[key]['value'], 3)}" for key, label in distances.items() if key in scores
    ]
    return ", ".join(parts)


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
