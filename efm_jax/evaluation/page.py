"""The report of a run as one web page that holds its pictures and asks the network for nothing."""

import base64
import hashlib
import html
import json
import math
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from efm_jax._core import durations
from efm_jax.datasets import identity
from efm_jax.evaluation import summary

__all__ = ["Curve", "curve", "page", "short"]

_TEMPLATE = Path(__file__).with_name("page.html")
_KINDS = {".png": "image/png", ".webp": "image/webp"}
_FILM = (
    "Samples on their way from plate to plate.",
    "Samples on their way (green) from plate to plate, over the height z and in the plane; blue P, red Q.",
)
_READ = "± is the standard error.", "The floor is what real samples score."
_COLUMNS, _SEEN = 30, 8
"""Columns of a table that are shown, and those of them at once."""
_COLUMNS_HEAD = (
    '<table class="columns"><thead><tr><th>column</th><th>inputs as they are</th><th class="mapped">mapped</th>'
    "<th>real</th></tr></thead><tbody>"
)
_SMALLER_IS_BETTER = ("KID", "near copies", "hue", "W2", "energy")


class Curve(NamedTuple):
    """The losses of a log as a line in a box of pixels.

    Attributes:
        points: Its points (x, y), y downward.
        steps: First and last step.
        losses: Largest and smallest loss, at the top and the bottom of the box.
        log: Whether its height is the logarithm of the loss.
    """

    points: list[tuple[float, float]]
    steps: tuple[int, int]
    losses: tuple[float, float]
    log: bool


def curve(log: Iterable[Mapping[str, Any]], width: int, height: int) -> Curve | None:
    """Lay the losses of a run's log out in a box; None where there are fewer than two.

    The height is logarithmic where the largest loss is more than five times the smallest.

    Args:
        log: Lines as `runs.read_log` returns them.
        width: Width of the box, pixels.
        height: Its height.

    Examples:
        >>> curve([{"step": 1, "loss": 3.0}, {"step": 3, "loss": 1.0}], 100, 50).points
        [(0.0, 0.0), (100.0, 50.0)]
    """
    known = [(line["step"], line["loss"]) for line in log if isinstance(line.get("loss"), float)]
    known = [(step, loss) for step, loss in known if math.isfinite(loss)]
    if len(known) < 2:
        return None
    steps, losses = zip(*known, strict=True)
    low, high = min(losses), max(losses)
    logarithmic = low > 0.0 and high > 5.0 * low
    heights = [math.log(loss) if logarithmic else loss for loss in losses]
    bottom, top, first, last = min(heights), max(heights), steps[0], steps[-1]
    points = [
        (width * (step - first) / max(last - first, 1), height * (top - y) / ((top - bottom) or 1.0))
        for step, y in zip(steps, heights, strict=True)
    ]
    return Curve(points, (first, last), (high, low), logarithmic)


def short(spec: str) -> str:
    """Return the specification of data without its folders and, where a path says enough, without its kind.

    Examples:
        >>> short("folder:/data/emoji/noto/"), short("mnist:/data/mnist:3"), short("digits:3"), short("npz:a/b.npz:x")
        ('noto', 'mnist:3', 'digits:3', 'b.npz:x')
    """
    _, path, rest = identity.parts(spec)
    if not path.strip("/"):
        return spec
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2] + rest


