"""Widths: their formulas, their slopes, and where they vanish."""

import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.fields.widths import bridge, constant, ramped, with_slope

GAP = 6.0
Z = jnp.linspace(0.01, GAP - 0.01, 301)


def test_ramps_are_those_of_the_three_stretches():
    scale, rate = 1.5, 10.0
    d = np.pi / (2 * rate)
    z = np.asarray(Z, np.float64)
    wanted = np.where(z < d, np.sin(rate * z), np.where(z > GAP - d, np.cos(rate * (z - GAP + d)), 1.0))
    # float32 sines of arguments up to pi / 2
    np.testing.assert_allclose(ramped(scale, rate=rate)(Z, GAP), scale * wanted, atol=2e-6)


@pytest.mark.parametrize("width", [constant(0.3), ramped(1.0), ramped(2.0, rate=3.0), bridge(0.7)])
def test_slopes_are_the_differences_of_the_width(width):
    sigma, slope = with_slope(width, Z, GAP)
    assert (sigma > 0).all()
    h = 1e-2
    wanted = (np.asarray(width(Z + h / 2, GAP), np.float64) - np.asarray(width(Z - h / 2, GAP))) / h
    # next to a plate a width of square-root form bends within h, and ramps have a kink in their second derivative
    inner = (np.asarray(Z) > 0.2) & (np.asarray(Z) < GAP - 0.2)
    # a central difference errs by h^2 w''' / 24 < 3e-4, float32 by 1e-7 / h
    np.testing.assert_allclose(np.asarray(slope)[inner], wanted[inner], atol=4e-4)


def test_widths_that_vanish_do_so_at_both_plates():
    plates = jnp.asarray([0.0, GAP])
    for width in (ramped(), ramped(rate=4.0), bridge()):
        np.testing.assert_allclose(width(plates, GAP), 0.0, atol=1e-6)
    assert (constant(0.2)(plates, GAP) == 0.2).all()


def test_bad_widths_say_what_was_expected():
    for width in (constant, ramped, bridge):
        with pytest.raises(ValueError, match="scale must be a finite number > 0, got 0"):
            width(0)
    with pytest.raises(ValueError, match="rate must be a finite number > 0, got -1"):
        ramped(rate=-1.0)
    with pytest.raises(ValueError, match=r"at least pi / gap = 0\.523599"):
        ramped(rate=0.3)(Z, GAP)
