"""Class labels on their way from the data to the network: minibatches of one class each, and labels that are heard."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from efm_jax._core import checks
from efm_jax.charges.plates import Charges
from efm_jax.types import Batch, Network, Part

_CALLS = ("jit", "pjit", "closed_call", "remat", "checkpoint", "custom_jvp_call", "custom_vjp_call")
"""Primitives whose inner program runs once, its arguments and results being theirs."""


def by_class(draw: Callable[..., Batch], groups: int) -> Callable[..., Batch]:
    """The draw of `groups` minibatches, each from its own equal share of consecutive rows of both plates.

    Each is drawn like a batch of its own: charges, pairs and points of one group know nothing of another's. Row
    `k * groups + g` of what comes is point k of group g, so that an equal share of the rows holds points of all groups. One
    group is the draw itself.

    Raises:
        ValueError: The draw holds charges of its own, which are of all classes; or, when it is called, the rows of a plate
            are no multiple of the groups.
    """
    held = jax.tree.leaves(draw, is_leaf=lambda leaf: isinstance(leaf, Charges))
    if any(isinstance(leaf, Charges) for leaf in held):
        raise ValueError(
            "this recipe holds charges of its own, which are of all classes, so labels cannot choose among them; make it "
            "with charges=None, so that the charges are those of each minibatch."
        )
    if groups == 1:
        return draw
    # a pytree, whose arrays compiled code takes as arguments
    return jax.tree_util.Partial(functools.partial(_drawn, groups), draw)


def labels_of_points(cond: jax.Array, num_points: int) -> jax.Array:
    """The label of each point that `by_class` drew."""
    return jnp.tile(cond, num_points // len(cond))


def checked(cond: Any) -> jax.Array:
    """Return the labels of a step's groups, [g], or raise ValueError."""
    cond = jnp.asarray(checks.native(cond))
    if cond.ndim != 1 or len(cond) == 0 or not jnp.issubdtype(cond.dtype, jnp.integer):
        raise ValueError(
            "cond must hold one whole number for each group of rows, -1 for no class, shape [groups], got shape "
            f"{cond.shape} and dtype {cond.dtype}; samples of one class come together, see datasets.batch(labels=...)."
        )
    return cond.astype(jnp.int32)


def check_heard(network: Network, params: Any, dim: int) -> None:
    """Raise ValueError if the network's output cannot depend on labels: they are refused, or never used.

    The network's program is read, not run: a network that starts as the zero field passes, one that takes `cond` and
    does nothing with it does not. A network of which it is not certain passes.
    """
    # PRNG keys and the like may be among the parameters: all that counts here is what each leaf is
    shapes, tree = jax.tree.flatten(jax.eval_shape(lambda tree: tree, params))
    if not _heard(network.apply, tuple(shapes), tree, dim):
        raise ValueError(
            "the network ignores the condition it is given: nothing that network.apply returns depends on cond; make it "
            "with num_classes=... (networks.mlp, networks.unet), or leave the labels out."
        )


@functools.lru_cache(maxsize=16)
def _heard(apply: Callable, shapes: tuple, tree: Any, dim: int) -> bool:
    params = jax.tree.unflatten(tree, shapes)
    points, cond = jax.ShapeDtypeStruct((2, dim + 1), "float32"), jax.ShapeDtypeStruct((2,), "int32")
    traced = jax.make_jaxpr(lambda params, points, cond: apply(params, points, cond=cond))
    program = traced(params, points, cond).jaxpr
    given = [False] * (len(program.invars) - 1) + [True]
    return any(_reached(program, given))


def _reached(program: Any, given: Sequence[bool]) -> list[bool]:
    """Which results of a program the marked arguments reach."""
    marked = {var for var, is_given in zip(program.invars, given, strict=True) if is_given}

    def is_marked(atom: Any) -> bool:
        return not hasattr(atom, "val") and atom in marked  # literals hold a value

    for equation in program.eqns:
        fed = [is_marked(atom) for atom in equation.invars]
        if any(fed):
            out = [True] * len(equation.outvars)
            if equation.primitive.name in _CALLS:
                inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
                inner = getattr(inner, "jaxpr", inner)
                if inner is not None and len(inner.invars) == len(fed):
                    out = _reached(inner, fed)
            marked |= {var for var, is_out in zip(equation.outvars, out, strict=True) if is_out}
    return [is_marked(atom) for atom in program.outvars]


def _drawn(groups: int, draw: Callable[..., Batch], key, x_pos, x_neg, *, part: Part = None) -> Batch:
    for name, x in (("x_pos", x_pos), ("x_neg", x_neg)):
        if len(x) % groups:
            raise ValueError(
                f"the {len(x)} rows of {name} must be a multiple of the {groups} labels of the step, whose groups share "
                "them equally; take more rows or fewer labels."
            )

    def one(args) -> Batch:
        if part is None or "part" in inspect.signature(draw).parameters:
            return draw(*args) if part is None else draw(*args, part=part)
        return Batch(*(part(rows) for rows in draw(*args)))

    shares = (x.reshape(groups, -1, x.shape[1]) for x in (x_pos, x_neg))
    # one after another: what a draw decides by its numbers (which points to sum again) stays a decision
    batches = lax.map(one, (jax.random.split(key, groups), *shares))
    return jax.tree.map(lambda rows: jnp.swapaxes(rows, 0, 1).reshape(-1, *rows.shape[2:]), batches)
