"""Sums over one plate in double-float arithmetic, for points where the pulls of its charges cancel.

A number is the unevaluated sum `high + low` of two floats: some 44 bits in float32 (Dekker, 1971;
Knuth, 1969), without float64, which JAX switches off and a TPU lacks. Products are only ever of halves of
numbers, which are exact: a compiler that contracts a product and a sum into one rounding changes nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from efm_jax.fields._sums.plates import PlateSums, Summation, by_differences, fold_blocks, streamed

TERMS = 2**19
"""Points x charges x (D+1) held at a time."""


class DoubleFloat(NamedTuple):
    """`high + low`, low within about half a unit in the last place of high."""

    high: Array
    low: Array


def in_double_floats(block_size: int, unit: Array | float = 1.0) -> Summation:
    """As `by_differences` and with its derivatives, but V from sums of twice the digits; slow, for few points."""

    def over_plate(points, positions, charge):
        sums = streamed(by_differences, block_size, unit)(points, positions, charge)
        return settled(sums, pulls(points, positions, charge, sums.reference, unit=unit))

    return over_plate


def settled(sums: PlateSums, exact: DoubleFloat) -> PlateSums:
    """The sums with their vector replaced by the exact one, rounded, and their derivatives kept."""
    vector = (exact.high + exact.low).T
    return sums._replace(
        vector=_value_with_derivative_of(vector, sums.vector), doubt=jnp.zeros_like(sums.doubt)
    )


@jax.custom_jvp
def _value_with_derivative_of(value: Array, twin: Array) -> Array:
    del twin
    return value


@_value_with_derivative_of.defjvp
def _derivative_of_twin(primals, tangents):
    return primals[0], tangents[1]


def pulls(
    points: Float[Array, "p dim1"],
    positions: Float[Array, "n dim1"],
    charge: Float[Array, " n"],
    reference: Float[Array, " p"],
    terms: int = TERMS,
    unit: Array | float = 1.0,
) -> DoubleFloat:
    """`V = sum_i q_i (r / r_i)^(D+1) d_i` for references r^2 already known, [dim1, p]; a constant to derivatives."""
    points, positions, charge, reference = map(lax.stop_gradient, (points, positions, charge, reference))
    num_points, dim1 = points.shape
    reference = jnp.where(jnp.isinf(reference), 1, reference)[:, None]

    def add_block(vector, position, part):
        displacement = difference(points.T[:, :, None], (position / unit).T[:, None, :])  # [dim1, p, block]
        squared = sum_over_first(multiply(displacement, displacement))
        felt = (squared.high != 0) & (part != 0)
        squared = DoubleFloat(jnp.where(felt, squared.high, reference), jnp.where(felt, squared.low, 0))
        weight = half_power(divide(reference, squared), dim1)
        weight = multiply(weight, double_float(jnp.where(felt, part, 0)))
        each = multiply(displacement, weight)
        return add(vector, sum_over_first(DoubleFloat(*(jnp.moveaxis(digits, -1, 0) for digits in each))))

    size = max(1, terms // max(num_points * dim1, 1))
    return fold_blocks(add_block, no_pulls(points), positions, charge, size)


def no_pulls(points: Float[Array, "p dim1"]) -> DoubleFloat:
    """The sum over no charges."""
    return double_float(jnp.zeros_like(points.T))


def double_float(value: Array) -> DoubleFloat:
    """A float as it is."""
    return DoubleFloat(value, jnp.zeros_like(value))


def difference(a: Array, b: Array) -> DoubleFloat:
    """`a - b` of floats, exactly (Knuth's two-sum)."""
    return _two_sum(a, -b)


def add(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """`a + b`."""
    high, low = _two_sum(a.high, b.high)
    return _normalized(high, low + (a.low + b.low))


def multiply(a: DoubleFloat, b: DoubleFloat) -> DoubleFloat:
    """`a b`."""
    (a1, a2), (b1, b2) = _halves(a.high), _halves(b.high)
    cross = _two_sum(a1 * b2, a2 * b1)
    leading = _normalized(a1 * b1, cross.high)
    return _normalized(leading.high, leading.low + (cross.low + a2 * b2 + (a.high * b.low + a.low * b.high)))


def divide(a: Array, b: DoubleFloat) -> DoubleFloat:
    """`a / b`: the quotient of the leading digits and, from its remainder, the next digits."""
    quotient = a / b.high
    product = multiply(double_float(quotient), b)
    return _normalized(quotient, ((a - product.high) - product.low) / b.high)


def square_root(a: DoubleFloat) -> DoubleFloat:
    """`sqrt(a)`, a > 0: one step of Newton's method from the root of the leading digits."""
    root = jnp.sqrt(a.high)
    square = multiply(double_float(root), double_float(root))
    remainder = ((a.high - square.high) - square.low) + a.low
    return _normalized(root, jnp.where(root > 0, remainder / (2 * jnp.where(root > 0, root, 1)), 0))


def half_power(a: DoubleFloat, exponent: int) -> DoubleFloat:
    """`a^(exponent / 2)` by repeated squaring, 0 <= a <= 1."""
    power = square_root(a) if exponent % 2 else double_float(jnp.ones_like(a.high))
    whole = exponent // 2

    def visit(bit, state):
        power, square = state
        taken = multiply(power, square)
        power = jax.tree.map(lambda new, old: jnp.where((whole >> bit) % 2 == 1, new, old), taken, power)
        return power, multiply(square, square)

    return lax.fori_loop(0, whole.bit_length(), visit, (power, a))[0]


def sum_over_first(terms: DoubleFloat) -> DoubleFloat:
    """The sum over the first axis: of up to 64 interleaved sums, then of those."""
    group = min(64, len(terms.high))

    def accumulate(terms):
        zero = jax.tree.map(lambda digits: jnp.zeros_like(digits[0]), terms)
        return lax.scan(lambda total, term: (add(total, term), None), zero, terms)[0]

    def interleaved(digits):
        filled = jnp.pad(digits, [(0, -len(digits) % group)] + [(0, 0)] * (digits.ndim - 1))
        return filled.reshape(-1, group, *digits.shape[1:])

    return accumulate(accumulate(jax.tree.map(interleaved, terms)))


def _two_sum(a: Array, b: Array) -> DoubleFloat:
    high = a + b
    virtual = high - a
    return DoubleFloat(high, (a - (high - virtual)) + (b - virtual))


def _normalized(high: Array, low: Array) -> DoubleFloat:
    """The same sum with its digits in order, for |low| <= |high|."""
    new = high + low
    return DoubleFloat(new, low - (new - high))


def _halves(a: Array) -> tuple[Array, Array]:
    """`a = leading + trailing` with half of the digits each, so that products of halves are exact."""
    bits = {4: (jnp.uint32, 12), 8: (jnp.uint64, 27)}[a.dtype.itemsize]
    whole = lax.bitcast_convert_type(a, bits[0])
    leading = lax.bitcast_convert_type((whole >> bits[1]) << bits[1], a.dtype)
    return leading, a - leading
