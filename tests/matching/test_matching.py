"""The battery over recipes: one row per recipe, the same demands on each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from efm_jax import networks, sampling, training
from efm_jax.charges.plates import capacitor
from efm_jax.fields import coulomb, widths
from efm_jax.lines import clocks, fixed
from efm_jax.matching import c2fm, cfm, couplings, efm, flow_network, ifm, pfgm, points, velocity_network
from efm_jax.types import Batch

GAP = 6.0
RECIPES = {
    "efm superposed": efm(GAP, num_points=24),
    "efm superposed, box": efm(GAP, num_points=24, points=points.box()),
    "efm superposed, defensive": efm(GAP, num_points=24, points=points.defensive()),
    "efm per_plate": efm(GAP, convention="per_plate", gamma=1e-3, num_points=24, points=points.near_plate()),
    "efm velocity, flux": efm(GAP, target="velocity", num_points=24, points=points.flux("two_plates")),
    "c2fm robust": c2fm(GAP, target="robust", num_points=24),
    "cfm": cfm(GAP, num_points=24),
    "cfm, minibatch OT, bridge": cfm(
        GAP, coupling=couplings.minibatch_ot(), width=widths.bridge(), num_points=24
    ),
    "ifm": ifm(GAP, num_points=24),
    "ifm official, Sinkhorn": ifm(
        GAP, law="official", coupling=couplings.sinkhorn(0.1), points=points.segment(), num_points=24
    ),
    "pfgm": pfgm(GAP, num_extra=1, num_points=24),
    "pfgm, limit": pfgm(GAP, num_extra=None, num_points=24),
}
EAGER = RECIPES
# one compilation for all the demands below
RECIPES = {name: recipe._replace(draw=jax.jit(recipe.draw)) for name, recipe in EAGER.items()}
battery = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())


def plates(seed=0, n=16, m=20, dim=3):
    rng = np.random.default_rng(seed)
    return (
        jnp.asarray(rng.normal(size=(n, dim)), jnp.float32),
        jnp.asarray(rng.normal(size=(m, dim)) + 2.0, jnp.float32),
    )


@battery
def test_charges_and_points_are_two_numbers(recipe):
    batch = jax.eval_shape(recipe.draw, jax.random.key(0), *plates())
    assert batch.points.shape == batch.target.shape == (24, 4)
    assert batch.weight.shape == (24,)


FAST = ("cfm, minibatch OT, bridge", "ifm")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in RECIPES]
)
def test_jit_equals_eager(name):
    eager = EAGER[name].draw(jax.random.key(1), *plates())
    jitted = RECIPES[name].draw(jax.random.key(1), *plates())
    # the same float32 arithmetic, fused otherwise: a few roundings of numbers of order one to ten
    # (next to a plate a velocity divides the rounding of x by the height; there its weight is the height squared)
    # Log weights of pairs, |rho|^2 / 2 sigma^2, are in the thousands next to a plate: 1e-7 of that is felt in the weights.
    close = 2e-4 if name.startswith("ifm") else 2e-5
    eager, jitted = (b._replace(target=b.target * jnp.sqrt(b.weight)[:, None]) for b in (eager, jitted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=close, atol=close), eager, jitted)


@battery
def test_a_key_fixes_the_draw_and_another_changes_it(recipe):
    one, same, other = (recipe.draw(jax.random.key(k), *plates()).points for k in (3, 3, 4))
    assert (one == same).all()
    assert not (one == other).any(axis=1).any()


@pytest.mark.smoke
@battery
def test_lines_start_on_their_plate(recipe):
    x, _ = plates()
    for reverse in (False, True):
        start = recipe.start(jax.random.key(0), x, reverse)
        assert start.shape == (16, 4)
        assert (start[:, -1] == np.float32(recipe.span[reverse])).all()
        # with heavy tails noise is drawn
        assert (start[:, :-1] == x).all() == (reverse or recipe is not RECIPES["pfgm"])
    assert recipe.span == (0.0, GAP)


@pytest.mark.slow
def test_the_conventions_differ():
    x_pos, x_neg = plates()
    p = points.box()(jax.random.key(0), x_pos, x_neg, GAP, 200)
    charges = capacitor(x_pos, x_neg, GAP)
    a = coulomb(p, charges).direction
    b = coulomb(p, charges, convention="per_plate", gamma=1e-7).direction
    assert float((a * b).sum(1).min()) < 0.9


@pytest.fixture(scope="module")
def two_losses():
    """The losses of two steps on a batch, which comes to the step as rows of samples: one compilation for all."""

    def unpacked(key, x_pos, x_neg):
        point, target, weight = jnp.split(x_pos.ravel(), (24 * 4, 2 * 24 * 4))
        return Batch(point.reshape(24, 4), target.reshape(24, 4), weight)

    network, optimizer = networks.mlp(3, gap=GAP, width=16, depth=2), training.adam(1e-3, warmup=0)
    step = training.make_train_step(RECIPES["efm superposed"]._replace(draw=unpacked), network, optimizer)

    def losses(batch):
        packed = jnp.concatenate([part.ravel() for part in batch]).reshape(-1, 3)
        state, first = step(training.init_state(jax.random.key(1), network, optimizer), packed, packed)
        return float(first.loss), float(step(state, packed, packed)[1].loss)

    return losses


@battery
def test_one_step_lowers_the_loss_on_a_frozen_batch(recipe, two_losses):
    first, second = two_losses(recipe.draw(jax.random.key(0), *plates()))
    assert 0 < second < first


LINE = np.array([[-1.0], [-0.5], [0.0]]), np.array([[1.5], [2.5]])


def chain_velocity(p, x_pos, x_neg, gap):
    """E_x / E_z of the endless chain at D = 1: `E_x - i E_z = (mean coth(w - w_i) - mean tanh(w - w_j)) / 4L`."""
    w = np.pi * (p[:, :1] + 1j * p[:, 1:]) / (2 * gap)
    plus, minus = (w - np.pi * np.asarray(x, np.float64)[:, 0] / (2 * gap) for x in (x_pos, x_neg))
    field = (1 / np.tanh(plus)).mean(1) - np.tanh(minus).mean(1)
    return -field.real / field.imag


# "robust" is "velocity" where it does not cut
@pytest.mark.parametrize("target", [pytest.param("velocity", marks=pytest.mark.slow), "robust"])
def test_the_chain_s_velocities_are_those_of_its_stream_function(target):
    x_pos, x_neg = LINE
    gap = 0.75  # exact in float32: heights near the upper plate are distances from it
    recipe = c2fm(gap, target=target, cut=2.0, num_points=2000, tolerance=1e-5, reach=10.0)
    args = (jnp.asarray(x, jnp.float32) for x in LINE)
    p, v, weight = (np.asarray(part, np.float64) for part in jax.jit(recipe.draw)(jax.random.key(0), *args))
    exact = chain_velocity(p, x_pos, x_neg, gap)
    h = p[:, 1] * (gap - p[:, 1]) / gap
    # h next to the upper plate keeps the rounding of z
    assert (np.abs(weight / (4 * h / gap) ** 2 - 1) < 1e-5 + 1e-6 * gap / h).all()
    assert (v[:, 1] == 1).all()
    most = 0.5 * np.sqrt(((x_pos - x_neg.T) ** 2).mean() + gap**2 / 4)
    fast = np.abs(exact) * h > most
    assert fast.sum() > 5
    if target == "robust":
        # dx/ds is cut to that, its sign kept
        exact = np.where(fast, np.sign(exact) * most / h, exact)
    # a chain within 1e-5 and float32 directions; a slope v is a ratio with relative error about v times that of E
    error = np.abs(v[:, 0] - exact) / (np.abs(exact) * (1 + np.abs(exact)) + 1.0)
    assert np.quantile(error, 0.99) < 5e-5
    assert error.max() < 1e-2


@pytest.mark.parametrize("target", ["velocity", pytest.param("robust", marks=pytest.mark.slow)])
def test_a_velocity_whose_sign_is_not_known_counts_nothing(target):
    def far(key, x_pos, x_neg, gap, k):
        return jnp.full((k, 2), 1.0).at[:, 0].set(jnp.linspace(-60.0, 60.0, k))

    x_pos, x_neg = (jnp.asarray(x, jnp.float32) for x in LINE)
    recipe = c2fm(2.0, target=target, points=far, num_points=41)
    _, value, weight = jax.jit(recipe.draw)(jax.random.key(0), x_pos, x_neg)
    assert jnp.isfinite(value).all()
    # 30 gaps out E_z is e^-90 of its value here; between the samples it is known
    assert (weight[:5] == 0).all()
    assert (weight[-5:] == 0).all()
    assert (weight[18:22] > 0).all()


STEEP = clocks.logit(1e-3)
IN_ORDER = {
    "c2fm": (c2fm(4.0, target="robust"), lambda network: velocity_network(network, 4.0), STEEP),
    "cfm": (cfm(), flow_network, "linear"),
    "cfm, minibatch OT": (cfm(coupling=couplings.minibatch_ot()), flow_network, "linear"),
    "ifm": (ifm(1.0), flow_network, "linear"),
    "ifm, minibatch OT": (ifm(1.0, coupling=couplings.minibatch_ot()), flow_network, "linear"),
}


# what the coupling does is seen at cfm, what the mean over pairs does at ifm
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ("c2fm", "ifm, minibatch OT")))
        for name in IN_ORDER
    ],
)
def test_recipes_whose_lines_all_go_forward_carry_a_gaussian_to_a_gaussian_in_order(name):
    recipe, form, clock = IN_ORDER[name]
    shift, gap, steps = 3.0, recipe.span[1], 400
    rng = np.random.default_rng(0)
    network = form(networks.mlp(1, gap=gap, scale=3.0, width=32, depth=2))
    optimizer = training.adam(5e-3, warmup=10, cosine_steps=steps)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)
    state = training.init_state(jax.random.key(0), network, optimizer)
    for _ in range(steps):
        x = rng.normal(size=(2, 128, 1)).astype(np.float32)
        state, _ = step(state, x[0], x[1] + shift)
    x = rng.normal(size=(500, 1)).astype(np.float32)
    lines = sampling.transport(state, recipe, network, x, stepping=fixed("midpoint", 40, clock=clock))
    assert lines.arrived.all()
    # On a line, maps without leaking or crossing lines keep the order: x -> x + shift. (Algorithm 2 on two plates
    # stretches the tails by a Cauchy law instead.) A short training errs by about a tenth; a wrong sign or factor by 1.
    y = np.asarray(lines.end)[:, 0]
    assert np.median(np.abs(y - x[:, 0] - shift)) < 0.2
    assert abs(y.std() - 1.0) < 0.2
    back = sampling.transport(
        state, recipe, network, y[:, None], reverse=True, stepping=fixed("midpoint", 40, clock=clock)
    )
    # forth and back along the same lines, at 40 steps of second order
    assert np.median(np.abs(np.asarray(back.end)[:, 0] - x[:, 0])) < 0.05


def carried(convention, shift, gap, *, steps=600):
    """Ends of 500 lines of a field learned between N(0, 1) and N(shift, 1), and their starts."""
    rng = np.random.default_rng(0)
    recipe = efm(gap, convention=convention, points=points.box(bulge=1.0))
    network = networks.mlp(1, gap=gap, scale=3.0, width=32, depth=2)
    optimizer = training.adam(5e-3, warmup=10, cosine_steps=steps)
    step = training.make_train_step(recipe, network, optimizer, ema_decay=0.99)
    state = training.init_state(jax.random.key(0), network, optimizer)
    for _ in range(steps):
        x = rng.normal(size=(2, 256, 1)).astype(np.float32)
        state, _ = step(state, x[0], x[1] + shift)
    x = rng.normal(size=(500, 1)).astype(np.float32)
    lines = sampling.transport(state, recipe, network, x, stepping=fixed("midpoint", 40))
    return x[:, 0], np.asarray(lines.end)[:, 0], np.asarray(lines.arrived)


@pytest.mark.slow
def test_a_gaussian_goes_where_the_flux_of_the_slab_says():
    shift, gap = 5.0, 4.0
    x, y, arrived = carried("superposed", shift, gap)
    assert arrived.all()
    # In D = 1 a line keeps the flux to its left: with E_z = (p + q * Cauchy_gap)/2 just above P's plate and
    # (q + p * Cauchy_gap)/2 just below Q's, the line from x ends at y with F_0(x) = F_gap(y).
    grid = np.linspace(-400.0, 400.0, 400_001)
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)

    def smeared(center):
        return sum(
            w * stats.cauchy.cdf(grid, center + n, gap)
            for n, w in zip(nodes, weights / weights.sum(), strict=True)
        )

    f_start = 0.5 * (stats.norm.cdf(grid) + smeared(shift))
    f_end = 0.5 * (stats.norm.cdf(grid, shift) + smeared(0.0))
    wanted = np.interp(np.interp(x, grid, f_start), f_end, grid)
    inner = (
        np.abs(x) < 1.5
    )  # tails are stretched by the Cauchy law, and a short training does not resolve them
    # A unit direction averaged over minibatches of 256 charges and 600 steps: errors of about a tenth of the way.
    # A flipped sign of one plate or a factor 2 in the gap moves the ends by 2 and more.
    assert np.median(np.abs(y - wanted)[inner]) < 0.4
    assert np.corrcoef(y[inner], wanted[inner])[0, 1] > 0.95


@pytest.mark.slow
def test_the_other_convention_carries_most_of_the_way_too():
    x, y, arrived = carried("per_plate", 5.0, 4.0)
    assert arrived.mean() > 0.95
    # no theorem stands behind this convention: ends lie in order, and nearer to Q than to P
    assert np.median(np.abs(y - 5.0)) < np.median(np.abs(y))
    assert stats.spearmanr(x, y).statistic > 0.9


@pytest.mark.parametrize("recipe", [efm, c2fm, cfm, ifm, pfgm])
def test_lines_of_samples_in_half_precision_start_on_the_plate(recipe):
    x = jnp.zeros((3, 2), jnp.bfloat16)
    start = recipe(6.1).start(jax.random.key(0), x, True)
    np.testing.assert_array_equal(start[:, -1], jnp.full(3, 6.1), strict=True)


def test_bad_options_say_what_was_expected():
    with pytest.raises(ValueError, match="gap must be a finite number > 0, got 0"):
        efm(0)
    for gap in (None, "wide", np.array([6.0, 7.0])):
        with pytest.raises(ValueError, match="gap must be a finite number > 0, got"):
            efm(gap)
    with pytest.raises(ValueError, match="gamma shrinks the plates of"):
        efm(1.0, gamma=5.0)
    with pytest.raises(ValueError, match="gamma must be >= 0, got -1"):
        efm(1.0, convention="per_plate", gamma=-1)
    for recipe in (efm, c2fm, ifm, pfgm):
        with pytest.raises(ValueError, match="block_size must be a whole number >= 1, got 0"):
            recipe(1.0, block_size=0)
    with pytest.raises(ValueError, match="'superposed', 'per_plate', got 'both'"):
        efm(1.0, convention="both")
    for recipe in (efm, c2fm):
        with pytest.raises(ValueError, match="num_points must be a whole number >= 1, got 0"):
            recipe(1.0, num_points=0)
        with pytest.raises(ValueError, match="'direction', 'velocity', 'robust', got 'slope'"):
            recipe(1.0, target="slope")
    with pytest.raises(ValueError, match="num_points must be a whole number >= 1, got 0"):
        efm(1.0, convention="per_plate", num_points=0)
    with pytest.raises(ValueError, match="convention='per_plate' is none: take 'superposed'"):
        efm(1.0, convention="per_plate", target="velocity")
    with pytest.raises(ValueError, match="cut must be a finite number > 0, got 0"):
        c2fm(1.0, cut=0)
    with pytest.raises(ValueError, match="images must be a whole number >= 1, got 0"):
        c2fm(1.0, images=0)
    with pytest.raises(ValueError, match="reach must be a finite number > 0, got -1"):
        c2fm(1.0, reach=-1)
    with pytest.raises(ValueError, match="margin must be a finite number > 0, got 0"):
        velocity_network(networks.mlp(1, gap=1.0), 1.0, margin=0)
