"""Products of a function, counted by formula before any compiler has seen it."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax


class Product(NamedTuple):
    """Matrix products or convolutions of one kind.

    Attributes:
        flops: Two for each product of two numbers, rounds of loops counted.
        bytes: Operands read and result written once, in each round.
        dtype: Of the operands.
        precision: As it was asked for: "highest", or "default", which a TPU takes as one bfloat16 pass.
        with_vector: Whether one of the two is but a vector, which is no work for a matrix unit.
    """

    flops: int
    bytes: int
    dtype: str
    precision: str
    with_vector: bool


def products(function: Callable, *arguments: Any) -> list[Product]:
    """Products that `function` asks for, for arguments or their shapes.

    Of a conditional the branch with the most flops counts.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> three = lambda a, b: jax.lax.scan(lambda c, _: (c @ b, None), a, None, length=3)[0]
        >>> products(three, jnp.ones((2, 4)), jnp.ones((4, 4)))
        [Product(flops=192, bytes=384, dtype='float32', precision='default', with_vector=False)]
    """
    return list(_of(jax.make_jaxpr(function)(*arguments).jaxpr, 1))


def flops(function: Callable, *arguments: Any) -> int:
    """Flops in the products of `function`."""
    return sum(product.flops for product in products(function, *arguments))


def _of(jaxpr: Any, times: int) -> Iterator[Product]:
    for equation in jaxpr.eqns:
        name, parameters = equation.primitive.name, equation.params
        if name in ("dot_general", "conv_general_dilated"):
            left, right = (v.aval for v in equation.invars[:2])
            out = equation.outvars[0].aval
            yield Product(
                times * _flops(name, parameters, left, right, out),
                times * sum(part.size * part.dtype.itemsize for part in (left, right, out)),
                left.dtype.name,
                _precision(parameters["precision"]),
                name == "dot_general" and min(left.ndim, right.ndim) == 1,
            )
        elif name == "cond":
            branches = [list(_of(branch.jaxpr, times)) for branch in parameters["branches"]]
            yield from max(branches, key=lambda found: sum(p.flops for p in found))
        else:
            rounds = parameters["length"] if name == "scan" else 1
            for inner in jax.tree.leaves(list(parameters.values()), is_leaf=_is_jaxpr):
                if _is_jaxpr(inner):
                    yield from _of(getattr(inner, "jaxpr", inner), times * rounds)


def _is_jaxpr(value: Any) -> bool:
    return hasattr(value, "eqns")


def _flops(name: str, parameters: dict[str, Any], left: Any, right: Any, out: Any) -> int:
    if name == "dot_general":
        (contracted, _), _ = parameters["dimension_numbers"]
        return 2 * out.size * math.prod(left.shape[d] for d in contracted)
    output_features = right.shape[parameters["dimension_numbers"].rhs_spec[0]]
    return 2 * out.size * right.size // output_features


def _precision(asked: Any) -> str:
    both = {str(p).rsplit(".", 1)[-1].lower() for p in (asked if isinstance(asked, tuple) else (asked,))}
    return "highest" if both == {"highest"} else "default" if both <= {"none", "default"} else "/".join(both)
