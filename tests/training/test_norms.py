"""The norm of a gradient: its value on every platform, in few sums on a GPU, and who needs a second one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efm_jax.training import _norms, adam


def tree(count=40):
    keys = jax.random.split(jax.random.key(0), count + 1)
    leaves = {f"bias{k}": jax.random.normal(key, (64 + k,)) for k, key in enumerate(keys[1:])}
    return {**leaves, "kernel": jax.random.normal(keys[0], (3, 3, 32, 32)), "half": jnp.ones(8, jnp.bfloat16)}


@pytest.mark.slow
@pytest.mark.parametrize("form", [_norms.norm, _norms._gathered])
def test_the_norm_is_that_of_all_numbers(form):
    exact = np.sqrt(sum(np.sum(np.asarray(leaf, np.float64) ** 2) for leaf in tree().values()))
    # sums of 9,216 squares in float32, in blocks
    np.testing.assert_allclose(jax.jit(form)(tree()), exact, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("platform", "sums"), [("cuda", 3), ("cpu", 42)])
def test_a_gpu_sums_small_arrays_together(platform, sums):
    lowered = jax.jit(_norms.norm).trace(tree()).lower(lowering_platforms=(platform,))
    # one of the kernel, one for all biases, one for those of another dtype
    assert lowered.as_text().count("stablehlo.reduce(") == sums


def test_updates_of_adam_are_finite_where_the_norm_is():
    optimizer = adam(1e-3, warmup=0, clip=None)
    assert isinstance(optimizer, _norms.FiniteUpdates)
    assert not isinstance(adam(weight_decay=0.1), _norms.FiniteUpdates)
    assert not isinstance(adam(eps=0.0), _norms.FiniteUpdates)
    params = jnp.zeros(4)
    state = optimizer.init(params)
    # squares just below the largest float32, then nothing, then the smallest numbers there are
    for size in (9e18, 0.0, 1e-38, 9e18):
        gradient = jnp.array([1.0, -1.0, 0.0, 1.0]) * size
        assert jnp.isfinite(_norms.norm(gradient))
        updates, state = optimizer.update(gradient, state, params)
        assert jnp.isfinite(updates).all()
