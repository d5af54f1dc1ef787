"""Of every recipe: the targets it draws are those of its exact field, in float64 from the formulas."""

from functools import partial

import chain_reference
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from reference import coulomb as reference_coulomb
from scipy import stats

from efm_jax.charges.plates import capacitor
from efm_jax.fields import widths
from efm_jax.matching import c2fm, cfm, couplings, efm, ifm, points, tubes
from efm_jax.matching.by_height import pfgm_by_height

GAP, DIM, COUNT = 6.0, 3, 16
PAIRS = couplings.given()


def two_plates(p, x, y):
    return reference_coulomb(p, *capacitor(jnp.asarray(x), jnp.asarray(y), GAP)).direction


def each_plate(p, x, y):
    charges = capacitor(jnp.asarray(x), jnp.asarray(y), GAP)
    exact = reference_coulomb(p, *charges, "per_plate", 1e-3)
    return exact.direction * np.exp(exact.log_magnitude)[:, None]


def chain(p, x, y):
    total = np.zeros_like(p)
    for plate, z, sign in ((x, 0.0, 1.0), (y, GAP, -1.0)):
        away = p[:, None, :-1] - plate
        rho = np.linalg.norm(away, axis=-1)
        e_rho, e_z = chain_reference.by_images(rho, p[:, None, -1] - z, GAP, DIM)
        total[:, :-1] += sign * (e_rho[..., None] * away / rho[..., None]).mean(1)
        total[:, -1] += sign * e_z.mean(1)
    return total / np.linalg.norm(total, axis=1, keepdims=True)


def pairs(p, x, y):
    """Weight [p, k] and offset [p, k, D] of each pair of rows, for lines that bulge by 0.3."""
    t = p[:, -1:, None] / GAP
    rho = p[:, None, :-1] - (1 - t) * x - t * y
    log_w = -(rho**2).sum(-1) / (2 * 0.3**2)
    w = np.exp(log_w - log_w.max(1, keepdims=True))
    return w / w.sum(1, keepdims=True), rho


def interaction(p, x, y):
    return np.c_[pairs(p, x, y)[0] @ ((y - x) / GAP), np.ones(len(p))]


def official(p, x, y):
    along = np.c_[y - x, np.full(COUNT, GAP)]
    total = pairs(p, x, y)[0] @ (along / np.linalg.norm(along, axis=1, keepdims=True))
    return 2.0 * total / np.linalg.norm(total, axis=1, keepdims=True)


def one_plate(num_extra):
    def field(p, x, y):
        charges = np.c_[y, np.zeros((COUNT, num_extra))]
        there = np.c_[p, np.zeros((len(p), num_extra - 1))]
        return reference_coulomb(there, charges, np.full(COUNT, 1 / COUNT)).direction[:, : DIM + 1]

    return field


def unit(field):
    return lambda p, x, y: 2.0 * field(p, x, y)  # sqrt(D+1)


def velocity(field):
    def of(p, x, y):
        e = field(p, x, y)
        return e / e[:, -1:]

    return of


def speed_cut(field):
    """`dx/ds` of the velocity cut to half of `(R^2 + D L^2 / 4)^(1/2) / 4`."""

    def of(p, x, y):
        v = velocity(field)(p, x, y)
        squared = ((x[:, None] - y[None]) ** 2).sum(-1).mean()
        most = 0.5 * 0.25 * np.sqrt(squared + DIM * GAP**2 / 4)
        speed = np.linalg.norm(v[:, :-1], axis=1) * p[:, -1] * (GAP - p[:, -1]) / GAP
        v[:, :-1] *= np.minimum(1, most / speed)[:, None]
        return v

    return of


CASES = {
    "efm superposed": (efm(GAP), unit(two_plates)),
    "efm superposed, box": (efm(GAP, points=points.box()), unit(two_plates)),
    "efm per_plate": (efm(GAP, convention="per_plate", gamma=1e-3), each_plate),
    "efm velocity, flux": (
        efm(GAP, target="velocity", points=points.flux("two_plates")),
        velocity(two_plates),
    ),
    "c2fm": (c2fm(GAP, tolerance=1e-5), unit(chain)),
    "c2fm robust": (c2fm(GAP, target="robust", cut=0.5, tolerance=1e-5), speed_cut(chain)),
    "ifm": (ifm(GAP, width=widths.constant(0.3), coupling=PAIRS), interaction),
    "ifm official": (ifm(GAP, law="official", width=widths.constant(0.3), coupling=PAIRS), official),
    "pfgm by height": (pfgm_by_height(40.0, gamma=0.0), unit(one_plate(1))),
    "pfgm++ by height": (pfgm_by_height(40.0, target="velocity", num_extra=8), velocity(one_plate(8))),
}


