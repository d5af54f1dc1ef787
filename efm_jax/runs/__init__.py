"""Training runs, each in a folder of its own, that survive kills and resume bit for bit."""

from typing import TYPE_CHECKING

from efm_jax._core import lazy

if TYPE_CHECKING:
    from efm_jax.runs._fit import fit, read_log
    from efm_jax.runs._folder import MAY_CHANGE, read_config
    from efm_jax.runs._plan import Plan
    from efm_jax.runs._train import as_begun, train

__all__ = ["MAY_CHANGE", "Plan", "as_begun", "fit", "read_config", "read_log", "train"]

__getattr__ = lazy.attach(
    __name__,
    {
        "MAY_CHANGE": "_folder",
        "Plan": "_plan",
        "as_begun": "_train",
        "fit": "_fit",
        "read_config": "_folder",
        "read_log": "_fit",
        "train": "_train",
    },
)
