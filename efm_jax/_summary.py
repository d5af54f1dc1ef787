"""A report in a few lines, for people at a terminal."""

from typing import Any


def summary(report: dict[str, Any]) -> str:
    """Say a report in a few lines: each score beside what real samples get."""
    told = [f"step {report['step']:,}, {report['training_seconds']:.0f} s of training"]
    if "space" in report:
        kept = ", ".join(f"{share:.1%} of {name}" for name, share in report["space"]["explained"].items())
        told.append(f"{report['space']['components']} components keep {kept}")
    for name, scores in report["maps"].items():
        parts = []
        if "read_as_target" in scores:
            parts.append(f"read as {scores['target_digit']}: {scores['read_as_target']['value']:.1%}")
            parts.append(f"median hue change: {_number(scores['hue_change_degrees']['median'], 1)} degrees")
        if "read_as_label" in scores:
            parts.append(f"read as the label: {scores['read_as_label']['value']:.1%}")
        if "read_with_confidence" in scores:
            parts.append(f"read with confidence: {scores['read_with_confidence']['value']:.1%}")
        for key, label, digits in (("kid", "KID", 4), ("wasserstein2", "W2", 3)):
            if key in scores:
                value, floor = (_number(scores[key][part], digits) for part in ("value", "floor"))
                parts.append(f"{label}: {value} (floor {floor})")
        seen = scores.get("features", {}).get("scores", {})
        for key in ("kid", "precision", "recall", "near_copies"):
            if key in seen:
                parts.append(
                    f"{seen[key]['label']}: {seen[key]['value']:.3f} (floor {seen[key]['floor']:.3f})"
                )
        if "round_trip" in scores:
            there, other = (_number(scores["round_trip"][part], 4) for part in ("value", "of_others"))
            parts.append(f"there and back: {there} a dimension (another sample: {other})")
        if "reconstruction" in scores:
            parts.append(f"reconstructions alone: {_alone(scores['reconstruction'])}")
        parts.append(f"arrived: {scores['arrived']['value']:.1%}")
        parts.append(f"evaluations: {scores['evaluations']['mean']:.0f}")
        told.append(f"{name}: " + ", ".join(parts))
    return "\n".join(told)


def _alone(scores: dict[str, Any]) -> str:
    told = [("read_as_target", "read as it"), ("read_with_confidence", "read with confidence")]
    parts = [f"{label} {scores[key]['value']:.1%}" for key, label in told if key in scores]
    told = [("kid", "KID"), ("wasserstein2", "W2")]
    return ", ".join(
        parts + [f"{label} {_number(scores[key]['value'], 3)}" for key, label in told if key in scores]
    )


def _number(value: float | None, digits: int) -> str:
    return "undefined" if value is None else f"{value:.{digits}f}"
