"""Field lines: traced from plate to plate, by height or through the whole space."""

from efm_jax.lines.tracing import rate, trace
from efm_jax.types import FieldLines

__all__ = [
    "FieldLines",
    "rate",
    "trace",
]