def page(
    report: Mapping[str, Any],
    *,
    pictures: Mapping[str, bytes],
    log: Sequence[Mapping[str, Any]] = (),
    commands: Sequence[tuple[str, str]] = (),
) -> str:
    """Return the report of a run or model as the text of a web page.

    Everything is inside: pictures as data URIs, one script, allowed by its hash, that copies commands. The page's own policy
    forbids any request. What comes from outside, such as paths and names of classes, is escaped.

    Args:
        report: The report, as `models.evaluate` returns it.
        pictures: Content of the png and webp files by their names: `forward.png` (before and after), `forward_pca.png`
            (vectors in their principal components), `forward_path.png` (a few heights), `forward.webp` (the way), and
            `backward` likewise. Those that are missing are left out.
        log: Lines of the run's log.
        commands: What can be done next, and the command that does it.

    Examples:
        >>> scores = {"wasserstein2": {"value": 0.5, "inputs": 2.0, "floor": 0.25}}
        >>> scores |= {"arrived": {"value": 1.0}, "evaluations": {"mean": 24.0}}
        >>> config = {"data": {"source": "a<b", "target": "moons"}, "recipe": {"method": "efm"}}
        >>> report = {"config": config, "step": 10, "training_seconds": 8.0, "maps": {"a<b -> moons": scores}}
        >>> text = page(report, pictures={})
        >>> "a&lt;b" in text, "a<b" in text, "<td>0.500</td>" in text
        (True, False, True)
    """
    config, step = report["config"], report["step"]
    data = config["data"]
    names = data["source"], data["target"]
    title = " → ".join(map(short, names))
    ways = [
        (summary.map_name(*names), "forward", names),
        (summary.map_name(*names, back=True), "backward", names[::-1]),
    ]
    maps = [
        _map(name, start, end, report["maps"][label], pictures)
        for label, name, (start, end) in ways
        if label in report["maps"]
    ]
    text = _TEMPLATE.read_text(encoding="utf-8")
    script = text.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    head, body = text[: text.index("<script>")], text[text.index("<script>") :]
    return (
        string.Template(head).substitute(
            policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
            title=html.escape(title),
            facts=_facts(report, config),
            maps="\n".join(maps),
            losses=_losses([line for line in log if line["step"] <= step]),
            commands=_commands(commands),
            settings=_settings(report, config),
        )
        + body
    )


