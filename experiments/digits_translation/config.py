"""The runs of this experiment, by name."""

from dataclasses import replace

from efm_jax.models.configs import EFM, Run
from efm_jax.models.presets import PRESETS

GAPS = (1.0, 3.0, 30.0, 100.0, 500.0)
_EFM = EFM(gap=10.0, charges=256, num_points=64, noise=0.05, coupling="minibatch_ot")


def runs(mnist: str) -> dict[str, Run]:
    """Return every run of the experiment; `mnist` is the folder of the IDX files, used by the full ones."""
    quick = PRESETS["digits-quick"][1]
    full = PRESETS["digits-full"][1]
    full = replace(full, data=replace(full.data, source=f"mnist:{mnist}:3", target=f"mnist:{mnist}:2"))
    quick_efm, full_efm = (
        replace(run, data=replace(run.data, jitter=0.0), recipe=_EFM, steps=steps)
        for run, steps in ((quick, 1500), (full, 4000))
    )
    brief = replace(quick_efm, steps=400)
    changes = {
        "quick": quick,
        "full": full,
        "quick_efm": replace(quick, recipe=replace(_EFM, coupling="one_plan", plan_samples=10_000)),
        "brief": brief,
        "quick_superposed": quick_efm,
        "quick_per_plate": _recipe(quick_efm, convention="per_plate", gamma=5.0),
        "full_superposed": full_efm,
        "full_per_plate": _recipe(full_efm, convention="per_plate", gamma=5.0),
        "brief_per_plate": _recipe(brief, convention="per_plate", gamma=5.0),
        "brief_independent": _recipe(brief, coupling="independent"),
        "brief_noise": _recipe(brief, noise=1.0),
    }
    for gap in GAPS:
        changes[f"brief_gap_{gap:g}"] = _recipe(brief, gap=gap)
    return changes


def _recipe(run: Run, **changes) -> Run:
    return replace(run, recipe=replace(run.recipe, **changes))
