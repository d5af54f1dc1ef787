"""What `efm evaluate` does: one run or model scored, or two folders of pictures compared."""

from pathlib import Path
from typing import Any

from efm_jax.evaluation import features
from efm_jax.evaluation import folders as comparison
from efm_jax.evaluation import partners as pairs
from efm_jax.models import model_folder, reports


def one(
    run: Path | None, model: Path | None, step: int | None, cache: Path | None, asked: dict[str, Any]
) -> tuple[Path | None, dict[str, Any]]:
    """Score a run, or a model where there is none: where the report lies, if anywhere, and the report.

    Raises:
        ValueError: A step of a model is asked for; or see `assessment`.
    """
    if model is not None and step is not None:
        raise ValueError("a model holds the weights of one step; leave --step out, or give the run folder.")
    if run is None:
        trained = model_folder.open_folder(str(model))
        report = reports.assess(trained, cache=cache or features.cache_folder(), **asked)
        return asked["output"], report
    where = {name: asked[name] for name in ("source", "target", "output")}
    return reports.destination(run, step, **where), reports.evaluate(run, step=step, **asked)


def folders(
    a: Path,
    b: Path,
    held_out: Path | None,
    seen_by: str | None,
    policy: dict[str, Any],
    *,
    partners: bool,
    cache: Path | None,
    output: Path | None,
) -> None:
    """Compare the pictures of two folders, print the table, and write report and table where that is asked for.

    Raises:
        ValueError: No features are asked for; or see `comparison`.
    """
    if seen_by == "none":
        raise ValueError(
            "two folders are compared on features: --features efficientnet, digits, or inception:FILE."
        )
    extractor = features.open_extractor(seen_by or "efficientnet")
    common = {**policy, "extractor": extractor, "cache": cache or features.cache_folder()}
    report = comparison.folders_report(a, b, held_out, **common)
    print(comparison.table(report))
    if partners:
        report["partners"] = pairs.folders_partners_report(a, b, **common)
        print(f"\n{pairs.table(report['partners'])}")
    if output is not None:
        comparison.write(report, output)
        print(f"report {output}")
