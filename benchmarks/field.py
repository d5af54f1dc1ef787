"""What the exact field costs beside its own matrix products.

    python -m benchmarks.field [--quick]

Charges on both plates, points between samples, next to plates and 1e-3 from charges. `bound` are the two products a plate
that any form by matrix products has (points x charges distances, weights x charges), bare, float32, highest precision; in
two dimensions it is a plain dense evaluation of all pairs at once. `plain` is the usual broadcast form, [points, charges,
D+1]. All are run in turn in one process. `error` is the worst error of 32 points beside float64, as a share of the
tolerance of tests/support/reference.py; `gradient` is that of a scalar of the field with respect to the points, its bound
the gradient of the bare products.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks import _rows
from efm_jax import fields
from efm_jax.charges.plates import Charges, capacitor
from tests.support import reference

CASES = [
    (64, 1024, 3072),
    (256, 1024, 3072),
    (1024, 8192, 3072),
    (512, 60000, 784),
    (4096, 4096, 2),
    (512, 100000, 2),
]
GAP = 6.0
FITS = 6 * 2**30
"""Bytes of temporaries up to which the plain form is run; beyond, its memory is counted only."""


def situation(points: int, charges: int, dim: int) -> tuple[jax.Array, Charges]:
    """Samples of two normal laws as charges; half of the points on segments, the others by a plate and beside charges."""
    rng = np.random.default_rng([points, charges, dim])
    x = rng.standard_normal((charges, dim), np.float32)
    y = rng.standard_normal((charges, dim), np.float32) + 1
    z = rng.uniform(0, GAP, points).astype(np.float32)
    share = z[:, None] / GAP
    i, j = rng.integers(charges, size=(2, points))
    where = np.c_[(1 - share) * x[i] + share * y[j], z].astype(np.float32)
    quarter = points // 4
    where[:quarter] = np.c_[x[i], np.full(points, 1e-3)][:quarter]
    aside = rng.standard_normal((quarter, dim + 1))
    aside *= 1e-3 / np.linalg.norm(aside, axis=1, keepdims=True)
    where[quarter : 2 * quarter] = np.c_[y[j], np.full(points, GAP)][quarter : 2 * quarter] + aside
    return jnp.asarray(where), capacitor(jnp.asarray(x), jnp.asarray(y), GAP)


def products(points: jax.Array, charges: Charges) -> jax.Array:
    """The four products alone."""
    half = len(charges.charge) // 2
    total = jnp.zeros_like(points)
    for plate in (charges.positions[:half], charges.positions[half:]):
        pairs = jnp.matmul(points, plate.T, precision=lax.Precision.HIGHEST)
        total = total + jnp.matmul(pairs, plate, precision=lax.Precision.HIGHEST)
    return total


def dense(points: jax.Array, charges: Charges) -> jax.Array:
    """All pairs at once, coordinate by coordinate, no care for digits or range: for few dimensions."""
    away = [points[:, k, None] - charges.positions[None, :, k] for k in range(points.shape[1])]
    weight = charges.charge * sum(d * d for d in away) ** (-0.5 * points.shape[1])
    return jnp.stack([jnp.sum(weight * d, axis=1) for d in away], axis=1)


def plain(points: jax.Array, charges: Charges) -> jax.Array:
    """The usual broadcast, in log space so that it survives high dimensions."""
    away = points[:, None] - charges.positions
    log_weight = -0.5 * points.shape[1] * jnp.log(jnp.sum(away**2, axis=-1))
    weight = charges.charge * jnp.exp(log_weight - log_weight.max(axis=1, keepdims=True))
    total = jnp.sum(weight[..., None] * away, axis=1)
    return total / jnp.linalg.norm(total, axis=1, keepdims=True)


def scalar(function):
    """A number that feels every component, for gradients."""

    def of(points, charges):
        value = function(points, charges)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(value))

    return jax.grad(of)


def measure(
    points: int, charges: int, dim: int, *, gradient: bool = False, seconds: float, beside_plain: bool = True
) -> dict:
    where, law = situation(points, charges, dim)
    forms = {"field": fields.coulomb, "bound": products if dim > 16 else dense, "plain": plain}
    if not beside_plain:
        del forms["plain"]
    if gradient:
        forms = {name: scalar(form) for name, form in forms.items()}
    ready, facts = {}, {}
    for name, form in forms.items():
        ready[name], facts[name] = _rows.compiled(form, where, law)
    if beside_plain and facts["plain"]["temporary_MiB"] > FITS / 2**20:
        del ready["plain"]
    times = _rows.in_turn({n: lambda f=f: f(where, law) for n, f in ready.items()}, seconds=seconds)
    row = {"points": points, "charges": charges, "dim": dim, "what": "gradient" if gradient else "field"}
    row |= {name: facts[name] | times.get(name, {}) for name in forms}
    row["of_bound"] = round(times["field"]["least_ms"] / times["bound"]["least_ms"], 3)
    if "plain" in times:
        row["faster_than_plain"] = round(times["plain"]["least_ms"] / times["field"]["least_ms"], 1)
    if beside_plain:
        plain_memory = facts["plain"]["temporary_MiB"] / max(facts["field"]["temporary_MiB"], 1e-3)
        row["less_memory_than_plain"] = round(plain_memory, 1)
    if not gradient:
        some = jnp.linspace(0, points - 1, 32).astype(int)
        exact = reference.coulomb(where[some], law.positions, law.charge)
        found = jax.tree.map(lambda leaf: leaf[some], ready["field"](where, law))
        row["error"] = float(f"{reference.error_over_tolerance(found, exact).max():.2g}")
    return row


def memory(points: int, charges: int, dim: int) -> dict:
    """Memory of a field that is compiled, not run."""
    shape = lambda *sizes: jax.ShapeDtypeStruct(sizes, jnp.float32)  # noqa: E731
    law = Charges(shape(2 * charges, dim + 1), shape(2 * charges))
    _, facts = _rows.compiled(fields.coulomb, shape(points, dim + 1), law)
    return {"points": points, "charges": charges, "dim": dim, "what": "memory", "field": facts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the small cases, a second each")
    quick = parser.parse_args().quick
    cases = [c for c in CASES if not quick or c[0] * c[1] * c[2] < 10**9]
    rows = [] if quick else [memory(1024, 60000, 3072)]
    for gradient in (False, True):
        for case in cases:
            try:
                rows.append(measure(*case, gradient=gradient, seconds=2 if quick else 10))
            except jax.errors.JaxRuntimeError as error:
                sizes = dict(zip(("points", "charges", "dim"), case, strict=True))
                what = "gradient" if gradient else "field"
                rows.append({**sizes, "what": what, "failed": str(error).splitlines()[0]})
            print(rows[-1], flush=True)
            if not quick:
                _rows.write("field", rows)  # what is measured stays, should a later case not fit this machine


if __name__ == "__main__":
    main()