def _facts(report: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    facts = [
        f"method <b>{html.escape(str(config['recipe']['method']))}</b>",
        f"{report['step']:,} steps",
        f"trained for {durations.in_words(report['training_seconds'])}",
    ]
    if report.get("classes"):
        facts.append(f"classes {html.escape(', '.join(report['classes']))}")
    if "space" in report:
        facts.append(f"{report['space']['components']} principal components")
    return " · ".join(facts)


def _map(name: str, start: str, end: str, scores: Mapping[str, Any], pictures: Mapping[str, bytes]) -> str:
    label = f"{start} -> {end}"
    made, vectors = start.partition(":")[0] == "noise", f"{name}_path.png" not in pictures
    start, end = (html.escape(short(spec)) for spec in (start, end))
    who = f"Held-out <b>{start}</b>" if scores.get("held_out", True) else f"<b>{start}</b>"
    ends = (
        f"Made of new samples of <b>{start}</b>."
        if made
        else "Lines between the plates, and their ends among real samples."
        if vectors
        else f"{who} in the upper row of each pair of rows, the end of its line below."
    )
    wide, film = ("wide", "") if vectors else ("", "film")
    way = f"A few heights between the plates: <b>{start}</b> left, <b>{end}</b> right."
    plane = "Their first two principal components; gray: real samples."
    shown = [
        (f"{name}_pca.png", "wide", "", plane),
        (f"{name}.png", wide, "", ends),
        (f"{name}.webp", wide, film, _FILM[vectors]),
        (f"{name}_path.png", "wide", "", way),
    ]
    figures = [
        f'<figure class="{size}"><img class="{kind}" alt="{start} to {end}" src="{_uri(file, pictures[file])}">'
        f"<figcaption>{caption}</figcaption></figure>"
        for file, size, kind, caption in shown
        if file in pictures
    ]
    figures = f'<div class="figures">{"".join(figures)}</div>'
    tables = _table(scores, label) + _columns(scores.get("columns", ()))
    back = " (back)" * (start == end and name == "backward")
    return f"<section><h2>{start} → {end}{back}</h2>{figures}{tables}</section>"


def _uri(name: str, content: bytes) -> str:
    return f"data:{_KINDS[Path(name).suffix]};base64,{base64.b64encode(content).decode()}"


def _table(scores: Mapping[str, Any], label: str) -> str:
    rows = []
    for title, (mapped, inputs, real) in summary.leading(dict(scores)).items():
        arrow = "↓" if title.startswith(_SMALLER_IS_BETTER) else "↑"
        cells = "".join(f"<td>{_unbroken(value) or '–'}</td>" for value in (inputs, mapped, real))
        rows.append(
            f"<tr><th>{html.escape(title)} {arrow}<small>{summary.says(title)}</small></th>{cells}</tr>"
        )
    body, said = "".join(rows), " ".join(summary.remarks(dict(scores), label))
    remarks = html.escape(" ".join([said, *_READ["±" not in body + said :]]))
    return (
        f'<table><thead><tr><th></th><th>inputs as they are</th><th class="mapped">mapped</th><th>{summary.FLOOR}</th></tr>'
        f'</thead><tbody>{body}</tbody></table><p class="note">{remarks}</p>'
    )


def _unbroken(value: str) -> str:
    """A number that a narrow screen breaks before ± alone."""
    return html.escape(value).replace("-", "\N{MINUS SIGN}").replace("± ", "±\N{NO-BREAK SPACE}")


def _columns(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of the columns of a table; of many those that had to move furthest."""
    if not rows:
        return ""

    def moved(row: Mapping[str, Any]) -> float:
        return row["inputs"]["w1"] / (row["real"]["deviation"] or 1.0)

    shown = rows if len(rows) <= _COLUMNS else sorted(rows, key=moved, reverse=True)[:_COLUMNS]
    lines = []
    for row in shown:
        known = [row.get(part) for part in ("inputs", "mapped", "real")]
        cells = "".join("<td>–</td>" if one is None else _cell(**one) for one in known)
        lines.append(f"<tr><th>{html.escape(row['name'])}</th>{cells}</tr>")
    fewer = f" The {len(shown)} of {len(rows):,} that had to move furthest; report.json has all."
    first, more = (
        f"{_COLUMNS_HEAD}{''.join(part)}</tbody></table>" for part in (lines[:_SEEN], lines[_SEEN:])
    )
    rest = (
        f"<details><summary>{len(lines) - _SEEN} more columns</summary>{more}</details>"
        if lines[_SEEN:]
        else ""
    )
    return (
        f'{first}{rest}<p class="note">Mean, standard deviation (SD) and distance W1 to real samples. '
        f"W1 of real samples is the floor.{fewer if len(shown) < len(rows) else ''}</p>"
    )


def _cell(mean: float, deviation: float, w1: float) -> str:
    return f"<td>{_short(mean)}<small>SD {_short(deviation)}</small><small>W1 {_short(w1)}</small></td>"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _losses(log: Sequence[Mapping[str, Any]]) -> str:
    width, height = 640, 180
    found = curve(log, width, height)
    if found is None:
        return ""
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in found.points)
    scale = ", on a logarithmic scale" if found.log else ""
    return (
        "<section><h2>Loss</h2><figure>"
        f'<svg viewBox="-4 -4 {width + 8} {height + 8}" role="img" aria-label="loss by step">'
        f'<rect width="{width}" height="{height}"/><polyline points="{points}"/></svg>'
        f"<figcaption>From step {found.steps[0]:,} to {found.steps[1]:,}, between {found.losses[1]:.4g} and "
        f"{found.losses[0]:.4g}{scale}.</figcaption></figure></section>"
    )


def _commands(commands: Sequence[tuple[str, str]]) -> str:
    if not commands:
        return ""
    rows = [
        f"<dt>{html.escape(what)}</dt><dd><code>{html.escape(command)}</code><button>copy</button></dd>"
        for what, command in commands
    ]
    return f"<section><h2>What next</h2><dl>{''.join(rows)}</dl></section>"


def _settings(report: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    known = {"config": config, "versions": report.get("versions", {})}
    return html.escape(json.dumps(known, indent=2, ensure_ascii=False))
