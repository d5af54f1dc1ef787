"""Trained models: configured, built, opened, applied, exported, scored."""

from typing import TYPE_CHECKING

from efm_jax._core import lazy

if TYPE_CHECKING:
    from efm_jax.models.apply import generate, translate
    from efm_jax.models.model import Trained, labels_of, load, transport
    from efm_jax.models.model_folder import export, open_folder, released
    from efm_jax.models.reports import assess, evaluate, summary

__all__ = [
    "Trained",
    "assess",
    "evaluate",
    "export",
    "generate",
    "labels_of",
    "load",
    "open_folder",
    "released",
    "summary",
    "translate",
    "transport",
]

__getattr__ = lazy.attach(
    __name__,
    {
        "Trained": "model",
        "assess": "reports",
        "evaluate": "reports",
        "export": "model_folder",
        "generate": "apply",
        "labels_of": "model",
        "load": "model",
        "open_folder": "model_folder",
        "released": "model_folder",
        "summary": "reports",
        "translate": "apply",
        "transport": "model",
    },
)
