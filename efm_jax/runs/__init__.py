"""Training runs, each in a folder of its own, that survive kills and resume bit for bit."""

from typing import TYPE_CHECKING

from efm_jax._core import lazy

if TYPE_CHECKING:
    from efm_jax.runs._fit import MAY_CHANGE, fit, read_config, read_log
    from efm_jax.runs._train import train

__all__ = [
    "MAY_CHANGE",
    "fit",
    "read_config",
    "read_log",
    "train",
]

__getattr__ = lazy.attach(
    __name__,
    {
        "MAY_CHANGE": "_fit",
        "fit": "_fit",
        "read_config": "_fit",
        "read_log": "_fit",
        "train": "_train",
    },
)
