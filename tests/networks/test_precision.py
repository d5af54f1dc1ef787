"""Precision of products: an mlp's are never rounded, others' as asked, their gradients alike."""

import jax
import jax.numpy as jnp
import pytest

from benchmarks import _counts
from efm_jax import networks
from efm_jax.models import build, configs
from efm_jax.networks import layers, precision


def precisions(network, dim):
    params = jax.eval_shape(network.init, jax.random.key(0))
    points = jax.ShapeDtypeStruct((4, dim + 1), jnp.float32)
    gradient = jax.grad(lambda params, points: network.apply(params, points, key=jax.random.key(0)).sum())
    return {product.precision for product in _counts.products(gradient, params, points)}


def test_an_mlp_multiplies_in_float32_on_every_device():
    assert precisions(networks.mlp(2, gap=1.0, num_classes=3), 2) == {"highest"}
    with jax.default_matmul_precision("bfloat16"):
        assert precisions(networks.mlp(2, gap=1.0), 2) == {"highest"}


@pytest.mark.parametrize("asked", precision.PRECISIONS)
def test_a_configured_unet_multiplies_as_asked(asked):
    network = configs.Network(width=8, multipliers=(1,), blocks=1, precision=asked)
    run = configs.Run(network=network)
    assert precisions(build.network(run, (8, 8, 1)), 64) == {asked}


def test_runs_of_earlier_versions_multiply_as_they_did():
    values = configs.to_dict(configs.Run())
    del values["network"]["precision"]
    assert configs.from_dict(values).network.precision == "default"
    with pytest.raises(ValueError, match=r"network\.precision must be one of 'default', 'high', 'highest'"):
        configs.from_dict({"network": {"precision": "full"}})


def test_values_between_layers_have_the_dtype_of_the_network():
    x = jnp.ones((2, 4, 4, 8), jnp.bfloat16)
    assert jax.eval_shape(lambda: layers.GroupNorm(8)(x)).dtype == jnp.bfloat16

    def widest(dtype):
        network = networks.unet((16, 16, 3), gap=1.0, width=64, multipliers=(1,), blocks=2, dtype=dtype)
        params = jax.eval_shape(network.init, jax.random.key(0))
        points = jax.ShapeDtypeStruct((64, 769), jnp.float32)
        gradient = jax.jit(jax.grad(lambda params, points: network.apply(params, points).sum()))
        return gradient.lower(params, points).as_text().count("tensor<64x16x16x128xf32>")

    assert widest("bfloat16") < 0.7 * widest("float32")


def test_precision_changes_no_parameters():
    network = networks.unet((8, 8, 1), gap=1.0, width=8, multipliers=(1,), blocks=1)
    highest = networks.at_precision(network, "highest")
    assert highest.init is network.init
    with pytest.raises(ValueError, match="precision must be one of"):
        networks.at_precision(network, "float32")
