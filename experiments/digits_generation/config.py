"""The runs of this experiment, by name."""

from dataclasses import replace

from efm_jax.models.configs import Data, Run, of_method
from efm_jax.models.presets import PRESETS


def runs(mnist: str) -> dict[str, Run]:
    """Return every run of the experiment; `mnist` is the folder of the IDX files, used by the full ones."""
    full, pixels = PRESETS["generate-full"][1], PRESETS["generate-pictures"][1]
    quick = PRESETS["generate-quick"][1]
    means = of_method(quick, "pfgm")
    return {
        "quick": quick,
        "quick_pfgm": replace(means, recipe=replace(means.recipe, extra=None)),
        "full": replace(full, data=replace(full.data, target=f"mnist:{mnist}")),
        "efm_quick": replace(pixels, data=Data("noise", "digits")),
        "efm_full": replace(pixels, data=Data("noise", f"mnist:{mnist}"), steps=3000),
    }
