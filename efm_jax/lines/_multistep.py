"""A solver of several steps, as diffrax's are: one evaluation a step."""

from typing import ClassVar

import diffrax
import jax.numpy as jnp


class AdamsBashforth2(diffrax.AbstractSolver):
    r"""Adams-Bashforth of order 2 with steps of any lengths, one evaluation each.

    $$y_{k+1} = y_k + h_k \left(f_k + \frac{h_k}{2 h_{k-1}} (f_k - f_{k-1})\right),$$

    the integral of the line through the last two rates; the first step is Euler's.

    Source: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I (1993), sec. III.5.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar = diffrax.LocalLinearInterpolation

    def order(self, terms):
        """Order 2."""
        return 2

    def init(self, terms, t0, t1, y0, args):
        """No step before: no rate, of a step of no length."""
        return jnp.zeros_like(y0), jnp.zeros_like(terms.contr(t0, t1))

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step."""
        before, length = solver_state
        f, h = terms.vf(t0, y0, args), terms.contr(t0, t1)
        ratio = jnp.where(length > 0, h / jnp.where(length > 0, length, 1.0), 0.0)
        y1 = y0 + h * (f + 0.5 * ratio * (f - before))
        return y1, None, {"y0": y0, "y1": y1}, (f, h), diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """The rate."""
        return terms.vf(t0, y0, args)
