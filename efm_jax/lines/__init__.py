"""Field lines: traced from plate to plate, by height or through the whole space."""

from efm_jax.lines.tracing import FieldLines, rate, trace

__all__ = [
    "FieldLines",
    "rate",
    "trace",
]
