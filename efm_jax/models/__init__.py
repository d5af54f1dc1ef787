"""Trained runs and models: configured, built, loaded, applied, exported, scored."""

from typing import TYPE_CHECKING

from efm_jax._core import lazy

if TYPE_CHECKING:
    from efm_jax.models.apply import generate, translate
    from efm_jax.models.exporting import export
    from efm_jax.models.loading import load, released
    from efm_jax.models.model import Trained, labels_of, transport
    from efm_jax.models.reports import evaluate, summary

__all__ = [
    "Trained",
    "evaluate",
    "export",
    "generate",
    "labels_of",
    "load",
    "released",
    "summary",
    "translate",
    "transport",
]

__getattr__ = lazy.attach(
    __name__,
    {
        "Trained": "model",
        "evaluate": "reports",
        "export": "exporting",
        "generate": "apply",
        "labels_of": "model",
        "load": "loading",
        "released": "loading",
        "summary": "reports",
        "translate": "apply",
        "transport": "model",
    },
)
