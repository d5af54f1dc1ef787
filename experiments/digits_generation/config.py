"""The runs of this experiment, by name."""

from dataclasses import replace

from efm_jax.models.configs import Run
from efm_jax.models.presets import PRESETS


def runs(mnist: str) -> dict[str, Run]:
    """Return every run of the experiment; `mnist` is the folder of the IDX files, used by the full one."""
    full = PRESETS["generate-full"][1]
    return {
        "quick": PRESETS["generate-quick"][1],
        "full": replace(full, data=replace(full.data, target=f"mnist:{mnist}")),
    }
