"""The scores of a report on a model in a few lines: of mapped samples, of inputs as they are, of real samples."""

import math
from typing import Any

__all__ = ["FLOOR", "leading", "map_name", "measured", "remarks", "says", "summary"]

FLOOR = "real (floor)"
"""Title of what real samples score."""

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
_PARTS = {"value": "", "inputs": "inputs_", "floor": "floor_"}


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
        for i, row in enumerate(("mapped", "inputs left as they are", FLOOR)):
            if any(values[i] for values in columns.values()):
                rows.append([row, *(values[i] for values in columns.values())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
        said += [name, *(f"  {line.rstrip()}" for line in [*table, " ".join(remarks(scores, name))])]
    return "\n".join(said)


def map_name(source: str, target: str, *, back: bool = False) -> str:
    """Return what a report calls the map from P to Q, or the one back; the two differ where P and Q have one name.

    Examples:
        >>> map_name("a", "b"), map_name("a", "b", back=True), map_name("a", "a", back=True)
        ('a -> b', 'b -> a', 'a -> a (back)')
    """
    if source == target:
        return f"{source} -> {target}{' (back)' * back}"
    return f"{target} -> {source}" if back else f"{source} -> {target}"


def remarks(scores: dict[str, Any], label: str) -> list[str]:
    """What else is said of one map, in sentences: how many samples, their lines, there and back, reconstructions.

    Args:
        scores: Those of the map.
        label: What the report calls the map.
    """
    one = "row" if "columns" in scores else "sample"
    rest = [_counted(scores, label)] if "n" in scores else []
    rest.append(_arrived(scores["arrived"]))
    count = f"{scores['evaluations']['mean']:.0f}"
    rest.append(f"{count} network evaluation{'s' * (count != '1')} a line.")
    if "units" in scores:
        rest.append(f"Distances are in units of {scores['units']}.")
    if "left_out" in scores.get("features", {}):
        rest.append(f"KID left out: {scores['features']['left_out']}.")
    if "round_trip" in scores:
        rest.append(_there_and_back(scores["round_trip"], one))
    if "reconstruction" in scores:
        rest.append(
            f"Real {one}s that are only encoded and decoded: {_without_lines(scores['reconstruction'])}."
        )
    return rest


def leading(scores: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """The leading scores by their titles: of outputs, of inputs left as they are (or ""), of real samples (or "")."""
    columns = {}
    seen = scores.get("features", {}).get("scores", {})
    for key in ("kid", "precision", "recall", "near_copies"):
        if key in seen:
            columns[seen[key]["label"]] = _three(seen[key])
    picture = "features" in scores
    if "kid" in scores:
        columns["KID"] = _three(scores["kid"])
    titles = {"read_as_label": "read as the label", "read_with_confidence": "read with confidence"}
    titles["read_as_target"] = f"read as {scores.get('target_digit')}"
    for key, title in titles.items():
        if key in scores:
            parts = (scores.get(f"{key}{of}") for of in ("", "_inputs", "_real"))
            value, inputs, real = ("" if part is None else _share(part) for part in parts)
            columns[title] = value, inputs, real
    if "hue_change_degrees" in scores:
        columns["hue change"] = f"{measured(scores['hue_change_degrees']['median'], None, 1)}°", "0.0°", ""
    for key, title in (("wasserstein2", "W2"), ("energy_distance", "energy distance")):
        if key in scores and not (picture and key == "energy_distance"):
            columns[f"{title} in pixels" if picture else title] = _three(scores[key])
    return columns


def says(title: str) -> str:
    """What a leading score is, in words; "" of one that says it itself.

    Examples:
        >>> says("hue change")
        'median angle between the colors of input and output'
    """
    return next((text for start, text in _SAYS.items() if title.startswith(start)), "")


def measured(value: float | None, error: float | None, digits: int = 3) -> str:
    """Return a number with its standard error, both to the digits that the error allows.

    The error is rounded as the Particle Data Group does: to two digits where these are at most 35, else to one.

    Args:
        value: The number; None where it is undefined.
        error: Its standard error; None or 0 where there is none.
        digits: Decimals of a number without one.

    Examples:
        >>> measured(0.0486, 0.1051), measured(-0.0369, 0.0734), measured(5123.4, 81.0), measured(0.5, None)
        ('0.05 ± 0.11', '-0.04 ± 0.07', '5,120 ± 80', '0.500')
    """
    if value is None:
        return "undefined"
    if not error:
        return f"{value:,.{digits}f}"
    order = math.floor(math.log10(error))
    decimals = (1 if error / 10**order < 3.55 else 0) - order
    value, error = (round(number, decimals) + 0.0 for number in (value, error))  # no -0.0
    decimals = max(decimals, 0)
    return f"{value:,.{decimals}f} ± {error:,.{decimals}f}"


def _counted(scores: dict[str, Any], label: str) -> str:
    """How many samples were mapped, and how many were compared on features."""
    n, made = scores["n"], label.partition(":")[0].partition(" ")[0] == "noise"
    one = "row" if "columns" in scores else "sample"
    many, held_out = f"{one}{'s' * (n != 1)}", scores.get("held_out", True)
    said = f"{n:,} {'new ' if made else 'held-out ' * held_out}{many}."
    if not (made or held_out):
        said += f" Not held out: the model may have learned {'them' if n != 1 else 'it'}."
    of_features = scores.get("features", {}).get("n", n)
    return said if of_features == n else f"{said} On features {of_features:,} of each set are compared."


def _arrived(share: dict[str, Any]) -> str:
    if share["value"] == 1.0:
        return "All lines arrived."
    return f"{round(share['value'] * share['n']):,} of {share['n']:,} lines arrived."


def _there_and_back(scores: dict[str, Any], one: str) -> str:
    value, others = scores["value"], scores["of_others"]
    if value is None or others is None:
        return f"Too few lines arrived there and back again to say how far a {one} moves."
    moved = measured(value, scores.get("standard_error")) if value >= 5e-5 else "less than 0.0001"
    return f"There and back again, a {one} moves by {moved} a dimension; two different {one}s differ by {others:.2f}."


def _three(score: dict[str, Any]) -> tuple[str, str, str]:
    value, inputs, real = (
        measured(score[part], score.get(f"{prefix}standard_error")) if part in score else ""
        for part, prefix in _PARTS.items()
    )
    return value, inputs, real


def _share(score: dict[str, Any]) -> str:
    """A share in percent; at 0 and 1 its standard error says nothing."""
    return f"{measured(100 * score['value'], 100 * score.get('standard_error', 0.0), 1)}%"


def _without_lines(scores: dict[str, Any]) -> str:
    shares = {"read_as_target": "read as it", "read_with_confidence": "read with confidence"}
    distances = {"kid": "KID", "wasserstein2": "W2"}
    parts = [f"{label} {_share(scores[key])}" for key, label in shares.items() if key in scores]
    parts += [f"{label} {_three(scores[key])[0]}" for key, label in distances.items() if key in scores]
    return ", ".join(parts)