def plates():
    rng = np.random.default_rng(0)
    return (np.float32(rng.normal(size=(COUNT, DIM))), np.float32(rng.normal(size=(COUNT, DIM)) + 2))


@pytest.mark.parametrize("name", CASES)
def test_targets_are_those_of_the_exact_field(name):
    recipe, exact = CASES[name]
    x, y = plates()
    batch = jax.jit(recipe.draw)(jax.random.key(5), x, y)
    p, target, weight = (np.asarray(part, np.float64) for part in batch)
    wanted = exact(p, np.float64(x), np.float64(y))
    error = np.abs(target - wanted).max(axis=1) * np.sqrt(weight)
    # Float32 fields are good to 1e-5 of the sum of the plates' own; a velocity divides by E_z / |E|, and a point next to a
    # charge or plate keeps the rounding of its coordinates, 1e-7 of their size, over its distance. A wrong sign, factor or
    # exponent is an error of order 1 at most points.
    size = 1 + np.abs(wanted).max(axis=1)
    assert np.median(error / size) < 2e-5
    assert (error / size**2 < 5e-3).all()


@pytest.mark.parametrize(
    ("recipe", "numbers"),
    [
        (cfm(GAP, coupling=PAIRS, width=widths.constant(0.3)), lambda t: (0.3 + 0 * t, 0 * t)),
        (
            cfm(GAP, coupling=PAIRS, width=widths.bridge(0.6)),
            lambda t: (0.6 * np.sqrt(t * (1 - t)), 0.6 * (1 - 2 * t) / (2 * np.sqrt(t * (1 - t)) * GAP)),
        ),
    ],
    ids=["constant", "bridge"],
)
def test_each_target_of_flow_matching_is_the_velocity_of_one_pair_s_path(recipe, numbers):
    """`(y - x) / L + sigma' / sigma rho` for a pair of which the point lies within the width."""
    x, y = plates()
    p, target, _ = (np.asarray(a, np.float64) for a in recipe.draw(jax.random.key(5), x, y))
    t = p[:, -1] / GAP
    sigma, slope = numbers(t)
    rho = p[:, None, :-1] - (1 - t)[:, None, None] * x - t[:, None, None] * y
    velocities = (y - x) / GAP + (slope / sigma)[:, None, None] * rho
    error = np.abs(velocities - target[:, None, :-1]).max(-1)
    mine = error.argmin(1)
    # the offset from the axis is a difference of numbers of order 5, rounded, over the width
    assert (error.min(1) < 1e-6 + 2e-6 * np.abs(slope) / sigma).all()
    offset = np.linalg.norm(rho[np.arange(COUNT), mine], axis=1) / sigma
    # chi of three degrees of freedom: 5.5 comes up once in 10^6
    assert (offset < 5.5).all()
    assert 1.0 < offset.mean() < 2.2
    assert sorted(mine) == list(range(COUNT))  # every pair once
    assert (target[:, -1] == 1).all()


WIDE = {"coupling": PAIRS, "num_points": 4000}


@pytest.mark.parametrize("height", ["linear", "logit"])
@pytest.mark.parametrize(
    ("make", "width"), [(cfm, 0.1), (tubes, 0.1), (partial(ifm, width=widths.constant(0.2)), 0.2)]
)
def test_points_of_pairs_lie_about_their_axis_at_the_heights_asked_for(make, width, height):
    recipe = make(GAP, height=height, **WIDE)
    batch = recipe.draw(jax.random.key(0), jnp.zeros((1, 2)), jnp.full((1, 2), 3.0))
    p = np.asarray(batch.points, np.float64)
    t, offset = p[:, 2] / GAP, p[:, :2] - 3.0 * p[:, 2:] / GAP
    assert stats.kstest(offset.ravel() / width, "norm").pvalue > 1e-4
    # by the logit every power of ten up to the middle holds about a seventh on either side
    assert np.mean((t < 0.01) | (t > 0.99)) == pytest.approx(0.5 if height == "logit" else 0.02, abs=0.05)
