"""What the networks cost: 3x3 convolution and group norm in several formulations, and whole training steps.

    python -m benchmarks.network            # convolutions, norms and three small networks
    python -m benchmarks.network --paper    # one training step of the paper's network as well (several GB)

`wall_ms` and `cpu_ms` (time of all threads) are the least of several runs, compilation apart: on a machine that does other
work besides, compare `cpu_ms`. `error` is the largest difference from the first formulation relative to the largest value.
`bare product` is one matrix product of a convolution's flops, its nine shifted copies already side by side: the bound.
"""

import argparse
import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from benchmarks import _rows
from efm_jax.networks import layers, unet

SHAPES = [(64, 16, 16, 64), (64, 8, 8, 128), (64, 32, 32, 32)]
NETWORKS = {
    "width 32": dict(width=32, multipliers=(1, 2, 2), blocks=2, attention=(8,)),
    "width 64, patch 2": dict(width=64, multipliers=(1, 2, 2), blocks=2, attention=(8,), patch=2),
    "width 64, patch 2, bfloat16": dict(
        width=64, multipliers=(1, 2, 2), blocks=2, attention=(8,), patch=2, dtype="bfloat16"
    ),
}


def xla(x, w):
    return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def patches(x, w):
    """One matrix product over nine shifted copies side by side."""
    return jnp.concatenate(_shifts(x), -1) @ w.reshape(-1, w.shape[-1])


def nine_products(x, w):
    return sum(s @ k for s, k in zip(_shifts(x), w.reshape(9, *w.shape[2:]), strict=True))


def _shifts(x):
    _, h, w, _ = x.shape
    p = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return [p[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]


def by_channel(x, scale):
    """`layers.GroupNorm`: moments by channel, then by group."""
    return layers.normalize(x, layers.groups_for(x.shape[-1])) * scale


def reshaped(x, scale):
    """Moments over a picture reshaped to groups."""
    n, h, w, c = x.shape
    y = x.reshape(n, h * w, layers.groups_for(c), -1)
    y = (y - y.mean((1, 3), keepdims=True)) * lax.rsqrt(y.var((1, 3), keepdims=True) + 1e-6)
    return y.reshape(x.shape) * scale


def measure(function, *args, repeats):
    """Compile, warm up; return a row of the least times and of the compilation, and the executable."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*args).compile()
    compilation = time.perf_counter() - start
    jax.block_until_ready(compiled(*args))
    wall, cpu = [], []
    for _ in range(repeats):
        start, start_cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(*args))
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - start_cpu)
    row = {"wall_ms": 1e3 * min(wall), "cpu_ms": 1e3 * min(cpu), "compile_s": compilation}
    return {k: round(v, 3) for k, v in row.items()}, compiled


def compare(what, formulations, x, w, repeats, flops):
    """Time each formulation alone and with its gradient, beside its error against the first: a row each."""
    expected = None
    for name, f in formulations.items():

        def both(x, w, f=f):
            return jax.value_and_grad(lambda x, w: (f(x, w) ** 2).sum(), argnums=(0, 1))(x, w)

        values = [f(x, w), *both(x, w)[1]]
        expected = expected or values
        error = max(
            float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in zip(values, expected, strict=True)
        )
        for part, function, factor in [("forward", f, 1), ("forward and gradient", both, 3)]:
            row, _ = measure(function, x, w, repeats=repeats)
            rate = {"gflops_wall": round(factor * flops / row["wall_ms"] / 1e6, 1)} if flops else {}
            yield {
                "what": what,
                "name": name,
                "part": part,
                "sizes": [*x.shape],
                **row,
                **rate,
                "error": error,
            }


def bare_product(x, w, repeats, flops):
    """The product that a convolution cannot be faster than, nothing else: a row."""
    copies = jnp.concatenate(_shifts(x), -1).reshape(-1, 9 * x.shape[-1])
    row, _ = measure(jnp.matmul, copies, w.reshape(-1, w.shape[-1]), repeats=repeats)
    rate = round(flops / row["wall_ms"] / 1e6, 1)
    sizes = {"what": "3x3 convolution", "name": "bare product", "part": "forward", "sizes": [*x.shape]}
    return {**sizes, **row, "gflops_wall": rate}


def training_step(name, repeats, **options):
    """Time forward, backward and Adam on 64 pictures of 32x32x3, dropout on."""
    dim, n = 32 * 32 * 3, 64
    network = unet((32, 32, 3), gap=10.0, **options)
    params = network.init(jax.random.key(0))
    optimizer = optax.adam(2e-4)
    points = jax.random.normal(jax.random.key(1), (n, dim + 1)).at[:, -1].set(jnp.linspace(0.1, 9.9, n))
    target = jax.random.normal(jax.random.key(2), (n, dim + 1))

    def step(params, state, key):
        loss = lambda p: jnp.mean((network.apply(p, points, key=key) - target) ** 2)  # noqa: E731
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(params, updates), state, value

    row, compiled = measure(step, params, optimizer.init(params), jax.random.key(3), repeats=repeats)
    flops = compiled.cost_analysis()["flops"]
    return {
        "what": "training step",
        "name": name,
        "sizes": [n, 32, 32, 3],
        **row,
        "gflop": round(flops / 1e9, 1),
        "gflops_wall": round(flops / row["wall_ms"] / 1e6, 1),
        "temporaries_mb": round(compiled.memory_analysis().temp_size_in_bytes / 1e6),
        "parameters": sum(math.prod(p.shape) for p in jax.tree.leaves(params)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--paper", action="store_true", help="also one step of the paper's network")
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    rows = []
    for row in cases(options.paper, options.repeats):
        print(row, flush=True)
        rows.append(row)
    print(_rows.write("network", rows))


def cases(paper, repeats):
    """All rows in turn."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        c = shape[-1]
        x = jnp.asarray(rng.normal(size=shape), jnp.float32)
        w = jnp.asarray(rng.normal(size=(3, 3, c, c)) / np.sqrt(9 * c), jnp.float32)
        flops = 2 * math.prod(shape) * 9 * c
        yield bare_product(x, w, repeats, flops)
        formulations = {"lax.conv": xla, "patches": patches, "nine products": nine_products}
        yield from compare("3x3 convolution", formulations, x, w, repeats, flops)
        norms = {"by channel, then by group": by_channel, "over a reshaped picture": reshaped}
        yield from compare("group norm", norms, x, jnp.linspace(0.5, 1.5, c), repeats, None)
    for name, settings in NETWORKS.items():
        yield training_step(name, repeats, **settings)
    if paper:
        yield training_step("the paper's", 1)


if __name__ == "__main__":
    main()
