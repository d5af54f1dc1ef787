"""Field lines: traced from plate to plate by height (`trace`), or through the whole space (`whole_space`)."""

from efm_jax.lines.stepping import Stepping, adaptive, fixed
from efm_jax.lines.tracing import FieldLines, rate, trace

__all__ = ["FieldLines", "Stepping", "adaptive", "fixed", "rate", "trace"]
