"""The theorem's stochastic map of fresh samples: smooth plates in closed form are carried onto each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _lines_to_charges import KEY
from scipy import stats
from strips import Strips

from efm_jax import metrics, sampling
from efm_jax.charges.plates import capacitor
from efm_jax.fields import field_fn
from efm_jax.lines import adaptive, launches, whole_space

pytestmark = pytest.mark.slow

FIELD = Strips()


@pytest.fixture(scope="module")
def smooth():
    """Lines of two strips of uniform charge by the flux rule, from either plate."""
    lines = {}
    for reverse in (False, True):
        start, stop = Strips().q if reverse else Strips().p
        x = np.random.default_rng(0).uniform(start, stop, size=(2000, 1)).astype(np.float32)
        lines[reverse] = sampling.stochastic_map(KEY, FIELD, x, 2.0, reverse=reverse, offset=2e-3, save=40)
    return lines


@pytest.mark.parametrize("reverse", [False, True])
def test_uniform_strips_map_onto_each_other(smooth, reverse):
    """Fresh uniform samples of P, each sent up or down by the flux rule, end uniform on Q, whatever the way."""
    low, high = FIELD.p if reverse else FIELD.q
    lines = smooth[reverse]
    arrived = np.asarray(lines.arrived)
    assert arrived.mean() >= 0.998, whole_space.tally(lines)
    end = np.asarray(lines.end)
    np.testing.assert_array_equal(end[arrived, 1], 0.0 if reverse else 2.0)
    share = (end[:, 0] - low) / (high - low)
    # edges, where the field is singular, are blurred by the offset of 2e-3 and some
    assert stats.kstest(share[arrived], "uniform").pvalue > 1e-2
    # those that keep inside alone are another map, and a wrong one: the test can fail
    direct = np.asarray(lines.length) < 4.0
    assert 0.2 < direct.mean() < 0.8
    assert stats.kstest(share[direct & arrived], "uniform").pvalue < 1e-6


def test_a_line_may_cross_the_plate_and_end_on_it_from_behind(smooth):
    from_behind = np.asarray(smooth[False].path)[-2, :, 1] > 2.0
    # the share of Q's flux that comes from above is what its upper side shows, E_z(+0) < 0 there
    y = np.linspace(*FIELD.q, 2001)[1:-1, None]
    upper = -FIELD.field(np.c_[y, np.full_like(y, 2.0 + 1e-6)])[:, 1]
    share = np.clip(upper * (FIELD.q[1] - FIELD.q[0]), 0, 1).mean()
    assert 0.2 < share < 0.8
    # four standard errors of 2,000 lines
    assert abs(from_behind.mean() - share) < 0.045, (from_behind.mean(), share)


def test_lines_end_where_both_sides_of_the_plate_meet():
    """Round and round about (0, 1): through both plates, unless the field turns about behind one at x > 0."""

    def wheel(turn, p):
        way, plate, side = turn
        spin = way * jnp.stack([-(p[:, 1] - 1.0), p[:, 0]], axis=1)
        behind = (side * (p[:, 1] - plate) > 0) & (p[:, 0] > 0)
        return jnp.where(behind[:, None], -spin, spin)

    def run(*turn):
        field = jax.tree_util.Partial(wheel, jnp.asarray(turn))
        return whole_space.to_plate(field, jnp.asarray([[1.5, 1.0], [2.0, 1.0]]), 2.0, max_length=40.0)

    radius = np.array([1.5, 2.0])
    free = run(1.0, 0.0, 0.0)
    assert whole_space.tally(free) == {"too long": 2}
    # three turns and more: on the circle still, steps of error 1e-4 of three
    np.testing.assert_allclose(np.linalg.norm(np.asarray(free.end) - [0, 1], axis=1), radius, rtol=0.02)
    np.testing.assert_allclose(free.length, 40.0, atol=1.6)  # the step that goes beyond is the last
    caught = run(1.0, 2.0, 1.0)
    assert caught.arrived.all()
    np.testing.assert_allclose(caught.end, np.c_[np.sqrt(radius**2 - 1), [2.0, 2.0]], atol=5e-3)
    np.testing.assert_allclose(caught.length, radius * np.arcsin(1 / radius), atol=5e-3)
    # backward they would meet the lower plate first, and it is not theirs to end on
    stuck = run(-1.0, 0.0, -1.0)
    assert whole_space.tally(stuck) == {"stuck on the other plate": 2}
    np.testing.assert_allclose(stuck.end, np.c_[np.sqrt(radius**2 - 1), [0.0, 0.0]], atol=5e-3)


@pytest.mark.slow
def test_fresh_samples_of_a_plate_of_charges_go_where_its_flux_goes():
    """2,048 charges a plate as if smooth, seen from three spacings off: W2 to Q beside that of two sets of Q."""
    rng = np.random.default_rng(0)
    charges = capacitor(
        rng.normal(size=(2048, 2)).astype(np.float32), rng.normal(size=(2048, 2)).astype(np.float32) + 2, 6.0
    )
    x = jnp.asarray(rng.normal(size=(512, 2)), jnp.float32)
    lines = sampling.stochastic_map(
        KEY,
        field_fn(charges),
        x,
        6.0,
        offset=3 * launches.spacing(charges),
        stepping=adaptive(rtol=1e-3),
        at_once=128,
    )
    arrived = np.asarray(lines.arrived)
    assert arrived.mean() > 0.98, whole_space.tally(lines)
    floor = metrics.wasserstein2(rng.normal(size=(512, 2)), rng.normal(size=(512, 2)))
    end = np.asarray(lines.end)[arrived][:, :-1]
    # seen from the offset, the plates are smeared by it, and thin tails are lost
    assert metrics.wasserstein2(end, rng.normal(size=(len(end), 2)) + 2) < 2.5 * floor


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gap": 0.0}, "gap must be"),
        ({"offset": 2.0}, "offset must be below half the gap"),
        ({"offset": 1.0}, "offset must be below half the gap"),
        ({"field": 3.0}, "field must be a function"),
        ({"field": lambda p: p[:, :1]}, "one vector"),
    ],
)
def test_bad_input_of_lines_to_plates_is_named(change, message):
    arguments = {"field": jnp.ones_like, "points": jnp.ones((3, 3)), "gap": 2.0, **change}
    with pytest.raises(ValueError, match=message):
        whole_space.to_plate(
            arguments.pop("field"), arguments.pop("points"), arguments.pop("gap"), **arguments
        )
