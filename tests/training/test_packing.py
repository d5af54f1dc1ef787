"""States packed for a GPU: what comes back, what is trained, and in how many operations. A CPU can pack them too."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from efm_jax import training
from efm_jax._core import platforms
from efm_jax.training.packing import packing
from efm_jax.types import Batch, FieldMatching, Network


@pytest.fixture(autouse=True)
def on_gpu():
    with platforms.made_for("gpu"):
        yield


def convolving():
    """A network with a kernel of a convolution, which is packed in another order than it has."""

    def init(key):
        kernel, out = jax.random.split(key)
        return {"kernel": jax.random.normal(kernel, (3, 3, 2, 5)), "out": jax.random.normal(out, (80, 33))}

    def apply(params, points, **_):
        pictures = points[:, :-1].reshape(-1, 4, 4, 2)
        layout = ("NHWC", "HWIO", "NHWC")
        seen = jax.lax.conv_general_dilated(
            pictures, params["kernel"], (1, 1), "SAME", dimension_numbers=layout
        )
        return jnp.tanh(seen).reshape(-1, 80) @ params["out"]

    return Network(init, apply)


def scattered(tree):
    """Every number another one, so that none can be taken for another."""
    leaves, form = jax.tree.flatten(tree)
    ends = np.cumsum([leaf.size for leaf in leaves])
    return form.unflatten(
        [
            jnp.arange(end - x.size, end, dtype=x.dtype).reshape(x.shape)
            for end, x in zip(ends, leaves, strict=True)
        ]
    )


@pytest.mark.parametrize("back", ["unpacked", "fetched"])
def test_a_packed_state_comes_back_as_it_was(back):
    network, optimizer = convolving(), training.adam()
    state = training.init_state(
        jax.random.key(0), network, optimizer, params=scattered(network.init(jax.random.key(1)))
    )
    pack = packing(network, optimizer)
    packed = pack.packed(state)
    # parameters, their average, two moments; two counts of updates, and four scalars
    assert sorted(leaf.ndim for leaf in jax.tree.leaves(packed)) == 6 * [0] + 4 * [1]
    again = getattr(pack, back)(packed)
    assert jax.tree.structure(again) == jax.tree.structure(state)
    for one, other in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        assert one.dtype == other.dtype
        assert (jnp.asarray(one) == other).all()
    for leaf in jax.tree.leaves(again.params):
        assert back == "unpacked" or (isinstance(leaf, np.ndarray) and leaf.flags.c_contiguous)
    # a state made for the packed network is the same, but for the numbers of its parameters
    assert jax.tree.structure(
        training.init_state(jax.random.key(0), pack.network, optimizer)
    ) == jax.tree.structure(packed)


def draw(key, x_pos, x_neg):
    points = jax.random.normal(key, (16, 33))
    return Batch(points, points[:, ::-1], jnp.ones(16))


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_training_a_packed_state_is_training_the_state(decay):
    network, optimizer = convolving(), training.adam(1e-2, warmup=0, weight_decay=decay)
    pack, recipe = packing(network, optimizer), FieldMatching(draw, None, (0.0, 1.0))
    state = training.init_state(jax.random.key(0), network, optimizer)
    packed = pack.packed(state)
    assert packed.params.shape == (90 + 80 * 33,)
    plates, losses = (jnp.zeros((2, 32)), jnp.ones((2, 32))), []
    steps = [training.make_train_step(recipe, trained, optimizer) for trained in (network, pack.network)]
    for _ in range(5):
        (state, one), (packed, other) = (
            step(now, *plates) for step, now in zip(steps, (state, packed), strict=True)
        )
        losses.append(float(one.loss))
        np.testing.assert_allclose(one, other, rtol=1e-5)  # the norm is added up in another order
    assert len(set(losses)) == 5
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(pack.unpacked(packed)), strict=True):
        if not jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            # Adam's first steps divide a gradient by its size: small ones keep few digits
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_only_what_does_the_same_to_every_number_is_packed():
    network, adam = convolving(), training.adam()
    one = Network(lambda key: jnp.ones(3), lambda params, points, **_: points)
    half = Network(lambda key: {"a": jnp.ones(3), "b": jnp.ones(2, jnp.bfloat16)}, one.apply)
    for plain, optimizer in (
        (network, optax.adam(1e-3)),  # anyone's chain may look at shapes or names
        (one, adam),
        (half, adam),
    ):
        assert packing(plain, optimizer).network is plain
    assert packing(network, adam, split=True).network is network
    assert packing(network, adam).network is not network
    for platform in ("cpu", "tpu"):
        with platforms.made_for(platform):
            assert packing(network, adam).network is network
