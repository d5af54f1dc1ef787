"""How lines are stepped: by fixed steps in a clock, or by steps that follow each line's error.

`fixed` and `adaptive` return one value, a `Stepping`, which every function that follows lines takes.
"""

from dataclasses import dataclass
from functools import partial

import diffrax
from jax.core import Tracer
from jaxtyping import Array, Float

from efm_jax._core import checks
from efm_jax.lines import clocks
from efm_jax.lines._multistep import AdamsBashforth2

__all__ = ["Stepping", "adaptive", "fixed"]

# a loop over the stages that has a gradient in both modes
SOLVERS = {
    "euler": diffrax.Euler,
    "heun": partial(diffrax.Heun, scan_kind="bounded"),
    "midpoint": partial(diffrax.Midpoint, scan_kind="bounded"),
    "ab2": AdamsBashforth2,
    "bosh3": partial(diffrax.Bosh3, scan_kind="bounded"),
    "tsit5": partial(diffrax.Tsit5, scan_kind="bounded"),
    "dopri5": partial(diffrax.Dopri5, scan_kind="bounded"),
}

_ADAPTIVE = ("bosh3", "tsit5", "dopri5")


@dataclass(frozen=True)
class Stepping:
    """How lines are stepped; make one by `fixed` or `adaptive`.

    Attributes:
        solver: Name of the solver.
        clock: How the height advances.
        steps: Number of fixed steps.
        step: Length of fixed steps in height; without it and `steps` the steps are adaptive.
        rtol: Relative tolerance of adaptive steps.
        atol: Absolute tolerance of adaptive steps.
        greatest_step: Longest adaptive step.
        max_steps: Most adaptive steps.
    """

    solver: str
    clock: str | clocks.Clock | None = None
    steps: int | None = None
    step: float | Float[Array, ""] | None = None
    rtol: float | Float[Array, ""] = 1e-4
    atol: float | Float[Array, ""] | None = None
    greatest_step: float | None = None
    max_steps: int = 1000

    @property
    def is_fixed(self) -> bool:
        """Whether the steps are laid out beforehand."""
        return self.steps is not None or self.step is not None


def fixed(
    solver: str = "midpoint",
    steps: int | None = None,
    *,
    step: float | None = None,
    clock: str | clocks.Clock | None = None,
) -> Stepping:
    """Take fixed steps, for lines by height.

    `fixed("euler", step=dz)` is Algorithm 2 of the paper. `fixed()` spends 48 evaluations a line. Its steps are short near
    the plates, where the direction of a field turns fastest.

    Args:
        solver: "euler" (order 1), "heun", "midpoint", "ab2" (2), "bosh3" (3), "tsit5" or "dopri5" (5). "euler" and "ab2"
            (Adams-Bashforth, its first step Euler's) spend one evaluation a step, "heun" and "midpoint" two.
        steps: Number of steps; None: 24, or those of a grid.
        step: In place of `steps` the greatest mean dz: the number of equal steps in the clock is `ceil(|to - z| / step)`.
        clock: "linear", "sine", "logit", "log", or a function of `clocks`. A `clocks.Grid` holds the steps themselves.
            None: "sine", or "linear" with `step`, which is then dz.

    Raises:
        ValueError: An option is not as said above, or `steps`, `step` and a grid contradict each other.

    Examples:
        >>> stepping = fixed("heun", 12)
        >>> stepping.steps, stepping.clock
        (12, 'sine')

    Source: Kolesov et al. 2025 (arXiv 2502.02367), Algorithm 2.
    """
    checks.choice("solver", solver, tuple(SOLVERS))
    if isinstance(clock, clocks.Grid):
        if step is not None or steps not in (None, clock.steps):
            raise ValueError(
                f"the grid holds {clock.steps} steps, got steps={steps!r}, step={step!r}.\n"
                "Leave both out, or place another grid."
            )
        return Stepping(solver, clock, clock.steps)
    if steps is not None and step is not None:
        raise ValueError(
            f"steps and step say the same thing twice, got {steps} and {step}; give one of them."
        )
    if clock is None:
        clock = "sine" if step is None else "linear"
    clocks.named(clock)
    if step is not None:
        return Stepping(solver, clock, step=_positive("step", step))
    return Stepping(solver, clock, 24 if steps is None else checks.count("steps", steps))


def adaptive(
    solver: str = "tsit5",
    *,
    rtol: float = 1e-4,
    atol: float | None = None,
    clock: str | clocks.Clock | None = None,
    greatest_step: float | None = None,
    max_steps: int = 1000,
) -> Stepping:
    """Choose steps by the error that each line makes.

    By height the root mean square over a line's components of `error / (atol + rtol |component|)` stays below 1 in every
    step. The last 2.5 millionths of the way are straight: on a plate of point charges the field has no direction. Through
    the whole space the error of a step stays below `atol` plus `rtol` length scales.

    Args:
        solver: "bosh3" (order 3), "tsit5" or "dopri5" (5).
        rtol: Relative tolerance.
        atol: Absolute tolerance, in the units of the points; None: by height `rtol`, through the whole space 0.
        clock: By height, how z advances: "linear", "sine", "logit", "log", or a function of `clocks`; None: "sine", whose
            steps are short near the plates, where lines of point charges bend fastest.
        greatest_step: Longest step; by height a share of the clock (None: 1), through the whole space in length scales
            (None: 0.5; below 1, for a longer step passes over a charge).
        max_steps: Steps, taken or rejected, after which a line has not arrived.

    Raises:
        ValueError: An option is not as said above.

    Examples:
        >>> stepping = adaptive("dopri5", rtol=1e-3, clock="linear")
        >>> stepping.is_fixed, stepping.clock
        (False, 'linear')
    """
    if solver in SOLVERS and solver not in _ADAPTIVE:
        raise ValueError(
            f"solver {solver!r} has no error estimate; take fixed({solver!r}, steps), or adaptive('tsit5')."
        )
    checks.choice("solver", solver, _ADAPTIVE)
    if isinstance(clock, clocks.Grid):
        raise ValueError(f"a grid holds fixed steps; give it to fixed({solver!r}, clock=grid).")
    if clock is not None:
        clocks.named(clock)
    return Stepping(
        solver,
        clock,
        rtol=_positive("rtol", rtol),
        atol=None if atol is None else _positive("atol", atol),
        greatest_step=None if greatest_step is None else checks.positive("greatest_step", greatest_step),
        max_steps=checks.count("max_steps", max_steps),
    )


def chosen(stepping: Stepping | None, otherwise: Stepping) -> Stepping:
    """Return the stepping given, or `otherwise` for None; raise ValueError for what is neither."""
    if stepping is not None and not isinstance(stepping, Stepping):
        raise ValueError(
            f"stepping must be what lines.fixed or lines.adaptive returns, got {stepping!r}.\n"
            "Write e.g. stepping=lines.fixed('euler', 24)."
        )
    return otherwise if stepping is None else stepping


def _positive(name: str, value):
    """The value as it is if it is finite and > 0, or traced."""
    if not isinstance(value, Tracer):
        checks.positive(name, value)
    return value
