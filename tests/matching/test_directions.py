"""The network between two plates: two charges where it knows nothing, E_z > 0 everywhere, no line flung away."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax import networks, training
from efm_jax.matching import capacitor_network, efm
from efm_jax.types import Network

GAP = 6.0


def samples(dim, seed=0):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(2, 300, dim)).astype(np.float32)
    return 2 * x - 1, y + 4


def two_charges(points, x, y, gap=GAP):
    """Direction of +1 at `(mean, -spread)` and -1 at `(mean, L + spread)`, in float64."""
    points, dim = np.asarray(points, np.float64), x.shape[1]
    ways = []
    for side, z in ((x, lambda s: -s), (y, lambda s: gap + s)):
        side = np.asarray(side, np.float64)
        ways.append(points - np.append(side.mean(0), z(np.sqrt(side.var(0).mean()))))
    lengths = [np.linalg.norm(way, axis=1, keepdims=True) for way in ways]
    nearer = np.minimum(*lengths)  # a unit in which no power overflows
    a, b = (way / r * (r / nearer) ** -dim for way, r in zip(ways, lengths, strict=True))
    return (a - b) / np.linalg.norm(a - b, axis=1, keepdims=True)


def anywhere(dim, count=400, seed=1):
    """Points of the slab from the middle of the data to a million times as far."""
    rng = np.random.default_rng(seed)
    away = rng.normal(size=(count, dim)) * 10.0 ** rng.uniform(-1, 6, size=(count, 1))
    return np.c_[away, rng.uniform(0, GAP, count)].astype(np.float32)


@pytest.mark.parametrize("dim", [1, 2, 8, 64])
def test_a_network_that_knows_nothing_has_the_lines_of_two_charges(dim):
    x, y = samples(dim)
    network = capacitor_network(networks.mlp(dim, gap=GAP, width=4, depth=1), GAP, x, y)  # it starts at 0
    points = anywhere(dim)
    field = np.asarray(network.apply(network.init(jax.random.key(0)), points)) / np.sqrt(dim + 1)
    exact = two_charges(points, x, y)
    assert (exact[:, -1] > 0).all()
    # moments in float32, 1e-7, are differences of positions and of powers D + 1 of distances: (D + 1) 1e-6
    close = 2e-6 * (dim + 1)
    np.testing.assert_allclose(field[:, :-1], exact[:, :-1], atol=close)
    up = 0.05 + np.logaddexp(0, 4 * (np.sqrt(dim + 1) * exact[:, -1] - 0.05)) / 4
    np.testing.assert_allclose(field[:, -1], up / np.sqrt(dim + 1), atol=close)
    # far out it is a dipole's field, D + 1 times its part along the point less itself, and lines are no steeper than that
    far = np.linalg.norm(points[:, :-1], axis=1) > 1e4
    moment = np.append(y.mean(0) - x.mean(0), GAP + x.std() + y.std())
    assert (field[far, -1] > 0.9 * moment[-1] / (dim * np.linalg.norm(moment))).all()
    assert far.sum() > 50


@pytest.fixture(scope="module")
def field():
    """A network of parameters that no training would reach."""
    network = capacitor_network(networks.mlp(2, gap=GAP, width=16, depth=2), GAP, *samples(2))
    params = network.init(jax.random.key(0))
    rng = np.random.default_rng(3)
    wild = jax.tree.map(lambda p: 3 * rng.normal(size=p.shape).astype(np.float32), params["network"])
    apply = jax.jit(network.apply)
    return lambda points: np.asarray(apply({**params, "network": wild}, points))


class TestWhateverIsLearned:
    """Of a network of any parameters."""

    def test_lines_go_up_everywhere(self, field):
        up = field(anywhere(2))[:, -1]
        assert (up >= 0.05).all()
        assert (up < 0.06).mean() > 0.05  # it would fall through 0 there

    def test_far_out_the_field_is_that_of_two_charges(self, field):
        points = anywhere(2)
        away = np.linalg.norm(points[:, :-1], axis=1)
        learned = np.abs(field(points) / np.sqrt(3) - two_charges(points, *samples(2)))[:, :-1].max(1)
        assert learned[away < 10].max() > 10
        # what is learned grows like r and is divided by r^4
        assert (learned[away > 1e4] < 1e-4).all()

    def test_gradients_are_finite_everywhere(self, field):
        x, y = samples(2)
        network = capacitor_network(networks.mlp(2, gap=GAP, width=4, depth=1), GAP, x, y)
        params = network.init(jax.random.key(0))
        slope = jax.vmap(jax.jacobian(lambda p: network.apply(params, p[None])[0]))(jnp.asarray(anywhere(2)))
        assert np.isfinite(np.asarray(slope)).all()


@pytest.mark.slow
def test_the_moments_are_kept_with_the_parameters_and_stay():
    x, y = samples(2)
    network = capacitor_network(networks.mlp(2, gap=GAP, width=8, depth=1), GAP, x, y)
    optimizer = training.adam(1e-2, warmup=0)
    state = training.init_state(jax.random.key(0), network, optimizer)
    begun = jax.device_get(state.params)
    spread = np.sqrt(x.var(0).mean())
    np.testing.assert_allclose(begun["plates"]["pos"], [*x.mean(0), -spread], rtol=1e-5)
    step = training.make_train_step(efm(GAP, num_points=32), network, optimizer, ema_decay=0.9)
    for _ in range(3):
        state, _ = step(state, x[:32], y[:32])
    ends = jax.device_get(state.params)
    assert all((begun["plates"][name] == ends["plates"][name]).all() for name in begun["plates"])
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), begun["network"], ends["network"])
    assert max(jax.tree.leaves(moved)) > 1e-3


def test_samples_at_one_place_make_a_network_too():
    same = np.ones((5, 2), np.float32)
    network = capacitor_network(networks.mlp(2, gap=GAP, width=4, depth=1), GAP, same, same)
    field = network.apply(network.init(jax.random.key(0)), np.array([[1, 1, 3], [1, 1, 0], [40, 1, 3]], "f4"))
    assert np.isfinite(np.asarray(field)).all()


def test_labels_reach_the_network():
    x, y = samples(2)
    seen = []
    inner = Network(
        lambda key: jnp.zeros(()),
        lambda params, points, *, key, cond: seen.append(cond) or 0 * points + params,
    )
    network = capacitor_network(inner, GAP, x, y)
    network.apply(network.init(jax.random.key(0)), anywhere(2), cond=jnp.arange(400))
    assert seen[0].shape == (400,)


def test_products_of_the_two_charges_keep_their_digits():
    """An accelerator multiplies in less than float32 unless it is asked not to."""
    plain = networks.mlp(2, gap=GAP, width=8, depth=1)._replace(apply=lambda params, points, **_: points)
    network = capacitor_network(plain, GAP, *samples(2))
    params = network.init(jax.random.key(0))
    text = str(jax.make_jaxpr(network.apply)(params, jnp.ones((4, 3))))
    assert text.count("dot_general[") == 1
    assert "precision=(Precision.HIGHEST, Precision.HIGHEST)" in text


def test_another_gap_is_refused():
    with pytest.raises(ValueError, match="made with gap=1, the capacitor with gap=6"):
        capacitor_network(networks.mlp(2, gap=1.0), GAP, *samples(2))
    with pytest.raises(ValueError, match="same number of dimensions D"):
        capacitor_network(networks.mlp(2, gap=GAP), GAP, samples(2)[0], samples(3)[0])


# --- trained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "target", "gap", "seed"),
    [
        ("gaussian:2", "swiss_roll", 6.0, 4),  # of the plain network a line ends 250 radii away
        ("gaussian:2", "s_curve", 6.0, 4),
        ("moons", "eight_gaussians", 1.0, 0),
        ("gaussian:2", "moons", 30.0, 1),
    ],
)
def test_no_line_is_flung(source, target, gap, seed):
    """Cells of the battery `python -m experiments.flung_lines`."""
    from experiments.flung_lines.config import Config
    from experiments.flung_lines.run import cell

    place = {"source": source, "target": target, "gap": gap, "seed": seed}
    found = cell(Config(), place | {"method": "EFM, made safe"})
    for lines in (found, found["adaptive"]):
        assert lines["arrived"] == 1
        assert lines["farthest"] < 3
