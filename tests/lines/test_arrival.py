"""Lines of exact fields arrive on the plate, at the right places, with steps that are chosen where none are given."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _flows import GAP, linear_field, starts

from efm_jax import fields, lines
from efm_jax.charges import capacitor
from efm_jax.datasets import toys
from efm_jax.lines import whole_space

TOYS = (
    "gaussian",
    "swiss_roll",
    "two_gaussians",
    "eight_gaussians",
    "moons",
    "s_curve",
    "checkerboard",
    "rings",
)


def scene(p, q, gap, charges, count=32, dtype=jnp.float32):
    """The exact field between two toys, and starts on the plate of the first."""
    p, q = (getattr(toys, name)() for name in (p, q))
    rng = np.random.default_rng(0)
    x, y = (jnp.asarray(toy.draw(rng, charges), dtype) for toy in (p, q))
    start = jnp.asarray(np.c_[p.draw(rng, count), np.zeros(count)], dtype)
    return fields.field_fn(capacitor(x, y, gap=gap)), start


def check_arrival(p, q, gap, charges):
    field, start = scene(p, q, gap, charges, count=32 if charges < 1000 else 16)
    found = lines.trace(field, start, gap)
    assert found.arrived.all(), (p, q, gap, charges, float(found.arrived.mean()))
    assert (found.end[:, -1] == gap).all()
    assert found.num_evaluations.max() <= 300, (p, q, gap, charges, int(found.num_evaluations.max()))
    return found


@pytest.mark.parametrize("gap", [1.0, 6.0, 30.0])
@pytest.mark.parametrize(("p", "q"), [("gaussian", "swiss_roll"), ("two_gaussians", "rings")])
def test_all_lines_of_point_charges_arrive(p, q, gap):
    found = check_arrival(p, q, gap, 256)
    # and back, from where they end: most begin on a charge
    back = lines.trace(scene(p, q, gap, 256)[0], found.end, 0.0)
    assert back.arrived.all()
    assert back.num_evaluations.max() <= 300


@pytest.mark.slow
@pytest.mark.parametrize("charges", [256, 4096])
@pytest.mark.parametrize("gap", [1.0, 6.0, 30.0])
def test_all_lines_arrive_between_all_toys(gap, charges):
    for p, q in itertools.product(TOYS, TOYS):
        check_arrival(p, q, gap, charges)


@pytest.mark.parametrize("gap", [6.0, 30.0])
def test_they_end_where_lines_in_float64_and_by_arc_length_do(gap):
    with jax.enable_x64(True):
        field, start = scene("gaussian", "swiss_roll", gap, 256, dtype=jnp.float64)
        exact = whole_space.to_height(field, start, gap, stepping=lines.adaptive("dopri5", rtol=1e-6))
        assert exact.arrived.all()
        exact = np.asarray(exact.end)
    found = lines.trace(*scene("gaussian", "swiss_roll", gap, 256), gap)
    error = np.linalg.norm(np.asarray(found.end) - exact, axis=1)
    # most end on a charge, exactly; a line near the border between two charges may end on the other one
    assert np.median(error) < 1e-5
    assert np.quantile(error, 0.8) < 2e-3 * gap


@pytest.mark.parametrize("clock", ["linear", pytest.param("logit", marks=pytest.mark.slow)])
def test_adaptive_steps_end_on_a_plate_of_charges_in_every_clock(clock):
    """They stopped just below it, after a thousand steps of one length that were all rejected."""
    field, start = scene("gaussian", "swiss_roll", 6.0, 256)
    found = lines.trace(field, start, 6.0, stepping=lines.adaptive(rtol=1e-3, clock=clock))
    assert found.arrived.mean() >= 0.95
    assert found.num_evaluations.max() < 500


def test_a_line_that_cannot_go_on_is_given_up_at_once():
    def wall(points):
        flat = jnp.where(points[:, -1:] > 1.0 - 1.5e-5, jnp.nan, 1.0)
        return jnp.concatenate([jnp.zeros_like(points[:, :-1]), flat], axis=1)

    # the step that is left over is longer than the shortest one, and shorter than two
    with pytest.warns(UserWarning, match="only 0 of 5 lines arrived"):
        found = lines.trace(wall, starts(), 1.0, stepping=lines.adaptive("bosh3", clock="linear"))
    assert not found.arrived.any()
    assert found.num_evaluations.max() < 400  # it was tried to the last of 1,000 steps


@pytest.mark.parametrize(
    "follow", [whole_space.to_height, pytest.param(whole_space.to_plate, marks=pytest.mark.slow)]
)
def test_lines_through_the_whole_space_end_on_a_plate_of_charges(follow):
    field, start = scene("gaussian", "swiss_roll", 6.0, 256)
    found = follow(field, start, 6.0)
    assert found.arrived.all(), whole_space.tally(found)
    assert found.num_evaluations.max() < 1000


# ---- warnings -------------------------------------------------------------------------------------------------------


def half_field(share, points):
    """Lines left of `share` go up, the others down."""
    up = jnp.where(points[:, :1] < share, 1.0, -1.0)
    return jnp.concatenate([jnp.zeros_like(points[:, :-1]), up], axis=1)


@pytest.mark.parametrize("share", [0.85, 0.95])
@pytest.mark.parametrize("follow", [lines.trace, whole_space.to_height])
def test_few_arrivals_are_warned_of(follow, share):
    points = jnp.stack([jnp.linspace(0.0, 0.999, 100), jnp.full(100, 0.5)], axis=1)
    field = jax.tree_util.Partial(half_field, jnp.float32(share))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        follow(field, points, 1.0, **({"max_length": 9.0} if follow is not lines.trace else {}))
    said = [str(w.message) for w in seen if w.filename == __file__]
    assert len(said) == (share < 0.9)
    if said:
        assert said[0].startswith("only 85 of 100 lines arrived.\n")
        assert "adaptive(" in said[0]


def test_nothing_is_said_while_tracing():
    down = jax.tree_util.Partial(half_field, jnp.float32(-9.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        jax.jit(lambda p: lines.trace(down, p, GAP))(starts())
        jax.vmap(lambda p: lines.trace(down, p, GAP))(starts()[None])
        lines.trace(linear_field, starts(), GAP)
